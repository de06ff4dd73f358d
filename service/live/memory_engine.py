"""Live state in this process: exact, bounded and gone when the process ends.

The engine of last resort, and the one that takes over while Redis is away. Several processes that
serve do not share it, so that with ``n`` of them a rate limit is up to ``n`` times as lax.
"""

import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.live.live_state import Allowance, check_name, check_value, ttl_in_ms
from service.live.rate import Rate, take_one

DEFAULT_CAPACITY_BYTES = 64 * 1024 * 1024
MIN_CAPACITY_BYTES = 1024 * 1024  # several of the largest entries
# What an entry costs besides the bytes it holds: 360 to 395 measured with tracemalloc over 100,000
# rates and claims (CPython 3.11), and up to two places of some 300 that it left in the queue.
ENTRY_OVERHEAD_BYTES = 1_024

_Name = tuple[str, str]  # table and key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What is kept under one name."""

    name: _Name
    value: bytes | int
    expires_us: int
    serial: int  # tells it from what stood under the same name before

    @property
    def size(self) -> int:
        held = len(self.value) if isinstance(self.value, bytes) else 8
        return len(self.name[1]) + held + ENTRY_OVERHEAD_BYTES

    @property
    def place(self) -> tuple[int, int, _Name]:
        """Where it stands in the queue: soonest end first."""
        return (self.expires_us, self.serial, self.name)


class MemoryLiveState:
    """Live state in a dictionary under a lock, by a clock that never steps back.

    Parameters
    ----------
    monotonic
        Seconds of a clock that never steps back, from any origin.
    capacity_bytes
        What all entries together may take (>= 1 MiB). When the room runs out, entries that would
        have expired soonest go first, like Redis' ``volatile-ttl``: the newest caller is served,
        and what is lost had the least time to live.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        capacity_bytes: int = DEFAULT_CAPACITY_BYTES,
    ) -> None:
        if capacity_bytes < MIN_CAPACITY_BYTES:
            raise ValueError(f"capacity is {capacity_bytes} B; >= {MIN_CAPACITY_BYTES} wanted")
        self._monotonic = monotonic
        self._capacity = capacity_bytes
        self._lock = threading.Lock()
        self._entries: dict[_Name, _Entry] = {}
        # A heap. The place of an entry that was replaced or removed stays until it comes up, or
        # until such leftovers outnumber what is alive; it holds no value.
        self._queue: list[tuple[int, int, _Name]] = []
        self._used = 0
        self._serial = 0

    def take(self, key: str, *, limit: int, window_s: float) -> Allowance:
        """Take one unit of a rate, by the clock of this process."""
        rate = Rate(limit=limit, window_s=window_s)
        name = ("rate", check_name(key))
        with self._lock:
            now_us = self._now_us()
            kept = self._find(name, now_us)
            arrival_us = kept.value if kept is not None and isinstance(kept.value, int) else now_us
            taken = take_one(rate, arrival_us=arrival_us, now_us=now_us)
            if taken.allowance.allowed:
                # From its arrival time on, a kept number says the same as none.
                self._store(name, taken.arrival_us, taken.arrival_us, now_us)
        return taken.allowance

    def claim(self, key: str, owner: str, ttl_s: float) -> bool:
        """Claim a key for an owner unless it is claimed."""
        name, ttl_us = ("claim", check_name(key)), ttl_in_ms(ttl_s) * 1_000
        value = check_name(owner).encode("ascii")
        with self._lock:
            now_us = self._now_us()
            if self._find(name, now_us) is not None:
                return False
            self._store(name, value, now_us + ttl_us, now_us)
        return True

    def release(self, key: str, owner: str) -> bool:
        """Give up a claim that this owner holds."""
        name, value = ("claim", check_name(key)), check_name(owner).encode("ascii")
        with self._lock:
            held = self._find(name, self._now_us())
            if held is None or held.value != value:
                return False
            self._remove(held)
        return True

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for a time."""
        name, ttl_us = ("value", check_name(key)), ttl_in_ms(ttl_s) * 1_000
        copy = bytes(check_value(value))
        with self._lock:
            now_us = self._now_us()
            self._store(name, copy, now_us + ttl_us, now_us)

    def get(self, key: str) -> bytes | None:
        """Return a value or ``None``."""
        name = ("value", check_name(key))
        with self._lock:
            entry = self._find(name, self._now_us())
        return None if entry is None or isinstance(entry.value, int) else entry.value

    def pop(self, key: str) -> bytes | None:
        """Return a value and remove it, in one step."""
        name = ("value", check_name(key))
        with self._lock:
            entry = self._find(name, self._now_us())
            if entry is None or isinstance(entry.value, int):
                return None
            self._remove(entry)
        return entry.value

    def describe(self) -> str:
        """Return ``in-process``."""
        return "in-process"

    @property
    def used_bytes(self) -> int:
        """Bytes that the entries take, those that expired unseen included."""
        with self._lock:
            return self._used

    def _now_us(self) -> int:
        return round(self._monotonic() * 1_000_000)

    def _find(self, name: _Name, now_us: int) -> _Entry | None:
        """Return the entry under ``name`` that is still alive."""
        entry = self._entries.get(name)
        return entry if entry is not None and entry.expires_us > now_us else None

    def _store(self, name: _Name, value: bytes | int, expires_us: int, now_us: int) -> None:
        replaced = self._entries.get(name)
        if replaced is not None:
            self._remove(replaced)
        self._serial += 1
        entry = _Entry(name=name, value=value, expires_us=expires_us, serial=self._serial)
        # Before it goes in, so that what was just stored cannot be what makes way.
        self._make_room(entry.size, now_us)
        self._entries[name] = entry
        self._used += entry.size
        heapq.heappush(self._queue, entry.place)

    def _remove(self, entry: _Entry) -> None:
        del self._entries[entry.name]
        self._used -= entry.size
        if len(self._queue) > 2 * len(self._entries) + 64:
            self._queue = sorted(e.place for e in self._entries.values())  # sorted is a heap

    def _make_room(self, needed: int, now_us: int) -> None:
        """Drop what has expired, then what would expire soonest until the rest leaves room."""
        while self._queue:
            expires_us, serial, name = self._queue[0]
            entry = self._entries.get(name)
            if entry is None or entry.serial != serial:
                heapq.heappop(self._queue)
                continue
            if expires_us > now_us and self._used + needed <= self._capacity:
                return
            heapq.heappop(self._queue)
            self._remove(entry)
