"""``zhenxue demo``: set-up, four lessons, a table, a report, and one receipt checked offline."""

import secrets
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from models.installation import install
from models.observer import open_observer
from models.packs import Pack, find_pack
from pipelines.archive_verification import verify_receipt
from pipelines.demo import DemoRow, DemoRun, prepare_folder
from pipelines.portraits import fetch_portraits
from pipelines.report import ReceiptFacts, top_reasons, write_report
from pipelines.schedule_proof import ScheduleProof
from service.chosen_calibration import metric_of
from service.console_output import ExitCode, out, progress_bars, reports_errors
from service.demo_run import run_demo
from service.settings import read_settings
from verifier.calibration import Calibration, default_calibration
from verifier.claim import SETTLEMENT_TEXT
from verifier.eligibility_result import OUTCOME_TEXT
from verifier.errors import InputError, LedgerError
from verifier.policy import default_policy
from verifier.transparency import NoteVerifier


@reports_errors
def demo(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the output; an earlier demo is replaced.")
    ] = Path("demo-out"),
    seed: Annotated[
        int | None,
        typer.Option(help="Fixes who comes first and how frames vary, not the prompts."),
    ] = None,
) -> ExitCode:
    """Watch four learners through one lesson: honest, replaced, walked away, merely uploaded."""
    settings = read_settings()
    wanted = find_pack(settings.pack)
    calibration = _built_in_calibration(wanted)
    prepare_folder(folder)  # refused before a hundred megabytes are fetched
    with progress_bars() as bars:
        pack = install(
            wanted,
            settings.cache_dir,
            progress=bars,
            allow_non_commercial=settings.allow_non_commercial,
        )
        faces = fetch_portraits(settings.cache_dir, progress=bars)
    with run_demo(
        folder,
        settings=settings,
        observer=open_observer(pack, threads=settings.threads),
        calibration=calibration,
        policy=default_policy(),
        faces=faces,
        seed=secrets.randbelow(2**32) if seed is None else seed,
        say=lambda line: out.print(line, markup=False, style="dim"),
    ) as run:
        _print_table(run)
        receipt = _check_receipt(run)
        prove_command = _prove_command(run)
        write_report(run, receipt, calibration=calibration.name, prove_command=prove_command)
        _write_evidence(run)
    _print_next_steps(folder, receipt, f"{prove_command} {_first_proof(run).session_id}")
    return ExitCode.OK


def _built_in_calibration(pack: Pack) -> Calibration:
    """Return the calibration that came with a pack; ``InputError`` if none did."""
    metric_of(pack)  # or there is nothing to calibrate
    built_in = default_calibration(pack.contract_id)
    if built_in is None:
        raise InputError(f"pack {pack.name} has no built-in calibration; the demo needs one")
    return built_in


