"""What one verify call costs: ``POST /v1/prompts/{id}/answer`` with one frame of 640 x 480.

``python -m benchmarks.verify_call --json OUT``. A service in a process of its own, over loopback:
HTTP, two units of work in SQL, decoding, detection and comparison, the picture sealed and on the
disk, the log signed beside it. At ``--rate`` calls a second that arrive by chance (open loop), and
as fast as ``--clients`` clients go (closed loop). Each learner answers the opening prompt of one
session a round; enrolling and opening are not timed. Client, service and database share the cores,
two unless ``--cores`` says otherwise: somebody else's load goes into the figures.

Beside it: start-up time, memory, and the list check in batches of 1000.
"""

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any, Final

from platformdirs import user_cache_path

from benchmarks.crowd import Crowd
from benchmarks.list_check import BATCH, measure_list_check
from benchmarks.load import Post, Reply, random_moments, send_all
from benchmarks.machine import bind_to_cores, fsync_ms, machine
from benchmarks.percentiles import SHARES, percentiles
from benchmarks.postgresql import can_run_postgresql, postgresql_server
from benchmarks.publication import publish
from benchmarks.served_process import ServedProcess
from models.installation import install
from models.packs import find_pack
from pipelines.portraits import fetch_portraits
from pipelines.simulate.http_caller import HttpCaller

