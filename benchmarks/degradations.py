"""Ways to spoil a photograph of a face: light, noise, blur, size, compression, cloth.

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


def _clipped(levels: NDArray[np.floating[Any]]) -> Pixels:
    return np.asarray(np.clip(levels, 0, 255), np.uint8)
