"""Identification, 1:N: how often a search of a whole gallery finds the wrong person, or misses.

A comparison that is wrong once in a thousand is wrong a thousand times in a gallery of a million.
So the score from which a hit counts rises with the gallery (`operating_point`), and what can be
claimed about it falls (`fpir_bound`): no data show a false-match rate below three in as many pairs
of people as stand behind a calibration. What was shown is another matter, and takes counting:
`FalseMatches`.

Rates here are of searches against a gallery in which everybody has one template (ISO/IEC 19795-1:
FPIR, FNIR). The arithmetic takes comparisons with different people as independent; look-alikes in
one county are not, which only makes the promises weaker.
"""

import math
from dataclasses import dataclass
from typing import Final

from verifier.arrays import FloatArray
from verifier.calibration import Calibration
from verifier.comparison import DEFAULT_RULES, OutcomeRules
from verifier.errors import TooFewTrialsError
from verifier.measured_rate import RULE_OF_THREE

HIGHEST_SCORE: Final = 1.0
"""Of both metrics: a vector compared with itself."""


def fpir(fmr: float, gallery_size: int) -> float:
    """Return the chance that a person who is not in a gallery hits anybody: 1 - (1 - FMR)^N.

    Parameters
    ----------
    fmr
        False-match rate of one comparison at the same threshold, 0 to 1.
    gallery_size
        N, 0 or more.
    """
    _require_rate("fmr", fmr)
    _require_size(gallery_size)
    if fmr == 1 or gallery_size == 0:
        return float(gallery_size > 0)
    # By logarithms, because 1 - 1e-17 is 1.
    return -math.expm1(gallery_size * math.log1p(-fmr))


def fmr_for(fpir_wanted: float, gallery_size: int) -> float:
    """Return the false-match rate with which a gallery of N has that FPIR; inverse of `fpir`."""
    _require_rate("fpir", fpir_wanted)
    if gallery_size < 1:
        raise ValueError(f"gallery_size is {gallery_size}; at least 1 was wanted")
    return 1.0 if fpir_wanted == 1 else -math.expm1(math.log1p(-fpir_wanted) / gallery_size)


