"""Whether eyes, nose and mouth can be seen where the mesh says they are.

The mesh network draws eyes, nose and mouth onto a hand, a scarf or dark glasses too, and its score
stays high. What it cannot draw is their light and shade: brow, lid, eye and cheek take turns
down a face, on both sides alike, and below the nose lie a nostril and a wing on either side.
`measure_features` measures that, on a logarithmic scale of luma, so that exposure and side light
cancel.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from verifier.arrays import Float32Array, FloatArray

# From each corner near the face's rim to the one near the nose, from wing to wing of the nose
# and from mouth corner to corner.
RIGHT_EYE: Final = (33, 133)
LEFT_EYE: Final = (263, 362)
NOSE: Final = (129, 358)
MOUTH: Final = (61, 291)

# Removes sensor noise and JPEG rings, which would pass for features on a flat cover.
SMOOTHING_PX: Final = 1.5
# Grey levels added before the logarithm, or the noise of black glasses would be large relief.
DARK_LEVEL: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patch:
    """A window laid on a feature: sizes in widths of the feature, samples across and down."""

    half_width: float
    half_height: float
    raised: float
    samples: tuple[int, int]


# With the brow, without the brow, from the tip of the nose to below the nostrils, and with the
# skin around the lips.
EYE_AND_BROW: Final = _Patch(half_width=0.75, half_height=0.75, raised=0.15, samples=(25, 25))
EYE_ALONE: Final = _Patch(half_width=0.5, half_height=0.28, raised=0.0, samples=(17, 9))
NOSTRILS: Final = _Patch(half_width=0.5, half_height=0.25, raised=-0.1, samples=(25, 13))
MOUTH_AND_SKIN: Final = _Patch(half_width=0.75, half_height=0.5, raised=0.0, samples=(31, 21))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMeasures:
    """Light and shade of eyes, nose and mouth, in natural logarithms of luma; 0 on an even surface.

    Attributes
    ----------
    eye_relief
        How much the light changes from brow to cheek in the same way at both eyes: the root of
        the covariance of the two profiles, 0 where they contradict each other. Low when one
        half of the face or both eyes are covered.
    eye_detail
        Mean step from sample to sample between the lids, of the eye that has more: one closed
        or shaded eye says nothing. Low under dark glasses.
    nose_detail
        Mean step from sample to sample about the nostrils, of the half of the nose that has less:
        a hand over nose and cheek leaves the other. Low below a smooth cover of either.
    mouth_relief
        Standard deviation of the profile from the upper lip to the chin.
    mouth_detail
        Mean step from sample to sample around the mouth.
    """

    eye_relief: float
    eye_detail: float
    nose_detail: float
    mouth_relief: float
    mouth_detail: float


NO_FEATURES: Final = FeatureMeasures(
    eye_relief=0.0, eye_detail=0.0, nose_detail=0.0, mouth_relief=0.0, mouth_detail=0.0
)


def measure_features(luma: Float32Array, mesh_px: Float32Array) -> FeatureMeasures:
    """Measure eyes, nose and mouth of a face that is 128 pixels wide.

    Parameters
    ----------
    luma
        Shape (height, width), 0 to 255.
    mesh_px
        Shape (468, 2) or (468, 3), in pixels of ``luma``; points may lie outside it.
    """
    smooth = cv2.GaussianBlur(luma, (0, 0), SMOOTHING_PX)
    log_luma = np.asarray(cv2.log(smooth + np.float32(DARK_LEVEL)), np.float32)
    points = mesh_px[:, :2].astype(np.float64)
    level = _axes(points[LEFT_EYE[0]] - points[RIGHT_EYE[0]])
    eyes = [(points[list(corners)], level) for corners in (RIGHT_EYE, LEFT_EYE)]
    # Level with the eyes: a hand drags the corners of the nose along.
    below_nose = _sampled(log_luma, points[list(NOSE)], level, NOSTRILS)
    mouth = points[list(MOUTH)]
    around_mouth = _sampled(log_luma, mouth, _axes(mouth[1] - mouth[0]), MOUTH_AND_SKIN)
    right, left = (_profile(_sampled(log_luma, *eye, EYE_AND_BROW)) for eye in eyes)
    return FeatureMeasures(
        eye_relief=float(np.sqrt(max(0.0, float(np.mean(right * left))))),
        eye_detail=max(_detail(_sampled(log_luma, *eye, EYE_ALONE)) for eye in eyes),
        nose_detail=min(_detail(half) for half in _halves(below_nose)),
        mouth_relief=float(_profile(around_mouth).std()),
        mouth_detail=_detail(around_mouth),
    )


def _sampled(
    log_luma: Float32Array, corners: FloatArray, axes: FloatArray, patch: _Patch
) -> Float32Array:
    """Return the patch around a feature, shape (rows, columns), upright whatever the roll."""
    width = float(np.linalg.norm(corners[1] - corners[0]))
    centre = corners.mean(axis=0) - patch.raised * width * axes[1]
    across, deep = patch.half_width * width * axes[0], patch.half_height * width * axes[1]
    columns, rows = patch.samples
    matrix = np.column_stack(
        (2 * across / (columns - 1), 2 * deep / (rows - 1), centre - across - deep)
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    sampled = cv2.warpAffine(
        log_luma, matrix, patch.samples, flags=how, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(sampled, np.float32)


def _profile(patch: Float32Array) -> Float32Array:
    """Return the mean of each row about their common mean; the sides of the patch are left out."""
    margin = patch.shape[1] // 6
    rows = patch[:, margin:-margin].mean(axis=1)
    return np.asarray(rows - rows.mean(), np.float32)


def _halves(patch: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return both sides of a patch of an odd number of columns, the middle one in each."""
    middle = patch.shape[1] // 2
    return patch[:, : middle + 1], patch[:, middle:]


def _detail(patch: Float32Array) -> float:
    """Return the mean length of the gradient per sample."""
    across = patch[1:-1, 2:] - patch[1:-1, :-2]
    down = patch[2:, 1:-1] - patch[:-2, 1:-1]
    return float(np.hypot(across, down).mean()) / 2


def _axes(across: FloatArray) -> FloatArray:
    """Return the unit vectors across and down the face, shape (2, 2); zero if there is no across.

    ``across`` points from the subject's right to their left.
    """
    x, y = across / max(float(np.linalg.norm(across)), 1e-6)
    return np.array(((x, y), (-y, x)))
