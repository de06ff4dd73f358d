"""SHA-256 in hexadecimal, by which every file of a pack is known."""

import hashlib
from pathlib import Path


def digest_of(data: bytes) -> str:
    """Return the digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the digest of a file, never all of it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
