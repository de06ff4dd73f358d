import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from service.live.memory_engine import (
    ENTRY_OVERHEAD_BYTES,
    MIN_CAPACITY_BYTES,
    MemoryLiveState,
)
from tests.service.live.model import HandClock, machine_of


def test_any_sequence_of_acts_agrees_with_the_model_while_time_passes() -> None:
    """Ends of claims and values, and waits of rates, agree to the microsecond."""
    run_state_machine_as_test(
        machine_of(MemoryLiveState, timed=True),
        settings=hypothesis.settings(max_examples=150, stateful_step_count=30, deadline=None),
    )


def test_an_entry_lives_until_its_last_millisecond() -> None:
    clock = HandClock()
    engine = MemoryLiveState(clock)
    engine.put("k", b"v", 2.0)
    clock.microseconds = 1_999_999
    assert engine.get("k") == b"v"
    clock.microseconds = 2_000_000
    assert engine.get("k") is None


def test_what_replaced_another_does_not_end_with_it() -> None:
    clock = HandClock()
    engine = MemoryLiveState(clock)
    engine.put("k", b"shorter", 1)
    engine.put("k", b"longer", 100)
    clock.microseconds = 50_000_000
    engine.put("another", b"v", 1)  # what has ended is swept out
    assert engine.get("k") == b"longer"


def test_when_the_room_runs_out_the_soonest_to_end_goes_and_the_newest_stays() -> None:
    engine = MemoryLiveState(HandClock(), capacity_bytes=MIN_CAPACITY_BYTES)
    value = bytes(64 * 1024)
    fit = MIN_CAPACITY_BYTES // (len(value) + ENTRY_OVERHEAD_BYTES + 10)
    for number in range(fit):
        engine.put(f"k{number}", value, 100 + number)
    assert all(engine.get(f"k{number}") for number in range(fit))
    engine.put("newest", value, 1)  # would end before all others
    kept = [number for number in range(fit) if engine.get(f"k{number}") is not None]
    assert kept == list(range(1, fit))
    assert engine.get("newest") == value


def test_what_has_ended_makes_room_before_what_has_not() -> None:
    clock = HandClock()
    engine = MemoryLiveState(clock, capacity_bytes=MIN_CAPACITY_BYTES)
    engine.claim("long", "one", 10_000)
    for second in range(5_000):
        clock.microseconds = second * 1_000_000
        assert engine.claim(f"k{second}", "one", 1)
    assert engine.release("long", "one")


def test_a_flood_of_keys_stays_within_the_room() -> None:
    engine = MemoryLiveState(HandClock(), capacity_bytes=MIN_CAPACITY_BYTES)
    for number in range(5_000):
        assert engine.take(f"k{number}", limit=1, window_s=60).allowed
        assert engine.used_bytes <= MIN_CAPACITY_BYTES


def test_room_is_given_back() -> None:
    engine = MemoryLiveState(HandClock())
    for number in range(1_000):
        engine.put("k", bytes(number), 60)
        engine.claim("k", "one", 60)
        assert engine.release("k", "one")
    assert engine.pop("k") == bytes(999)
    assert engine.used_bytes == 0


def test_too_little_room_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity is 1 B"):
        MemoryLiveState(capacity_bytes=1)
