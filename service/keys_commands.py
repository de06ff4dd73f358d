"""``zhenxue keys``: let platforms and officers in, and out again."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from sqlalchemy import Connection

from service.console_output import ExitCode, out, print_json, reports_errors
from service.credentials import ApiKey, Role, issue_api_key
from service.settings import Settings, read_settings
from service.sql import api_keys
from service.sql.api_keys import Principal, StoredKey
from service.sql.database import Database, load_or_create_database_key
from service.sql.frame_origins import frame_origins, set_frame_origins
from verifier.errors import InputError, ProtocolError

keys_app = typer.Typer(
    help="API keys of platforms and officers; only a digest of each is kept.", no_args_is_help=True
)

DataOption = Annotated[
    Path | None, typer.Option("--data", help="The service's data folder; as for `serve`.")
]
OriginOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Whose pages may embed the learner frame: https://host or https://host:port; "
        "give it again for each."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_PLATFORM_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@keys_app.command("platform")
@reports_errors
def platform_key(
    platform_id: Annotated[str, typer.Argument(help="1 to 64 letters, digits or . _ : -")],
    name: Annotated[
        str | None, typer.Option(help="The platform's name; by default its id.")
    ] = None,
    origin: OriginOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> ExitCode:
    """Make a key for a training platform, putting the platform on record if it is new."""
    _require_id(platform_id)
    key = issue_api_key(Role.PLATFORM)
    with _transaction(read_settings(data_dir=data)) as tx:
        with suppress(ProtocolError):  # it is on record already
            api_keys.create_platform(
                tx, platform_id=platform_id, name=name or platform_id, at=_now()
            )
        keep_key(tx, key, platform_id=platform_id, label=name or platform_id)
        if origin:
            set_frame_origins(tx, platform_id, origin)
    return _show(key, as_json=as_json)


@keys_app.command("origins")
@reports_errors
def platform_origins(
    platform_id: Annotated[str, typer.Argument(help="A platform on record.")],
    origin: OriginOption = None,
    clear: Annotated[bool, typer.Option("--none", help="Let no page embed it.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> ExitCode:
    """Show whose pages may embed the learner frame, or put others in their place."""
    if clear and origin:
        raise InputError("--none and --origin do not go together")
    with _transaction(read_settings(data_dir=data)) as tx:
        if clear or origin:
            set_frame_origins(tx, platform_id, origin or ())
        found = frame_origins(tx, platform_id)
    if as_json:
        print_json({"platform_id": platform_id, "origins": list(found)})
    else:
        out.print("\n".join(found) or "no page may embed it", markup=False)
    return ExitCode.OK


@keys_app.command("officer")
@reports_errors
def officer_key(
    person: Annotated[
        str, typer.Argument(help="Whose key it is, by name: what takes two takes two persons.")
    ],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> ExitCode:
    """Make a key for an officer of the authority."""
    key = issue_api_key(Role.OFFICER)
    with _transaction(read_settings(data_dir=data)) as tx:
        keep_key(tx, key, platform_id=None, label=person)
    return _show(key, as_json=as_json)


@keys_app.command("list")
@reports_errors
def list_keys(data: DataOption = None, as_json: JsonOption = False) -> ExitCode:
    """List keys by their ids; the keys themselves are kept nowhere."""
    with _transaction(read_settings(data_dir=data)) as tx:
        found = api_keys.stored_keys(tx)
    if as_json:
        print_json([_record(stored) for stored in found])
        return ExitCode.OK
    for stored in found:
        state = "revoked" if stored.revoked_at else "valid"
        whose = stored.principal.platform_id or "-"
        line = f"{stored.principal.key_id}  {stored.principal.role:8}  {state:7}  {whose}"
        out.print(f"{line}  {stored.label}", markup=False)
    return ExitCode.OK


@keys_app.command("revoke")
@reports_errors
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, 8 hex digits.")],
    data: DataOption = None,
) -> ExitCode:
    """Let a key open nothing any more, from the next request on."""
    with _transaction(read_settings(data_dir=data)) as tx:
        api_keys.revoke_key(tx, key_id=key_id, at=_now())
    out.print(f"{key_id} is revoked", markup=False)
    return ExitCode.OK


def keep_key(tx: Connection, key: ApiKey, *, platform_id: str | None, label: str) -> None:
    """Keep a key that was just made, by its digest; an officer's label is the person's name."""
    principal = Principal(
        key_id=key.key_id,
        role=key.role,
        platform_id=platform_id,
        person=label if key.role is Role.OFFICER else None,
    )
    api_keys.create_key(tx, principal=principal, secret_sha256=key.digest, label=label, at=_now())


def _require_id(platform_id: str) -> None:
    # It goes into every session's public log entry; one that does not fit could open none.
    if not _PLATFORM_ID.fullmatch(platform_id):
        raise InputError("the platform's id is not 1 to 64 letters, digits or any of . _ : -")


@contextmanager
def stored_database(settings: Settings) -> Iterator[Database]:
    """Open the database that a service has begun; ``InputError`` where none was started yet."""
    path = settings.keys_folder / "database.key"
    if not path.is_file():  # a key made here would bind the database to the wrong folder
        raise InputError(f"{path} does not exist: start `zhenxue serve` there first")
    key = load_or_create_database_key(path)
    database = Database.open(settings.database_address, key=key)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _transaction(settings: Settings) -> Iterator[Connection]:
    with stored_database(settings) as database, database.writing() as tx:
        yield tx


def _show(key: ApiKey, *, as_json: bool) -> ExitCode:
    """Print a key, alone on standard output, so that a shell can keep it in a variable."""
    if as_json:
        print_json({"key": key.text, "key_id": key.key_id, "role": key.role.value})
    else:
        typer.echo(key.text)
    return ExitCode.OK


def _record(stored: StoredKey) -> dict[str, str | None]:
    return {
        "key_id": stored.principal.key_id,
        "role": stored.principal.role.value,
        "platform_id": stored.principal.platform_id,
        "label": stored.label,
        "created_at": stored.created_at.isoformat(),
        "revoked_at": None if stored.revoked_at is None else stored.revoked_at.isoformat(),
    }


def _now() -> datetime:
    return datetime.now(UTC)
