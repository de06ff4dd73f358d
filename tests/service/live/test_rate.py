import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.live.rate import Rate, take_one

rates = st.builds(
    Rate,
    limit=st.integers(1, 20),
    window_s=st.floats(0.001, 86_400),
)
steps_us = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60)


def taken_at(rate: Rate, steps: list[int]) -> list[int]:
    """Ask after each step; return the times at which a request was allowed."""
    now_us, arrival_us, allowed = 0, 0, []
    for step in steps:
        now_us += step
        taken = take_one(rate, arrival_us=arrival_us, now_us=now_us)
        arrival_us = taken.arrival_us
        if taken.allowance.allowed:
            allowed.append(now_us)
    return allowed


def test_three_a_minute() -> None:
    """Three at once, the fourth 20 s later; a refusal leaves what is kept alone."""
    rate = Rate(limit=3, window_s=60)
    arrival_us = 0
    for expected in (20, 40, 60):
        taken = take_one(rate, arrival_us=arrival_us, now_us=0)
        assert taken.allowance.allowed
        arrival_us = taken.arrival_us
        assert arrival_us == expected * 1_000_000
    refused = take_one(rate, arrival_us=arrival_us, now_us=5_000_000)
    assert (refused.allowance.allowed, refused.allowance.retry_after_s) == (False, 15.0)
    assert refused.arrival_us == arrival_us


@given(rate=rates, steps=steps_us)
def test_no_window_sees_twice_the_limit(rate: Rate, steps: list[int]) -> None:
    allowed = taken_at(rate, steps)
    for start in allowed:
        within = [t for t in allowed if start <= t < start + rate.span_us]
        assert len(within) <= 2 * rate.limit - 1


@given(rate=rates, steps=steps_us)
def test_over_any_time_the_rate_is_kept_after_one_burst(rate: Rate, steps: list[int]) -> None:
    allowed = taken_at(rate, steps)
    for index, start in enumerate(allowed):
        for end, last in enumerate(allowed[index:], start=1):
            assert end <= rate.limit + (last - start) / rate.interval_us


@given(rate=rates, steps=steps_us)
def test_the_wait_is_exact(rate: Rate, steps: list[int]) -> None:
    """One microsecond earlier is too early; then it is allowed."""
    now_us, arrival_us = 0, 0
    for step in steps:
        now_us += step
        taken = take_one(rate, arrival_us=arrival_us, now_us=now_us)
        arrival_us = taken.arrival_us
        if not taken.allowance.allowed:
            then_us = now_us + round(taken.allowance.retry_after_s * 1_000_000)
            early = take_one(rate, arrival_us=arrival_us, now_us=then_us - 1)
            in_time = take_one(rate, arrival_us=arrival_us, now_us=then_us)
            assert (early.allowance.allowed, in_time.allowance.allowed) == (False, True)


def test_a_clock_set_back_by_a_year_costs_one_interval() -> None:
    rate = Rate(limit=3, window_s=60)
    year_us = 365 * 86_400 * 1_000_000
    refused = take_one(rate, arrival_us=year_us, now_us=0)
    assert refused.allowance.retry_after_s == 20


@pytest.mark.parametrize("limit", [0, -1, 1_000_001])
def test_a_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit is {limit}"):
        Rate(limit=limit, window_s=1)


@pytest.mark.parametrize("window_s", [0.0, -1.0, 86_401.0, float("nan"), float("inf")])
def test_a_window_out_of_range_is_refused(window_s: float) -> None:
    with pytest.raises(ValueError, match="window_s is"):
        Rate(limit=1, window_s=window_s)
