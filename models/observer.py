"""Everything the models see in one frame: faces, meshes, pose, quality and vectors.

`FaceObserver` joins a detector, the mesh, an aligner, an embedder and, where there is one, an
attack detector with the core's own measurements. It keeps nothing from one frame to the next.
Start with `open_observer`, which builds the parts that a pack names.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np

from models.embedder import network_input
from models.installed_pack import InstalledPack
from models.mesh import FaceMesh, FaceMesher
from models.parts import open_parts
from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection
from verifier.errors import InputError
from verifier.head_pose import eye_openness, head_pose, mouth_openness
from verifier.observation import Box, FaceObservation, FrameObservation
from verifier.protocols import AttackDetector, FaceAligner, FaceDetector, FaceEmbedder
from verifier.quality import assess, mark_background, measure_face

# The mesh network's own doubt: above 0.998 on 125 faces, above 0.5 on 2 of 400 backgrounds.
MIN_MESH_SCORE: Final = 0.5
# Meshes that overlap as much as this were drawn to one face by two detections.
SAME_FACE_IOU: Final = 0.5

# FaceMesh indices whose means are the five points: each eye's corners, nose tip, mouth corners.
FIVE_POINTS: Final = ((33, 133), (362, 263), (1,), (61,), (291,))


def open_observer(
    pack: InstalledPack,
    threads: int = 1,
    *,
    attack_detector: AttackDetector | None = None,
    batch_slots: int = 0,
) -> "FaceObserver":
    """Open the networks of an installed pack and join them as its parts say.

    ``batch_slots`` as for `open_parts`.

    Raises
    ------
    ModelUnavailableError
        If the pack does not observe faces, lacks a network or library, or a file is not the one
        that was installed.
    """
    parts = open_parts(pack, threads, batch_slots=batch_slots)
    return FaceObserver(
        detector=parts.detector,
        mesher=parts.mesher,
        aligner=parts.aligner,
        embedder=parts.embedder,
        attack_detector=attack_detector,
    )


class FaceObserver:
    """Observes frames with the parts it was given; a `verifier.protocols.FaceObserver`."""

    def __init__(
        self,
        *,
        detector: FaceDetector,
        mesher: FaceMesher,
        aligner: FaceAligner,
        embedder: FaceEmbedder,
        attack_detector: AttackDetector | None = None,
    ) -> None:
        self._detector = detector
        self._mesher = mesher
        self._aligner = aligner
        self._embedder = embedder
        self._attack_detector = attack_detector

    @property
    def contract_id(self) -> str:
        """The embedder's contract."""
        return self._embedder.contract_id

    @property
    def attack_contract_id(self) -> str | None:
        """The attack detector's contract; None where nobody judges attacks."""
        return None if self._attack_detector is None else self._attack_detector.contract_id

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:
        """Observe one frame.

        Parameters
        ----------
        pixels
            Canonical pixels, shape (height, width, 3), RGB, uint8.
        embed
            Whether to compute a vector for each face; it takes half of the time.

        Returns
        -------
        FrameObservation
            Faces by the area of their box, the largest first. What the mesh network does not
            take for a face is left out. ``elapsed_ms`` has ``detect``, ``mesh`` (with pose and
            quality), ``embed`` and, where there is an attack detector, ``attack``.

        Raises
        ------
        InputError
            If the pixels have another shape or type, or there are none.
        """
        pixels = _checked(pixels)
        elapsed_ms: dict[str, float] = {}
        with _timed(elapsed_ms, "detect"):
            detections = self._detector.detect(pixels)
        with _timed(elapsed_ms, "mesh"):
            meshes = self._mesher.fit(pixels, detections)
            pairs = distinct_faces(detections, meshes)
            faces = [_measured(pixels, detection, mesh) for detection, mesh in pairs]
            order = sorted(range(len(faces)), key=lambda i: -_area(faces[i].box_px))
            faces, seen = [faces[i] for i in order], [pairs[i][0] for i in order]
        with _timed(elapsed_ms, "embed"):
            if embed and faces:
                faces = self._embedded(pixels, faces, seen)
        if self._attack_detector is not None:
            with _timed(elapsed_ms, "attack"):
                ratios = self._attack_detector.judge(pixels, [face.box_px for face in faces])
                faces = [
                    replace(face, attack_log10_lr=ratio)
                    for face, ratio in zip(faces, ratios, strict=True)
                ]
        height, width = pixels.shape[:2]
        return FrameObservation(
            width_px=width, height_px=height, faces=mark_background(faces), elapsed_ms=elapsed_ms
        )

    def _embedded(
        self, pixels: Pixels, faces: Sequence[FaceObservation], seen: Sequence[Detection]
    ) -> list[FaceObservation]:
        """Return the faces with their vectors; ``seen`` are their detections."""
        chips = [
            self._aligner.cut(pixels, detection, face.mesh_px)
            for detection, face in zip(seen, faces, strict=True)
        ]
        vectors = self._embedder.embed(network_input(chips))
        return [replace(face, embedding=v) for face, v in zip(faces, vectors, strict=True)]


