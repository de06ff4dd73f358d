"""Fit a calibration to a site's own faces: a line, its caps, and how sure both are.

1. `fit_pairs` keeps the comparisons that would decide something in a lesson.
2. `fit_calibration` refuses too few people, fits the line, caps it by the people behind it, and
   draws whole people anew to say how far it would move with others.
3. The outcome is a document for one template contract. It has no effect until a second person
   activates it.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.pip_download import Silent
from pipelines.embedded_pictures import EmbeddedPictures
from pipelines.face_pairs import ScoredPairs
from verifier.arrays import Flags, FloatArray
from verifier.calibration import Calibration, CalibrationData
from verifier.comparison import DEFAULT_RULES, OutcomeRules
from verifier.errors import InputError, TooFewTrialsError
from verifier.evidence import MAX_ABS_LOG10_LR
from verifier.measured_rate import RULE_OF_THREE
from verifier.protocols import ProgressSink
from verifier.subject_bootstrap import drawn_weights, interval_edges

MIN_CALIBRATION_SUBJECTS: Final = 10
"""People with a mated pair below whom no contract is made unasked. With fewer than nine the upper
cap lies below the limit of a match, and an interval drawn from them says little."""

FEWEST_SUBJECTS: Final = 4
"""With three people the caps are 0: nothing could be said either way, asked for or not."""

PRIOR_SD: Final = 10.0
"""Of the standardised slope: how fast the natural log odds rise with one standard deviation of
scores of one kind. It is d' where scores are normal, and d' of usable networks is 3 to 8. Two
kinds that do not overlap would otherwise make the slope infinite."""

BOOTSTRAP_ROUNDS: Final = 400

_DECIMALS: Final = 6  # of the numbers in the document
_STEP: Final = 1e-4  # scores are told apart to four decimals, as results show them


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval over other people of the same kind."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """``log10_lr = slope * score + intercept``."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCalibration:
    """A calibration, and what its document does not say.

    ``slope`` and ``intercept`` are those of the document with their intervals; ``draws``, shape
    (rounds, 2), has the lines that other draws of the people gave.
    """

    calibration: Calibration
    slope: Estimate
    intercept: Estimate
    draws: FloatArray


def fit_pairs(scored: ScoredPairs, embedded: EmbeddedPictures) -> ScoredPairs:
    """Return the comparisons of faces fit for one in a lesson.

    A face that is too dark or turned away is inconclusive whatever its score; fitted along, it
    would make scores look worse, or better, than those that decide.
    """
    fit = ~(embedded.unfit[scored.picture_a] | embedded.unfit[scored.picture_b])
    return scored.taken(fit)


def fit_calibration(
    scored: ScoredPairs,
    *,
    name: str,
    made_on: date,
    rules: OutcomeRules = DEFAULT_RULES,
    allow_few: bool = False,
    rounds: int = BOOTSTRAP_ROUNDS,
    seed: int = 0,
    progress: ProgressSink | None = None,
) -> FittedCalibration:
    """Fit a calibration to completed comparisons.

    Parameters
    ----------
    allow_few
        Also with fewer than `MIN_CALIBRATION_SUBJECTS` people, whose caps may then let nothing
        be decided: a match is possible from 9 people on.
    rounds
        How often people are drawn anew for the intervals.

    Raises
    ------
    TooFewTrialsError
        If there are too few people; says how many are wanted.
    InputError
        If scores are not higher for one person than for two: labels, or pictures, are wrong.
    """
    _require_people(scored, rules, allow_few=allow_few)
    fit = _Fit.of(scored)
    line = fit.line(np.ones(len(scored.score)))
    if line.slope < 10**-_DECIMALS:
        raise InputError(
            "同一人的比对分数不比不同人的高，请检查照片的归属。 Scores of one person are no higher"
            " than those of two people: check whose pictures are in whose folder"
        )
    draws = bootstrap(
        scored,
        lambda weight: np.array(astuple(fit.line(weight))),
        rounds=rounds,
        seed=seed,
        progress=progress,
        stage="lines of other people",
    )
    calibration = _document(line, scored, name=name, made_on=made_on)
    low, high = interval_edges(draws, calibration.data.mated_subjects)
    return FittedCalibration(
        calibration=calibration,
        slope=Estimate(line.slope, float(low[0]), float(high[0])),
        intercept=Estimate(line.intercept, float(low[1]), float(high[1])),
        draws=draws,
    )


def people_for_match(rules: OutcomeRules) -> int:
    """Return how many people lift the upper cap to the limit of a match."""
    pairs = RULE_OF_THREE * 10**rules.match_from_log10_lr
    return math.ceil((1 + math.sqrt(1 + 8 * pairs)) / 2 - 1e-9)


def people_for_no_match(rules: OutcomeRules) -> int:
    """Return how many people take the lower cap down to the limit of a mismatch."""
    return math.ceil(RULE_OF_THREE * 10**-rules.no_match_to_log10_lr - 1e-9)


def bootstrap(
    scored: ScoredPairs,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    seed: int,
    stage: str,
    progress: ProgressSink | None = None,
    rounds: int = BOOTSTRAP_ROUNDS,
) -> FloatArray:
    """Return what ``statistic`` makes of people drawn with replacement, shape (rounds, ...).

    It is given how often each comparison counts, shape (n,); see `drawn_weights`.
    """
    sink = progress or Silent()
    weights = drawn_weights(
        scored.subject_a, scored.subject_b, scored.mated, rounds=rounds, seed=seed
    )
    values: list[FloatArray] = []
    for weight in weights:
        values.append(statistic(weight))
        sink.update(stage, len(values), rounds)
    return np.array(values)


