"""All benchmarks, one after another, each in a process of its own: ``python -m benchmarks``.

Writes one JSON file each and the machine they ran on into ``--out``. Accuracy needs photographs
of several people, which are not part of the project: ``--faces`` names a folder person/photograph.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import machine

ON_FACES = ("lfw_pairs", "degraded_pairs", "quality_reasons", "detectors", "duplicate_misses")
RESEARCH_FACES = Path(__file__).resolve().parent.parent.parent / "shared/data/faces/lfw5"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--faces", type=Path, default=RESEARCH_FACES)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ran_on = machine()
    (options.out / "machine.json").write_text(json.dumps(ran_on, indent=1) + "\n")
    print(f"{ran_on['processor']}, {ran_on['cores']} cores; Python {ran_on['python']}\n")
    _run("frame_speed", options.out)
    _run("throughput", options.out)
    _run("gallery_search", options.out)
    _run("hostile_images", options.out, "--count", "20000")
    if options.faces.is_dir():
        for name in ON_FACES:
            _run(name, options.out, "--folder", str(options.faces))
    else:
        print(f"accuracy: not measured, {options.faces} is not a folder\n")
    _run("decisions", options.out)
    _run("interval_coverage", options.out)
    _run("schedules", options.out)
    _run("verify_call", options.out)
    _run("event_streams", options.out)
    _run("install_cost", options.out)


def _run(name: str, out: Path, *arguments: str) -> None:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    subprocess.run(  # noqa: S603  # our own modules
        [*command, "--json", str(out / f"{name}.json")], check=True
    )
    print(flush=True)


if __name__ == "__main__":
    main()
