"""Which reasons clear and spoilt pictures of faces are given.

Every photograph of ``--folder PERSON/PHOTOGRAPH`` is spoilt in each of `DEGRADATIONS` and
observed. Per degradation are counted: no face; faces fit in a lesson and for enrolment; reasons;
and how fit faces compare with clear photographs of that person and of others. All light, noise
and covers here are drawn: the figures show what is noticed, not how often it happens.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from platformdirs import user_cache_path

from benchmarks.degradations import (
    Degrade,
    blurred,
    covered,
    fingers,
    jpeg,
    light,
    noise,
    palm,
    ramp,
    resized,
    side_light,
    turned,
)
from benchmarks.frame_speed import PICTURES
from benchmarks.publication import publish
from models.image_decoder import STILL_LIMITS, decode_image
from models.installation import install
from models.observer import open_observer
from models.packs import find_pack
from verifier.arrays import Pixels
from verifier.comparison import DEFAULT_CALIBRATION, ComparisonOutcome, Template, compare
from verifier.observation import FaceObservation
from verifier.protocols import FaceObserver
from verifier.quality import ENROLMENT_RULES, assess_observed

MAX_SIDE_PX: Final = 900
"""Larger photographs are shrunk first: no webcam has their detail, and noise would vanish in it."""

OUTCOMES: Final = (
    ComparisonOutcome.MATCH,
    ComparisonOutcome.INCONCLUSIVE,
    ComparisonOutcome.NO_MATCH,
)


_EYES: Final = (70, 300, 105, 334, 118, 347, 33, 263)
_MOUTH: Final = (197, 50, 280, 132, 361, 172, 397, 152)

DEGRADATIONS: Final[Mapping[str, Degrade]] = {
    "clear": lambda pixels, _: pixels,
    "light / 2": light(0.5),
    "light / 4": light(0.25),
    "light / 10": light(0.1),
    "light x 1.5": light(1.5),
    "light x 2": light(2.0),
    "light x 3": light(3.0),
    "veil + 100": light(1.0, 100.0),
    "light / 3, noise 8": noise(0.33, 8.0),
    "light / 4, noise 10": noise(0.25, 10.0),
    "noise 25": noise(1.0, 25.0),
    "side light 1 : 2": side_light(0.5),
    "side light 1 : 5": side_light(0.2),
    "side light 1 : 10": side_light(0.1),
    "ramp 0.15 to 1": ramp(0.15, 1.0),
    "turned 20": turned(20.0),
    "turned -30": turned(-30.0),
    "blur 1.6 %": blurred(0.016),
    "blur 2.8 %": blurred(0.028),
    "face 80 px": resized(80.0),
    "face 30 px": resized(30.0),
    "JPEG quality 12": jpeg(12),
    "dark glasses": covered(_EYES, (25, 25, 25)),
    "blue mask": covered(_MOUTH, (120, 165, 205)),
    "white mask": covered(_MOUTH, (250, 250, 250)),
    "fingers, nose + cheek": fingers(),
    "fingers, other cheek": fingers(-1),
    "palm, nose": palm((0.5, 0.52), (0.22, 0.15)),
    "palm, nose + cheek": palm((0.72, 0.58), (0.28, 0.2)),
    "palm, mouth corner": palm((0.75, 0.75), (0.3, 0.25)),
    "palm, half the face": palm((0.85, 0.5), (0.38, 0.6)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Photograph:
    person: str
    pixels: Pixels
    face: FaceObservation


def run(folder: Path, cache_dir: Path) -> dict[str, Any]:
    """Count reasons and outcomes of every degradation over the photographs of ``folder``."""
    observer = open_observer(install(find_pack("default"), cache_dir))
    photographs = list(_photographs(folder, observer))
    references = [
        (each.person, (at, each.face))
        for at, each in enumerate(photographs)
        if not each.face.quality
    ]
    report: dict[str, Any] = {"photographs": len(photographs), "contract": observer.contract_id}
    for name, degrade in DEGRADATIONS.items():
        counts: Counter[str] = Counter()
        for at, photograph in enumerate(photographs):
            face = _count_reasons(counts, observer, degrade(photograph.pixels, photograph.face))
            if face is not None and not face.quality:
                for person, (i, reference) in references:
                    if i != at:
                        outcome = _outcome(reference, face, observer)
                        counts[outcome if person == photograph.person else f"other {outcome}"] += 1
        report[name] = dict(counts)
    return report


def table(report: Mapping[str, Any]) -> str:
    """Return the counts as text."""
    head = (
        f"{report['photographs']} photographs; mated: {' / '.join(OUTCOMES)}, both faces fit; "
        "strangers: called match, of so many"
    )
    lines = [head, f"{'':>21}  no face  fit  enrol  {'mated':>14}  {'strangers':>9}  reasons"]
    for name in DEGRADATIONS:
        row = report[name]
        mated = " / ".join(str(row.get(outcome, 0)) for outcome in OUTCOMES)
        strangers = [row.get(f"other {outcome}", 0) for outcome in OUTCOMES]
        counted = {"no face", "fit", "enrol", *OUTCOMES, *(f"other {o}" for o in OUTCOMES)}
        reasons = ", ".join(f"{reason} {row[reason]}" for reason in row if reason not in counted)
        numbers = (row.get(key, 0) for key in ("no face", "fit", "enrol"))
        lines.append(
            f"{name:>21}  {'{:7}  {:3}  {:5}'.format(*numbers)}  {mated:>14}"
            f"  {f'{strangers[0]}/{sum(strangers)}':>9}  {reasons}"
        )
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


def _photographs(folder: Path, observer: FaceObserver) -> Iterable[_Photograph]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in PICTURES:
            pixels = _shrunk(decode_image(path.read_bytes(), STILL_LIMITS).pixels)
            faces = observer.observe(pixels).faces
            if faces:
                yield _Photograph(person=path.parent.name, pixels=pixels, face=faces[0])


def _shrunk(pixels: Pixels) -> Pixels:
    scale = min(1.0, MAX_SIDE_PX / max(pixels.shape[:2]))
    if scale == 1.0:
        return pixels
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _count_reasons(
    counts: Counter[str], observer: FaceObserver, pixels: Pixels
) -> FaceObservation | None:
    """Count what is said of the largest face, and return it."""
    observation = observer.observe(pixels)
    if not observation.faces:
        counts["no face"] += 1
        return None
    face = observation.faces[0]
    counts.update(reason.value for reason in face.quality)
    counts["fit"] += not face.quality
    counts["enrol"] += not assess_observed(face, observation, ENROLMENT_RULES)
    return face


def _outcome(reference: FaceObservation, probe: FaceObservation, observer: FaceObserver) -> str:
    vectors = [face.embedding for face in (reference, probe)]
    enrolled, shown = (
        Template(contract_id=observer.contract_id, vector=vector)
        for vector in vectors
        if vector is not None
    )
    return compare(enrolled, shown, DEFAULT_CALIBRATION).outcome.value


if __name__ == "__main__":
    main()
