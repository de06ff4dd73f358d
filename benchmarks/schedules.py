"""Schedules of a million sessions, from secret and header to every due time, on two cores.

``python -m benchmarks.schedules --sessions 1000000``: commitment, seed, times and kinds of each, as
an auditor of a whole city recomputes them. Secrets, roots and headers follow from the session's
number, so that the digest over all schedules is the same in every process and on every machine.
"""

import argparse
import hashlib
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import bind_to_cores, machine
from benchmarks.publication import publish
from verifier.policy import default_policy
from verifier.schedule import (
    PlannedPrompts,
    ScheduleHeader,
    ScheduleParameters,
    SchedulePromise,
    commitment,
)

CHUNK: Final = 10_000
"""Sessions under one digest; fixed, so that the number of processes changes no byte."""
_PROMPT: Final = struct.Struct(">IB")  # due in ms, place of the kind
_FIRST_OPENS: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one chunk of sessions came to; ``digest`` covers seeds, due times and kinds."""

    sessions: int
    prompts: int
    digest: bytes


def promise_of(number: int, parameters: ScheduleParameters, policy_digest: str) -> SchedulePromise:
    """Return the promise of made-up session ``number``."""
    secret, root = (hashlib.sha256(b"%s %d" % (what, number)).digest() for what in (b"s", b"root"))
    header = ScheduleHeader(
        session_id=f"{number:032x}",
        learner_id=f"{number // 8:032x}",
        class_id=f"class-{number // 320}",
        platform_id=f"platform-{number % 20}",
        policy_digest=policy_digest,
        parameters=parameters,
        opened_at=_FIRST_OPENS + timedelta(seconds=number),
    )
    return SchedulePromise(
        secret=secret,
        header=header,
        committed=commitment(secret, header),
        checkpoint_root=root,
    )


def packed(promise: SchedulePromise, minutes: int) -> bytes:
    """Return seed, due times and kinds of one session: 32 bytes, and 5 for each prompt."""
    planned = PlannedPrompts(seed=promise.seed, parameters=promise.header.parameters)
    due = takewhile(lambda draw: draw[0] < 60_000 * minutes, planned.draws())
    return planned.seed + b"".join(_PROMPT.pack(*draw) for draw in due)


def count_chunk(numbers: range, minutes: int) -> Counted:
    """Recompute the schedules of the sessions with these numbers."""
    policy = default_policy()
    parameters, policy_digest = ScheduleParameters.of(policy.prompts), policy.digest
    whole, prompts = hashlib.sha256(), 0
    for number in numbers:
        schedule = packed(promise_of(number, parameters, policy_digest), minutes)
        prompts += (len(schedule) - 32) // _PROMPT.size
        whole.update(schedule)
    return Counted(sessions=len(numbers), prompts=prompts, digest=whole.digest())


def digest_of(chunks: Sequence[Counted]) -> str:
    """Return SHA-256 over the digests of all chunks in order, in hex."""
    return hashlib.sha256(b"".join(chunk.digest for chunk in chunks)).hexdigest()


def run(sessions: int, minutes: int, processes: int) -> dict[str, Any]:
    """Recompute the schedules of ``sessions`` sessions in ``processes`` processes."""
    started = time.perf_counter()
    # Started anew, not forked: each process works everything out from nothing.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        work = list(_chunks(sessions))
        chunks = list(pool.map(count_chunk, work, [minutes] * len(work)))
    took_s = time.perf_counter() - started
    return {
        "sessions": sum(chunk.sessions for chunk in chunks),
        "prompts": sum(chunk.prompts for chunk in chunks),
        "minutes": minutes,
        "processes": processes,
        "seconds": round(took_s, 2),
        "sessions_per_s": round(sessions / took_s),
        "digest": digest_of(chunks),
        "policy": default_policy().rule,
        "machine": machine(),
    }


def table(report: dict[str, Any]) -> str:
    """Return the figures as text."""
    ran_on = report["machine"]
    return "\n".join(
        (
            f"{report['sessions']:,} sessions of {report['minutes']} min, {report['prompts']:,} "
            f"prompts, policy {report['policy']}",
            f"{report['seconds']:.1f} s in {report['processes']} processes, "
            f"{report['sessions_per_s']:,} sessions/s",
            f"digest {report['digest']}",
            f"{ran_on['processor']}, {ran_on['cores']} cores, Python {ran_on['python']}",
        )
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=int, default=45)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    bind_to_cores(arguments.processes)
    report = run(arguments.sessions, arguments.minutes, arguments.processes)
    publish(report, table(report), arguments.json)


def _chunks(sessions: int) -> Iterator[range]:
    for first in range(0, sessions, CHUNK):
        yield range(first, min(first + CHUNK, sessions))


if __name__ == "__main__":
    main()
