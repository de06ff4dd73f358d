"""The chip is dlib's to the grey level, at every size, angle and place."""

import cv2
import dlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.face_chip import (
    CHIP_SIDE_PX,
    MESH_TEMPLATE,
    ChipSquare,
    face_chip,
    fit_square,
    mesh_chip,
    pyramid_levels,
)
from verifier.arrays import FloatArray, Pixels

PADDING = 0.25
# The average face of dlib's five points on the unit square, from its get_face_chip_details.
DLIB_FACE = np.array(
    [
        (0.8595674595992, 0.2134981538014),
        (0.6460604764104, 0.2289674387677),
        (0.1205750620789, 0.2137274526848),
        (0.3340850613712, 0.2290642403242),
        (0.4901123135679, 0.6277975316475),
    ]
)
DLIB_TEMPLATE = (DLIB_FACE + PADDING) / (1 + 2 * PADDING) * CHIP_SIDE_PX


def textured(width: int, height: int) -> Pixels:
    """Return smooth random pixels, on which a small shift shows."""
    coarse = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def whole_points(scale: float, turn_deg: float, x: float, y: float) -> FloatArray:
    """Return five landmarks about (x, y) on whole pixels, as dlib's landmarks are."""
    angle = np.radians(turn_deg)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    jitter = np.random.default_rng(2).normal(0, 2, DLIB_TEMPLATE.shape)
    points: FloatArray = np.round((DLIB_TEMPLATE - 75) @ turn.T * scale + (x, y) + jitter)
    return points


def dlib_chip(pixels: Pixels, points: FloatArray) -> Pixels:
    """Return dlib's own chip for five landmarks."""
    parts = [dlib.point(int(x), int(y)) for x, y in points]
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 9, 9), parts)
    return np.asarray(dlib.get_face_chip(pixels, shape, size=CHIP_SIDE_PX, padding=PADDING))


@pytest.mark.parametrize(
    ("scale", "turn_deg", "x", "y"),
    [
        pytest.param(0.7, -12.0, 310.0, 240.0, id="small"),
        pytest.param(1.0, 0.0, 320.0, 240.0, id="upright"),
        pytest.param(1.6, 35.0, 300.0, 220.0, id="turned"),
        pytest.param(1.2, 8.0, 30.0, 20.0, id="over the corner"),
        pytest.param(0.8, -3.0, 639.0, 300.0, id="over the edge"),
        pytest.param(2.6, 20.0, 330.0, 260.0, id="one pyramid level"),
        pytest.param(3.0, -20.0, 600.0, 40.0, id="one pyramid level over the corner"),
        pytest.param(6.5, 5.0, 320.0, 240.0, id="two pyramid levels"),
    ],
)
def test_chip_is_dlibs(scale: float, turn_deg: float, x: float, y: float) -> None:
    pixels, points = textured(640, 480), whole_points(scale, turn_deg, x, y)
    difference = np.abs(
        face_chip(pixels, points, DLIB_TEMPLATE).astype(int) - dlib_chip(pixels, points)
    )
    # dlib samples in double precision: a value on a whole grey level may fall to either side.
    assert difference.mean() <= 0.01
    assert difference.max() <= 1


@settings(deadline=None, max_examples=25)
@given(
    scale=st.floats(0.3, 5.0),
    turn_deg=st.floats(-180, 180),
    x=st.floats(-200, 840),
    y=st.floats(-200, 680),
)
def test_chip_is_dlibs_anywhere(scale: float, turn_deg: float, x: float, y: float) -> None:
    pixels, points = textured(640, 480), whole_points(scale, turn_deg, x, y)
    expected = dlib_chip(pixels, points).astype(int)
    assert np.abs(face_chip(pixels, points, DLIB_TEMPLATE) - expected).mean() <= 0.01


@pytest.mark.parametrize("x", [601.0, 602.0, 603.0])
def test_the_pyramid_starts_at_dlibs_pixel(x: float) -> None:
    """Two levels up, what is filtered depends on where the part around the face begins."""
    pixels, points = textured(1300, 1200), whole_points(4.3, 10.0, x, 590.0)
    expected = dlib_chip(pixels, points).astype(int)
    assert np.abs(face_chip(pixels, points, DLIB_TEMPLATE) - expected).mean() <= 0.01


def test_a_face_outside_the_picture_is_black() -> None:
    chip = face_chip(textured(100, 80), DLIB_TEMPLATE + 5000, DLIB_TEMPLATE)
    assert chip.shape == (150, 150, 3)
    assert not chip.any()


def test_points_on_the_template_give_the_square_of_the_chip() -> None:
    """Corner pixels 150 * 1 - 1 apart, and dlib's centre at 75 although pixels centre at 74.5."""
    square = fit_square(DLIB_TEMPLATE, DLIB_TEMPLATE)
    assert square.centre == pytest.approx(75 + 75j)
    assert square.side_px == pytest.approx(149)
    assert square.turn == pytest.approx(1)


@given(
    scale=st.floats(0.1, 20), angle=st.floats(-3, 3), x=st.floats(-1e3, 1e3), y=st.floats(-1e3, 1e3)
)
def test_fit_finds_the_similarity_it_was_given(
    scale: float, angle: float, x: float, y: float
) -> None:
    factor = scale * np.exp(1j * angle)
    moved = (DLIB_TEMPLATE[:, 0] + 1j * DLIB_TEMPLATE[:, 1]) * factor + complex(x, y)
    square = fit_square(np.column_stack((moved.real, moved.imag)), DLIB_TEMPLATE)
    assert square.side_px == pytest.approx(150 * scale - 1)
    assert square.turn == pytest.approx(np.exp(1j * angle))
    assert square.centre == pytest.approx((75 + 75j) * factor + complex(x, y), abs=1e-6)


@pytest.mark.parametrize(("side_px", "levels"), [(150, 0), (298, 0), (299, 1), (596, 1), (597, 2)])
def test_pyramid_starts_where_dlibs_does(side_px: float, levels: int) -> None:
    """Halved corners still more than 150 pixels wide: (299 / 2) + 1 is."""
    square = ChipSquare(centre=400 + 400j, side_px=side_px, turn=1 + 0j)
    assert pyramid_levels(square) == levels


def test_mesh_chip_uses_the_template_points_only() -> None:
    mesh = np.random.default_rng(0).uniform(-1e4, 1e4, (468, 3)).astype(np.float32)
    for index, point in MESH_TEMPLATE.items():
        mesh[index, :2] = point
    pixels = textured(160, 160)
    template = np.array(list(MESH_TEMPLATE.values()))
    points = template.astype(np.float32).astype(np.float64)
    assert (mesh_chip(pixels, mesh) == face_chip(pixels, points, template)).all()
