"""Damaged pictures through the decoder and the whole observation.

``python -m benchmarks.hostile_images --count 200000``.

Every mutant (`benchmarks.mutants`) is decoded, and observed if it decodes, in worker processes of
which one that dies is found and named. Told are crashes, exceptions that are no
`UnreadableImageError`, the slowest mutant, and how much memory the workers needed beyond what the
networks hold. Beside it a second decoder, Pillow's, judges the same bytes: where the two disagree
the table says in which way.
"""

import argparse
import resource
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image, ImageOps
from platformdirs import user_cache_path

from benchmarks.mutants import mutant, sound_pictures
from benchmarks.publication import publish
from models.image_decoder import FRAME_LIMITS, STILL_LIMITS, decode_image
from models.installation import install, open_pack
from models.observer import FaceObserver, open_observer
from models.packs import find_pack
from models.picture_structure import DecodeLimits
from pipelines.portraits import fetch_portraits
from verifier.arrays import Pixels
from verifier.errors import UnreadableImageError

BLOCK: Final = 500
MOST_S: Final = 1.0
MOST_MB: Final = 256.0
SAME_WITHIN: Final = 8.0
"""Grey levels, mean: two sound decoders differ in rounding and in how they enlarge colour."""


@dataclass(slots=True)
class Tally:
    """What came of some mutants."""

    mutants: int = 0
    observed: int = 0
    with_face: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    slowest: list[tuple[float, int]] = field(default_factory=list)  # seconds of a core, number
    longest_wall_s: float = 0.0
    memory_mb: float = 0.0

    def add(self, other: "Tally") -> None:
        """Take in what another worker found."""
        self.mutants += other.mutants
        self.observed += other.observed
        self.with_face += other.with_face
        self.codes += other.codes
        self.beside += other.beside
        self.unexpected += other.unexpected
        self.slowest = sorted(self.slowest + other.slowest, reverse=True)[:5]
        self.longest_wall_s = max(self.longest_wall_s, other.longest_wall_s)
        self.memory_mb = max(self.memory_mb, other.memory_mb)


@dataclass(frozen=True, slots=True)
class _Worker:
    observer: FaceObserver
    sources: Sequence[bytes]
    memory_before_kb: int


@cache
def _worker(cache_dir: Path) -> _Worker:
    """Return this process's networks and sound pictures, everything warm."""
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")  # Pillow warns of what it nevertheless reads
    observer = open_observer(open_pack("default", cache_dir), threads=1)
    portraits = [decode_image(p.read_bytes()).pixels for p in fetch_portraits(cache_dir).values()]
    for pixels in portraits:
        observer.observe(pixels)
    return _Worker(observer, sound_pictures(portraits), _peak_kb())


def judge_block(first: int, count: int, cache_dir: Path) -> Tally:
    """Judge mutants ``first`` up to ``first + count``."""
    worker, tally = _worker(cache_dir), Tally()
    for number in range(first, first + count):
        _judge(number, worker, tally)
    tally.memory_mb = (_peak_kb() - worker.memory_before_kb) / 1024
    return tally


def compare_block(first: int, count: int, cache_dir: Path) -> Tally:
    """Set this decoder's verdict on the same mutants beside Pillow's.

    In a process of its own, or Pillow's memory would be counted as ours.
    """
    worker, tally = _worker(cache_dir), Tally()
    for number in range(first, first + count):
        data = mutant(number, worker.sources)
        tally.beside[_beside(data, _limits(number))] += 1
    return tally


def _limits(number: int) -> DecodeLimits:
    """Return the limits of stills for every tenth mutant, else those of frames."""
    return STILL_LIMITS if number % 10 == 0 else FRAME_LIMITS


def _judge(number: int, worker: _Worker, tally: Tally) -> None:
    data = mutant(number, worker.sources)
    # The core's own time decides: whatever else the machine does would count as ours.
    started, started_on_core = time.perf_counter(), time.process_time()
    try:
        image = decode_image(data, _limits(number))
        code = "decoded"
        tally.observed += 1
        tally.with_face += bool(worker.observer.observe(image.pixels).faces)
    except UnreadableImageError as error:
        code = error.code
    except Exception as error:  # noqa: BLE001  # which they are is what is asked
        code = "unexpected"
        tally.unexpected.append(f"{number}: {type(error).__name__}")
    tally.slowest = sorted([*tally.slowest, (time.process_time() - started_on_core, number)])[-5:]
    tally.longest_wall_s = max(tally.longest_wall_s, time.perf_counter() - started)
    tally.mutants += 1
    tally.codes[code] += 1


