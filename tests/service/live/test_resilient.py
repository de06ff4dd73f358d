import logging
import threading
from typing import TypeVar

import pytest

from service.live.live_state import Allowance, LiveStateUnavailableError
from service.live.memory_engine import MemoryLiveState
from service.live.resilient import ResilientLiveState
from tests.service.live.model import HandClock

T = TypeVar("T")


class Flaky:
    """An engine that can be taken away; it counts how often it was asked."""

    def __init__(self, clock: HandClock) -> None:
        self._engine = MemoryLiveState(clock)
        self.away = False
        self.asked = 0

    def _reach(self) -> MemoryLiveState:
        self.asked += 1
        if self.away:
            raise LiveStateUnavailableError("act: ConnectionError")
        return self._engine

    def take(self, key: str, *, limit: int, window_s: float) -> Allowance:
        return self._reach().take(key, limit=limit, window_s=window_s)

    def claim(self, key: str, owner: str, ttl_s: float) -> bool:
        return self._reach().claim(key, owner, ttl_s)

    def release(self, key: str, owner: str) -> bool:
        return self._reach().release(key, owner)

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        self._reach().put(key, value, ttl_s)

    def get(self, key: str) -> bytes | None:
        return self._reach().get(key)

    def pop(self, key: str) -> bytes | None:
        return self._reach().pop(key)

    def describe(self) -> str:
        return "primary"


class Stage:
    """A flaky primary under a breaker that tries again every 3 s of a hand-moved clock."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.primary = Flaky(self.clock)
        self.live = ResilientLiveState(
            self.primary, MemoryLiveState(self.clock), monotonic=self.clock, retry_after_s=3
        )

    def wait(self, seconds: float) -> None:
        self.clock.microseconds += round(seconds * 1_000_000)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_every_act_goes_on_while_the_primary_is_away(stage: Stage) -> None:
    stage.primary.away = True
    live = stage.live
    assert [live.take("k", limit=1, window_s=60).allowed for _ in range(2)] == [True, False]
    assert [live.claim("k", "one", 60) for _ in range(2)] == [True, False]
    assert [live.release("k", "one") for _ in range(2)] == [True, False]
    live.put("k", b"v", 60)
    assert [live.get("k"), live.pop("k"), live.pop("k")] == [b"v", b"v", None]
    assert live.describe() == "in-process"


def test_a_lost_primary_is_left_in_peace_and_tried_every_three_seconds(stage: Stage) -> None:
    stage.primary.away = True
    for _ in range(10):
        stage.live.get("k")
    assert stage.primary.asked == 1
    stage.wait(2.9)
    stage.live.get("k")
    assert stage.primary.asked == 1
    stage.wait(0.2)
    stage.live.get("k")
    stage.live.get("k")
    assert stage.primary.asked == 2


def test_it_comes_back_and_says_so_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.live")
    stage.live.put("secret-key", b"secret-value", 60)
    stage.primary.away = True
    for _ in range(5):
        assert stage.live.get("secret-key") is None
        stage.wait(3.1)
    stage.primary.away = False
    assert stage.live.get("secret-key") == b"secret-value"
    assert stage.live.get("secret-key") == b"secret-value"
    assert stage.live.describe() == "primary"
    lines = [(r.__dict__["event"], r.__dict__["engine"], r.levelname) for r in caplog.records]
    assert lines == [
        ("live_state_lost", "in-process", "WARNING"),
        ("live_state_found", "primary", "INFO"),
    ]
    assert "secret" not in caplog.text


def test_a_claim_made_during_an_outage_can_be_released_after_it(stage: Stage) -> None:
    stage.primary.away = True
    assert stage.live.claim("k", "one", 600)
    stage.primary.away = False
    stage.wait(3.1)
    assert stage.live.release("k", "one")
    stage.primary.away = True
    assert stage.live.claim("k", "two", 600)


def test_one_caller_at_a_time_tries_a_lost_primary(stage: Stage) -> None:
    """While one waits for a server that hangs, the others are answered."""
    entered, leave = threading.Event(), threading.Event()
    stage.primary.away = True
    stage.live.get("k")
    stage.wait(3.1)

    def hang(key: str) -> bytes | None:  # noqa: ARG001 - the signature of get
        entered.set()
        assert leave.wait(10)
        raise LiveStateUnavailableError("get: TimeoutError")

    stage.primary.get = hang  # type: ignore[method-assign]
    trial = threading.Thread(target=stage.live.get, args=("k",))
    trial.start()
    assert entered.wait(10)
    assert stage.live.get("k") is None  # does not hang
    leave.set()
    trial.join()


def test_an_answer_asked_for_before_the_outage_does_not_end_it(stage: Stage) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(key: str) -> bytes | None:  # noqa: ARG001 - the signature of get
        entered.set()
        assert leave.wait(10)
        return b"late"

    stage.primary.get = slow  # type: ignore[method-assign]
    early = threading.Thread(target=stage.live.get, args=("k",))
    early.start()
    assert entered.wait(10)
    stage.primary.away = True
    stage.live.pop("k")
    leave.set()
    early.join()
    assert stage.live.describe() == "in-process"


def test_a_callers_mistake_is_no_outage(stage: Stage) -> None:
    with pytest.raises(ValueError, match="a name has"):
        stage.live.get("a b")
    assert stage.live.describe() == "primary"
