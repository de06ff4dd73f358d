"""From pictures of people to comparison scores of mated and non-mated pairs.

1. `pipelines.picture_lists` says which pictures show whom and which are compared.
2. `embed_listed` turns each picture into a vector and keeps nothing else of it
   (`pipelines.embedded_pictures`).
3. `score_pairs` compares, in blocks, and returns `ScoredPairs`, which evaluation and calibration
   build on.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.pip_download import Silent
from pipelines.embedded_pictures import EmbeddedPictures, clear_face, embed_listed, embed_pictures
from pipelines.picture_lists import FacePicture, PictureList
from verifier.arrays import Flags, Float32Array, FloatArray, IndexArray
from verifier.calibration import Metric
from verifier.errors import InvalidEvidenceError, TooFewTrialsError
from verifier.protocols import ProgressSink

__all__ = [
    "EmbeddedPictures",
    "FacePicture",
    "PictureList",
    "ScoredPairs",
    "clear_face",
    "comparison_scores",
    "embed_listed",
    "embed_pictures",
    "score_pairs",
]

MAX_NON_MATED: Final = 1_000_000
"""How many non-mated pairs of a folder are compared; of more, so many are drawn at random. At an
FMR of 1e-4 they leave 100 false matches to count, and the people behind them are far fewer."""

_BLOCK: Final = 8_192  # pairs scored at once: 16 MiB of vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPairs:
    """Every completed comparison, all arrays of shape (n,), and what was not compared.

    Attributes
    ----------
    score
        Comparison scores under ``metric``; higher is more alike.
    mated
        Whether the pair shows one person: ``subject_a == subject_b``.
    subject_a, subject_b
        Indices into ``subjects``, everybody of the list, compared or not.
    picture_a, picture_b
        Indices into the pictures that were embedded.
    subject_pair
        One number for each two people, in whichever order; worked out here.
    not_compared_mated, not_compared_non_mated
        Pairs lost because a picture failed to be acquired.
    identical
        Mated pairs left out because a picture is a copy, pixel by pixel, of another.
    non_mated_available
        Completed non-mated pairs before `MAX_NON_MATED` drew from them.
    """

    score: FloatArray
    mated: Flags
    subject_a: IndexArray
    subject_b: IndexArray
    picture_a: IndexArray
    picture_b: IndexArray
    subjects: tuple[str, ...]
    contract_id: str
    metric: Metric
    not_compared_mated: int
    not_compared_non_mated: int
    identical: int
    non_mated_available: int
    subject_pair: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        low = np.minimum(self.subject_a, self.subject_b).astype(np.int64)
        high = np.maximum(self.subject_a, self.subject_b)
        object.__setattr__(self, "subject_pair", low * len(self.subjects) + high)

    def taken(self, chosen: Flags | NDArray[np.integer[Any]]) -> "ScoredPairs":
        """Return the comparisons that a mask or indices choose, the other counts unchanged."""
        return replace(
            self,
            score=self.score[chosen],
            mated=self.mated[chosen],
            subject_a=self.subject_a[chosen],
            subject_b=self.subject_b[chosen],
            picture_a=self.picture_a[chosen],
            picture_b=self.picture_b[chosen],
        )


def score_pairs(
    embedded: EmbeddedPictures,
    listed: PictureList,
    *,
    metric: Metric,
    seed: int = 0,
    max_non_mated: int = MAX_NON_MATED,
    progress: ProgressSink | None = None,
) -> ScoredPairs:
    """Compare the pairs of ``listed``, whose pictures are those embedded.

    ``seed`` fixes which non-mated pairs are drawn where a folder has more than
    ``max_non_mated``. Memory is bounded by that number and by all mated pairs.

    Raises
    ------
    TooFewTrialsError
        If no mated pair, or no non-mated pair, could be compared.
    """
    names = {subject: number for number, subject in enumerate(listed.subjects)}
    subject = np.array([names[picture.subject] for picture in embedded.pictures], np.int32)
    chosen = (
        _choose_of_all(embedded, subject, max_non_mated, np.random.default_rng(seed))
        if listed.pairs is None
        else _choose_listed(embedded, subject, listed.pairs)
    )
    first, second = chosen.pairs.T
    mated = subject[first] == subject[second]
    if mated.all() or not mated.any():
        raise TooFewTrialsError(
            f"{int(mated.sum())} mated and {int((~mated).sum())} non-mated comparisons completed;"
            f" of {len(embedded.pictures)} pictures {embedded.fta} could not be used"
        )
    return ScoredPairs(
        score=_scores(embedded.vectors, chosen.pairs, metric, progress or Silent()),
        mated=mated,
        subject_a=subject[first],
        subject_b=subject[second],
        picture_a=first,
        picture_b=second,
        subjects=listed.subjects,
        contract_id=embedded.contract_id,
        metric=metric,
        not_compared_mated=chosen.not_compared_mated,
        not_compared_non_mated=chosen.not_compared_non_mated,
        identical=chosen.identical,
        non_mated_available=chosen.non_mated_available,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """Pairs to compare, shape (n, 2), and how many others there were; see `ScoredPairs`."""

    pairs: IndexArray
    not_compared_mated: int
    not_compared_non_mated: int
    identical: int
    non_mated_available: int


def _choose_listed(embedded: EmbeddedPictures, subject: IndexArray, pairs: IndexArray) -> _Chosen:
    """Choose the listed pairs of which both pictures were acquired."""
    first, second = pairs.T
    number = embedded.first_of_its_pixels()
    mated = subject[first] == subject[second]
    completed = embedded.acquired[first] & embedded.acquired[second]
    identical = completed & (number[first] == number[second])
    return _Chosen(
        pairs=pairs[completed & ~identical],
        not_compared_mated=int((mated & ~completed).sum()),
        not_compared_non_mated=int((~mated & ~completed).sum()),
        identical=int(identical.sum()),
        non_mated_available=int((~mated & completed).sum()),
    )


def _choose_of_all(
    embedded: EmbeddedPictures,
    subject: IndexArray,
    max_non_mated: int,
    generator: np.random.Generator,
) -> _Chosen:
    """Choose every mated pair of the pictures, and of the non-mated as many as allowed.

    Row by row, so that the pairs of 20,000 pictures never lie in memory at once. A copy of a
    picture is left out of everything: it would repeat each of its comparisons.
    """
    number = embedded.first_of_its_pixels()
    original = number == np.arange(len(number))
    usable = np.flatnonzero(embedded.acquired & original).astype(np.int32)
    everyone, completed = _pair_counts(subject), _pair_counts(subject[usable])
    copied = everyone.mated - _pair_counts(subject[original]).mated
    share = max_non_mated / max(completed.non_mated, 1)
    rows = [np.empty((0, 2), np.int32)]
    for at, picture in enumerate(usable):
        others = usable[at + 1 :]
        kept = subject[others] == subject[picture]
        kept |= True if share >= 1 else generator.random(len(others)) < share
        others = others[kept]
        rows.append(np.stack([np.full_like(others, picture), others], axis=1))
    return _Chosen(
        pairs=np.concatenate(rows),
        not_compared_mated=everyone.mated - copied - completed.mated,
        not_compared_non_mated=_pair_counts(subject[original]).non_mated - completed.non_mated,
        identical=copied,
        non_mated_available=completed.non_mated,
    )


@dataclass(frozen=True, slots=True)
class _PairCounts:
    mated: int
    non_mated: int


def _pair_counts(subject: IndexArray) -> _PairCounts:
    """Count the pairs of pictures whose subjects are given."""
    mated = sum(math.comb(int(count), 2) for count in np.unique(subject, return_counts=True)[1])
    return _PairCounts(mated, math.comb(len(subject), 2) - mated)


def _scores(
    vectors: Float32Array, pairs: IndexArray, metric: Metric, sink: ProgressSink
) -> FloatArray:
    """Return the score of each pair, shape (n,), as `verifier.comparison` would, in blocks."""
    scores = np.empty(len(pairs), np.float64)
    for start in range(0, len(pairs), _BLOCK):
        sink.update("comparisons", start, len(pairs))
        first, second = pairs[start : start + _BLOCK].T
        scores[start : start + _BLOCK] = comparison_scores(vectors[first], vectors[second], metric)
    sink.update("comparisons", len(pairs), len(pairs))
    return scores


def comparison_scores(references: Float32Array, probes: Float32Array, metric: Metric) -> FloatArray:
    """Return the scores of n pairs of vectors, both of shape (n, d): shape (n,).

    The same as `verifier.comparison.comparison_score` of each pair, up to rounding.

    Raises
    ------
    InvalidEvidenceError
        If a vector of length 0 is to be compared by its direction.
    """
    first, second = references.astype(np.float64), probes.astype(np.float64)
    if metric is Metric.L2:
        return 1.0 - _lengths(first - second)
    lengths = _lengths(first) * _lengths(second)
    if (lengths == 0).any():
        raise InvalidEvidenceError("a vector of length 0 has no direction to compare")
    cosines = np.einsum("ij,ij->i", first, second) / lengths
    return np.asarray(np.clip(cosines, -1.0, 1.0), np.float64)  # rounding may carry them past 1


def _lengths(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(vectors, axis=1), np.float64)
