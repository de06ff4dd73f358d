"""Follows faces from frame to frame, for streams in which nobody needs to be compared.

Where a face was a moment ago its mesh is laid again; the detector, which costs as much as all the
rest, looks only every few frames, or when a face is lost. Somebody who comes into the picture is
therefore seen up to `SEARCH_EVERY` frames late. Vectors are never made from followed faces: their
squares lie a little otherwise than detected ones, and templates are compared to the hair.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.installed_pack import InstalledPack
from models.mesh import BLAZEFACE_REGION, RegionRule
from models.observer import FaceObserver
from models.parts import open_parts
from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection
from verifier.observation import Box, FrameObservation
from verifier.protocols import FaceDetector

SEARCH_EVERY: Final = 10
"""Frames: a third of a second of video."""

# Squares that lie where those of BlazeFace back lie: medians over 65 photographs, sides 1.38 to
# 1.55, shifts -0.01 to 0.10 (5 to 95 %), of the longer side of the level box around the mesh.
_AROUND_MESH: Final = RegionRule(per_box=1.44, down=0.045)

# Outer and inner corner of the eye that is left in the picture, and of the other.
_EYES: Final = ((33, 133), (362, 263))


class FollowingDetector:
    """A `verifier.protocols.FaceDetector` that answers from the frame before while it can."""

    def __init__(
        self,
        detector: FaceDetector,
        rule: RegionRule = BLAZEFACE_REGION,
        search_every: int = SEARCH_EVERY,
    ) -> None:
        """Wrap a detector; ``rule`` is what the mesher makes of its boxes."""
        self._detector = detector
        self._rule = rule
        self._search_every = search_every
        self._followed: tuple[Detection, ...] = ()
        self._size_px = (0, 0)
        self._since_search = 0

    def detect(self, pixels: Pixels) -> tuple[Detection, ...]:
        """Return where the faces of the frame before were, or search."""
        height, width = pixels.shape[:2]
        is_due = self._since_search >= self._search_every - 1 or (width, height) != self._size_px
        if self._followed and not is_due:
            self._since_search += 1
            return self._followed
        self._since_search = 0
        return self._detector.detect(pixels)

    def follow(self, seen: FrameObservation) -> None:
        """Remember what came of the latest detections; where one was lost the next is a search."""
        lost = self._since_search > 0 and len(seen.faces) < len(self._followed)
        faces = () if lost else seen.faces
        self._followed = tuple(as_detection(face.mesh_px, self._rule) for face in faces)
        self._size_px = (seen.width_px, seen.height_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceTracker:
    """Observes the frames of one stream in their order; one tracker a stream."""

    observer: FaceObserver
    detector: FollowingDetector

    def observe(self, pixels: Pixels) -> FrameObservation:
        """Observe the next frame, without vectors; see `models.observer.FaceObserver.observe`."""
        seen = self.observer.observe(pixels, embed=False)
        self.detector.follow(seen)
        return seen


def open_tracker(pack: InstalledPack, threads: int = 1) -> FaceTracker:
    """Open the networks of an installed pack to follow one stream; errors as `open_parts`."""
    parts = open_parts(pack, threads)
    detector = FollowingDetector(parts.detector, parts.mesher.rule)
    observer = FaceObserver(
        detector=detector, mesher=parts.mesher, aligner=parts.aligner, embedder=parts.embedder
    )
    return FaceTracker(observer=observer, detector=detector)


def as_detection(mesh_px: Float32Array, rule: RegionRule = BLAZEFACE_REGION) -> Detection:
    """Return the detection whose square under ``rule`` lies around a mesh, shape (468, 3)."""
    points = mesh_px[:, :2].astype(np.float64)
    left, right = (points[list(corners)].mean(axis=0) for corners in _EYES)
    across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    level = np.array((across, (-across[1], across[0])))
    low, high = (points @ level.T).min(axis=0), (points @ level.T).max(axis=0)
    side_px = max(1.0, float((high - low).max()))
    middle = (low + high) / 2 + (0.0, side_px * _AROUND_MESH.down)
    box_px = side_px * _AROUND_MESH.per_box / rule.per_box
    middle -= (0.0, box_px * rule.down)
    x, y = middle @ level
    return Detection(
        box_px=Box(x=x - box_px / 2, y=y - box_px / 2, w=box_px, h=box_px),
        keypoints_px=np.array((left, right), dtype=np.float32),
        score=1.0,
    )
