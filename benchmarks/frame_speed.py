"""How long a frame takes to become an observation with a vector, beside the stock steps.

``python -m benchmarks.frame_speed --json OUT [--folder PHOTOGRAPHS]``: 640 x 480, one thread,
the two pipelines taking turns on every frame, so that whatever else the machine does hits both.
Frames are photographs of one face, scaled until it is 180 pixels wide, as before a webcam. Stock
is dlib's wheel, without BLAS: a dlib built with BLAS describes a face some five times faster.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from platformdirs import user_cache_path

from benchmarks.publication import publish
from benchmarks.stock_steps import StockSteps, stock_weights
from models.image_decoder import decode_image
from models.installation import install
from models.observer import FaceObserver, open_observer
from models.packs import find_pack
from pipelines.portraits import fetch_portraits
from verifier.arrays import Pixels
from verifier.errors import InputError
from verifier.observation import Box

FRAME_SIZE: Final = (640, 480)
FACE_WIDTH_PX: Final = 180
MOST_FRAMES: Final = 10
PICTURES: Final = (".jpg", ".jpeg", ".png")

Timings: TypeAlias = dict[str, list[float]]
"""Milliseconds by ``pipeline.step``, one value per frame and round."""


def make_frames(paths: Iterable[Path], observer: FaceObserver) -> list[Pixels]:
    """Return one frame per photograph, at most `MOST_FRAMES`, each with exactly one face.

    The stock steps describe one face only; with several the work would not be the same.
    """
    frames: list[Pixels] = []
    for path in paths:
        pixels = decode_image(path.read_bytes()).pixels
        faces = observer.observe(pixels, embed=False).faces
        if faces:
            frames.append(place_face(pixels, faces[0].box_px))
    single = [f for f in frames if len(observer.observe(f, embed=False).faces) == 1]
    return single[:MOST_FRAMES]


def place_face(pixels: Pixels, box: Box) -> Pixels:
    """Return a frame with the face in the middle; its border goes on where the picture ends."""
    scale = FACE_WIDTH_PX / box.w
    middle = np.array((box.x + box.w / 2, box.y + box.h / 2))
    shift = np.array(FRAME_SIZE) / 2 - scale * middle
    matrix = np.array([(scale, 0, shift[0]), (0, scale, shift[1])])
    frame = cv2.warpAffine(
        pixels, matrix, FRAME_SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(frame, dtype=np.uint8)


def measure(
    frames: Sequence[Pixels], observer: FaceObserver, stock: StockSteps, rounds: int
) -> Timings:
    """Time both pipelines in turn; the first frame is run once before, untimed."""
    warm_up: Timings = defaultdict(list)
    timings: Timings = defaultdict(list)
    for frame in frames[:1]:
        _time_ours(frame, observer, warm_up)
        _time_stock(frame, stock, warm_up)
    for frame in list(frames) * rounds:
        _time_ours(frame, observer, timings)
        _time_stock(frame, stock, timings)
    return timings


def measure_in_a_row(frames: Sequence[Pixels], observer: FaceObserver, rounds: int) -> list[float]:
    """Time this pipeline by itself: in turn with stock it finds the caches cold every time."""
    timings: Timings = defaultdict(list)
    for frame in list(frames) * rounds:
        _time_ours(frame, observer, timings)
    return timings["zhenxue.total"]


def run(cache_dir: Path, folder: Path | None = None, rounds: int = 3) -> dict[str, Any]:
    """Measure on the photographs of a folder, or on the demo's portraits, and return figures."""
    # Both pipelines get one thread; dlib has no more.
    cv2.setNumThreads(1)
    observer = open_observer(install(find_pack("default"), cache_dir), threads=1)
    frames = make_frames(photographs(cache_dir, folder), observer)
    if not frames:
        raise InputError("no photograph with a face, at least 1 wanted")
    timings = measure(frames, observer, StockSteps(stock_weights(cache_dir)), rounds)
    timings["zhenxue.total, in a row"] = measure_in_a_row(frames, observer, rounds)
    steps = {
        step: {"min_ms": min(values), "median_ms": median(values)}
        for step, values in timings.items()
    }
    ours, stock = steps["zhenxue.total"], steps["stock.total"]
    return {
        "frames": len(frames),
        "rounds": rounds,
        "frame_px": list(FRAME_SIZE),
        "steps": steps,
        "times_faster": {key[:-3]: stock[key] / ours[key] for key in ours},
    }


def table(report: dict[str, Any]) -> str:
    """Return the figures as text."""
    width, height = report["frame_px"]
    lines = [
        f"{width} x {height}, 1 thread, {report['frames']} frames x {report['rounds']} in turn",
        f"{'step':24} {'min ms':>8} {'median ms':>10}",
    ]
    for step, values in report["steps"].items():
        lines.append(f"{step:24} {values['min_ms']:>8.1f} {values['median_ms']:>10.1f}")
    faster = report["times_faster"]
    lines.append(f"faster by {faster['min']:.1f} (min), {faster['median']:.1f} (median)")
    return "\n".join(lines)


def _time_ours(frame: Pixels, observer: FaceObserver, timings: Timings) -> None:
    started = time.perf_counter()
    observation = observer.observe(frame)
    timings["zhenxue.total"].append((time.perf_counter() - started) * 1e3)
    for step, elapsed_ms in observation.elapsed_ms.items():
        timings[f"zhenxue.{step}"].append(elapsed_ms)


def _time_stock(frame: Pixels, stock: StockSteps, timings: Timings) -> None:
    times = [time.perf_counter()]
    box = stock.detect(frame)
    times.append(time.perf_counter())
    if box is not None:  # a miss only makes the stock steps look faster
        points = stock.landmarks(frame, box)
        times.append(time.perf_counter())
        stock.describe(frame, points)
        times.append(time.perf_counter())
    timings["stock.total"].append((times[-1] - times[0]) * 1e3)
    for step, before, after in zip(
        ("detect", "landmarks", "embed"), times, times[1:], strict=False
    ):
        timings[f"stock.{step}"].append((after - before) * 1e3)


def photographs(cache_dir: Path, folder: Path | None) -> Sequence[Path]:
    """Return the photographs of a folder, or the demo's portraits."""
    if folder is None:
        return list(fetch_portraits(cache_dir).values())
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="photographs; the demo's portraits if absent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    arguments = parser.parse_args()
    report = run(arguments.cache_dir, arguments.folder, arguments.rounds)
    publish(report, table(report), arguments.json)


if __name__ == "__main__":
    main()