def _require_people(scored: ScoredPairs, rules: OutcomeRules, *, allow_few: bool) -> None:
    people = len(np.unique(scored.subject_a[scored.mated]))
    if people >= (FEWEST_SUBJECTS if allow_few else MIN_CALIBRATION_SUBJECTS):
        return
    least = people_for_no_match(rules)
    if allow_few:
        raise TooFewTrialsError(
            f"同一人有两张以上合格照片的只有 {people} 人，少于 {FEWEST_SUBJECTS} 人什么也说明不了。"
            f" {people} people with two usable pictures; below {FEWEST_SUBJECTS} nothing can be"
            " said either way"
        )
    raise TooFewTrialsError(
        f"同一人有两张以上合格照片的只有 {people} 人，校准至少要 {MIN_CALIBRATION_SUBJECTS} 人；"
        f"要能判为不是本人，须 {least} 人。"
        f" {people} people with two usable pictures; at least {MIN_CALIBRATION_SUBJECTS} wanted,"
        f" and {least} before a comparison can say no_match (rule of three on people,"
        " docs/calibration.md). --few-people writes one all the same, to try out: a match is"
        f" possible from {people_for_match(rules)} people on"
    )


def _document(line: Line, scored: ScoredPairs, *, name: str, made_on: date) -> Calibration:
    data = _data(scored)
    least = max(data.least_log10_lr, -MAX_ABS_LOG10_LR)
    most = min(data.most_log10_lr, MAX_ABS_LOG10_LR)
    scale = 10**_DECIMALS
    return Calibration(
        name=name,
        made_on=made_on,
        contract_id=scored.contract_id,
        metric=scored.metric,
        slope=round(line.slope, _DECIMALS),
        intercept=round(line.intercept, _DECIMALS),
        # Rounded towards 0: a cap never promises more than the people support.
        min_log10_lr=math.ceil(least * scale) / scale,
        max_log10_lr=math.floor(most * scale) / scale,
        cap_reason=(
            f"rule of three: {data.subject_pairs:,} pairs of people and"
            f" {data.mated_subjects:,} people support no more"
        ),
        data=data,
    )


def _data(scored: ScoredPairs) -> CalibrationData:
    mated, first, second = scored.mated, scored.subject_a, scored.subject_b
    return CalibrationData(
        subjects=len(np.unique([first, second])),
        mated_subjects=len(np.unique(first[mated])),
        subject_pairs=len(np.unique(scored.subject_pair[~mated])),
        mated=int(mated.sum()),
        non_mated=int((~mated).sum()),
        sha256=scores_sha256(scored),
    )


def scores_sha256(scored: ScoredPairs) -> str:
    """Return the digest of the scores that `CalibrationData.sha256` describes; names nobody."""
    lines = sorted(
        f"{int(mated)} {score:.4f}\n"
        for mated, score in zip(scored.mated, scored.score, strict=True)
    )
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """Comparisons sorted into steps of 0.0001, so that many weightings are fitted quickly.

    Attributes
    ----------
    step
        Shape (n,): the step of each comparison.
    share
        Shape (n,): 1 over the comparisons of the same person, or of the same two people.
        Somebody with a hundred pictures says no more about people than somebody with two.
    scores
        Shape (k,): the score of each step.
    """

    step: NDArray[np.int64]
    share: FloatArray
    scores: FloatArray
    mated: Flags

    @classmethod
    def of(cls, scored: ScoredPairs) -> "_Fit":
        steps, step = np.unique(np.rint(scored.score / _STEP).astype(np.int64), return_inverse=True)
        _, pair, counts = np.unique(scored.subject_pair, return_inverse=True, return_counts=True)
        return cls(
            step=step,
            share=1 / counts[pair],
            scores=np.asarray(steps * _STEP, np.float64),
            mated=scored.mated,
        )

    def line(self, weight: FloatArray) -> Line:
        """Fit the line to comparisons that count so often, shape (n,).

        Logistic regression on the score standardised within its kind, both kinds weighing the
        same: the prior odds are then 1, and the log odds are the log likelihood ratio (Morrison,
        Australian Journal of Forensic Sciences 45 (2013) 173-197). The weights of each kind sum
        to the number of people with mated comparisons, so that `PRIOR_SD` fades as people are
        added, not as pictures are.
        """
        # Takes a second and 100 MB; commands that fit nothing must not wait for it.
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        each = weight * self.share
        mated = np.bincount(self.step, each * self.mated, len(self.scores))
        non_mated = np.bincount(self.step, each * ~self.mated, len(self.scores))
        people = mated.sum()
        mated, non_mated = mated / people, non_mated / non_mated.sum()
        centre, spread = _standard(self.scores, mated, non_mated)
        z = ((self.scores - centre) / spread)[:, np.newaxis]
        fitted = LogisticRegression(C=PRIOR_SD**2, solver="newton-cholesky", tol=1e-8).fit(
            np.concatenate([z, z]),
            np.repeat([True, False], len(z)),
            sample_weight=people * np.concatenate([mated, non_mated]),
        )
        slope = float(fitted.coef_[0, 0]) / spread
        intercept = float(fitted.intercept_[0]) - slope * centre
        return Line(slope / math.log(10), intercept / math.log(10))


def _standard(scores: FloatArray, mated: FloatArray, non_mated: FloatArray) -> tuple[float, float]:
    """Return the middle between the two kinds and the standard deviation within them."""
    means = np.dot(scores, mated), np.dot(scores, non_mated)
    variance = (
        np.dot((scores - means[0]) ** 2, mated) + np.dot((scores - means[1]) ** 2, non_mated)
    ) / 2
    # Scores that do not vary within a kind differ by less than a step.
    return float(np.mean(means)), max(float(np.sqrt(variance)), _STEP)
