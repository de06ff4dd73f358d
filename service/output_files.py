"""Files that a command writes: refused before an hour of work, whole or not there after it."""

from pathlib import Path

from pipelines.durable_files import replace_file
from verifier.errors import InputError


def require_writable(*paths: Path | None) -> None:
    """Raise `InputError` for a path that is a folder, or lies in none; None is passed over."""
    for path in paths:
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise InputError(f"{path}: a file in a folder that exists was wanted")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, in place of one that was there."""
    replace_file(path, data, temporary=path.absolute().parent)
