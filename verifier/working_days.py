"""Working days in China: 调休 makes some Sundays working days, and some Fridays none.

The State Council announces each year's calendar late in the year before. For years that are not
known yet every weekday counts as a working day, and the answer says so.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import chinese_calendar

_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingDay:
    """A day that was counted to.

    Attributes
    ----------
    official
        Whether every day on the way to it was looked up in an announced calendar. Otherwise days
        from Monday to Friday stood in.
    """

    day: date
    official: bool


def working_day_after(day: date, count: int) -> WorkingDay:
    """Return the ``count``-th working day after ``day``, which itself is not counted.

    With ``count`` 0 it is ``day``, working day or not.
    """
    official = True
    while count > 0:
        day += _DAY
        works, known = _is_working_day(day)
        official &= known
        count -= works
    return WorkingDay(day=day, official=official)


def _is_working_day(day: date) -> tuple[bool, bool]:
    """Say whether people work on a day, and whether that was announced."""
    try:
        return bool(chinese_calendar.is_workday(day)), True
    except NotImplementedError:  # a year that the calendar does not hold
        return day.weekday() < _SATURDAY, False
