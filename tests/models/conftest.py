"""What the tests of the converters share: the weights files they convert."""

from pathlib import Path

import pytest

from models.artefacts import ArtefactStore
from models.digests import digest_of
from models.manifest import write_durably
from models.packs import load_packs
from models.pip_download import PipDownloader, Silent
from verifier.errors import ModelUnavailableError


@pytest.fixture(scope="session")
def weights(models_cache: Path) -> Path:
    """Folder with the default pack's unconverted weights, one file a role.

    Beside them ``short`` and ``full``, the other forms of the detector. Installing deletes all of
    them, so the tests keep their own in the cache; fetched the first time.
    """
    packs, folder = load_packs(), models_cache / "reference-weights"
    wanted = {role: ("default", role) for role in packs["default"].files}
    wanted |= {form: (f"blazeface-{form}", "detector") for form in ("short", "full")}
    folder.mkdir(exist_ok=True)
    store = ArtefactStore(folder, PipDownloader(), Silent())
    try:
        for name, (pack, role) in wanted.items():
            path = folder / name
            sha256 = packs[pack].files[role].sha256
            if not path.is_file() or digest_of(path.read_bytes()) != sha256:
                write_durably(path, store.weights(packs[pack], role))
    except ModelUnavailableError as error:
        pytest.skip(f"the reference weights cannot be fetched here: {error}")
    store.forget(packs["default"])
    return folder
