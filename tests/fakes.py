"""Small stand-ins for what the models see, so that rules are tested without weights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from tests.generated_images import jpeg, picture
from verifier.arrays import Float32Array, Pixels
from verifier.calibration import Calibration, CalibrationData, Metric
from verifier.comparison import Template
from verifier.observation import Box, FaceObservation, FrameObservation, HeadPose, QualityReason

CONTRACT = "made-up-network@0123"

CALIBRATION_DATA = CalibrationData(
    subjects=300,
    mated_subjects=300,
    subject_pairs=44_850,
    mated=900,
    non_mated=44_850,
    sha256="5c" * 32,
)
"""As many people as caps of 2 and -2 need."""

CALIBRATION = Calibration(
    name="made up",
    made_on=date(2026, 3, 1),
    contract_id=CONTRACT,
    metric=Metric.L2,
    slope=10.0,
    intercept=-5.0,
    min_log10_lr=-2.0,
    max_log10_lr=2.0,
    cap_reason="made up",
    data=CALIBRATION_DATA,
)
"""A distance of 0 is a ratio of 2 (capped), of 0.5 is 0, of 1 is -2 (capped)."""

FRAME = jpeg(picture())
"""A frame that decodes; what is seen in it is the fake's word."""


def vector_at(distance: float) -> Float32Array:
    """Return a vector at ``distance`` from ``REFERENCE``."""
    return np.array([distance, 0.0, 0.0], dtype=np.float32)


REFERENCE = Template(contract_id=CONTRACT, vector=vector_at(0.0))
SAME, UNSURE, OTHER = vector_at(0.1), vector_at(0.5), vector_at(1.0)
"""Compared with ``REFERENCE``: match, inconclusive, no match."""


def face(
    embedding: Float32Array | None = SAME,
    *,
    quality: tuple[QualityReason, ...] = (),
    attack_log10_lr: float | None = None,
) -> FaceObservation:
    """Return a face whose position is of no interest."""
    return FaceObservation(
        box_px=Box(x=10.0, y=5.0, w=20.0, h=25.0),
        detection_score=0.99,
        points_px=np.zeros((5, 2), np.float32),
        mesh_px=np.zeros((468, 3), np.float32),
        pose=HeadPose(yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0),
        eye_openness=(0.3, 0.3),
        mouth_openness=0.05,
        sharpness=200.0,
        brightness=0.5,
        quality=quality,
        embedding=embedding,
        attack_log10_lr=attack_log10_lr,
    )


def frame(*faces: FaceObservation) -> FrameObservation:
    """Return what was seen in one frame."""
    return FrameObservation(width_px=64, height_px=48, faces=faces)


BLURRED = frame(face(quality=(QualityReason.BLURRED,)))
NOBODY, ALONE, TWO = frame(), frame(face()), frame(face(), face(OTHER))


@dataclass(slots=True)
class ScriptedObserver:
    """Sees, frame by frame, what it was told to see; a `verifier.protocols.FaceObserver`."""

    script: Iterable[FrameObservation]
    contract_id: str = CONTRACT
    attack_contract_id: str | None = None
    observed: list[Pixels] = field(default_factory=list)
    embedded: list[bool] = field(default_factory=list)  # whether vectors were asked for

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:
        """Return the next line of the script."""
        self.observed.append(pixels)
        self.embedded.append(embed)
        seen: Sequence[FrameObservation] = list(self.script)
        return seen[len(self.observed) - 1]
