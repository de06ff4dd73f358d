"""Where a head points, and how far eyes and mouth are open, from one face mesh.

All functions take the 468 points of MediaPipe's FaceMesh in canonical pixels: x to the right,
y down, z away from the camera in roughly the same unit. Left and right are the subject's own,
so the subject's right eye lies nearer the left edge of an unmirrored picture.

The head's own axes are laid through pairs of points that expressions hardly move; no model of
a face is needed. Start with `head_pose`.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from verifier.arrays import Float32Array, FloatArray
from verifier.observation import HeadPose

IndexPairs: TypeAlias = Sequence[tuple[int, int]]
"""Pairs of FaceMesh indices, each (from, to)."""

# From the subject's right to their left: outer and inner eye corners, temples, face sides,
# cheeks, nostrils. Every pair is symmetric, so an expression that both sides share cancels out.
ACROSS: Final[IndexPairs] = ((33, 263), (133, 362), (127, 356), (234, 454), (93, 323), (98, 327))

# From forehead downwards, along the middle. They end under the nose: the chin drops with the jaw.
DOWNWARD: Final[IndexPairs] = ((10, 2), (151, 2), (9, 2), (10, 168))

# The nose stands further forward than the forehead, so the line above leans on a level head.
# Median over 58 photographs of 6 people who mostly face the camera: 6.3 degrees (and 9.3 more
# than the line from forehead to chin, standard deviation 0.6 between closed mouths). Level is
# therefore known to about 5 degrees; a change of pitch within one person is known much better.
NEUTRAL_PITCH_DEG: Final = 6.0

RIGHT_EYE: Final = (33, 133)
RIGHT_LIDS: Final[IndexPairs] = ((159, 145), (158, 153), (160, 144))
LEFT_EYE: Final = (263, 362)
LEFT_LIDS: Final[IndexPairs] = ((386, 374), (385, 380), (387, 373))
INNER_LIPS: Final[IndexPairs] = ((13, 14), (82, 87), (312, 317))
FACE_HEIGHT: Final = (10, 152)
FACE_WIDTH: Final = (234, 454)


def head_pose(mesh_px: Float32Array) -> HeadPose:
    """Return yaw, pitch and roll in degrees; signs as `HeadPose` says.

    The rotation is taken as picture roll after yaw after pitch, so turning the picture in its
    plane changes the roll and nothing else.

    Parameters
    ----------
    mesh_px
        Shape (468, 3).

    Returns
    -------
    HeadPose
        Yaw from -90 to 90, pitch and roll from -180 to 180. All zero where the points
        coincide, because then there is no direction to speak of.
    """
    if not np.ptp(mesh_px, axis=0).any():
        return HeadPose(yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0)
    across, downward, backward = _head_axes(mesh_px)
    yaw = np.arcsin(np.clip(across[2], -1.0, 1.0))
    roll = np.arctan2(across[1], across[0])
    pitch = np.arctan2(-downward[2], backward[2])
    yaw_deg, pitch_deg, roll_deg = (float(angle) for angle in np.degrees((yaw, pitch, roll)))
    return HeadPose(yaw_deg=yaw_deg, pitch_deg=pitch_deg - NEUTRAL_PITCH_DEG, roll_deg=roll_deg)


def eye_openness(mesh_px: Float32Array) -> tuple[float, float]:
    """Return lid gap / eye width in 3-D for the subject's right and left eye (0 is shut).

    FaceMesh hardly follows the lids: over 60 photographs wide open, narrowed and half-closed eyes
    all measured 0.20 to 0.34, open ones about 0.30. Fit to show, not to decide about a blink.

    Parameters
    ----------
    mesh_px
        Shape (468, 3).
    """
    right = _relative_gap(mesh_px, RIGHT_LIDS, RIGHT_EYE)
    left = _relative_gap(mesh_px, LEFT_LIDS, LEFT_EYE)
    return right, left


def mouth_openness(mesh_px: Float32Array) -> float:
    """Return the gap between the inner lips / face height (forehead to chin) in 3-D.

    Parameters
    ----------
    mesh_px
        Shape (468, 3).
    """
    return _relative_gap(mesh_px, INNER_LIPS, FACE_HEIGHT)


def face_width_px(mesh_px: Float32Array) -> float:
    """Return the 3-D distance between the sides of the face, which a turned head keeps.

    Parameters
    ----------
    mesh_px
        Shape (468, 3).
    """
    return float(_lengths(mesh_px, (FACE_WIDTH,))[0])


def eye_distance_px(mesh_px: Float32Array, pose: HeadPose) -> float:
    """Return the distance of the eyes' middles in the picture, as if the head were not turned.

    As ISO/IEC 29794-5 has it: divided by the cosine of the yaw. Beyond 60 degrees it is left at
    twice what is seen, where the yaw itself is known too badly.

    Parameters
    ----------
    mesh_px
        Shape (468, 3).
    """
    right, left = (mesh_px[list(corners), :2].mean(axis=0) for corners in (RIGHT_EYE, LEFT_EYE))
    seen = float(np.linalg.norm(left - right))
    return seen / max(float(np.cos(np.radians(pose.yaw_deg))), 0.5)


def _head_axes(mesh_px: Float32Array) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return unit vectors to the subject's left, towards the chin, and out of the nape."""
    across = _unit(_mean_direction(mesh_px, ACROSS), fallback=(1.0, 0.0, 0.0))
    downward = _mean_direction(mesh_px, DOWNWARD)
    # Left and right is the better measured axis (eye corners), so the other one gives way.
    downward = _unit(downward - (downward @ across) * across, fallback=(0.0, 1.0, 0.0))
    return across, downward, np.cross(across, downward)


def _mean_direction(mesh_px: Float32Array, pairs: IndexPairs) -> FloatArray:
    """Return the mean vector over ``pairs``; long pairs weigh more, as their noise is smaller."""
    starts, ends = np.asarray(pairs).T
    difference: FloatArray = mesh_px[ends].astype(np.float64) - mesh_px[starts]
    return np.asarray(difference.mean(axis=0), dtype=np.float64)


def _unit(vector: FloatArray, *, fallback: tuple[float, float, float]) -> FloatArray:
    """Return ``vector`` at length one, or ``fallback`` where it has no length."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.array(fallback)


def _relative_gap(mesh_px: Float32Array, gaps: IndexPairs, base: tuple[int, int]) -> float:
    """Return the mean length over ``gaps`` / the length of ``base``; 0 where that is zero."""
    base_length = float(_lengths(mesh_px, (base,))[0])
    return float(_lengths(mesh_px, gaps).mean()) / base_length if base_length > 0 else 0.0


def _lengths(mesh_px: Float32Array, pairs: IndexPairs) -> FloatArray:
    """Return the 3-D distance within each pair."""
    starts, ends = np.asarray(pairs).T
    difference: FloatArray = mesh_px[ends].astype(np.float64) - mesh_px[starts]
    return np.asarray(np.linalg.norm(difference, axis=1), dtype=np.float64)
