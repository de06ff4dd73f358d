"""What a rate may claim for the errors and people behind it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.error_rates import OperatingPoints, rank_trials
from verifier.measured_rate import (
    measured_eer,
    measured_fnmr,
    measured_rate,
    rule_of_three,
    upper_bound,
)


def points_of(mated: int, non_mated: int, missed: int, false_matches: int) -> OperatingPoints:
    """Return trials of which so many lie beyond the other kind, each with its own score."""
    score = np.concatenate(
        [
            np.linspace(-0.5, -0.4, missed),
            np.linspace(0.8, 0.9, mated - missed),
            np.linspace(0.6, 0.7, false_matches),
            np.linspace(-0.2, 0.0, non_mated - false_matches),
        ]
    )
    return rank_trials(score, np.arange(mated + non_mated) < mated).operating_points()


def test_rule_of_three() -> None:
    assert rule_of_three(1000) == pytest.approx(0.003)
    assert rule_of_three(2) == 1.0
    # What it approximates: 95 % of series with that rate would have shown an error.
    assert (1 - rule_of_three(1000)) ** 1000 == pytest.approx(0.05, abs=0.001)


def test_upper_bound() -> None:
    # Wilson, 95 %: 1 of 10 gives 0.0179 to 0.4042.
    assert upper_bound(0.1, 10) == pytest.approx(0.4042, abs=1e-4)
    assert 1 - upper_bound(0.9, 10) == pytest.approx(0.0179, abs=1e-4)
    assert upper_bound(0.001, 5) == 0.6  # where Wilson's would be 0.44
    assert upper_bound(1.0, 40) == pytest.approx(1.0)


@given(st.integers(1, 200), st.integers(1, 20), st.data())
def test_an_error_more_never_bounds_a_rate_further_down(
    independent: int, each: int, data: st.DataObject
) -> None:
    """Also from none to one, and up to where all err; draws that never move are widened."""
    trials = independent * each
    errors = data.draw(st.integers(0, trials - 1))

    def edges(count: int) -> tuple[float, float]:
        found = measured_rate(
            count / trials,
            (count / trials, count / trials),
            errors=count,
            trials=trials,
            people=1,
            kind="errors",
            independent=independent,
        )
        assert found.low is not None
        assert found.high is not None
        return found.low, found.high

    (low, high), (next_low, next_high) = edges(errors), edges(errors + 1)
    assert high <= next_high + 1e-9
    assert low <= next_low + 1e-9
    assert next_low <= (errors + 1) / trials <= next_high + 1e-9
    assert next_low < 1


def test_draws_that_reach_further_stay() -> None:
    rate = measured_rate(
        0.1, (0.0, 0.9), errors=10, trials=100, people=50, kind="errors", independent=100
    )
    assert (rate.low, rate.high) == (0.0, 0.9)


def test_thirty_errors_are_enough() -> None:
    found = measured_fnmr(
        points_of(1000, 3000, 30, 30), 0.01, (0.02, 0.04), people=200, independent=500
    )
    assert found.rate.value == 0.03
    assert (found.rate.few, found.rate.why) == (False, None)
    assert (found.false_matches, found.false_non_matches) == (30, 30)


def test_fewer_errors_are_told() -> None:
    rate = measured_fnmr(
        points_of(1000, 4000, 29, 40), 0.01, (0.02, 0.04), people=200, independent=500
    ).rate
    assert rate.value == pytest.approx(0.029)
    assert rate.few
    assert rate.why is not None
    assert "29 false non-matches in 1,000 comparisons of 200 people" in rate.why


def test_few_false_matches_behind_the_threshold_are_told() -> None:
    rate = measured_fnmr(
        points_of(1000, 2000, 40, 20), 0.01, (0.03, 0.05), people=200, independent=500
    ).rate
    assert rate.few
    assert rate.why is not None
    assert "false matches allowed at an FMR of 0.01: 20" in rate.why


def test_no_error_is_a_bound_and_not_a_zero() -> None:
    rate = measured_fnmr(
        points_of(1000, 4000, 0, 40), 0.01, (0.0, 0.0), people=150, independent=300
    ).rate
    assert (rate.value, rate.low) == (None, 0.0)
    assert rate.high == pytest.approx(0.01)
    assert rate.why is not None
    assert "0.01 counting the 300 that share no picture, 0.02 counting people, 0.003" in rate.why


def test_an_fmr_below_one_in_all_comparisons_is_not_measured() -> None:
    found = measured_fnmr(points_of(225, 1000, 11, 1), 1e-4, (0.1, 0.2), people=5, independent=25)
    assert (found.rate.value, found.rate.low, found.rate.high) == (None, None, None)
    assert found.threshold is None
    assert found.rate.why is not None
    assert "10,000 wanted, 300,000 for the rule of 30" in found.rate.why


def test_an_fmr_of_one_in_all_comparisons_is() -> None:
    found = measured_fnmr(points_of(225, 1000, 11, 1), 1e-3, (0.01, 0.1), people=5, independent=25)
    assert found.rate.value == pytest.approx(11 / 225)
    assert found.false_matches == 1
    assert found.rate.few


def test_eer_counts_the_errors_of_the_rarer_kind() -> None:
    rate = measured_eer(points_of(100, 10_000, 3, 300), (0.01, 0.05), people=20, independent=40)
    assert rate.value == pytest.approx(0.03)
    assert rate.why is not None
    assert rate.why.startswith("3 errors of either kind in 100 comparisons of 20 people")


def test_an_eer_without_errors_is_a_bound() -> None:
    rate = measured_eer(points_of(100, 1000, 0, 0), (0.0, 0.0), people=10, independent=20)
    assert (rate.value, rate.low) == (None, 0.0)
    assert rate.high == pytest.approx(3 / 20)


def test_without_an_interval_the_value_stands_alone() -> None:
    rate = measured_eer(points_of(1000, 1000, 50, 50), None, people=2, independent=20)
    assert (rate.low, rate.high) == (None, None)
    assert rate.value == pytest.approx(0.05)
