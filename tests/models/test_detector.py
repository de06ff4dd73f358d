"""BlazeFace's answer: anchors, decoding, merging and the search of large pictures."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detector import (
    ANCHOR_LAYERS,
    MAX_PARTS_PER_SIDE,
    MIN_PART_PX,
    FaceDetector,
    anchors,
    decode,
    merge,
    network_input,
    search_parts,
)
from verifier.arrays import Float32Array, Pixels

sides, thin = st.integers(1, 6000), st.integers(1, 40)


class BrightSpot:
    """A network that sees one face, 40 x 50 input pixels, around the brightest pixel if bright."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Answer like the network; see `Network.run`."""
        assert list(outputs) == ["boxes", "scores"]
        image = inputs["images"][0]
        self.shapes.append(image.shape)
        centres = anchors(image.shape[2], image.shape[1])
        boxes = np.zeros((1, len(centres), 16), dtype=np.float32)
        scores = np.full((1, len(centres), 1), -36000, dtype=np.float32)
        y, x = np.unravel_index(image.sum(axis=0).argmax(), image.shape[1:])
        if image[:, y, x].min() > 0:
            nearest = int(np.hypot(*(centres - (x + 0.5, y + 0.5)).T).argmin())
            offset = (x + 0.5, y + 0.5) - centres[nearest]
            boxes[0, nearest] = np.tile(offset, 8)
            boxes[0, nearest, 2:4] = 40, 50
            scores[0, nearest] = 3
        return [boxes, scores]


