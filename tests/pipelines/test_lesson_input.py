"""What one answer may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lesson_input import require_frames
from verifier.errors import InputError
from verifier.policy import default_policy

RULES = default_policy().capture
FILM_FRAME = bytes(40_960)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [bytes(3 << 20)],
        [bytes(1 << 20)] * 3,  # stills, of any size
        [FILM_FRAME] * 24,
        [b""] * 24,
    ],
)
def test_what_fits(frames: list[bytes]) -> None:
    require_frames(frames, RULES)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([b""] * 25, "25 frames in one answer; at most 24"),
        ([bytes((3 << 20) + 1)], "3145729 bytes in one answer; at most 3145728"),
        ([bytes(1 << 20)] * 3 + [b""], "1048576 bytes in a frame of a film; at most 40960"),
        ([FILM_FRAME + b"x"] + [b""] * 3, "40961 bytes in a frame of a film; at most 40960"),
        ("text", "list of bytes"),
        ([None], "list of bytes"),
    ],
)
def test_what_does_not(frames: list[bytes], message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_frames(frames, RULES)


@pytest.mark.parametrize(
    ("captured_ms", "message"),
    [
        ([0, 125, 250, 375], None),  # eight a second
        ([0, 40, 80, 375], None),  # on average
        ([1000, 1125, 1250, 1376], "7.98 frames a second; at least 8"),
        ([0, 1000, 2000, 3000], "1.00 frames a second; at least 8"),
        ([0, 125, 250], "3 times in captured_ms; 4"),
        ([0, 125, 125, 250], "does not rise"),
        ([0, 125, 250, 1.5], "whole milliseconds"),
        ([0, 1, 2, True], "whole milliseconds"),
        ("0123", "whole milliseconds"),
    ],
)
def test_a_film_shows_movement(captured_ms: list[int], message: str | None) -> None:
    frames = [b"x"] * 4
    if message is None:
        require_frames(frames, RULES, captured_ms)
        return
    with pytest.raises(InputError, match=message):
        require_frames(frames, RULES, captured_ms)


def test_stills_may_be_taken_at_leisure() -> None:
    require_frames([b"x"] * 3, RULES, [0, 1000, 5000])


@given(steps=st.lists(st.integers(1, 125), min_size=3, max_size=23))
def test_no_film_whose_every_step_is_short_is_refused(steps: list[int]) -> None:
    captured_ms = [sum(steps[:place]) for place in range(len(steps) + 1)]
    require_frames([b"x"] * len(captured_ms), RULES, captured_ms)
