"""An archive that follows a source: what was acknowledged there is what gets signed here."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import archive as archive_module
from pipelines import durable_files, log_writer, pending_journal
from pipelines.archive import Archive
from pipelines.archive_verification import verify_archive
from pipelines.evidence_store import PreparedEntry
from pipelines.recording import recording
from tests.memory_store import MemoryStore
from tests.pipelines.archive_samples import (
    OPENED_AT,
    Folders,
    make_folders,
    prepared_session,
    prepared_snapshot,
)
from verifier.errors import LedgerError
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash, root_of

__all__ = ["make_folders"]  # a fixture


def note(index: int, text: str = "") -> PreparedEntry:
    leaf = Leaf(kind="note", time=OPENED_AT, facts={"n": index, "text": text})
    return PreparedEntry(leaf=leaf, entry=leaf.serialize())


def acknowledge(store: MemoryStore, *prepared: PreparedEntry) -> None:
    """Commit entries to the source, one unit of work for all."""
    with store.writing() as unit:
        for entry in prepared:
            unit.append(entry)


def source_of(*prepared: PreparedEntry) -> MemoryStore:
    store = MemoryStore()
    acknowledge(store, *prepared)
    return store


def notes(count: int) -> list[PreparedEntry]:
    return [note(index) for index in range(count)]


def require_same(folders: Folders, store: MemoryStore) -> None:
    """Open and publish: the log holds the source's entries, and every byte verifies."""
    with folders.open(store) as archive:
        size = archive.publish().size
        held = [archive.reader.entry(index, size) for index in range(size)]
    assert held == store.entries(0, limit=store.entry_count())
    report = verify_archive(folders.archive, keystore=folders.keystore())
    assert report.problems == []


def test_what_the_source_acknowledged_is_signed_in_its_order(folders: Folders) -> None:
    store = MemoryStore()
    with folders.open(store) as archive:
        assert archive.checkpoint.size == 0
        with recording(store, archive.evidence) as work:
            kept = prepared_session(archive.evidence)
            assert [work.append(prepared) for prepared in kept] == [0, 1, 2, 3]
        assert archive.checkpoint.size == 0  # acknowledged, and pending
        checkpoint = archive.publish()
        assert (checkpoint.size, checkpoint.root) == (4, root_of([x.leaf_hash for x in kept]))
        assert archive.read_snapshot(2).leaf == kept[2].leaf
        assert archive.publish() == checkpoint
    require_same(folders, store)


def test_more_than_one_batch_is_taken_over(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "_BATCH", 3)
    store = source_of(*notes(11))
    with folders.open(store) as archive:
        assert archive.publish().size == 11
        for count in range(1, 8):
            acknowledge(store, *(note(index, str(count)) for index in range(count)))
            assert archive.publish().size == store.entry_count()
    require_same(folders, store)


def test_nobody_appends_past_the_source(folders: Folders) -> None:
    store = source_of(*notes(1))
    with folders.open(store) as archive:
        with pytest.raises(LedgerError, match="follows a source"):
            archive.append(note(1))
        assert archive.publish().size == 1
    require_same(folders, store)


def test_a_source_that_lacks_entries_is_refused_at_opening(folders: Folders) -> None:
    """An older copy of the database would give places away that are filled in the log."""
    full = source_of(*notes(3))
    require_same(folders, full)
    before = (folders.archive / "log" / "checkpoint").read_bytes()
    for count in range(3):
        with pytest.raises(LedgerError, match=f"log holds 3 entries, the database {count}"):
            folders.open(source_of(*notes(count)))
    assert (folders.archive / "log" / "checkpoint").read_bytes() == before
    require_same(folders, full)  # neither lock nor file was left behind


def test_entries_that_were_only_taken_over_count_too(folders: Folders) -> None:
    """They are in the journal, not signed yet: the source had acknowledged them all the same."""
    store = source_of(*notes(3))
    folders.open(store).close()
    assert verify_archive(folders.archive).pending == 3
    with pytest.raises(LedgerError, match="older copy"):
        folders.open(source_of(*notes(2)))
    require_same(folders, store)


@pytest.mark.parametrize("published", [True, False])
def test_a_source_with_another_entry_in_place_is_refused(folders: Folders, published: bool) -> None:
    store = source_of(*notes(3))
    with folders.open(store) as archive:
        if published:
            archive.publish()
    for other in (
        source_of(*notes(2), note(2, "other")),
        source_of(*notes(2), note(2, "other"), note(3)),
    ):
        with pytest.raises(LedgerError, match="entry 2 differs"):
            folders.open(other)
    require_same(folders, store)