def _print_table(run: DemoRun) -> None:
    """Print figures as a table that fits 80 columns, and what lies behind them below it."""
    table = Table(title="分钟 minutes", title_justify="left")
    table.add_column("学员")
    for heading in ("真实\ntruth", "上报\nclaimed", "核验 (下限)\nverified", "计入\ncredited"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("待定\npending", justify="right", no_wrap=True)
    table.add_column("结论\ndecision")
    for letter, row in zip(_LETTERS, run.rows, strict=True):
        table.add_row(letter, *_figures(row))
    out.print(table)
    for letter, row in zip(_LETTERS, run.rows, strict=True):
        chinese, english = row.scenario.title
        out.print(f"[bold]{letter} {chinese}[/bold] {english} ({row.scenario.photographs[1]})")
        out.print(f"  {_why(row)}", markup=False)
        out.print(f"  {_gate(row)}", markup=False)
        if row.proof is not None:
            out.print(f"  {_proof(row.proof)}", markup=False)


_LETTERS = "甲乙丙丁"


def _figures(row: DemoRow) -> list[str]:
    settlement, result = row.settlement, row.result
    verified = f"{settlement.verified_mean_s / 60:.1f} ({settlement.verified_lower95_s / 60:.1f})"
    return [
        f"{row.scenario.truth_minutes:.1f}",
        f"{settlement.claim.claimed_s / 60:.0f}",
        verified if result else "0",
        f"{settlement.credited_s / 60:.1f}",
        f"{settlement.pending_s / 60:.1f}",
        result.account.score.decision.value if result else "-",
    ]


def _why(row: DemoRow) -> str:
    if row.result is None:
        return " ".join(SETTLEMENT_TEXT[row.settlement.reasons[0]])
    reasons = top_reasons(row.result)[:3]
    return "\n  ".join(
        f"{f'{count} × ' if count > 1 else ''}{chinese} {english}"
        for count, chinese, english in reasons
    )


def _gate(row: DemoRow) -> str:
    """Return what the subsidy gate says, with its first reason."""
    chinese, english = OUTCOME_TEXT[row.gate.outcome]
    reason = "；".join(chinese for chinese, _ in row.gate.reasons)
    return f"补贴资格 gate: {chinese} {english} {reason}".rstrip()


def _proof(proof: ScheduleProof) -> str:
    """Return how many prompts there had to be and were, and whether that was recomputed."""
    told = ", ".join(f"{count} {name}" for name, count in proof.counts.items())
    by = f"witnessed by {', '.join(proof.witnesses)}" if proof.witnesses else "unwitnessed"
    return f"随机验证 prompts: {told}; recomputed {'OK' if proof.ok else 'NOT OK'}, {by}"


def _first_proof(run: DemoRun) -> ScheduleProof:
    return next(row.proof for row in run.rows if row.proof)


def _prove_command(run: DemoRun) -> str:
    """Return the command that recomputes a session's prompts, but for the session's id."""
    vkey, witness = run.folder / "log.vkey", run.folder / "witness" / "witness.vkey"
    return (
        f"{_program()} archive prove-schedule --archive {_quoted(run.folder / 'archive')}"
        f" --keys {_quoted(run.folder / 'keys')} --vkey {_quoted(vkey)}"
        f" --witness {_quoted(witness)}"
    )


def _check_receipt(run: DemoRun) -> ReceiptFacts:
    """Write the receipt of one archived picture and verify it as a stranger would."""
    result = next(row.result for row in run.rows if row.result)
    pictured = [check for check in result.answers if check.has_picture]
    chosen = pictured[len(pictured) // 2]
    receipt, vkey = run.folder / "receipt.tlog-proof", run.folder / "log.vkey"
    receipt.write_bytes(run.archive.receipt(chosen.index))
    vkey.write_text(run.archive.verifier.vkey + "\n", encoding="utf-8")
    verified = verify_receipt(
        receipt.read_bytes(), NoteVerifier.from_vkey(vkey.read_text(encoding="utf-8").strip())
    )
    if verified.receipt.index != chosen.index:
        raise LedgerError(f"the receipt proves entry {verified.receipt.index}")
    return ReceiptFacts(
        command=f"{_program()} archive verify {_quoted(receipt)} --vkey {_quoted(vkey)}",
        index=chosen.index,
        checkpoint=run.archive.reader.checkpoint_bytes().decode(),
    )


def _write_evidence(run: DemoRun) -> None:
    """Write what was found and what it came to, in the public formats, one session a line."""
    results = [row.result for row in run.rows if row.result]
    for name, lines in (
        ("evidence.jsonl", [result.evidence.to_json() for result in results]),
        ("scores.jsonl", [result.account.score.to_json() for result in results]),
    ):
        (run.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _print_next_steps(folder: Path, receipt: ReceiptFacts, prove_command: str) -> None:
    program = _program()
    out.print(f"receipt of entry {receipt.index}: verified offline", style="green")
    steps = {
        "look at it": f"open {_quoted(folder / 'report.html')}",
        "check the receipt yourself": receipt.command,
        "recompute when a learner had to be asked": prove_command,
        "check the whole archive": (
            f"{program} archive verify {_quoted(folder / 'archive')}"
            f" --vkey {_quoted(folder / 'log.vkey')} --keys {_quoted(folder / 'keys')}"
        ),
        "try a picture of your own": f"{program} inspect PICTURE.jpg",
    }
    for what, command in steps.items():
        out.print(f"{what}:\n  {command}", markup=False)


def _program() -> str:
    """Return how this program was called, so that the printed commands can be pasted."""
    called = Path(sys.argv[0])
    here = Path.cwd()
    return _quoted(called.relative_to(here) if called.is_relative_to(here) else called)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
