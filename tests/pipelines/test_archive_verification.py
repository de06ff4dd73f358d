"""Every byte of an archive is accounted for."""

import builtins
import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.archive_id import ARCHIVE_ID_FILE, format_archive_id
from pipelines.archive_verification import verify_archive
from pipelines.evidence_store import PreparedEntry
from pipelines.keystore import RecordClass
from pipelines.sealed_object import SealedObject, seal_object
from pipelines.sealing import SealContext, learner_reference
from pipelines.stored_evidence import object_path
from tests.pipelines.archive_samples import (
    LEARNER,
    OPENED_AT,
    Folders,
    append_note,
    append_snapshot,
    make_folders,
    picture,
    write_session,
)
from verifier.errors import InputError
from verifier.transparency.commitment import Opening, commit
from verifier.transparency.leaf import Leaf
from verifier.transparency.note import NoteSigner

__all__ = ["make_folders"]  # a fixture


@pytest.fixture(name="archive")
def filled_archive(folders: Folders) -> Path:
    """Two publishings, so that there are partial tiles of two widths, and pending entries."""
    with folders.open() as archive:
        write_session(archive)
        append_snapshot(archive, 2)
        archive.publish()
        append_snapshot(archive, 3)
        append_note(archive)
    return folders.archive


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def places(size: int) -> Iterator[int]:
    """Every byte of a small file; of a large one both ends and every 41st byte between."""
    near = 40
    yield from (at for at in range(size) if at < near or at >= size - near or at % 41 == 0)


def test_an_intact_archive_is_ok(archive: Path, folders: Folders) -> None:
    report = verify_archive(archive, keystore=folders.keystore())
    assert report.ok
    assert (report.entries, report.pending, report.objects, report.opened) == (5, 2, 5, 5)
    assert report.key_from_archive


def test_an_id_is_explained_and_a_damaged_one_is_not(archive: Path, folders: Folders) -> None:
    (archive / ARCHIVE_ID_FILE).write_bytes(format_archive_id("ab" * 16))
    assert verify_archive(archive, keystore=folders.keystore()).ok
    with folders.open():
        pass  # whoever opens it leaves the id alone
    assert (archive / ARCHIVE_ID_FILE).exists()
    (archive / ARCHIVE_ID_FILE).write_text("ab" * 16)
    (problem,) = verify_archive(archive).problems
    assert problem.startswith(f"{ARCHIVE_ID_FILE}: ")


@pytest.mark.parametrize("key_given", [True, False])
def test_a_flipped_byte_in_any_file_is_found(
    archive: Path, folders: Folders, key_given: bool
) -> None:
    verifier = None
    if key_given:
        with folders.open() as opened:
            verifier = opened.verifier
    tried = 0
    for path in files_below(archive):
        data = path.read_bytes()
        for at in places(len(data)):
            # Low bits, the bit between upper and lower case, and the top bit take turns.
            mask = (0x01, 0x20, 0x80, 0x10)[(at + key_given) % 4]
            path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            problems = verify_archive(archive, verifier=verifier).problems
            assert problems, f"byte {at} of {path.relative_to(archive)} changed unseen"
            tried += 1
        path.write_bytes(data)
    assert tried > 1_000
    assert verify_archive(archive, verifier=verifier).ok


def test_a_byte_more_or_less_in_any_file_is_found(archive: Path) -> None:
    for path in files_below(archive):
        data = path.read_bytes()
        for changed in (data + b"\x00", data + b"\n", data[:-1]):
            if changed != data:
                path.write_bytes(changed)
                assert verify_archive(archive).problems, path
        path.write_bytes(data)


def test_a_missing_file_is_found(archive: Path) -> None:
    for path in files_below(archive):
        relative = path.relative_to(archive).as_posix()
        if relative == "log/lock" or ".p/4" in relative:
            continue  # an empty lock says nothing; an older partial tile may be removed
        path.rename(archive.parent / "aside")
        assert verify_archive(archive).problems, relative
        (archive.parent / "aside").rename(path)


