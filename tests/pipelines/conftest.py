"""What the tests of the pipelines share."""

import pytest

from models.observer import FaceObserver
from pipelines.check import FrameChecker


@pytest.fixture(scope="session")
def checker(observer: FaceObserver) -> FrameChecker:
    """Judge with the real networks."""
    return FrameChecker(observer=observer)
