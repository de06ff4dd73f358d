"""``zhenxue calibrate``: a folder of people becomes a contract that two persons may activate."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from models.packs import find_pack
from pipelines.calibration_groups import read_groups
from pipelines.calibration_page import page
from pipelines.calibration_report import CalibrationReport, calibrate
from pipelines.picture_lists import read_folder
from service.chosen_calibration import metric_of
from service.chosen_models import chosen_observer
from service.console_output import ExitCode, out, print_json, progress_bars, reports_errors
from service.output_files import require_writable, write_whole
from service.settings import read_settings
from verifier.eligibility_facts import china_day


@reports_errors
def calibrate_command(
    *,
    folder: Annotated[Path, typer.Option(help="Pictures as person/photograph.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write the contract (JSON).")
    ],
    groups: Annotated[
        Path | None,
        typer.Option(
            help="CSV: person or photo, then any of sex, age_band, district, device, light."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the calibration; by default site-DATE.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write the page to read.")] = None,
    few_people: Annotated[
        bool,
        typer.Option("--few-people", help="Fewer than 10 people too; below 9 it decides nothing."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> ExitCode:
    """Fit a calibration to a site's own faces and write it as a dated contract.

    The contract has no effect until one person proposes it to the service and another approves
    it. Exit 0: written. 2: it could not be made, for example of too few people.
    """
    settings = read_settings()
    require_writable(output, report, inputs=(groups,))
    listed = read_folder(folder)
    by_group = None if groups is None else read_groups(groups, listed)
    pack = find_pack(settings.pack)
    today = china_day(datetime.now(UTC))
    with progress_bars() as bars:
        made = calibrate(
            listed,
            chosen_observer(settings),
            metric=metric_of(pack),
            name=name or f"site-{today.isoformat()}",
            made_on=today,
            groups=by_group,
            allow_few=few_people,
            progress=bars,
        )
    # The page first: a contract that lies there has one that explains it.
    if report is not None:
        write_whole(report, page(made).encode("utf-8"))
    write_whole(output, made.fitted.calibration.document() + b"\n")
    if as_json:
        print_json(made.to_json())
    else:
        _print(made, output, report)
    return ExitCode.OK


def _print(made: CalibrationReport, output: Path, report: Path | None) -> None:
    calibration, data = made.fitted.calibration, made.fitted.calibration.data
    out.print(f"{calibration.label}: {calibration.contract_id}", markup=False)
    out.print(
        f"{data.mated_subjects} people with two usable pictures, {data.mated:,} mated and"
        f" {data.non_mated:,} non-mated comparisons; {made.counts.fta} pictures without a face,"
        f" {made.counts.unfit} unfit"
    )
    for what, value in (("slope", made.fitted.slope), ("intercept", made.fitted.intercept)):
        out.print(f"{what} {value.value:.3f} ({value.low:.2f} to {value.high:.2f})")
    out.print(f"caps {calibration.min_log10_lr:+.3f} and {calibration.max_log10_lr:+.3f}")
    for _, (chinese, english) in made.warnings:
        out.print(f"! {chinese} {english}", markup=False, style="yellow")
    out.print(f"written: {output}" + (f", {report}" if report else ""), markup=False)
    out.print(
        "尚未生效：须一人提出、另一人批准。 Not in force until one person proposes it and another"
        " approves it: zhenxue calibrations, or POST /v1/calibrations."
    )
