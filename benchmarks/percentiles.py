"""Percentiles with intervals that assume nothing about how latencies are distributed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from verifier.errors import TooFewTrialsError

SHARES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """The value below or at which ``share`` of all values lie, with its 95 % interval.

    Attributes
    ----------
    low, high
        None where there are too few values to say.
    """

    share: float
    value: float
    low: float | None
    high: float | None

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"value": self.value, "low95": self.low, "high95": self.high}


def percentile(values: Sequence[float], share: float) -> Percentile:
    """Return a percentile by nearest rank, between two order statistics.

    The interval covers the true percentile of independent values with at least 95 %; latencies
    that queued behind one another are not independent, so theirs is rather too narrow.

    Raises
    ------
    TooFewTrialsError
        If there is no value.

    References
    ----------
    David & Nagaraja, Order Statistics, 3rd ed. (2003), section 7.1.
    """
    if not values:
        raise TooFewTrialsError("a percentile of 0 values, at least 1 wanted")
    ordered = sorted(values)
    count = len(ordered)
    below = _binomial_cdf(count, share)
    # P(X(low) <= percentile) >= 97.5 %: at most `low - 1` values lie below it too rarely.
    low = sum(chance <= 0.025 for chance in below)
    high = 1 + next(k for k, chance in enumerate(below) if chance >= 0.975)
    return Percentile(
        share=share,
        value=ordered[max(1, math.ceil(share * count)) - 1],
        low=ordered[low - 1] if low >= 1 else None,
        high=ordered[high - 1] if high <= count else None,
    )


def percentiles(values: Sequence[float]) -> dict[str, Any]:
    """Return the percentiles of `SHARES` as JSON; errors as `percentile`."""
    return {name: percentile(values, share).as_record() for name, share in SHARES.items()}


def _binomial_cdf(count: int, share: float) -> list[float]:
    """Return P(at most k of ``count`` values lie below the percentile) for k = 0 … count."""
    total, chances = 0.0, []
    for k in range(count + 1):
        ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        total += math.exp(ways + k * math.log(share) + (count - k) * math.log1p(-share))
        chances.append(total)
    chances[-1] = 1.0  # it is; the sum is short of it by rounding
    return chances
