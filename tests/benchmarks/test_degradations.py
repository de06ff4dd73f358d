"""Hands drawn onto a face: where, in which colour, and with soft edges."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.degradations import Degrade, fingers, palm
from tests.fakes import face
from tests.generated_images import face_mesh
from verifier.arrays import Pixels
from verifier.head_pose import face_width_px
from verifier.observation import Box, FaceObservation

SKIN = (150, 110, 90)
"""Of most of the face; eyes and wall are of other colours."""

BOX = Box(x=60.0, y=50.0, w=140.0, h=150.0)


def pictured() -> tuple[Pixels, FaceObservation]:
    """Return a face of one colour with dark eyes before a green wall, and where it is."""
    mesh = face_mesh()
    mesh *= np.float32(130 / face_width_px(mesh))
    mesh[:, :2] += 128
    pixels = np.full((256, 256, 3), (20, 200, 20), np.uint8)
    hull = cv2.convexHull(np.round(mesh[:, :2]).astype(np.int32))
    cv2.fillConvexPoly(pixels, hull, SKIN)
    for corner in (33, 263):
        cv2.circle(pixels, mesh[corner, :2].astype(int).tolist(), 8, (10, 10, 10), -1)
    return pixels, replace(face(), mesh_px=mesh, box_px=BOX)


@pytest.mark.parametrize("hand", [fingers(), fingers(-1), palm((0.5, 0.52), (0.22, 0.15))])
def test_a_hand_has_the_colour_of_the_face(hand: Degrade) -> None:
    """Lighter or darker, yet no other hue, over a wall and eyes of other colours too."""
    _, seen = pictured()
    wall = pictured()[0]
    touched = hand(wall, seen)
    changed = np.abs(touched.astype(int) - wall).max(axis=2) > 0
    assert 0.02 < changed.mean() < 0.2
    assert not changed[:, : int(BOX.x - 10)].any()
    nose = touched[int(BOX.y + 0.52 * BOX.h), int(BOX.x + 0.5 * BOX.w)] / np.array(SKIN)
    assert nose == pytest.approx(np.full(3, nose.mean()), rel=0.02)
    assert 0.6 < nose.mean() < 1.3


def test_the_first_finger_is_darkest_and_the_last_as_light_as_the_face() -> None:
    pixels, seen = pictured()
    touched = fingers()(pixels, seen)
    x = int(BOX.x + 0.7 * BOX.w)
    heights = [int(BOX.y + BOX.h * (0.39 + 0.09 * at + 0.015)) for at in range(4)]
    shades = [float(np.mean(touched[y, x] / np.array(SKIN))) for y in heights]
    assert shades == pytest.approx([0.85, 0.9, 0.95, 1.0], abs=0.02)


def test_fingers_lie_on_one_side_and_their_mirror_on_the_other() -> None:
    pixels, seen = pictured()
    middle = int(BOX.x + BOX.w / 2)
    for side, hand in ((1, fingers()), (-1, fingers(-1))):
        changed = np.abs(hand(pixels, seen).astype(int) - pixels).max(axis=2) > 0
        left, right = changed[:, :middle].sum(), changed[:, middle:].sum()
        assert (right - left) * side > 0.6 * changed.sum()


def test_edges_are_soft_and_the_rest_is_untouched() -> None:
    pixels, seen = pictured()
    plain = np.full_like(pixels, (20, 200, 20))
    touched = palm((0.5, 0.5), (0.2, 0.2))(pixels, seen)
    over_wall = palm((1.0, 0.5), (0.2, 0.2))(pixels, seen)
    x, y = int(BOX.x + BOX.w * 1.0), int(BOX.y + BOX.h / 2)
    assert not np.array_equal(over_wall[y, x], plain[y, x])
    steps = np.abs(np.diff(over_wall[y, x + 10 : x + 40, 1].astype(int)))
    assert 5 < steps.max() < 60
    assert np.array_equal(touched[:20], pixels[:20])
    assert np.array_equal(touched, palm((0.5, 0.5), (0.2, 0.2))(pixels, seen))
