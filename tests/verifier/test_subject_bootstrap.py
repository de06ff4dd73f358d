"""Intervals by drawing people."""

from statistics import NormalDist

import numpy as np
import pytest

from verifier.arrays import FloatArray, IndexArray
from verifier.subject_bootstrap import (
    draw_subjects,
    drawn_weights,
    interval_edges,
    student_quantile_975,
    subject_intervals,
    tail_share,
    trial_weights,
)


def test_a_subject_drawn_twice_is_not_compared_with_its_copy() -> None:
    """0 drawn twice, 1 once, 2 never: 0's mated trials count twice, 0 with 1 twice as well."""
    first, second = np.array([0, 1, 2, 0, 0, 1], np.int32), np.array([0, 1, 2, 1, 2, 2], np.int32)
    weight = trial_weights(np.array([2.0, 1.0, 0.0]), first, second, first == second)
    assert weight.tolist() == [2, 1, 0, 2, 0, 0]


def test_as_many_subjects_are_drawn_as_there_are() -> None:
    generator = np.random.default_rng(0)
    draws = [draw_subjects(7, generator) for _ in range(50)]
    assert all(drawn.shape == (7,) and drawn.sum() == 7 for drawn in draws)
    assert len({tuple(drawn) for drawn in draws}) > 40


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(4, 2.7764), (5, 2.5706), (9, 2.2622), (29, 2.0452), (200, 1.9719)]
)
def test_student_quantiles(freedom: int, quantile: float) -> None:
    """Beside the printed tables."""
    assert student_quantile_975(freedom) == pytest.approx(quantile, rel=3e-3)


def test_tails_are_thinner_for_few_people() -> None:
    """For 5 people t is 2.776, so 3.104 standard deviations: 1 draw in 1,000."""
    assert tail_share(5) == pytest.approx(NormalDist().cdf(-((5 / 4) ** 0.5) * 2.7764), rel=0.03)
    assert tail_share(10_000) == pytest.approx(0.025, rel=1e-3)
    assert tail_share(5) < tail_share(20) < tail_share(100) < 0.025


def test_every_draw_has_trials_of_both_kinds() -> None:
    """Of three people one alone is drawn in one draw of nine, and then again."""
    first, second = np.array([7, 8, 9, 7], np.int32), np.array([7, 8, 9, 8], np.int32)
    weights = list(drawn_weights(first, second, first == second, rounds=60, seed=0))
    assert len(weights) == 60
    assert all(weight[:3].sum() > 0 and weight[3] > 0 for weight in weights)


def test_edges_leave_out_what_a_draw_could_not_measure() -> None:
    """Of 0 to 100 in the limit of many people 2.5 and 97.5; each statistic has its own."""
    draws = np.arange(101.0)
    low, high = interval_edges(np.stack([draws, -draws], axis=1), 100_000)
    assert low == pytest.approx([2.5, -97.5], abs=0.01)
    assert high == pytest.approx([97.5, -2.5], abs=0.01)
    some = interval_edges(np.append(draws, np.nan), 100_000)
    assert some == pytest.approx((2.5, 97.5), abs=0.01)


def _people(count: int, seed: int) -> tuple[FloatArray, IndexArray, IndexArray]:
    """Return scores of 6 mated trials each, alike within a person, and who is in which trial."""
    generator = np.random.default_rng(seed)
    own = generator.normal(0, 1, count).repeat(6) + generator.normal(0, 0.1, 6 * count)
    subject = np.arange(count, dtype=np.int32).repeat(6)
    # One non-mated trial for each pair of neighbours, so that there is one at all.
    others = np.roll(np.arange(count, dtype=np.int32), 1)
    first = np.concatenate([subject, np.arange(count, dtype=np.int32)])
    return np.concatenate([own, np.zeros(count)]), first, np.concatenate([subject, others])


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """The mean of 12 people's scores is 0 in truth; 95 % intervals should miss it seldom.

    Drawing the 72 trials instead, which are alike within a person, misses it in two runs of five.
    """
    intervals = [_interval_of_mean(seed) for seed in range(100)]
    assert sum(low <= 0 <= high for low, high in intervals) >= 90


def _interval_of_mean(seed: int) -> tuple[float, float]:
    score, first, second = _people(12, seed)
    mated = first == second
    (interval,) = subject_intervals(
        lambda weight: [float(np.average(score[mated], weights=weight[mated]))],
        subject_a=first,
        subject_b=second,
        mated=mated,
        rounds=200,
        seed=seed,
    )
    return interval


def test_rounds_are_counted_and_a_seed_repeats_them() -> None:
    _, first, second = _people(6, 0)
    heard: list[int] = []

    def intervals(seed: int) -> list[tuple[float, float]]:
        return subject_intervals(
            lambda weight: [float(weight.max()), float(weight.sum())],
            subject_a=first,
            subject_b=second,
            mated=first == second,
            rounds=20,
            seed=seed,
            on_round=heard.append,
        )

    assert intervals(1) == intervals(1)
    assert intervals(1) != intervals(2)
    assert heard[:20] == list(range(1, 21))
