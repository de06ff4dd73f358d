"""Comparison scores of made-up people, whose true likelihood ratio is known."""

import numpy as np

from pipelines.face_pairs import ScoredPairs
from tests.fakes import CONTRACT
from verifier.calibration import Metric

SPREAD = 0.07
"""Standard deviation of the scores of either kind."""


def score_set(people: int, pictures: int, *, d_prime: float = 4.0, seed: int = 0) -> ScoredPairs:
    """Return all pairs of so many people with so many pictures each.

    Scores are normal with one standard deviation, mated ones about 0.5, non-mated ones ``d_prime``
    standard deviations below: the log likelihood ratio is then a straight line in the score, with
    slope ``d_prime / SPREAD`` in natural logarithms, and 0 in the middle.
    """
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(people), pictures).astype(np.int32)
    first, second = (side.astype(np.int32) for side in np.triu_indices(len(subject), 1))
    mated = subject[first] == subject[second]
    mean = np.where(mated, 0.5, 0.5 - d_prime * SPREAD)
    return ScoredPairs(
        score=mean + SPREAD * generator.standard_normal(len(mated)),
        mated=mated,
        subject_a=subject[first],
        subject_b=subject[second],
        picture_a=first,
        picture_b=second,
        subjects=tuple(f"person {number}" for number in range(people)),
        contract_id=CONTRACT,
        metric=Metric.L2,
        not_compared_mated=0,
        not_compared_non_mated=0,
        identical=0,
        non_mated_available=int((~mated).sum()),
    )
