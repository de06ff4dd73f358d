r"""Entries that were acknowledged and are not yet under a signed checkpoint.

One file that only grows::

    zhenxue-pending/v1 <index of the first entry>\n
    length (4 bytes) | check of the length (4) | entry | SHA-256 over index and entry (32)
    …

A crash can cut the last record short: it was never acknowledged and is dropped. Anything else
that does not fit is damage to what was acknowledged, and is refused, never repaired.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.durable_files import replace_file, write_all
from verifier.errors import LedgerError
from verifier.transparency.checkpoint import parse_decimal

MAGIC = b"zhenxue-pending/v1 "
_LENGTH_BYTES = 8
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEntries:
    """A journal as read."""

    first: int  # index of entries[0]
    entries: tuple[bytes, ...]
    intact_bytes: int  # length of the file up to the end of the last whole record
    torn_bytes: int  # what a crash left of a record that nobody was told about

    @property
    def end(self) -> int:
        """Index after the last entry."""
        return self.first + len(self.entries)


def parse_journal(data: bytes) -> PendingEntries:
    """Read a journal.

    Raises
    ------
    LedgerError
        If anything but the end of the last record is not as it was written.
    """
    line, newline, _ = data[:64].partition(b"\n")
    if not newline or not line.startswith(MAGIC):
        raise LedgerError("the journal of pending entries has no header line")
    first = parse_decimal(line.removeprefix(MAGIC).decode("ascii", "replace"))
    entries: list[bytes] = []
    at = len(line) + 1
    while (record := _read_record(data, at, first + len(entries))) is not None:
        entry, at = record
        entries.append(entry)
    return PendingEntries(
        first=first, entries=tuple(entries), intact_bytes=at, torn_bytes=len(data) - at
    )


class JournalWriter:
    """The open end of a journal; one writer, guarded by the log's lock."""

    def __init__(self, path: Path, pending: PendingEntries) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._next = pending.end
        try:
            if pending.torn_bytes:
                os.ftruncate(self._descriptor, pending.intact_bytes)
                os.fsync(self._descriptor)
        except BaseException:
            self.close()
            raise

    def append_all(self, entries: Sequence[bytes]) -> int:
        """Write entries, flush them together, and return the index of the first.

        Raises
        ------
        OSError
            If they cannot be known to be on the disk; the writer must not be used again.
        """
        first = self._next
        records = (_record(first + offset, entry) for offset, entry in enumerate(entries))
        write_all(self._descriptor, b"".join(records))
        os.fsync(self._descriptor)
        self._next += len(entries)
        return first

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def start_journal(path: Path, first: int, *, temporary: Path) -> None:
    """Put an empty journal at ``path``, at once."""
    replace_file(path, MAGIC + b"%d\n" % first, temporary=temporary)


def _record(index: int, entry: bytes) -> bytes:
    return _length_field(index, len(entry)) + entry + _digest(index, entry)


def _read_record(data: bytes, at: int, index: int) -> tuple[bytes, int] | None:
    """Return the entry at ``at`` and where the next one starts, or None at the end."""
    start = at + _LENGTH_BYTES
    if start > len(data):
        return None
    length = int.from_bytes(data[at : at + 4], "big")
    # The length has its own check: a damaged length must not look like a torn record.
    if data[at:start] != _length_field(index, length):
        raise LedgerError(f"pending entry {index} was changed: its length does not check")
    end = start + length + _DIGEST_BYTES
    if end > len(data):
        return None
    entry = data[start : start + length]
    if data[start + length : end] != _digest(index, entry):
        raise LedgerError(f"pending entry {index} was changed: its digest does not check")
    return entry, end


def _length_field(index: int, length: int) -> bytes:
    prefix = length.to_bytes(4, "big")
    return prefix + hashlib.sha256(index.to_bytes(8, "big") + prefix).digest()[:4]


def _digest(index: int, entry: bytes) -> bytes:
    return hashlib.sha256(index.to_bytes(8, "big") + entry).digest()
