"""Whether anything was watched: what heartbeats say of it, on the server's clock.

A heartbeat says what a player, or the engine's own frame, saw at one moment. It is somebody's
assertion, so it can only take credit away: a second that is not `StretchState.COUNTED` becomes a
pause of the span it lies in. :mod:`verifier.playback_ledger` makes stretches out of heartbeats;
``docs/playback.md`` says which trick ends up where.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from verifier.credit import Pause, joined
from verifier.errors import InvalidRecordError

LONGEST_VIDEO_S: Final = 7 * 86_400
HIGHEST_RATE: Final = 1000.0
"""No player goes so fast; what one says beyond it is not a rate."""


class StretchState(StrEnum):
    """What became of a stretch of server time; only the first one earns."""

    COUNTED = "counted"
    HIDDEN = "hidden"  # the page was not on the screen
    COVERED = "covered"  # something lay over it
    IDLE = "idle"  # the player stood still
    TOO_FAST = "too_fast"  # faster than the policy's rate, by the player's own word
    SOUGHT = "sought"  # the position moved as playing does not move it
    REPEATED = "repeated"  # seconds of video that were seen before
    UNCOVERED = "uncovered"  # no heartbeat for too long, or none that says the page was seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What was seen at one moment; None where it was not measured.

    Attributes
    ----------
    at_s
        When it arrived: server seconds since the session's start. No other time is believed.
    visible, covered
        Whether the page is on the screen, and whether something lies over it.
    position_s
        Where in the video, 0 to seven days.
    rate
        Seconds of video per second, as the player says.
    playing
        Neither paused nor waiting for data.
    video_id
        Which video; without one all are the same.
    """

    at_s: float
    visible: bool | None = None
    covered: bool | None = None
    position_s: float | None = None
    rate: float | None = None
    playing: bool | None = None
    video_id: str | None = None

    def __post_init__(self) -> None:
        _require("at_s", self.at_s, math.inf)
        _require("position_s", self.position_s, LONGEST_VIDEO_S)
        _require("rate", self.rate, HIGHEST_RATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A stretch of server time, seconds since the session's start, and what became of it."""

    start_s: float
    end_s: float
    state: StretchState

    def __post_init__(self) -> None:
        if not (math.isfinite(self.end_s) and 0 <= self.start_s <= self.end_s):
            raise InvalidRecordError(
                f"from {self.start_s} s to {self.end_s} s; 0 <= start <= end was wanted"
            )


def withheld(stretches: Sequence[Stretch], *, until_s: float, required: bool) -> tuple[Pause, ...]:
    """Return the seconds up to ``until_s`` that earn nothing, by time.

    Parameters
    ----------
    stretches
        In any order; where two overlap, the one that is not counted decides.
    required
        Whether what no stretch covers earns nothing either. Otherwise it is left alone: a session
        without any heartbeat loses nothing.
    """
    taken = _within([s for s in stretches if not _counts(s)], until_s)
    if required:
        taken += _gaps(_within(list(stretches), until_s), until_s)
    return tuple(joined(Pause(start_s=start_s, end_s=end_s) for start_s, end_s in taken))


def withheld_by_state(
    stretches: Sequence[Stretch], *, until_s: float, required: bool
) -> Mapping[StretchState, float]:
    """Return how many seconds up to ``until_s`` each state took, states that took none left out.

    As `withheld` has them; the parts that no stretch covers are ``uncovered``.
    """
    lost = dict.fromkeys(StretchState, 0.0)
    for stretch in stretches:
        if not _counts(stretch):
            lost[stretch.state] += max(0.0, min(until_s, stretch.end_s) - stretch.start_s)
    if required:
        gaps = _gaps(_within(list(stretches), until_s), until_s)
        lost[StretchState.UNCOVERED] += math.fsum(end_s - start_s for start_s, end_s in gaps)
    return {state: seconds for state, seconds in lost.items() if seconds > 0}


def counted_s(stretches: Sequence[Stretch], *, until_s: float) -> float:
    """Return how many seconds up to ``until_s`` were counted."""
    counted = _within([s for s in stretches if _counts(s)], until_s)
    return math.fsum(end_s - start_s for start_s, end_s in counted)


def _counts(stretch: Stretch) -> bool:
    return stretch.state is StretchState.COUNTED


def _within(stretches: Sequence[Stretch], until_s: float) -> list[tuple[float, float]]:
    clipped = ((s.start_s, min(s.end_s, until_s)) for s in stretches)
    return sorted((start_s, end_s) for start_s, end_s in clipped if start_s < end_s)


def _gaps(covered: Sequence[tuple[float, float]], until_s: float) -> list[tuple[float, float]]:
    gaps, at_s = list[tuple[float, float]](), 0.0
    for start_s, end_s in covered:
        if start_s > at_s:
            gaps.append((at_s, start_s))
        at_s = max(at_s, end_s)
    return [*gaps, (at_s, until_s)] if at_s < until_s else gaps


def _require(name: str, value: float | None, highest: float) -> None:
    if value is not None and not (math.isfinite(value) and 0 <= value <= highest):
        raise InvalidRecordError(f"{name} is {value}; 0 to {highest:g} was wanted")
