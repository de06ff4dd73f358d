"""Two clocks: the operating system's, and one that is moved by hand."""

from datetime import UTC, datetime, timedelta


class SystemClock:
    """The operating system's time, in UTC, held still where the system steps backwards."""

    def __init__(self) -> None:
        self._latest = datetime.now(UTC)

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
