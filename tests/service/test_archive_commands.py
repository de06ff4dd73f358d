"""``zhenxue archive``: verdicts, exit codes, and who vouches for what."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.stored_evidence import object_path
from service.archive_commands import archive_app
from tests.pipelines.archive_samples import Folders, append_note, make_folders, write_session
from verifier.transparency.note import NoteSigner

__all__ = ["make_folders"]  # a fixture


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(archive_app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout


def call_json(*arguments: object) -> tuple[int, Any]:
    code, text = call(*arguments, "--json")
    return code, json.loads(text)


@pytest.fixture(name="vkey")
def vkey_of_a_filled_archive(folders: Folders) -> str:
    with folders.open() as archive:
        write_session(archive)
        return archive.verifier.vkey


@pytest.fixture(name="receipt")
def receipt_of_entry_1(folders: Folders, vkey: str, tmp_path: Path) -> Path:
    path = tmp_path / "1.tlog-proof"
    code, _ = call(
        "prove", folders.archive, 1, "-o", path, "--keys", folders.secrets, "--vkey", vkey
    )
    assert code == 0
    return path


def test_a_folder_that_is_ok(folders: Folders, vkey: str) -> None:
    code, report = call_json("verify", folders.archive, "--vkey", vkey, "--keys", folders.secrets)
    assert code == 0
    assert report["ok"] is True
    assert (report["entries"], report["objects"], report["opened"]) == (4, 3, 3)
    assert report["problems"] == []
    assert report["key_from_archive"] is False
    assert call("fsck", folders.archive, "--vkey", vkey) == (
        0,
        "OK (4 entries, 0 pending, 3 objects)\n",
    )


@pytest.mark.usefixtures("vkey")
def test_without_a_key_it_says_whose_word_it_takes(folders: Folders) -> None:
    code, text = call("verify", folders.archive)
    assert code == 0
    assert "key taken from the archive itself" in text


@pytest.mark.usefixtures("vkey")
def test_a_key_file_that_is_not_there_is_named(folders: Folders) -> None:
    arguments = ["fsck", str(folders.archive), "--vkey", "missing.vkey"]
    result = CliRunner().invoke(archive_app, arguments)
    assert result.exit_code == 2
    assert "missing.vkey: neither a verifier key" in result.stderr


def test_a_key_may_come_from_a_file(folders: Folders, vkey: str, tmp_path: Path) -> None:
    (tmp_path / "log.vkey").write_text(vkey + "\n", encoding="utf-8")
    assert call("verify", folders.archive, "--vkey", tmp_path / "log.vkey")[0] == 0


def test_a_changed_object_is_exit_code_1(folders: Folders, vkey: str) -> None:
    path = next((folders.archive / "objects").rglob("*/*"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")
    code, report = call_json("verify", folders.archive, "--vkey", vkey)
    assert (code, report["ok"]) == (1, False)
    assert "was changed" in report["problems"][0]
    code, text = call("verify", folders.archive, "--vkey", vkey)
    assert code == 1
    assert "NOT OK: 1 problems" in text


def test_a_pipe_in_place_of_the_journal_is_exit_code_1(folders: Folders, vkey: str) -> None:
    (folders.archive / "log" / "pending").unlink()
    os.mkfifo(folders.archive / "log" / "pending")
    code, report = call_json("verify", folders.archive, "--vkey", vkey)
    assert (code, report["ok"], len(report["problems"])) == (1, False, 2)


@pytest.mark.parametrize(("count", "told"), [(1, "1 entry waits"), (2, "2 entries wait")])
def test_what_no_checkpoint_holds_is_said_to_be_unproved(
    folders: Folders, vkey: str, count: int, told: str
) -> None:
    with folders.open() as archive:
        for _ in range(count):
            append_note(archive)
    code, text = call("verify", folders.archive, "--vkey", vkey)
    assert code == 0
    assert f"{told} for a checkpoint: acknowledged, but not proved yet\n" in text
    assert call_json("verify", folders.archive, "--vkey", vkey)[1]["pending"] == count


def test_a_receipt_verifies_offline(receipt: Path, vkey: str, folders: Folders) -> None:
    code, report = call_json("verify", receipt, "--vkey", vkey)
    assert code == 0
    assert report["ok"] is True
    assert (report["index"], report["size"], report["kind"]) == (1, 4, "snapshot")
    assert report["record"] == {"outcome": "captured", "faces": 1, "n": 0}
    stored = object_path(folders.archive, report["object"])
    code, report = call_json("verify", receipt, "--vkey", vkey, "--object", stored)
    assert (code, report["objects"]) == (0, 1)
    code, text = call("verify", receipt, "--vkey", vkey)
    assert code == 0
    assert text.startswith("OK: entry 1 of 4 in log.example/chongqing")


def test_a_receipt_does_not_vouch_for_itself(receipt: Path) -> None:
    assert call("verify", receipt)[0] == 2


def test_a_receipt_of_another_log_or_object_is_exit_code_1(
    receipt: Path, vkey: str, folders: Folders
) -> None:
    other = NoteSigner.generate("log.example/chongqing").verifier.vkey
    code, report = call_json("verify", receipt, "--vkey", other)
    assert (code, report["ok"]) == (1, False)
    assert report["problems"]
    log_file = folders.archive / "log" / "checkpoint"
    assert call("verify", receipt, "--vkey", vkey, "--object", log_file)[0] == 1
    receipt.write_bytes(receipt.read_bytes().replace(b"index 1", b"index 2"))
    assert call("verify", receipt, "--vkey", vkey)[0] == 1


def test_bad_input_is_exit_code_2(
    receipt: Path, vkey: str, folders: Folders, tmp_path: Path
) -> None:
    for arguments in (
        ("verify", tmp_path / "nothing", "--vkey", vkey),
        ("verify", tmp_path),
        ("verify", folders.archive / "log" / "checkpoint", "--vkey", vkey),
        ("verify", receipt, "--vkey", "no key"),
        ("verify", receipt, "--vkey", vkey, "--keys", folders.secrets),
        ("verify", receipt, "--vkey", vkey, "--object", tmp_path / "nothing"),
        ("verify", folders.archive, "--object", receipt),
        ("verify", folders.archive, "--keys", tmp_path),
        ("prove", folders.archive, 4, "-o", tmp_path / "x"),
        ("prove", folders.archive, -1, "-o", tmp_path / "x"),
        ("prove", folders.archive, "one", "-o", tmp_path / "x"),
    ):
        assert call(*arguments)[0] == 2, arguments
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "authority.key").exists()


ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
SCRIPT = MANUAL.split("```bash\n")[1].split("```")[0]
EXAMPLE_VKEY = SCRIPT.split("'")[1]


def test_the_example_in_the_manual_verifies() -> None:
    """A receipt written once and kept: the formats cannot drift without somebody noticing."""
    example = ROOT / "docs" / "archive-example.tlog-proof"
    code, report = call_json("verify", example, "--vkey", EXAMPLE_VKEY)
    assert (code, report["record"]) == (0, {"outcome": "captured"})


def test_the_example_can_be_checked_by_hand(tmp_path: Path) -> None:
    """The manual's commands, run as they stand."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", SCRIPT],  # noqa: S607 - whichever bash the reader has
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Signature Verified Successfully",
        "root agrees",
        "commitment agrees",
    ]
