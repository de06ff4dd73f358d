"""Who sits where and when, and so what the truth is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.simulate.attendance import Attendance, Seat
from pipelines.simulate.webcam import Webcam
from tests.pipelines.simulate_samples import BLUE, RED, shows, sitter_of

LEARNER, STRANGER = sitter_of(RED), sitter_of(BLUE)
REPLACED = Attendance(
    seats=[
        Seat(from_s=0, sitters=[LEARNER], enrolled=True),
        Seat(from_s=1000, sitters=[STRANGER]),
        Seat(from_s=2000),
        Seat(from_s=2500, sitters=[LEARNER], enrolled=True),
    ],
    duration_s=3000,
)


def webcam() -> Webcam:
    return Webcam(np.random.default_rng(1))


def test_the_truth_is_the_time_of_the_enrolled_person() -> None:
    assert REPLACED.truth_s() == 1000 + 500


@pytest.mark.parametrize(
    ("at_s", "red", "blue"),
    [
        (0, True, False),
        (999.9, True, False),
        (1000, False, True),
        (2000, False, False),
        (2600, True, False),
        (3004, True, False),  # a closing prompt is answered a little after the end
    ],
)
def test_the_webcam_sees_who_sits_there(at_s: float, red: bool, blue: bool) -> None:
    frames = REPLACED.capture(webcam(), at_s)
    assert len(frames) == 2
    assert [shows(frame, RED) for frame in frames] == [red, red]
    assert [shows(frame, BLUE) for frame in frames] == [blue, blue]


def test_photographs_take_turns_every_three_minutes() -> None:
    attendance = Attendance(
        seats=[Seat(from_s=0, sitters=[LEARNER, STRANGER], enrolled=True)], duration_s=900
    )
    seen = [shows(attendance.capture(webcam(), at_s)[0], RED) for at_s in (0, 179, 180, 359, 360)]
    assert seen == [True, True, False, False, True]


@pytest.mark.parametrize("starts", [[], [1.0], [0.0, 20.0, 10.0], [0.0, 101.0]])
def test_seats_start_at_0_in_order_and_within_the_lesson(starts: list[float]) -> None:
    with pytest.raises(ValueError, match="start"):
        Attendance(seats=[Seat(from_s=start) for start in starts], duration_s=100)


@given(st.lists(st.tuples(st.integers(0, 3600), st.booleans()), max_size=8))
def test_presence_and_absence_add_up_to_the_lesson(drawn: list[tuple[int, bool]]) -> None:
    changes = [(0, True), *sorted(drawn)]

    def truth_s(*, inverted: bool) -> float:
        seats = [Seat(from_s=start, enrolled=here != inverted) for start, here in changes]
        return Attendance(seats=seats, duration_s=3600).truth_s()

    assert truth_s(inverted=False) + truth_s(inverted=True) == 3600
