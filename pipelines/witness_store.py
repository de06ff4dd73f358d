"""What a witness remembers of one log: what it cosigned last, and every tree it ever cosigned.

::

    latest      the checkpoint with the log's signature and the witness's own line
    cosigned    48 bytes for each tree: size (uint64), root (32 bytes), POSIX seconds (uint64)

``put`` appends to ``cosigned``, then replaces ``latest``, each flushed; ``latest`` is what counts.
A crash between the two leaves a record of a tree that nobody was given a cosignature of, and the
next opening drops it. The list lets anybody ask which cosigned tree was the first to hold an
entry, and tells an old checkpoint that is handed in again from one of another history.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.durable_files import (
    as_ledger_error,
    flush_folder,
    make_folder,
    read_ordinary,
    replace_file,
    write_all,
)
from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.cosignature import CosignatureVerifier
from verifier.transparency.merkle import DIGEST_BYTES
from verifier.transparency.note import NoteSignature, SignedNote

_RECORD_BYTES = 8 + DIGEST_BYTES + 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignedTree:
    """One tree that the witness vouched for."""

    size: int
    root: bytes  # 32 bytes
    timestamp: int  # POSIX seconds

    def to_bytes(self) -> bytes:
        """Return its record in ``cosigned``."""
        return self.size.to_bytes(8, "big") + self.root + self.timestamp.to_bytes(8, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> "CosignedTree":
        """Read what ``to_bytes`` wrote."""
        size, root, timestamp = data[:8], data[8:-8], data[-8:]
        return cls(
            size=int.from_bytes(size, "big"),
            root=root,
            timestamp=int.from_bytes(timestamp, "big"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignedCheckpoint:
    """The checkpoint that a witness cosigned last."""

    note: SignedNote  # with the witness's own line
    checkpoint: Checkpoint
    line: NoteSignature  # the witness's own
    timestamp: int  # in that line

    @classmethod
    def of(cls, note: SignedNote, verifier: CosignatureVerifier) -> "CosignedCheckpoint":
        """Return it once the witness's own signature has been checked.

        Raises
        ------
        LedgerError
            If the signature is missing or wrong.
        InvalidRecordError
            If the note is no checkpoint.
        """
        cosignature = verifier.verify(note)
        return cls(
            note=note,
            checkpoint=Checkpoint.from_text(note.text),
            line=next(line for line in note.signatures if verifier.made(line)),
            timestamp=cosignature.timestamp,
        )

    @property
    def tree(self) -> CosignedTree:
        """What the list of cosigned trees says of it."""
        return CosignedTree(
            size=self.checkpoint.size, root=self.checkpoint.root, timestamp=self.timestamp
        )


class CosignedLog:
    """The memory of one log, in a folder that one process at a time writes to.

    Not safe for threads: whoever decides by ``latest`` holds others off until ``put`` returns.
    """

    def __init__(self, folder: Path, *, drafts: Path, verifier: CosignatureVerifier) -> None:
        """Read what is there, completing what a crash left.

        Raises
        ------
        LedgerError
            If it is damaged, incomplete, or not signed by this witness: then nothing more of
            this log may be cosigned.
        """
        self._folder, self._drafts = folder, drafts
        self._failed = False
        with as_ledger_error("what was cosigned could not be read"):
            make_folder(folder)
            self._latest = _read_latest(folder / "latest", verifier)
            kept = _committed(read_trees(folder), self._latest)
            _cut(folder / "cosigned", kept)

    @property
    def latest(self) -> CosignedCheckpoint | None:
        """What was cosigned last; ``LedgerError`` after a failure to write it."""
        if self._failed:
            raise LedgerError("this log's memory failed to reach the disk; start the witness anew")
        return self._latest

    def root_at(self, size: int) -> bytes | None:
        """Return the root that was cosigned at ``size``; None if no tree of that size was.

        Raises
        ------
        LedgerError
            If the list cannot be read.
        """
        with _records(self._folder) as records:
            place = bisect_left(records, size, key=lambda tree: tree.size)
            found = records[place] if place < len(records) else None
        return None if found is None or found.size != size else found.root

    def put(self, cosigned: CosignedCheckpoint) -> None:
        """Remember ``cosigned``; once this returns it survives a power failure.

        Raises
        ------
        LedgerError
            If the disk refused. Nothing more of this log may be cosigned until it is read anew.
        """
        done = False
        try:
            with as_ledger_error("what was cosigned could not be kept"):
                if self._latest is None or cosigned.checkpoint.size > self._latest.checkpoint.size:
                    _append(self._folder / "cosigned", cosigned.tree.to_bytes())
                latest = self._folder / "latest"
                replace_file(latest, cosigned.note.serialize(), temporary=self._drafts)
            done = True
        finally:
            self._failed = not done
        self._latest = cosigned


def read_trees(folder: Path) -> list[CosignedTree]:
    """Return every tree of one log in the order it was cosigned; empty if there is none.

    Needs no lock. The last may be one that is being kept at this moment.

    Raises
    ------
    LedgerError
        If the list cannot be read.
    """
    with _records(folder) as records:
        return [records[place] for place in range(len(records))]


class _Records:
    """The records of an open ``cosigned``; one that is torn at its end was never committed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._count = os.fstat(descriptor).st_size // _RECORD_BYTES

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> CosignedTree:
        # Read where it lies: the list grows for years, and anybody can cause a look into it.
        data = os.pread(self._descriptor, _RECORD_BYTES, place * _RECORD_BYTES)
        return CosignedTree.from_bytes(data)


@contextmanager
def _records(folder: Path) -> Iterator[_Records]:
    with as_ledger_error("what was cosigned could not be read"):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(folder / "cosigned", flags)
        except FileNotFoundError:
            descriptor = os.open(os.devnull, flags)
        try:
            yield _Records(descriptor)
        finally:
            os.close(descriptor)


def _read_latest(path: Path, verifier: CosignatureVerifier) -> CosignedCheckpoint | None:
    if not path.exists():
        return None
    try:
        return CosignedCheckpoint.of(SignedNote.parse(read_ordinary(path)), verifier)
    except InvalidRecordError as error:
        raise LedgerError(f"the checkpoint cosigned last is damaged: {error}") from error


def _committed(trees: Sequence[CosignedTree], latest: CosignedCheckpoint | None) -> int:
    """Return how many records count; ``LedgerError`` if they do not lead to ``latest``."""
    kept = len(trees)
    if kept and (latest is None or trees[-1].size > latest.checkpoint.size):
        kept -= 1  # a crash came before `latest` was replaced
    last = trees[kept - 1] if kept else None
    if last != (None if latest is None else latest.tree):
        raise LedgerError(
            "the list of cosigned trees does not end with the checkpoint cosigned last: one of "
            "them is missing or an older copy"
        )
    return kept


def _cut(path: Path, records: int) -> None:
    if not path.exists() or path.stat().st_size == records * _RECORD_BYTES:
        return
    os.truncate(path, records * _RECORD_BYTES)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _append(path: Path, record: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    fresh = not path.exists()
    descriptor = os.open(path, flags, 0o644)
    try:
        write_all(descriptor, record)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        flush_folder(path.parent)
