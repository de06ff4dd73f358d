"""BlazeFace's forms: anchors, what they look at, and what becomes of their answer."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.blazeface import (
    BACK,
    FULL,
    SHORT,
    BlazeFaceDetector,
    BlazeFaceForm,
    anchors,
    decode,
    network_input,
)
from verifier.arrays import Float32Array, Pixels


class BrightSpot:
    """A network that sees one face, 40 x 50 input pixels, around the brightest pixel if bright."""

    def __init__(self, form: BlazeFaceForm = BACK) -> None:
        self.form = form
        self.shapes: list[tuple[int, ...]] = []

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Answer like the network; see `Network.run`."""
        assert list(outputs) == ["boxes", "scores"]
        image = inputs["images"][0]
        self.shapes.append(image.shape)
        centres = anchors(image.shape[2], image.shape[1], self.form)
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


def test_anchors_of_the_other_forms() -> None:
    """Short: two per cell of 8 and six per cell of 16, 896; full: one per cell of 4, 2304."""
    short, full = anchors(128, 128, SHORT), anchors(192, 192, FULL)
    assert (len(short), len(full)) == (896, 2304)
    assert short[[0, 1, 2, 511, 512, 518]].tolist() == [
        *([4, 4], [4, 4], [12, 4], [124, 124], [8, 8], [24, 8])
    ]
    assert full[[0, 1, 48]].tolist() == [[2, 2], [6, 2], [2, 6]]


@given(columns=st.integers(1, 8), rows=st.integers(1, 8), form=st.sampled_from((BACK, SHORT, FULL)))
def test_anchors_are_spread_evenly(columns: int, rows: int, form: BlazeFaceForm) -> None:
    centres = anchors(columns * 32, rows * 32, form)
    assert len(centres) == sum(
        columns * rows * (32 // stride) ** 2 * per_cell for stride, per_cell in form.anchor_layers
    )
    assert centres.mean(axis=0) == pytest.approx((columns * 16, rows * 16))


def test_a_640_x_480_frame_keeps_its_shape() -> None:
    images, step = network_input(np.zeros((480, 640, 3), dtype=np.uint8))
    assert images.shape == (1, 3, 192, 256)
    assert step == pytest.approx((2.5, 2.5))
    assert images.max() == images.min() == -1


@pytest.mark.parametrize(("form", "shape"), [(SHORT, (96, 128)), (FULL, (160, 192))])
def test_the_other_forms_look_at_less(form: BlazeFaceForm, shape: tuple[int, int]) -> None:
    """At 192 a frame of 640 x 480 has 144 rows, padded to the next multiple of 32."""
    images, _ = network_input(np.zeros((480, 640, 3), dtype=np.uint8), form)
    assert images.shape == (1, 3, *shape)


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


@pytest.mark.parametrize("form", [BACK, SHORT, FULL])
@pytest.mark.parametrize(("x", "y"), [(320, 240), (11, 7), (620, 300), (101, 470)])
def test_a_spot_is_found_where_it_lies(x: int, y: int, form: BlazeFaceForm) -> None:
    (found,) = BlazeFaceDetector(BrightSpot(form), form).detect(lit(640, 480, x, y, radius=5))
    box, step = found.box_px, 640 / form.input_side_px
    # The spot, 11 px wide, covers two input pixels or more; the first of the brightest counts.
    assert (box.x + box.w / 2, box.y + box.h / 2) == pytest.approx((x, y), abs=6)
    assert (box.w, box.h) == pytest.approx((40 * step, 50 * step), rel=2e-3)  # cropped
    assert found.keypoints_px == pytest.approx(np.array([(x, y)] * 6), abs=6)
    assert found.score == pytest.approx(1 / (1 + np.exp(-3)))


class OneCell:
    """A network that sees a face at its first anchor, 10 x 10 input pixels."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Answer; see `Network.run`."""
        assert (list(outputs), list(inputs)) == (["boxes", "scores"], ["images"])
        boxes = np.zeros((1, 672, 16), dtype=np.float32)
        boxes[0, 0, 2:4] = 10
        scores = np.full((1, 672, 1), -100, dtype=np.float32)
        scores[0, 0] = 1
        return [boxes, scores]


def test_input_pixels_count_from_the_edge_canonical_ones_from_their_centre() -> None:
    """The anchor at 8 input pixels is at 20 picture pixels from the edge: canonical 19.5."""
    (found,) = BlazeFaceDetector(OneCell()).detect(np.zeros((480, 640, 3), dtype=np.uint8))
    assert found.keypoints_px.tolist() == [[19.5, 19.5]] * 6
    box = found.box_px
    assert (box.x, box.y, box.w, box.h) == (7, 7, 25, 25)


def test_nobody_is_found_in_the_dark_and_small_pictures_are_looked_at_once() -> None:
    network = BrightSpot()
    assert BlazeFaceDetector(network).detect(np.zeros((720, 1280, 3), dtype=np.uint8)) == ()
    assert len(network.shapes) == 1


def test_a_spot_lost_at_256_is_found_in_a_part() -> None:
    """Seven pixels of 4000 vanish in the average of 15 x 15, not in that of 4 x 4."""
    network = BrightSpot()
    found = BlazeFaceDetector(network).detect(lit(4000, 2000, 2711, 1234, radius=3))
    assert len(network.shapes) > 1
    assert {round(each.box_px.x + each.box_px.w / 2) for each in found} <= set(range(2705, 2718))
    assert {round(each.box_px.y + each.box_px.h / 2) for each in found} <= set(range(1228, 1241))
    assert len(found) == 1
