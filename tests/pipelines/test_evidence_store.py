"""Sealed evidence: on the disk before its leaf, gone where the leaf did not come about."""

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines import evidence_store as evidence_module
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.keystore import RecordClass
from pipelines.stored_evidence import object_path, read_evidence
from tests.pipelines.archive_samples import (
    AUTHORITY,
    LEARNER,
    OPENED_AT,
    Folders,
    make_folders,
    prepared_snapshot,
)
from verifier.errors import LedgerError, UnknownSubjectError
from verifier.transparency.merkle import leaf_hash

__all__ = ["make_folders"]  # a fixture


@pytest.fixture(name="evidence")
def make_evidence(folders: Folders) -> EvidenceStore:
    return EvidenceStore(folders.archive, authority=AUTHORITY, keystore=folders.keystore())


def digest_of(prepared: PreparedEntry) -> str:
    assert prepared.leaf.object_sha256 is not None
    return prepared.leaf.object_sha256


def test_what_is_prepared_lies_there_under_two_names(
    folders: Folders, evidence: EvidenceStore
) -> None:
    prepared = prepared_snapshot(evidence, 0)
    digest = digest_of(prepared)
    assert folders.objects() == folders.drafts() == [digest]
    stored = object_path(folders.archive, digest)
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == digest
    assert stored.samefile(folders.archive / "incoming" / digest)
    found = read_evidence(folders.archive, prepared.leaf, evidence.keystore)
    assert found.record == {"outcome": "captured", "faces": 1, "n": 0}


def test_an_entry_is_its_leaf_and_is_known_by_its_hash(evidence: EvidenceStore) -> None:
    prepared = prepared_snapshot(evidence, 0)
    assert prepared.entry == prepared.leaf.serialize()
    assert prepared.leaf_hash == leaf_hash(prepared.entry)
    assert prepared.evidence_id == prepared.leaf_hash.hex()
    # The same picture again is other evidence: nothing tells that two entries are alike.
    again = prepared_snapshot(evidence, 0)
    assert len({prepared, again, PreparedEntry(leaf=again.leaf, entry=again.entry)}) == 2


def test_settled_keeps_the_object_and_discarded_removes_it(
    folders: Folders, evidence: EvidenceStore
) -> None:
    kept, lost = prepared_snapshot(evidence, 0), prepared_snapshot(evidence, 1)
    evidence.settle(kept)
    evidence.discard(lost)
    assert (folders.objects(), folders.drafts()) == ([digest_of(kept)], [])


def test_a_record_of_nothing_private_has_no_object(
    folders: Folders, evidence: EvidenceStore
) -> None:
    for learner in (None, LEARNER):
        prepared = evidence.prepare_record("note", at=OPENED_AT, facts={}, learner_id=learner)
        assert (prepared.leaf.object_sha256, prepared.leaf.commitment) == (None, None)
        assert (prepared.leaf.learner is None) == (learner is None)
        evidence.settle(prepared)
        evidence.discard(prepared)
    assert folders.objects() == folders.drafts() == []


@pytest.mark.parametrize("known", [False, True], ids=["never enrolled", "forgotten"])
def test_a_picture_brings_no_key_about(
    folders: Folders, evidence: EvidenceStore, known: bool
) -> None:
    """Judged while the key was being destroyed, it would be kept under a new one."""
    if known:
        evidence.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)
        evidence.keystore.destroy(LEARNER, RecordClass.FACE_EVIDENCE)
    with pytest.raises(UnknownSubjectError):
        evidence.prepare_snapshot(
            record={},
            image=b"picture",
            pixels_sha256=bytes(32),
            learner_id=LEARNER,
            session_id="s1",
            sequence=0,
            assurance="frame",
            at=OPENED_AT,
            contract="model@1",
        )
    with pytest.raises(UnknownSubjectError):
        evidence.keystore.find(LEARNER, RecordClass.FACE_EVIDENCE)
    assert folders.objects() == folders.drafts() == []


def test_the_object_is_flushed_then_its_names_and_only_then_handed_out(
    evidence: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the power goes after the leaf, object and every folder above it are there."""
    evidence.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)
    flushed = watch_flushes(monkeypatch)
    digest = digest_of(prepared_snapshot(evidence, 0))
    folder = evidence.folder / "objects" / digest[:2]
    assert flushed == [evidence.folder / "incoming" / digest, folder.parent, folder]


def watch_flushes(patch: pytest.MonkeyPatch) -> list[Path]:
    flushed: list[Path] = []

    def flush(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    patch.setattr(os, "fsync", flush)
    return flushed


def test_a_folder_that_a_crash_left_is_flushed_once_more(
    folders: Folders, evidence: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name may be in memory only; a process that finds it cannot tell."""
    for prefix in range(256):
        (folders.archive / "objects" / f"{prefix:02x}").mkdir()
    evidence.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)
    flushed = watch_flushes(monkeypatch)
    evidence.settle(prepared_snapshot(evidence, 0))
    assert flushed.count(folders.archive / "objects") == 1


