"""Live state that goes on while its server is away: a circuit breaker with a fallback.

While the primary cannot be reached the fallback answers, from what it knows itself. What that
costs, and why it is bearable:

- a rate starts afresh, so that one caller gets at most one more burst at each change of engine;
- a claim made with one engine is unknown to the other, so that one answer may be judged twice;
- a value put with one engine is missing from the other, and after an outage the primary may still
  hold the value from before it; either for as long as that value was to live, and no longer;
- after a change of engine two callers may each ``pop`` the same key once.

None of it changes an outcome: those are decided by SQL.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from service.live.live_state import Allowance, LiveState, LiveStateUnavailableError

RETRY_AFTER_S = 3.0

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ResilientLiveState:
    """Ask ``primary``; while it is away, ask ``fallback`` and try again every few seconds.

    The trial is one caller's own request; meanwhile all others go on with the fallback, so that a
    server which hangs holds up one request in ``retry_after_s``, for its time limit.
    """

    def __init__(
        self,
        primary: LiveState,
        fallback: LiveState,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        retry_after_s: float = RETRY_AFTER_S,
    ) -> None:
        self._primary = primary
        self._fallback = fallback
        self._monotonic = monotonic
        self._retry_after_s = retry_after_s
        self._lock = threading.Lock()
        self._next_trial_at: float | None = None  # None: the primary answers

    def take(self, key: str, *, limit: int, window_s: float) -> Allowance:
        """Take one unit of a rate."""
        return self._ask(lambda engine: engine.take(key, limit=limit, window_s=window_s))

    def claim(self, key: str, owner: str, ttl_s: float) -> bool:
        """Claim a key for an owner unless it is claimed."""
        return self._ask(lambda engine: engine.claim(key, owner, ttl_s))

    def release(self, key: str, owner: str) -> bool:
        """Give up a claim that this owner holds, in whichever engine it was made."""
        # A claim made during an outage must not outlive its owner's release after it.
        released = self._fallback.release(key, owner)
        return self._ask(lambda engine: engine.release(key, owner)) or released

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for a time."""
        self._ask(lambda engine: engine.put(key, value, ttl_s))

    def get(self, key: str) -> bytes | None:
        """Return a value or ``None``."""
        return self._ask(lambda engine: engine.get(key))

    def pop(self, key: str) -> bytes | None:
        """Return a value and remove it, in one step."""
        return self._ask(lambda engine: engine.pop(key))

    def describe(self) -> str:
        """Return the name of the engine that answers at present."""
        with self._lock:
            engine = self._primary if self._next_trial_at is None else self._fallback
        return engine.describe()

    def _ask(self, act: Callable[[LiveState], T]) -> T:
        may_try, seen = self._begin()
        if may_try:
            try:
                answer = act(self._primary)
            except LiveStateUnavailableError as error:
                self._lost(error)
            else:
                self._found(seen)
                return answer
        return act(self._fallback)

    def _begin(self) -> tuple[bool, float | None]:
        """Return whether to ask the primary, and the state of the breaker in which it is asked."""
        with self._lock:
            if self._next_trial_at is None:
                return True, None
            now = self._monotonic()
            if now < self._next_trial_at:
                return False, None
            # Put off for the others at once, so that one caller at a time tries.
            self._next_trial_at = now + self._retry_after_s
            return True, self._next_trial_at

    def _lost(self, error: LiveStateUnavailableError) -> None:
        with self._lock:
            news = self._next_trial_at is None
            self._next_trial_at = self._monotonic() + self._retry_after_s
        if news:
            self._report(logging.WARNING, "live_state_lost", self._fallback, str(error))

    def _found(self, seen: float | None) -> None:
        with self._lock:
            # An answer that was asked for before the outage says nothing about its end.
            news = seen is not None and self._next_trial_at == seen
            if news:
                self._next_trial_at = None
        if news:
            self._report(logging.INFO, "live_state_found", self._primary, "answers again")

    def _report(self, level: int, event: str, engine: LiveState, why: str) -> None:
        """Log one change of engine; ``why`` names an act and an error class, no key, no value."""
        fields = {"event": event, "engine": engine.describe(), "why": why}
        logger.log(level, "%s: %s answers (%s)", event, fields["engine"], why, extra=fields)
