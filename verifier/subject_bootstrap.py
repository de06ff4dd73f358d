"""How far a rate would move with other people: whole subjects are drawn, not pairs.

Comparisons of one person are not independent, so a bootstrap over pairs claims too much. A
subject drawn twice counts as two people who are each compared with themselves and with the
others, but not with each other: that would be a person's copy as a non-mated trial.

`subject_intervals` does all of it; `drawn_weights` and `interval_edges` are its two halves.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np

from verifier.arrays import Flags, FloatArray, IndexArray

Interval: TypeAlias = tuple[float, float]
"""The low and the high end of what holds a value with 95 %."""

MIN_INTERVAL_SUBJECTS: Final = 5
"""With fewer people the possible draws are a handful, and an interval from them says nothing."""


def draw_subjects(subjects: int, generator: np.random.Generator) -> FloatArray:
    """Draw as many subjects as there are, with replacement; how often each came, shape (n,)."""
    drawn = generator.integers(subjects, size=subjects)
    return np.bincount(drawn, minlength=subjects).astype(np.float64)


def trial_weights(
    drawn: FloatArray, subject_a: IndexArray, subject_b: IndexArray, mated: Flags
) -> FloatArray:
    """Return how often each trial occurs, shape (n,), when subject i was drawn ``drawn[i]`` times.

    ``subject_a``, ``subject_b`` and ``mated`` have shape (n,).
    """
    first = drawn[subject_a]
    return np.where(mated, first, first * drawn[subject_b])


def drawn_weights(
    subject_a: IndexArray, subject_b: IndexArray, mated: Flags, *, rounds: int, seed: int
) -> Iterator[FloatArray]:
    """Draw people anew so often; give how often each trial then occurs, shape (n,).

    Parameters
    ----------
    subject_a, subject_b, mated
        Shape (n,); each subject may be any number, only equality counts. There must be trials
        of both kinds: a draw without one (of one person alone, for example) is drawn again.
    """
    people, numbered = np.unique(np.stack([subject_a, subject_b]), return_inverse=True)
    first, second = numbered.reshape(2, -1).astype(np.int32)
    generator = np.random.default_rng(seed)
    given = 0
    while given < rounds:
        weight = trial_weights(draw_subjects(len(people), generator), first, second, mated)
        if weight[mated].any() and weight[~mated].any():
            given += 1
            yield weight


def interval_edges(draws: FloatArray, people: int) -> tuple[FloatArray, FloatArray]:
    """Return both ends of the 95 % interval of each statistic, shape (...).

    Percentiles of the draws, further out the fewer people stand behind them (`tail_share`).

    Parameters
    ----------
    draws
        Shape (rounds, ...); NaN where a draw had nothing to measure, which is left out.
    people
        At least two.
    """
    tail = tail_share(people)
    low, high = np.nanquantile(draws, (tail, 1 - tail), axis=0)
    return low, high


def subject_intervals(
    statistics: Callable[[FloatArray], Sequence[float]],
    *,
    subject_a: IndexArray,
    subject_b: IndexArray,
    mated: Flags,
    rounds: int,
    seed: int,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[Interval]:
    """Return a 95 % interval for each of several statistics of the same trials.

    Of the people behind it those with mated trials count; there must be at least two.

    Parameters
    ----------
    statistics
        Is given the weights of the trials, shape (n,), in the order of ``mated``.
    subject_a, subject_b, mated
        As `drawn_weights` takes them.
    on_round
        Is told how many rounds are done.
    """
    draws: list[Sequence[float]] = []
    for weight in drawn_weights(subject_a, subject_b, mated, rounds=rounds, seed=seed):
        draws.append(statistics(weight))
        on_round(len(draws))
    # Who was never compared with themselves tells nothing of false non-matches.
    lows, highs = interval_edges(np.array(draws), len(np.unique(subject_a[mated])))
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def tail_share(subjects: int) -> float:
    """Return the share of draws beyond each end of a 95 % interval: 0.025, less for few people.

    Percentiles of a bootstrap are too narrow by what separates the normal from Student's t
    distribution and n from n - 1; these ends make up for it. Hesterberg, The American
    Statistician 69 (2015) 371-386, section 4.
    """
    quantile = student_quantile_975(subjects - 1)
    return NormalDist().cdf(-math.sqrt(subjects / (subjects - 1)) * quantile)


def student_quantile_975(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution, within 0.3 % from 4 degrees on.

    Abramowitz & Stegun (1964), 26.7.5.
    """
    x = NormalDist().inv_cdf(0.975)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
    )
    return x + math.fsum(term / float(freedom) ** n for n, term in enumerate(terms, start=1))
