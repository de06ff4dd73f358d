"""Two clocks: the operating system's, and one that is moved by hand."""

from datetime import UTC, datetime, timedelta
from typing import Final

from verifier.errors import InputError

MOST_BEHIND: Final = timedelta(minutes=5)
"""A clock that is behind by less catches up while it is held still."""


class SystemClock:
    """The operating system's time, in UTC, held still where the system steps backwards.

    ``not_before``, timezone-aware, is the latest moment that an earlier clock told; before it
    this one tells no time.
    """

    def __init__(self, not_before: datetime | None = None) -> None:
        now = datetime.now(UTC)
        self._latest = now if not_before is None else max(now, not_before.astimezone(UTC))

    def now(self) -> datetime:
        """Return the current time; never earlier than an answer given before."""
        self._latest = max(self._latest, datetime.now(UTC))
        return self._latest


class ManualClock:
    """Time that stands still until it is advanced: for the demo and for tests only."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start has no time zone; an aware UTC time was wanted")
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds`` (>= 0)."""
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds} s; time does not go back")
        self._now += timedelta(seconds=seconds)


def require_not_behind(now: datetime, latest: datetime | None) -> None:
    """Refuse a clock that is so far behind what is on record that it would stand still for long.

    Raises
    ------
    InputError
        If ``now`` is more than five minutes before ``latest``.
    """
    if latest is not None and latest - now > MOST_BEHIND:
        behind = timedelta(seconds=round((latest - now).total_seconds()))
        raise InputError(
            f"the clock says {now:%Y-%m-%d %H:%M:%S} UTC, {behind} before the latest time on "
            "record: correct the system's clock; if it was ahead then and is right now, wait "
            "until it has caught up, for what is on record is not dated anew"
        )
