"""The policy: every number dated and sourced, or refused."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from verifier.errors import InvalidRecordError
from verifier.policy import PolicyValue, default_policy, load_policy

DEFAULT = Path(__file__).parents[2] / "verifier" / "policies" / "default.toml"
TEXT = DEFAULT.read_text(encoding="utf-8")


def edited(old: str, new: str) -> bytes:
    """Return the shipped policy with one text replaced; the text must be there."""
    assert old in TEXT
    return TEXT.replace(old, new).encode()


def test_the_shipped_policy_holds_the_numbers_of_the_design() -> None:
    policy = default_policy()
    assert policy.rule == "default@2"
    prompts, credit = policy.prompts, policy.credit
    assert (prompts.mean_gap_s, prompts.min_gap_s, prompts.kinds) == (180, 30, ("silent_capture",))
    assert (prompts.capture_deadline_s, prompts.closing_prompt_within_s) == (60, 60)
    assert (credit.credit_hour_minutes, credit.lower95_share) == (45, 0.8)
    assert policy.decision.min_genuine_share == 0.8
    assert load_policy(DEFAULT) == policy


def test_every_value_is_explained_to_readers() -> None:
    """By name: in the row of its group, or the rows that follow it without a group."""
    page = (Path(__file__).parents[2] / "docs" / "score.md").read_text(encoding="utf-8")
    group, told = "", set[str]()
    for row in page.partition("## Policy")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) == 6:
            group = cells[1].strip("`") or group
            told |= {f"{group}.{name}" for name in re.findall(r"`([a-z0-9_*]+)`", cells[2])}
    for start in ("present", "absent"):  # one row for all of them
        assert f"outcomes.{start}_*" in told
    untold = set(default_policy().values) - told
    assert {name for name in untold if not name.startswith("outcomes.")} == set()


def test_every_value_has_a_source_and_a_first_day() -> None:
    values = default_policy().values
    assert len(values) > 40
    assert all(value.source and value.valid_from <= date(2026, 1, 1) for value in values.values())


def test_the_digest_covers_values_dates_and_sources_but_no_layout() -> None:
    digest = default_policy().digest
    assert len(digest) == 64
    assert load_policy(edited("value = 180,", "value = 181,")).digest != digest
    assert (
        load_policy(edited("valid_from = 2020-05-18", "valid_from = 2020-05-19")).digest != digest
    )
    assert load_policy(edited("thin networks", "thick networks")).digest != digest
    assert load_policy(b"# a remark\n" + TEXT.encode()).digest == digest


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("mean_gap_s = {", "mean_gap = {", "mean_gap_s"),
        ("[credit]", "[credit]\nspare = 1", "spare"),
        ("min_gap_s = { value = 30", "min_gap_s = { value = 31", "0 to 30"),
        ("most_frames = { value = 24", "most_frames = { value = 25", "1 to 24"),
        ("min_gap_s = { value = 30", "min_gap_s = { value = true", "prompts.min_gap_s"),
        ("min_gap_s = { value = 30", "min_gap_s = { value = 29.5", "a whole number"),
        ("lower95_share = { value = 0.8", "lower95_share = { value = 1.01", "0 to 1"),
        ("lower95_share = { value = 0.8", "lower95_share = { value = nan", "0 to 1"),
        ("lower95_share = { value = 0.8", 'lower95_share = { value = "0.8"', "a number"),
        ('value = ["silent_capture"]', "value = []", "prompts.kinds"),
        ("present_captured = { value = 0.92", "present_captured = { value = 0.9", "add up to 1"),
        ("value = 180, valid_from = 2020-05-18", 'value = 180, valid_from = "2020"', "a date"),
        (
            "value = 180, valid_from = 2020-05-18",
            "value = 180, valid_from = 2020-05-18, valid_to = 2020-05-17",
            "lies before",
        ),
        ("value = 180, valid_from = 2020-05-18,", "value = 180,", "valid_from"),
        ('name = "default"', "name = 3", "name is 3"),
        ("[credit]", "[debit]", "debit"),
        ("[credit]", "[credit", "TOML"),
    ],
)
def test_an_unusable_value_is_refused_by_name(old: str, new: str, named: str) -> None:
    with pytest.raises(InvalidRecordError, match=named):
        load_policy(edited(old, new))


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="source"):
        PolicyValue(value=1.0, valid_from=date(2020, 1, 1), valid_to=None, source=" ")


def test_a_value_holds_on_its_first_and_last_day_only_between() -> None:
    value = PolicyValue(
        value=1.0, valid_from=date(2020, 1, 2), valid_to=date(2020, 1, 3), source="a notice"
    )
    days = [date(2020, 1, day) for day in (1, 2, 3, 4)]
    assert [value.holds_on(day) for day in days] == [False, True, True, False]


def test_a_policy_outside_its_days_names_what_does_not_hold() -> None:
    policy = default_policy()
    policy.require_valid_on(date(2026, 1, 1))
    with pytest.raises(InvalidRecordError, match=r"prompts\.mean_gap_s"):
        policy.require_valid_on(date(2020, 5, 17))


def test_rules_are_checked_from_birth() -> None:
    with pytest.raises(InvalidRecordError, match="mean_gap_s"):
        replace(default_policy().prompts, mean_gap_s=5)