def test_no_thread_goes_on_before_the_folder_is_flushed(
    folders: Folders, evidence: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One makes the folder and is slow to flush it; the other's object is in the same folder."""
    folder, started, let_go = (
        folders.archive / "objects" / "ab",
        threading.Event(),
        threading.Event(),
    )
    order: list[str] = []

    def flush(_: Path) -> None:
        started.set()
        assert let_go.wait(10)
        order.append("flushed")

    def second() -> None:
        evidence._make_lasting(folder)
        order.append("second goes on")

    monkeypatch.setattr(evidence_module, "flush_folder", flush)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(evidence._make_lasting, folder)
        assert started.wait(10)
        after = pool.submit(second)
        let_go.set()
        first.result()
        after.result()
    assert order == ["flushed", "second goes on"]


CALLS = ("open", "write", "fsync", "link", "unlink", "mkdir")


def fail_at(patch: pytest.MonkeyPatch, place: int) -> Callable[[], bool]:
    """Let call ``place`` to the disk fail; the result tells whether it came to that."""
    made = 0

    def failing(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal made
            made += 1
            if made == place + 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        return call

    for name in CALLS:
        patch.setattr(os, name, failing(getattr(os, name)))
    return lambda: made > place


def test_a_disk_error_at_every_call_leaves_nothing_or_something_to_sweep(
    folders: Folders, evidence: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = prepared_snapshot(evidence, 0)
    evidence.settle(kept)
    place = 0
    while True:
        with monkeypatch.context() as patch:
            came_to_it = fail_at(patch, place)
            try:
                prepared = prepared_snapshot(evidence, 1)
            except LedgerError:
                assert came_to_it()
            else:
                evidence.discard(prepared)
        # Whatever is left has its second name, by which the sweep finds it.
        assert set(folders.objects()) <= {*folders.drafts(), digest_of(kept)}
        evidence.sweep(lambda: {digest_of(kept)})
        assert (folders.objects(), folders.drafts()) == ([digest_of(kept)], [])
        if not came_to_it():
            break
        place += 1
    assert place > 8


def test_a_sweep_keeps_what_a_leaf_names_and_removes_the_rest(
    folders: Folders, evidence: EvidenceStore
) -> None:
    settled, kept, lost = (prepared_snapshot(evidence, sequence) for sequence in range(3))
    evidence.settle(settled)
    (folders.archive / "incoming" / ("0" * 64)).write_bytes(b"half an object")
    evidence.sweep(lambda: {digest_of(settled), digest_of(kept)})
    assert folders.objects() == sorted([digest_of(settled), digest_of(kept)])
    assert folders.drafts() == []
    assert digest_of(lost) not in folders.objects()


def test_the_log_is_read_only_if_there_is_something_to_sweep(evidence: EvidenceStore) -> None:
    evidence.settle(prepared_snapshot(evidence, 0))

    def named() -> set[str]:
        raise AssertionError("a log of millions was read for nothing")

    evidence.sweep(named)


def test_a_sweep_that_stopped_half_way_is_finished_by_the_next(
    folders: Folders, evidence: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared_snapshot(evidence, 0)

    def refuse(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(evidence_module, "flush_folder", refuse)
        with pytest.raises(LedgerError, match="looked through"):
            evidence.sweep(set)
    # The object is gone, but perhaps not for good: its second name stays until that is known.
    assert len(folders.drafts()) == 1
    flushed: list[Path] = []
    monkeypatch.setattr(evidence_module, "flush_folder", flushed.append)
    evidence.sweep(set)
    assert (folders.objects(), folders.drafts(), len(flushed)) == ([], [], 1)


def test_a_discarded_object_is_gone_for_good_before_its_second_name_goes(
    folders: Folders, evidence: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_snapshot(evidence, 0)
    seen: list[tuple[list[str], list[str]]] = []
    monkeypatch.setattr(
        evidence_module,
        "flush_folder",
        lambda _: seen.append((folders.objects(), folders.drafts())),
    )
    evidence.discard(prepared)
    assert seen == [([], [digest_of(prepared)])]
    assert folders.drafts() == []
