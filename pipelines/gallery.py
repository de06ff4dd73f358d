"""The faces of a whole authority in memory, searched exactly for one that looks like another.

Kept as single-precision rows in blocks that are never moved, so that what is removed is gone: a
row is overwritten in its place, and no array that once held it lies about in freed memory. On
disk is nothing of it; at a start it is rebuilt from the sealed templates (`rebuild`).

A search multiplies block by block in single precision, keeps every row that rounding could have
kept from the limit, and measures those again in double precision, exactly as `compare` does.
"""

import logging
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.lesson_store import EnrolmentSource, StoredEnrolment
from pipelines.sealed_template import TemplateSealer
from verifier.arrays import Float32Array, FloatArray
from verifier.comparison import Metric, Template, comparison_score
from verifier.errors import (
    ContractMismatchError,
    InvalidEvidenceError,
    LedgerError,
    UnknownSubjectError,
)

logger = logging.getLogger(__name__)

BLOCK_ROWS: Final = 65_536
"""32 MiB of 128 numbers each: few enough blocks, and a writer waits for one of them at most."""
SEARCH_THREADS: Final = 2
"""Of the gallery's own: a search takes what memory gives, and more threads get no more of it."""
BATCH: Final = 1000
"""Sealed templates read at a time when the gallery is rebuilt."""
_UNIT_ROUNDOFF: Final = 2.0**-24
_LOWEST: Final = float(np.finfo(np.float32).min)
_SQUARES: Final = (1e-18, 1e18)
"""Of lengths that may be multiplied with each other in single precision. A length of 0 has a
distance from others, but no direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Somebody in the gallery, and how alike they are: the score that `compare` would give."""

    learner_id: str
    comparison_score: float


