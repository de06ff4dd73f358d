"""A service in a process of its own, which a test may kill and start again."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

_LISTENS = re.compile(rb"listens on (http://\S+)")


class RunningService:
    """`zhenxue serve` on one data folder; real clock, real models, real sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--port", "0"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if (found := _LISTENS.search(line)) is not None:
                self.url = found.group(1).decode()
                return
        raise AssertionError(f"the service ended with {self._process.wait()} before it listened")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def stop(self, asked: signal.Signals) -> int:
        """Ask it to stop; return its exit code."""
        assert self._process is not None
        self._process.send_signal(asked)
        return self._process.wait(timeout=30)

    def kill_and_start(self) -> None:
        """Kill it, and start it again on the same folder."""
        self.kill()
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """What `zhenxue` needs to know of this service."""
        return {
            **os.environ,
            "ZHENXUE_DATA_DIR": str(self.folder),
            "ZHENXUE_IDENTITY_AUTHORITY": "demo",
        }

    def command(self, *arguments: str) -> str:
        """Run a `zhenxue` command beside it; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments],
            env=self.environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()  # or nobody learns why
        return done.stdout.decode().strip()

    def call(self, method: str, path: str, key: str, body: Any = None) -> httpx.Response:
        """Send one request over a connection of its own."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            sent = {} if body is None else {"json": body}
            return client.request(method, path, headers=headers, **sent)
