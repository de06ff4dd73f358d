"""The arrows of the architecture, and what an import may do: nothing."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("verifier", "models", "pipelines", "service", "benchmarks")

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"

WATCHED_IMPORT = """
import importlib, json, os, pkgutil, sys, threading

deeds = []

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            deeds.append(f"opens {os.fsdecode(path)} for writing")
    elif event in {"os.mkdir", "os.rename", "os.remove", "socket.connect", "subprocess.Popen"}:
        deeds.append(f"{event} {arguments!r}")

import logging, signal
import onnxruntime

class NoSession:
    def __init__(self, *_, **__):
        deeds.append("opens a network")

onnxruntime.InferenceSession = NoSession
handlers, level, signals = (
    list(logging.root.handlers), logging.root.level, signal.getsignal(signal.SIGINT)
)
sys.addaudithook(watch)
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
if (list(logging.root.handlers), logging.root.level) != (handlers, level):
    deeds.append("sets up logging")
if signal.getsignal(signal.SIGINT) is not signals:
    deeds.append("takes a signal")
if threading.active_count() > 1:
    deeds.append("starts a thread")
imported = [name for name in sys.modules if name.startswith(sys.argv[1])]
print(json.dumps({"deeds": deeds, "imported": imported}))
"""


QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
"""What ONNX Runtime does by itself has a test of its own."""


def run(
    folder: Path, code: str, *arguments: str, environment: Mapping[str, str] = QUIET
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own; -B, or it would write its byte code."""
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_arrows_point_down_and_the_core_is_pure() -> None:
    done = run(ROOT, LINT_IMPORTS, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_does_nothing(package: str, tmp_path: Path) -> None:
    """No file, folder, connection, process, thread, log set-up or network comes of it."""
    done = run(tmp_path, WATCHED_IMPORT, package)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["deeds"] == []
    assert len(report["imported"]) > 1
    assert list(tmp_path.iterdir()) == []


def test_the_runtime_of_the_networks_reports_to_nobody(tmp_path: Path) -> None:
    """From 1.29 on ONNX Runtime reports use and models to its maker unless told not to before.

    It shows by the device id and the queue of reports that it lays into the home folder.
    """
    done = run(
        tmp_path, "from models.sessions import quiet_runtime; quiet_runtime()", environment={}
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_core_needs_none_of_the_heavy_packages(tmp_path: Path) -> None:
    """Also not by way of something else it imports."""
    code = (
        "import importlib, pkgutil, sys, verifier\n"
        "for m in pkgutil.walk_packages(verifier.__path__, 'verifier.'):\n"
        "    importlib.import_module(m.name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = run(tmp_path, code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "verifier" in loaded
    heavy = {"onnxruntime", "onnx", "pydantic", "typer", "rich", "fastapi", "sqlalchemy", "redis"}
    assert loaded & {*heavy, "models", "pipelines", "service", "benchmarks"} == set()
