"""What a pack's folder holds: ``manifest.json``, and files written so that they are whole."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from models.conversion import CONVERTER_VERSION
from models.packs import Pack, PlainName, Sha256
from verifier.errors import ModelUnavailableError

MANIFEST_NAME: Final = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledFile:
    """One converted network."""

    sha256: Sha256
    size_bytes: int
    source_sha256: Sha256  # of the weights it was converted from


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The finished files of a pack by role."""

    pack: str
    pack_digest: Sha256
    contract_id: str
    converter_version: int
    files: Mapping[PlainName, InstalledFile]

    @classmethod
    def empty(cls, pack: Pack) -> "Manifest":
        """Return the manifest of a pack of which nothing is finished."""
        return cls(
            pack=pack.name,
            pack_digest=pack.digest,
            contract_id=pack.contract_id,
            converter_version=CONVERTER_VERSION,
            files={},
        )

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder.

        Raises
        ------
        ModelUnavailableError
            If it is missing or malformed.
        """
        try:
            return _MANIFEST.validate_json((folder / MANIFEST_NAME).read_bytes())
        except OSError as error:
            raise ModelUnavailableError(f"{MANIFEST_NAME}: {error.strerror}") from error
        except ValidationError as error:
            raise ModelUnavailableError(f"{MANIFEST_NAME} is malformed") from error

    def with_file(self, role: str, file: InstalledFile) -> "Manifest":
        """Return the manifest with one more file."""
        return replace(self, files={**self.files, role: file})

    def write(self, folder: Path) -> None:
        """Write the manifest durably, replacing the one before it at once."""
        values = _MANIFEST.dump_python(self, mode="json")
        text = json.dumps(values, indent=2, sort_keys=True) + "\n"
        write_durably(folder / MANIFEST_NAME, text.encode())


_MANIFEST: Final = TypeAdapter(Manifest)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that after a crash is there whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
