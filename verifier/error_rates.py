"""How often comparison scores err: error counts at every threshold, EER, FNMR at an FMR.

A comparison is a match where its score is at least the threshold. Start with `rank_trials`, whose
`operating_points` every rate is read from. What a rate may claim for the number of errors and
people it rests on is told in `verifier.measured_rate`.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from verifier.arrays import Flags, FloatArray
from verifier.errors import InvalidEvidenceError, TooFewTrialsError

Indices: TypeAlias = NDArray[np.intp]

# How far a count may lie above ``target * n`` and still be taken for it: rounding of the product.
_COUNT_SLACK: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoints:
    """Errors at every threshold at which their number changes, from strict to lenient.

    All arrays have shape (k,). The first point lies above every score: nothing matches there,
    and ``threshold`` is infinite. Trials of equal score are on the same side of every threshold.

    Attributes
    ----------
    threshold
        Falling; a score that is at least this is a match.
    false_matches, false_non_matches
        Non-mated trials at or above the threshold (rising), mated trials below it (falling).
    mated, non_mated
        How many trials of each kind there are. Whole numbers unless trials were weighted.
    """

    threshold: FloatArray
    false_matches: FloatArray
    false_non_matches: FloatArray
    mated: float
    non_mated: float

    @property
    def fmr(self) -> FloatArray:
        """False match rate at each threshold, rising from 0 to 1."""
        return self.false_matches / self.non_mated

    @property
    def fnmr(self) -> FloatArray:
        """False non-match rate at each threshold, falling from 1 to 0."""
        return self.false_non_matches / self.mated

    def within_fmr(self, target: float) -> int:
        """Return the index of the most lenient threshold whose FMR is at most ``target``.

        The FNMR there is the smallest that the target allows.
        """
        allowed = target * self.non_mated + _COUNT_SLACK
        return int(np.searchsorted(self.false_matches, allowed, side="right")) - 1

    def equal_error_rate(self) -> float:
        """Return the EER: where the line through the operating points meets FMR = FNMR.

        The points are few where scores are, and seldom is one of them exactly there; between
        the two around it the rates are taken to change together, in a straight line.
        """
        gap = self.false_non_matches / self.mated - self.false_matches / self.non_mated
        after = int(np.argmax(gap <= 0))  # never the first, where the gap is 1
        share = gap[after - 1] / (gap[after - 1] - gap[after])
        low, high = self.false_matches[after - 1], self.false_matches[after]
        return float((low + share * (high - low)) / self.non_mated)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedTrials:
    """Trials sorted once, so that errors under many weightings are counted quickly.

    ``order``, shape (n,), sorts trials by falling score; ``mated`` is in that order; ``last``,
    shape (k,), has the last rank of each group of equal scores.
    """

    order: Indices
    mated: Flags
    last: Indices
    threshold: FloatArray

    def operating_points(self, weight: FloatArray | None = None) -> OperatingPoints:
        """Count errors; ``weight``, shape (n,) by rank, counts each trial so often.

        Raises
        ------
        TooFewTrialsError
            If there is no mated or no non-mated trial of any weight.
        """
        counts = np.ones(len(self.order)) if weight is None else weight
        matched = np.cumsum(np.where(self.mated, counts, 0.0))
        false_matches = np.cumsum(np.where(self.mated, 0.0, counts))
        mated, non_mated = float(matched[-1]), float(false_matches[-1])
        if mated <= 0 or non_mated <= 0:
            raise TooFewTrialsError("a rate wants mated and non-mated trials; one kind is missing")
        return OperatingPoints(
            threshold=self.threshold,
            false_matches=np.concatenate(([0.0], false_matches[self.last])),
            false_non_matches=np.concatenate(([mated], mated - matched[self.last])),
            mated=mated,
            non_mated=non_mated,
        )


def rank_trials(score: FloatArray, mated: Flags) -> RankedTrials:
    """Sort completed comparisons, shapes (n,), the most alike first.

    Raises
    ------
    TooFewTrialsError
        If there is none.
    InvalidEvidenceError
        If a score is not finite: it is on neither side of a threshold.
    """
    if score.size == 0:
        raise TooFewTrialsError("no completed comparison")
    if not np.isfinite(score).all():
        raise InvalidEvidenceError("a comparison score is not finite")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return RankedTrials(
        order=order,
        mated=mated[order],
        last=last,
        threshold=np.concatenate(([np.inf], ranked[last])),
    )
