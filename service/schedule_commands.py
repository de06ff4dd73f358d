"""``zhenxue archive prove-schedule``: was a session asked when chance said so."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipelines.keystore import KeyStore
from pipelines.schedule_header import SealedRecords
from pipelines.schedule_prompts import ProvenPrompt
from pipelines.schedule_proof import ScheduleProof, prove_schedule
from pipelines.schedule_texts import ORIGIN_TEXT, result_text
from pipelines.session_log import read_session_log
from service.console_output import ExitCode, out, print_json, reports_errors
from service.key_arguments import open_keys, read_vkey, read_witnesses
from service.settings import read_settings
from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.policy import default_policy, load_policy
from verifier.transparency.base64_text import to_base64
from verifier.transparency.leaf import format_time


@reports_errors
def prove_schedule_command(
    session_id: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    *,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="FOLDER", help="The archive's folder."),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="DIR", help="Key store that opens the header.")
    ] = None,
    vkey: Annotated[
        str | None,
        typer.Option("--vkey", metavar="FILE|KEY", help="The log's verifier key, or a file."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option("--witness", metavar="FILE|KEY", help="A witness's key, or a file."),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option(
            "--receipt",
            metavar="FILE",
            help="Receipt of the session's opening entry; then no keys are needed.",
        ),
    ] = None,
    policy: Annotated[
        list[Path] | None,
        typer.Option("--policy", metavar="FILE", help="The policy that the header names."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> ExitCode:
    """Recompute every prompt of a session that is over; show each one added or missing, and why.

    Needs the archive and either its keys or a receipt of the opening entry. Without FOLDER and
    DIR those of the settings are read.
    """
    folder = archive or read_settings().data_dir / "archive"
    if not (folder / "log").is_dir():
        raise InputError(f"{folder.name} is no archive: it has no log folder")
    records = SealedRecords(
        folder=folder,
        keystore=_keystore(keys, receipt),
        receipt=None if receipt is None else receipt.read_bytes(),
    )
    witnesses = read_witnesses(witness)
    policies = [*map(load_policy, policy or []), default_policy()]
    verifier = None if vkey is None else read_vkey(vkey)
    try:
        log = read_session_log(folder, session_id, verifier)
        proof = prove_schedule(log, records, witnesses=witnesses, policies=policies)
    except (LedgerError, InvalidRecordError) as error:
        return _refused(session_id, str(error), as_json=as_json)
    if as_json:
        print_json(proof_json(proof))
    else:
        _print(proof, key_from_archive=verifier is None)
    return ExitCode.OK if proof.ok else ExitCode.NEGATIVE


def proof_json(proof: ScheduleProof) -> Mapping[str, object]:
    """Return a proof as programs read it; docs/prompts.md describes it."""
    fixed = proof.fixed
    return {
        "ok": proof.ok,
        "session_id": proof.session_id,
        "problems": list(proof.problems),
        "notes": list(proof.notes),
        "origin": proof.checkpoint.origin,
        "log_size": proof.checkpoint.size,
        "header": proof.header.to_record(),
        "schedule": None
        if fixed is None
        else {
            "commitment": to_base64(fixed.promise.committed),
            "checkpoint_size": fixed.checkpoint_size,
            "checkpoint_root": to_base64(fixed.promise.checkpoint_root),
            "cosignatures": len(fixed.promise.cosignatures),
            "unknown_cosignatures": fixed.unknown_cosignatures,
            "witnesses_asked": list(fixed.asked),
            "seed": to_base64(fixed.promise.seed),
        },
        "witnesses": [] if fixed is None else list(fixed.witnesses),
        "phase": proof.phase,
        "ended_s": proof.ended_s,
        "counts": dict(proof.counts),
        "silent_s": proof.silent_s,
        "silences": [
            {
                "from_s": silence.start_ms / 1000,
                "until_s": silence.end_ms / 1000,
                "why": silence.why,
            }
            for silence in proof.silences
        ],
        "prompts": [_prompt_json(prompt) for prompt in proof.prompts],
        "session_number": proof.number,
        "gaps": list(proof.gaps),
        "sessions": [
            {
                "number": session.number,
                "session_id": session.session_id,
                "opened_at": format_time(session.opened_at),
                "phase": session.phase,
            }
            for session in proof.sequence
        ],
    }


def witnessed(proof: ScheduleProof) -> str:
    """Say whose word there is that nobody chose the schedule's root."""
    fixed = proof.fixed
    if fixed is None:
        return "given up before a schedule was fixed"
    by = ", ".join(fixed.witnesses)
    told = [f"witnessed by {by}" if by else "unwitnessed"]
    if fixed.unknown_cosignatures:
        told.append(f"cosignatures by keys that were not given: {fixed.unknown_cosignatures}")
    absent = [each for each in fixed.asked if each.rpartition("+")[0] not in fixed.witnesses]
    if not fixed.unknown_cosignatures and absent:
        told.append(f"asked, and not in the seed: {', '.join(absent)}")
    return "; ".join(told)


