"""Whether a face in a frame is fit for comparison, and what to tell the learner if not.

`measure_face` takes numbers from the pixels of the face; `assess` turns them, the pose
and the openings into reasons under `QualityRules`. Quality never says *who* it is and never
fails anybody: a frame with reasons is inconclusive and asked for again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from verifier.arrays import Float32Array, Pixels
from verifier.face_features import NO_FEATURES, FeatureMeasures, measure_features
from verifier.head_pose import face_width_px
from verifier.observation import HeadPose, QualityReason

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMeasures:
    """What the pixels inside one face say.

    Attributes
    ----------
    sharpness
        Variance of the Laplacian at the standard face width, grey levels squared. A face
        smaller than that is enlarged first and so measures low: its detail is indeed missing.
    brightness
        Mean luma, 0 to 1.
    contrast
        Standard deviation of luma, 0 to 0.5.
    least_sharpness
        Variance of the second difference, as for sharpness, along that of four directions in
        which it is smallest: motion blurs one direction only.
    features
        Light and shade of eyes and mouth.
    """

    sharpness: float
    brightness: float
    contrast: float
    least_sharpness: float
    features: FeatureMeasures


NOTHING_MEASURED: Final = FaceMeasures(
    sharpness=0.0, brightness=0.0, contrast=0.0, least_sharpness=0.0, features=NO_FEATURES
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRules:
    """Limits beyond which a face is not compared; permissive, as every refusal is a retry.

    Where a figure is given it was measured on 60 photographs of 8 people (press pictures, studio
    expressions, a phone at a desk, a screen); none of them has a reason under these limits but
    one, a face behind black glasses.

    The limits for blur in one direction and for covers were set on 64 photographs of some ten
    people, without that one, and on 1,863 copies of them in other light, colour, sizes and
    rolls, slightly blurred, compressed, bearded, with spectacle frames, with closed eyes, and
    filmed by a webcam: of the photographs none and of the copies 10 have a reason by them, 4
    of those veiled. The heaviest JPEG compression is not noticed by anything here.

    Attributes
    ----------
    min_face_width_px
        Across the cheekbones. The embedder's own input is about twice as wide.
    max_points_outside
        Share of the mesh outside the picture.
    min_brightness, max_brightness
        Mean luma, 0 to 1; seen 0.35 to 0.72. The lower limit lies far below what was seen, for
        dark skin in an ordinary room; the upper one is met by clipped faces only (at twice the
        exposure, 15 of 60).
    min_relative_contrast
        Contrast / brightness: a veil of stray light lowers it, dim light does not. Seen 0.14 up.
    min_relative_sharpness
        Sharpness / contrast squared, both in grey levels squared: the share of fine detail in
        the shading. Exposure cancels, so that dim light is not called blur. Seen 0.010 to 0.23;
        blurred by a Gaussian of 1.6 % of the face width 34 of 60 fall below, by 2.3 % all 60.
    min_least_sharpness
        Least sharpness / contrast squared; seen 0.0025 up. Of 148 copies dragged over a
        seventh of the face width in one of three directions 146 are called blurred, of 50
        dragged over half of that 43.
    min_eye_relief, min_eye_detail, min_mouth_relief, min_mouth_detail
        See `FeatureMeasures`; seen 0.129, 0.088, 0.065 and 0.063 up. They fall with
        contrast / brightness below `full_relief_contrast`. Drawn on those photographs were
        found 127 of 130 dark glasses, 256 of 259 masks, 287 of 294 plain or finely patterned
        covers of half the face; but 41 of 105 coarsely patterned ones, 4 of 130 over the lips
        alone and 1 of 65 narrow black bars over the eyes.
    full_relief_contrast
        Contrast / brightness from which on an uncovered face shows its features fully.
    max_yaw_deg, max_pitch_deg, max_roll_deg
        Absolute. Seen up to 38, 24 and 18; the embedder was measured on no more than that.
    min_eye_openness
        Of the wider eye; seen 0.21 to 0.34. The mesh network hardly follows the lids (half-closed
        eyes measure 0.25 to 0.33), so this finds next to nothing and must never count as a blink.
    min_mesh_score
        The mesh network's own probability of a face, 0 to 1; seen above 0.999.
    """

    min_face_width_px: float = 48.0
    max_points_outside: float = 0.05
    min_brightness: float = 0.10
    max_brightness: float = 0.92
    min_relative_contrast: float = 0.06
    min_relative_sharpness: float = 0.005
    min_least_sharpness: float = 0.0014
    min_eye_relief: float = 0.085
    min_eye_detail: float = 0.060
    min_mouth_relief: float = 0.048
    min_mouth_detail: float = 0.045
    full_relief_contrast: float = 0.2
    max_yaw_deg: float = 45.0
    max_pitch_deg: float = 35.0
    max_roll_deg: float = 45.0
    min_eye_openness: float = 0.10
    min_mesh_score: float = 0.9


DEFAULT_RULES: Final = QualityRules()

REASON_TEXT: Final[Mapping[QualityReason, tuple[str, str]]] = MappingProxyType(
    {
        QualityReason.FACE_TOO_SMALL: (
            "离镜头太远，请靠近一些",
            "You are too far away: please move closer to the camera.",
        ),
        QualityReason.FACE_CUT_OFF: (
            "脸没有拍全，请把整张脸放进画面",
            "Part of your face is outside the picture: please move to the middle.",
        ),
        QualityReason.TOO_DARK: (
            "光线太暗，请面向窗户或打开灯",
            "It is too dark: please face a window or switch on a light.",
        ),
        QualityReason.TOO_BRIGHT: (
            "光线太亮，请避开直射的阳光或灯光",
            "It is too bright: please move out of direct sun or lamp light.",
        ),
        QualityReason.LOW_CONTRAST: (
            "画面发白看不清，请擦一擦镜头，不要背对窗户",
            "The picture looks washed out: wipe the lens and turn away from the window.",
        ),
        QualityReason.BLURRED: (
            "画面模糊，请拿稳手机、擦一擦镜头",
            "The picture is blurred: please hold still and wipe the lens.",
        ),
        QualityReason.TURNED_AWAY: (
            "请正对镜头",
            "Please look straight at the camera.",
        ),
        QualityReason.TILTED: (
            "请把头或手机摆正",
            "Please hold your head, or the phone, upright.",
        ),
        QualityReason.EYES_CLOSED: (
            "请睁开眼睛看镜头",
            "Please open your eyes and look at the camera.",
        ),
        QualityReason.FACE_COVERED: (
            "脸被遮住了，请拿开手或摘下口罩、墨镜",
            "Your face is covered: please take your hand away, or take off a mask or sunglasses.",
        ),
        QualityReason.UNCERTAIN_FACE: (
            "没有看清您的脸，请取下口罩或墨镜，不要用手遮脸",
            "Your face is not clear: please take off a mask or sunglasses and uncover your face.",
        ),
    }
)
"""What to tell the learner, (Chinese, English): how to do better, never a number."""


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
    face = _standard_face(pixels, mesh_px)
    if face is None:
        return NOTHING_MEASURED
    luma, points = face
    inside = _inside(points, luma.shape[1::-1])
    laplacian = cv2.Laplacian(luma, cv2.CV_32F, ksize=1)
    skin = luma[inside] / 255.0
    return FaceMeasures(
        sharpness=float(laplacian[inside].var()),
        brightness=float(skin.mean()),
        contrast=float(skin.std()),
        least_sharpness=_least_sharpness(luma, inside),
        features=measure_features(luma, points),
    )


def assess(
    *,
    measures: FaceMeasures,
    mesh_px: Float32Array,
    mesh_score: float,
    pose: HeadPose,
    eye_openness: tuple[float, float],
    width_px: int,
    height_px: int,
    rules: QualityRules = DEFAULT_RULES,
) -> tuple[QualityReason, ...]:
    """Return why this face is not fit for comparison, in the order of `QualityReason`.

    Parameters
    ----------
    mesh_px
        Shape (468, 3), canonical pixels.
    mesh_score
        The mesh network's own probability that it sees a face, 0 to 1.
    width_px, height_px
        Of the whole picture, to tell whether the face is cut off.

    Returns
    -------
    tuple
        Empty when the face is fit.
    """
    outside = _share_outside(mesh_px, width_px, height_px)
    found = {
        QualityReason.FACE_TOO_SMALL: face_width_px(mesh_px) < rules.min_face_width_px,
        QualityReason.FACE_CUT_OFF: outside > rules.max_points_outside,
        QualityReason.TOO_DARK: measures.brightness < rules.min_brightness,
        QualityReason.TOO_BRIGHT: measures.brightness > rules.max_brightness,
        QualityReason.LOW_CONTRAST: measures.contrast
        < rules.min_relative_contrast * measures.brightness,
        QualityReason.BLURRED: _is_blurred(measures, rules),
        QualityReason.TURNED_AWAY: abs(pose.yaw_deg) > rules.max_yaw_deg
        or abs(pose.pitch_deg) > rules.max_pitch_deg,
        QualityReason.TILTED: abs(pose.roll_deg) > rules.max_roll_deg,
        # One eye may be hidden by hair, or be a blind one: only both count.
        QualityReason.EYES_CLOSED: max(eye_openness) < rules.min_eye_openness,
        QualityReason.FACE_COVERED: _is_covered(measures, rules),
        QualityReason.UNCERTAIN_FACE: mesh_score < rules.min_mesh_score,
    }
    return tuple(reason for reason in QualityReason if found[reason])


def _is_blurred(measures: FaceMeasures, rules: QualityRules) -> bool:
    """Whether detail is missing in all directions, or in one."""
    shading = (255 * measures.contrast) ** 2
    return (
        measures.sharpness < rules.min_relative_sharpness * shading
        or measures.least_sharpness < rules.min_least_sharpness * shading
    )


def _is_covered(measures: FaceMeasures, rules: QualityRules) -> bool:
    """Whether eyes or mouth are not where the mesh says, as far as the light lets them be seen."""
    full = rules.full_relief_contrast * measures.brightness
    # A veil of stray light flattens the features as well, and is no cover.
    share = min(1.0, measures.contrast / full) if full > 0 else 0.0
    features = measures.features
    return (
        features.eye_relief < share * rules.min_eye_relief
        or features.eye_detail < share * rules.min_eye_detail
        or features.mouth_relief < share * rules.min_mouth_relief
        or features.mouth_detail < share * rules.min_mouth_detail
    )


def _least_sharpness(luma: Float32Array, inside: NDArray[np.bool_]) -> float:
    """Return the smallest variance of the second difference among four directions."""
    mask = inside.astype(np.uint8)
    differences = (cv2.filter2D(luma, cv2.CV_32F, kernel) for kernel in SECOND_DIFFERENCES)
    return min(float(cv2.meanStdDev(each, mask=mask)[1][0, 0]) ** 2 for each in differences)


def _standard_face(
    pixels: Pixels, mesh_px: Float32Array
) -> tuple[Float32Array, Float32Array] | None:
    """Return luma (0 to 255) of the face at the standard width, and its mesh, shape (468, 2)."""
    height, width = pixels.shape[:2]
    outline = mesh_px[:, :2]
    left, top = np.clip(np.floor(outline.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(outline.max(axis=0)), 0, (width, height)).astype(int)
    if right - left < 2 or bottom - top < 2:
        return None
    # A degenerate mesh, wide in the picture but of no width, must not ask for a huge enlargement.
    face_width = max(face_width_px(mesh_px), (right - left) / 4, (bottom - top) / 4)
    luma = cv2.cvtColor(pixels[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    scale = STANDARD_FACE_WIDTH_PX / face_width
    size = (max(2, round((right - left) * scale)), max(2, round((bottom - top) * scale)))
    # INTER_AREA averages all pixels when shrinking; INTER_LINEAR would skip some and add noise.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    # Not in whole grey levels: their rounding alone is a Laplacian variance of 1.7.
    resized = cv2.resize(luma.astype(np.float32), size, interpolation=how)
    points = (outline - (left, top)) * scale
    return np.asarray(resized, np.float32), np.asarray(points, np.float32)


def _inside(points: Float32Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels lie well inside the face: hair and wall behind it must not count."""
    centre = points.mean(axis=0)
    shrunk = centre + (points - centre) * INNER_SHARE
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(shrunk).astype(np.int32)), 1)
    return mask.astype(np.bool_)


def _share_outside(mesh_px: Float32Array, width_px: int, height_px: int) -> float:
    """Return the share of mesh points that lie outside the picture."""
    x, y = mesh_px[:, 0], mesh_px[:, 1]
    return float(np.mean((x < 0) | (y < 0) | (x > width_px) | (y > height_px)))