@pytest.mark.parametrize(
    ("instead", "told"),
    [
        (notes(2), "older copy"),
        ([*notes(2), note(2, "other")], "entry 2 differs"),
        ([*notes(2), note(2, "other"), note(3)], "entry 2 differs"),
    ],
    ids=["entries are gone", "one was exchanged", "its place was given away again"],
)
def test_a_source_that_changes_under_a_running_archive_is_not_signed(
    folders: Folders, instead: list[PreparedEntry], told: str
) -> None:
    """A database put back to an older copy while the engine runs."""
    store = source_of(*notes(3))
    with folders.open(store) as archive:
        checkpoint = archive.publish()
        genuine = store._contents
        store._contents = source_of(*instead)._contents
        for _ in range(2):  # and not the second time either
            with pytest.raises(LedgerError, match=told):
                archive.publish()
        assert archive.checkpoint == checkpoint
        store._contents = genuine
        acknowledge(store, note(3))
        assert archive.publish().size == 4
    require_same(folders, store)


def test_an_older_log_catches_up_with_the_source(folders: Folders, tmp_path: Path) -> None:
    """The other way round nothing is lost: the same entries give the same tree."""
    store = source_of(*notes(2))
    require_same(folders, store)
    folders.archive.rename(tmp_path / "aside")
    require_same(folders, store)
    acknowledge(store, note(2))
    with folders.open(store) as archive:
        assert archive.publish().root == root_of([x.leaf_hash for x in notes(3)])


def test_of_a_unit_that_failed_the_object_goes_and_the_log_hears_nothing(folders: Folders) -> None:
    store = MemoryStore()
    with folders.open(store) as archive:
        prepared = prepared_snapshot(archive.evidence, 0)
        store.broken = True
        with pytest.raises(LedgerError), recording(store, archive.evidence, prepared) as work:
            work.append(prepared)
        assert (folders.objects(), folders.drafts()) == ([], [])
        assert archive.publish().size == 0
    store.broken = False
    require_same(folders, store)


@pytest.mark.parametrize("acknowledged", [True, False])
def test_an_object_left_in_doubt_is_kept_if_the_source_has_its_leaf(
    folders: Folders, acknowledged: bool
) -> None:
    """The log itself may not have heard of it: the source is asked first."""
    store = source_of(*notes(2))
    with folders.open(store) as archive:
        prepared = prepared_snapshot(archive.evidence, 0)
        archive.publish()
    if acknowledged:
        acknowledge(store, prepared)  # and the process ended before it was settled
    assert len(folders.drafts()) == 1
    require_same(folders, store)
    assert len(folders.objects()) == acknowledged
    assert folders.drafts() == []


class PowerCutError(BaseException):
    """Stands for the process ending here: nothing catches it."""


