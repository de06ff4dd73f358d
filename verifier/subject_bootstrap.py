"""How far a rate would move with other people: whole subjects are drawn, not pairs.

Comparisons of one person are not independent, so a bootstrap over pairs claims too much. A
subject drawn twice counts as two people who are each compared with themselves and with the
others, but not with each other: that would be a person's copy as a non-mated trial.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from verifier.arrays import FloatArray

Flags: TypeAlias = NDArray[np.bool_]
IndexArray: TypeAlias = NDArray[np.int32]

MIN_SUBJECTS: Final = 5
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


def subject_intervals(
    statistics: Callable[[FloatArray], Sequence[float]],
    *,
    subject_a: IndexArray,
    subject_b: IndexArray,
    mated: Flags,
    rounds: int,
    seed: int,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[tuple[float, float]]:
    """Return a 95 % interval for each of several statistics of the same trials.

    Percentiles of the draws, further out the fewer people there are with mated trials
    (`tail_share`), of whom there must be at least two.

    Parameters
    ----------
    statistics
        Is given the weights of the trials, shape (n,), in the order of ``mated``.
    subject_a, subject_b, mated
        Shape (n,); each subject may be any number, only equality counts.
    on_round
        Is told how many rounds are done.
    """
    people, numbered = np.unique(np.stack([subject_a, subject_b]), return_inverse=True)
    first, second = numbered.reshape(2, -1).astype(np.int32)
    generator = np.random.default_rng(seed)
    draws: list[Sequence[float]] = []
    while len(draws) < rounds:
        weight = trial_weights(draw_subjects(len(people), generator), first, second, mated)
        if not (weight[mated].any() and weight[~mated].any()):
            continue  # one person alone has no non-mated trial: draw again
        draws.append(statistics(weight))
        on_round(len(draws))
    # Who was never compared with themselves tells nothing of false non-matches.
    tail = tail_share(len(np.unique(first[mated])))
    edges = np.quantile(np.array(draws), (tail, 1 - tail), axis=0)
    return [(float(low), float(high)) for low, high in edges.T]


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
