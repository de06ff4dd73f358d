"""Light on a face: what is clipped, and whether both sides have as much of it."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.generated_images import face_mesh
from verifier.arrays import Float32Array
from verifier.face_light import (
    LEFT_CHEEK,
    NO_LIGHT,
    RIGHT_CHEEK,
    LightMeasures,
    measure_light,
    shared_light,
)
from verifier.head_pose import face_width_px

SIDE = 200


def mirrored_mesh() -> Float32Array:
    """Return a frontal mesh, 128 pixels wide, whose cheeks mirror each other to the pixel."""
    mesh = face_mesh()
    mesh *= np.float32(128 / face_width_px(mesh))
    points = mesh[:, :2] + np.float32(SIDE / 2)
    for corner, (right, left) in enumerate(zip(RIGHT_CHEEK, LEFT_CHEEK, strict=True)):
        angle = 2 * math.pi * corner / len(RIGHT_CHEEK)
        points[right] = (round(65 + 18 * math.cos(angle)), round(115 + 18 * math.sin(angle)))
        points[left] = (SIDE - 1 - points[right][0], points[right][1])
    return points


MESH = mirrored_mesh()
WHOLE = np.ones((SIDE, SIDE), np.bool_)


def skin(level: float = 120.0) -> Float32Array:
    """Return mottled skin, the left half a mirror image of the right."""
    half = np.random.default_rng(6).normal(1, 0.08, (SIDE, SIDE // 2))
    return np.asarray(level * np.hstack((half, half[:, ::-1])), np.float32)


def lit(share: float, *, left: bool = False) -> Float32Array:
    """Return skin with ``share`` of the light on one side."""
    luma = skin()
    side = slice(SIDE // 2, None) if left else slice(0, SIDE // 2)
    luma[:, side] *= np.float32(share)
    return luma


def evenness(luma: Float32Array) -> float:
    measured = measure_light(luma, MESH, WHOLE).evenness
    assert measured is not None
    return measured


def test_a_mirrored_face_is_lit_evenly() -> None:
    assert evenness(skin()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("left", [False, True])
def test_evenness_falls_as_one_side_darkens_whichever_it_is(left: bool) -> None:
    series = [evenness(lit(share, left=left)) for share in (1, 0.8, 0.6, 0.4, 0.2, 0.1)]
    assert series == sorted(series, reverse=True)
    assert len(set(series)) == len(series)
    assert series[-1] < 0.1


@pytest.mark.parametrize(("ratio", "shared"), [(1, 1.0), (2, 0.5625), (4, 0.25), (16, 0.0)])
def test_shared_light_of_two_plain_patches(ratio: float, shared: float) -> None:
    """Two triangles 2 ln 4 wide, ln(ratio) apart, overlap in (1 - ln(ratio) / (2 ln 4))²."""
    assert shared == pytest.approx((1 - math.log(ratio) / (2 * math.log(4))) ** 2, abs=1e-9)
    bright, dim = (np.full(400, level, np.float32) for level in (240.0, 244.0 / ratio - 4))
    assert shared_light(bright, dim) == pytest.approx(shared, abs=0.04)


@given(st.floats(0.3, 1.5), st.floats(0.3, 1.0))
def test_exposure_does_not_change_evenness(exposure: float, share: float) -> None:
    luma = lit(share)
    assert evenness(luma * np.float32(exposure)) == pytest.approx(evenness(luma), abs=0.08)


patches = st.lists(st.floats(0, 255, width=32), min_size=1, max_size=50).map(
    lambda values: np.array(values, np.float32)
)


@given(patches, patches)
def test_shared_light_is_a_share_that_both_sides_agree_on(
    right: Float32Array, left: Float32Array
) -> None:
    assert -1e-9 <= shared_light(right, left) <= 1 + 1e-9
    assert shared_light(right, left) == pytest.approx(shared_light(left, right))
    assert shared_light(right, right) == pytest.approx(1.0)


def test_a_cheek_out_of_the_picture_tells_nothing_about_light() -> None:
    away = MESH - np.array((100, 0), np.float32)
    assert measure_light(skin(), away, WHOLE).evenness is None
    narrow = MESH.copy()
    narrow[list(RIGHT_CHEEK)] = narrow[RIGHT_CHEEK[0]]
    assert measure_light(skin(), narrow, WHOLE).evenness is None


def test_clipped_shares_are_those_of_the_half_that_has_less() -> None:
    """Nine tenths burnt out below, a tenth above: a white mask, and no glare."""
    middle = int(MESH[197, 1])
    luma = skin(120)
    luma[middle:][:, : SIDE * 9 // 10] = 250
    luma[:middle][:, : SIDE // 10] = 255
    measured = measure_light(luma, MESH, WHOLE)
    assert measured.overexposed == pytest.approx(0.1, abs=0.01)
    assert measured.underexposed == 0
    dark = measure_light(255 - luma, MESH, WHOLE)
    assert dark.underexposed == pytest.approx(0.1, abs=0.01)
    assert dark.overexposed == 0


@given(st.floats(1.0, 2.0), st.floats(1.0, 2.0))
def test_more_exposure_clips_no_fewer_highlights_and_no_more_shadows(
    first: float, second: float
) -> None:
    low, high = sorted((first, second))
    dim, bright = (
        measure_light(np.minimum(skin(150) * np.float32(gain), 255), MESH, WHOLE)
        for gain in (low, high)
    )
    assert dim.overexposed <= bright.overexposed
    assert dim.underexposed >= bright.underexposed


@pytest.mark.parametrize("angle_deg", [30, 90, 180])
def test_a_turned_picture_has_the_same_light(angle_deg: float) -> None:
    luma = lit(0.5)
    luma[: int(MESH[197, 1])] = 250
    matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), angle_deg, 1)
    turned = np.asarray(cv2.warpAffine(luma, matrix, (SIDE, SIDE)), np.float32)
    mesh = np.asarray(MESH @ matrix[:, :2].T + matrix[:, 2], np.float32)
    disc = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(disc, (SIDE // 2, SIDE // 2), SIDE // 2 - 5, 1, -1)
    upright, rolled = (
        measure_light(picture, points, disc > 0)
        for picture, points in ((luma, MESH), (turned, mesh))
    )
    assert rolled.evenness == pytest.approx(upright.evenness, abs=0.05)
    assert rolled.overexposed == pytest.approx(upright.overexposed, abs=0.03)


def test_no_face_has_no_light() -> None:
    nowhere = np.zeros((SIDE, SIDE), np.bool_)
    assert measure_light(skin(), MESH, nowhere) == NO_LIGHT
    assert LightMeasures(underexposed=0.0, overexposed=0.0, evenness=None) == NO_LIGHT