DATABASES: Final = ("sqlite", "postgresql")
CONNECTIONS: Final = 32
"""Of the open loop: as many calls can wait at once before one more waits at the client."""
WARM_UP: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    learners: int = 120
    rounds: int = 4
    rate_per_s: float = 20.0
    clients: int = 4
    starts: int = 5
    batches: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The replies to one round of answers.

    Attributes
    ----------
    wall_s
        From the beginning of the load to the last reply.
    cpu_s
        Processor time of the service meanwhile; Redis and PostgreSQL come on top.
    """

    replies: Sequence[Reply]
    wall_s: float
    cpu_s: float

    @property
    def answered(self) -> int:
        """How many of them were answers and no refusals."""
        return sum(reply.status == HTTPStatus.OK for reply in self.replies)


def run(databases: Sequence[str], sizes: Sizes, *, cache_dir: Path, folder: Path) -> dict[str, Any]:
    """Measure on each database, its data in a folder of its own under ``folder``."""
    install(find_pack("default"), cache_dir)  # a download is not start-up time
    faces = fetch_portraits(cache_dir)
    report: dict[str, Any] = {
        "machine": machine(),
        "load_average_before": os.getloadavg()[0],
        "fsync_ms": fsync_ms(folder),
        "sizes": {name: getattr(sizes, name) for name in Sizes.__slots__},
    }
    report["databases"] = {}
    for name in databases:
        with (
            tempfile.TemporaryDirectory(prefix=f"zhenxue-{name}-", dir=folder) as own,
            _database(name) as url,
            ServedProcess(Path(own), url) as service,
        ):
            report["databases"][name] = measure(service, sizes, faces)
    return report


def measure(service: ServedProcess, sizes: Sizes, faces: Mapping[str, Path]) -> dict[str, Any]:
    """Start a service on an empty folder and measure everything on it."""
    starts_s = [_restarted(service) for _ in range(sizes.starts)]
    at_rest = service.memory_mb()
    key = service.command("keys", "platform", "platform-1")
    with HttpCaller(service.url, key) as caller:
        crowd = Crowd.enrol(caller, faces, sizes.learners)
        enrolled = service.memory_mb()
        _send(service, key, crowd.answers()[:WARM_UP], sizes.clients)
        arriving = [_arriving(service, key, crowd, sizes, seed) for seed in range(sizes.rounds)]
        saturated = [
            _send(service, key, crowd.answers(), sizes.clients) for _ in range(sizes.rounds)
        ]
        health = caller.get("/v1/health")
    return {
        "live_state": health["live_state"],
        "frame_bytes": median(crowd.frame_sizes()),
        "start_s": {"empty_folder": starts_s[0], "again": starts_s[1:]},
        "arriving": summary(arriving),
        "saturated": summary(saturated),
        "memory_mb": {
            "at_rest": at_rest["resident"],
            "after_enrolling": enrolled["resident"],
            "after": service.memory_mb()["resident"],
            "peak": service.memory_mb()["peak"],
        },
        "lists": measure_list_check(service, key, crowd.learner_ids, sizes.batches),
        "log_entries": health["log"]["size"] + health["log"]["pending"],
    }


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the figures of some rounds of the same load, refused calls counted apart.

    Raises
    ------
    TooFewTrialsError
        If no call was answered.
    """
    replies = [reply for each in rounds for reply in each.replies]
    latencies_ms = [1e3 * reply.latency_s for reply in replies if reply.status == HTTPStatus.OK]
    return {
        "calls": len(replies),
        "answered": len(latencies_ms),
        "outcomes": dict(Counter(map(_outcome, replies))),
        "per_s": len(latencies_ms) / sum(each.wall_s for each in rounds),
        "per_s_by_round": [each.answered / each.wall_s for each in rounds],
        "service_cpu_ms": 1e3 * sum(each.cpu_s for each in rounds) / len(replies),
        "latency_ms": percentiles(latencies_ms),
        "slowest_ms": max(latencies_ms),
        "sent_late_ms": percentiles([1e3 * reply.late_s for reply in replies]),
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the figures as text."""
    ran_on, sizes = report["machine"], report["sizes"]
    lines = [
        f"{ran_on['processor']}, {ran_on['cores']} cores shared by client, service and database",
        f"load before {report['load_average_before']:.2f}; fsync {report['fsync_ms']:.2f} ms",
        "",
        f"{'verify call':24} {'calls':>6} {'per s':>6} {'cpu ms':>7}  ms (95 % interval)",
    ]
    loads = {"arriving": f"{sizes['rate_per_s']:g}/s", "saturated": f"{sizes['clients']} clients"}
    for name, found in report["databases"].items():
        lines += [_load_line(f"{name}, {told}", found[load]) for load, told in loads.items()]
    for name, found in report["databases"].items():
        lines += ["", *_other_lines(name, found)]
    return "\n".join(lines)


def _load_line(title: str, load: Mapping[str, Any]) -> str:
    parts = [f"{name} {_interval(load['latency_ms'][name])}" for name in SHARES]
    refused = load["calls"] - load["answered"]
    told = f"; {refused} REFUSED" if refused else ""
    numbers = f"{load['calls']:>6} {load['per_s']:>6.1f} {load['service_cpu_ms']:>7.1f}"
    return f"{title:24} {numbers}  {', '.join(parts)}{told}"


def _interval(found: Mapping[str, float | None]) -> str:
    low, high = ("…" if found[end] is None else f"{found[end]:.0f}" for end in ("low95", "high95"))
    return f"{found['value']:.0f} ({low}–{high})"


def _other_lines(name: str, found: Mapping[str, Any]) -> list[str]:
    start, memory, lists = found["start_s"], found["memory_mb"], found["lists"]
    again = ", ".join(f"{seconds:.2f}" for seconds in start["again"]) or "not tried"
    return [
        f"{name}, live state {found['live_state']}, frames of {found['frame_bytes'] / 1e3:.0f} kB",
        f"  start-up: {start['empty_folder']:.2f} s on an empty folder; again {again or '-'} s",
        f"  memory: {memory['at_rest']:.0f} MB at rest, {memory['after']:.0f} MB after,"
        f" {memory['peak']:.0f} MB at its highest",
        f"  list check: {lists['subjects_per_s']:.0f} subjects/s in batches of {BATCH},"
        f" {lists['batches']} batches by 1 client, p50 {_interval(lists['latency_ms']['p50'])} ms",
        f"  outcomes: {found['arriving']['outcomes']}, {found['saturated']['outcomes']};"
        f" {found['log_entries']} log entries",
    ]


def _restarted(service: ServedProcess) -> float:
    service.stop()
    return service.start()


def _arriving(service: ServedProcess, key: str, crowd: Crowd, sizes: Sizes, seed: int) -> Round:
    due_s = random_moments(sizes.learners, per_s=sizes.rate_per_s, seed=seed)
    return _send(service, key, crowd.answers(), CONNECTIONS, due_s)


def _send(
    service: ServedProcess,
    key: str,
    posts: Sequence[Post],
    clients: int,
    due_s: Sequence[float] | None = None,
) -> Round:
    before_s = service.cpu_s()
    replies = send_all(service.url, key, posts, clients=clients, due_s=due_s)
    return Round(replies=replies, wall_s=replies[-1].done_s, cpu_s=service.cpu_s() - before_s)


def _outcome(reply: Reply) -> str:
    """Return what an answer was judged, or the code of the problem it met."""
    told = json.loads(reply.body)
    return str(told["answer"] if reply.status == HTTPStatus.OK else told["code"])


@contextmanager
def _database(name: str) -> Iterator[str | None]:
    if name == "sqlite":
        yield None  # what the service opens by itself, in its data folder
        return
    with postgresql_server() as url:
        yield url


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    options = _parser().parse_args(arguments)
    bind_to_cores(options.cores)
    sizes = Sizes(**{name: getattr(options, name) for name in Sizes.__slots__})
    databases = options.database or [each for each in DATABASES if _is_here(each)]
    folder = options.folder or Path(tempfile.gettempdir())
    report = run(databases, sizes, cache_dir=options.cache_dir, folder=folder)
    publish(report, table(report), options.json)


def _parser() -> argparse.ArgumentParser:
    usual = Sizes()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learners", type=int, default=usual.learners, help="calls in a round")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="of each load")
    parser.add_argument("--rate", dest="rate_per_s", type=float, default=usual.rate_per_s)
    parser.add_argument("--clients", type=int, default=usual.clients, help="at saturation")
    parser.add_argument("--starts", type=int, default=usual.starts)
    parser.add_argument("--batches", type=int, default=usual.batches, help="of the list check")
    parser.add_argument("--database", choices=DATABASES, action="append", help="all if absent")
    parser.add_argument("--cores", type=int, default=2, help="for all processes together")
    parser.add_argument("--folder", type=Path, help="on the disk to use; temporary if absent")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    return parser


def _is_here(database: str) -> bool:
    return database == "sqlite" or can_run_postgresql()


if __name__ == "__main__":
    main()
