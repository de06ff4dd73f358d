"""Ways to spoil a photograph of a face: light, noise, blur, size, compression, cloth, hands.

All of it is drawn: figures over such pictures show what is noticed and what still compares, not
how often it happens before a learner's camera.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from models.image_decoder import decode_image, encode_frame
from verifier.arrays import Pixels
from verifier.head_pose import face_width_px
from verifier.observation import FaceObservation

Degrade: TypeAlias = Callable[[Pixels, FaceObservation], Pixels]

SEED: Final = 5

# How hands are drawn, in shares of the width or height of the face's box, and of its colour.
SOFT_EDGE: Final = 0.01
PALM_TILT_DEG: Final = 20.0
PALM_BLOTCHES: Final = 0.08
PALM_SLOPE: Final = 0.25
FINGERS_FROM: Final = 0.39
FINGER_STEP: Final = 0.09
FINGER_SHADES: Final = (0.85, 0.9, 0.95, 1.0)


def light(factor: float, offset: float = 0.0) -> Degrade:
    """Multiply the light, and add stray light in grey levels."""
    return lambda pixels, _: _clipped(pixels * factor + offset)


def noise(factor: float, deviation: float) -> Degrade:
    """Dim by a factor, then add sensor noise in grey levels."""

    def noisy(pixels: Pixels, _: FaceObservation) -> Pixels:
        grain = np.random.default_rng(SEED).normal(0, deviation, pixels.shape)
        return _clipped(pixels * factor + grain)

    return noisy


def side_light(share: float) -> Degrade:
    """Leave ``share`` of the light on one side of the face; it rises across the nose."""

    def lit(pixels: Pixels, face: FaceObservation) -> Pixels:
        box = face.box_px
        across = (np.arange(pixels.shape[1]) - (box.x + box.w / 2)) / box.w
        shares = share + (1 - share) / (1 + np.exp(-8 * across))
        return _clipped(pixels * shares[None, :, None])

    return lit


def ramp(low: float, high: float) -> Degrade:
    """Light that rises evenly from one edge of the picture to the other."""
    return lambda pixels, _: _clipped(
        pixels * np.linspace(low, high, pixels.shape[1])[None, :, None]
    )


def turned(angle_deg: float) -> Degrade:
    """Turn the picture about its middle, against the clock."""

    def rotated(pixels: Pixels, _: FaceObservation) -> Pixels:
        height, width = pixels.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, 1)
        return np.asarray(cv2.warpAffine(pixels, matrix, (width, height)), np.uint8)

    return rotated


def blurred(share: float) -> Degrade:
    """Blur by a Gaussian of this share of the face width."""
    return lambda pixels, face: np.asarray(
        cv2.GaussianBlur(pixels, (0, 0), share * face_width_px(face.mesh_px)), np.uint8
    )


def resized(width_px: float) -> Degrade:
    """Shrink the picture until the face is this wide."""

    def shrunk(pixels: Pixels, face: FaceObservation) -> Pixels:
        scale = min(1.0, width_px / face_width_px(face.mesh_px))
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)

    return shrunk


def scaled(factor: float) -> Degrade:
    """Shrink the picture."""

    def smaller(pixels: Pixels, _: FaceObservation) -> Pixels:
        small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)

    return smaller


def jpeg(quality: int) -> Degrade:
    """Compress the picture."""
    return lambda pixels, _: decode_image(encode_frame(pixels, quality=quality)).pixels


def covered(points: Iterable[int], colour: tuple[int, int, int]) -> Degrade:
    """Draw a patch of cloth over the hull of some mesh points."""

    def painted_over(pixels: Pixels, face: FaceObservation) -> Pixels:
        hull = cv2.convexHull(np.round(face.mesh_px[list(points), :2]).astype(np.int32))
        painted = pixels.copy()
        cv2.fillConvexPoly(painted, hull, colour)
        return painted

    return painted_over


def palm(centre: tuple[float, float], radii: tuple[float, float]) -> Degrade:
    """Lay a palm on the face: an ellipse in its own colour; all in shares of the face's box."""

    def touched(pixels: Pixels, face: FaceObservation) -> Pixels:
        box, skin = face.box_px, _skin_colour(pixels, face)
        corner, size = np.array((box.x, box.y)), np.array((box.w, box.h))
        middle, axes = corner + size * centre, np.round(size * radii).astype(int).tolist()
        shape = np.zeros(pixels.shape[:2], np.uint8)
        where = np.round(middle).astype(int).tolist()
        cv2.ellipse(shape, where, axes, PALM_TILT_DEG, 0, 360, 255, -1)
        # The light falls off towards one side, as over the ball of a thumb, in soft blotches.
        across = (np.arange(pixels.shape[1]) - middle[0]) / box.w
        blotches = np.random.default_rng(SEED).normal(0, 1, pixels.shape[:2])
        soft = cv2.GaussianBlur(blotches, (0, 0), 0.04 * box.w)
        shade = 1 + PALM_BLOTCHES * soft / soft.std() - PALM_SLOPE * across
        return _laid_over(pixels, shape, shade[..., None] * skin, box.w)

    return touched


def fingers(leftwards: int = 1) -> Degrade:
    """Lay four fingers over nose and one cheek, that on the right of the picture, or its left."""

    def touched(pixels: Pixels, face: FaceObservation) -> Pixels:
        box, skin = face.box_px, _skin_colour(pixels, face)
        for at, shade in enumerate(FINGER_SHADES):
            shape = np.zeros(pixels.shape[:2], np.uint8)
            heights = box.y + box.h * (FINGERS_FROM + FINGER_STEP * at + np.array((0.0, 0.03)))
            sides = box.x + box.w * (0.5 + leftwards * np.array((-0.05, 0.5 - 0.05 * at)))
            root, tip = np.column_stack((sides, heights)).round().astype(int).tolist()
            cv2.line(shape, root, tip, 255, max(2, round(FINGER_STEP * box.h)))
            pixels = _laid_over(pixels, shape, shade * skin, box.w)
        return pixels

    return touched


def _skin_colour(pixels: Pixels, face: FaceObservation) -> NDArray[np.float64]:
    """Return the median colour of a face, shape (3,)."""
    hull = cv2.convexHull(np.round(face.mesh_px[:, :2]).astype(np.int32))
    inside = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, hull, 1)
    return np.asarray(np.median(pixels[inside.astype(bool)], axis=0), np.float64)


def _laid_over(
    pixels: Pixels, shape: Pixels, colour: NDArray[np.float64], box_width_px: float
) -> Pixels:
    """Return the picture under a shape with soft edges; ``colour`` may differ by pixel."""
    soft = cv2.GaussianBlur(shape, (0, 0), SOFT_EDGE * box_width_px)[..., None] / 255.0
    return _clipped(pixels * (1 - soft) + colour * soft)


def _clipped(levels: NDArray[np.floating[Any]]) -> Pixels:
    return np.asarray(np.clip(levels, 0, 255), np.uint8)