class Gallery:
    """One template for each learner, all made under one contract; safe for threads.

    A search finds whoever was there when it began and was not removed meanwhile. Whoever decides
    on what a search found, and then adds, does both inside `alone`.
    """

    def __init__(self, contract_id: str, metric: Metric, *, block_rows: int = BLOCK_ROWS) -> None:
        self.contract_id, self.metric = contract_id, metric
        self._block_rows = block_rows
        self._blocks: list[_Block] = []
        self._places: dict[str, tuple[_Block, int]] = {}
        self._free: list[tuple[_Block, int]] = []
        self._pool = ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="gallery")
        self._changing = Lock()
        self._deciding = RLock()

    def __repr__(self) -> str:
        return f"Gallery({self.contract_id}, {len(self)} learners)"

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, learner_id: object) -> bool:
        return learner_id in self._places

    @property
    def allocated_bytes(self) -> int:
        """Memory set aside for rows and their lengths; names come on top."""
        return sum(block.rows.nbytes + block.squares.nbytes for block in self._blocks)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else from deciding on a search meanwhile.

        Or two who enrol one face at once would both search before either was there to be found.
        """
        with self._deciding:
            yield

    def add(self, learner_id: str, template: Template) -> None:
        """Put a learner in, in the place of their own earlier template if there is one.

        Raises
        ------
        ContractMismatchError
            If the template was made under another contract.
        InvalidEvidenceError
            If its length is not the others', or it cannot be compared by the metric.
        """
        self._require_fits(template)
        with self._changing:
            block, slot = self._places.get(learner_id) or self._free_place(template.vector.size)
            block.put(slot, learner_id, template.vector)
            self._places[learner_id] = (block, slot)

    def remove(self, learner_id: str) -> bool:
        """Take a learner out, their row overwritten; say whether they were in."""
        with self._changing:
            place = self._places.pop(learner_id, None)
            if place is None:
                return False
            block, slot = place
            block.clear(slot)
            self._free.append(place)
            return True

    def search(
        self, template: Template, *, limit: int, from_score: float, besides: str | None = None
    ) -> tuple[Hit, ...]:
        """Return who is at least as alike as ``from_score``, the most alike first.

        Parameters
        ----------
        limit
            At most so many, 1 or more.
        besides
            A learner who is not looked for: oneself.

        Raises
        ------
        ContractMismatchError, InvalidEvidenceError
            As `add`.
        """
        self._require_fits(template)
        if limit < 1 or math.isnan(from_score):
            raise ValueError(f"limit {limit}, from_score {from_score}; 1 or more and a number")
        probe = _Probe.of(template.vector, self.metric, from_score)
        # One more than wanted: `besides` may be among the best.
        found = self._pool.map(lambda block: block.search(probe, limit + 1), tuple(self._blocks))
        others = [hit for hits in found for hit in hits if hit.learner_id != besides]
        others.sort(key=lambda hit: (-hit.comparison_score, hit.learner_id))
        return tuple(others[:limit])

    def _require_fits(self, template: Template) -> None:
        if template.contract_id != self.contract_id:
            raise ContractMismatchError(
                f"template made under {template.contract_id}, the gallery holds {self.contract_id}"
            )
        wanted = self._blocks[0].rows.shape[1] if self._blocks else template.vector.size
        if template.vector.size != wanted:
            raise InvalidEvidenceError(f"a vector of {template.vector.size}, {wanted} wanted")
        square = _square(template.vector)
        least, most = _SQUARES
        if square > most or (self.metric is Metric.COSINE and square < least):
            raise InvalidEvidenceError("a vector too long, or too short, to be searched for")

    def _free_place(self, size: int) -> "tuple[_Block, int]":
        if self._free:
            return self._free.pop()
        if not self._blocks or self._blocks[-1].used == self._block_rows:
            self._blocks.append(_Block.empty(self._block_rows, size))
        return self._blocks[-1], self._blocks[-1].used


@dataclass(slots=True, kw_only=True)
class _Block:
    """Rows at fixed places, shape (n, d), and who is where.

    ``squares``, shape (n,), holds each row's squared length, ``taken`` whether anybody is there:
    a row of nobody is zero. ``used`` rows were ever taken.
    """

    rows: Float32Array = field(repr=False)
    squares: Float32Array = field(repr=False)
    taken: NDArray[np.bool_] = field(repr=False)
    names: list[str] = field(repr=False)
    used: int = 0
    lock: Lock = field(default_factory=Lock, repr=False)

    @classmethod
    def empty(cls, count: int, size: int) -> "_Block":
        return cls(
            rows=np.zeros((count, size), np.float32),
            squares=np.zeros(count, np.float32),
            taken=np.zeros(count, np.bool_),
            names=[""] * count,
        )

    def put(self, slot: int, name: str, vector: Float32Array) -> None:
        with self.lock:
            self.rows[slot] = vector
            self.squares[slot] = _square(vector)
            self.taken[slot], self.names[slot] = True, name
            self.used = max(self.used, slot + 1)

    def clear(self, slot: int) -> None:
        with self.lock:
            self.rows[slot] = 0
            self.squares[slot] = 0
            self.taken[slot], self.names[slot] = False, ""

    def search(self, probe: "_Probe", limit: int) -> list[Hit]:
        """Return the ``limit`` most alike, each measured exactly, in no order."""
        with self.lock:  # nobody is half there, or half somebody else
            used = slice(self.used)
            nearness, error = probe.nearness(self.rows[used], self.squares[used])
            nearness[~self.taken[used]] = -np.inf
            hits = [self._measured(slot, probe) for slot in _best(nearness, error, probe, limit)]
        return [hit for hit in hits if hit.comparison_score >= probe.from_score]

    def _measured(self, slot: int, probe: "_Probe") -> Hit:
        score = comparison_score(self.rows[slot], probe.vector, probe.metric)
        return Hit(learner_id=self.names[slot], comparison_score=score)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """What is looked for, and how near is near enough.

    Nearness rises with the score: minus the squared distance, or the cosine.
    """

    vector: Float32Array = field(repr=False)
    square: float
    metric: Metric
    from_score: float

    @classmethod
    def of(cls, vector: Float32Array, metric: Metric, from_score: float) -> "_Probe":
        return cls(vector=vector, square=_square(vector), metric=metric, from_score=from_score)

    @property
    def least_nearness(self) -> float:
        if self.metric is Metric.COSINE:
            return self.from_score
        furthest = 1.0 - self.from_score
        return -furthest * furthest if furthest >= 0 else math.inf

    def nearness(self, rows: Float32Array, squares: Float32Array) -> tuple[Float32Array, float]:
        """Return the nearness of each row, and by how much rounding can have moved it.

        A dot product of d numbers is wrong by at most d + 2 roundings of the product of both
        lengths (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1), and the
        few operations after it add some more.
        """
        # Not BLAS: its own threads wait for each other by spinning, and beside the networks, which
        # want the same cores, that costs more than they gain (docs/duplicates.md).
        nearness: Float32Array = np.einsum("ij,j->i", rows, self.vector)
        roundings = 4 * (self.vector.size + 8) * _UNIT_ROUNDOFF
        if self.metric is Metric.COSINE:
            lengths = np.sqrt(squares * np.float32(self.square))
            # Where nobody is, the length is 0; whoever is there has one.
            np.divide(nearness, lengths, out=nearness, where=lengths > 0)
            return nearness, roundings
        # -|a - b|^2 = 2ab - |a|^2 - |b|^2
        nearness *= 2
        nearness -= squares
        nearness -= np.float32(self.square)
        largest = float(squares.max(initial=0.0)) + self.square
        return nearness, roundings * largest


def _best(nearness: Float32Array, error: float, probe: _Probe, limit: int) -> NDArray[np.intp]:
    """Return the slots that may hold one of the ``limit`` nearest, or that are as near."""
    least = max(probe.least_nearness - error, _LOWEST)
    near = np.flatnonzero(nearness >= least)
    if near.size > limit:
        last = np.partition(nearness[near], -limit)[-limit]
        near = near[nearness[near] >= float(last) - 2 * error]
    return near


def _square(vector: Float32Array) -> float:
    exact: FloatArray = vector.astype(np.float64)
    return float(exact @ exact)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What became of the enrolments on record.

    Attributes
    ----------
    added
        Learners who are in the gallery now.
    forgotten
        Those whose key was destroyed.
    outdated
        Those whose template was made under another contract: they must enrol again.
    damaged
        Ids of those whose template no longer opens although its key is there.
    """

    added: int
    forgotten: int
    outdated: int
    damaged: tuple[str, ...] = field(repr=False)