def test_a_crash_at_every_step_of_taking_over_and_publishing_loses_nothing(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before the n-th write to the log; open again: the source's entries, in its order."""
    store = source_of(*notes(250))
    require_same(folders, store)
    steps = 0
    while True:
        acknowledge(store, *(note(index, str(steps)) for index in range(10)))
        with monkeypatch.context() as patch:
            made = crash_at(patch, steps)
            try:
                with folders.open(store) as archive:
                    archive.publish()
            except PowerCutError:
                pass
        require_same(folders, store)
        if made[0] <= steps:
            break
        steps += 1
    assert steps >= 5  # the journal's entries, bundle, tile, checkpoint, an empty journal


def crash_at(patch: pytest.MonkeyPatch, step: int) -> list[int]:
    made = [0]
    append, replace = durable_files.write_all, durable_files.replace_file

    def count() -> bool:
        made[0] += 1
        return made[0] == step + 1

    def append_or_crash(descriptor: int, data: bytes) -> None:
        if count():
            append(descriptor, data[: len(data) * 2 // 3])  # torn in the middle of the batch
            raise PowerCutError
        append(descriptor, data)

    def replace_or_crash(path: Path, data: bytes, *, temporary: Path, mode: int = 0o644) -> None:
        if count():
            raise PowerCutError
        replace(path, data, temporary=temporary, mode=mode)

    patch.setattr(pending_journal, "write_all", append_or_crash)
    for module in (log_writer, pending_journal):
        patch.setattr(module, "replace_file", replace_or_crash)
    return made


def test_a_disk_that_failed_is_read_again_at_the_next_publishing(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = source_of(*notes(2))
    with folders.open(store) as archive:
        archive.publish()
        acknowledge(store, note(2), note(3))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            for _ in range(2):  # the second time it cannot even be opened
                with pytest.raises(LedgerError):
                    archive.publish()
        assert archive.checkpoint.size == 2
        assert archive.first_checkpoint_with(3).size == 4
        assert archive.receipt(3)
    require_same(folders, store)


def refuse(_: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_without_a_source_a_failed_log_stays_as_it_is(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a source still has what was acknowledged, so only then may it go on by itself."""
    with folders.open() as archive:
        archive.append(note(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(LedgerError, match="disk"):
                archive.append(note(1))
        with pytest.raises(LedgerError, match="open it again"):
            archive.publish()


def test_a_checkpoint_signed_as_the_disk_failed_is_the_first_all_the_same(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the log saw it; a later one would give a schedule that nobody can check."""
    store = source_of(*notes(2))
    with folders.open(store) as archive:
        with monkeypatch.context() as patch:
            patch.setattr(log_writer, "start_journal", fail_to_start)
            with pytest.raises(LedgerError):
                archive.publish()
        signed = archive.reader.checkpoint(archive.verifier)
        assert signed.size == 2
        acknowledge(store, note(2))
        assert archive.publish().size == 3
        assert archive.first_checkpoint_with(1).checkpoint == signed
        assert archive.first_checkpoint_with(2).size == 3
    require_same(folders, store)


def fail_to_start(*_arguments: object, **_options: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_closed_archive_is_not_opened_again_by_its_publisher(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that publishes once more after the end must not take the lock again."""
    store = source_of(*notes(1))
    archive = folders.open(store)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(LedgerError):
            archive.publish()
    archive.close()
    with pytest.raises(LedgerError, match="closed"):
        archive.publish()
    require_same(folders, store)


class TestTheFirstCheckpoint:
    """A schedule follows from it, so it has to be the very first one."""

    def test_it_is_published_for_who_asks(self, folders: Folders) -> None:
        store = source_of(*notes(2))
        with folders.open(store) as archive:
            first = archive.first_checkpoint_with(0)
            assert first == archive.first_checkpoint_with(1)
            assert first.checkpoint == archive.checkpoint
            acknowledge(store, note(2))
            assert archive.first_checkpoint_with(2).size == 3
            assert archive.first_checkpoint_with(1) == first
        require_same(folders, store)

    def test_of_an_entry_that_is_not_there_it_is_not_known(self, folders: Folders) -> None:
        with (
            folders.open(source_of(*notes(2))) as archive,
            pytest.raises(LedgerError, match="entry 2 is not known"),
        ):
            archive.first_checkpoint_with(2)

    def test_of_what_was_published_long_ago_it_is_not_guessed(self, folders: Folders) -> None:
        """Before a restart: a later checkpoint would give another schedule."""
        store = source_of(*notes(2))
        require_same(folders, store)
        with folders.open(store) as archive:
            for index in range(2):
                with pytest.raises(LedgerError, match=f"entry {index} is not known"):
                    archive.first_checkpoint_with(index)
            acknowledge(store, note(2))
            assert archive.first_checkpoint_with(2).size == 3

    @given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=8))
    @settings(
        deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_each_entry_has_the_checkpoint_that_was_signed_next(
        self, tmp_path_factory: pytest.TempPathFactory, folders: Folders, sizes: list[int]
    ) -> None:
        fresh = tmp_path_factory.mktemp("following")
        own = Folders(archive=fresh / "archive", secrets=folders.secrets)
        store = MemoryStore()
        with own.open(store) as archive:
            signed: list[Checkpoint] = []
            for size in sizes:
                acknowledge(store, *notes(size))
                signed += [archive.publish()] * size
            assert [
                archive.first_checkpoint_with(at).checkpoint for at in range(len(signed))
            ] == signed
        require_same(own, store)

    def test_many_threads_that_append_and_ask_get_the_first(self, folders: Folders) -> None:
        """The one before it does not hold the entry; it does; and it is of this history."""
        store = MemoryStore()
        together = threading.Barrier(8)

        def append_and_ask(archive: Archive, thread: int) -> list[tuple[int, Checkpoint]]:
            together.wait(10)
            found = []
            for number in range(25):
                with store.writing() as unit:
                    index = unit.append(note(number, str(thread)))
                found.append((index, archive.first_checkpoint_with(index).checkpoint))
            return found

        with folders.open(store) as archive:
            with ThreadPoolExecutor(8) as pool:
                asked = [pool.submit(append_and_ask, archive, thread) for thread in range(8)]
                first = dict(pair for one in asked for pair in one.result())
            signed = list(archive._signed)
        assert sorted(first) == list(range(200))
        before = {after: earlier for earlier, after in pairwise(signed)}
        hashes = [leaf_hash(entry) for entry in store.entries(0, limit=200)]
        for index, checkpoint in first.items():
            assert before[checkpoint].size <= index < checkpoint.size
            assert checkpoint.root == root_of(hashes[: checkpoint.size])
        require_same(folders, store)


def test_a_place_that_no_leaf_names_is_not_swept_while_the_archive_is_open(
    folders: Folders,
) -> None:
    """Publishing sweeps nothing: what is being prepared meanwhile has no leaf yet."""
    store = source_of(*notes(1))
    with folders.open(store) as archive:
        prepared = prepared_snapshot(archive.evidence, 0)
        archive.publish()
        assert folders.drafts() == [prepared.leaf.object_sha256]
        with recording(store, archive.evidence, prepared) as work:
            work.append(prepared)
        archive.publish()
        assert archive.read_snapshot(1).leaf == prepared.leaf
    require_same(folders, store)
