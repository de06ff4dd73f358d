"""The detectors side by side: whom they miss, what else they find, and how long they take.

For each detector, over every photograph of ``--folder`` (searched deeply): photographs in which
nobody is found, detections beyond one a photograph, how many of these the mesh takes for no face,
and milliseconds a look on one thread. A second detection can be a second person: the figures say
how many there are, not which are false. Then every photograph is laid into a frame of 640 x 480 so
small that its face has a given width, and counted is how often the face is found at each width.
``--models`` names a folder with YuNet's file.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from platformdirs import user_cache_path

from benchmarks.frame_speed import photographs
from benchmarks.publication import publish
from models.blazeface import BACK, FULL, SHORT, BlazeFaceDetector
from models.conversion import convert_weights
from models.digests import digest_of
from models.face_recognition_backend import open_library
from models.image_decoder import STILL_LIMITS, decode_image
from models.installation import install
from models.installed_pack import InstalledPack
from models.mesh import FaceMesher
from models.observer import MIN_MESH_SCORE
from models.packs import find_pack
from models.parts import region_rule
from models.sessions import OnnxSession, open_session
from models.yunet import YunetDetector
from verifier.arrays import Float32Array, Pixels
from verifier.errors import ModelUnavailableError
from verifier.protocols import FaceDetector

FORMS: Final = {"default": BACK, "blazeface-full": FULL, "blazeface-short": SHORT}
WIDTHS_PX: Final = (150, 80, 60, 50, 40, 30, 20)  # of BlazeFace back's box, ear to ear
FRAME_PX: Final = (640, 480)
YUNET: Final = "face_detection_yunet_2023mar.onnx"


def open_detectors(cache_dir: Path, models: Path | None) -> dict[str, FaceDetector]:
    """Return the detectors that can be had here, by the name of their pack."""
    detectors: dict[str, FaceDetector] = {}
    for name, form in FORMS.items():
        session = open_session(install(find_pack(name), cache_dir), "detector")
        detectors[name] = BlazeFaceDetector(session, form)
    if models is not None:
        weights = (models / YUNET).read_bytes()
        if digest_of(weights) != find_pack("opencv-zoo").files["detector"].sha256:
            raise ModelUnavailableError(f"{YUNET} is not the pinned file")
        detectors["opencv-zoo"] = YunetDetector(OnnxSession(convert_weights("yunet", weights)))
    try:
        library = find_pack("face-recognition").library
        if library is not None:
            detectors["face-recognition"] = open_library(library)
    except ModelUnavailableError as error:
        print(f"face-recognition: not measured, {error}")
    return detectors


def measure(
    name: str, detector: FaceDetector, pack: InstalledPack, pictures: Sequence[Pixels]
) -> dict[str, Any]:
    """Return one detector's row."""
    wanted = find_pack(name).parts.detector
    if wanted is None:
        raise ModelUnavailableError(f"pack {name!r} has no detector")
    mesher = FaceMesher(open_session(pack, "mesh"), region_rule(wanted))
    missed, further, no_faces, elapsed_ms = 0, 0, 0, []
    for pixels in pictures:
        started = time.perf_counter()
        detections = detector.detect(pixels)
        elapsed_ms.append((time.perf_counter() - started) * 1e3)
        meshes = mesher.fit(pixels, detections)
        missed += not detections
        further += max(0, len(detections) - 1)
        no_faces += sum(mesh.score < MIN_MESH_SCORE for mesh in meshes)
    return {
        "pack": name,
        "photographs": len(pictures),
        "missed": missed,
        "further_detections": further,
        "taken_for_no_face": no_faces,
        "ms_min": round(min(elapsed_ms), 2),
        "ms_median": round(float(np.median(elapsed_ms)), 2),
        "found_at_px": {},
    }


def small_faces(
    pictures: Sequence[Pixels], reference: FaceDetector, width_px: int
) -> list[tuple[Pixels, Float32Array]]:
    """Return frames with one photograph each, and where its face's middle lies, shape (2,)."""
    frames = []
    for pixels in pictures:
        box = max((d.box_px for d in reference.detect(pixels)), key=lambda box: box.w * box.h)
        scale = width_px / box.w
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = small[: FRAME_PX[1], : FRAME_PX[0]]
        # Around it the photograph itself, blurred until nobody is seen in it.
        frame = cv2.GaussianBlur(cv2.resize(pixels, FRAME_PX), (0, 0), 40)
        left, top = (FRAME_PX[0] - small.shape[1]) // 2, (FRAME_PX[1] - small.shape[0]) // 2
        frame[top : top + small.shape[0], left : left + small.shape[1]] = small
        middle = np.array((box.x + box.w / 2, box.y + box.h / 2)) * scale + (left, top)
        frames.append((np.asarray(frame, np.uint8), middle.astype(np.float32)))
    return frames


def found(detector: FaceDetector, frame: Pixels, middle: Float32Array, width_px: int) -> bool:
    """Return whether some detection's middle is within half a face of the face's."""
    middles = [
        (d.box_px.x + d.box_px.w / 2, d.box_px.y + d.box_px.h / 2) for d in detector.detect(frame)
    ]
    return any(np.hypot(*(np.array(each) - middle)) < width_px / 2 for each in middles)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    options = parser.parse_args()
    paths = photographs(options.cache_dir, options.folder)
    pictures = [decode_image(path.read_bytes(), STILL_LIMITS).pixels for path in paths]
    pack = install(find_pack("default"), options.cache_dir)
    detectors = open_detectors(options.cache_dir, options.models)
    rows = [measure(name, each, pack, pictures) for name, each in detectors.items()]
    for width_px in WIDTHS_PX:
        frames = small_faces(pictures, detectors["default"], width_px)
        for row in rows:
            hits = [found(detectors[row["pack"]], frame, at, width_px) for frame, at in frames]
            row["found_at_px"][str(width_px)] = sum(hits)
    publish({"detectors": rows}, "\n".join(map(_line, rows)), options.json)


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['pack']:17} missed {row['missed']}/{row['photographs']}, further detections "
        f"{row['further_detections']}, of all taken for no face {row['taken_for_no_face']}; "
        f"{row['ms_min']} / {row['ms_median']} ms min / median; "
        f"found at a width of px: {row['found_at_px']}"
    )


if __name__ == "__main__":
    main()