def pairs_wanted(fpir_wanted: float, gallery_size: int) -> int:
    """Return how many independent pairs of people show that a gallery of N has that FPIR or less.

    Compared without one false match: by the rule of three that shows it with 95 %.
    """
    _require_rate("fpir", fpir_wanted)
    if fpir_wanted == 0:
        raise ValueError("fpir is 0; no amount of data shows that")
    return math.ceil(RULE_OF_THREE / fmr_for(fpir_wanted, gallery_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseMatches:
    """How many of ``pairs`` independent comparisons of different people matched at a threshold.

    Raises
    ------
    TooFewTrialsError
        If there are no pairs, or more matches than pairs.
    """

    matches: int
    pairs: int

    def __post_init__(self) -> None:
        if self.pairs < 1 or not 0 <= self.matches <= self.pairs:
            raise TooFewTrialsError(f"{self.matches} matches in {self.pairs} pairs; some wanted")

    @property
    def fmr(self) -> float:
        """What was seen; 0 of few pairs says little, see ``fmr_bound``."""
        return self.matches / self.pairs

    @property
    def fmr_bound(self) -> float:
        """What the false-match rate is below, with at least 95 %.

        Without a match, the rule of three; with some, Wilson's upper limit (one-sided, z = 1.645),
        never below the rule of three.
        """
        n, z2 = self.pairs, 1.645**2
        centre = self.fmr + z2 / (2 * n)
        spread = math.sqrt(z2 * (self.fmr * (1 - self.fmr) / n + z2 / (4 * n * n)))
        wilson = (centre + spread) / (1 + z2 / n)
        # Rounding must not bring the limit below what was seen.
        return min(1.0, max(wilson, self.fmr, RULE_OF_THREE / n))

    def fpir_bound(self, gallery_size: int) -> float:
        """Return what the FPIR is below when a gallery of N is searched at the same threshold."""
        return fpir(self.fmr_bound, gallery_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misses:
    """How many of ``searches`` for people who are in the gallery did not find them: FNIR."""

    misses: int
    searches: int

    def __post_init__(self) -> None:
        if self.searches < 1 or not 0 <= self.misses <= self.searches:
            raise TooFewTrialsError(f"{self.misses} misses in {self.searches}; some wanted")

    @property
    def fnir(self) -> float:
        """The share that was missed."""
        return self.misses / self.searches


def misses(mated_scores: FloatArray, from_score: float) -> Misses:
    """Count the mated comparisons that a search from ``from_score`` on would miss.

    The FNIR of a gallery with one template a person is the FNMR at the same threshold, however
    many others are in it: nothing but the threshold decides whether a hit is shown. (It is more
    where so many others score higher that the list of hits is cut.)

    Parameters
    ----------
    mated_scores
        Comparison scores of one person's pictures with their own, shape (n,).

    Raises
    ------
    TooFewTrialsError
        If there is none.
    """
    return Misses(misses=int((mated_scores < from_score).sum()), searches=int(mated_scores.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """From which score on a hit counts in a gallery, and what that means.

    Attributes
    ----------
    gallery_size
        People it was chosen for.
    log10_lr
        The least ratio of a hit, on the calibration's line, caps aside.
    comparison_score
        The same as a score. Above `HIGHEST_SCORE` nothing is ever a hit.
    false_hits
        Expected in one search of somebody who is not there, at most, if the line holds that far
        out. (Times the share of the same person's pictures that reach the point, which is 1 at
        most, too; see `operating_point`.)
    fmr_bound
        The least false-match rate of one comparison that may be claimed: what the line says at the
        point, and no less than the people behind the calibration could show, 10 to the minus its
        cap. Nothing was counted for it: it holds if the line does, and a cap says how many pairs
        there were (rule of three), not that none of them came this far.
    """

    gallery_size: int
    log10_lr: float
    comparison_score: float
    false_hits: float
    fmr_bound: float

    @property
    def false_hits_bound(self) -> float:
        """The least mean number of false hits in one search that may be claimed; `fmr_bound`."""
        return self.gallery_size * self.fmr_bound

    @property
    def fpir_bound(self) -> float:
        """The least FPIR that may be claimed; `fmr_bound`."""
        return fpir(self.fmr_bound, self.gallery_size)

    @property
    def is_extrapolated(self) -> bool:
        """Whether the point lies beyond what the calibration's people could show at all."""
        return self.false_hits < self.false_hits_bound

    @property
    def is_reachable(self) -> bool:
        """Whether any pair of pictures could be a hit."""
        return self.comparison_score <= HIGHEST_SCORE


def operating_point(
    calibration: Calibration,
    *,
    gallery_size: int,
    false_hits: float,
    rules: OutcomeRules = DEFAULT_RULES,
) -> OperatingPoint:
    """Return the point at which a search is expected to have ``false_hits``, or fewer.

    Of a ratio that is calibrated, P(ratio >= t | other people) <= P(ratio >= t | same person) / t
    <= 1/t: where the ratio is at least t, other people are at least t times rarer than the same
    person. So N others give at most N/t false hits, and the limit is ``log10 N - log10
    false_hits``. It is never below what a comparison of two is called a match from.

    Parameters
    ----------
    gallery_size
        People to be searched; an empty gallery counts as 1.
    false_hits
        Expected in one search of somebody who is not in the gallery, above 0.

    References
    ----------
    Good, Probability and the Weighing of Evidence (1950): the chance that a likelihood ratio
    exceeds t under the wrong hypothesis is at most 1/t.
    """
    _require_size(gallery_size)
    if not 0 < false_hits < math.inf:
        raise ValueError(f"false_hits is {false_hits}; a number above 0 was wanted")
    size = max(1, gallery_size)
    limit = max(rules.match_from_log10_lr, math.log10(size / false_hits))
    return OperatingPoint(
        gallery_size=size,
        log10_lr=limit,
        comparison_score=calibration.score_at(limit),
        false_hits=size * 10**-limit,
        fmr_bound=10 ** -min(limit, calibration.max_log10_lr),
    )


def _require_rate(name: str, rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"{name} is {rate}; 0 to 1 was wanted")


def _require_size(gallery_size: int) -> None:
    if gallery_size < 0:
        raise ValueError(f"gallery_size is {gallery_size}; 0 or more was wanted")