@pytest.mark.parametrize(
    "path",
    [
        "stray",
        "objects/stray",
        "objects/00/" + "0" * 64,
        "log/tile/0/000.p/200",
        "log/tile/0/001",
        "log/tile/7/000",
        "log/tile/0/0",
        "log/drafts/x.tmp",
        "incoming/" + "0" * 64,
    ],
)
def test_a_file_that_nothing_explains_is_found(archive: Path, path: str) -> None:
    (archive / path).parent.mkdir(parents=True, exist_ok=True)
    (archive / path).write_bytes(b"x")
    assert any(path in problem for problem in verify_archive(archive).problems)


def test_a_link_is_not_followed(archive: Path, tmp_path: Path) -> None:
    path = next((archive / "objects").rglob("*/*"))
    moved = tmp_path / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    assert any("ordinary" in problem for problem in verify_archive(archive).problems)


NAMED_PLACES = (
    "log",
    "log/pending",
    "log/log.vkey",
    "log/checkpoint",
    "log/lock",
    "log/tile",
    "log/tile/0/000.p/4",
    "log/tile/0/000.p/5",
    "log/tile/entries/000.p/5",
    "objects",
    "objects/ab",
    "incoming",
    "incoming/" + "0" * 64,
    "stray",
)


def put(kind: str, path: Path, aside: Path) -> None:
    """Put something that is no ordinary file at ``path``; what was there lies ``aside``."""
    if path.exists():
        path.rename(aside)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            os.chdir(path.parent)  # a socket's name may have 107 bytes
            bound.bind(path.name)
    else:
        path.symlink_to(aside)


@pytest.mark.parametrize("path", [*NAMED_PLACES, "an object"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "link to nothing", "socket"])
def test_what_is_no_ordinary_file_is_reported_and_never_opened(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    """A pipe would be waited for; whatever a link leads to is not part of the archive."""
    monkeypatch.chdir(tmp_path)  # and back at the end
    if path == "an object":
        path = files_below(archive / "objects")[0].relative_to(archive).as_posix()
    put(kind, archive / path, tmp_path / "aside")
    if kind == "link to nothing" and (tmp_path / "aside").exists():
        (tmp_path / "aside").rename(tmp_path / "elsewhere")
    if path in {"log", "objects"} and not (archive / path).is_dir():
        with pytest.raises(InputError, match="no archive"):
            verify_archive(archive)
        return
    opened: list[Path] = []
    with monkeypatch.context() as patch:
        before_opening(patch, opened.append)
        report = verify_archive(archive)
    assert json.dumps(report.problems).isascii()
    if kind == "folder" and path in {"log", "objects", "objects/ab", "log/tile", "incoming"}:
        return  # folders are what belongs there; what is missing in them is another test's
    assert any(problem.startswith(f"{path}: neither") for problem in report.problems)
    assert not any(one.is_relative_to(archive / path) for one in opened)


def before_opening(patch: pytest.MonkeyPatch, look: Callable[[Path], None]) -> None:
    """Show ``look`` the path of every file that is opened, and every folder that is listed."""

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int):
                look(Path(os.fsdecode(path)))
            return real(path, *arguments, **options)

        return call

    for module, name in ((builtins, "open"), (os, "open"), (os, "scandir")):
        patch.setattr(module, name, watched(getattr(module, name)))


