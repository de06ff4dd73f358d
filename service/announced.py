"""Which answers were announced while there was time, so that only these may still arrive after it.

Whoever announces an answer commits to its bytes. Otherwise announcing anything would buy another
minute to come back and take a picture in. In memory only: who is forgotten was not announced.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from verifier.protocols import Clock

MOST_OF_ONE: Final = 2
"""One that found the engine busy, and one that is sent in parts; a further one replaces the older.
"""
KEPT_S: Final = 900
"""Longer than any prompt takes answers."""


@dataclass(slots=True)
class _Announced:
    until: datetime
    digests: list[bytes] = field(default_factory=list)


class AnnouncedAnswers:
    """The SHA-256 of whole answers, by prompt and nonce; safe for threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._announced: dict[tuple[str, bytes], _Announced] = {}

    def __repr__(self) -> str:
        return f"AnnouncedAnswers({len(self._announced)} prompts)"

    def note(self, prompt_id: str, nonce: bytes, sha256: bytes) -> None:
        """Remember an answer that was announced in time, which is for the caller to know."""
        now = self._clock.now()
        with self._lock:
            found = self._announced.setdefault((prompt_id, nonce), _Announced(until=now))
            found.until = now + timedelta(seconds=KEPT_S)
            others = [digest for digest in found.digests if digest != sha256]
            found.digests = [*others, sha256][-MOST_OF_ONE:]

    def has(self, prompt_id: str, nonce: bytes, sha256: bytes) -> bool:
        """Say whether these very bytes were announced for a prompt."""
        with self._lock:
            found = self._announced.get((prompt_id, nonce))
            known = found is not None and self._clock.now() < found.until
            return found is not None and known and sha256 in found.digests

    def forget_expired(self) -> None:
        """Forget what no prompt can wait for any more; for a worker to call."""
        now = self._clock.now()
        with self._lock:
            self._announced = {k: v for k, v in self._announced.items() if now < v.until}
