"""The log on a disk: what is acknowledged survives, what is signed matches."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import durable_files, log_writer, pending_journal
from pipelines.archive_verification import verify_archive
from pipelines.log_reader import LogReader
from pipelines.log_writer import LogWriter
from pipelines.pending_journal import parse_journal
from tests.pipelines.archive_samples import OPENED_AT
from verifier.errors import InvalidRecordError, LedgerError, WrongKeyError
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import EMPTY_ROOT, leaf_hash, root_of, verify_inclusion
from verifier.transparency.note import NoteSigner

SIGNER = NoteSigner("log.example/a", bytes(32))


def entries(count: int, start: int = 0) -> list[bytes]:
    return [b"entry %d" % index for index in range(start, start + count)]


def root(count: int) -> bytes:
    return root_of([leaf_hash(entry) for entry in entries(count)])


def write(folder: Path, count: int, start: int = 0) -> None:
    with LogWriter.open(folder, SIGNER) as log:
        for entry in entries(count, start):
            log.append(entry)
        log.publish()


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing takes most of the time; what these tests look at is order and content."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_a_new_log_is_signed_and_empty(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path / "log", SIGNER) as log:
        assert (log.checkpoint.size, log.checkpoint.root) == (0, EMPTY_ROOT)
    assert LogReader(tmp_path / "log").own_vkey() == SIGNER.verifier.vkey


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_every_entry_is_there_and_proved(tmp_path: Path, count: int) -> None:
    write(tmp_path, count)
    reader = LogReader(tmp_path)
    checkpoint = reader.checkpoint(SIGNER.verifier)
    assert (checkpoint.size, checkpoint.root) == (count, root(count))
    for index in {0, count // 2, count - 1}:
        entry = reader.entry(index, count)
        assert entry == entries(count)[index]
        verify_inclusion(
            leaf_hash=leaf_hash(entry),
            index=index,
            size=count,
            root=checkpoint.root,
            proof=reader.inclusion_proof(index, count),
        )


@given(steps=st.lists(st.integers(0, 300), min_size=1, max_size=5))
@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_growing_in_steps_gives_the_tree_of_all(tmp_path: Path, steps: list[int]) -> None:
    folder = tmp_path / "log"
    shutil.rmtree(folder, ignore_errors=True)
    total = 0
    for step in steps:
        write(folder, step, total)
        total += step
    checkpoint = LogReader(folder).checkpoint(SIGNER.verifier)
    assert (checkpoint.size, checkpoint.root) == (total, root(total))


def test_partial_tiles_go_when_they_are_full_and_older_checkpoints_still_prove(
    tmp_path: Path,
) -> None:
    write(tmp_path, 250)
    write(tmp_path, 10, 250)
    found = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "tile").rglob("*.p/*")}
    assert found == {"tile/0/001.p/4", "tile/1/000.p/1", "tile/entries/001.p/4"}
    reader = LogReader(tmp_path)
    verify_inclusion(
        leaf_hash=leaf_hash(reader.entry(249, 250)),
        index=249,
        size=250,
        root=root(250),
        proof=reader.inclusion_proof(249, 250),
    )


def test_pending_entries_survive_closing_and_keep_their_index(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path, SIGNER) as log:
        assert [log.append(entry) for entry in entries(3)] == [0, 1, 2]
    with LogWriter.open(tmp_path, SIGNER) as log:
        assert log.checkpoint.size == 0
        assert log.pending_entries == tuple(entries(3))
        assert log.append(b"entry 3") == 3
        assert log.publish().root == root(4)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        LogWriter.open(tmp_path, SIGNER),
        pytest.raises(LedgerError, match="another writer"),
    ):
        LogWriter.open(tmp_path, SIGNER)
    LogWriter.open(tmp_path, SIGNER).close()


def test_another_key_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with pytest.raises(WrongKeyError):
        LogWriter.open(tmp_path, NoteSigner("log.example/a", bytes([1] * 32)))


def test_an_entry_too_long_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path, SIGNER) as log:
        with pytest.raises(InvalidRecordError):
            log.append(bytes(65_536))
        assert log.append(bytes(65_535)) == 0
        assert log.publish().size == 1


@pytest.mark.parametrize("cut", [1, 20, 33, 40, 47])
def test_a_torn_last_record_is_dropped(tmp_path: Path, cut: int) -> None:
    with LogWriter.open(tmp_path, SIGNER) as log:
        for entry in entries(2):
            log.append(entry)
    journal = tmp_path / "pending"
    os.truncate(journal, journal.stat().st_size - cut)
    with LogWriter.open(tmp_path, SIGNER) as log:
        assert log.pending_entries == (b"entry 0",)
        assert log.append(b"entry 1") == 1
    with LogWriter.open(tmp_path, SIGNER) as log:  # what was torn is not in between
        assert log.pending_entries == tuple(entries(2))
        assert log.publish().root == root(2)


def test_several_entries_take_one_flush_and_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    with LogWriter.open(tmp_path, SIGNER) as log:
        monkeypatch.setattr(os, "fsync", flushed.append)
        assert log.append_all(entries(3)) == 0
        assert len(flushed) == 1
        assert log.append_all([]) == log.next_index == 3
        assert log.append_all(entries(2, 3)) == 3
        assert [log.entry(index) for index in range(5)] == entries(5)
        assert log.publish().root == root(5)
        assert log.append(b"entry 5") == 5
        assert [log.entry(index) for index in range(6)] == entries(6)
        for index in (-1, 6):
            with pytest.raises(LedgerError, match=f"entry {index}"):
                log.entry(index)


def test_of_several_entries_one_too_long_keeps_all_out(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path, SIGNER) as log:
        with pytest.raises(InvalidRecordError):
            log.append_all([b"entry 0", bytes(65_536), b"entry 1"])
        assert (log.next_index, log.failed) == (0, False)
    with LogWriter.open(tmp_path, SIGNER) as log:
        assert log.pending_entries == ()


def test_a_crash_between_several_entries_keeps_the_first_ones(tmp_path: Path) -> None:
    """The file may end after any byte of them: what is whole stays, in order, without a gap."""
    with LogWriter.open(tmp_path, SIGNER) as log:
        log.append(b"entry 0")
        journal = tmp_path / "pending"
        before = journal.stat().st_size
        log.append_all(entries(3, 1))
    data = journal.read_bytes()
    record = (len(data) - before) // 3
    for end in range(before, len(data) + 1):
        journal.write_bytes(data[:end])
        with LogWriter.open(tmp_path, SIGNER) as log:
            kept = 1 + (end - before) // record
            assert log.pending_entries == tuple(entries(kept))
            assert log.append_all(entries(4 - kept, kept)) == kept
            assert log.pending_entries == tuple(entries(4))


def test_a_disk_that_fills_up_between_several_entries_keeps_the_first_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter.open(tmp_path, SIGNER)
    room = [100]  # one record and a half
    real = os.write

    def write_what_fits(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = real(descriptor, bytes(data)[: room[0]])
        room[0] -= taken
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_what_fits)
        with pytest.raises(LedgerError, match="disk"):
            log.append_all(entries(3))
    assert log.failed
    with log.reopen() as again:
        assert (again.failed, again.next_index) == (False, 2)
        again.append(b"entry 2")
        assert again.publish().root == root(3)


def test_reopening_lets_go_of_the_lock_and_tells_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter.open(tmp_path, SIGNER)
    log.append(b"entry 0")
    again = log.reopen()
    assert again.pending_entries == (b"entry 0",)
    with pytest.raises(LedgerError, match="closed"):
        log.append(b"entry 1")
    with monkeypatch.context() as patch:
        fail_from(patch, 0, None)
        with pytest.raises(LedgerError):
            again.reopen()
    again.reopen().close()  # the lock was not kept by the one that failed


def test_any_other_change_of_the_journal_is_refused(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path, SIGNER) as log:
        for entry in entries(3):
            log.append(entry)
    journal = tmp_path / "pending"
    data = journal.read_bytes()
    for at in range(len(data)):
        journal.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(LedgerError):
            LogWriter.open(tmp_path, SIGNER)


@pytest.mark.parametrize("path", ["tile/0/000.p/3", "tile/entries/000.p/3", "checkpoint"])
def test_nothing_is_signed_on_top_of_changed_files(tmp_path: Path, path: str) -> None:
    write(tmp_path, 3)
    data = bytearray((tmp_path / path).read_bytes())
    data[-10] ^= 1
    with LogWriter.open(tmp_path, SIGNER) as log:
        log.append(b"entry 3")
        before = (tmp_path / "checkpoint").read_bytes()
        (tmp_path / path).write_bytes(data)
        if path != "checkpoint":  # read back when the log is opened, below
            with pytest.raises(LedgerError):
                log.publish()
            assert (tmp_path / "checkpoint").read_bytes() == before
            with pytest.raises(LedgerError, match="open it again"):
                log.append(b"more")
    with pytest.raises(LedgerError):
        LogWriter.open(tmp_path, SIGNER)


@pytest.mark.parametrize("path", ["tile/0/000.p/3", "tile/entries/000.p/3", "checkpoint"])
def test_a_missing_file_is_refused(tmp_path: Path, path: str) -> None:
    write(tmp_path, 3)
    (tmp_path / path).unlink()
    with pytest.raises(LedgerError):
        LogWriter.open(tmp_path, SIGNER)


def test_a_changed_tile_far_from_the_entries_is_refused_too(tmp_path: Path) -> None:
    """The root of the first 256 entries: nothing but the checkpoint tells that it changed."""
    write(tmp_path, 300)
    (tmp_path / "tile" / "1" / "000.p" / "1").write_bytes(bytes(32))
    with pytest.raises(LedgerError, match="root"):
        LogWriter.open(tmp_path, SIGNER)


def test_a_tile_of_another_history_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path, 3)
    planted = tmp_path / "tile" / "0" / "000.p" / "4"
    planted.write_bytes(bytes(128))
    with LogWriter.open(tmp_path, SIGNER) as log:
        log.append(b"entry 3")
        with pytest.raises(LedgerError, match="something else"):
            log.publish()


class PowerCutError(BaseException):
    """Stands for the process ending here: nothing catches it."""


def test_a_crash_at_every_step_of_publishing_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before the n-th file is replaced, for every n; reopen; all entries are published."""
    steps = 0
    while True:
        folder = tmp_path / str(steps)
        write(folder, 250)
        log = LogWriter.open(folder, SIGNER)
        for entry in entries(300, 250):
            log.append(entry)
        with monkeypatch.context() as patch:
            left = crash_after(patch, steps)
            with suppress(PowerCutError):
                log.publish()
            log.close()
        with LogWriter.open(folder, SIGNER) as log:
            assert log.checkpoint.size in {250, 550}
            checkpoint = log.publish()
        assert (checkpoint.size, checkpoint.root) == (550, root(550))
        if left():
            break
        steps += 1
    # 3 bundles, 3 tiles below and 1 above, checkpoint, journal.
    assert steps == 9


