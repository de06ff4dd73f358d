"""Live state as simply as it can be said, and a machine that compares an engine with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.live.live_state import LiveState

KEYS = st.sampled_from(["a", "b", "c"])
OWNERS = st.sampled_from(["one", "two"])
VALUES = st.binary(max_size=4)
TTLS_S = st.integers(1_000, 80_000)


@dataclass(slots=True)
class HandClock:
    """Seconds that move when told to."""

    microseconds: int = 0

    def __call__(self) -> float:
        return self.microseconds / 1_000_000


@dataclass(slots=True)
class Bucket:
    """A token bucket in fractions: the textbook's way to say what the engines say with one time."""

    limit: int
    interval_us: int
    tokens: Fraction
    filled_at_us: int

    def take(self, now_us: int) -> tuple[bool, float]:
        earned = Fraction(now_us - self.filled_at_us, self.interval_us)
        self.tokens = min(Fraction(self.limit), self.tokens + earned)
        self.filled_at_us = now_us
        if self.tokens >= 1:
            self.tokens -= 1
            return True, 0.0
        return False, float((1 - self.tokens) * self.interval_us / 1_000_000)


@dataclass(slots=True)
class Model:
    """What an engine should hold."""

    claims: dict[str, tuple[str, int]] = field(default_factory=dict)
    values: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def forget_what_ended(self, now_us: int) -> None:
        self.claims = {k: held for k, held in self.claims.items() if held[1] > now_us}
        self.values = {k: held for k, held in self.values.items() if held[1] > now_us}


class LiveStateMachine(RuleBasedStateMachine):
    """Do the same to an engine and to the model, and compare what they answer.

    The engine is given a clock; one that ignores it has a clock of its own, and then nothing may
    be told to pass here (``timed=False``).
    """

    LIMITS: ClassVar = {"a": 1, "b": 2, "c": 5}
    INTERVAL_US = 10_000_000_000

    def __init__(self, make: Callable[[HandClock], LiveState], *, timed: bool) -> None:
        self.timed = timed
        self.clock = HandClock()
        self.engine = make(self.clock)
        self.model = Model()
        super().__init__()

    @property
    def now_us(self) -> int:
        return self.clock.microseconds

    @precondition(lambda self: self.timed)
    @rule(seconds=st.integers(0, 30_000), microseconds=st.sampled_from([0, 0, 1, 999_999]))
    def let_time_pass(self, seconds: int, microseconds: int) -> None:
        self.clock.microseconds += seconds * 1_000_000 + microseconds
        self.model.forget_what_ended(self.now_us)

    @rule(key=KEYS)
    def take(self, key: str) -> None:
        limit = self.LIMITS[key]
        bucket = self.model.buckets.setdefault(
            key, Bucket(limit, self.INTERVAL_US, Fraction(limit), self.now_us)
        )
        allowed, wait_s = bucket.take(self.now_us)
        answer = self.engine.take(key, limit=limit, window_s=limit * self.INTERVAL_US / 1e6)
        assert answer.allowed == allowed
        if self.timed:
            assert answer.retry_after_s == wait_s

    @rule(key=KEYS, owner=OWNERS, ttl_s=TTLS_S)
    def claim(self, key: str, owner: str, ttl_s: int) -> None:
        free = key not in self.model.claims
        assert self.engine.claim(key, owner, ttl_s) == free
        if free:
            self.model.claims[key] = (owner, self.now_us + ttl_s * 1_000_000)

    @rule(key=KEYS, owner=OWNERS)
    def release(self, key: str, owner: str) -> None:
        held = self.model.claims.get(key, ("", 0))[0] == owner
        assert self.engine.release(key, owner) == held
        if held:
            del self.model.claims[key]

    @rule(key=KEYS, value=VALUES, ttl_s=TTLS_S)
    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        self.engine.put(key, value, ttl_s)
        self.model.values[key] = (value, self.now_us + ttl_s * 1_000_000)

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        expected = self.model.values.pop(key, (None, 0))[0]
        assert self.engine.pop(key) == expected

    @invariant()
    def values_are_the_same(self) -> None:
        for key in self.LIMITS:
            assert self.engine.get(key) == self.model.values.get(key, (None, 0))[0]


def machine_of(
    make: Callable[[HandClock], LiveState], *, timed: bool
) -> type[RuleBasedStateMachine]:
    """Return the machine for one engine, in the shape that hypothesis runs."""

    class Machine(LiveStateMachine):
        def __init__(self) -> None:
            super().__init__(make, timed=timed)

    return Machine
