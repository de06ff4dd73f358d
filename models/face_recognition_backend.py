"""Runs the `face_recognition` library itself, as an optional backend.

For whoever must show that nothing was lost against it, or already has templates made by it. The
library is no dependency: ``make face-recognition`` installs it, and nothing here imports it
before `open_library` is called.

The library's models package carries a 68-point landmark predictor whose training data bar
commercial use, and the library loads it on import. Here it never does: before the import that
file's place is taken by the free 5-point predictor, and only ``model="small"`` is used.
"""

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from models.digests import digest_of_file
from models.packs import Library, LibraryWeights
from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection
from verifier.errors import ModelUnavailableError
from verifier.observation import Box

CHIP_SIDE_PX: Final = 150
PADDING: Final = 0.25  # of the chip around the face, as dlib's network was trained


def library_problem(library: Library) -> str | None:
    """Say why the library cannot be used, or None; imports nothing.

    The version and the digest of every weights file are checked: what `face_recognition` would
    load is part of the contract its vectors are made under.
    """
    try:
        version = importlib.metadata.version(library.distribution)
    except importlib.metadata.PackageNotFoundError:
        return f"{library.distribution} is not installed; run `{library.install}`"
    if version != library.version:
        return f"{library.distribution} {version} is installed, wanted {library.version}"
    return next((p for w in library.weights.values() if (p := _weights_problem(w))), None)


def open_library(library: Library) -> "FaceRecognitionLibrary":
    """Import the library after checking it.

    Raises
    ------
    ModelUnavailableError
        If it is not installed, or has another version or other weights than were pinned.
    """
    if problem := library_problem(library):
        raise ModelUnavailableError(problem)
    models: Any = importlib.import_module("face_recognition_models")
    models.pose_predictor_model_location = models.pose_predictor_five_point_model_location
    return FaceRecognitionLibrary(importlib.import_module("face_recognition.api"))


class FaceRecognitionLibrary:
    """The library as detector and aligner; safe to call from several threads, one at a time.

    ``api`` is the module ``face_recognition.api``, which publishes no types.
    """

    def __init__(self, api: Any) -> None:
        self._api = api
        self._lock = Lock()  # dlib's objects keep their workspace between calls

    def detect(self, pixels: Pixels) -> tuple[Detection, ...]:
        """Return the faces that the library's HOG detector finds, upsampling once, surest first.

        The score is 1: the library tells none.
        """
        with self._lock:
            places = self._api.face_locations(pixels)
            if not places:
                return ()
            marks = self._api.face_landmarks(pixels, places, model="small")
        return tuple(_as_detection(p, m) for p, m in zip(places, marks, strict=True))

    def cut(self, pixels: Pixels, detection: Detection, mesh_px: Float32Array) -> Pixels:
        """Return the chip, shape (150, 150, 3), by the library's own five landmarks."""
        del mesh_px  # the library knows no mesh
        box = detection.box_px
        place = tuple(round(v) for v in (box.y, box.x + box.w, box.y + box.h, box.x))
        with self._lock:
            (marks,) = self._api._raw_face_landmarks(pixels, [place], model="small")
            chip = self._api.dlib.get_face_chip(pixels, marks, CHIP_SIDE_PX, PADDING)
        return np.asarray(chip, dtype=np.uint8)

    def embedder(self, contract_id: str) -> "LibraryEmbedder":
        """Return the library's network under a contract."""
        return LibraryEmbedder(self._api.face_encoder, contract_id, self._lock)


class LibraryEmbedder:
    """The library's own encoder; a `verifier.protocols.FaceEmbedder`."""

    def __init__(self, encoder: Any, contract_id: str, lock: Lock) -> None:
        self._encoder = encoder
        self._contract_id = contract_id
        self._lock = lock

    @property
    def contract_id(self) -> str:
        """Network, its digest, and how faces are cut and compared."""
        return self._contract_id

    def embed(self, chips: Float32Array) -> Float32Array:
        """Return vectors, shape (n, 128), for chips (n, 3, 150, 150), RGB, 0 to 255."""
        pictures = chips.transpose(0, 2, 3, 1).astype(np.uint8)
        with self._lock:
            vectors = [
                self._encoder.compute_face_descriptor(np.ascontiguousarray(picture))
                for picture in pictures
            ]
        return np.array(vectors, dtype=np.float32).reshape(len(pictures), 128)


def _weights_problem(weights: LibraryWeights) -> str | None:
    spec = importlib.util.find_spec(weights.module)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / weights.path
        if path.is_file():
            seen = digest_of_file(path)
            if seen == weights.sha256:
                return None
            return f"{path.name}: sha256 {seen[:12]}, wanted {weights.sha256[:12]}"
    return f"{weights.module} with {weights.path} is not installed"


def _as_detection(
    place: tuple[int, int, int, int], marks: dict[str, list[tuple[int, int]]]
) -> Detection:
    """Return one face; the library calls the eye on the left of the picture the left eye."""
    top, right, bottom, left = place
    eyes = [np.mean(marks[eye], axis=0) for eye in ("left_eye", "right_eye")]
    return Detection(
        box_px=Box(x=left, y=top, w=right - left, h=bottom - top),
        keypoints_px=np.array(eyes, dtype=np.float32),
        score=1.0,
    )
