"""The page of an evaluation: one HTML file that needs no network, and shows nobody's face."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from pipelines.evaluation_result import Evaluation
from pipelines.page_templates import data_url, rendered
from pipelines.rate_texts import interval_text, percent, rate_text
from pipelines.score_plots import det_curve, score_histograms
from verifier.measured_rate import FnmrAtFmr, MeasuredRate

Line: TypeAlias = tuple[str, str, str]  # Chinese, English, value


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One row of the table of rates, as it is printed."""

    name: str
    meaning: str
    value: str
    interval: str
    errors: str
    measured: bool
    why: str | None


def evaluation_page(evaluation: Evaluation, made_on: date) -> str:
    """Return the page as HTML."""
    scored = evaluation.scored
    thresholds = [
        (f"FMR {percent(each.target)}", each.threshold)
        for each in evaluation.fnmr_at
        if each.threshold is not None
    ]
    return rendered(
        "evaluation.html.j2",
        e=evaluation,
        made_on=made_on.isoformat(),
        notes=[(note.chinese, note.english) for note in evaluation.notes],
        rates=[_eer_row(evaluation.eer), *(_fnmr_row(each) for each in evaluation.fnmr_at)],
        cllr=_cllr(evaluation),
        counts=_counts(evaluation),
        provenance=_provenance(evaluation),
        det=data_url(det_curve(evaluation.points, evaluation.eer.value)),
        histograms=data_url(
            score_histograms(scored.score[scored.mated], scored.score[~scored.mated], thresholds)
        ),
    )


def _eer_row(rate: MeasuredRate) -> RateRow:
    return RateRow(
        name="EER",
        meaning="等错误率 equal error rate",
        value=rate_text(rate),
        interval=interval_text(rate),
        errors="—",
        measured=rate.value is not None,
        why=rate.why,
    )


def _fnmr_row(found: FnmrAtFmr) -> RateRow:
    errors = (
        "—"
        if found.threshold is None
        else f"{found.false_non_matches} FNM / {found.false_matches} FM"
    )
    return RateRow(
        name=f"FNMR @ FMR {percent(found.target)}",
        meaning="错误不匹配率（同一人被判为不匹配，在该错误匹配率下） false non-match rate",
        value=rate_text(found.rate),
        interval=interval_text(found.rate),
        errors=errors,
        measured=found.rate.value is not None,
        why=found.rate.why,
    )


def _cllr(evaluation: Evaluation) -> str:
    if evaluation.cllr is None:
        return "未校准，无从计算 no calibration"
    if evaluation.cllr_interval is None:
        return f"{evaluation.cllr:.3f} bit"
    low, high = evaluation.cllr_interval
    return f"{evaluation.cllr:.3f} bit (95%: {low:.3f} – {high:.3f})"


def _counts(evaluation: Evaluation) -> Sequence[Line]:
    scored, embedded, listed = evaluation.scored, evaluation.embedded, evaluation.listed
    images = len(embedded.pictures)
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(embedded.failures.items()))
    numbers: Sequence[tuple[str, str, int]] = (
        ("图片", "pictures", images),
        (
            "质量不合格但仍比对",
            "unfit in quality, compared all the same",
            int(embedded.unfit.sum()),
        ),
        ("参与比对的人", "people compared", evaluation.subjects),
        ("有同人比对的人", "people with mated pairs", evaluation.mated_subjects),
        ("不同人的组合", "pairs of different people", evaluation.subject_pairs),
        ("同人比对", "mated comparisons", evaluation.mated),
        ("异人比对", "non-mated comparisons", evaluation.non_mated),
        ("可作的异人比对", "non-mated comparisons possible", scored.non_mated_available),
        ("未能比对（同人）", "mated pairs not compared", scored.not_compared_mated),
        ("未能比对（异人）", "non-mated pairs not compared", scored.not_compared_non_mated),
        ("完全相同的图片对", "pairs of identical pictures, left out", scored.identical),
        ("重复的行", "pairs listed twice, counted once", listed.duplicate_pairs),
        ("忽略的文件", "files ignored", listed.ignored_files),
    )
    fta = f"{embedded.fta:,} / {images:,}" + (f" ({reasons})" if reasons else "")
    lines = [(chinese, english, f"{number:,}") for chinese, english, number in numbers]
    return [lines[0], ("采集失败 FTA", "no template could be made", fta), *lines[1:]]


def _provenance(evaluation: Evaluation) -> Sequence[Line]:
    scored, calibration = evaluation.scored, evaluation.calibration
    lines = [
        ("模板契约", "template contract", scored.contract_id),
        ("度量", "metric", scored.metric.value),
        ("校准", "calibration", "无 none" if calibration is None else calibration.label),
    ]
    if calibration is not None:
        lines.append(("校准编号", "calibration id", calibration.calibration_id))
        caps = f"{calibration.min_log10_lr:.2f} – {calibration.max_log10_lr:.2f} log10 LR"
        lines.append(("证据上下限", "caps", f"{caps}: {calibration.cap_reason}"))
    digest = f"{evaluation.data_sha256} ({evaluation.listed.name})"
    return [*lines, ("数据摘要 SHA-256", "data digest", digest)]