def lit(width: int, height: int, x: int, y: int, radius: int) -> Pixels:
    """Return a black picture with a white square about (x, y)."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = 255
    return pixels


def test_anchors_of_the_square_input() -> None:
    """16 x 16 cells of two anchors, then 8 x 8 cells of six, row by row: 896."""
    centres = anchors(256, 256)
    assert centres.shape == (896, 2)
    assert centres[:3].tolist() == [[8, 8], [8, 8], [24, 8]]
    assert centres[511].tolist() == [248, 248]
    assert centres[512:519].tolist() == [[16, 16]] * 6 + [[48, 16]]


def test_anchors_of_a_wide_input_run_along_its_rows() -> None:
    centres = anchors(256, 192)
    assert len(centres) == 16 * 12 * 2 + 8 * 6 * 6
    assert centres[32].tolist() == [8, 24]
    assert centres[-1].tolist() == [240, 176]


@given(columns=st.integers(1, 8), rows=st.integers(1, 8))
def test_anchors_are_spread_evenly(columns: int, rows: int) -> None:
    centres = anchors(columns * 32, rows * 32)
    assert len(centres) == sum(
        columns * rows * (32 // stride) ** 2 * per_cell for stride, per_cell in ANCHOR_LAYERS
    )
    assert centres.mean(axis=0) == pytest.approx((columns * 16, rows * 16))


def test_a_640_x_480_frame_keeps_its_shape() -> None:
    images, step = network_input(np.zeros((480, 640, 3), dtype=np.uint8))
    assert images.shape == (1, 3, 192, 256)
    assert step == pytest.approx((2.5, 2.5))
    assert images.max() == images.min() == -1


def test_white_is_one_and_padding_is_black() -> None:
    images, step = network_input(np.full((100, 200, 3), 255, dtype=np.uint8))
    assert images.shape == (1, 3, 128, 256)
    assert images.dtype == np.float32
    assert (images[0, :, :128] == 1).all()
    assert step == pytest.approx((200 / 256, 100 / 128))
    padded, _ = network_input(np.full((200, 150, 3), 255, dtype=np.uint8))
    assert padded.shape == (1, 3, 256, 192)
    narrow, _ = network_input(np.full((200, 100, 3), 255, dtype=np.uint8))
    assert narrow.shape == (1, 3, 256, 128)
    odd, _ = network_input(np.full((200, 110, 3), 255, dtype=np.uint8))
    assert odd.shape == (1, 3, 256, 160)
    assert (odd[..., 141:] == -1).all()


@settings(deadline=None)
@given(
    st.one_of(
        st.tuples(st.integers(1, 800), st.integers(1, 800)),
        st.tuples(sides, thin),
        st.tuples(thin, sides),
    )
)
def test_every_shape_fits_the_grid(size: tuple[int, int]) -> None:
    images, step = network_input(np.zeros((*size, 3), dtype=np.uint8))
    rows, columns = images.shape[2:]
    assert rows % 32 == columns % 32 == 0
    assert max(rows, columns) == 256
    assert step.min() > 0


def test_decode_adds_the_anchor_to_all_but_the_size() -> None:
    boxes = np.array([[1, 2, 10, 20, *[3, 4] * 6], [0] * 16], dtype=np.float32)
    rows = decode(boxes, np.array([0, -1], np.float32), np.array([(100, 50), (0, 0)], np.float32))
    assert rows.shape == (1, 17)
    assert rows[0, :5].tolist() == [0.5, 96, 42, 106, 62]
    assert rows[0, 5:].tolist() == [103, 54] * 6


def test_decode_survives_the_scores_of_black_padding() -> None:
    logits = np.array([-36000, 36000], dtype=np.float32)
    rows = decode(np.zeros((2, 16), np.float32), logits, np.zeros((2, 2), np.float32))
    assert rows[:, 0].tolist() == [1]


def candidate(score: float, left: float, side: float = 10) -> list[float]:
    """Return a candidate row whose keypoints all lie on its left edge."""
    return [score, left, 0, left + side, side, *[left, 0] * 6]


def test_merge_weighs_by_score() -> None:
    rows = np.array([candidate(0.6, 0), candidate(0.9, 1), candidate(0.8, 50)], dtype=np.float32)
    merged = merge(rows)
    assert merged[:, 0] == pytest.approx((0.9, 0.8))
    assert merged[0, 1] == pytest.approx((0.6 * 0 + 0.9 * 1) / 1.5)
    assert merged[0, 5] == pytest.approx(0.6)
    assert merged[1, 1] == pytest.approx(50)


@given(st.lists(st.tuples(st.floats(0.5, 1), st.floats(0, 300), st.floats(0, 80)), max_size=12))
def test_merge_keeps_the_best_score_and_ends(drawn: list[tuple[float, float, float]]) -> None:
    rows = np.array([candidate(*each) for each in drawn], dtype=np.float32).reshape(-1, 17)
    merged = merge(rows)
    assert len(merged) <= len(rows)
    assert list(merged[:, 0]) == sorted(merged[:, 0], reverse=True)
    if len(rows):
        assert merged[0, 0] == rows[:, 0].max()


@pytest.mark.parametrize(("x", "y"), [(320, 240), (11, 7), (620, 300), (101, 470)])
def test_a_spot_is_found_where_it_lies(x: int, y: int) -> None:
    (found,) = FaceDetector(BrightSpot()).detect(lit(640, 480, x, y, radius=2))
    box = found.box_px
    # The spot covers two input pixels or three, 2.5 picture pixels each.
    assert (box.x + box.w / 2, box.y + box.h / 2) == pytest.approx((x, y), abs=2.5)
    assert (box.w, box.h) == pytest.approx((40 * 2.5, 50 * 2.5))
    assert found.keypoints_px == pytest.approx(np.array([(x, y)] * 6), abs=2.5)
    assert found.score == pytest.approx(1 / (1 + np.exp(-3)))


def test_nobody_is_found_in_the_dark_and_small_pictures_are_looked_at_once() -> None:
    network = BrightSpot()
    assert FaceDetector(network).detect(np.zeros((720, 1280, 3), dtype=np.uint8)) == ()
    assert len(network.shapes) == 1


def test_a_spot_lost_at_256_is_found_in_a_part() -> None:
    """Seven pixels of 4000 vanish in the average of 15 x 15, not in that of 4 x 4."""
    network = BrightSpot()
    found = FaceDetector(network).detect(lit(4000, 2000, 2711, 1234, radius=3))
    assert len(network.shapes) > 1
    assert {round(each.box_px.x + each.box_px.w / 2) for each in found} <= set(range(2705, 2718))
    assert {round(each.box_px.y + each.box_px.h / 2) for each in found} <= set(range(1228, 1241))
    assert len(found) == 1


@given(width=st.integers(1, 10_000), height=st.integers(1, 10_000))
def test_parts_cover_the_picture_and_overlap(width: int, height: int) -> None:
    parts = search_parts(width, height)
    assert len(parts) <= MAX_PARTS_PER_SIDE**2
    for along, length in ((0, width), (1, height)):
        spans = sorted({(part[along], part[along] + part[along + 2]) for part in parts})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= MIN_PART_PX / 3 - 1
