"""A pack of several files by address: pulled, converted, self-tested, opened and used."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.installation import install
from models.packs import Parts, load_packs
from models.sessions import open_session
from models.url_download import UrlDownloader
from tests.models.file_server import serving
from verifier.errors import ModelUnavailableError


@pytest.mark.shared_data
def test_yunet_of_the_zoo_is_pulled_and_runs(shared_data: Path, tmp_path: Path) -> None:
    """Only the detector: the zoo's other file is not among those kept for tests."""
    zoo = load_packs()["opencv-zoo"]
    source = zoo.files["detector"].found_in[0].source
    detector_only = replace(
        zoo,
        name="yunet",
        parts=Parts(),
        contract=None,
        sources={source: zoo.sources[source]},
        files={"detector": zoo.files["detector"]},
    )
    name = zoo.sources[source].artefact
    data = (shared_data / "models" / name).read_bytes()
    with serving(files={f"/zoo/{name}": data}, cuts=[100_000]) as server:
        fetcher = UrlDownloader(mirror=f"{server.url}/zoo/")
        pack = install(detector_only, tmp_path, url_fetcher=fetcher)
        assert server.ranges_asked() == [None, "bytes=100000-"]
        install(detector_only, tmp_path)  # from nowhere: it is there
    assert open_session(pack, "detector")


def test_a_mirror_that_lies_installs_nothing(tmp_path: Path) -> None:
    pack = load_packs()["minifasnet"]
    sources = list(pack.sources.values())
    lies = {f"/{s.artefact}": np.random.default_rng(0).bytes(1_849_453) for s in sources}
    with (
        serving(files=lies) as server,
        pytest.raises(ModelUnavailableError, match=r"near: .*sha256 .* nothing was kept"),
    ):
        install(pack, tmp_path, url_fetcher=UrlDownloader(mirror=server.url))
    assert list((tmp_path / "downloads").iterdir()) == []
    assert not (tmp_path / "packs" / f"minifasnet-{pack.digest[:12]}").exists()


@pytest.mark.shared_data
def test_a_killed_pull_goes_on_where_it_was(shared_data: Path, tmp_path: Path) -> None:
    files = {f"/{p.name}": p.read_bytes() for p in (shared_data / "models").glob("*.pth")}
    stall = threading.Event()
    with serving(files=files, cuts=[1_000_000], stall=stall) as server:
        command = [sys.executable, "-m", "service.cli", "models", "pull", "minifasnet"]
        environment = {
            **os.environ,
            "ZHENXUE_CACHE_DIR": str(tmp_path),
            "ZHENXUE_MODELS_MIRROR": server.url,
            "no_proxy": "127.0.0.1",
        }
        partial = tmp_path / "downloads" / ".2.7_80x80_MiniFASNetV2.pth.partial"
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as pull:
            while not partial.is_file() or partial.stat().st_size < 1_000_000:
                assert pull.poll() is None
                time.sleep(0.02)
            pull.kill()
        stall.set()
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stdout[:23]) == (0, b"minifasnet: installed a")
        assert server.ranges_asked() == [None, "bytes=1000000-", None]
