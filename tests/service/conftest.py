"""What the tests of the command line share: one observer, since opening networks takes time."""

from pathlib import Path

import pytest

from models.installation import open_pack
from models.observer import FaceObserver, open_observer


@pytest.fixture(scope="session")
def observer(models_cache: Path) -> FaceObserver:
    """Open the default pack's networks."""
    return open_observer(open_pack("default", models_cache))
