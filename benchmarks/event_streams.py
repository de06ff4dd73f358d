"""How late prompts come over event streams, and what an open stream costs in memory.

``python -m benchmarks.event_streams --json OUT``. One service in a process of its own over
loopback, on SQLite, with ``--sessions`` sessions in progress, each followed by one stream that
the same client reads. Enrolling, opening and the answers to the opening prompts go over HTTP,
``--clients`` at a time, and are not timed. After that nobody answers: prompts go out at the mean
gap of the policy, wait a minute, are missed, and the next ones follow.

The delay of a prompt counts from the moment when it was due on the service's clock, which the
database tells afterwards, to the moment when the client had read its last byte; both are clocks
of one machine. A prompt that was due while all streams were open and was never read is lost.
"""

import argparse
import asyncio
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from pathlib import Path
from time import perf_counter, time
from typing import Any, Final
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from benchmarks.crowd import Crowd
from benchmarks.load import send_all
from benchmarks.machine import bind_to_cores, machine
from benchmarks.percentiles import SHARES, percentiles
from benchmarks.publication import publish
from benchmarks.served_process import ServedProcess
from models.installation import install
from models.packs import find_pack
from pipelines.portraits import fetch_portraits
from pipelines.simulate.http_caller import HttpCaller
from verifier.errors import VerifierError

OPENED_PER_S: Final = 100.0
"""Streams; the service shares its cores with the client, and nobody's come all at once."""
SETTLES_S: Final = 120.0
_TOGETHER: Final = 100
_LAST_S: Final = 10.0
"""What falls due at the very end may be on its way; it is not counted."""

_PROMPT: Final = re.compile(rb'event: prompt\ndata: \{"prompt":\{"prompt_id":"(\w+)"[^\n]*\n\n')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    sessions: int = 2000
    seconds: float = 200.0
    clients: int = 4


@dataclass(eq=False)
class Stream(asyncio.Protocol):
    """One stream, read as it comes: what, and when by the machine's clock."""

    request: bytes = field(repr=False)
    pieces: list[tuple[float, bytes]] = field(default_factory=list, repr=False)
    closed: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is one of TCP
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Keep what came; it is understood later."""
        self.pieces.append((time(), data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either is too early
        """Note that it ended."""
        self.closed = True

    @property
    def is_told(self) -> bool:
        """Whether the first events are there."""
        return any(b"event: prompt" in data for _, data in self.pieces)

    def prompts(self) -> Iterator[tuple[str, float]]:
        """Yield id and time of each prompt that was told, retellings included."""
        whole = b"".join(data for _, data in self.pieces)
        ends = list(accumulate(len(data) for _, data in self.pieces))
        for found in _PROMPT.finditer(whole):
            piece = next(n for n, end in enumerate(ends) if end >= found.end())
            yield found[1].decode(), self.pieces[piece][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the client saw; times in seconds since 1970."""

    began_at: float
    ended_at: float
    read_at: Mapping[str, float]
    resident_mb: Mapping[str, float]
    opening_s: float
    cpu_share: float
    closed: int


def run(sizes: Sizes, *, cache_dir: Path, folder: Path) -> dict[str, Any]:
    """Measure with the service's data in a folder of its own under ``folder``."""
    install(find_pack("default"), cache_dir)  # a download is not start-up time
    faces = fetch_portraits(cache_dir)
    load_before = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="zhenxue-streams-", dir=folder) as own,
        ServedProcess(Path(own)) as service,
    ):
        service.start()
        key = service.command("keys", "platform", "platform-1")
        began = perf_counter()
        with HttpCaller(service.url, key) as caller:
            crowd = Crowd.enrol(caller, faces, sizes.sessions)
            _begin_lessons(service, key, crowd, sizes)
        prepared_s = perf_counter() - began
        watched = asyncio.run(_watch(service, key, crowd.session_ids, sizes.seconds))
        service.stop()
        due = due_at(Path(own) / "data" / "zhenxue.db", watched.began_at, watched.ended_at)
    return {
        "machine": machine(),
        "load_average": {"before": load_before, "after": os.getloadavg()[0]},
        "sizes": {name: getattr(sizes, name) for name in Sizes.__slots__},
        "prepared_s": prepared_s,
        **summary(watched, due, sizes.sessions),
    }


def _begin_lessons(service: ServedProcess, key: str, crowd: Crowd, sizes: Sizes) -> None:
    """Open all sessions and pass their opening prompts, some at a time: each waits for a minute.

    Raises
    ------
    VerifierError
        If an answer was refused: fewer sessions would be measured than is said.
    """
    for first in range(0, sizes.sessions, _TOGETHER):
        some = range(first, min(first + _TOGETHER, sizes.sessions))
        replies = send_all(service.url, key, crowd.answers(some), clients=sizes.clients)
        passed = sum(b'"answer":"pass"' in reply.body for reply in replies)
        if passed != len(some):
            raise VerifierError(f"{passed} of {len(some)} opening prompts were passed")


def due_at(database: Path, began_at: float, ended_at: float) -> dict[str, float]:
    """Return when each scheduled prompt was due that was due while the streams were watched."""
    chosen = "SELECT prompt_id, issued_at FROM prompt WHERE origin = 'scheduled'"
    with sqlite3.connect(database) as connection:
        rows = connection.execute(chosen).fetchall()
    connection.close()
    due = {prompt_id: _seconds(issued_at) for prompt_id, issued_at in rows}
    return {each: at for each, at in due.items() if began_at <= at < ended_at}


