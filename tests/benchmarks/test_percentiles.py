"""Percentiles by nearest rank, their intervals by order statistics."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.percentiles import percentile, percentiles
from verifier.errors import TooFewTrialsError

latencies = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)
shares = st.floats(0.01, 0.99)


def test_interval_of_a_known_median() -> None:
    """Of 100 values the 40th and the 61st bound the median, as every table of them says."""
    found = percentile(range(1, 101), 0.5)
    assert (found.value, found.low, found.high) == (50, 40, 61)


def test_no_upper_bound_where_too_few_values_lie_above() -> None:
    """0.99 ** 368 > 2.5 %: of 367 or 368 values, all may well lie below the 99th percentile."""
    assert percentile(range(368 - 1), 0.99).high is None
    assert percentile(range(368), 0.99).high == 367


def test_no_value_has_no_percentile() -> None:
    with pytest.raises(TooFewTrialsError, match="0 values"):
        percentile([], 0.5)


def test_names() -> None:
    found = percentiles([float(n) for n in range(1, 1001)])
    assert {name: each["value"] for name, each in found.items()} == {
        "p50": 500,
        "p95": 950,
        "p99": 990,
    }


@given(values=latencies, share=shares, rng=st.randoms(use_true_random=False))
def test_order_does_not_matter_and_the_value_lies_within(
    values: list[float], share: float, rng: random.Random
) -> None:
    found = percentile(values, share)
    assert found.value in values
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.high >= found.value
    assert percentile(rng.sample(values, len(values)), share) == found


def test_interval_covers_what_is_true() -> None:
    """At least 95 % of intervals hold the true percentile; 3 standard errors are allowed for."""
    rng, trials = random.Random(1), 400
    covered = 0
    for _ in range(trials):
        found = percentile([rng.random() for _ in range(500)], 0.95)
        covered += (found.low or 0) <= 0.95 <= (found.high or 1)
    assert covered / trials >= 0.95 - 3 * (0.95 * 0.05 / trials) ** 0.5
