"""One lesson as a picture: the truth, who the engine thinks was there, checks, and spans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from verifier.arrays import FloatArray
from verifier.check import Check, Outcome
from verifier.credit import Span, SpanState
from verifier.evidence import State

WIDTH, HEIGHT = 960, 168
LEFT, RIGHT = 84, 944

STATE_COLOUR: Final[Mapping[State, str]] = {
    State.GENUINE: "#2e8b57",
    State.ABSENT: "#c9ced6",
    State.IMPOSTOR: "#c0392b",
    State.PRESENTATION_ATTACK: "#e08e0b",
    State.INJECTION: "#7d3c98",
}
STATE_TEXT: Final[Mapping[State, tuple[str, str]]] = {
    State.GENUINE: ("本人在场", "genuine"),
    State.ABSENT: ("不在场", "absent"),
    State.IMPOSTOR: ("他人", "impostor"),
    State.PRESENTATION_ATTACK: ("照片或屏幕", "presentation attack"),
    State.INJECTION: ("注入视频", "injection"),
}
_SPAN_COLOUR: Final = {SpanState.CREDITED: "#2e8b57", SpanState.PENDING: "#e0b10b"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineData:
    """What one timeline shows; times in seconds from the session's start.

    ``probabilities`` has shape (n, 5): the chance of each state at each of ``times_s``.
    ``truth_s`` are the stretches in which the enrolled person really was there.
    """

    duration_s: float
    truth_s: Sequence[tuple[float, float]]
    times_s: FloatArray
    probabilities: FloatArray
    states: Sequence[State]
    checks: Sequence[Check]
    spans: Sequence[Span]


def timeline_svg(data: TimelineData) -> str:
    """Draw a timeline as an SVG element; it holds no text from outside."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        *_row_labels(),
        *(_bar(data, *stretch, y=8, colour="#5b7fa6") for stretch in data.truth_s),
        *_areas(data),
        *(_mark(data, check) for check in data.checks),
        *(
            _bar(data, span.start_s, span.end_s, y=124, colour=_SPAN_COLOUR[span.state])
            for span in data.spans
            if span.state in _SPAN_COLOUR
        ),
        *_axis(data),
        "</svg>",
    ]
    return "".join(parts)


def _x(data: TimelineData, at_s: float) -> float:
    share = at_s / data.duration_s if data.duration_s > 0 else 0.0
    return LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0)


def _row_labels() -> list[str]:
    rows = (
        (18, "真相", "truth"),
        (62, "判断", "judged"),
        (108, "核验", "checks"),
        (136, "学时", "credit"),
    )
    return [
        f'<text x="4" y="{y}" class="row">{chinese}<tspan class="en"> {english}</tspan></text>'
        for y, chinese, english in rows
    ]


def _bar(data: TimelineData, start_s: float, end_s: float, *, y: int, colour: str) -> str:
    left, right = _x(data, start_s), _x(data, end_s)
    return (
        f'<rect x="{left:.1f}" y="{y}" width="{max(0.5, right - left):.1f}" height="12"'
        f' fill="{colour}"/>'
    )


def _areas(data: TimelineData) -> list[str]:
    """Stack the chance of each state from the bottom up between y = 28 and y = 92."""
    top, height = 28.0, 64.0
    lower = 0.0 * data.times_s
    areas = []
    for column, state in enumerate(data.states):
        upper = lower + data.probabilities[:, column]
        outline = [
            *zip(data.times_s, upper, strict=True),
            *zip(data.times_s[::-1], lower[::-1], strict=True),
        ]
        points = " ".join(f"{_x(data, t):.1f},{top + height * (1 - p):.1f}" for t, p in outline)
        areas.append(f'<polygon points="{points}" fill="{STATE_COLOUR[state]}"/>')
        lower = upper
    return areas


def check_colour(check: Check) -> str:
    """Return the colour of a check: green matched, red did not, amber unclear, grey nobody."""
    if check.outcome in {Outcome.NO_FACE, Outcome.NO_RESPONSE}:
        return "#7f8792"
    ratio = check.comparison_log10_lr
    if check.outcome is not Outcome.CAPTURED or ratio is None:
        return "#e0b10b"
    return STATE_COLOUR[State.GENUINE] if ratio > 0 else STATE_COLOUR[State.IMPOSTOR]


def _mark(data: TimelineData, check: Check) -> str:
    return (
        f'<circle cx="{_x(data, check.t):.1f}" cy="108" r="4.5" fill="{check_colour(check)}"'
        ' stroke="#fff"/>'
    )


def _axis(data: TimelineData) -> list[str]:
    minutes = range(0, int(data.duration_s // 60) + 1, 15)
    ticks = [(_x(data, 60 * minute), minute) for minute in minutes]
    return [
        f'<line x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="144" class="grid"/>'
        f'<text x="{x:.1f}" y="160" class="tick">{minute} min</text>'
        for x, minute in ticks
    ]