def rebuild(gallery: Gallery, store: EnrolmentSource, templates: TemplateSealer) -> Rebuilt:
    """Fill a gallery from the sealed templates on record, a batch at a time.

    One template that is damaged keeps nobody else out; it is reported, and logged without a name.

    Raises
    ------
    LedgerError
        If the store cannot be read.
    """
    counts = {"added": 0, "forgotten": 0, "outdated": 0}
    damaged: list[str] = []
    for stored in _enrolments(store):
        try:
            counts[_add(gallery, stored, templates)] += 1
        except (LedgerError, InvalidEvidenceError):
            damaged.append(stored.learner_id)
    if damaged:
        logger.error("templates that are damaged and in no search: %d", len(damaged))
    return Rebuilt(**counts, damaged=tuple(damaged))


def _add(gallery: Gallery, stored: StoredEnrolment, templates: TemplateSealer) -> str:
    try:
        opened = templates.open(
            stored.learner_id, stored.sealed_template, contract_id=gallery.contract_id
        )
    except UnknownSubjectError:
        return "forgotten"
    except ContractMismatchError:
        return "outdated"
    gallery.add(stored.learner_id, opened.template)
    return "added"


def _enrolments(store: EnrolmentSource) -> Iterator[StoredEnrolment]:
    last = ""
    while batch := store.enrolments(after=last, limit=BATCH):
        yield from batch
        last = batch[-1].learner_id
