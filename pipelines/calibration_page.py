"""What a site reads before two persons activate a calibration: one page, no photographs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.calibration_groups import ATTRIBUTES
from pipelines.calibration_plot import calibration_picture
from pipelines.calibration_rates import CountedRate, GroupRates, LimitRates, RateName
from pipelines.calibration_report import CalibrationReport, difference_text
from verifier.subject_bootstrap import MIN_SUBJECTS


def page(report: CalibrationReport) -> str:
    """Return the report as one HTML page that needs nothing else."""
    environment = Environment(
        loader=PackageLoader("pipelines", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    picture = base64.b64encode(calibration_picture(report.scored, report.fitted)).decode("ascii")
    return environment.get_template("calibration.html.j2").render(
        r=report,
        c=report.fitted.calibration,
        picture=f"data:image/png;base64,{picture}",
        limits=[_limit_row(limit) for limit in report.rates.limits],
        groups=[_group_row(group) for group in report.rates.groups],
        differences=[(item, difference_text(item)) for item in report.rates.disparities],
        attributes=ATTRIBUTES,
        document=report.fitted.calibration.document().decode("utf-8"),
        fewest=MIN_SUBJECTS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RateCell:
    """A rate as the page shows it."""

    value: str
    interval: str
    counted: str
    few: bool


def _rate_cell(rate: CountedRate | None) -> _RateCell | None:
    if rate is None:
        return None
    measured = rate.measured
    interval = "" if measured.low is None else f"{measured.low:.2%} – {measured.high or 0:.2%}"
    return _RateCell(
        value=f"< {measured.high or 0:.2%}" if measured.value is None else f"{measured.value:.2%}",
        interval="" if measured.value is None else interval,
        counted=f"{rate.errors:,} / {rate.trials:,}",
        few=measured.few,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LimitRow:
    limit: LimitRates
    cells: Sequence[_RateCell | None]


def _limit_row(limit: LimitRates) -> _LimitRow:
    return _LimitRow(limit=limit, cells=[_rate_cell(limit.rates[name]) for name in RateName])


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupRow:
    group: GroupRates
    cells: Sequence[_RateCell | None]


def _group_row(group: GroupRates) -> _GroupRow:
    return _GroupRow(group=group, cells=[_rate_cell(group.rates[name]) for name in RateName])
