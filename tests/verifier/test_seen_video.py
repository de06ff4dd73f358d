"""Unions of intervals, exact while they are few, and never too small."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.seen_video import MOST_PIECES, MOST_VIDEOS, SeenVideo

seconds = st.integers(0, 300)
pieces = st.lists(st.tuples(seconds, seconds).map(sorted), max_size=30)


def seen_of(found: list[list[int]]) -> SeenVideo:
    seen = SeenVideo()
    for start_s, end_s in found:
        seen = seen.with_piece("v", start_s, end_s)
    return seen


def test_a_known_union() -> None:
    seen = seen_of([[10, 20], [30, 40], [20, 25], [35, 50]])
    assert dict(seen.pieces) == {"v": ((10, 25), (30, 50))}
    assert seen.fresh_s("v", 0, 60) == 60 - 15 - 20
    assert seen.fresh_s("w", 0, 60) == 60


@given(found=pieces, wanted=st.tuples(seconds, seconds).map(sorted))
def test_agrees_with_counting_every_second(found: list[list[int]], wanted: list[int]) -> None:
    every = {second for start_s, end_s in found for second in range(start_s, end_s)}
    start_s, end_s = wanted
    fresh_s = seen_of(found).fresh_s("v", start_s, end_s)
    assert fresh_s == len(set(range(start_s, end_s)) - every)


def test_of_too_many_pieces_the_nearest_become_one() -> None:
    every = [(3.0 * i, 3.0 * i + 1) for i in range(MOST_PIECES)]
    seen = SeenVideo({"v": tuple(every)}).with_piece("v", 1000.0, 1001.0)
    assert len(seen.pieces["v"]) == MOST_PIECES
    assert seen.fresh_s("v", 0, 4) == 0  # the seconds between the two count as seen too
    length_s = math.fsum(end_s - start_s for start_s, end_s in seen.pieces["v"])
    assert length_s == pytest.approx(MOST_PIECES + 1 + 2)


def test_of_too_many_videos_nothing_is_new() -> None:
    full = SeenVideo({f"v{i}": ((0.0, 1.0),) for i in range(MOST_VIDEOS)})
    assert full.fresh_s("another", 0, 9) == 0
    assert full.with_piece("another", 0, 9) == full
    assert full.fresh_s("v0", 0, 9) == 8
