"""Cllr and min Cllr; pooling adjacent violators beside scikit-learn's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from verifier.arrays import FloatArray
from verifier.error_rates import rank_trials
from verifier.errors import TooFewTrialsError
from verifier.likelihood_cost import (
    cllr,
    mean_cost,
    min_cllr,
    pool_adjacent_violators,
    trial_costs,
)

log10_lrs = st.lists(st.floats(-1e4, 1e4), min_size=1).map(np.array)
scores = st.lists(st.integers(-9, 9), min_size=1, max_size=40).map(lambda x: np.array(x, float))


def min_cllr_of(mated: FloatArray, non_mated: FloatArray) -> float:
    flags = np.repeat([True, False], [len(mated), len(non_mated)])
    return min_cllr(rank_trials(np.concatenate([mated, non_mated]), flags))


def test_cllr_of_a_known_system() -> None:
    """A ratio of 3, always for the truth, costs log2(4/3) bits."""
    assert cllr(np.log10([3.0]), -np.log10([3.0])) == pytest.approx(math.log2(4 / 3))


def test_saying_nothing_costs_one_bit() -> None:
    assert cllr(np.zeros(3), np.zeros(5)) == pytest.approx(1.0)


@given(mated=log10_lrs, non_mated=log10_lrs)
def test_cllr_ignores_which_proposition_is_h1(mated: FloatArray, non_mated: FloatArray) -> None:
    """Renaming H1 and H2 negates every ratio and swaps the sets; nothing changes."""
    assert cllr(mated, non_mated) == pytest.approx(cllr(-non_mated, -mated))


def test_cllr_of_nothing_is_undefined() -> None:
    with pytest.raises(TooFewTrialsError, match="0 mated, 1 non-mated"):
        cllr(np.array([]), np.array([1.0]))


@given(trials=st.lists(st.tuples(st.floats(-50, 50), st.booleans(), st.integers(0, 4))))
def test_a_trial_that_weighs_two_is_a_trial_twice(
    trials: list[tuple[float, bool, int]],
) -> None:
    trials = [*trials, (1.0, True, 1), (-1.0, False, 2)]
    ratios, mated, weight = (np.array(column) for column in zip(*trials, strict=True))
    repeated = np.repeat(ratios, weight), np.repeat(mated, weight)
    wanted = cllr(repeated[0][repeated[1]], repeated[0][~repeated[1]])
    assert mean_cost(trial_costs(ratios, mated), mated, weight.astype(float)) == pytest.approx(
        wanted
    )


def test_trials_of_no_weight_cost_nothing_that_is_known() -> None:
    mated = np.array([True, False])
    with pytest.raises(TooFewTrialsError, match="0 mated, 2 non-mated"):
        mean_cost(np.ones(2), mated, np.array([0.0, 2.0]))


def test_min_cllr_of_a_known_system() -> None:
    """Two of three mated and one of three non-mated above the rest: ratios of 2 and 1/2."""
    cost = (2 / 3) * math.log2(1 + 1 / 2) + (1 / 3) * math.log2(1 + 2)
    assert min_cllr_of(np.array([1.0, 1, 0]), np.array([1.0, 0, 0])) == pytest.approx(cost)


def test_min_cllr_ends() -> None:
    assert min_cllr_of(np.array([3.0, 4]), np.array([1.0, 2])) == 0
    assert min_cllr_of(np.array([1.0, 2]), np.array([3.0, 4])) == pytest.approx(1)


@given(mated=scores, non_mated=scores)
def test_no_rising_function_of_the_scores_costs_less(
    mated: FloatArray, non_mated: FloatArray
) -> None:
    least = min_cllr_of(mated, non_mated)
    assert 0 <= least <= 1 + 1e-12
    for slope in (0.05, 0.3, 2.0):
        assert cllr(slope * mated, slope * non_mated) >= least - 1e-12


@given(
    counts=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(any), min_size=1, max_size=40
    )
)
def test_pools_are_those_of_scikit_learn(counts: list[tuple[int, int]]) -> None:
    mated, non_mated = (np.array(column, float) for column in zip(*counts, strict=True))
    theirs = IsotonicRegression().fit_transform(
        np.arange(len(counts)), mated / (mated + non_mated), sample_weight=mated + non_mated
    )
    pools = pool_adjacent_violators(mated, non_mated)
    sizes = pools[0] + pools[1]
    # Each trial's pooled share, in order: how the groups fell into pools does not matter.
    ours = np.repeat(pools[0] / sizes, sizes.astype(int))
    assert ours == pytest.approx(np.repeat(theirs, (mated + non_mated).astype(int)))
