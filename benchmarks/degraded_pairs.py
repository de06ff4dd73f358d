"""What covers, blur and bad light do to comparisons: questions, or false answers.

``python -m benchmarks.degraded_pairs --folder PERSON/PHOTOGRAPH``: every photograph with one face
is degraded and compared with the other photographs, as `zhenxue compare` would. Counts of match,
inconclusive by score, inconclusive by quality, and no_match; covers are drawn, so these figures
say what is noticed and not how often learners are covered.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from platformdirs import user_cache_path

from benchmarks.publication import publish
from models.image_decoder import decode_image, encode_frame
from models.installation import install
from models.observer import FaceObserver, open_observer
from models.packs import find_pack
from pipelines.check import FrameChecker
from verifier.arrays import Pixels
from verifier.comparison import DEFAULT_CALIBRATION, compare
from verifier.observation import Box, FaceObservation

Degrade: TypeAlias = Callable[[Pixels, Box], Pixels]

OUTCOMES: Final = ("match", "inconclusive", "quality", "no_match")
FILL: Final = (30, 30, 30)


def _cover(left: float, top: float, right: float, bottom: float) -> Degrade:
    """Cover a part of the face box, in shares of its width and height."""

    def covered(pixels: Pixels, box: Box) -> Pixels:
        painted = pixels.copy()
        x0, x1 = (round(box.x + share * box.w) for share in (left, right))
        y0, y1 = (round(box.y + share * box.h) for share in (top, bottom))
        painted[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = FILL
        return painted

    return covered


def _motion(length_px: int) -> Degrade:
    kernel = np.full((1, length_px), 1 / length_px, np.float32)
    return lambda pixels, _: np.asarray(cv2.filter2D(pixels, -1, kernel), np.uint8)


def _light(factor: float) -> Degrade:
    return lambda pixels, _: np.clip(pixels * factor, 0, 255).astype(np.uint8)


def _jpeg(quality: int) -> Degrade:
    return lambda pixels, _: decode_image(encode_frame(pixels, quality=quality)).pixels


DEGRADATIONS: Final[Mapping[str, Degrade]] = {
    "clean": lambda pixels, _: pixels,
    "eye band covered": _cover(-0.1, 0.15, 1.1, 0.45),
    "half face covered": _cover(-0.1, -0.1, 0.5, 1.1),
    "mouth and chin covered": _cover(-0.1, 0.6, 1.1, 1.2),
    "motion blur 7 px": _motion(7),
    "motion blur 13 px": _motion(13),
    "light / 4": _light(0.25),
    "light x 3": _light(3.0),
    "JPEG quality 5": _jpeg(5),
}


def run(folder: Path, cache_dir: Path) -> dict[str, Any]:
    """Count the outcomes of every degradation over the pairs of ``folder``."""
    observer = open_observer(install(find_pack("default"), cache_dir))
    checker = FrameChecker(observer=observer)
    pictures = _pictures(folder, observer)
    report: dict[str, Any] = {"photographs": len(pictures), "contract": observer.contract_id}
    for name, degrade in DEGRADATIONS.items():
        mated, non_mated, no_face = Counter[str](), Counter[str](), 0
        for probe_at, (person, pixels, face) in enumerate(pictures):
            seen = observer.observe(degrade(pixels, face.box_px)).faces
            if len(seen) != 1:
                no_face += 1
                continue
            for at, (other, _, reference) in enumerate(pictures):
                if at != probe_at:
                    outcome = _outcome(checker, reference, seen[0])
                    (mated if person == other else non_mated)[outcome] += 1
        report[name] = {"mated": mated, "non_mated": non_mated, "no_face": no_face}
    return report


def table(report: Mapping[str, Any]) -> str:
    """Return the counts as text."""
    head = f"{report['photographs']} photographs with one face; {' / '.join(OUTCOMES)}"
    lines = [head, f"{'probe':>24}  {'mated':>22}  {'non-mated':>24}  no one face"]
    for name in DEGRADATIONS:
        row = report[name]
        mated, other = (
            " / ".join(str(row[kind][outcome]) for outcome in OUTCOMES)
            for kind in ("mated", "non_mated")
        )
        lines.append(f"{name:>24}  {mated:>22}  {other:>24}  {row['no_face']}")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="person/photograph")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    arguments = parser.parse_args()
    report = run(arguments.folder, arguments.cache_dir)
    publish(report, table(report), arguments.json)


def _pictures(folder: Path, observer: FaceObserver) -> list[tuple[str, Pixels, FaceObservation]]:
    found = []
    for path in sorted(folder.glob("*/*.jpg")):
        pixels = decode_image(path.read_bytes()).pixels
        faces = observer.observe(pixels).faces
        if len(faces) == 1:
            found.append((path.parent.name, pixels, faces[0]))
    return found


def _outcome(checker: FrameChecker, reference: FaceObservation, probe: FaceObservation) -> str:
    enrolled, shown = (checker.template(face) for face in (reference, probe))
    result = compare(enrolled, shown, DEFAULT_CALIBRATION)
    return "quality" if reference.quality or probe.quality else result.outcome.value


if __name__ == "__main__":
    main()
