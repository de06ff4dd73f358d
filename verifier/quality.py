"""Whether a face in a frame is fit for comparison: reasons from measures, under rules.

`verifier.face_pixels.measure_face` takes numbers from the pixels of the face; `assess` turns
them, the pose and the openings into reasons under `QualityRules`, in the spirit of ISO/IEC
29794-5. `DEFAULT_RULES` hold in a lesson, `ENROLMENT_RULES` for the picture that all later ones
are compared with. Quality never says *who* it is and never fails anybody: a frame with reasons
is inconclusive and asked for again. What is told the learner is in `verifier.quality_texts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from verifier.arrays import Float32Array
from verifier.face_pixels import STANDARD_FACE_WIDTH_PX, measure_face
from verifier.head_pose import eye_distance_px, face_width_px
from verifier.observation import FaceObservation, FrameObservation, HeadPose, QualityReason
from verifier.quality_measures import NOTHING_MEASURED, FaceMeasures
from verifier.quality_texts import REASON_TEXT

__all__ = [
    "DEFAULT_RULES",
    "ENROLMENT_RULES",
    "NOTHING_MEASURED",
    "REASON_TEXT",
    "STANDARD_FACE_WIDTH_PX",
    "FaceMeasures",
    "QualityRules",
    "assess",
    "assess_observed",
    "mark_background",
    "measure_face",
    "stands_behind",
]

BACKGROUND_SHARE: Final = 0.5
"""Of the largest face's width. At half its size a face stands at twice the distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRules:
    """Limits beyond which a face is not compared; permissive, as every refusal is a retry.

    Figures "seen" are those of 50 press photographs of 5 people in LFW: none has a reason under
    these limits but one, a face behind black glasses. Figures on copies "of 50" are those of
    ``benchmarks.quality_reasons`` on the same; docs/quality.md has its table. A mated pair of two
    fit faces was called no match in 2 of 432 comparisons of clear photographs, so that a limit is
    set where copies beyond it go wrong markedly more often than that.

    Other figures are from when a limit was set, on those and 14 to 17 further photographs (studio
    expressions, official portraits, a phone at a desk), which are not all at hand to everybody.
    The limits for blur in one direction, for eyes and for mouth were set with 1,863 copies in
    other light, colour, sizes and rolls, slightly blurred, compressed, bearded, with spectacle
    frames, with closed eyes, and filmed by a webcam: of the photographs none and of the copies 10
    have a reason by them, 4 of those veiled; that for the nose with 904 copies that had no other
    reason, of which none has one by it. The heaviest JPEG compression is not noticed by anything
    here.

    Attributes
    ----------
    min_face_width_px
        Across the cheekbones. The embedder's own input is about twice as wide.
    min_eye_distance_px
        From eye to eye, the yaw taken out; 0.42 to 0.47 of the face width was seen.
    max_points_outside
        Share of the mesh outside the picture.
    min_brightness, max_brightness
        Mean luma, 0 to 1; seen 0.35 to 0.67. The lower limit lies far below what was seen, for
        dark skin in an ordinary room; the upper one is met by clipped faces only.
    max_underexposed, max_overexposed
        See `LightMeasures`; seen up to 0.08 and 0.00. On copies two or three times as bright,
        or lifted, the share of false non-matches is 1 % below 0.4 of overexposure and 4 to
        26 % beyond it.
    min_evenness
        See `LightMeasures`; times the cosine of the yaw, as a turned head shades one cheek
        itself. Seen 0.61 up within 20 degrees of yaw, 0.34 at 38. With one side at a fifth of
        the light 25 of 50 fall below, at a tenth 46.
    max_relative_grain
        Grain / shading; seen up to 0.05. Dimmed copies with sensor noise have 1 % of false
        non-matches below 0.25 and 7 % from 0.3 on, while bright ones of large faces, in which
        noise averages out, stay below.
    dim_brightness
        A grainy face that is darker than this lacks light, and is told so.
    min_relative_contrast
        Contrast / brightness: a veil of stray light lowers it, dim light does not. Seen 0.14 up.
    min_relative_sharpness
        Sharpness / shading squared, both in grey levels squared: the share of fine detail in
        the shading. Exposure cancels, so that dim light is not called blur, and so does light
        from one side. Seen 0.011 to 0.23; blurred by a Gaussian of 1.6 % of the face width 38 of
        50 fall below, by 2.8 % all.
    min_least_sharpness
        Least sharpness / shading squared; seen 0.0023 up. Of 148 copies dragged over a
        seventh of the face width in one of three directions 146 are called blurred, of 50
        dragged over half of that 43.
    min_eye_relief, min_eye_detail, min_nose_detail, min_mouth_relief, min_mouth_detail
        See `FeatureMeasures`; seen 0.129, 0.088, 0.034, 0.062 and 0.063 up. They fall with
        contrast / brightness below `full_relief_contrast`. By the limits of eyes and mouth were
        found 127 of 130 dark glasses, 256 of 259 masks, 287 of 294 plain or finely patterned
        covers of half the face; but 41 of 105 coarsely patterned ones, 4 of 130 over the lips
        alone and 1 of 65 narrow black bars over the eyes. Skin-coloured covers over nose and
        cheek are what the nose is for: without its limit 44 of 50 faces below four fingers and 49
        below a palm on the nose were fit, with it 6 and 5; below a palm on one cheek and half
        the nose 18 instead of 48.
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
    min_eye_distance_px: float = 18.0
    max_points_outside: float = 0.05
    min_brightness: float = 0.10
    max_brightness: float = 0.92
    max_underexposed: float = 0.7
    max_overexposed: float = 0.4
    min_evenness: float = 0.35
    max_relative_grain: float = 0.25
    dim_brightness: float = 0.3
    min_relative_contrast: float = 0.06
    min_relative_sharpness: float = 0.005
    min_least_sharpness: float = 0.0014
    min_eye_relief: float = 0.085
    min_eye_detail: float = 0.060
    min_nose_detail: float = 0.026
    min_mouth_relief: float = 0.048
    min_mouth_detail: float = 0.045
    full_relief_contrast: float = 0.2
    max_yaw_deg: float = 45.0
    max_pitch_deg: float = 35.0
    max_roll_deg: float = 45.0
    min_eye_openness: float = 0.10
    min_mesh_score: float = 0.9


DEFAULT_RULES: Final = QualityRules()
"""For the frames of a lesson: a learner can ask nobody to come back tomorrow with a better lamp."""

ENROLMENT_RULES: Final = QualityRules(
    min_face_width_px=64.0,
    min_eye_distance_px=28.0,
    max_points_outside=0.0,
    min_brightness=0.15,
    max_brightness=0.85,
    max_underexposed=0.4,
    max_overexposed=0.1,
    min_evenness=0.5,
    max_relative_grain=0.15,
    min_relative_contrast=0.08,
    min_eye_detail=0.075,
    min_mouth_detail=0.055,
    max_yaw_deg=30.0,
    max_pitch_deg=25.0,
    max_roll_deg=35.0,
)
"""For a reference, which serves for years: sharper limits on what its owner can mend at once.

