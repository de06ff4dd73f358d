"""An observer that looks at so many frames at a time: more would only make each slower."""

from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Final

from verifier.arrays import Pixels
from verifier.errors import VerifierError
from verifier.observation import FrameObservation
from verifier.protocols import FaceObserver

LONGEST_WAIT_S: Final = 10.0
"""After this a caller is better off to ask again: an answer stays possible until its deadline."""


class BusyError(VerifierError):
    """Too many frames wait to be looked at; the same answer may be sent again."""


@dataclass(frozen=True, slots=True)
class BoundedObserver:
    """Lets ``at_once`` threads through to ``inner``; a `verifier.protocols.FaceObserver`."""

    inner: FaceObserver
    at_once: int
    _free: BoundedSemaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_free", BoundedSemaphore(self.at_once))

    @property
    def contract_id(self) -> str:
        """The inner observer's contract."""
        return self.inner.contract_id

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:
        """Observe a frame; ``BusyError`` if no place came free in time."""
        if not self._free.acquire(timeout=LONGEST_WAIT_S):
            raise BusyError("too many frames wait to be judged; send the same answer again")
        try:
            return self.inner.observe(pixels, embed=embed)
        finally:
            self._free.release()
