"""What the service does without being asked: sign checkpoints, end sessions whose time ran out."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from types import TracebackType

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Repeatedly:
    """Calls ``act`` every ``every_s`` seconds in a thread of its own until it is stopped.

    What ``act`` raises is logged, by its kind and once for as long as it lasts, and ``failing``
    tells of it; the next call comes all the same.
    """

    name: str
    act: Callable[[], object]
    every_s: float
    failing: bool = field(default=False, init=False)
    _stop: Event = field(default_factory=Event, init=False, repr=False)
    _thread: Thread | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> "Repeatedly":
        self._thread = Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            self._once()

    def _once(self) -> None:
        try:
            self.act()
        except Exception as error:  # noqa: BLE001 - the thread must outlive a bug; it is logged
            # By its kind only: a message might carry what it was about.
            self._report(failing=True, kind=type(error).__name__)
        else:
            self._report(failing=False, kind="")

    def _report(self, *, failing: bool, kind: str) -> None:
        if failing is not self.failing:
            self.failing = failing
            if failing:
                logger.error("%s fails: %s", self.name, kind)
            else:
                logger.warning("%s works again", self.name)
