"""Clocks: aware, in UTC, and never going backwards."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import clock
from pipelines.clock import MOST_BEHIND, ManualClock, SystemClock, require_not_behind
from verifier.errors import InputError

START = datetime(2026, 5, 1, 9, tzinfo=UTC)


class Steps:
    """An operating system's time that does what it is told."""

    def __init__(self, *seconds: float) -> None:
        self._times = iter([START + timedelta(seconds=each) for each in seconds])

    def now(self, zone: object) -> datetime:
        """Return the next time."""
        assert zone is UTC
        return next(self._times)


def test_the_systems_time_is_aware_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_step_backwards_of_the_system_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "datetime", Steps(0, 10, 4, 9, 11))
    system = SystemClock()
    told = [(system.now() - START).total_seconds() for _ in range(4)]
    assert told == [10, 10, 10, 11]


def test_time_goes_on_from_the_latest_moment_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "datetime", Steps(0, 10, 59, 61))
    system = SystemClock(not_before=START + timedelta(seconds=60))
    told = [(system.now() - START).total_seconds() for _ in range(3)]
    assert told == [60, 60, 61]


def test_a_moment_that_is_past_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "datetime", Steps(0, 1))
    assert SystemClock(not_before=START - timedelta(days=1)).now() == START + timedelta(seconds=1)


@pytest.mark.parametrize("latest", [None, START - timedelta(days=9), START, START + MOST_BEHIND])
def test_a_clock_that_is_hardly_behind_is_waited_for(latest: datetime | None) -> None:
    require_not_behind(START, latest)


def test_a_clock_that_is_far_behind_is_refused_and_told_by_how_much() -> None:
    with pytest.raises(InputError, match=r"2026-05-01 09:00:00 UTC, 1 day, 2:00:00 before"):
        require_not_behind(START, START + timedelta(hours=26))
    with pytest.raises(InputError, match="correct the system's clock"):
        require_not_behind(START, START + MOST_BEHIND + timedelta(seconds=1))


def test_the_manual_clock_stands_still_until_it_is_advanced() -> None:
    manual = ManualClock(START)
    assert manual.now() == manual.now() == START
    manual.advance(90.5)
    assert manual.now() == START + timedelta(seconds=90.5)


def test_another_zone_is_told_in_utc() -> None:
    chongqing = timezone(timedelta(hours=8))
    manual = ManualClock(datetime(2026, 5, 1, 17, tzinfo=chongqing))
    assert manual.now() == START
    assert manual.now().tzinfo is UTC


def test_a_start_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        ManualClock(START.replace(tzinfo=None))


def test_time_does_not_go_back() -> None:
    manual = ManualClock(START)
    with pytest.raises(ValueError, match="does not go back"):
        manual.advance(-0.001)
    assert manual.now() == START


@given(st.lists(st.integers(0, 10_000), max_size=10))
def test_advances_add_up(seconds: list[int]) -> None:
    manual = ManualClock(START)
    for each in seconds:
        manual.advance(each)
    assert manual.now() == START + timedelta(seconds=sum(seconds))
