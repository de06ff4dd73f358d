"""What a benchmark ran on: no figure means anything without it."""

import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

_FSYNCS: Final = 50
_BLOCK: Final = bytes(4096)


def machine() -> dict[str, Any]:
    """Return the processor, the cores this process may use, and Python's version."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), model)
    return {"processor": model, "cores": usable_cores(), "python": platform.python_version()}


def usable_cores() -> int:
    """Return how many cores this process may use; fewer than there are where it was bound."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bind_to_cores(count: int) -> None:
    """Keep this process, and whatever it starts from now on, to its first ``count`` cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def fsync_ms(folder: Path) -> float:
    """Return the median time, in ms, of bringing another 4 KiB of a file in ``folder`` to disk."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_FSYNCS):
            started = time.perf_counter()
            file.write(_BLOCK)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return 1e3 * median(times)
