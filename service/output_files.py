"""Files that a command writes: refused before an hour of work, whole or not there after it."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.durable_files import replace_file
from verifier.errors import InputError


def require_writable(*paths: Path | None, inputs: Sequence[Path | None] = ()) -> None:
    """Raise `InputError` for a path that cannot be written or would cost what lies there.

    That is a folder, a path that lies in none, one that is named twice, or one of the files that
    are read. None is passed over.
    """
    taken = {path.resolve() for path in inputs if path is not None}
    for path in paths:
        if path is None:
            continue
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(f"{path}: a file in a folder that exists was wanted")
        if path.resolve() in taken:
            raise InputError(f"{path}: read or written already; a file of its own was wanted")
        taken.add(path.resolve())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, in place of one that was there."""
    replace_file(path, data, temporary=path.absolute().parent)
