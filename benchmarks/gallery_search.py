"""How long it takes to look for one face among a million, and to rebuild the gallery.

    python -m benchmarks.gallery_search --size 1000000 --json out.json

Vectors are random, of the length that dlib's have: the time of an exact search does not depend on
whose they are. Each query is a member seen again (the vector and some noise), so that the answer is
known and checked. Templates are sealed, each under its own key, and opened again as a start does;
reading their rows from SQL is not in it. Keys are files on the disk that ``--folder`` is on.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import bind_to_cores, machine
from benchmarks.percentiles import percentiles
from pipelines.gallery import Gallery, rebuild
from pipelines.keystore import KeyStore
from pipelines.lesson_store import StoredEnrolment
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from verifier.arrays import Float32Array
from verifier.calibration import DEFAULT_CALIBRATION, Metric
from verifier.comparison import Template
from verifier.enrolment import Anchor
from verifier.errors import VerifierError
from verifier.identification import operating_point, pairs_wanted
from verifier.policy import default_policy

CONTRACT: Final = DEFAULT_CALIBRATION.contract_id
NUMBERS: Final = 128
LENGTH: Final = 1.4
"""Of dlib's vectors: 1.29 to 1.51 on photographs of people."""
NOISE: Final = 0.2
"""Distance of two photographs of one person on a good day."""
NOW: Final = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
CORES: Final = 2
TOGETHER: Final = 5
"""Queries between two looks at what else the machine does: it counts in hundredths of a second."""
QUIET: Final = 0.1
"""Others rest when they use less than this share of all processors."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--sealed", type=int, default=5_000, help="templates to rebuild from")
    parser.add_argument("--folder", type=Path, help="where to put them; default: temporary")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bind_to_cores(CORES)
    gallery, added_s = _filled(options.size)
    report = {
        **machine(),
        "load_before": os.getloadavg()[0],
        "size": options.size,
        "numbers": NUMBERS,
        "add_us": 1e6 * added_s / options.size,
        "allocated_mib": gallery.allocated_bytes / 2**20,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "query_ms": _queries(gallery, options.size, options.queries),
        "operating_point": _promises(options.size),
        "rebuild": _rebuild(options.sealed, options.folder),
    }
    _show(report)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _filled(size: int) -> tuple[Gallery, float]:
    """Return a gallery of ``size`` people and the seconds that adding them took."""
    gallery = Gallery(CONTRACT, Metric.L2)
    elapsed = 0.0
    for first in range(0, size, 10_000):
        vectors = _people(first, min(first + 10_000, size))
        started = time.perf_counter()
        for number, vector in enumerate(vectors, first):
            gallery.add(_learner(number), Template(contract_id=CONTRACT, vector=vector))
        elapsed += time.perf_counter() - started
    return gallery, elapsed


def _people(first: int, end: int) -> Float32Array:
    """Return the vectors of people by their numbers, shape (end - first, d)."""
    rng = np.random.default_rng([first, 1])
    vectors = rng.standard_normal((end - first, NUMBERS), dtype=np.float32)
    vectors *= LENGTH / np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _learner(number: int) -> str:
    return f"{number:032x}"


def _queries(gallery: Gallery, size: int, count: int) -> dict[str, Any]:
    """Search for members seen again; each must be found, and nobody else."""
    policy = default_policy().duplicates
    point = operating_point(
        DEFAULT_CALIBRATION, gallery_size=size, false_hits=policy.false_cases_per_enrolment
    )
    rng = np.random.default_rng([size, 2])
    times_ms: list[float] = []
    quiet_ms: list[float] = []
    cpu_s = 0.0
    for _ in range(count // TOGETHER):
        probes = [_seen_again(int(rng.integers(size)), size, rng) for _ in range(TOGETHER)]
        busy_s, total_s = _processor_time()
        cpu_started, group_ms = time.process_time(), list[float]()
        for learner_id, probe in probes:
            started = time.perf_counter()
            found = gallery.search(
                probe, limit=policy.most_cases_per_enrolment, from_score=point.comparison_score
            )
            group_ms.append(1e3 * (time.perf_counter() - started))
            if [hit.learner_id for hit in found] != [learner_id]:
                raise VerifierError("the person was not found, or somebody else was")
        own_s = time.process_time() - cpu_started
        busy_s, total_s = (
            now - then for now, then in zip(_processor_time(), (busy_s, total_s), strict=True)
        )
        cpu_s += own_s
        times_ms += group_ms
        if total_s > 0 and busy_s - own_s < QUIET * total_s:
            quiet_ms += group_ms
    return {
        "queries": len(times_ms),
        "cpu_ms": 1e3 * cpu_s / len(times_ms),  # which other work on the machine hardly changes
        **percentiles(times_ms),
        "while_others_rest": {
            "queries": len(quiet_ms),
            **(percentiles(quiet_ms) if quiet_ms else {}),
        },
    }


def _seen_again(number: int, size: int, rng: np.random.Generator) -> tuple[str, Template]:
    noise = rng.standard_normal(NUMBERS)
    vector = _person(number, size) + NOISE * noise / np.linalg.norm(noise)
    return _learner(number), Template(contract_id=CONTRACT, vector=vector.astype(np.float32))


def _processor_time() -> tuple[float, float]:
    """Return seconds of all processors, busy and in all; 0 where nobody counts them."""
    path = Path("/proc/stat")
    if not path.is_file():
        return 0.0, 0.0
    ticks = [int(text) for text in path.read_text().splitlines()[0].split()[1:9]]
    per_s = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / per_s, sum(ticks) / per_s


def _person(number: int, size: int) -> Float32Array:
    first = number - number % 10_000
    vector: Float32Array = _people(first, min(first + 10_000, size))[number - first]
    return vector


def _promises(size: int) -> dict[str, Any]:
    wanted = default_policy().duplicates.false_cases_per_enrolment
    point = operating_point(DEFAULT_CALIBRATION, gallery_size=size, false_hits=wanted)
    return {
        "calibration": DEFAULT_CALIBRATION.label,
        "comparison_score": point.comparison_score,
        "false_hits_expected": point.false_hits,
        "false_hits_bound": point.false_hits_bound,
        "fpir_bound": point.fpir_bound,
        "pairs_of_people_for_fpir_5_percent": pairs_wanted(0.05, size),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Enrolments:
    """Sealed templates in the order of their ids; a `pipelines.lesson_store.EnrolmentSource`."""

    stored: Sequence[StoredEnrolment]

    def enrolments(self, *, after: str, limit: int) -> Sequence[StoredEnrolment]:
        """Return the next ones."""
        first = bisect_right(self.stored, after, key=lambda one: one.learner_id)
        return self.stored[first : first + limit]


def _rebuild(count: int, folder: Path | None) -> dict[str, Any]:
    """Seal templates and measure how long a start takes to open them all, each with its key."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        templates = TemplateSealer(
            keystore=KeyStore.open(Path(name) / "keys"), authority="benchmark"
        )
        stored = [
            _sealed(templates, first + n, vector)
            for first in range(0, count, 1000)
            for n, vector in enumerate(_people(first, min(first + 1000, count)))
        ]
        gallery = Gallery(CONTRACT, Metric.L2)
        started = time.perf_counter()
        rebuilt = rebuild(gallery, _Enrolments(stored=stored), templates)
        rebuilt_s = time.perf_counter() - started
    if rebuilt.added != count:
        raise VerifierError(f"{rebuilt.added} of {count} templates came back")
    return {
        "templates": count,
        "rebuild_s": rebuilt_s,
        "rebuild_s_per_million": 1e6 * rebuilt_s / count,
    }


