"""The arithmetic of rate limits, in whole microseconds so that every engine decides alike.

The generic cell rate algorithm in its virtual scheduling form: ITU-T Recommendation I.371
(2004), Annex A. One number is kept per key, the *theoretical arrival time*: when the next request
would come if requests came evenly. A request may come earlier than that, by up to a window less
one interval; so ``limit`` requests may come at once, and after that one each ``window_s / limit``.

Over a long time the rate is ``limit`` per window. Any single window sees at most ``2 * limit - 1``
requests: a burst after a rest, and what was earned back meanwhile. An exact sliding window would
have to keep the time of every request, and a flood is when that hurts.
"""

from dataclasses import dataclass

from service.live.live_state import MAX_TTL_S, Allowance

MAX_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``limit`` requests per ``window_s`` seconds.

    Raises
    ------
    ValueError
        If ``limit`` is not 1 to 1,000,000, or ``window_s`` not a millisecond to a day.
    """

    limit: int
    window_s: float

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise ValueError(f"limit is {self.limit}; 1 to {MAX_LIMIT} wanted")
        if not 0.001 <= self.window_s <= MAX_TTL_S:
            raise ValueError(f"window_s is {self.window_s}; 0.001 to {MAX_TTL_S:g} wanted")

    @property
    def interval_us(self) -> int:
        """Microseconds between two requests that come evenly; rounded up, so never too fast."""
        return -(-round(self.window_s * 1_000_000) // self.limit)

    @property
    def span_us(self) -> int:
        """Microseconds that ``limit`` such intervals take: the window, give or take rounding."""
        return self.interval_us * self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of one request, and what to remember of it."""

    allowance: Allowance
    arrival_us: int  # the theoretical arrival time to keep; unchanged if the request was refused


def take_one(rate: Rate, *, arrival_us: int, now_us: int) -> Taken:
    """Decide on one request at ``now_us``, given the ``arrival_us`` kept (0 if nothing is).

    Both count microseconds of one clock. The Redis engine says the same in Lua, and a test holds
    the two together.
    """
    # Nothing kept under this rate can be further ahead, unless the clock was set back. Then the
    # bound makes a caller wait for one interval, not for as long as the clock was wrong.
    due = min(max(arrival_us, now_us), now_us + rate.span_us)
    wait_us = due + rate.interval_us - rate.span_us - now_us
    if wait_us > 0:
        refused = Allowance(allowed=False, retry_after_s=wait_us / 1_000_000)
        return Taken(allowance=refused, arrival_us=arrival_us)
    allowed = Allowance(allowed=True, retry_after_s=0.0)
    return Taken(allowance=allowed, arrival_us=due + rate.interval_us)
