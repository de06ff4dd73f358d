"""What every engine of live state must do, whatever it is made of."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from service.live.live_state import MAX_VALUE_BYTES, LiveState
from tests.service.live.model import machine_of

T = TypeVar("T")

BAD_NAMES = ["", "a b", "a\n", "学员", "a\x7f", "k" * 201]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a short time to live has passed; a slow machine only waits longer."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def at_once(act: Callable[[int], T], threads: int = 8) -> list[T]:
    """Run ``act(0)``, ``act(1)`` … in as many threads, let go together."""
    results: list[T] = []
    barrier = threading.Barrier(threads)

    def run(number: int) -> None:
        barrier.wait()
        results.append(act(number))

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == threads
    return results


class LiveStateConformance:
    """Inherit and give a fixture ``engine``: an engine that knows nothing yet."""

    def test_a_rate_allows_its_limit_at_once_and_then_says_how_long_to_wait(
        self, engine: LiveState
    ) -> None:
        allowances = [engine.take("k", limit=3, window_s=3600) for _ in range(4)]
        assert [a.allowed for a in allowances] == [True, True, True, False]
        assert [a.retry_after_s for a in allowances[:3]] == [0, 0, 0]
        # One interval of 1200 s, less the moments since the first request.
        assert 1100 < allowances[3].retry_after_s <= 1200

    def test_a_rate_is_earned_back(self, engine: LiveState) -> None:
        assert engine.take("k", limit=1, window_s=0.05).allowed
        eventually(lambda: engine.take("k", limit=1, window_s=0.05).allowed)

    def test_a_refused_request_takes_nothing(self, engine: LiveState) -> None:
        engine.take("k", limit=1, window_s=3600)
        waits = [engine.take("k", limit=1, window_s=3600).retry_after_s for _ in range(20)]
        assert waits == sorted(waits, reverse=True)
        assert waits[0] <= 3600

    def test_rates_of_different_keys_are_apart(self, engine: LiveState) -> None:
        assert engine.take("a", limit=1, window_s=3600).allowed
        assert engine.take("b", limit=1, window_s=3600).allowed

    def test_a_claim_excludes_everybody_until_its_owner_releases_it(
        self, engine: LiveState
    ) -> None:
        assert engine.claim("k", "one", 60)
        assert not engine.claim("k", "two", 60)
        assert not engine.claim("k", "one", 60)
        assert not engine.release("k", "two")
        assert not engine.claim("k", "two", 60)
        assert engine.release("k", "one")
        assert not engine.release("k", "one")
        assert engine.claim("k", "two", 60)

    def test_a_claim_ends(self, engine: LiveState) -> None:
        assert engine.claim("k", "one", 0.05)
        eventually(lambda: engine.claim("k", "two", 60))
        assert not engine.release("k", "one")  # late: it is another's by now
        assert engine.release("k", "two")

    @pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n", bytes(MAX_VALUE_BYTES)])
    def test_a_value_comes_back_as_it_was_put(self, engine: LiveState, value: bytes) -> None:
        assert engine.get("k") is None
        engine.put("k", b"older", 60)
        engine.put("k", value, 60)
        assert engine.get("k") == value
        assert engine.pop("k") == value
        assert engine.pop("k") is None
        assert engine.get("k") is None

    def test_a_value_ends_when_the_last_put_says(self, engine: LiveState) -> None:
        engine.put("longer", b"v", 0.05)
        engine.put("longer", b"v", 60)
        engine.put("shorter", b"v", 60)
        engine.put("shorter", b"v", 0.05)
        eventually(lambda: engine.get("shorter") is None)
        assert engine.pop("shorter") is None
        assert engine.get("longer") == b"v"

    def test_the_three_tables_do_not_share_keys(self, engine: LiveState) -> None:
        engine.put("k", b"v", 60)
        assert engine.claim("k", "one", 60)
        assert engine.take("k", limit=1, window_s=3600).allowed
        assert engine.release("k", "one")
        assert engine.get("k") == b"v"

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_a_bad_name_is_refused_and_not_repeated(self, engine: LiveState, name: str) -> None:
        acts: list[Callable[[], object]] = [
            lambda: engine.take(name, limit=1, window_s=1),
            lambda: engine.claim(name, "one", 1),
            lambda: engine.claim("k", name, 1),
            lambda: engine.release(name, "one"),
            lambda: engine.release("k", name),
            lambda: engine.put(name, b"", 1),
            lambda: engine.get(name),
            lambda: engine.pop(name),
        ]
        for act in acts:
            with pytest.raises(ValueError, match="a name has") as caught:
                act()
            assert not name or name not in str(caught.value)

    @pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 86_401])
    def test_a_bad_time_to_live_is_refused(self, engine: LiveState, ttl_s: float) -> None:
        with pytest.raises(ValueError, match="ttl_s is"):
            engine.claim("k", "one", ttl_s)
        with pytest.raises(ValueError, match="ttl_s is"):
            engine.put("k", b"", ttl_s)

    def test_a_bad_rate_or_value_is_refused(self, engine: LiveState) -> None:
        with pytest.raises(ValueError, match="limit is 0"):
            engine.take("k", limit=0, window_s=1)
        with pytest.raises(ValueError, match="window_s is nan"):
            engine.take("k", limit=1, window_s=float("nan"))
        with pytest.raises(ValueError, match="65537 bytes"):
            engine.put("k", bytes(MAX_VALUE_BYTES + 1), 1)

    def test_of_eight_threads_one_gets_the_claim(self, engine: LiveState) -> None:
        for round_ in range(20):
            won = at_once(lambda n, key=f"k{round_}": engine.claim(key, f"owner-{n}", 60))  # type: ignore[misc]
            assert sum(won) == 1

    def test_of_eight_threads_one_pops_the_value(self, engine: LiveState) -> None:
        for round_ in range(20):
            engine.put(f"k{round_}", b"v", 60)
            popped = at_once(lambda _n, key=f"k{round_}": engine.pop(key))  # type: ignore[misc]
            assert sorted(popped, key=bool) == [None] * 7 + [b"v"]

    def test_eight_threads_together_get_no_more_than_the_limit(self, engine: LiveState) -> None:
        def take_thrice(_number: int) -> int:
            return sum(engine.take("k", limit=5, window_s=86_400).allowed for _ in range(3))

        assert sum(at_once(take_thrice)) == 5

    def test_any_sequence_of_acts_agrees_with_the_model(
        self, fresh_engine: Callable[[], LiveState]
    ) -> None:
        """Without a clock of ours: nothing ends and nothing is earned back within the test."""
        run_state_machine_as_test(
            machine_of(lambda _clock: fresh_engine(), timed=False),
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
