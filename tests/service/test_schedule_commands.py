"""``zhenxue archive prove-schedule``: verdicts, exit codes, and what is said."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import app
from tests.pipelines.lesson_stage import dense_policy_file
from tests.pipelines.proof_stage import (
    MEAN_GAP_S,
    WITNESSES,
    Entries,
    HeldLesson,
    hold_eventful_lesson,
)


@pytest.fixture(scope="module", name="lesson")
def held_lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeldLesson]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        folder = tmp_path_factory.mktemp("lesson")
        lesson = hold_eventful_lesson(folder)
        (folder / "policy.toml").write_bytes(dense_policy_file(MEAN_GAP_S))
        yield lesson
        lesson.stage.finish()


def call(lesson: HeldLesson, *arguments: object, archive: Path | None = None) -> tuple[int, str]:
    folder = archive or lesson.folder / "archive"
    given = ["archive", "prove-schedule", lesson.session_id, "--archive", folder, *arguments]
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(argument) for argument in given])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout + result.stderr


def with_keys(lesson: HeldLesson) -> list[object]:
    keys, policy = lesson.folder / "keys", lesson.folder / "policy.toml"
    return ["--keys", keys, "--policy", policy, "--vkey", lesson.stage.archive.verifier.vkey]


def with_witnesses() -> list[object]:
    return [word for w in WITNESSES for word in ("--witness", w.verifier.vkey)]


def test_a_schedule_that_follows_is_exit_code_0(lesson: HeldLesson) -> None:
    code, said = call(lesson, *with_keys(lesson), *with_witnesses())
    assert code == 0
    assert "witnessed by witness.finance.example, witness.hr.example" in said
    for told in ("来源", "应出", "监督员追加", "未通过后追加", "引擎停机", "← this one"):
        assert told in said
    assert said.splitlines()[-1].startswith("OK (")
    assert " s in " in said
    assert " silences" in said


def test_without_witnesses_keys_it_is_unwitnessed(lesson: HeldLesson) -> None:
    code, said = call(lesson, *with_keys(lesson))
    assert code == 0
    assert "unwitnessed; cosignatures by keys that were not given: 2" in said


def test_json_for_programs(lesson: HeldLesson) -> None:
    code, said = call(lesson, *with_keys(lesson), *with_witnesses(), "--json")
    found: dict[str, Any] = json.loads(said)
    assert (code, found["ok"], found["problems"]) == (0, True, [])
    assert found["notes"] == []
    assert found["silent_s"] >= 900
    assert {silence["why"] for silence in found["silences"]} >= {"engine_away"}
    assert found["witnesses"] == ["witness.finance.example", "witness.hr.example"]
    assert found["header"]["session"] == lesson.session_id
    assert sum(prompt["origin"] == "added" for prompt in found["prompts"]) == 2
    assert found["sessions"][0]["session_id"] == lesson.session_id


def test_a_receipt_stands_in_for_keys(lesson: HeldLesson, tmp_path: Path) -> None:
    receipt = tmp_path / "opening.tlog-proof"
    receipt.write_bytes(lesson.stage.archive.receipt(lesson.result.opened_index))
    policy = lesson.folder / "policy.toml"
    code, said = call(lesson, "--receipt", receipt, "--policy", policy)
    assert code == 0
    assert "已应答 answered" in said
    assert "key taken from the archive itself" in said
    receipt.write_bytes(lesson.stage.archive.receipt(lesson.result.closed_index))
    code, said = call(lesson, "--receipt", receipt, "--policy", policy)
    assert code == 1
    assert said.startswith("NOT OK: the receipt is of entry")


def test_a_prompt_that_was_kept_back_is_exit_code_1(lesson: HeldLesson, tmp_path: Path) -> None:
    def deny(entries: Entries) -> None:
        lesson.of_kind(entries, "session_closed")[0]["facts"]["silences_ms"] = []

    archive = lesson.relogged(tmp_path / "other", deny)
    code, said = call(lesson, *with_keys(lesson), archive=archive)
    assert code == 1
    assert "缺失 MISSING" in said
    assert "it was due and never went out" in said
    assert "NOT OK" in said.splitlines()[-1]


def test_an_added_prompt_needs_the_policy_of_the_header(lesson: HeldLesson) -> None:
    code, said = call(lesson, "--keys", lesson.folder / "keys", "--json")
    assert code == 1
    unknown, added = json.loads(said)["problems"]
    assert unknown == "the policy that the header names is not known: give it with --policy"
    assert "the policy that says when it is due was not given" in added


def test_bad_input_is_exit_code_2(lesson: HeldLesson, tmp_path: Path) -> None:
    for arguments in (
        ["--keys", tmp_path],
        ["--receipt", tmp_path / "missing"],
        [*with_keys(lesson), "--witness", "nobody"],
        [*with_keys(lesson), "--policy", tmp_path / "missing"],
    ):
        assert call(lesson, *arguments)[0] == 2, arguments
    assert call(lesson, *with_keys(lesson), archive=tmp_path)[0] == 2


def test_the_archive_and_keys_of_the_settings_are_read(
    lesson: HeldLesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZHENXUE_DATA_DIR", str(lesson.folder))
    arguments = ["archive", "prove-schedule", lesson.session_id, "--policy"]
    policy = str(lesson.folder / "policy.toml")
    assert CliRunner().invoke(app, [*arguments, policy]).exit_code == 0
    unknown = CliRunner().invoke(app, ["archive", "prove-schedule", "00" * 16])
    assert unknown.exit_code == 2
    assert "no entry under the checkpoint is of session" in unknown.stderr
