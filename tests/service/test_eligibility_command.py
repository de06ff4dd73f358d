"""``zhenxue eligibility``: answers for people and programs, and exit codes for scripts."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.eligibility_commands import eligibility
from tests.verifier.eligibility_samples import entry, facts
from verifier.eligibility_record import facts_record

app = typer.Typer()
app.command()(eligibility)

GOOD = facts_record(facts())
UNSEEN = facts_record(facts(sessions=(), claimed_s=172_800.0))
SHORT = facts_record(facts(sessions=facts().sessions[:1]))


def call(document: object, *options: str) -> Any:
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    return CliRunner().invoke(app, ["-", *options], input=text)


def answer(document: object) -> tuple[int, Any]:
    result = call(document, "--json")
    return result.exit_code, json.loads(result.stdout) if result.stdout else None


def test_payable_hours_exit_0() -> None:
    code, record = answer(GOOD)
    assert code == 0
    assert (record["outcome"], record["credit_hours"], record["policy"]) == (
        "payable",
        2.0,
        "default@2",
    )
    assert record["rules"][0]["rule"] == "registered_before_event@1"
    assert all(rule["code"] is None for rule in record["rules"])


def test_uploaded_hours_exit_1_and_the_page_says_why() -> None:
    code, record = answer(UNSEEN)
    assert (code, record["outcome"]) == (1, "not_payable")
    page = call(UNSEEN)
    assert page.exit_code == 1
    assert "不予补贴" in page.stdout
    assert "不进不补" in page.stdout
    assert "NO_SESSION_SEEN" in page.stdout
    assert "claimed 172800 s" in page.stdout


def test_a_list_in_gives_a_list_out_in_order_and_the_least_decides() -> None:
    code, records = answer([GOOD, SHORT, UNSEEN])
    assert code == 1
    assert [record["outcome"] for record in records] == ["payable", "not_yet", "not_payable"]
    assert answer([GOOD, GOOD])[0] == 0
    assert isinstance(answer([GOOD])[1], list)


def test_a_file_is_read_like_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(GOOD), encoding="utf-8")
    result = CliRunner().invoke(app, [str(file), "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == answer(GOOD)


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ("{", "not readable JSON"),
        (b"\xff\xfe", "not readable JSON"),
        ([], "the list is empty"),
        (7, "the record is 7; an object was wanted"),
        ({**GOOD, "as_of": "yesterday"}, "as_of is 'yesterday'"),
        ({key: value for key, value in GOOD.items() if key != "list_entries"}, "list_entries"),
        ([GOOD, {**GOOD, "sessions": [{}]}], "[1]: sessions[0]: session_id is missing"),
        ({**GOOD, "as_of": "2019-01-01T00:00:00Z"}, "at most as_of"),
        ({**GOOD, "claimed_s": float("nan")}, "NaN"),
    ],
)
def test_bad_input_exits_2_names_the_place_and_decides_nothing(
    document: object, wanted: str
) -> None:
    result = call(document, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert wanted in result.stderr


def test_a_missing_file_exits_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "none.json")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.json" in result.stderr


def test_an_id_cannot_rewrite_the_terminal() -> None:
    record = facts_record(facts(learner_id="l\x1b[2J", list_entries=(entry(),)))
    page = call(record)
    assert page.exit_code == 0
    assert "\x1b" not in page.stdout


def test_the_documented_example_is_answered_as_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    section = text.partition("## `zhenxue eligibility FACTS --json`")[2]
    blocks = [block.partition("```")[0] for block in section.split("```json\n")[1:3]]
    given, documented = (json.loads(block) for block in blocks)
    code, record = answer(given)
    assert (code, record) == (1, documented)
