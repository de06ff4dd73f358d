"""The archive: what goes in comes back, is provable, hidden, and can be forgotten."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.archive import Archive
from pipelines.archive_verification import verify_archive, verify_receipt
from pipelines.keystore import KeyStore, RecordClass
from pipelines.log_writer import LogWriter
from pipelines.stored_evidence import object_path, write_receipt
from tests.pipelines.archive_samples import (
    LEARNER,
    OPENED_AT,
    Folders,
    append_snapshot,
    make_folders,
    picture,
    write_session,
)
from verifier.errors import (
    InputError,
    InvalidRecordError,
    LedgerError,
    UnknownSubjectError,
    VerifierError,
    WrongKeyError,
)
from verifier.transparency.note import NoteSigner
from verifier.transparency.receipt import Receipt

__all__ = ["make_folders"]  # a fixture


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_was_kept_comes_back(folders: Folders) -> None:
    with folders.open() as archive:
        kept = write_session(archive)
        assert [item.index for item in kept] == [0, 1, 2, 3]
        assert archive.checkpoint.size == 4
        stored = archive.read_snapshot(2)
        assert stored.record == {"outcome": "captured", "faces": 1, "n": 1}
        assert stored.image == picture(1).canonical_bytes
        assert stored.pixels_sha256 == picture(1).pixels_sha256
        assert stored.leaf == kept[2].leaf
        assert stored.leaf.time == OPENED_AT + timedelta(minutes=1)
        assert archive.read_snapshot(3).record == {"learner": LEARNER, "class": "c1"}
        assert archive.read_snapshot(0).leaf.facts == {"schedule": "00" * 32}
    assert verify_archive(folders.archive, keystore=folders.keystore()).problems == []


def test_nothing_private_lies_in_the_archive(folders: Folders) -> None:
    with folders.open() as archive:
        write_session(archive)
    stored = every_byte(folders.archive)
    for secret in (LEARNER.encode(), b"captured", picture(0).canonical_bytes[:64], b"JFIF"):
        assert secret not in stored
    for digest in (picture(0).pixels_sha256, picture(1).source_sha256):
        assert digest not in stored
        assert digest.hex().encode() not in stored


def test_pending_is_not_published(folders: Folders) -> None:
    with folders.open() as archive:
        kept = append_snapshot(archive, 0)
        with pytest.raises(LedgerError, match="not under the checkpoint"):
            archive.receipt(kept.index)
    with folders.open() as archive:
        assert archive.publish().size == 1
        assert archive.read_snapshot(0).leaf == kept.leaf


def test_a_receipt_proves_and_discloses_one_record(folders: Folders) -> None:
    with folders.open() as archive:
        kept = write_session(archive)
        receipt = archive.receipt(1)
        other = Receipt.parse(archive.receipt(2))
        verifier = archive.verifier
    stored = object_path(folders.archive, kept[1].leaf.object_sha256 or "").read_bytes()
    verified = verify_receipt(receipt, verifier, stored)
    assert verified.leaf == kept[1].leaf
    assert verified.receipt.opening is not None
    assert verified.receipt.opening.record == {"outcome": "captured", "faces": 1, "n": 0}
    assert other.opening is not None
    assert other.opening.blinding != verified.receipt.opening.blinding


def test_every_changed_byte_of_a_receipt_is_found(folders: Folders) -> None:
    with folders.open() as archive:
        write_session(archive)
        receipt = archive.receipt(1)
        verifier = archive.verifier
    for at in range(len(receipt)):
        changed = receipt[:at] + bytes([receipt[at] ^ 1]) + receipt[at + 1 :]
        with pytest.raises(VerifierError):
            verify_receipt(changed, verifier)


def test_another_log_or_another_object_is_refused(folders: Folders) -> None:
    with folders.open() as archive:
        kept = write_session(archive)
        receipt, verifier = archive.receipt(1), archive.verifier
    other = object_path(folders.archive, kept[2].leaf.object_sha256 or "").read_bytes()
    with pytest.raises(LedgerError, match="not the one"):
        verify_receipt(receipt, verifier, other)
    with pytest.raises(LedgerError, match="no signature"):
        verify_receipt(receipt, NoteSigner.generate(verifier.name).verifier)


def test_after_the_key_is_destroyed_it_is_provable_and_unreadable(folders: Folders) -> None:
    with folders.open() as archive:
        write_session(archive)
        folders.keystore().destroy(LEARNER, RecordClass.FACE_EVIDENCE)
        with pytest.raises(UnknownSubjectError):
            archive.read_snapshot(1)
        forgotten = verify_receipt(archive.receipt(1), archive.verifier)
        assert forgotten.receipt.opening is None
        assert archive.read_snapshot(3).record["class"] == "c1"  # the money facts stay
        append_snapshot(archive, 2)  # consents anew: a new key, and nothing old opens
        archive.publish()
        assert archive.read_snapshot(4).record["n"] == 2
    report = verify_archive(folders.archive, keystore=folders.keystore())
    assert (report.problems, report.forgotten, report.opened) == ([], 2, 2)


def test_references_of_a_learner_differ_by_class_and_hide_the_id(folders: Folders) -> None:
    with folders.open() as archive:
        kept = write_session(archive)
    opened, first, second, closed = (item.leaf.learner for item in kept)
    assert first == second
    assert opened == closed
    assert first != opened


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": -1},
        {"assurance": "trusted"},
        {"record": {"score": float("nan")}},
        {"record": {"when": OPENED_AT}},
        {"session_id": "s" * 70_000},
        {"pixels_sha256": b"short"},
        {"at": OPENED_AT.replace(tzinfo=None)},
    ],
)
def test_bad_fields_leave_nothing_behind(folders: Folders, change: dict[str, Any]) -> None:
    image = picture(0)
    fields = {
        "record": {},
        "image": image.canonical_bytes,
        "pixels_sha256": image.pixels_sha256,
        "learner_id": LEARNER,
        "session_id": "s1",
        "sequence": 0,
        "assurance": "frame",
        "at": OPENED_AT,
        "contract": "model@1",
    }
    with folders.open() as archive:
        archive.evidence.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)
        before = every_byte(folders.archive)
        with pytest.raises(InvalidRecordError):
            archive.evidence.prepare_snapshot(**{**fields, **change})
        assert every_byte(folders.archive) == before
        prepared = archive.evidence.prepare_snapshot(**fields)  # type: ignore[arg-type]
        assert archive.append(prepared).index == 0


def test_a_private_record_needs_a_learner(folders: Folders) -> None:
    with folders.open() as archive, pytest.raises(InputError, match="learner"):
        archive.evidence.prepare_record("enrolment", at=OPENED_AT, facts={}, private={"a": 1})


def test_a_disk_that_refuses_an_object_leaves_nothing_half_written(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with folders.open() as archive:
        append_snapshot(archive, 0)  # the learner's key exists from here on
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(LedgerError, match="object"):
                append_snapshot(archive, 1)
        assert append_snapshot(archive, 1).index == 1
        archive.publish()
    report = verify_archive(folders.archive, keystore=folders.keystore())
    assert (report.problems, report.objects) == ([], 2)


@pytest.mark.parametrize("leaf_written", [False, True])
def test_a_crash_between_object_and_leaf_is_cleaned_up(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, leaf_written: bool
) -> None:
    """Where the leaf was written the object stays, and only its second name goes."""
    archive = folders.open()
    append_snapshot(archive, 0)
    real = LogWriter.append

    def crash(self: LogWriter, entry: bytes) -> int:
        if leaf_written:
            real(self, entry)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LogWriter, "append", crash)
        with pytest.raises(KeyboardInterrupt):
            append_snapshot(archive, 1)
    archive.close()
    left = verify_archive(folders.archive)
    assert any("interrupted write" in problem for problem in left.problems)
    with folders.open() as again:
        again.publish()
    report = verify_archive(folders.archive, keystore=folders.keystore())
    assert (report.problems, report.objects) == ([], 1 + leaf_written)


def test_keys_inside_the_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="inside"):
        Archive.open_with_secrets(
            tmp_path / "a", tmp_path / "a" / "secrets", authority="x", origin="log.example/x"
        )


def test_a_wrong_key_is_told_from_a_changed_object(folders: Folders) -> None:
    """Two learners' key files exchanged: refused before anything is decrypted."""
    with folders.open() as archive:
        write_session(archive)
        append_snapshot(archive, 5, learner="another")
        archive.publish()
        store = folders.keystore()
        ids = [store.key_for(name, RecordClass.FACE_EVIDENCE)[0] for name in (LEARNER, "another")]
        paths = [folders.secrets / "keys" / i[:2] / f"{i}.key" for i in ids]
        paths[0].write_bytes(paths[1].read_bytes())
        with pytest.raises(WrongKeyError):
            archive.read_snapshot(1)


def test_a_receipt_needs_no_lock_and_without_keys_discloses_nothing(folders: Folders) -> None:
    with folders.open() as archive:
        write_session(archive)
        receipt = write_receipt(folders.archive, 1, keystore=None)
        assert verify_receipt(receipt, archive.verifier).receipt.opening is None
        with pytest.raises(LedgerError):
            write_receipt(
                folders.archive,
                1,
                keystore=None,
                verifier=NoteSigner.generate("log.example/x").verifier,
            )


def test_another_key_store_opens_nothing(folders: Folders, tmp_path: Path) -> None:
    with folders.open() as archive:
        write_session(archive)
    other = KeyStore.open(tmp_path / "other")
    report = verify_archive(folders.archive, keystore=other)
    assert (report.opened, report.forgotten) == (0, 3)