Nowhere near a passport's: a face 64 pixels wide suffices and 30 degrees of turn. Of the 50 clear
photographs 45 pass: besides the glasses 3 heads are turned too far, and one face is lit from one
side.
"""


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
    light, outside = measures.light, _share_outside(mesh_px, width_px, height_px)
    grainy = measures.grain > rules.max_relative_grain * measures.shading
    too_dark = (
        measures.brightness < rules.min_brightness
        or light.underexposed > rules.max_underexposed
        or (grainy and measures.brightness < rules.dim_brightness)
    )
    too_bright = (
        measures.brightness > rules.max_brightness or light.overexposed > rules.max_overexposed
    )
    found = {
        QualityReason.FACE_TOO_SMALL: face_width_px(mesh_px) < rules.min_face_width_px
        or eye_distance_px(mesh_px, pose) < rules.min_eye_distance_px,
        QualityReason.FACE_CUT_OFF: outside > rules.max_points_outside,
        QualityReason.TOO_DARK: too_dark,
        QualityReason.TOO_BRIGHT: too_bright,
        QualityReason.UNEVEN_LIGHT: _is_uneven(measures, pose, rules),
        QualityReason.LOW_CONTRAST: measures.contrast
        < rules.min_relative_contrast * measures.brightness,
        QualityReason.BLURRED: _is_blurred(measures, rules),
        QualityReason.NOISY: grainy and not too_dark,
        QualityReason.TURNED_AWAY: abs(pose.yaw_deg) > rules.max_yaw_deg
        or abs(pose.pitch_deg) > rules.max_pitch_deg,
        QualityReason.TILTED: abs(pose.roll_deg) > rules.max_roll_deg,
        # One eye may be hidden by hair, or be a blind one: only both count.
        QualityReason.EYES_CLOSED: max(eye_openness) < rules.min_eye_openness,
        # In the dark, or burnt out, eyes, nose and mouth vanish under no cover at all.
        QualityReason.FACE_COVERED: not (too_dark or too_bright) and _is_covered(measures, rules),
        QualityReason.UNCERTAIN_FACE: mesh_score < rules.min_mesh_score,
    }
    return tuple(reason for reason in QualityReason if found.get(reason))


def assess_observed(
    face: FaceObservation, frame: FrameObservation, rules: QualityRules
) -> tuple[QualityReason, ...]:
    """Return the reasons of a face of ``frame`` under other rules, without its pixels.

    Where the measures were not kept, what the observer said stands.
    """
    if face.measures is None:
        return face.quality
    return assess(
        measures=face.measures,
        mesh_px=face.mesh_px,
        mesh_score=face.mesh_score,
        pose=face.pose,
        eye_openness=face.eye_openness,
        width_px=frame.width_px,
        height_px=frame.height_px,
        rules=rules,
    )


def stands_behind(face: FaceObservation, foremost: FaceObservation) -> bool:
    """Whether a face is that of a poster or a passer-by, going by its width, not a second person.

    In a lesson that makes no difference: a second face of any size asks again.
    """
    return face.box_px.w <= BACKGROUND_SHARE * foremost.box_px.w


def mark_background(faces: Sequence[FaceObservation]) -> tuple[FaceObservation, ...]:
    """Return the faces of one frame, the largest first, those far behind it marked as such."""
    return tuple(
        replace(face, quality=(*face.quality, QualityReason.BACKGROUND_FACE))
        if stands_behind(face, faces[0])
        else face
        for face in faces
    )


def _is_uneven(measures: FaceMeasures, pose: HeadPose, rules: QualityRules) -> bool:
    """Whether one side lies in shadow; a turned head has one by itself, and is allowed more."""
    evenness = measures.light.evenness
    allowed = rules.min_evenness * float(np.cos(np.radians(pose.yaw_deg)))
    return evenness is not None and evenness < allowed


def _is_blurred(measures: FaceMeasures, rules: QualityRules) -> bool:
    """Whether detail is missing in all directions, or in one."""
    # Within each side: beside a window the step between them would pass for lost detail.
    shading = (255 * measures.shading) ** 2
    return (
        measures.sharpness < rules.min_relative_sharpness * shading
        or measures.least_sharpness < rules.min_least_sharpness * shading
    )


def _is_covered(measures: FaceMeasures, rules: QualityRules) -> bool:
    """Whether eyes, nose or mouth are not where the mesh says, as far as light shows them."""
    full = rules.full_relief_contrast * measures.brightness
    # A veil of stray light flattens the features as well, and is no cover.
    share = min(1.0, measures.contrast / full) if full > 0 else 0.0
    features = measures.features
    return (
        features.eye_relief < share * rules.min_eye_relief
        or features.eye_detail < share * rules.min_eye_detail
        or features.nose_detail < share * rules.min_nose_detail
        or features.mouth_relief < share * rules.min_mouth_relief
        or features.mouth_detail < share * rules.min_mouth_detail
    )


def _share_outside(mesh_px: Float32Array, width_px: int, height_px: int) -> float:
    """Return the share of mesh points that lie outside the picture."""
    x, y = mesh_px[:, 0], mesh_px[:, 1]
    return float(np.mean((x < 0) | (y < 0) | (x > width_px) | (y > height_px)))
