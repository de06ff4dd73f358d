"""What a site reads before two persons activate a calibration: one page, no photographs."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.calibration_groups import ATTRIBUTES
from pipelines.calibration_plot import calibration_picture
from pipelines.calibration_rates import CountedRate, GroupRates, LimitRates, RateName
from pipelines.calibration_report import CalibrationReport, difference_text
from pipelines.page_templates import data_url, rendered
from pipelines.rate_texts import interval_text, rate_text
from verifier.subject_bootstrap import MIN_INTERVAL_SUBJECTS


def page(report: CalibrationReport) -> str:
    """Return the report as one HTML page that needs nothing else."""
    return rendered(
        "calibration.html.j2",
        r=report,
        c=report.fitted.calibration,
        picture=data_url(calibration_picture(report.scored, report.fitted)),
        limits=[_limit_row(limit) for limit in report.rates.limits],
        groups=[_group_row(group) for group in report.rates.groups],
        differences=[(item, difference_text(item)) for item in report.rates.disparities],
        attributes=ATTRIBUTES,
        document=report.fitted.calibration.document().decode("utf-8"),
        fewest=MIN_INTERVAL_SUBJECTS,
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
    return _RateCell(
        value=rate_text(rate.measured),
        interval=interval_text(rate.measured),
        counted=f"{rate.errors:,} / {rate.trials:,}",
        few=rate.measured.few,
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
