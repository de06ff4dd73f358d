"""``zhenxue archive``: check an archive or a receipt, and make receipts.

``verify`` needs no network, no database and, for a receipt, no file but the receipt and a
verifier key that came to the verifier by another way.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.archive_verification import (
    VerificationReport,
    VerifiedReceipt,
    verify_archive,
    verify_receipt,
)
from pipelines.stored_evidence import write_receipt
from service.console_output import ExitCode, out, print_json, reports_errors
from service.key_arguments import open_keys, read_vkey, read_witnesses
from service.schedule_commands import prove_schedule_command
from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.transparency.cosignature import CosignatureVerifier
from verifier.transparency.leaf import format_time
from verifier.transparency.note import NoteVerifier
from verifier.transparency.tlog_proof import HEADER

archive_app = typer.Typer(help="The archive: verify, fsck, prove.", no_args_is_help=True)
archive_app.command("prove-schedule")(prove_schedule_command)

ArchiveFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="An archive's folder.")]
Vkey = Annotated[
    str | None,
    typer.Option("--vkey", metavar="FILE|KEY", help="The log's verifier key, or a file with it."),
]
Keys = Annotated[
    Path | None,
    typer.Option("--keys", metavar="DIR", help="Key store: also decrypt and check every object."),
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        metavar="FILE|KEY",
        help="A witness's key, or a file with it: it has to have cosigned. May be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@archive_app.command("verify")
@reports_errors
def verify_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A receipt, or a folder.")],
    *,
    vkey: Vkey = None,
    object_file: Annotated[
        Path | None,
        typer.Option("--object", metavar="FILE", help="With a receipt: the object it names."),
    ] = None,
    keys: Keys = None,
    witness: Witnesses = None,
    as_json: Json = False,
) -> ExitCode:
    """Check a receipt offline, or every byte of an archive."""
    if path.is_dir():
        if object_file is not None:
            raise InputError("--object goes with a receipt, not with a folder")
        return _verify_folder(path, vkey, keys, witness, as_json=as_json)
    if keys is not None:
        raise InputError("--keys goes with a folder, not with a receipt")
    if vkey is None:
        raise InputError("a receipt cannot vouch for itself: give the log's key with --vkey")
    return _verify_receipt(
        path, read_vkey(vkey), object_file, read_witnesses(witness), as_json=as_json
    )


@archive_app.command("fsck")
@reports_errors
def fsck_command(
    folder: ArchiveFolder,
    vkey: Vkey = None,
    keys: Keys = None,
    witness: Witnesses = None,
    as_json: Json = False,
) -> ExitCode:
    """Check every byte of an archive (``verify`` of a folder)."""
    return _verify_folder(folder, vkey, keys, witness, as_json=as_json)


@archive_app.command("prove")
@reports_errors
def prove_command(
    folder: ArchiveFolder,
    index: Annotated[int, typer.Argument(min=0, help="The entry's place in the log.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the receipt goes.")],
    keys: Keys = None,
    vkey: Vkey = None,
) -> ExitCode:
    """Write the receipt of one entry; with --keys it discloses what the entry commits to."""
    keystore = None if keys is None else open_keys(keys)
    receipt = write_receipt(
        folder, index, keystore=keystore, verifier=None if vkey is None else read_vkey(vkey)
    )
    output.write_bytes(receipt)
    out.print(f"receipt of entry {index}: {output}", markup=False)
    return ExitCode.OK


def _verify_folder(
    folder: Path,
    vkey: str | None,
    keys: Path | None,
    witnesses: list[str] | None,
    *,
    as_json: bool,
) -> ExitCode:
    report = verify_archive(
        folder,
        verifier=None if vkey is None else read_vkey(vkey),
        keystore=None if keys is None else open_keys(keys),
        witnesses=read_witnesses(witnesses),
    )
    if as_json:
        print_json(_report_json(report))
    else:
        _print_report(report)
    return ExitCode.OK if report.ok else ExitCode.NEGATIVE


def _verify_receipt(
    path: Path,
    verifier: NoteVerifier,
    object_file: Path | None,
    witnesses: tuple[CosignatureVerifier, ...],
    *,
    as_json: bool,
) -> ExitCode:
    data = path.read_bytes()
    if not data.startswith(HEADER.encode()):
        raise InputError(f"{path.name} is neither an archive's folder nor a receipt")
    stored_object = None if object_file is None else object_file.read_bytes()
    try:
        verified = verify_receipt(data, verifier, stored_object, witnesses=witnesses)
    except (LedgerError, InvalidRecordError) as error:
        if as_json:
            print_json({"ok": False, "entries": 0, "objects": 0, "problems": [str(error)]})
        else:
            out.print(f"NOT OK: {error}", markup=False)
        return ExitCode.NEGATIVE
    if as_json:
        print_json(_receipt_json(verified, with_object=object_file is not None))
    else:
        _print_receipt(verified)
    return ExitCode.OK


def _report_json(report: VerificationReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "entries": report.entries,
        "pending": report.pending,
        "objects": report.objects,
        "opened": report.opened,
        "forgotten": report.forgotten,
        "key_from_archive": report.key_from_archive,
        "witnessed": report.witnessed,
        "problems": report.problems,
    }


def _receipt_json(verified: VerifiedReceipt, *, with_object: bool) -> dict[str, object]:
    opening = verified.receipt.opening
    return {
        "ok": True,
        "entries": 1,
        "objects": int(with_object),
        "problems": [],
        "origin": verified.checkpoint.origin,
        "index": verified.receipt.index,
        "size": verified.checkpoint.size,
        "kind": verified.leaf.kind,
        "session_id": verified.leaf.session_id,
        "time": format_time(verified.leaf.time),
        "assurance": verified.leaf.assurance,
        "object": verified.leaf.object_sha256,
        "facts": verified.leaf.facts,
        "record": None if opening is None else opening.record,
        "witnesses": [
            {"name": witness.name, "time": format_time(_moment(witness.timestamp))}
            for witness in verified.witnessed
        ],
        "witnesses_not_checked": list(verified.others),
    }


def _print_report(report: VerificationReport) -> None:
    for problem in report.problems:
        out.print(f"problem: {problem}", markup=False)
    if report.key_from_archive:
        out.print("key taken from the archive itself: it agrees with itself, no more is shown")
    if report.witnessed is not None:
        out.print(f"witnessed up to entry {report.witnessed} of {report.entries}", markup=False)
    counts = f"{report.entries} entries, {report.pending} pending, {report.objects} objects"
    if report.opened or report.forgotten:
        counts += f", {report.opened} opened, {report.forgotten} forgotten"
    if report.pending:
        waiting = "1 entry waits" if report.pending == 1 else f"{report.pending} entries wait"
        out.print(f"{waiting} for a checkpoint: acknowledged, but not proved yet")
    verdict = "OK" if report.ok else f"NOT OK: {len(report.problems)} problems"
    out.print(f"{verdict} ({counts})", markup=False)


def _print_receipt(verified: VerifiedReceipt) -> None:
    leaf, index = verified.leaf, verified.receipt.index
    out.print(
        f"OK: entry {index} of {verified.checkpoint.size} in {verified.checkpoint.origin}",
        markup=False,
    )
    out.print(f"{leaf.kind} at {format_time(leaf.time)}, session {leaf.session_id}", markup=False)
    if verified.receipt.opening is not None:
        out.print("the record that it discloses is the one that was committed to")
    for witness in verified.witnessed:
        at = format_time(_moment(witness.timestamp))
        out.print(f"cosigned by {witness.name} at {at}", markup=False)
    for name in verified.others:
        out.print(f"cosigned by {name}? not checked: give its key with --witness", markup=False)
    if not verified.witnessed and not verified.others:
        out.print("unwitnessed: no one but the log vouches for its checkpoint")


def _moment(timestamp: int) -> datetime:
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, ValueError):
        return datetime.max.replace(tzinfo=UTC)  # a witness may sign any time before 2**63
