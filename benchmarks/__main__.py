"""All benchmarks, one after another, each in a process of its own: ``python -m benchmarks``.

Writes one JSON file each and the machine they ran on into ``--out``. Accuracy needs photographs
of several people, which are not part of the project: ``--faces`` names a folder person/photograph.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

RESEARCH_FACES = Path(__file__).resolve().parent.parent.parent / "shared/data/faces/lfw5"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--faces", type=Path, default=RESEARCH_FACES)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    machine = _machine()
    (options.out / "machine.json").write_text(json.dumps(machine, indent=1) + "\n")
    print(f"{machine['processor']}, {machine['cores']} cores; Python {machine['python']}\n")
    _run("frame_speed", options.out)
    if options.faces.is_dir():
        _run("lfw_pairs", options.out, "--folder", str(options.faces))
        _run("degraded_pairs", options.out, "--folder", str(options.faces))
    else:
        print(f"accuracy: not measured, {options.faces} is not a folder\n")
    _run("decisions", options.out)
    _run("install_cost", options.out)


def _run(name: str, out: Path, *arguments: str) -> None:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    subprocess.run(  # noqa: S603  # our own modules
        [*command, "--json", str(out / f"{name}.json")], check=True
    )
    print(flush=True)


def _machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), model)
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version()}


if __name__ == "__main__":
    main()