def _sealed(templates: TemplateSealer, number: int, vector: Float32Array) -> StoredEnrolment:
    enrolled = EnrolledTemplate(
        template=Template(contract_id=CONTRACT, vector=vector),
        anchor=Anchor.OFFICER,
        enrolled_at=NOW,
    )
    return StoredEnrolment(
        learner_id=_learner(number),
        contract_id=CONTRACT,
        sealed_template=templates.seal(_learner(number), enrolled),
        anchor=Anchor.OFFICER,
        enrolled_at=NOW,
        evidence_id="00" * 32,
    )


def _show(report: dict[str, Any]) -> None:
    query, rebuilt, point = report["query_ms"], report["rebuild"], report["operating_point"]
    quiet = query["while_others_rest"]
    load = f"load {report['load_before']:.1f} before"
    print(f"{report['processor']}, {report['cores']} cores, {load}")
    print(
        f"{report['size']:,} × {NUMBERS}: query p50 {query['p50']['value']:.1f} ms, p99"
        f" {query['p99']['value']:.1f} ms of {query['queries']}, {query['cpu_ms']:.0f} ms of"
        f" processor time; {report['allocated_mib']:.0f} MiB of rows,"
        f" {report['peak_memory_mib']:.0f} MiB in all"
    )
    if quiet["queries"]:
        print(
            f"while others use less than {QUIET:.0%} of the machine: p50"
            f" {quiet['p50']['value']:.1f} ms, p99 {quiet['p99']['value']:.1f} ms of"
            f" {quiet['queries']}"
        )
    print(
        f"rebuilt from {rebuilt['templates']:,} sealed templates in {rebuilt['rebuild_s']:.1f} s:"
        f" {rebuilt['rebuild_s_per_million'] / 60:.1f} min for a million"
    )
    print(
        f"hits from score {point['comparison_score']:.3f}: {point['false_hits_expected']:.2g} false"
        f" ones by the line; fewer than {point['false_hits_bound']:,.0f} its data could not show"
    )


if __name__ == "__main__":
    main()
