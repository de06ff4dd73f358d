"""Turns at judging: a few at a time, a few more wait, and the rest are told at once.

Judging keeps a core busy, so more at a time would only make each slower. And whoever waits holds
one of the server's few dozen threads: if all of them waited, nobody could even ask for a prompt.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock
from typing import Final

from pipelines.check import CheckedFrames, FrameChecker
from verifier.calibration import AnyCalibration
from verifier.comparison import Template
from verifier.errors import VerifierError

MOST_WAITING: Final = 16
"""Less than half of the threads that serve requests, of which there are 40."""
LONGEST_WAIT_S: Final = 10.0
"""After this a caller is better off to ask again: an answer stays possible until its deadline."""


class BusyError(VerifierError):
    """Too many pictures wait to be judged; the same request may be sent again."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Lets ``at_once`` threads judge at a time, and ``waiting`` more wait for it."""

    at_once: int
    waiting: int = MOST_WAITING
    _places: BoundedSemaphore = field(init=False, repr=False)
    _judging: BoundedSemaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", BoundedSemaphore(self.at_once + self.waiting))
        object.__setattr__(self, "_judging", BoundedSemaphore(self.at_once))

    @contextmanager
    def take(self) -> Iterator[None]:
        """Judge in here; ``BusyError`` if there is no room to wait, or no turn came in time."""
        with _held(self._places, within_s=0.0), _held(self._judging, within_s=LONGEST_WAIT_S):
            yield


class Shares:
    """Lets each caller have ``each`` things going on at a time, so that some is left for others."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._lock = Lock()
        self._going_on: Counter[str] = Counter()

    @contextmanager
    def of(self, who: str) -> Iterator[None]:
        """Do one of ``who``'s things in here; ``BusyError`` if they have enough going on."""
        with self._lock:
            if self._going_on[who] >= self._each:
                raise BusyError(f"{self._each} are going on already")
            self._going_on[who] += 1
        try:
            yield
        finally:
            with self._lock:
                self._going_on[who] -= 1
                if not self._going_on[who]:
                    del self._going_on[who]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedChecker(FrameChecker):
    """A checker that judges in its turn, decoding included."""

    turns: Turns

    def check(
        self, frames: Sequence[bytes], reference: Template | None, calibration: AnyCalibration
    ) -> CheckedFrames:
        """Judge the frames that answered one prompt; ``BusyError`` if there is no turn for it."""
        with self.turns.take():
            # Not `super()`: a class with slots is another one than the one that it began as.
            return FrameChecker.check(self, frames, reference, calibration)


@contextmanager
def _held(semaphore: BoundedSemaphore, *, within_s: float) -> Iterator[None]:
    if not semaphore.acquire(timeout=within_s):
        raise BusyError("too many pictures wait to be judged; send the same request again")
    try:
        yield
    finally:
        semaphore.release()
