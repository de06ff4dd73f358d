"""``zhenxue evaluate``: how well the installed networks tell the people of some pictures apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from models.packs import find_pack
from models.pip_download import Silent
from pipelines.evaluation import DEFAULT_ROUNDS, evaluate
from pipelines.evaluation_report import evaluation_page
from pipelines.evaluation_result import Evaluation
from pipelines.face_pairs import embed_listed, score_pairs
from pipelines.picture_lists import PictureList, read_folder, read_pairs
from pipelines.rate_texts import interval_text, percent, rate_text
from service.chosen_calibration import chosen_calibration
from service.chosen_models import chosen_observer
from service.console_output import (
    ExitCode,
    err,
    out,
    print_json,
    progress_bars,
    reports_errors,
)
from service.output_files import require_writable, write_whole
from service.settings import read_settings
from verifier.eligibility_facts import china_day
from verifier.errors import InputError
from verifier.measured_rate import MeasuredRate
from verifier.protocols import ProgressSink

MAX_ROUNDS = 100_000


@reports_errors
def evaluate_command(
    pairs: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PAIRS.csv]",
            help="Columns a, b (pictures, relative to the file), mated (0, 1, true or false);"
            " optionally subject_a, subject_b.",
        ),
    ] = None,
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Instead of a CSV: FOLDER/person/photograph, all pairs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a page with curves there.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Whose likelihood ratios to judge; else the built-in one.")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, max=MAX_ROUNDS, help="Draws for intervals; 0: none.")
    ] = DEFAULT_ROUNDS,
    seed: Annotated[int, typer.Option(min=0, help="Fixes what is drawn.")] = 0,
) -> ExitCode:
    """Measure error rates on labelled pictures: EER, FNMR at FMR, Cllr, with intervals.

    Exit 0: measured, and where data are too few it is said. 2: bad input; nothing was written.
    """
    settings = read_settings()
    listed = _listed(pairs, folder)
    require_writable(report, inputs=(pairs, calibration))
    chosen = chosen_calibration(calibration, find_pack(settings.pack))
    observer = chosen_observer(settings)
    with _progress() as progress:
        listed, embedded = embed_listed(listed, observer, progress=progress)
        scored = score_pairs(embedded, listed, metric=chosen.metric, seed=seed, progress=progress)
        evaluation = evaluate(
            listed,
            embedded,
            scored,
            calibration=chosen,
            rounds=bootstrap,
            seed=seed,
            progress=progress,
        )
    if report is not None:
        page = evaluation_page(evaluation, china_day(datetime.now(UTC)))
        write_whole(report, page.encode())
    if as_json:
        print_json(evaluation.to_json())
    else:
        _print_evaluation(evaluation)
    return ExitCode.OK


def _listed(pairs: Path | None, folder: Path | None) -> PictureList:
    if folder is not None and pairs is None:
        return read_folder(folder)
    if pairs is not None and folder is None:
        return read_pairs(pairs)
    raise InputError("a CSV of pairs or --folder wanted, one of the two")


@contextmanager
def _progress() -> Iterator[ProgressSink]:
    """Show bars to people; a log file gets none."""
    if not err.is_terminal:
        yield Silent()
        return
    with progress_bars() as bars:
        yield bars


def _print_evaluation(evaluation: Evaluation) -> None:
    images = len(evaluation.embedded.pictures)
    out.print(
        f"{evaluation.listed.name}: {evaluation.subjects:,} people, {images:,} pictures"
        f" (FTA {evaluation.embedded.fta:,}), {evaluation.mated:,} mated and"
        f" {evaluation.non_mated:,} non-mated comparisons",
        markup=False,
    )
    out.print(_table(evaluation))
    for name, rate in _rates(evaluation):
        if rate.why is not None:
            out.print(f"- {name}: {rate.why}", markup=False, style="yellow")
    for note in evaluation.notes:
        out.print(f"- {note.chinese} {note.english}", markup=False, style="yellow")
    cllr = "not measured" if evaluation.cllr is None else f"{evaluation.cllr:.3f} bit"
    out.print(f"Cllr {cllr}, min Cllr {evaluation.min_cllr:.3f} bit", markup=False)
    if evaluation.calibration is not None:
        out.print(f"calibration: {evaluation.calibration.label}", markup=False)
    out.print(f"contract: {evaluation.scored.contract_id}", markup=False)


def _rates(evaluation: Evaluation) -> list[tuple[str, MeasuredRate]]:
    targets = [(f"FNMR @ FMR {percent(each.target)}", each.rate) for each in evaluation.fnmr_at]
    return [("EER", evaluation.eer), *targets]


def _table(evaluation: Evaluation) -> Table:
    table = Table(title="错误率 error rates", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("value", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("依据 data")
    for name, rate in _rates(evaluation):
        enough = "太少 too few" if rate.few else "足够 enough"
        table.add_row(name, rate_text(rate), interval_text(rate), enough)
    return table
