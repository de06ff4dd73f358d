import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from verifier.check import parse_session


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory, models_cache: Path, demo_faces: dict[str, Path]
) -> tuple[Path, str]:
    """Run the demo once; return its folder and what it printed."""
    assert models_cache.is_dir()
    assert demo_faces
    folder = tmp_path_factory.mktemp("demo") / "out"
    result = CliRunner().invoke(app, ["demo", "--out", str(folder), "--seed", "7"])
    assert result.exit_code == 0, result.output
    return folder, result.output


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        ("blazeface-short", "blazeface-short has no built-in calibration; the demo needs one"),
        ("minifasnet", "minifasnet compares no faces"),
    ],
)
def test_a_pack_that_the_demo_cannot_judge_by_is_refused_before_it_is_fetched(
    pack: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default pack's calibration says nothing about another pack's scores."""

    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("the pack was fetched")

    monkeypatch.setattr("service.demo_commands.install", fetch)
    folder = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "--out", str(folder)], env={"ZHENXUE_PACK": pack})
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not folder.exists()


def test_the_table_has_a_line_for_each_learner_and_says_why(ran: tuple[Path, str]) -> None:
    printed = ran[1]
    rows = re.findall(r"│ ([甲乙丙丁]) +│ +([\d.]+) │ +50 │", printed)
    assert rows == [("甲", "50.0"), ("乙", "25.0"), ("丙", "25.0"), ("丁", "0.0")]
    assert "no face in the picture" in printed
    assert "不进不补" in printed
    assert "verified offline" in printed


def test_the_printed_commands_work(ran: tuple[Path, str]) -> None:
    """The receipt and the whole archive verify by the very words that the demo printed."""
    commands = re.findall(r"(archive (?:verify|prove-schedule) .+)", ran[1])
    assert len(commands) == 3
    for command in commands:
        assert CliRunner().invoke(app, command.split()).exit_code == 0, command


def test_a_flipped_byte_anywhere_is_found(ran: tuple[Path, str]) -> None:
    folder = ran[0] / "archive"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    assert len(files) > 10
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        result = CliRunner().invoke(
            app, ["archive", "verify", str(folder), "--vkey", str(ran[0] / "log.vkey"), "--json"]
        )
        path.write_bytes(whole)
        assert result.exit_code == 1, path.name
        assert json.loads(result.stdout)["ok"] is False


def test_the_report_stands_alone(ran: tuple[Path, str]) -> None:
    """One file: pictures inside, nothing fetched, every learner on it."""
    page = (ran[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert page.count('src="data:image/jpeg;base64,') >= 6
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("随机验证证明") == 3
    assert page.count("一致 OK") == 3
    assert page.count("prove-schedule") == 1
    for title in ("全程本人学习", "中途换人代学", "中途离开", "平台事后上传学时"):
        assert title in page


def test_evidence_is_in_the_public_format(ran: tuple[Path, str]) -> None:
    lines = (ran[0] / "evidence.jsonl").read_text(encoding="utf-8").splitlines()
    scores = (ran[0] / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    sessions = [parse_session(line).session_id for line in lines]
    assert len(set(sessions)) == 3
    assert [json.loads(score)["session_id"] for score in scores] == sessions
