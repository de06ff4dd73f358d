"""Working days: 国庆 and 调休 as announced for 2026, weekdays where nothing is announced yet."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.working_days import WorkingDay, working_day_after

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("day", "count", "wanted"),
    [
        # 30 September is a Wednesday; 1 to 7 October is 国庆, and Saturday the 10th is worked.
        (date(2026, 9, 30), 1, date(2026, 10, 8)),
        (date(2026, 9, 30), 3, date(2026, 10, 10)),
        (date(2026, 9, 30), 4, date(2026, 10, 12)),
        (date(2026, 10, 3), 1, date(2026, 10, 8)),
        # 中秋 on Friday the 25th; Sunday the 20th was worked for it.
        (date(2026, 9, 18), 1, date(2026, 9, 20)),
        (date(2026, 9, 24), 1, date(2026, 9, 28)),
        (date(2026, 3, 6), 3, date(2026, 3, 11)),
        (date(2026, 3, 7), 0, date(2026, 3, 7)),
    ],
)
def test_announced_days_of_2026(day: date, count: int, wanted: date) -> None:
    assert working_day_after(day, count) == WorkingDay(day=wanted, official=True)


def test_over_the_years_end_a_calendar_that_is_not_announced_is_no_official_one() -> None:
    """Of years long past anything may be known; of the year 2200 nothing is."""
    last = working_day_after(date(2026, 12, 30), 1)
    assert last == WorkingDay(day=date(2026, 12, 31), official=True)
    # A Tuesday, Wednesday the New Year and Thursday: weekdays, whatever is announced one day.
    far = working_day_after(date(2199, 12, 31), 2)
    assert far == WorkingDay(day=date(2200, 1, 2), official=False)
    assert working_day_after(date(2200, 1, 3), 1).day == date(2200, 1, 6)  # Friday to Monday
    # One day on the way that nobody announced is enough, though the last one is known.
    into = working_day_after(date(2003, 12, 30), 2)
    assert into == WorkingDay(day=date(2004, 1, 2), official=False)


@given(day=st.dates(date(2004, 1, 1), date(2030, 12, 1)), count=st.integers(0, 20))
def test_one_after_another(day: date, count: int) -> None:
    """Counting on by one leads to the next, and holidays are never longer than nine days."""
    here, further = working_day_after(day, count), working_day_after(day, count + 1)
    assert here.day < further.day <= here.day + 14 * DAY
    assert working_day_after(here.day, 1).day == further.day