def _refused(session_id: str, problem: str, *, as_json: bool) -> ExitCode:
    if as_json:
        print_json({"ok": False, "session_id": session_id, "problems": [problem]})
    else:
        out.print(f"NOT OK: {problem}", markup=False)
    return ExitCode.NEGATIVE


def _prompt_json(prompt: ProvenPrompt) -> dict[str, Any]:
    return {
        "origin": prompt.origin.value,
        "kind": prompt.kind,
        "index": prompt.index,
        "due_s": prompt.due_s,
        "issued_s": prompt.issued_s,
        "delay_s": prompt.delay_s,
        "fate": prompt.fate,
        "why": prompt.why,
        "faults": list(prompt.faults),
    }


def _print(proof: ScheduleProof, *, key_from_archive: bool) -> None:
    fixed, header = proof.fixed, proof.header
    out.print(
        f"session {proof.session_id}, {proof.phase}, {proof.ended_s:.3f} s; "
        f"number {proof.number} of its learner in class {header.class_id}",
        markup=False,
    )
    if fixed is not None:
        out.print(
            f"C in the log, fixed by its first {fixed.checkpoint_size} entries, {witnessed(proof)}",
            markup=False,
        )
    out.print(_table(proof.prompts))
    for session in proof.sequence:
        mark = " ← this one" if session.session_id == proof.session_id else ""
        phase = session.phase or "not ended"
        out.print(f"session {session.number}: {session.session_id} {phase}{mark}", markup=False)
    for problem in proof.problems:
        out.print(f"problem: {problem}", markup=False)
    for note in proof.notes:
        out.print(f"note: {note}", markup=False)
    if key_from_archive:
        out.print("key taken from the archive itself: it agrees with itself, no more is shown")
    told = ", ".join(f"{count} {name}" for name, count in proof.counts.items())
    told += f"; {proof.silent_s:.0f} s in {len(proof.silences)} silences"
    verdict = "OK" if proof.ok else f"NOT OK: {len(proof.problems)} problems"
    out.print(f"{verdict} ({told}; {witnessed(proof)})", markup=False)


def _table(prompts: Sequence[ProvenPrompt]) -> Table:
    """Return a line for every prompt, narrow enough for 80 columns."""
    table = Table(
        title="随机验证 prompts (seconds from the start)",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("来源\norigin", no_wrap=True)
    for heading in ("序号\nno.", "应出\ndue", "实出\nissued", "延迟\ndelay"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("结果与原因\nresult and why")
    for prompt in prompts:
        table.add_row(*_row(prompt))
    return table


def _row(prompt: ProvenPrompt) -> list[str]:
    times = (prompt.due_s, prompt.issued_s, prompt.delay_s)
    return [
        " ".join(ORIGIN_TEXT[prompt.origin]),
        "-" if prompt.index is None else str(prompt.index),
        *("-" if at is None else f"{at:.3f}" for at in times),
        "; ".join([result_text(prompt), *prompt.faults]),
    ]


def _keystore(keys: Path | None, receipt: Path | None) -> KeyStore | None:
    """Open the keys that were named, or those of the settings unless a receipt stands in."""
    if keys is not None:
        return open_keys(keys)
    return None if receipt is not None else open_keys(read_settings().keys_folder)
