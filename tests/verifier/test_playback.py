"""What stretches take away, and what they leave alone."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.credit import credit_spans
from verifier.errors import InvalidRecordError
from verifier.playback import (
    Heartbeat,
    Stretch,
    StretchState,
    counted_s,
    withheld,
    withheld_by_state,
)

HOUR_S = 3600.0
COUNTED, HIDDEN = StretchState.COUNTED, StretchState.HIDDEN


@st.composite
def courses(draw: st.DrawFn) -> list[Stretch]:
    """Draw stretches by time, with gaps or without."""
    moments = sorted(draw(st.lists(st.floats(0, HOUR_S), min_size=2, max_size=20)))
    states = draw(st.lists(st.sampled_from(StretchState), min_size=20, max_size=20))
    there = draw(st.lists(st.booleans(), min_size=20, max_size=20))
    return [
        Stretch(start_s=start_s, end_s=end_s, state=state)
        for (start_s, end_s), state, is_there in zip(pairwise(moments), states, there, strict=False)
        if is_there
    ]


LESSON = [
    Stretch(start_s=10, end_s=100, state=COUNTED),
    Stretch(start_s=100, end_s=130, state=HIDDEN),
    Stretch(start_s=130, end_s=200, state=COUNTED),
]


class TestWithheld:
    @pytest.mark.parametrize(
        ("required", "expected"),
        [(False, [(100, 130)]), (True, [(0, 10), (100, 130), (200, 240)])],
    )
    def test_what_is_not_counted_and_if_required_what_is_not_covered(
        self, required: bool, expected: list[tuple[float, float]]
    ) -> None:
        pauses = withheld(LESSON, until_s=240, required=required)
        assert [(p.start_s, p.end_s) for p in pauses] == expected

    def test_ends_with_the_lesson(self) -> None:
        assert [p.end_s for p in withheld(LESSON, until_s=120, required=True)] == [10, 120]
        assert withheld(LESSON, until_s=0, required=True) == ()

    def test_no_heartbeat_takes_nothing_or_everything(self) -> None:
        assert withheld([], until_s=240, required=False) == ()
        (everything,) = withheld([], until_s=240, required=True)
        assert (everything.start_s, everything.end_s) == (0, 240)

    @given(course=courses(), until_s=st.floats(0, HOUR_S), data=st.data())
    def test_the_order_of_stretches_does_not_matter(
        self, course: list[Stretch], until_s: float, data: st.DataObject
    ) -> None:
        mixed = data.draw(st.permutations(course))
        for required in (False, True):
            expected = withheld(course, until_s=until_s, required=required)
            assert withheld(mixed, until_s=until_s, required=required) == expected

    @given(course=courses(), until_s=st.floats(0, HOUR_S), required=st.booleans())
    def test_reasons_add_up_to_what_is_withheld(
        self, course: list[Stretch], until_s: float, required: bool
    ) -> None:
        lost = withheld_by_state(course, until_s=until_s, required=required)
        pauses = withheld(course, until_s=until_s, required=required)
        taken_s = math.fsum(p.end_s - p.start_s for p in pauses)
        assert math.fsum(lost.values()) == pytest.approx(taken_s, abs=1e-6)
        assert COUNTED not in lost
        if required:
            left_s = until_s - counted_s(course, until_s=until_s)
            assert taken_s == pytest.approx(left_s, abs=1e-6)

    @given(
        course=courses(),
        passes=st.lists(st.floats(0, HOUR_S), min_size=2, max_size=6),
        required=st.booleans(),
    )
    def test_a_span_never_earns_more_by_it(
        self, course: list[Stretch], passes: list[float], required: bool
    ) -> None:
        pauses = withheld(course, until_s=HOUR_S, required=required)
        without = credit_spans(passes_s=passes, breaks_s=(), pauses=())
        held = credit_spans(passes_s=passes, breaks_s=(), pauses=pauses)
        earned_s = math.fsum(s.credit_s for s in held)
        assert earned_s <= math.fsum(s.credit_s for s in without) + 1e-6
        if required:
            assert earned_s <= counted_s(course, until_s=HOUR_S) + 1e-6


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_s": -1.0},
        {"at_s": math.nan},
        {"at_s": math.inf},
        {"position_s": -0.1},
        {"position_s": 7 * 86_400 + 1.0},
        {"position_s": math.nan},
        {"rate": -1.0},
        {"rate": math.inf},
    ],
)
def test_a_heartbeat_is_finite_and_in_range(wrong: dict[str, float]) -> None:
    right = Heartbeat(at_s=1, position_s=1, rate=1)
    with pytest.raises(InvalidRecordError, match="wanted"):
        replace(right, **wrong)  # type: ignore[arg-type]


def test_a_stretch_ends_after_it_began() -> None:
    with pytest.raises(InvalidRecordError):
        Stretch(start_s=2, end_s=1, state=COUNTED)
