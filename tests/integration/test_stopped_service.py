"""Asked to stop, by a terminal or by whatever runs it, the service leaves everything in order."""

import signal
from pathlib import Path

import pytest

from tests.integration.running_service import RunningService


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_whoever_copies_the_folder_then_has_it_all(
    asked: signal.Signals, tmp_path: Path, models_cache: Path
) -> None:
    assert models_cache.is_dir()
    with RunningService(tmp_path / "data") as service:
        service.command("keys", "platform", "platform-1")
        assert service.stop(asked) == 0
        left = {path.name for path in service.folder.iterdir()}
        assert "zhenxue.db" in left
        assert not left & {"zhenxue.db-wal", "zhenxue.db-shm"}