def test_what_may_not_be_read_is_reported(
    archive: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in [*files_below(archive), *(p for p in archive.rglob("*") if p.is_dir())]:
        relative = path.relative_to(archive).as_posix()
        if relative == "log/lock":
            continue  # only its size is looked at
        with monkeypatch.context() as patch:
            refuse_to_read(patch, path)
            report = verify_archive(archive, keystore=folders.keystore())
        assert any("Permission denied" in problem for problem in report.problems), relative


def refuse_to_read(patch: pytest.MonkeyPatch, refused: Path) -> None:
    """As for a file of mode 0000, for the superuser too."""

    def deny(path: Path) -> None:
        if path == refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    before_opening(patch, deny)


@pytest.mark.parametrize("name", [b"\xff", b"a\nproblem: b", b"\x1b[2J"])
def test_a_name_that_cannot_be_printed_is_escaped(archive: Path, name: bytes) -> None:
    (archive / os.fsdecode(name)).write_bytes(b"")
    (problem,) = verify_archive(archive).problems
    assert problem.endswith("nothing refers to it")
    assert problem.isprintable()


def test_an_older_partial_tile_may_be_removed(archive: Path) -> None:
    (archive / "log" / "tile" / "0" / "000.p" / "4").unlink()
    assert verify_archive(archive).ok


def test_another_key_is_found_at_once(archive: Path) -> None:
    other = NoteSigner.generate("log.example/chongqing").verifier
    report = verify_archive(archive, verifier=other)
    assert any("not the key" in problem for problem in report.problems)
    assert not report.key_from_archive


def test_a_forged_history_with_its_own_key_agrees_only_with_itself(
    archive: Path, folders: Folders
) -> None:
    """Why the verifier's own copy of the key matters."""
    with folders.open() as opened:
        genuine = opened.verifier
    shutil.rmtree(folders.archive)
    (folders.secrets / "signing.key").unlink()
    with folders.open() as forged:
        write_session(forged)
    assert verify_archive(archive).ok
    assert not verify_archive(archive, verifier=genuine).ok


def test_objects_exchanged_between_leaves_are_found(archive: Path) -> None:
    first, second = files_below(archive / "objects")[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert len(verify_archive(archive).problems) == 2


def test_pixels_other_than_committed_are_found_with_the_keys(folders: Folders) -> None:
    """The operator commits to one picture's pixels and stores another picture."""
    with folders.open() as archive:
        image, other = picture(0), picture(1)
        archive.evidence.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)
        prepared = archive.evidence.prepare_snapshot(
            record={},
            image=image.canonical_bytes,
            pixels_sha256=other.pixels_sha256,
            learner_id=LEARNER,
            session_id="s1",
            sequence=0,
            assurance="frame",
            at=OPENED_AT,
            contract="model@1",
        )
        archive.append(prepared)
        archive.publish()
    assert verify_archive(folders.archive).ok
    report = verify_archive(folders.archive, keystore=folders.keystore())
    assert any("other pixels" in problem for problem in report.problems)


def write_past(
    folders: Folders, stored: SealedObject, opening: Opening, *, learner: str
) -> PreparedEntry:
    """Put an object in place, and return a leaf that commits to ``opening``."""
    data = stored.serialize()
    digest = hashlib.sha256(data).hexdigest()
    target = object_path(folders.archive, digest)
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    leaf = Leaf(
        kind="snapshot",
        time=OPENED_AT,
        learner=learner,
        commitment=commit(opening),
        object_sha256=digest,
    )
    return PreparedEntry(leaf=leaf, entry=leaf.serialize())


def test_a_commitment_to_something_else_is_found_with_the_keys(folders: Folders) -> None:
    """A leaf written past the archive, whose commitment its object does not open."""
    key_id, key = folders.keystore().key_for(LEARNER, RecordClass.FACE_EVIDENCE)
    context = SealContext(
        authority="chongqing",
        learner=learner_reference(key, LEARNER),
        record_class="face-evidence",
        purpose="attendance",
        contract="model@1",
        key_id=key_id,
    )
    sealed, opening = seal_object(
        key=key,
        context=context,
        record={"outcome": "captured"},
        blinding=bytes(32),
        image=None,
        pixels_sha256=None,
    )
    wrong, _ = seal_object(
        key=key,
        context=context,
        record={"outcome": "no_face"},
        blinding=bytes(32),
        image=None,
        pixels_sha256=None,
    )
    with folders.open() as archive:
        for stored in (sealed, wrong):
            archive.append(write_past(folders, stored, opening, learner=context.learner))
        archive.publish()
    report = verify_archive(folders.archive, keystore=folders.keystore())
    assert report.problems == ["entry 1: the opening does not belong to the commitment"]


def test_the_empty_archive_is_ok(folders: Folders) -> None:
    folders.open().close()
    assert verify_archive(folders.archive).ok


def test_what_is_no_archive_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no archive"):
        verify_archive(tmp_path)


def test_an_archive_that_lost_its_object_folder_is_not_ok(archive: Path) -> None:
    shutil.rmtree(archive / "objects")
    (archive / "objects").mkdir()
    report = verify_archive(archive)
    assert sum("missing" in problem for problem in report.problems) == 5
    assert object_path(archive, "ab" * 32).parent.name == "ab"