def distinct_faces(
    detections: Sequence[Detection], meshes: Sequence[FaceMesh]
) -> list[tuple[Detection, FaceMesh]]:
    """Drop what is no face, and all but the surest detection of each face.

    Both in the detector's order, the surest first.
    """
    kept: list[tuple[Detection, FaceMesh]] = []
    for detection, mesh in zip(detections, meshes, strict=True):
        is_face = mesh.score >= MIN_MESH_SCORE
        if is_face and all(_iou(mesh, other) < SAME_FACE_IOU for _, other in kept):
            kept.append((detection, mesh))
    return kept


def _measured(pixels: Pixels, detection: Detection, mesh: FaceMesh) -> FaceObservation:
    """Return one face with everything that can be told without the embedder."""
    height, width = pixels.shape[:2]
    points = mesh.points_px
    pose, eyes, measures = head_pose(points), eye_openness(points), measure_face(pixels, points)
    quality = assess(
        measures=measures,
        mesh_px=points,
        mesh_score=mesh.score,
        pose=pose,
        eye_openness=eyes,
        width_px=width,
        height_px=height,
    )
    return FaceObservation(
        box_px=face_box(points, width, height),
        detection_score=detection.score,
        points_px=five_points(points),
        mesh_px=points,
        pose=pose,
        eye_openness=eyes,
        mouth_openness=mouth_openness(points),
        sharpness=measures.sharpness,
        brightness=measures.brightness,
        quality=quality,
        mesh_score=mesh.score,
        measures=measures,
    )


def five_points(mesh_px: Float32Array) -> Float32Array:
    """Return eyes, nose tip and mouth corners, shape (5, 2); see `FaceObservation`."""
    return np.stack([mesh_px[list(indices), :2].mean(axis=0) for indices in FIVE_POINTS])


def face_box(mesh_px: Float32Array, width_px: int, height_px: int) -> Box:
    """Return the box around the mesh, forehead to chin, clipped to the picture."""
    low, high = _corners(mesh_px)
    left, top = np.clip(low, 0, (width_px, height_px))
    right, bottom = np.clip(high, 0, (width_px, height_px))
    return Box(x=float(left), y=float(top), w=float(right - left), h=float(bottom - top))


def _area(box: Box) -> float:
    return box.w * box.h


def _iou(first: FaceMesh, second: FaceMesh) -> float:
    """Return how much the boxes around two meshes overlap, 0 to 1."""
    (low_1, high_1), (low_2, high_2) = _corners(first.points_px), _corners(second.points_px)
    shared = np.prod(np.maximum(np.minimum(high_1, high_2) - np.maximum(low_1, low_2), 0))
    total = np.prod(high_1 - low_1) + np.prod(high_2 - low_2) - shared
    return float(shared / total) if total > 0 else 1.0


def _corners(mesh_px: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return the upper left and lower right corner of the box around a mesh."""
    return mesh_px[:, :2].min(axis=0), mesh_px[:, :2].max(axis=0)


def _checked(pixels: Pixels) -> Pixels:
    """Return the pixels in one piece of memory, as OpenCV wants them."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype != np.uint8:
        raise InputError(f"pixels {pixels.shape} {pixels.dtype}, (height, width, 3) uint8 wanted")
    return np.ascontiguousarray(pixels)


@contextmanager
def _timed(elapsed_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the block took."""
    started = time.perf_counter()
    yield
    elapsed_ms[stage] = (time.perf_counter() - started) * 1e3