def _beside(data: bytes, limits: DecodeLimits) -> str:
    """Say how this decoder's verdict stands beside Pillow's."""
    other = _by_pillow(data)
    try:
        mine = decode_image(data, limits).pixels
    except UnreadableImageError as error:
        return "both refuse" if other is None else f"only Pillow reads it: {error.code}"
    if other is None:
        return "only zhenxue reads it"
    if other.shape != mine.shape:
        return "both read it, another size"
    off = float(np.abs(other.astype(np.int16) - mine).mean())
    return "both read it alike" if off <= SAME_WITHIN else "both read it, other pixels"


def _by_pillow(data: bytes) -> Pixels | None:
    """Return the upright picture as Pillow decodes it, or None where it will not."""
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as picture:
            if picture.width * picture.height > STILL_LIMITS.max_pixels:
                return None
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except Exception:  # noqa: BLE001  # six kinds of exception escape from Pillow
        return None


def run(count: int, workers: int, cache_dir: Path) -> dict[str, Any]:
    """Judge ``count`` mutants and return the figures."""
    install(find_pack("default"), cache_dir)
    fetch_portraits(cache_dir)
    total, died, started = Tally(), [], time.perf_counter()
    for judge in (judge_block, compare_block):
        for first, tally in _blocks(judge, count, workers, cache_dir):
            if tally is None:
                died.append(first)
            else:
                total.add(tally)
    return {
        "mutants": total.mutants,
        "crashed_blocks": died,
        "unexpected": total.unexpected,
        "observed": total.observed,
        "with_face": total.with_face,
        "outcomes": dict(total.codes.most_common()),
        "beside_pillow": dict(total.beside.most_common()),
        "slowest": [{"seconds": s, "number": n} for s, n in total.slowest],
        "longest_wall_s": total.longest_wall_s,
        "memory_beyond_networks_mb": total.memory_mb,
        "workers": workers,
        "wall_s": time.perf_counter() - started,
    }


def _blocks(
    judge: Callable[[int, int, Path], Tally], count: int, workers: int, cache_dir: Path
) -> Iterator[tuple[int, Tally | None]]:
    """Yield each block's tally, None where its worker died; the others go on in a new pool."""
    waiting = list(range(0, count, BLOCK))
    while waiting:
        with ProcessPoolExecutor(workers) as pool:
            asked = {n: pool.submit(judge, n, min(BLOCK, count - n), cache_dir) for n in waiting}
            broken = None
            for first, future in asked.items():
                try:
                    tally = future.result()
                except BrokenProcessPool:
                    broken = first
                    break
                waiting.remove(first)
                yield first, tally
        if (
            broken is not None
        ):  # not surely this one's fault, so that block is told, and passed over
            waiting.remove(broken)
            yield broken, None


def table(report: dict[str, Any]) -> str:
    """Return the figures as text."""
    slowest = report["slowest"][0]
    lines = [
        f"{report['mutants']} mutants, {report['observed']} of them decoded and observed "
        f"({report['with_face']} with a face), in {report['wall_s']:.0f} s",
        f"crashes: {len(report['crashed_blocks'])}; other exceptions: {len(report['unexpected'])}",
        f"slowest: {slowest['seconds']:.2f} s of a core (number {slowest['number']}), "
        f"{MOST_S:g} s wanted; longest on the clock {report['longest_wall_s']:.2f} s",
        f"memory beyond the networks': {report['memory_beyond_networks_mb']:.0f} MB, "
        f"{MOST_MB:g} MB wanted",
        *(f"  {code:24} {n:>8}" for code, n in report["outcomes"].items()),
        "beside Pillow:",
        *(f"  {how:40} {n:>8}" for how, n in report["beside_pillow"].items()),
    ]
    return "\n".join(lines)


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Run from the command line; exit 1 where a limit was passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    options = parser.parse_args()
    report = run(options.count, options.workers, options.cache_dir)
    publish(report, table(report), options.json)
    worst = report["slowest"][0]["seconds"]
    within = worst <= MOST_S and report["memory_beyond_networks_mb"] <= MOST_MB
    sound = not report["crashed_blocks"] and not report["unexpected"]
    raise SystemExit(0 if within and sound else 1)


if __name__ == "__main__":
    main()
