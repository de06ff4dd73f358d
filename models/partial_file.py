"""A file on its way: what has arrived of it, and of which version."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from models.manifest import sync_folder
from verifier.errors import ModelUnavailableError


class PartialFile:
    """The beginning of a file of known size, kept from one attempt to the next.

    ``.NAME.partial`` holds the bytes; ``.NAME.version`` the address they came from and the mark
    by which its server tells versions apart.
    """

    def __init__(self, folder: Path, name: str, size_bytes: int) -> None:
        self._goal = folder / name
        self._bytes = folder / f".{name}.partial"
        self._version = folder / f".{name}.version"
        self._wanted = size_bytes
        if self.size > size_bytes:
            self.discard()

    @property
    def size(self) -> int:
        """How many bytes are there."""
        try:
            return self._bytes.stat().st_size
        except FileNotFoundError:
            return 0

    def version(self, origin: str) -> str | None:
        """Return the mark that ``origin`` gave these bytes; another server's mark says nothing."""
        with suppress(OSError, ValueError):
            noted: Any = json.loads(self._version.read_bytes())
            if isinstance(noted, dict) and noted.get("origin") == origin:
                version = noted.get("version")
                return version if isinstance(version, str) else None
        return None

    @contextmanager
    def writing(
        self, start: int, origin: str, version: str | None
    ) -> Iterator[Callable[[bytes], bool]]:
        """Open for writing from ``start``; what lay behind it is gone.

        Yields a function that appends bytes and says whether they fit; too many are not written.
        """
        self._version.unlink(missing_ok=True)
        with self._bytes.open("ab") as file:
            file.truncate(start)
            file.seek(start)
            self._version.write_text(json.dumps({"origin": origin, "version": version}))

            def write(piece: bytes) -> bool:
                if file.tell() + len(piece) > self._wanted:
                    return False
                file.write(piece)
                file.flush()  # so that a killed process leaves what it had
                return True

            yield write

    def finish(self, sha256: str) -> Path:
        """Give the file its name, and return its path.

        Raises
        ------
        ModelUnavailableError
            If it is not the pinned one; nothing of it is then kept.
        """
        with self._bytes.open("rb") as file:
            seen = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        if seen != sha256:
            self.discard()
            raise ModelUnavailableError(
                f"{self._goal.name}: sha256 {seen[:12]}, wanted {sha256[:12]}; nothing was kept"
            )
        path = self._bytes.replace(self._goal)
        self._version.unlink(missing_ok=True)
        sync_folder(self._goal.parent)
        return path

    def discard(self) -> None:
        """Forget what has arrived."""
        self._bytes.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)
