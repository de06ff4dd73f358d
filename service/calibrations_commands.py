"""``zhenxue calibrations``: put one in force where no service can run without one.

The same acts as over HTTP, under the same two officers' keys, for the pack in the settings.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from models.packs import find_pack
from pipelines.duplicates import blind_text, search_point
from service.chosen_calibration import metric_of
from service.console_output import ExitCode, err, out, print_json, reports_errors
from service.credentials import ApiKey
from service.keys_commands import stored_database
from service.settings import read_settings
from service.sql import api_keys
from service.sql.calibrations import KnownCalibration, SqlCalibrations
from service.sql.database import Database
from service.sql.lesson_store import count_enrolments
from verifier.calibration import MOST_BYTES, Calibration, default_calibration
from verifier.errors import InputError
from verifier.policy import default_policy

calibrations_app = typer.Typer(
    help="Calibrations on record; two officers put one in force.", no_args_is_help=True
)

DataOption = Annotated[
    Path | None, typer.Option("--data", help="The service's data folder; as for `serve`.")
]
# Never an argument: what is typed there, others on the machine can read.
KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="ZHENXUE_OFFICER_KEY",
        prompt="Officer's key",
        hide_input=True,
        help="The officer's API key; asked for, or taken from the environment.",
    ),
]


@calibrations_app.command("propose")
@reports_errors
def propose(
    file: Annotated[Path, typer.Argument(help="What `zhenxue calibrate` wrote.")],
    key: KeyOption,
    data: DataOption = None,
) -> ExitCode:
    """Propose a calibration; nobody is judged by it until another officer approves it."""
    with file.open("rb") as opened:
        document = opened.read(MOST_BYTES + 1)

    def act(book: SqlCalibrations, tx: Connection) -> KnownCalibration:
        person = _officer(tx, key)
        return book.propose(tx, book.parse(document), proposed_by=person, at=_now())

    return _act(data, act)


@calibrations_app.command("approve")
@reports_errors
def approve(
    calibration_id: Annotated[str, typer.Argument(help="The SHA-256, as `list` shows it.")],
    key: KeyOption,
    data: DataOption = None,
) -> ExitCode:
    """Put another officer's calibration in force; sessions in progress keep their own."""

    def act(book: SqlCalibrations, tx: Connection) -> KnownCalibration:
        person = _officer(tx, key)
        done = book.approve(tx, calibration_id=calibration_id, approved_by=person, at=_now())
        _warn_if_blind(tx, done.calibration)
        return done

    return _act(data, act)


@calibrations_app.command("list")
@reports_errors
def list_calibrations(
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> ExitCode:
    """List the calibrations on record, the latest proposal first."""
    with ExitStack() as stack:
        book, database = _book(data, stack)
        known = book.known(stack.enter_context(database.reading()))
    if as_json:
        print_json([_record(each) for each in known])
        return ExitCode.OK
    for each in known:
        _print(each)
    return ExitCode.OK


def _act(
    data: Path | None, act: Callable[[SqlCalibrations, Connection], KnownCalibration]
) -> ExitCode:
    with ExitStack() as stack:
        book, database = _book(data, stack)
        done = act(book, stack.enter_context(database.writing()))
    _print(done)
    return ExitCode.OK


def _book(data: Path | None, stack: ExitStack) -> tuple[SqlCalibrations, Database]:
    """Return the calibrations of the pack in the settings, and where they are."""
    settings = read_settings(data_dir=data)
    pack = find_pack(settings.pack)
    metric = metric_of(pack)
    database = stack.enter_context(stored_database(settings))
    book = SqlCalibrations(
        database,
        contract_id=pack.contract_id,
        metric=metric,
        built_in=default_calibration(pack.contract_id),
    )
    return book, database


def _warn_if_blind(tx: Connection, calibration: Calibration) -> None:
    """Say on standard error that the duplicate search can find nobody, as the service logs it."""
    faces = count_enrolments(tx, calibration.contract_id)
    point = search_point(calibration, default_policy().duplicates, gallery_size=faces)
    if not point.is_reachable:
        err.print("warning:", blind_text(calibration, faces), markup=False)


def _officer(tx: Connection, shown: str) -> str:
    """Return whose key it is; ``InputError`` if it is no officer's."""
    key = ApiKey.parse(shown)
    principal = None if key is None else api_keys.authenticate(tx, key.digest)
    if principal is None or principal.person is None:
        raise InputError("the key is no officer's; make one with `zhenxue keys officer PERSON`")
    return principal.person


def _print(known: KnownCalibration) -> None:
    waits = "waits for another officer" if known.proposed_by else "built in"
    state = "in force" if known.active else "approved" if known.approved_by else waits
    out.print(f"{known.calibration.calibration_id}  {state}", markup=False)
    out.print(f"  {known.calibration.name}; {known.calibration.contract_id}", markup=False)


def _record(known: KnownCalibration) -> dict[str, object]:
    return {
        "calibration_id": known.calibration.calibration_id,
        "label": known.calibration.label,
        "contract_id": known.calibration.contract_id,
        "active": known.active,
        "proposed_by": known.proposed_by,
        "approved_by": known.approved_by,
    }


def _now() -> datetime:
    return datetime.now(UTC)