def summary(watched: Watched, due: Mapping[str, float], sessions: int) -> dict[str, Any]:
    """Return the figures.

    Raises
    ------
    TooFewTrialsError
        If no prompt was due.
    """
    delays_ms = [
        1e3 * (watched.read_at[each] - at) for each, at in due.items() if each in watched.read_at
    ]
    resident = watched.resident_mb
    return {
        "seconds": watched.ended_at - watched.began_at,
        "prompts_due": len(due),
        "prompts_lost": len(due) - len(delays_ms),
        "streams_closed": watched.closed,
        "delay_ms": percentiles(delays_ms),
        "slowest_ms": max(delays_ms),
        "opening_s": watched.opening_s,
        "cpu_share": watched.cpu_share,
        "resident_mb": dict(resident),
        "kb_per_stream": 1e3 * (resident["streams"] - resident["sessions"]) / sessions,
    }


async def _watch(
    service: ServedProcess, key: str, session_ids: Sequence[str], seconds: float
) -> Watched:
    resident = {"sessions": service.memory_mb()["resident"]}
    began = perf_counter()
    streams = await _open(service.url, key, session_ids)
    opening_s = perf_counter() - began
    resident["streams"] = service.memory_mb()["resident"]
    began_at, cpu_s = time(), service.cpu_s()
    await asyncio.sleep(seconds)
    resident["end"] = service.memory_mb()["resident"]
    ended_at = time()
    read_at: dict[str, float] = {}
    for stream in streams:
        for prompt_id, at in stream.prompts():
            read_at.setdefault(prompt_id, at)
    return Watched(
        began_at=began_at,
        ended_at=ended_at - _LAST_S,
        read_at=read_at,
        resident_mb=resident,
        opening_s=opening_s,
        cpu_share=(service.cpu_s() - cpu_s) / (ended_at - began_at),
        closed=sum(stream.closed for stream in streams),
    )


async def _open(url: str, key: str, session_ids: Sequence[str]) -> list[Stream]:
    """Open a stream for each session; return them once all have told where theirs stands."""
    address = urlsplit(url).netloc
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    streams = []
    for session_id in session_ids:
        request = (
            f"GET /v1/sessions/{session_id}/events HTTP/1.1\r\nHost: {address}\r\n"
            f"Authorization: Bearer {key}\r\nAccept: text/event-stream\r\n\r\n"
        ).encode()
        stream = Stream(request)
        await loop.create_connection(partial(_same, stream), host, int(port))
        streams.append(stream)
        await asyncio.sleep(1 / OPENED_PER_S)
    until = perf_counter() + SETTLES_S
    while not all(stream.is_told for stream in streams):
        if perf_counter() > until:
            silent = sum(not stream.is_told for stream in streams)
            raise VerifierError(f"{silent} streams said nothing within {SETTLES_S:g} s")
        await asyncio.sleep(0.5)
    return streams


def _same(stream: Stream) -> Stream:
    return stream


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def table(report: Mapping[str, Any]) -> str:
    """Return the figures as text."""
    ran_on, delay, memory = report["machine"], report["delay_ms"], report["resident_mb"]
    load = report["load_average"]
    parts = [f"{name} {_interval(delay[name])}" for name in SHARES]
    return "\n".join(
        [
            f"{ran_on['processor']}, {ran_on['cores']} cores shared by service and client",
            f"load {load['before']:.2f} before, {load['after']:.2f} after; service used "
            f"{100 * report['cpu_share']:.0f} % of a core",
            f"{report['sizes']['sessions']} streams, opened in {report['opening_s']:.0f} s; "
            f"{report['prompts_due']} prompts due in {report['seconds']:.0f} s, "
            f"{report['prompts_lost']} lost; {report['streams_closed']} streams closed",
            f"from due to read, ms: {', '.join(parts)}; slowest {report['slowest_ms']:.0f}",
            f"memory: {memory['sessions']:.0f} MB without streams, {memory['streams']:.0f} MB "
            f"with, {report['kb_per_stream']:.1f} kB a stream; {memory['end']:.0f} MB at the end",
        ]
    )


def _interval(found: Mapping[str, float | None]) -> str:
    low, high = ("…" if found[end] is None else f"{found[end]:.0f}" for end in ("low95", "high95"))
    return f"{found['value']:.0f} ({low}–{high})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    usual = Sizes()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=usual.sessions)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="streams are watched")
    parser.add_argument("--clients", type=int, default=usual.clients, help="that open and answer")
    parser.add_argument("--cores", type=int, default=2, help="for all processes together")
    parser.add_argument("--folder", type=Path, help="on the disk to use; temporary if absent")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    options = parser.parse_args(arguments)
    bind_to_cores(options.cores)
    sizes = Sizes(**{name: getattr(options, name) for name in Sizes.__slots__})
    folder = options.folder or Path(tempfile.gettempdir())
    report = run(sizes, cache_dir=options.cache_dir, folder=folder)
    publish(report, table(report), options.json)


if __name__ == "__main__":
    main()
