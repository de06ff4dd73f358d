"""A Redis server of our own: a child process behind a Unix socket, with nothing on the disk."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import redis

from service.live.live_state import LiveStateUnavailableError
from service.live.redis_engine import connect

START_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 5.0
# A socket's path has room for 108 bytes on Linux and 104 on macOS, the closing zero included.
MAX_SOCKET_PATH_BYTES = 103

# The shell stays between us and the server and waits for two things: the server's end, and the end
# of the pipe that we hold the other side of, which comes however we die. The kernel's
# PR_SET_PDEATHSIG would do neither on macOS, nor where the *thread* that started the child ends
# first, as threads of a web server do.
_SUPERVISOR = """
folder=$1; shift
exec 3<&0 0</dev/null
"$@" 3<&- & server=$!
{ read -r _ <&3; kill "$server"; } & watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher"
rm -rf "$folder"
exit "$status"
"""


class RedisProcess:
    """A running redis-server; a context manager that stops it.

    It listens on a socket in a private folder (mode 0700) and nowhere else, saves nothing, takes
    at most 64 MiB and ends with this process. It is not started again when it dies.

    Parameters
    ----------
    binary
        The program.
    folder
        Where the socket lies if the system's temporary folder has too long a name for one.

    Raises
    ------
    LiveStateUnavailableError
        If it does not answer within five seconds.
    OSError
        If no folder or process can be made.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self._folder = _private_folder(folder)
        self._socket = self._folder / "redis.sock"
        try:
            self._process = _start(binary, self._folder, self._socket)
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.client: redis.Redis = connect(f"unix://{quote(str(self._socket))}")
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server and remove its folder; a second call does nothing."""
        self.client.close()
        if self._process.stdin is not None:
            self._process.stdin.close()  # the supervisor takes it from here
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # The supervisor leads a process group of its own: nobody else is in it.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            status = self._process.poll()
            if status is not None:
                raise LiveStateUnavailableError(f"it ended at once with status {status}")
            try:
                self.client.ping()
            except (redis.RedisError, OSError) as error:
                if time.monotonic() > deadline:
                    raise LiveStateUnavailableError(
                        f"no answer within {START_TIMEOUT_S:g} s: {type(error).__name__}"
                    ) from error
                time.sleep(0.01)
            else:
                return


def _private_folder(folder: Path) -> Path:
    """Make a folder that only we may enter, with a name short enough for a socket in it."""
    for parent in (Path(tempfile.gettempdir()), folder):
        room = MAX_SOCKET_PATH_BYTES - len("/zhenxue-12345678/redis.sock")
        if len(os.fsencode(parent.resolve())) <= room:
            return Path(tempfile.mkdtemp(prefix="zhenxue-", dir=parent.resolve()))
    raise OSError(f"no folder whose name leaves room for a socket ({MAX_SOCKET_PATH_BYTES} bytes)")


def _start(binary: Path, folder: Path, socket: Path) -> subprocess.Popen[bytes]:
    """Start the supervisor, and with it the server."""
    # volatile-ttl: under a flood of new keys those go that had the least time left anyway. Every
    # key here has an end, so room can always be made; refusing writes instead (Redis' default)
    # would let one flood shut everybody out.
    options = (
        "--port 0 --unixsocketperm 700 --daemonize no --databases 1 --appendonly no"
        " --maxmemory 64mb --maxmemory-policy volatile-ttl"
    )
    arguments = ["--unixsocket", str(socket), "--dir", str(folder), "--save", "", *options.split()]
    command = ["/bin/sh", "-c", _SUPERVISOR, "sh", str(folder), str(binary), *arguments]
    return subprocess.Popen(  # noqa: S603 - fixed script; the paths are arguments, never code
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in our terminal is for us; we then stop the server
    )
