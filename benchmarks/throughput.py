"""How many frames a second one machine observes: ``python -m benchmarks.throughput``.

640 x 480, the frames of `frame_speed`. *To a vector*: detect, measure, embed, in processes of one
thread each beside the stock steps in as many, and in threads of one process as the service runs,
each for itself or sharing batches. *Followed*: observation only, each worker a stream of its own in
which the face moves (`models.tracker`). The rows take turns, ``--rounds`` times; told are the
median and the range.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from platformdirs import user_cache_path

from benchmarks.frame_speed import make_frames, photographs
from benchmarks.publication import publish
from benchmarks.stock_steps import StockSteps, stock_weights
from models.installation import install, open_pack
from models.observer import FaceObserver, open_observer
from models.packs import find_pack
from models.tracker import open_tracker
from verifier.arrays import Pixels

MOVES_PX: Final = 2
"""How far the face moves from frame to frame of a followed stream."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way of working; ``work`` runs for some seconds and returns how many frames it did."""

    name: str
    work: Callable[[Path, float], int]
    pool: Callable[[int], Executor]
    workers: int


def observe(cache_dir: Path, seconds: float) -> int:
    """Detect, measure and embed."""
    frames, observer = _frames(cache_dir), _observer(cache_dir, 0)
    return _until(seconds, lambda i: observer.observe(frames[i % len(frames)]))


def observe_in_batches(cache_dir: Path, seconds: float) -> int:
    """Detect, measure, and embed together with whoever is embedding at the same moment."""
    frames, observer = _frames(cache_dir), _observer(cache_dir, 2)
    return _until(seconds, lambda i: observer.observe(frames[i % len(frames)]))


def follow(cache_dir: Path, seconds: float) -> int:
    """Follow a face that moves to and fro."""
    stream = [np.roll(_frames(cache_dir)[0], MOVES_PX * abs(k - 15), axis=1) for k in range(30)]
    tracker = open_tracker(open_pack("default", cache_dir))
    return _until(seconds, lambda i: tracker.observe(stream[i % len(stream)]))


def stock(cache_dir: Path, seconds: float) -> int:
    """Take the stock steps to a vector."""
    frames, steps = _frames(cache_dir), _stock(cache_dir)
    return _until(seconds, lambda i: steps.embed_largest(frames[i % len(frames)]))


def rows() -> list[Row]:
    """Return every way of working that is measured."""
    ways = [
        Row(f"{name}, {n} {'process' if n == 1 else 'processes'}", work, _processes, n)
        for name, work in (("to a vector", observe), ("stock", stock), ("followed", follow))
        for n in (1, 2)
    ]
    in_threads = [Row(f"to a vector, {n} threads", observe, ThreadPoolExecutor, n) for n in (2, 4)]
    return [
        *ways,
        *in_threads,
        Row("in batches, 4 threads", observe_in_batches, ThreadPoolExecutor, 4),
    ]


def run(cache_dir: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure every row ``rounds`` times for ``seconds``; frames a second, all workers together."""
    install(find_pack("default"), cache_dir)
    stock_weights(cache_dir)
    measured: dict[str, list[float]] = {row.name: [] for row in rows()}
    for _ in range(rounds):
        for row in rows():
            measured[row.name].append(_frames_a_second(row, cache_dir, seconds))
    return {
        "rounds": rounds,
        "seconds": seconds,
        "frames_a_second": {
            name: {"median": median(values), "low": min(values), "high": max(values)}
            for name, values in measured.items()
        },
    }


def table(report: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{'frames a second':28} {'median':>8} {'range':>16}"]
    for name, values in report["frames_a_second"].items():
        span = f"{values['low']:.1f} to {values['high']:.1f}"
        lines.append(f"{name:28} {values['median']:>8.1f} {span:>16}")
    return "\n".join(lines)


def _frames_a_second(row: Row, cache_dir: Path, seconds: float) -> float:
    with row.pool(row.workers) as pool:
        for _ in range(2):  # the first time opens and warms up
            asked = [pool.submit(row.work, cache_dir, seconds) for _ in range(row.workers)]
            done = sum(future.result() for future in asked)
    return done / seconds


def _until(seconds: float, act: Callable[[int], object]) -> int:
    act(0)
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        act(done)
        done += 1
    return done


def _processes(workers: int) -> Executor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


@cache
def _frames(cache_dir: Path) -> Sequence[Pixels]:
    cv2.setNumThreads(1)
    return make_frames(photographs(cache_dir, None), _observer(cache_dir, 0))


@cache
def _observer(cache_dir: Path, batch_slots: int) -> FaceObserver:
    return open_observer(open_pack("default", cache_dir), batch_slots=batch_slots)


@cache
def _stock(cache_dir: Path) -> StockSteps:
    return StockSteps(stock_weights(cache_dir))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    options = parser.parse_args()
    report = run(options.cache_dir, options.rounds, options.seconds)
    publish(report, table(report), options.json)


if __name__ == "__main__":
    main()
