"""Settings come from the environment; a wrong one is one clear line and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import read_settings
from verifier.errors import InputError


@pytest.mark.parametrize("threads", ["0", "-3", "abc", "65"])
def test_a_wrong_number_of_threads_is_named(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHENXUE_THREADS", threads)
    with pytest.raises(InputError, match=r"^ZHENXUE_THREADS: Input should be"):
        read_settings()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZHENXUE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("ZHENXUE_THREADS", "2")
    settings = read_settings()
    assert (settings.cache_dir, settings.threads, settings.pack) == (tmp_path, 2, "default")


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        env={**os.environ, "ZHENXUE_CACHE_DIR": str(tmp_path), **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ZHENXUE_THREADS": "0"}, b"error: ZHENXUE_THREADS: "),
        ({"ZHENXUE_PACK": "nope"}, b"error: no pack 'nope'; known are "),
    ],
)
def test_a_wrong_setting_is_bad_input_not_a_negative_answer(
    environment: dict[str, str], said: bytes, tmp_path: Path
) -> None:
    done = run(tmp_path, "demo", "--out", str(tmp_path / "out"), **environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_terminal_without_our_characters_still_gets_an_answer(tmp_path: Path) -> None:
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(tmp_path, "models", "status", **plain)
    assert done.returncode == 1
    assert b"absent" in done.stdout
    assert run(tmp_path, "--help", **plain).returncode == 0


@pytest.mark.parametrize("text", ["key", "key https://witness.example"])
def test_witnesses_that_are_none_are_named(text: str) -> None:
    with pytest.raises(InputError, match=r"^ZHENXUE_WITNESSES: "):
        read_settings(witnesses=text)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file of settings leaves what nobody filled in."""
    for name in ("ZHENXUE_ATTACK_PACK", "ZHENXUE_PACK", "ZHENXUE_THREADS"):
        monkeypatch.setenv(name, "")
    settings = read_settings()
    assert (settings.attack_pack, settings.pack, settings.threads) == (None, "default", 1)
