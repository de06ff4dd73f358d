"""Installs model packs into a cache folder, tells what is there, and opens them verified.

Layout, all under the cache folder the caller names:

- ``downloads/`` packages as fetched, kept until the pack that needs them is whole;
- ``packs/<pack>-<digest prefix>/`` one ``.onnx`` file per role and ``manifest.json``;
- ``packs/.building-<same>/`` a pack on its way: its manifest lists the files that are finished,
  so an interrupted installation goes on where it stopped; renamed when whole;
- ``packs/.lock`` held while installing.

Start with `install`, `status` and `open_pack`.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.artefacts import ArtefactStore, UrlFetcher
from models.conversion import Converter, convert_weights
from models.digests import digest_of
from models.installed_pack import (
    InstalledPack,
    PackState,
    check_library,
    check_licence,
    inspect_file,
    onnx_name,
    open_installed,
    open_pack,
    pack_folder,
    status,
)
from models.manifest import InstalledFile, Manifest, sync_folder, write_durably
from models.packs import Pack, WeightsFile, load_packs
from models.pip_download import Downloader, PipDownloader, Silent
from models.self_test import SelfTester, run_self_test
from models.sessions import read_verified
from verifier.errors import ModelUnavailableError
from verifier.protocols import ProgressSink

__all__ = ["InstalledPack", "PackState", "install", "open_pack", "status"]


def install(
    pack: Pack,
    cache_dir: Path,
    *,
    progress: ProgressSink | None = None,
    downloader: Downloader | None = None,
    url_fetcher: UrlFetcher | None = None,
    allow_non_commercial: bool = False,
    converter: Converter = convert_weights,
    self_tester: SelfTester = run_self_test,
) -> InstalledPack:
    """Make sure a pack is installed and whole; the second call does nothing.

    A pack appears at once or not at all. What was finished before an interruption, or is intact
    in a damaged pack, is kept. Two installations at once wait for each other.

    Parameters
    ----------
    url_fetcher
        Fetches weights that lie at an address; without one only pip is asked for anything.
    allow_non_commercial
        Somebody decided that this use agrees with a licence that bars commercial use.

    Raises
    ------
    ModelUnavailableError
        If a source cannot be fetched, is not the pinned one, or converts into a network that
        fails its self-test; if the pack's licence was not accepted, or its library is missing.
    """
    check_licence(pack, allow_non_commercial=allow_non_commercial)
    check_library(pack)
    if status(pack, cache_dir).state is PackState.INSTALLED:
        return open_installed(pack, cache_dir)
    sink = progress or Silent()
    (cache_dir / "packs").mkdir(parents=True, exist_ok=True)
    with _locked(cache_dir / "packs" / ".lock", sink):
        downloads = cache_dir / "downloads"
        store = ArtefactStore(downloads, downloader or PipDownloader(), sink, url_fetcher)
        # Another process may have finished while this one waited.
        if status(pack, cache_dir).state is not PackState.INSTALLED:
            building = _start_building(pack, cache_dir)
            _build(pack, building, store, _Workshop(converter, self_tester, sink))
            building.replace(pack_folder(pack, cache_dir))
            sync_folder(cache_dir / "packs")
        store.forget(pack)
    return open_installed(pack, cache_dir)


@dataclass(frozen=True, slots=True)
class _Workshop:
    convert: Converter
    self_test: SelfTester
    progress: ProgressSink

    def make(self, role: str, file: WeightsFile, weights: bytes) -> bytes:
        self.progress.update(f"convert {role}", 0, 2)
        model = self.convert(file.converter, weights)
        self.progress.update(f"convert {role}", 1, 2)
        self.self_test(role, model, file.self_test)
        self.progress.update(f"convert {role}", 2, 2)
        return model


def _build(pack: Pack, building: Path, store: ArtefactStore, workshop: _Workshop) -> None:
    """Finish every file that ``building`` still lacks, noting each as soon as it is durable."""
    manifest = Manifest.read(building)
    for role, file in pack.files.items():
        if role in manifest.files:
            continue
        model = _installed_elsewhere(file, building.parent.parent)
        if model is None:
            model = workshop.make(role, file, store.weights(pack, role))
        write_durably(building / onnx_name(role), model)
        entry = InstalledFile(
            sha256=digest_of(model), size_bytes=len(model), source_sha256=file.sha256
        )
        manifest = manifest.with_file(role, entry)
        manifest.write(building)


def _installed_elsewhere(file: WeightsFile, cache_dir: Path) -> bytes | None:
    """Return the network that the same converter made of the same weights for another pack.

    Packs share networks that came in packages of 100 MB; those need not be fetched again.
    """
    for other in load_packs().values():
        roles = [r for r, f in other.files.items() if _same_network(f, file)]
        if roles and status(other, cache_dir).state is PackState.INSTALLED:
            pack_file = open_installed(other, cache_dir).files[roles[0]]
            return read_verified(pack_file.path, pack_file.sha256)
    return None


def _same_network(first: WeightsFile, second: WeightsFile) -> bool:
    return (first.sha256, first.converter) == (second.sha256, second.converter)


def _start_building(pack: Pack, cache_dir: Path) -> Path:
    """Return the folder to build in, holding a manifest of what need not be made again."""
    folder, building = pack_folder(pack, cache_dir), _building(pack, cache_dir)
    if folder.is_dir():  # damaged: what is intact in it becomes the beginning of the new one
        shutil.rmtree(building, ignore_errors=True)
        folder.replace(building)
    building.mkdir(exist_ok=True)
    try:
        manifest = Manifest.read(building)
    except ModelUnavailableError:
        manifest = Manifest.empty(pack)
    _intact(manifest, pack, building).write(building)
    return building


def _intact(manifest: Manifest, pack: Pack, building: Path) -> Manifest:
    """Keep only entries of this pack's weights whose files are whole."""
    kept = Manifest.empty(pack)
    for role, entry in manifest.files.items():
        wanted = pack.files.get(role)
        if wanted is None or entry.source_sha256 != wanted.sha256:
            continue
        if inspect_file(building / onnx_name(role), entry).whole:
            kept = kept.with_file(role, entry)
    return kept


def _building(pack: Pack, cache_dir: Path) -> Path:
    return cache_dir / "packs" / f".building-{pack.name}-{pack.digest[:12]}"


@contextmanager
def _locked(path: Path, progress: ProgressSink) -> Iterator[None]:
    """Hold a lock that the system frees even if this process is killed."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.update("wait for another installation", 0, 0)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
