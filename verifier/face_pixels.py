"""Measuring one face: cut out, brought to one width, its rim left away. Start at `measure_face`."""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from verifier.arrays import Float32Array, Pixels
from verifier.face_features import measure_features
from verifier.face_light import beyond, measure_light
from verifier.head_pose import FACE_HEIGHT, face_width_px
from verifier.quality_measures import NOTHING_MEASURED, FaceMeasures

STANDARD_FACE_WIDTH_PX: Final = 128
"""Faces are measured at this width, so that a number means the same from every camera."""

INNER_SHARE: Final = 0.85
"""How much of the face outline is measured: its rim is hair, ears and wall."""

# Second differences across, down and along both diagonals; the diagonal step is longer.
SECOND_DIFFERENCES: Final = tuple(
    np.array(kernel, dtype=np.float32)
    for kernel in (
        ((0, 0, 0), (1, -2, 1), (0, 0, 0)),
        ((0, 1, 0), (0, -2, 0), (0, 1, 0)),
        ((0.5, 0, 0), (0, -1, 0), (0, 0, 0.5)),
        ((0, 0, 0.5), (0, -1, 0), (0.5, 0, 0)),
    )
)

# The difference of two Laplacians: blind to slopes and straight edges, six times as strong as
# independent noise (Immerkær, Computer Vision and Image Understanding 64 (1996) 300-302).
NOISE_KERNEL: Final = np.array(((1, -2, 1), (-2, 4, -2), (1, -2, 1)), dtype=np.float32) / 6

# Median absolute value of a normal distribution, in standard deviations.
NORMAL_MEDIAN: Final = 0.6745


def measure_face(pixels: Pixels, mesh_px: Float32Array) -> FaceMeasures:
    """Measure the part of the face that lies inside the picture.

    Parameters
    ----------
    pixels
        Canonical pixels, shape (height, width, 3), RGB.
    mesh_px
        Shape (468, 3), canonical pixels.

    Returns
    -------
    FaceMeasures
        All zero when no part of the face lies inside the picture.
    """
    cut = _cut_out(pixels, mesh_px)
    if cut is None:
        return NOTHING_MEASURED
    luma, points = cut.scaled(cut.to_standard)
    inside = _inside(points, luma.shape[1::-1])
    mean, deviation = _mean_and_deviation(luma, inside)
    differences = [
        np.asarray(cv2.filter2D(luma, cv2.CV_32F, kernel), np.float32)
        for kernel in SECOND_DIFFERENCES
    ]
    laplacian = np.asarray(differences[0] + differences[1], np.float32)
    return FaceMeasures(
        sharpness=_variance(laplacian, inside),
        least_sharpness=min(_variance(each, inside) for each in differences),
        # Enlarging would smooth the noise of a small face away.
        grain=_grain(luma, inside) if cut.to_standard <= 1 else cut.own_grain(),
        brightness=mean / 255.0,
        contrast=deviation / 255.0,
        shading=_shading(luma, points, inside),
        light=measure_light(luma, points, inside),
        features=measure_features(luma, points),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _CutOut:
    """Luma around a face, 0 to 255, and its mesh, shape (468, 2), in the picture's own pixels."""

    luma: Float32Array
    points: Float32Array
    to_standard: float

    def scaled(self, scale: float) -> tuple[Float32Array, Float32Array]:
        """Return luma and mesh at another size."""
        height, width = self.luma.shape
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        # INTER_AREA averages all pixels when shrinking; INTER_LINEAR would skip some, adding noise.
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        luma = cv2.resize(self.luma, size, interpolation=how)
        return np.asarray(luma, np.float32), np.asarray(self.points * scale, np.float32)

    def own_grain(self) -> float:
        """Return the noise in the picture's own pixels, 0 to 1."""
        return _grain(self.luma, _inside(self.points, self.luma.shape[1::-1]))


def _cut_out(pixels: Pixels, mesh_px: Float32Array) -> _CutOut | None:
    height, width = pixels.shape[:2]
    outline = mesh_px[:, :2]
    left, top = np.clip(np.floor(outline.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(outline.max(axis=0)), 0, (width, height)).astype(int)
    if right - left < 2 or bottom - top < 2:
        return None
    # A degenerate mesh, wide in the picture but of no width, must not ask for a huge enlargement.
    face_width = max(face_width_px(mesh_px), (right - left) / 4, (bottom - top) / 4)
    luma = cv2.cvtColor(pixels[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    return _CutOut(
        # Not in whole grey levels: their rounding alone is a Laplacian variance of 1.7.
        luma=luma.astype(np.float32),
        points=np.asarray(outline - (left, top), np.float32),
        to_standard=STANDARD_FACE_WIDTH_PX / face_width,
    )


def _inside(points: Float32Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels lie well inside the face: hair and wall behind it must not count."""
    centre = points.mean(axis=0)
    shrunk = centre + (points - centre) * INNER_SHARE
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(shrunk).astype(np.int32)), 1)
    return mask.astype(np.bool_)


def _mean_and_deviation(values: Float32Array, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return mean and standard deviation where ``mask`` is true; zeros where it nowhere is."""
    # A third of numpy's time: nothing is copied out first.
    mean, deviation = cv2.meanStdDev(values, mask=mask.view(np.uint8))
    return float(mean[0, 0]), float(deviation[0, 0])


def _variance(values: Float32Array, mask: NDArray[np.bool_]) -> float:
    return _mean_and_deviation(values, mask)[1] ** 2


def _grain(luma: Float32Array, inside: NDArray[np.bool_]) -> float:
    """Return the standard deviation of noise, 0 to 1; the median leaves lashes and hair out."""
    # Every other row: half of some ten thousand pixels tell a median as well.
    found = np.abs(cv2.filter2D(luma, cv2.CV_32F, NOISE_KERNEL)[::2][inside[::2]])
    if not found.size:
        return 0.0
    middle = found.size // 2
    return float(np.partition(found, middle)[middle]) / NORMAL_MEDIAN / 255.0


def _shading(luma: Float32Array, points: Float32Array, inside: NDArray[np.bool_]) -> float:
    """Return the standard deviation of luma about the mean of each side of the face, 0 to 0.5."""
    forehead, chin = points[list(FACE_HEIGHT)].astype(np.float64)
    to_the_left = np.array((chin[1] - forehead[1], forehead[0] - chin[0]))
    is_left = beyond((luma.shape[0], luma.shape[1]), forehead, to_the_left)
    sides = [inside & is_left, inside & ~is_left]
    sizes = [int(np.count_nonzero(side)) for side in sides]
    squares = sum(_variance(luma, side) * size for side, size in zip(sides, sizes, strict=True))
    return math.sqrt(squares / max(1, sum(sizes))) / 255.0
