"""The README's walk through the service with curl, as a newcomer pastes it into a terminal."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.simulate.webcam import Webcam
from service.demo_run import write_pictures
from tests.integration.running_service import RunningService

ROOT = Path(__file__).resolve().parent.parent.parent
_BLOCK = re.compile(r"<!-- walk-through[^>]*-->\n```bash\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_two_terminals_and_curl_reproduce_a_session(
    readme: str, tmp_path: Path, models_cache: Path, demo_faces: dict[str, Path]
) -> None:
    assert models_cache.is_dir()
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    write_pictures(tmp_path / "demo-out" / "pictures", demo_faces, Webcam(np.random.default_rng(1)))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with RunningService(tmp_path / "zhenxue-data") as service:
        replies = _walk(readme, service, tmp_path)
    by_key = {key: reply for reply in replies for key in reply}
    assert by_key["anchor"]["anchor"] == "authority"
    answers = [reply["answer"] for reply in replies if "answer" in reply and "prompt" in reply]
    assert answers == ["pass", "pass"]
    closed = next(reply for reply in replies if reply.get("phase") == "closed")
    assert closed["credited_s"] + closed["pending_s"] >= 5
    claim, gate = replies[-2:]
    assert claim["claimed_s"] == 48 * 60
    assert gate["outcome"] in {"not_yet", "refer"}
    assert (tmp_path / "receipt.tlog-proof").read_text().startswith("c2sp.org/tlog-proof@v1")


def _walk(readme: str, service: RunningService, folder: Path) -> list[dict[str, Any]]:
    """Run the block against the running service; return the JSON that it printed."""
    found = _BLOCK.search((ROOT / readme).read_text(encoding="utf-8"))
    assert found is not None, f"{readme} has no walk-through"
    script = found.group(1).replace("http://127.0.0.1:8460", service.url)
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=service.environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
