"""`zhenxue serve` in a process of its own, and what it costs: start-up time and memory."""

import os
import re
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import perf_counter, sleep
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

from verifier.errors import VerifierError

_LISTENS: Final = re.compile(rb"listens on (http://\S+)")
_START_WITHIN_S: Final = 60.0
_END_WITHIN_S: Final = 30.0
_POLL_EVERY_S: Final = 0.002
_KEPT: Final = "ZHENXUE_CACHE_DIR"
# One key does the work of many platforms here.
_REQUESTS_PER_MINUTE: Final = "1000000"


class ServedProcess:
    """The service on one data folder; a context manager that ends it."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self._folder = folder
        # Nothing of whatever installation this shell is set up for, except where its models lie.
        kept = {k: v for k, v in os.environ.items() if k == _KEPT or not k.startswith("ZHENXUE_")}
        self._environment = {
            **kept,
            "ZHENXUE_DATA_DIR": str(folder / "data"),
            "ZHENXUE_IDENTITY_AUTHORITY": "demo",
            "ZHENXUE_REQUESTS_PER_MINUTE": _REQUESTS_PER_MINUTE,
        }
        if database_url is not None:
            self._environment["ZHENXUE_DATABASE_URL"] = database_url
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "ServedProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start it; return the seconds until it first said that it is healthy."""
        started = perf_counter()
        with (self._folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "serve", "--port", "0"],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.url = self._announced(self._process)
        while not self._is_healthy():
            if perf_counter() - started > _START_WITHIN_S:
                raise VerifierError(f"the service was not healthy within {_START_WITHIN_S:g} s")
            sleep(_POLL_EVERY_S)
        return perf_counter() - started

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def command(self, *arguments: str) -> str:
        """Run a `zhenxue` command on the same data; return what it printed."""
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "service.cli", *arguments],
            env=self._environment,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().strip()

    def cpu_s(self) -> float:
        """Return the processor time that the process has used; unlike time, it is not shared."""
        # After the name in parentheses, which may hold anything; see proc_pid_stat(5).
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of the process now and at its highest, in MB.

        Its embedded Redis and the database's server are processes of their own, not counted.
        """
        found = re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", self._proc("status"), re.MULTILINE)
        kilobytes = dict(found)
        return {
            "resident": int(kilobytes["VmRSS"]) * 1024 / 1e6,
            "peak": int(kilobytes["VmHWM"]) * 1024 / 1e6,
        }

    def _proc(self, name: str) -> str:
        if self._process is None:
            raise VerifierError("the service does not run")
        return Path(f"/proc/{self._process.pid}/{name}").read_text(encoding="ascii")

    def _announced(self, process: "subprocess.Popen[bytes]") -> str:
        for line in process.stdout or ():
            if (found := _LISTENS.search(line)) is not None:
                return found.group(1).decode()
        raise VerifierError(f"the service ended with {process.wait()} before it listened")

    def _is_healthy(self) -> bool:
        connection: Any = HTTPConnection(urlsplit(self.url).netloc, timeout=_END_WITHIN_S)
        try:
            connection.request("GET", "/v1/health")
            return bool(connection.getresponse().status == 200)
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
