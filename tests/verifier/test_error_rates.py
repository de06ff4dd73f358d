"""Error counts at every threshold, and the rates that are read from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.arrays import Flags, FloatArray
from verifier.error_rates import OperatingPoints, rank_trials
from verifier.errors import InvalidEvidenceError, TooFewTrialsError

# Few distinct values, so that ties between the kinds are frequent.
scores = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(lambda x: np.array(x, float))


def trials(mated: FloatArray, non_mated: FloatArray) -> tuple[FloatArray, Flags]:
    flags = np.repeat([True, False], [len(mated), len(non_mated)])
    return np.concatenate([mated, non_mated]), flags


def points_of(mated: FloatArray, non_mated: FloatArray) -> OperatingPoints:
    return rank_trials(*trials(mated, non_mated)).operating_points()


# A tie between the kinds at 0.5: both match there, or neither.
MATED = np.array([0.9, 0.8, 0.5, 0.3])
NON_MATED = np.array([0.5, 0.4, 0.2, 0.1, 0.0])


def test_errors_at_every_threshold() -> None:
    points = points_of(MATED, NON_MATED)
    assert points.threshold.tolist() == [np.inf, 0.9, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert points.false_non_matches.tolist() == [4, 3, 2, 1, 1, 0, 0, 0, 0]
    assert points.false_matches.tolist() == [0, 0, 0, 1, 2, 2, 3, 4, 5]


def test_eer_lies_between_two_operating_points() -> None:
    """At 0.5: FMR 0.2, FNMR 0.25; at 0.4: FMR 0.4, FNMR 0.25. They meet at 0.25."""
    assert points_of(MATED, NON_MATED).equal_error_rate() == pytest.approx(0.25)


def test_fnmr_at_an_fmr_takes_the_most_lenient_threshold_allowed() -> None:
    points = points_of(MATED, NON_MATED)
    assert points.fnmr[points.within_fmr(0.0)] == 0.5
    assert points.fnmr[points.within_fmr(0.19)] == 0.5
    assert points.fnmr[points.within_fmr(0.2)] == 0.25
    assert points.threshold[points.within_fmr(0.4)] == 0.3


def test_a_target_that_is_a_whole_count_is_not_missed_by_rounding() -> None:
    """0.29 of 100 is 29, though their product is a little less."""
    points = points_of(np.ones(3), np.linspace(-1, 0, 100))
    assert 0.29 * 100 < 29
    assert [points.false_matches[points.within_fmr(t)] for t in (0.29, 0.2899)] == [29, 28]


def test_separable_scores_have_no_errors_and_useless_ones_half() -> None:
    assert points_of(np.array([2.0, 3.0]), np.array([0.0, 1.0])).equal_error_rate() == 0
    assert points_of(np.zeros(4), np.zeros(7)).equal_error_rate() == pytest.approx(0.5)


@given(mated=scores, non_mated=scores)
def test_counts_are_what_counting_gives(mated: FloatArray, non_mated: FloatArray) -> None:
    points = points_of(mated, non_mated)
    for threshold, matched, missed in zip(
        points.threshold, points.false_matches, points.false_non_matches, strict=True
    ):
        assert matched == (non_mated >= threshold).sum()
        assert missed == (mated < threshold).sum()


@given(mated=scores, non_mated=scores)
def test_eer_ignores_which_kind_is_called_mated(mated: FloatArray, non_mated: FloatArray) -> None:
    """Turning the scores round and swapping the kinds swaps FMR and FNMR."""
    eer = points_of(mated, non_mated).equal_error_rate()
    assert 0 <= eer <= 1
    assert points_of(-non_mated, -mated).equal_error_rate() == pytest.approx(eer)


@given(mated=scores, non_mated=scores)
def test_only_the_order_of_scores_counts(mated: FloatArray, non_mated: FloatArray) -> None:
    points, stretched = points_of(mated, non_mated), points_of(np.exp(mated), np.exp(non_mated))
    assert stretched.equal_error_rate() == points.equal_error_rate()
    assert stretched.fnmr.tolist() == points.fnmr.tolist()


@given(
    mated=scores,
    non_mated=scores,
    target=st.floats(0, 1),
    times=st.lists(st.integers(0, 3), min_size=60, max_size=60),
)
def test_a_weight_counts_a_trial_so_often(
    mated: FloatArray, non_mated: FloatArray, target: float, times: list[int]
) -> None:
    score, flags = trials(mated, non_mated)
    weight = np.array(times[: len(score)], float)
    weight[[0, -1]] += 1  # at least one of each kind
    ranked = rank_trials(score, flags)
    weighted = ranked.operating_points(weight[ranked.order])
    counts = weight.astype(int)
    repeated = rank_trials(score.repeat(counts), flags.repeat(counts)).operating_points()
    assert weighted.equal_error_rate() == pytest.approx(repeated.equal_error_rate())
    assert weighted.fnmr[weighted.within_fmr(target)] == pytest.approx(
        repeated.fnmr[repeated.within_fmr(target)]
    )


def test_a_missing_kind_is_no_rate_of_zero() -> None:
    with pytest.raises(TooFewTrialsError, match="no completed comparison"):
        rank_trials(np.array([]), np.array([], bool))
    with pytest.raises(TooFewTrialsError, match="one kind is missing"):
        points_of(MATED, np.array([]))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidEvidenceError, match="not finite"):
        points_of(MATED, np.array([np.nan]))
