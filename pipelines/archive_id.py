"""Which archive a folder holds: an id that says nothing, and that a database can name too.

An archive that nothing else refers to needs none. The file ends with a check, so that a byte that
decayed is told from the id of another archive; it does not stop whoever may write to the folder.
"""

import hashlib
import re
import secrets
from pathlib import Path
from typing import Final

from pipelines.durable_files import (
    as_ledger_error,
    flush_folder,
    make_folder,
    read_ordinary,
    write_new,
)
from verifier.errors import LedgerError

ARCHIVE_ID_FILE: Final = "archive.id"

_TEXT: Final = re.compile(rb"([0-9a-f]{32}) ([0-9a-f]{16})\n")


def parse_archive_id(data: bytes) -> str:
    """Return the id, 32 hex digits, in the bytes of the file; ``LedgerError`` if damaged."""
    found = _TEXT.fullmatch(data)
    if found is None or data != format_archive_id(found[1].decode()):
        raise LedgerError(f"{ARCHIVE_ID_FILE} is damaged: it is no id with its check")
    return found[1].decode()


def format_archive_id(archive_id: str) -> bytes:
    """Return the bytes of the file: the id, and the first 8 bytes of its SHA-256 in hex."""
    check = hashlib.sha256(archive_id.encode()).hexdigest()[:16]
    return f"{archive_id} {check}\n".encode()


@as_ledger_error("the archive's id could not be read")
def read_archive_id(folder: Path) -> str | None:
    """Return the id of the archive in ``folder``; None if it has none.

    Raises
    ------
    LedgerError
        If it is damaged or cannot be read.
    """
    try:
        return parse_archive_id(read_ordinary(folder / ARCHIVE_ID_FILE))
    except FileNotFoundError:
        return None


@as_ledger_error("the archive's id could not be written")
def give_archive_id(folder: Path) -> str:
    """Return the id of an archive that was not begun yet, giving it one that is durable.

    Over a damaged one, which a crash in this very act leaves: nothing can refer to that.

    Raises
    ------
    LedgerError
        If the archive was begun, or the disk refused.
    """
    if (folder / "log").exists():
        raise LedgerError("the archive was begun; it takes no new id")
    make_folder(folder)
    try:
        if (known := read_archive_id(folder)) is not None:
            return known
    except LedgerError:
        (folder / ARCHIVE_ID_FILE).unlink()
    fresh = secrets.token_hex(16)
    write_new(folder / ARCHIVE_ID_FILE, format_archive_id(fresh))
    flush_folder(folder)
    return fresh
