"""What the models saw in one frame, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from verifier.arrays import Float32Array
from verifier.quality_measures import FaceMeasures


class QualityReason(StrEnum):
    """Why a face is not fit for comparison; ``inspect`` prints them under ``quality``.

    An empty tuple of reasons is printed as ``["ok"]``.
    """

    FACE_TOO_SMALL = "face_too_small"
    FACE_CUT_OFF = "face_cut_off"  # part of the face lies outside the picture
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    UNEVEN_LIGHT = "uneven_light"  # one side of the face lies in shadow
    LOW_CONTRAST = "low_contrast"
    BLURRED = "blurred"
    NOISY = "noisy"  # grain hides the face although it is not dark
    TURNED_AWAY = "turned_away"  # |yaw| or |pitch| beyond what the embedder holds for
    TILTED = "tilted"
    EYES_CLOSED = "eyes_closed"
    FACE_COVERED = "face_covered"  # eyes or mouth are not to be seen where the mesh has them
    UNCERTAIN_FACE = "uncertain_face"  # the mesh network itself doubts that this is a face
    BACKGROUND_FACE = "background_face"  # of a poster or a passer-by, far behind the largest face


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Axis-aligned box in canonical pixels; (x, y) is the upper left corner."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPose:
    """Head rotation in degrees.

    ``yaw_deg`` > 0: the subject turns to their own left (towards the right edge of an
    unmirrored picture). ``pitch_deg`` > 0: looks up. ``roll_deg`` > 0: the head leans towards
    the subject's own left shoulder (clockwise as seen in the picture).
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceObservation:
    """One face in one frame.

    Attributes
    ----------
    box_px
        Face box, forehead to chin, clipped to the picture.
    points_px
        Shape (5, 2), canonical pixels: the subject's right eye, left eye, nose tip, right and
        left mouth corner (so the first point is the eye nearest the left edge of the picture).
    mesh_px
        Shape (468, 3), canonical pixels; z in the same unit, smaller is nearer the camera.
    eye_openness
        Subject's right and left eye: lid gap divided by eye width, both measured in 3-D.
    mouth_openness
        Gap between the inner lips divided by face height (forehead to chin), measured in 3-D.
    sharpness
        Variance of the Laplacian of the face scaled to a standard size, grey levels squared.
    brightness
        Mean luma of the face, 0 to 1.
    quality
        Empty when fit for comparison.
    embedding
        Shape (128,) for the default pack; None when it was not asked for.
    attack_log10_lr
        Bona fide against attack; None when no attack detector ran.
    mesh_score
        The mesh network's own probability that it sees a face, 0 to 1.
    measures
        What ``quality`` was judged by, to be judged again under stricter rules; None where
        nobody kept it.
    """

    box_px: Box
    detection_score: float
    points_px: Float32Array
    mesh_px: Float32Array
    pose: HeadPose
    eye_openness: tuple[float, float]
    mouth_openness: float
    sharpness: float
    brightness: float
    quality: tuple[QualityReason, ...]
    embedding: Float32Array | None = field(default=None, repr=False)
    attack_log10_lr: float | None = None
    mesh_score: float = 1.0
    measures: FaceMeasures | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameObservation:
    """Every face found in one frame, the largest first."""

    width_px: int
    height_px: int
    faces: tuple[FaceObservation, ...]
    elapsed_ms: Mapping[str, float] = field(default_factory=dict)  # detect, mesh, embed
