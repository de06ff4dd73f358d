"""What a measured rate may claim for the errors and the people it rests on.

Two rules of thumb speak where data are few: the rule of three bounds a rate of which no error was
seen, the rule of 30 says from how many errors on a rate can be relied upon. Between them no
interval is narrower than the independent comparisons allow. Start with `measured_eer` and
`measured_fnmr`.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

from verifier.error_rates import OperatingPoints
from verifier.subject_bootstrap import Interval

RULE_OF_THREE: Final = 3.0
"""0 errors in n independent trials show a rate below 3/n, and none below that (95 %); Hanley &
Lippman-Hand, JAMA 249 (1983) 1743-1745."""

RULE_OF_30: Final = 30
"""With 30 errors the true rate is within 30 % of the observed one with 90 % confidence (if trials
are independent); Doddington et al., Speech Communication 31 (2000) 225-254."""

_Z: Final = NormalDist().inv_cdf(0.975)

# How far a product of rate and count may lie beside the whole number it stands for.
_SLACK: Final = 1e-9


def rule_of_three(trials: int) -> float:
    """Return the rate that 0 errors in so many independent trials rule out (95 %), at most 1."""
    return min(1.0, RULE_OF_THREE / trials)


def upper_bound(rate: float, trials: int) -> float:
    """Return the most that a rate seen in so many independent trials allows for, at most 1.

    Wilson's upper limit (95 %, two-sided; J. Am. Stat. Assoc. 22 (1927) 209-212), and never less
    than `rule_of_three`: an error seen must not say more than none. ``rate`` need not be a whole
    number of trials.
    """
    z2 = _Z * _Z
    spread = _Z * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials * trials))
    wilson = (rate + z2 / (2 * trials) + spread) / (1 + z2 / trials)
    return min(1.0, max(wilson, rule_of_three(trials)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRate:
    """A rate, its 95 % interval, and whether the data carry it.

    Attributes
    ----------
    value
        None where the data cannot show it; never a zero that nobody has measured.
    low, high
        None where no interval can be given.
    few
        Fewer than 30 errors stand behind it (rule of 30): read the interval, not the value.
    why
        What is missing, in words; None where nothing is.
    """

    value: float | None
    low: float | None
    high: float | None
    few: bool
    why: str | None


def measured_rate(
    value: float,
    interval: Interval | None,
    *,
    errors: int,
    trials: int,
    people: int,
    kind: str,
    independent: int | None = None,
) -> MeasuredRate:
    """Say what a rate may claim: nothing but a bound without errors, little below 30 of them.

    Parameters
    ----------
    errors, trials, people
        What was counted, among how many comparisons of how many people (or pairs of people).
    kind
        What is counted, for the words: ``false non-matches``.
    independent
        How many of the comparisons count as independent, which bounds the interval
        (`upper_bound`) from both sides; ``people`` unless told.
    """
    units = people if independent is None else independent
    counted = f"{errors} {kind} in {trials:,} comparisons of {people:,} people"
    if errors == 0:
        bound = rule_of_three(units)
        pictures = (
            ""
            if independent is None
            else (f" {bound:.2g} counting the {units:,} that share no picture,")
        )
        unseen = (
            f"{counted}: not measured. By the rule of three it is below{pictures}"
            f" {rule_of_three(people):.2g} counting people, {rule_of_three(trials):.2g} if all"
            " comparisons were independent"
        )
        return MeasuredRate(value=None, low=0.0, high=bound, few=True, why=unseen)
    low, high = (None, None) if interval is None else _widened(interval, value, units)
    few = errors < RULE_OF_30
    why = f"{counted}; {RULE_OF_30} wanted (rule of 30)" if few else None
    return MeasuredRate(value=value, low=low, high=high, few=few, why=why)


def _widened(interval: Interval, rate: float, independent: int) -> Interval:
    """Return an interval no narrower than independent trials alone would give.

    Draws of the people seen know nothing of those who were not: with few errors they reach too
    low, and where all or none err they do not move at all.
    """
    low, high = interval
    return (
        min(low, 1 - upper_bound(1 - rate, independent)),
        max(high, upper_bound(rate, independent)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FnmrAtFmr:
    """The smallest FNMR that an FMR of at most ``target`` allows.

    ``threshold`` is the comparison score from which on pairs match there, with that many errors
    of each kind; None where the target is below what the pairs resolve.
    """

    target: float
    rate: MeasuredRate
    threshold: float | None
    false_matches: int | None
    false_non_matches: int | None


def measured_eer(
    points: OperatingPoints, interval: Interval | None, *, people: int, independent: int
) -> MeasuredRate:
    """Return the EER of trials that are not weighted.

    ``people`` is how many there are with mated trials, ``independent`` how many mated trials
    share no picture with each other.
    """
    value = points.equal_error_rate()
    rarer = int(min(points.mated, points.non_mated))
    return measured_rate(
        value,
        interval,
        errors=math.ceil(value * rarer - _SLACK),  # any error at all is at least one
        trials=rarer,
        people=people,
        kind="errors of either kind",
        independent=min(independent, rarer),
    )


def measured_fnmr(
    points: OperatingPoints,
    target: float,
    interval: Interval | None,
    *,
    people: int,
    independent: int,
) -> FnmrAtFmr:
    """Return the FNMR at an FMR of at most ``target``, of trials that are not weighted.

    ``people`` and ``independent`` as for `measured_eer`.
    """
    if target * points.non_mated < 1 - _SLACK:
        return FnmrAtFmr(
            target=target,
            rate=_unresolved(target, int(points.non_mated)),
            threshold=None,
            false_matches=None,
            false_non_matches=None,
        )
    at = points.within_fmr(target)
    missed, false_matches = int(points.false_non_matches[at]), int(points.false_matches[at])
    rate = measured_rate(
        missed / points.mated,
        interval,
        errors=missed,
        trials=int(points.mated),
        people=people,
        kind="false non-matches",
        independent=independent,
    )
    return FnmrAtFmr(
        target=target,
        rate=_resting_on(rate, int(target * points.non_mated + _SLACK), target),
        threshold=float(points.threshold[at]) if at else None,
        false_matches=false_matches,
        false_non_matches=missed,
    )


def _unresolved(target: float, non_mated: int) -> MeasuredRate:
    """Return the rate at a target so low that not one false match may happen."""
    why = (
        f"{non_mated:,} non-mated comparisons cannot show an FMR of {target:g}: one false match"
        f" is more. {1 / target:,.0f} wanted, {RULE_OF_30 / target:,.0f} for the rule of 30"
    )
    return MeasuredRate(value=None, low=None, high=None, few=True, why=why)


def _resting_on(rate: MeasuredRate, allowed: int, target: float) -> MeasuredRate:
    """Add that few false matches fix the threshold, where they do."""
    if allowed >= RULE_OF_30:
        return rate
    why = (
        f"false matches allowed at an FMR of {target:g}: {allowed}, which fix the threshold;"
        f" {RULE_OF_30} wanted"
    )
    return replace(rate, few=True, why=why if rate.why is None else f"{rate.why}; {why}")
