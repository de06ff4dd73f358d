"""From a folder of people to a calibration, and what speaks for or against activating it.

`calibrate` runs all of it; `CalibrationReport.to_json` is what a program reads,
`pipelines.calibration_page` what people do.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final, TypeAlias

from pipelines.calibration import (
    MIN_CALIBRATION_SUBJECTS,
    Estimate,
    FittedCalibration,
    fit_calibration,
    fit_pairs,
    people_for_match,
    people_for_no_match,
)
from pipelines.calibration_groups import ATTRIBUTES, PictureGroups
from pipelines.calibration_rates import (
    WORST_TO_MEAN,
    CalibrationRates,
    CountedRate,
    Disparity,
    GroupRates,
    LimitRates,
    RateName,
    measure_rates,
)
from pipelines.embedded_pictures import EmbeddedPictures, embed_pictures
from pipelines.face_pairs import ScoredPairs, score_pairs
from pipelines.picture_lists import PictureList
from pipelines.rate_texts import percent
from verifier.calibration import Metric
from verifier.comparison import DEFAULT_RULES
from verifier.protocols import FaceObserver, ProgressSink
from verifier.transparency.canonical_json import JSONValue

BothTongues: TypeAlias = tuple[str, str]
"""Chinese, English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What went in, and what was left out on the way."""

    folder: str
    pictures: int
    fta: int
    unfit: int
    identical: int
    ungrouped_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """A calibration and everything that speaks for or against activating it."""

    fitted: FittedCalibration
    rates: CalibrationRates
    scored: ScoredPairs
    counts: Counts
    has_groups: bool

    @property
    def warnings(self) -> tuple[tuple[str, BothTongues], ...]:
        """What the two persons have to weigh: a code, and the words for it."""
        found = [*_people_warnings(self), *_fit_warnings(self)]
        found += [
            ("GROUP_DIFFERS", difference_text(difference))
            for difference in self.rates.disparities
            if difference.is_warning
        ]
        return tuple(found)

    def to_json(self) -> dict[str, JSONValue]:
        """Return the public format of ``calibrate --json``."""
        calibration = self.fitted.calibration
        return {
            "calibration": calibration.to_json(),
            "calibration_id": calibration.calibration_id,
            "label": calibration.label,
            "slope": _estimate_json(self.fitted.slope),
            "intercept": _estimate_json(self.fitted.intercept),
            "limits": [_limit_json(limit) for limit in self.rates.limits],
            "groups": [_group_json(group) for group in self.rates.groups],
            "differences": [_difference_json(item) for item in self.rates.disparities],
            "warnings": [
                {"code": code, "text_zh": chinese, "text_en": english}
                for code, (chinese, english) in self.warnings
            ],
            "pictures": self.counts.pictures,
            "fta": self.counts.fta,
            "unfit": self.counts.unfit,
            "identical": self.counts.identical,
        }


def calibrate(
    listed: PictureList,
    observer: FaceObserver,
    *,
    metric: Metric,
    name: str,
    made_on: date,
    groups: PictureGroups | None = None,
    allow_few: bool = False,
    progress: ProgressSink | None = None,
) -> CalibrationReport:
    """Make a calibration of the pictures of a folder.

    Raises
    ------
    TooFewTrialsError
        If there are too few people; see `fit_calibration`.
    InputError
        If pictures are labelled wrongly, as far as that shows.
    """
    embedded = embed_pictures(listed.pictures, observer, progress=progress)
    everything = score_pairs(embedded, listed, metric=metric, progress=progress)
    scored = fit_pairs(everything, embedded)
    fitted = fit_calibration(
        scored, name=name, made_on=made_on, allow_few=allow_few, progress=progress
    )
    by_attribute = groups.by_attribute if groups else {}
    return CalibrationReport(
        fitted=fitted,
        rates=measure_rates(scored, fitted.calibration, groups=by_attribute, progress=progress),
        scored=scored,
        counts=_counts(listed, embedded, everything, groups),
        has_groups=groups is not None,
    )


def _counts(
    listed: PictureList,
    embedded: EmbeddedPictures,
    everything: ScoredPairs,
    groups: PictureGroups | None,
) -> Counts:
    return Counts(
        folder=listed.name,
        pictures=len(listed.pictures),
        fta=embedded.fta,
        unfit=int(embedded.unfit.sum()),
        identical=everything.identical,
        ungrouped_rows=groups.strangers if groups else 0,
    )


def _people_warnings(report: CalibrationReport) -> list[tuple[str, BothTongues]]:
    """Say which outcomes the number of people rules out."""
    found: list[tuple[str, BothTongues]] = []
    data = report.fitted.calibration.data
    by_name = {limit.limit: limit for limit in report.rates.limits}
    if data.mated_subjects < MIN_CALIBRATION_SUBJECTS:
        text = (
            f"只有 {data.mated_subjects} 人，少于 {MIN_CALIBRATION_SUBJECTS} 人："
            "仅供试用，不应启用。",
            f"{data.mated_subjects} people, fewer than {MIN_CALIBRATION_SUBJECTS}:"
            " for trying out only.",
        )
        found.append(("FEW_PEOPLE", text))
    if not by_name["match"].reached:
        wanted = people_for_match(DEFAULT_RULES)
        text = (
            f"人数太少，任何比对都不会判为本人；须有 {wanted} 人。",
            f"So few people that nothing can match; {wanted} wanted.",
        )
        found.append(("NO_MATCH_POSSIBLE", text))
    if not by_name["no_match"].reached:
        wanted = people_for_no_match(DEFAULT_RULES)
        text = (
            f"比对不会判为「不是本人」，只会是「不确定」；须有 {wanted} 人各有两张以上合格照片。",
            f"A comparison can never say no_match, only inconclusive; {wanted} people with two"
            " usable pictures each wanted.",
        )
        found.append(("NO_MISMATCH_POSSIBLE", text))
    return found


def _fit_warnings(report: CalibrationReport) -> list[tuple[str, BothTongues]]:
    """Say where a straight line does not fit these scores.

    P(ratio of at least k | another person) is at most 1/k whatever the model (Royall, JASA 95
    (2000) 760-768); where more non-mated pairs lie above the cap, the cap says too much.
    """
    calibration, scored = report.fitted.calibration, report.scored
    found: list[tuple[str, BothTongues]] = []
    if report.fitted.slope.low <= 0:
        text = (
            "换一批人，直线可能不再上升：分数几乎分不出两个人。",
            "With other people the line may not rise: scores hardly tell two people apart.",
        )
        found.append(("SLOPE_UNSURE", text))
    above = scored.score[~scored.mated] >= calibration.score_at(calibration.max_log10_lr)
    below = scored.score[scored.mated] <= calibration.score_at(calibration.min_log10_lr)
    for code, share, cap in (
        ("UPPER_CAP_OVERCLAIMS", float(above.mean()), calibration.max_log10_lr),
        ("LOWER_CAP_OVERCLAIMS", float(below.mean()), -calibration.min_log10_lr),
    ):
        if share > 10**-cap:
            seen, allowed = percent(share), percent(10**-cap)
            text = (
                f"直线不合适：{seen} 的比对越过上下限，按其含义至多 {allowed}。",
                f"The line does not fit: {seen} of comparisons lie beyond a cap that allows for"
                f" {allowed}.",
            )
            found.append((code, text))
    return found


_RATE_WORDS: Final = {
    RateName.FMR: ("错误匹配率", "FMR"),
    RateName.FNMR: ("错误不匹配率", "FNMR"),
}


def difference_text(item: Disparity) -> BothTongues:
    """Say how much more often the worst group is wronged than the mean."""
    chinese, english = _RATE_WORDS[item.rate]
    attribute = ATTRIBUTES.get(item.attribute, item.attribute)
    return (
        f"{attribute}「{item.worst}」的{chinese}是各组几何平均的 {item.ratio:.1f} 倍"
        + ("（错误不足 30 个，可能只是偶然）" if item.few else "")
        + "。",
        f"{english} of {item.attribute} “{item.worst}” is {item.ratio:.1f} times the geometric mean"
        f" of the groups" + (" (fewer than 30 errors: may be chance)" if item.few else "") + ".",
    )


def _estimate_json(estimate: Estimate) -> dict[str, JSONValue]:
    names = ("value", "low", "high")
    return {name: round(getattr(estimate, name), 4) for name in names}


def _rate_json(rate: CountedRate | None) -> JSONValue:
    """Return a rate with its counts; null where there are too few people."""
    if rate is None:
        return None
    measured = rate.measured
    return {
        "value": _rounded(measured.value),
        "low": _rounded(measured.low),
        "high": _rounded(measured.high),
        "errors": rate.errors,
        "trials": rate.trials,
        "independent": rate.people,
        "few": measured.few,
    }


def _limit_json(limit: LimitRates) -> dict[str, JSONValue]:
    return {
        "limit": limit.limit,
        "log10_lr": limit.log10_lr,
        "comparison_score": round(limit.score, 4),
        "reached": limit.reached,
        **{name.value: _rate_json(rate) for name, rate in limit.rates.items()},
    }


def _group_json(group: GroupRates) -> dict[str, JSONValue]:
    return {
        "attribute": group.attribute,
        "group": group.group,
        "people": group.people,
        **{name.value: _rate_json(rate) for name, rate in group.rates.items()},
    }


def _difference_json(item: Disparity) -> dict[str, JSONValue]:
    return {
        "attribute": item.attribute,
        "rate": item.rate.value,
        "worst": item.worst,
        "worst_to_geometric_mean": round(item.ratio, 2),
        "warn_above": WORST_TO_MEAN,
        "few": item.few,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
