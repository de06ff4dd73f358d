"""What the attack detector says of photographs, by whose box the crops are cut.

``python -m benchmarks.attack_boxes --pack-files WEIGHTS --yunet FILE --photographs FOLDER --json
OUT``: every picture under FOLDER, its largest face, cut by three boxes: YuNet's, the one around
the mesh, and the one that stands for YuNet's (`models.attack_detector.trained_box`). Photographs
count as bona fide, except those whose name begins with ``attack``.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from platformdirs import user_cache_path

from benchmarks.frame_speed import PICTURES
from benchmarks.publication import publish
from models.attack_detector import (
    BONA_FIDE,
    MiniFasNetDetector,
    face_crops,
    open_attack_detector,
    trained_box,
)
from models.folder_source import FolderSource
from models.image_decoder import STILL_LIMITS, decode_image
from models.installation import install
from models.observer import FaceObserver, open_observer
from models.packs import find_pack
from verifier.arrays import Pixels
from verifier.observation import Box


def yunet_box(detector: Any, pixels: Pixels, near: Box) -> Box | None:
    """Return YuNet's box of the face at ``near``."""
    height, width = pixels.shape[:2]
    detector.setInputSize((width, height))
    _, found = detector.detect(np.ascontiguousarray(pixels[..., ::-1]))
    edges = [] if found is None else [face[:4].tolist() for face in found]
    boxes = [Box(x=x, y=y, w=w, h=h) for x, y, w, h in edges]
    return min(boxes, key=lambda box: _apart(box, near), default=None)


def measure(
    paths: Iterable[Path], observer: FaceObserver, detector: MiniFasNetDetector, yunet: Any
) -> dict[str, Any]:
    """Return scores by box and picture, and how YuNet's boxes lie to the mesh's."""
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    shapes: list[tuple[float, ...]] = []
    elapsed_ms: list[float] = []
    for path in paths:
        pixels = decode_image(path.read_bytes(), STILL_LIMITS).pixels
        faces = observer.observe(pixels, embed=False).faces
        theirs = yunet_box(yunet, pixels, faces[0].box_px) if faces else None
        if theirs is None:
            continue
        ours = faces[0].box_px
        shapes.append(_shape(theirs, ours))
        boxes = {"YuNet": theirs, "mesh": ours, "mesh, as YuNet's": trained_box(ours)}
        for name, box in boxes.items():
            started = time.perf_counter()
            crops = face_crops(pixels, box)
            if crops is not None:
                scores[name][path.name] = float(detector.class_shares(crops[None])[0, BONA_FIDE])
                elapsed_ms.append((time.perf_counter() - started) * 1e3)
    width, height, rise = (median(values) for values in zip(*shapes, strict=True))
    return {
        "scores": scores,
        "yunet_in_mesh_boxes": {"width": width, "height": height, "rise": rise},
        "ms_per_face": {"min": min(elapsed_ms), "median": median(elapsed_ms)},
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{'box':18} {'bona fide':>10} {'below 0.5':>10} {'median':>8}  attacks"]
    for name, scores in report["scores"].items():
        attacks = {n: s for n, s in scores.items() if n.startswith("attack")}
        bona_fide = [s for n, s in scores.items() if n not in attacks]
        missed = sum(score < 0.5 for score in bona_fide)
        told = ", ".join(f"{score:.2f}" for score in attacks.values()) or "none"
        counts = f"{len(bona_fide):10} {missed:10} {median(bona_fide):8.3f}"
        lines.append(f"{name:18} {counts}  {told}")
    shape, cost = report["yunet_in_mesh_boxes"], report["ms_per_face"]
    lines.append(
        f"YuNet's box in mesh boxes, medians: width {shape['width']:.3f}, "
        f"height {shape['height']:.3f}, centre higher by {shape['rise']:.3f}"
    )
    lines.append(f"{cost['min']:.1f} ms a face at best, median {cost['median']:.1f}; 1 thread")
    return "\n".join(lines)


def _shape(theirs: Box, ours: Box) -> tuple[float, ...]:
    rise = (ours.y + ours.h / 2 - theirs.y - theirs.h / 2) / ours.h
    return theirs.w / ours.w, theirs.h / ours.h, rise


def _apart(first: Box, second: Box) -> float:
    """Return the distance of two boxes' centres, squared."""
    across = first.x + first.w / 2 - second.x - second.w / 2
    down = first.y + first.h / 2 - second.y - second.h / 2
    return across**2 + down**2


def _pictures(folders: Sequence[Path]) -> list[Path]:
    found = [path for folder in folders for path in folder.rglob("*")]
    return sorted(path for path in found if path.suffix.lower() in PICTURES)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack-files", type=Path, required=True, help="MiniFASNet's .pth files")
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, nargs="+", required=True)
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    observer = open_observer(install(find_pack("default"), options.cache_dir))
    source = FolderSource(folder=options.pack_files)
    yunet = cv2.FaceDetectorYN.create(str(options.yunet), "", (320, 320), 0.6)
    with tempfile.TemporaryDirectory() as folder:
        pack = install(find_pack("minifasnet"), Path(folder), downloader=source, url_fetcher=source)
        detector = open_attack_detector(pack)
    report = measure(_pictures(options.photographs), observer, detector, yunet)
    publish(report, table(report), options.json)


if __name__ == "__main__":
    main()
