"""How light falls on a face: clipped shadows, clipped highlights, and one side against the other.

After the exposure and illumination components of ISO/IEC 29794-5 (OFIQ), on a mesh: start with
`measure_light`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from verifier.arrays import Flags, Float32Array, FloatArray

# The levels from which on OFIQ calls a pixel under- or over-exposed.
SHADOW_LEVEL: Final = 25.0
HIGHLIGHT_LEVEL: Final = 247.0

# Between eye socket, nose and jaw on the subject's right, and the same points mirrored: skin
# that hair, beard and spectacles leave free most often.
RIGHT_CHEEK: Final = (117, 118, 101, 36, 205, 187, 123)
LEFT_CHEEK: Final = (346, 347, 330, 266, 425, 411, 352)

# A mask ends, and dark glasses begin, about the middle of the bridge of the nose.
FOREHEAD, NOSE_BRIDGE, CHIN = 10, 197, 152

# Fewer pixels than a square of this side would leave the histogram to chance: a cheek that is
# turned away or lies outside the picture says nothing about light.
LEAST_CHEEK_PX: Final = 6 * 6

# Kept away from 0, where the logarithm of sensor noise would be all there is.
DARK_LEVEL: Final = 4.0
BIN_WIDTH: Final = 0.05
SPREAD: Final = math.log(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class LightMeasures:
    """Light on one face.

    Attributes
    ----------
    underexposed, overexposed
        Share of pixels, 0 to 1, whose luma lies at or below 25, at or above 247: of the upper or
        the lower half of the face, whichever has fewer. Light clips both halves; a beard, dark
        glasses or a white mask only one.
    evenness
        1 where both cheeks are lit alike, 0 where they share no level of light; for two plain
        cheeks 0.56 at twice the light on one side, 0.25 at four times. None where a cheek is
        turned away or outside the picture.
    """

    underexposed: float
    overexposed: float
    evenness: float | None


NO_LIGHT: Final = LightMeasures(underexposed=0.0, overexposed=0.0, evenness=None)


def measure_light(luma: Float32Array, mesh_px: Float32Array, inside: Flags) -> LightMeasures:
    """Measure the light on a face.

    Parameters
    ----------
    luma
        Shape (height, width), 0 to 255.
    mesh_px
        Shape (468, 2), in pixels of ``luma``; points may lie outside it.
    inside
        Shape (height, width): what belongs to the face.
    """
    halves = [half for half in _halves(luma, mesh_px, inside) if half.any()]
    if not halves:
        return NO_LIGHT
    shadow, highlight = luma <= SHADOW_LEVEL, luma >= HIGHLIGHT_LEVEL
    return LightMeasures(
        underexposed=min(_share(shadow, half) for half in halves),
        overexposed=min(_share(highlight, half) for half in halves),
        evenness=_evenness(luma, mesh_px),
    )


def shared_light(right: Float32Array, left: Float32Array) -> float:
    """Return how much light two patches of skin have in common, 0 to 1.

    OFIQ's intersection of two histograms of luma, but of its logarithm, so that exposure moves
    both and cancels; and with bins that overlap widely, or skin twice as bright on one side,
    as beside any window, would share no bin at all.

    Parameters
    ----------
    right, left
        Luma of their pixels, shapes (n,) and (m,), 0 to 255; neither empty.
    """
    return float(np.minimum(_histogram(right), _histogram(left)).sum())


def beyond(shape: tuple[int, int], point_px: FloatArray, direction: FloatArray) -> Flags:
    """Return which pixels of a picture lie beyond a point, seen along a direction.

    Parameters
    ----------
    shape
        Height and width.
    point_px, direction
        Shape (2,): x and y.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    (x, y), (across, down) = point_px, direction
    return np.asarray((columns - x) * across + (rows - y) * down > 0)


def _share(found: Flags, among: Flags) -> float:
    """Return how many of ``among`` are ``found`` too, 0 to 1; there must be some."""
    return int(np.count_nonzero(found & among)) / int(np.count_nonzero(among))


def _halves(luma: Float32Array, mesh_px: Float32Array, inside: Flags) -> tuple[Flags, Flags]:
    """Return which pixels of the face lie above, and below, the middle of the nose."""
    forehead, middle, chin = mesh_px[[FOREHEAD, NOSE_BRIDGE, CHIN]].astype(np.float64)
    is_below = beyond((luma.shape[0], luma.shape[1]), middle, chin - forehead)
    return inside & ~is_below, inside & is_below


def _evenness(luma: Float32Array, mesh_px: Float32Array) -> float | None:
    right, left = (_patch(luma, mesh_px, points) for points in (RIGHT_CHEEK, LEFT_CHEEK))
    if min(right.size, left.size) < LEAST_CHEEK_PX:
        return None
    return shared_light(right, left)


def _patch(luma: Float32Array, mesh_px: Float32Array, points: Sequence[int]) -> Float32Array:
    """Return the pixels of ``luma`` within the hull of mesh points."""
    hull = cv2.convexHull(np.round(mesh_px[list(points)]).astype(np.int32))
    x, y, width, height = cv2.boundingRect(hull)
    left, top = max(x, 0), max(y, 0)
    around = luma[top : max(y + height, 0), left : max(x + width, 0)]
    mask = np.zeros(around.shape, np.uint8)
    cv2.fillConvexPoly(mask, hull - np.array((left, top), np.int32), 1)
    return np.asarray(around[mask > 0], np.float32)


def _histogram(patch: Float32Array) -> FloatArray:
    """Return the shares of log luma in bins that overlap; they add up to 1."""
    levels = np.log(patch.astype(np.float64) + DARK_LEVEL)
    bins = ((levels - math.log(DARK_LEVEL)) / BIN_WIDTH).astype(np.intp)
    counts = np.bincount(bins, minlength=_BINS)
    return np.asarray(np.convolve(counts / patch.size, _WINDOW), np.float64)


def _window() -> FloatArray:
    """Return the weights by which one pixel counts in the bins around its own; their sum is 1."""
    steps = np.arange(-SPREAD, SPREAD + BIN_WIDTH / 2, BIN_WIDTH)
    window = np.maximum(0.0, 1 - np.abs(steps) / SPREAD)
    return np.asarray(window / window.sum(), np.float64)


_BINS: Final = math.ceil(math.log((255 + DARK_LEVEL) / DARK_LEVEL) / BIN_WIDTH) + 1
_WINDOW: Final = _window()
