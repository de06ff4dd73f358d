"""What a newcomer pays for `make demo`: bytes received, wall time, peak memory.

``python -m benchmarks.install_cost`` clones the repository's HEAD into an empty folder with empty
caches and runs `make demo` there. Bytes are what the network interfaces other than loopback
received meanwhile, so nothing else should be downloading.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def measure() -> dict[str, Any]:
    """Run `make demo` twice in a fresh clone: the first time, and again with all in place."""
    with tempfile.TemporaryDirectory(prefix="zhenxue-install-") as folder:
        clone = Path(folder) / "zhenxue"
        _run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], cwd=REPOSITORY, env={})
        caches = {
            "XDG_CACHE_HOME": f"{folder}/cache",
            "PIP_CACHE_DIR": f"{folder}/pip",
            "PIP_NO_CACHE_DIR": "1",
        }
        first = _make_demo(clone, caches)
        second = _make_demo(clone, caches)
        disk = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "first": first,
        "second": second,
        "disk_mb": round(disk / 1e6, 1),
        "peak_rss_mb": round(peak_kb / 1e3, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    figures = measure()
    for run in ("first", "second"):
        print(f"{run:>6} run: {figures[run]['received_mb']:8.1f} MB received,", end=" ")
        print(f"{figures[run]['wall_s']:6.1f} s")
    print(f"on disk: {figures['disk_mb']:.0f} MB; largest process: {figures['peak_rss_mb']:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _make_demo(clone: Path, env: dict[str, str]) -> dict[str, float]:
    received, started = _received_bytes(), time.perf_counter()
    _run(["make", "demo"], cwd=clone, env=env)
    return {
        "wall_s": round(time.perf_counter() - started, 1),
        "received_mb": round((_received_bytes() - received) / 1e6, 1),
    }


def _run(command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603  # fixed commands
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _received_bytes() -> int:
    """Return what all interfaces but loopback have received since the machine started."""
    lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]
    counters = (line.split(":", 1) for line in lines)
    return sum(int(rest.split()[0]) for name, rest in counters if name.strip() != "lo")


if __name__ == "__main__":
    main()
