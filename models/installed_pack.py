"""What the cache folder holds of a model pack: absent, damaged, or installed and whole.

Start with `status` and `open_pack`; `models.installation` puts packs there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from models.digests import digest_of
from models.face_recognition_backend import library_problem
from models.manifest import MANIFEST_NAME, InstalledFile, Manifest
from models.packs import Library, Pack, Parts, UrlSource, find_pack
from verifier.errors import ModelUnavailableError

_NO_PARTS: Final = Parts()


class PackState(StrEnum):
    """What the cache folder holds of a pack."""

    ABSENT = "absent"
    INSTALLED = "installed"
    DAMAGED = "damaged"
    INCOMPLETE = "incomplete"  # its files are whole, but the library it stands on is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """One converted file as the manifest promises it and as it lies there."""

    name: str
    size_bytes: int  # as promised
    wanted_sha256: str
    seen_sha256: str | None  # None: the file is missing

    @property
    def whole(self) -> bool:
        """Whether the bytes are those that were installed."""
        return self.seen_sha256 == self.wanted_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class PackStatus:
    """What the cache folder holds of one pack."""

    pack: str
    contract_id: str
    state: PackState
    folder: Path
    files: tuple[FileStatus, ...]
    problem: str | None  # why the pack is damaged or incomplete
    remedy: str  # the command that installs it

    @property
    def summary(self) -> str:
        """One line for people."""
        match self.state:
            case PackState.ABSENT:
                return f"absent; run `{self.remedy}`"
            case PackState.DAMAGED:
                return f"damaged: {self.problem}; run `{self.remedy}`"
            case PackState.INCOMPLETE:
                return f"incomplete: {self.problem}"
            case PackState.INSTALLED:
                size_mb = sum(file.size_bytes for file in self.files) / 1e6
                return f"installed, {size_mb:.1f} MB, {self.contract_id}"

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return {
            "pack": self.pack,
            "state": str(self.state),
            "contract": self.contract_id,
            "problem": self.problem,
            "files": [
                {
                    "name": file.name,
                    "size_bytes": file.size_bytes,
                    "sha256": file.seen_sha256,
                    "wanted_sha256": file.wanted_sha256,
                }
                for file in self.files
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFile:
    """Where the network of one role lies, and which bytes it must be."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPack:
    """A pack whose files were there and whole when it was opened."""

    name: str
    contract_id: str
    files: Mapping[str, PackFile]  # by role
    parts: Parts = _NO_PARTS
    library: Library | None = None


def open_pack(name: str, cache_dir: Path, *, allow_non_commercial: bool = False) -> InstalledPack:
    """Return an installed pack after checking every file against its manifest.

    Raises
    ------
    InputError
        If no pack has that name.
    ModelUnavailableError
        If the pack is absent or damaged, or its licence bars commercial use and nobody allowed
        that.
    """
    pack = find_pack(name)
    check_licence(pack, allow_non_commercial=allow_non_commercial)
    return open_installed(pack, cache_dir)


def check_licence(pack: Pack, *, allow_non_commercial: bool) -> None:
    """Refuse a pack that bars commercial use unless somebody explicitly allowed it.

    A bureau pays for every lesson that is judged; whether that is commercial is for its lawyers,
    so no such pack comes into use by a name in a setting alone.
    """
    if not (pack.commercial_use or allow_non_commercial):
        raise ModelUnavailableError(
            f"pack {pack.name!r} ({pack.licence}) bars commercial use; where that is no obstacle, "
            "set ZHENXUE_ALLOW_NON_COMMERCIAL=true"
        )


def check_library(pack: Pack) -> None:
    """Refuse a pack whose Python library is missing, or is not the pinned one."""
    if pack.library is not None and (problem := library_problem(pack.library)):
        raise ModelUnavailableError(f"pack {pack.name!r}: {problem}")


def status(pack: Pack, cache_dir: Path) -> PackStatus:
    """Say what the cache folder holds of a pack; reads every file, changes nothing."""
    folder = pack_folder(pack, cache_dir)
    if not folder.is_dir():
        return _status(pack, folder, PackState.ABSENT)
    try:
        manifest = Manifest.read(folder)
    except ModelUnavailableError as error:
        return _status(pack, folder, PackState.DAMAGED, problem=str(error))
    files = tuple(inspect_file(folder / onnx_name(role), f) for role, f in manifest.files.items())
    if problem := _first_problem(pack, manifest, files):
        return _status(pack, folder, PackState.DAMAGED, files=files, problem=problem)
    if pack.library is not None and (problem := library_problem(pack.library)):
        return _status(pack, folder, PackState.INCOMPLETE, files=files, problem=problem)
    return _status(pack, folder, PackState.INSTALLED, files=files)


def open_installed(pack: Pack, cache_dir: Path) -> InstalledPack:
    """Do what `open_pack` does, for a pack that need not be one of the known ones."""
    seen = status(pack, cache_dir)
    if seen.state is not PackState.INSTALLED:
        raise ModelUnavailableError(f"model pack {pack.name!r} is {seen.summary}")
    wanted = {file.name: file.wanted_sha256 for file in seen.files}
    files = {
        role: PackFile(path=seen.folder / onnx_name(role), sha256=wanted[onnx_name(role)])
        for role in pack.files
    }
    return InstalledPack(
        name=pack.name,
        contract_id=pack.contract_id,
        parts=pack.parts,
        files=files,
        library=pack.library,
    )


def pack_folder(pack: Pack, cache_dir: Path) -> Path:
    """Return where a pack lies once it is installed."""
    return cache_dir / "packs" / f"{pack.name}-{pack.digest[:12]}"


def onnx_name(role: str) -> str:
    """Return the file name of a role's network."""
    return f"{role}.onnx"


def _status(
    pack: Pack,
    folder: Path,
    state: PackState,
    *,
    files: tuple[FileStatus, ...] = (),
    problem: str | None = None,
) -> PackStatus:
    return PackStatus(
        pack=pack.name,
        contract_id=pack.contract_id,
        state=state,
        folder=folder,
        files=files,
        problem=problem,
        remedy=_remedy(pack),
    )


def _remedy(pack: Pack) -> str:
    """Return the command that installs a pack: pip alone where that is enough."""
    from_addresses = any(isinstance(source, UrlSource) for source in pack.sources.values())
    command = f"zhenxue models {'pull' if from_addresses else 'install'}"
    return command if pack.name == "default" else f"{command} {pack.name}"


def inspect_file(path: Path, entry: InstalledFile) -> FileStatus:
    """Compare a file with its entry in the manifest."""
    try:
        seen = digest_of(path.read_bytes())
    except OSError:
        seen = None
    return FileStatus(
        name=path.name,
        size_bytes=entry.size_bytes,
        wanted_sha256=entry.sha256,
        seen_sha256=seen,
    )


def _first_problem(pack: Pack, manifest: Manifest, files: tuple[FileStatus, ...]) -> str | None:
    if manifest.pack_digest != pack.digest:
        return f"{MANIFEST_NAME} is of pack {manifest.pack_digest[:12]}, wanted {pack.digest[:12]}"
    if missing := sorted(pack.files.keys() - manifest.files.keys()):
        return f"{MANIFEST_NAME} lacks {', '.join(missing)}"
    for file in files:
        if file.seen_sha256 is None:
            return f"{file.name} is missing"
        if not file.whole:
            return (
                f"{file.name} has sha256 {file.seen_sha256[:12]}, wanted {file.wanted_sha256[:12]}"
            )
    return None
