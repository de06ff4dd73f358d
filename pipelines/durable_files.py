"""Files that are wholly there or not there, also after the power failed.

The order is always the same: write beside the target, flush the file, rename, flush the
folder. A flush that fails is never tried again: the kernel may have dropped the data and
would report success the second time.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verifier.errors import LedgerError


@contextmanager
def as_ledger_error(failed: str) -> Iterator[None]:
    """Let what the disk refuses leave as ``LedgerError``: what ``failed``, and why."""
    try:
        yield
    except OSError as error:
        raise LedgerError(f"{failed}: {error.strerror or type(error).__name__}") from error


def read_ordinary(path: Path) -> bytes:
    """Return the bytes of an ordinary file; a link is not followed, a pipe not waited for.

    Raises
    ------
    OSError
        If it is anything else, missing, or may not be read.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(None, "not an ordinary file")
        return file.read()


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """Create ``folder`` and its parents durably; fine if it exists."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    folder.mkdir(mode=mode, exist_ok=True)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write and flush a file that must not exist yet; its name is not durable yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``: a single ``write`` may take only a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def replace_file(path: Path, data: bytes, *, temporary: Path, mode: int = 0o644) -> None:
    """Put ``data`` at ``path`` at once, over what may be there.

    Parameters
    ----------
    temporary
        A folder on the same file system, where a half-written file can lie without being
        taken for anything.
    """
    # Named after its target: what a killed process leaves should tell whose it is.
    draft = temporary / f".{path.name[:64]}.{secrets.token_hex(8)}.tmp"
    try:
        write_new(draft, data, mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    flush_folder(path.parent)


def link_new(draft: Path, path: Path) -> bool:
    """Give the flushed file ``draft`` the name ``path`` too, unless that is taken.

    Returns False where the name was taken; nothing changed then.
    """
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    flush_folder(path.parent)
    return True


def shred_file(path: Path) -> None:
    """Overwrite, flush and remove a small file, and flush its folder; fine if it is gone.

    Overwriting helps on disks that write in place; on others it is the missing name, and the
    wrapping of what the file held, that protects.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        write_all(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    flush_folder(path.parent)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
