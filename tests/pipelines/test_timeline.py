"""Timelines as pictures: everything in its place, and nothing from outside."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.timeline import (
    LEFT,
    RIGHT,
    STATE_COLOUR,
    STATE_TEXT,
    TimelineData,
    check_colour,
    timeline_svg,
)
from verifier.check import Check, Outcome
from verifier.credit import PendingReason, Span, SpanState
from verifier.evidence import STATES, State

DURATION_S = 3600.0
MATCHED = Check(t=1800.0, prompted=True, outcome=Outcome.CAPTURED, faces=1, comparison_log10_lr=1.9)


def data(
    *,
    duration_s: float = DURATION_S,
    truth_s: Sequence[tuple[float, float]] = (),
    checks: Sequence[Check] = (),
    spans: Sequence[Span] = (),
) -> TimelineData:
    """Return a timeline on which the first half is genuine and the second absent."""
    times_s = np.array([0.0, 0.5, 0.5, 1.0]) * duration_s
    genuine = np.array([1.0, 1.0, 0.0, 0.0])
    probabilities = np.zeros((4, len(STATES)))
    probabilities[:, STATES.index(State.GENUINE)] = genuine
    probabilities[:, STATES.index(State.ABSENT)] = 1 - genuine
    return TimelineData(
        duration_s=duration_s,
        truth_s=truth_s,
        times_s=times_s,
        probabilities=probabilities,
        states=STATES,
        checks=checks,
        spans=spans,
    )


def drawn(timeline: TimelineData, tag: str) -> list[ET.Element]:
    """Return the elements of one kind, in drawing order."""
    svg = ET.fromstring(timeline_svg(timeline))  # noqa: S314 - what we have just written
    return list(svg.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def number(element: ET.Element, name: str) -> float:
    return float(element.get(name, "nan"))


def test_half_of_the_time_is_half_of_the_width() -> None:
    (bar,) = drawn(data(truth_s=[(0.0, 1800.0)]), "rect")
    assert number(bar, "x") == LEFT
    assert number(bar, "width") == (RIGHT - LEFT) / 2


def test_a_check_lies_at_its_time() -> None:
    (mark,) = drawn(data(checks=[MATCHED]), "circle")
    assert number(mark, "cx") == (LEFT + RIGHT) / 2
    assert mark.get("fill") == STATE_COLOUR[State.GENUINE]


def test_each_state_has_one_area_of_its_colour_and_share() -> None:
    areas = drawn(data(), "polygon")
    assert [area.get("fill") for area in areas] == [STATE_COLOUR[state] for state in STATES]
    assert [round(size(area)) for area in areas[:2]] == [round((RIGHT - LEFT) / 2 * 64)] * 2
    assert [size(area) for area in areas[2:]] == [0.0, 0.0, 0.0]


def test_states_stand_on_each_other_and_fill_the_height() -> None:
    """A quarter genuine below, three quarters absent above: nothing hides behind another."""
    genuine, absent, *_ = drawn(replace(data(), probabilities=SHARED), "polygon")
    assert (min(heights(absent)), max(heights(absent))) == (28, 28 + 48)
    assert (min(heights(genuine)), max(heights(genuine))) == (28 + 48, 28 + 64)


SHARED = np.tile([0.25, 0.75, 0.0, 0.0, 0.0], (4, 1))


def heights(polygon: ET.Element) -> list[float]:
    return [float(pair.split(",")[1]) for pair in polygon.get("points", "").split()]


def size(polygon: ET.Element) -> float:
    """Return the area of a polygon, in square units of the picture (shoelace formula)."""
    pairs = [pair.split(",") for pair in polygon.get("points", "").split()]
    x, y = np.array(pairs, dtype=np.float64).T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def test_credited_and_pending_spans_are_told_apart() -> None:
    spans = [
        Span(start_s=0, end_s=600, paused_s=0, state=SpanState.CREDITED),
        Span(
            start_s=600,
            end_s=900,
            paused_s=0,
            state=SpanState.PENDING,
            reason=PendingReason.MISS_WITHIN,
        ),
    ]
    credited, pending = drawn(data(spans=spans), "rect")
    assert credited.get("fill") != pending.get("fill")
    assert number(credited, "width") == pytest.approx(2 * number(pending, "width"), abs=0.1)


@pytest.mark.parametrize(
    ("outcome", "log10_lr", "colour"),
    [
        (Outcome.CAPTURED, 1.9, "#2e8b57"),
        (Outcome.CAPTURED, -2.0, "#c0392b"),
        (Outcome.CAPTURED, None, "#e0b10b"),
        (Outcome.MULTIPLE_FACES, None, "#e0b10b"),
        (Outcome.UNREADABLE, None, "#e0b10b"),
        (Outcome.NO_FACE, None, "#7f8792"),
        (Outcome.NO_RESPONSE, None, "#7f8792"),
    ],
)
def test_the_colour_of_a_check(outcome: Outcome, log10_lr: float | None, colour: str) -> None:
    check = Check(t=0.0, prompted=True, outcome=outcome, comparison_log10_lr=log10_lr)
    assert check_colour(check) == colour


def test_a_tick_every_quarter_of_an_hour() -> None:
    ticks = [text for text in drawn(data(), "text") if text.get("class") == "tick"]
    assert [tick.text for tick in ticks] == ["0 min", "15 min", "30 min", "45 min", "60 min"]
    assert [number(tick, "x") for tick in ticks] == np.linspace(LEFT, RIGHT, 5).tolist()


@given(
    duration_s=st.floats(0, 1e5),
    truth_s=st.tuples(st.floats(0, 2e5), st.floats(0, 2e5)),
    at_s=st.floats(0, 2e5),
)
def test_nothing_is_drawn_outside_the_frame(
    duration_s: float, truth_s: tuple[float, float], at_s: float
) -> None:
    """A lesson without length, or a stretch that outlasts it, still draws."""
    timeline = data(
        duration_s=duration_s,
        truth_s=[(min(truth_s), max(truth_s))],
        checks=[Check(t=at_s, prompted=True, outcome=Outcome.NO_FACE)],
    )
    for bar in drawn(timeline, "rect"):
        # Half a unit is the least that can be seen.
        assert LEFT <= number(bar, "x") <= number(bar, "x") + number(bar, "width") <= RIGHT + 0.6
    for mark in drawn(timeline, "circle"):
        assert LEFT <= number(mark, "cx") <= RIGHT


def test_every_state_has_a_colour_of_its_own_and_a_text_in_both_languages() -> None:
    assert set(STATE_COLOUR) == set(STATE_TEXT) == set(State)
    assert len(set(STATE_COLOUR.values())) == len(State)
    assert all(chinese and english for chinese, english in STATE_TEXT.values())
