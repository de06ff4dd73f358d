"""``zhenxue evaluate``: what it prints, what it writes, and what it refuses."""

import json
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from models.observer import FaceObserver
from service import evaluate_commands
from service.cli import app
from verifier.calibration import DEFAULT_CALIBRATION

pytestmark = pytest.mark.models


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def call(*arguments: object) -> Said:
    result = CliRunner().invoke(app, ["evaluate", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return Said(code=result.exit_code, out=result.stdout, err=result.stderr)


@pytest.fixture(autouse=True)
def _one_observer(observer: FaceObserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_commands, "chosen_observer", lambda _: observer)


@pytest.fixture(name="pairs")
def pairs_of_portraits(tmp_path: Path, demo_faces: dict[str, Path]) -> Path:
    paths = {name: str(path) for name, path in demo_faces.items()}
    rows = [
        f"{paths['person1-a']},{paths['person1-b']},1",
        f"{paths['person1-a']},{paths['person2']},0",
        f"{paths['person2']},{paths['person3']},false",
    ]
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(["a,b,mated", *rows]), encoding="utf-8")
    return table


@pytest.mark.shared_data
def test_research_faces(shared_data: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = call("--folder", shared_data / "faces" / "lfw5", "--json", "--report", page)
    found = said.json()
    assert (said.code, said.err) == (0, "")
    assert [found[key] for key in ("subjects", "mated", "non_mated", "fta")] == [5, 225, 1000, 0]
    assert 0 < found["eer"]["value"] < 0.03
    assert found["eer"]["low"] <= found["eer"]["value"] <= found["eer"]["high"]
    assert found["eer"]["few"]
    assert found["fnmr_at"]["0.001"]["false_matches"] <= 1
    assert found["fnmr_at"]["0.0001"]["value"] is None
    assert 0 < found["min_cllr"] < found["cllr"] < 0.3
    assert found["calibration"] == DEFAULT_CALIBRATION.label
    assert "lfw5" in page.read_text(encoding="utf-8")


@pytest.mark.demo_faces
class TestPairs:
    """A CSV of pairs."""

    def test_few_pairs_are_bounded_and_not_zero(self, pairs: Path) -> None:
        said = call(pairs, "--json")
        found = said.json()
        assert said.code == 0
        assert [found[key] for key in ("subjects", "mated", "non_mated")] == [3, 1, 2]
        assert (found["eer"]["value"], found["eer"]["high"]) == (None, 1.0)
        assert found["fnmr_at"]["0.01"]["value"] is None

    def test_people_read_a_table_and_what_is_missing(self, pairs: Path) -> None:
        said = call(pairs)
        assert said.code == 0
        assert "3 people, 4 pictures (FTA 0), 1 mated and 2 non-mated comparisons" in said.out
        assert "未测得 not measured" in said.out
        assert "no intervals, 5 wanted" in said.out

    def test_the_page_has_the_day_that_it_is_in_china(
        self, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Evening(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls(2026, 11, 23, 16, 30, tzinfo=tz)

        monkeypatch.setattr(evaluate_commands, "datetime", Evening)
        call(pairs, "--report", tmp_path / "page.html", "--bootstrap", 0)
        assert "2026-11-24" in (tmp_path / "page.html").read_text(encoding="utf-8")

    def test_another_calibration_can_be_judged(self, pairs: Path, tmp_path: Path) -> None:
        # No more than five people support.
        caps = {"min_log10_lr": -0.2, "max_log10_lr": 0.5}
        document = {**DEFAULT_CALIBRATION.to_json(), "name": "ours", **caps}
        file = tmp_path / "calibration.json"
        file.write_text(json.dumps(document))
        assert call(pairs, "--json", "--calibration", file).json()["calibration"].startswith("ours")
        file.write_text(json.dumps({**document, "contract_id": "other@0"}))
        said = call(pairs, "--calibration", file)
        assert (said.code, said.out) == (2, "")
        assert "calibration for other@0" in said.err
        file.write_text(json.dumps({**document, "max_log10_lr": 6.0}))
        said = call(pairs, "--calibration", file)
        assert (said.code, said.out) == (2, "")
        assert "calibration.json: caps of -0.2 and 6; by the people behind it" in said.err

    def test_nothing_is_written_where_nothing_can_be(self, pairs: Path, tmp_path: Path) -> None:
        said = call(pairs, "--report", tmp_path / "absent" / "page.html")
        assert (said.code, said.out) == (2, "")
        assert "a file in a folder that exists" in said.err
        assert call(pairs, "--report", tmp_path).code == 2


class TestBadInput:
    """Exit code 2, one line, and no file."""

    def test_one_of_two_inputs_is_wanted(self, tmp_path: Path) -> None:
        for arguments in ((), (tmp_path / "pairs.csv", "--folder", tmp_path)):
            said = call(*arguments)
            assert (said.code, said.out) == (2, "")
            assert said.err == "error: a CSV of pairs or --folder wanted, one of the two\n"

    def test_a_bad_table_leaves_no_page(self, tmp_path: Path) -> None:
        (tmp_path / "pairs.csv").write_text("a,b\n")
        said = call(tmp_path / "pairs.csv", "--report", tmp_path / "page.html")
        assert (said.code, said.out) == (2, "")
        assert said.err == "error: pairs.csv: no column mated; a, b and mated wanted\n"
        assert not (tmp_path / "page.html").exists()

    def test_a_folder_of_nobody(self, tmp_path: Path) -> None:
        for name in ("one/1.jpg", "one/2.jpg", "two/1.jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"no picture")
        said = call("--folder", tmp_path, "--json", "--report", tmp_path / "page.html")
        assert (said.code, said.out) == (2, "")
        assert "0 mated and 0 non-mated comparisons completed; of 3 pictures 3" in said.err
        assert not (tmp_path / "page.html").exists()
