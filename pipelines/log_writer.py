"""The one writer of a log: appends durably, then publishes signed checkpoints.

``append`` returns after the entry is flushed to the journal. ``publish`` moves the journal
under a new checkpoint, in an order that a crash may stop anywhere:

1. bundles and tiles, which nothing refers to yet
2. the signed checkpoint, replaced at once: from here on the entries are published
3. an empty journal; one that still holds published entries is recognised by its first index
4. partial tiles go whose full tile is there now

Everything that step 1 writes follows from the entries alone, so publishing again after a crash
writes the same bytes over it.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from pipelines.durable_files import as_ledger_error, make_folder, read_ordinary, replace_file
from pipelines.log_reader import LogReader
from pipelines.pending_journal import JournalWriter, PendingEntries, start_journal
from verifier.errors import InvalidRecordError, LedgerError, WrongKeyError
from verifier.transparency.checkpoint import Checkpoint, sign_checkpoint
from verifier.transparency.merkle import EMPTY_ROOT, leaf_hash
from verifier.transparency.note import NoteSignature, NoteSigner, NoteVerifier, SignedNote
from verifier.transparency.tile_paths import (
    LARGEST_ENTRY,
    TILE_WIDTH,
    Tile,
    decode_bundle,
    encode_bundle,
)
from verifier.transparency.tree_edge import TreeEdge


class LogWriter:
    """A log open for writing. Safe for threads; a second writer is refused."""

    def __init__(self, folder: Path, signer: NoteSigner, lock: int) -> None:
        """Use ``open``."""
        self.reader = LogReader(folder)
        self._folder, self._drafts = folder, folder / "drafts"
        self._signer, self._lock = signer, lock
        self._mutex = threading.Lock()
        self._failed = self._closed = False
        self._witnessed_size = 0
        self._checkpoint, pending = self._recover()
        self._note = SignedNote.parse(self.reader.checkpoint_bytes())
        self._first, self._entries = pending.first, list(pending.entries)
        self._journal = JournalWriter(folder / "pending", pending)

    @classmethod
    @as_ledger_error("the log could not be opened")
    def open(cls, folder: Path, signer: NoteSigner) -> "LogWriter":
        """Open the log in ``folder``, starting an empty one where there is nothing.

        What a crash left behind is completed: a torn last record is dropped (nobody was told
        of it), drafts are removed, a half-done ``publish`` is finished by the next.

        Raises
        ------
        LedgerError
            If another writer holds the log, the disk refused, or its files do not match its
            checkpoint: then nothing is ever signed on top of it.
        WrongKeyError
            If the log was signed by another key.
        """
        make_folder(folder / "drafts")
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _take(lock)
            return cls(folder, signer, lock)
        except BaseException as error:
            os.close(lock)
            if isinstance(error, InvalidRecordError):
                raise LedgerError(f"a file of the log is damaged: {error}") from error
            raise

    def __enter__(self) -> "LogWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the log; pending entries stay in the journal. Never fails."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            # All that was acknowledged has been flushed, so an error here loses nothing.
            try:
                with suppress(OSError):
                    self._journal.close()
            finally:
                with suppress(OSError):
                    os.close(self._lock)

    @property
    def verifier(self) -> NoteVerifier:
        """The public half of the key that signs this log."""
        return self._signer.verifier

    @property
    def checkpoint(self) -> Checkpoint:
        """The last checkpoint that was signed."""
        return self._checkpoint

    @property
    def next_index(self) -> int:
        """The index that the next entry gets."""
        return self._first + len(self._entries)

    @property
    def pending_entries(self) -> tuple[bytes, ...]:
        """Acknowledged entries that no checkpoint holds yet."""
        return tuple(self._entries)

    def append(self, entry: bytes) -> int:
        """Return the index of ``entry`` once it is on the disk; it is *pending* from then on.

        Raises
        ------
        InvalidRecordError
            If it is longer than 65,535 bytes; nothing was written.
        LedgerError
            If the disk refused. This writer is unusable from then on; whether the entry was
            kept shows when the log is opened again.
        """
        return self.append_all([entry])

    def append_all(self, entries: Sequence[bytes]) -> int:
        """Append several entries with one flush; return the index of the first.

        Raises
        ------
        InvalidRecordError, LedgerError
            As ``append``; after a failure a crash may have kept the first few of them.
        """
        for entry in entries:
            if len(entry) > LARGEST_ENTRY:
                raise InvalidRecordError(
                    f"an entry has {len(entry)} bytes, at most {LARGEST_ENTRY}"
                )
        with self._mutex, self._fatal_on_failure():
            first = self._journal.append_all(entries)
            self._entries.extend(entries)
            return first

    def entry(self, index: int) -> bytes:
        """Return an entry, published or pending; ``LedgerError`` if there is none."""
        pending = index - self._first
        if 0 <= pending < len(self._entries):
            return self._entries[pending]
        return self.reader.entry(index, self._checkpoint.size)

    def publish(self) -> Checkpoint:
        """Put every pending entry under a new signed checkpoint and return it.

        Raises
        ------
        LedgerError
            If the files on the disk no longer match the last checkpoint (nothing is signed),
            or the disk refused.
        """
        with self._mutex, self._fatal_on_failure():
            if self._entries:
                self._publish()
            return self._checkpoint

    @property
    def note(self) -> SignedNote:
        """The last checkpoint as this log signed it, without anybody else's line."""
        verifier = self._signer.verifier
        own = (s for s in self._note.signatures if (s.name, s.key_id) == verifier.name_and_id)
        return replace(self._note, signatures=tuple(own))

    def carry(self, checkpoint: Checkpoint, lines: Sequence[NoteSignature]) -> None:
        """Keep witnesses' lines of ``checkpoint``, which this log signed: see ``log_reader``.

        Raises
        ------
        LedgerError
            If the disk refused.
        """
        own = sign_checkpoint(checkpoint, self._signer)
        note = replace(own, signatures=(*own.signatures, *lines))
        with self._mutex, self._fatal_on_failure():
            # Witnesses may be done with a later one first; of one size the last call knows most.
            if checkpoint.size >= self._witnessed_size:
                self._write("witnessed", note.serialize())
                self._witnessed_size = checkpoint.size
            if checkpoint == self._checkpoint:
                self._write("checkpoint", note.serialize())
                self._note = note

    @property
    def failed(self) -> bool:
        """Whether the disk refused something; only opening the log anew can tell what is there."""
        return self._failed

    def reopen(self) -> "LogWriter":
        """Close this writer and open the log anew; errors as ``open``."""
        self.close()
        return LogWriter.open(self._folder, self._signer)

    def require_usable(self) -> None:
        """Raise ``LedgerError`` if this writer was closed, or an earlier failure ended it."""
        if self._closed:
            raise LedgerError("this log was closed; open it again")
        if self._failed:
            raise LedgerError("this log failed to reach the disk; open it again")

    def _publish(self) -> None:
        # Never sign on top of what is not there: the edge is read back from the disk.
        edge, bundle = self._load_edge(self._checkpoint)
        filled: list[Tile] = []
        for tile, data in _grow(edge, bundle, self._entries):
            self._write_tile(tile, data)
            if tile.width == TILE_WIDTH:
                filled.append(tile)
        checkpoint = Checkpoint(origin=self._signer.verifier.name, size=edge.size, root=edge.root())
        note = sign_checkpoint(checkpoint, self._signer)
        self._write("checkpoint", note.serialize())
        self._checkpoint, self._note = checkpoint, note
        pending = self._start_journal(checkpoint.size)
        # The new one first: whatever fails, `close` finds a journal that is open.
        published = self._journal
        self._journal = JournalWriter(self._folder / "pending", pending)
        published.close()
        self._first, self._entries = checkpoint.size, []
        for tile in filled:
            # The specification allows it once the full tile is there; what a crash leaves of
            # them does no harm, so neither does a failure here.
            shutil.rmtree(self._folder / f"{tile.path}.p", ignore_errors=True)

    def _recover(self) -> tuple[Checkpoint, PendingEntries]:
        for draft in self._drafts.iterdir():
            draft.unlink()
        if not (self._folder / "checkpoint").exists():
            self._start_log()
        # 1. our own log; 2. our own signature; 3. files that match it; 4. a journal that
        # goes on where it ends.
        self._require_own_log()
        checkpoint = self.reader.checkpoint(self._signer.verifier)
        self._load_edge(checkpoint)
        return checkpoint, self._without_published(checkpoint, self.reader.pending())

    def _require_own_log(self) -> None:
        if self.reader.own_vkey() != self._signer.verifier.vkey:
            raise WrongKeyError("this log belongs to another signing key")

    def _start_log(self) -> None:
        # The checkpoint comes last when a log starts, so a log without one has nothing else.
        if (self._folder / "tile").exists():
            raise LedgerError("a log with tiles has no checkpoint")
        pending = self._folder / "pending"
        if pending.exists() and self.reader.pending() != _empty(0, pending.stat().st_size):
            raise LedgerError("a log with pending entries has no checkpoint")
        if not (self._folder / "log.vkey").exists():
            self._write("log.vkey", f"{self._signer.verifier.vkey}\n".encode())
        self._require_own_log()
        self._start_journal(0)
        empty = Checkpoint(origin=self._signer.verifier.name, size=0, root=EMPTY_ROOT)
        self._write("checkpoint", sign_checkpoint(empty, self._signer).serialize())

    def _without_published(self, checkpoint: Checkpoint, pending: PendingEntries) -> PendingEntries:
        """Return the journal less what the checkpoint already holds, which it must repeat."""
        if not pending.first <= checkpoint.size <= pending.end:
            raise LedgerError(
                f"the journal holds entries {pending.first} to {pending.end}, "
                f"the checkpoint ends at {checkpoint.size}"
            )
        published = checkpoint.size - pending.first
        if not published:
            return pending
        for offset, entry in enumerate(pending.entries[:published]):
            if self.reader.entry(pending.first + offset, checkpoint.size) != entry:
                raise LedgerError(f"entry {pending.first + offset} differs from the journal's")
        if published < len(pending.entries):
            # `publish` takes all of a journal or nothing, so such a file was not written here.
            raise LedgerError("the checkpoint ends in the middle of the journal")
        return self._start_journal(checkpoint.size)

    def _load_edge(self, checkpoint: Checkpoint) -> tuple[TreeEdge, list[bytes]]:
        """Return the right edge and the entries of the last, partial bundle."""
        edge = TreeEdge.load(checkpoint.size, self.reader.tile)
        if edge.root() != checkpoint.root:
            raise LedgerError("the tiles do not lead to the root of the checkpoint")
        index, width = divmod(checkpoint.size, TILE_WIDTH)
        if not width:
            return edge, []
        bundle = decode_bundle(self.reader.tile(Tile(level=None, index=index, width=width)))
        if tuple(map(leaf_hash, bundle)) != edge.hashes_at(0):
            raise LedgerError("the last bundle of entries does not match its tile")
        return edge, bundle

    def _start_journal(self, first: int) -> PendingEntries:
        start_journal(self._folder / "pending", first, temporary=self._drafts)
        return _empty(first, (self._folder / "pending").stat().st_size)

    def _write_tile(self, tile: Tile, data: bytes) -> None:
        # Tiles never change. One that is there before its time was left by a crash, and the
        # same entries give the same bytes; other bytes mean that somebody wrote another history.
        target = self._folder / tile.path
        if target.exists() and read_ordinary(target) != data:
            raise LedgerError(f"{tile.path} already holds something else")
        self._write(tile.path, data)

    def _write(self, path: str, data: bytes) -> None:
        target = self._folder / path
        make_folder(target.parent)
        replace_file(target, data, temporary=self._drafts)

    @contextmanager
    def _fatal_on_failure(self) -> Iterator[None]:
        self.require_usable()
        completed = False
        try:
            yield
            completed = True
        except OSError as error:
            # After a failed flush nobody knows what is on the disk; only reading it again can
            # tell, and that is what opening does.
            raise LedgerError("the log could not be brought to the disk") from error
        except (LedgerError, InvalidRecordError) as error:
            raise LedgerError(f"the log on the disk is damaged: {error}") from error
        finally:
            # Also where a signal broke in: memory and journal may then disagree.
            self._failed = not completed


def _take(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LedgerError("another writer has this log open") from error


def _grow(
    edge: TreeEdge, bundle: list[bytes], entries: Iterable[bytes]
) -> Iterator[tuple[Tile, bytes]]:
    """Yield every file that changes when ``entries`` are added."""
    for entry in entries:
        bundle.append(entry)
        if len(bundle) == TILE_WIDTH:
            yield Tile(level=None, index=edge.size // TILE_WIDTH), encode_bundle(bundle)
            bundle.clear()
        yield from edge.append(leaf_hash(entry))
    if bundle:
        index = edge.size // TILE_WIDTH
        yield Tile(level=None, index=index, width=len(bundle)), encode_bundle(bundle)
    yield from edge.partial_tiles()


def _empty(first: int, intact_bytes: int) -> PendingEntries:
    return PendingEntries(first=first, entries=(), intact_bytes=intact_bytes, torn_bytes=0)
