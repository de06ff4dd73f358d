"""What detectors share: fitting to the grid, merging, and the search of large pictures."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.face_search import (
    MAX_PARTS_PER_SIDE,
    average_same,
    find_faces,
    fit_to_grid,
    keep_surest,
    search_parts,
)
from verifier.arrays import Float32Array, Pixels

MIN_PART_PX = 768
sides, thin = st.integers(1, 6000), st.integers(1, 40)


@settings(deadline=None)
@given(
    st.one_of(
        st.tuples(st.integers(1, 800), st.integers(1, 800)),
        st.tuples(sides, thin),
        st.tuples(thin, sides),
    )
)
def test_every_shape_fits_the_grid(size: tuple[int, int]) -> None:
    small, step = fit_to_grid(np.zeros((*size, 3), dtype=np.uint8), 256, 32)
    rows, columns = small.shape[:2]
    assert rows % 32 == columns % 32 == 0
    assert max(rows, columns) == 256
    assert step.min() > 0


def candidate(score: float, left: float, side: float = 10) -> list[float]:
    """Return a candidate row whose keypoints all lie on its left edge."""
    return [score, left, 0, left + side, side, *[left, 0] * 6]


def test_averaging_weighs_by_score() -> None:
    rows = np.array([candidate(0.6, 0), candidate(0.9, 1), candidate(0.8, 50)], dtype=np.float32)
    merged = average_same(rows)
    assert merged[:, 0] == pytest.approx((0.9, 0.8))
    assert merged[0, 1] == pytest.approx((0.6 * 0 + 0.9 * 1) / 1.5)
    assert merged[0, 5] == pytest.approx(0.6)
    assert merged[1, 1] == pytest.approx(50)


@given(st.lists(st.tuples(st.floats(0.5, 1), st.floats(0, 300), st.floats(0, 80)), max_size=12))
def test_averaging_keeps_the_best_score_and_ends(drawn: list[tuple[float, float, float]]) -> None:
    rows = np.array([candidate(*each) for each in drawn], dtype=np.float32).reshape(-1, 17)
    merged = average_same(rows)
    assert len(merged) <= len(rows)
    assert list(merged[:, 0]) == sorted(merged[:, 0], reverse=True)
    if len(rows):
        assert merged[0, 0] == rows[:, 0].max()


def test_the_surest_is_kept_as_it_is() -> None:
    rows = np.array([candidate(0.6, 0), candidate(0.9, 1), candidate(0.8, 50)], dtype=np.float32)
    assert keep_surest(rows).tolist() == rows[[1, 2]].tolist()


@given(st.lists(st.tuples(st.floats(0.5, 1), st.floats(0, 300), st.floats(0, 80)), max_size=12))
def test_keeping_and_averaging_see_the_same_faces(drawn: list[tuple[float, float, float]]) -> None:
    """They group alike: one candidate a face, of the same score; averages have no more area."""
    rows = np.array([candidate(*each) for each in drawn], dtype=np.float32).reshape(-1, 17)
    assert keep_surest(rows)[:, 0].tolist() == average_same(rows)[:, 0].tolist()


def test_a_face_in_a_part_is_told_where_it_lies_in_the_picture() -> None:
    """The whole shows nothing; each part has one candidate at its own corner."""

    def look(pixels: Pixels) -> Float32Array:
        whole = pixels.shape[1] == 2000
        rows = [] if whole else [candidate(0.9, 5)]
        return np.array(rows, dtype=np.float32).reshape(-1, 17)

    pixels = np.zeros((1400, 2000, 3), dtype=np.uint8)
    found = find_faces(pixels, look, keep_surest, 320)
    corners = {(round(face.box_px.x) - 5, round(face.box_px.y)) for face in found}
    assert corners == {(x, y) for x, y, _, _ in search_parts(2000, 1400, 960)}
    assert all((face.keypoints_px == (face.box_px.x, face.box_px.y)).all() for face in found)


@given(width=st.integers(1, 10_000), height=st.integers(1, 10_000))
def test_parts_cover_the_picture_and_overlap(width: int, height: int) -> None:
    parts = search_parts(width, height, MIN_PART_PX)
    assert len(parts) <= MAX_PARTS_PER_SIDE**2
    for along, length in ((0, width), (1, height)):
        spans = sorted({(part[along], part[along] + part[along + 2]) for part in parts})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= MIN_PART_PX / 3 - 1