def crash_after(patch: pytest.MonkeyPatch, steps: int) -> Callable[[], bool]:
    """Let ``steps`` files be replaced, then crash; the result tells whether any were left."""
    budget = [steps]
    real = durable_files.replace_file

    def replace_or_crash(path: Path, data: bytes, *, temporary: Path, mode: int = 0o644) -> None:
        if budget[0] == 0:
            (temporary / "half.tmp").write_bytes(data[: len(data) // 2])
            budget[0] = -1
            raise PowerCutError
        budget[0] -= 1
        real(path, data, temporary=temporary, mode=mode)

    for module in (log_writer, pending_journal):
        patch.setattr(module, "replace_file", replace_or_crash)
    return lambda: budget[0] >= 0


def test_a_failed_flush_is_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogWriter.open(tmp_path, SIGNER)
    log.append(b"entry 0")

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(LedgerError, match="disk"):
            log.append(b"entry 1")
    # The disk works again, but nobody knows what the failed flush left: never retried.
    for act in (log.publish, lambda: log.append(b"entry 2")):
        with pytest.raises(LedgerError, match="open it again"):
            act()
    log.close()
    with LogWriter.open(tmp_path, SIGNER) as again:
        assert again.pending_entries[0] == b"entry 0"


def test_a_full_disk_tears_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter.open(tmp_path, SIGNER)
    log.append(b"entry 0")
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 30:
            raise OSError(28, "No space left on device")
        return real(descriptor, bytes(data)[:20])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(LedgerError):
            log.append(b"entry 1")
    log.close()
    assert parse_journal((tmp_path / "pending").read_bytes()).torn_bytes == 20
    with LogWriter.open(tmp_path, SIGNER) as again:
        assert again.pending_entries == (b"entry 0",)


def test_a_signal_in_the_middle_of_an_append_ends_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record may be in the journal without being counted: a second one would clash."""
    log = LogWriter.open(tmp_path, SIGNER)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.append(b"entry 0")
    with pytest.raises(LedgerError, match="open it again"):
        log.append(b"entry 1")
    log.close()
    with LogWriter.open(tmp_path, SIGNER) as again:
        assert again.pending_entries == (b"entry 0",)


def test_a_log_that_lost_its_checkpoint_is_not_started_anew(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path, SIGNER) as log:
        log.append(b"entry 0")
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(LedgerError, match="no checkpoint"):
        LogWriter.open(tmp_path, SIGNER)
    assert not (tmp_path / "checkpoint").exists()


CALLS = ("open", "write", "fsync", "ftruncate", "replace", "link", "rename", "unlink", "mkdir")


def fail_from(patch: pytest.MonkeyPatch, first: int, count: int | None) -> Callable[[], int]:
    """Let ``count`` calls (None: all) fail from call ``first`` on; the result tells how many did.

    Only on this thread: nothing else in the process may lose its disk.
    """
    me, made, failed = threading.get_ident(), 0, 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal made, failed
            if threading.get_ident() == me:
                made += 1
                if made > first and (count is None or failed < count):
                    failed += 1
                    raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **options)

        return call

    for name in CALLS:
        patch.setattr(os, name, failing(getattr(os, name)))
    return lambda: failed


def note(index: int) -> bytes:
    return Leaf(kind="note", time=OPENED_AT, facts={"n": index}).serialize()


def use(folder: Path, first: int, acknowledged: list[bytes]) -> None:
    """Open, append past the end of a tile, publish, append; ``close`` never fails."""
    log = LogWriter.open(folder / "log", SIGNER)
    try:
        for index in range(first, first + 3):
            log.append(note(index))
            acknowledged.append(note(index))
        log.publish()
        batch = [note(first + 3), note(first + 4)]
        log.append_all(batch)
        acknowledged += batch
    finally:
        # It takes the number of a descriptor closed too early, and must outlive `close`.
        spare = os.dup(1)
        log.close()
        os.close(spare)


@pytest.mark.parametrize("state", ["absent", "almost a tile", "torn", "published journal"])
@pytest.mark.parametrize("count", [1, None], ids=["one call fails", "the disk is gone"])
def test_a_disk_error_at_every_call_loses_nothing_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, count: int | None
) -> None:
    """Let the k-th call fail, for every k; the same process opens the log again."""
    kept = prepare(tmp_path / "before", state)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for k in range(1_000):
        folder = tmp_path / str(k)
        shutil.copytree(tmp_path / "before", folder)
        acknowledged = list(kept)
        with monkeypatch.context() as patch:
            failures = fail_from(patch, k, count)
            with suppress(LedgerError):  # an OSError is not suppressed
                use(folder, len(kept), acknowledged)
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
        with LogWriter.open(folder / "log", SIGNER) as log:
            size = log.publish().size
            found = [log.reader.entry(index, size) for index in range(len(kept), size)]
        # What was written while the caller was told of an error may be there too.
        assert found == [note(index) for index in range(len(kept), size)]
        assert len(kept) + len(found) - len(acknowledged) in {0, 1, 2}
        assert verify_archive(folder).problems == []
        shutil.rmtree(folder)
        if not failures():
            break
    assert k > 30
    assert len(acknowledged) == len(kept) + 5  # all goes well where no call fails


def prepare(folder: Path, state: str) -> list[bytes]:
    (folder / "objects").mkdir(parents=True)
    if state == "absent":
        return []
    kept = [note(index) for index in range(3 if state == "published journal" else 255)]
    with LogWriter.open(folder / "log", SIGNER) as log:
        for entry in kept:
            log.append(entry)
        journal = (folder / "log" / "pending").read_bytes()
        log.publish()
    if state == "torn":
        with (folder / "log" / "pending").open("ab") as file:
            file.write(bytes(5))
    if state == "published journal":
        (folder / "log" / "pending").write_bytes(journal)
    return kept


def test_a_closed_log_is_closed_once_and_for_all(tmp_path: Path) -> None:
    """A closed descriptor's number may be another file's by now."""
    log = LogWriter.open(tmp_path, SIGNER)
    log.close()
    with (tmp_path / "other").open("wb"):
        log.close()
        for act in (log.publish, lambda: log.append(b"entry 0")):
            with pytest.raises(LedgerError, match="closed"):
                act()
    assert (tmp_path / "other").read_bytes() == b""


@pytest.mark.parametrize("path", ["pending", "checkpoint", "log.vkey", "tile/0/000.p/3"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(
    tmp_path: Path, path: str, kind: str
) -> None:
    write(tmp_path, 3)
    target = tmp_path / path
    target.rename(tmp_path / "aside")
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "aside")
    with pytest.raises(LedgerError, match="cannot be read"):
        LogWriter.open(tmp_path, SIGNER)
