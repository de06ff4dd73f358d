"""What the tests of the pipelines share: one observer, since opening the networks takes time."""

from pathlib import Path

import pytest

from models.installation import open_pack
from models.observer import FaceObserver, open_observer
from pipelines.check import FrameChecker


@pytest.fixture(scope="session")
def observer(models_cache: Path) -> FaceObserver:
    """Open the default pack's networks."""
    return open_observer(open_pack("default", models_cache))


@pytest.fixture(scope="session")
def checker(observer: FaceObserver) -> FrameChecker:
    """Judge with the real networks."""
    return FrameChecker(observer=observer)
