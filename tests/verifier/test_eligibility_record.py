"""The public JSON form of the facts: there and back, and every mistake by its place."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from tests.verifier.eligibility_samples import RETURNED, case, entry, facts, proposal, session
from tests.verifier.test_eligibility import any_facts
from verifier.assurance import LearnerPath
from verifier.eligibility_facts import EligibilityFacts
from verifier.eligibility_record import facts_record, read_facts
from verifier.errors import InvalidRecordError
from verifier.strict_json import load_json

GOOD = facts(
    roster=RETURNED,
    list_entries=(entry(), proposal(entry_id="e-2")),
    open_cases=(case("duplicate_face", "same_person"),),
)


def changed(path: tuple[str | int, ...], value: object) -> object:
    """Return the good record with one value replaced, or removed where it is ``...``."""
    record: Any = json.loads(json.dumps(facts_record(GOOD)))
    place = record
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return record


@settings(deadline=None)
@given(given_facts=any_facts())
def test_facts_survive_the_journey_through_json(given_facts: EligibilityFacts) -> None:
    assert read_facts(load_json(json.dumps(facts_record(given_facts)))) == given_facts


def test_a_known_record() -> None:
    record = facts_record(GOOD)
    assert record["as_of"] == "2026-03-20T02:00:00Z"
    assert list(record) == [
        "learner_id", "class_id", "as_of", "registered_at", "consents", "class", "roster",
        "enrolment", "sessions", "list_entries", "claimed_s", "open_cases",
    ]  # fmt: skip
    assert changed(("class", "starts_on"), "2026-03-02") == record
    assert changed(("sessions", 0, "credited_s"), 2700) == record


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("class",),
        ("roster",),
        ("roster", "gaps", 0),
        ("enrolment",),
        ("sessions", 1),
        ("consents", 0),
        ("list_entries", 1),
        ("open_cases", 0),
    ],
)
def test_unknown_keys_are_kept_and_ignored(path: tuple[str | int, ...]) -> None:
    record = changed((*path, "note"), {"x": [1]})
    read = read_facts(record)
    assert facts_record(read) == record
    place: Any = facts_record(read)
    for step in path:
        place = place[step]
    assert place["note"] == {"x": [1]}


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    assert read_facts(changed(("as_of",), "2026-03-20T10:00:00+08:00")) == GOOD


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (("as_of",), "2026-03-20T02:00:00", r"as_of is '2026-03-20T02:00:00'; .* zone"),
        (("as_of",), 7, "as_of is 7"),
        (("as_of",), "0001-01-01T00:00:00+08:00", "as_of"),
        (("learner_id",), "", "learner_id is ''"),
        (("learner_id",), ..., "learner_id is missing"),
        # A misspelt key must not read as "nobody is listed".
        (("list_entries",), ..., "list_entries is missing"),
        (("list_entries",), None, "list_entries is None; a list"),
        (("class",), [], r"class: .* an object"),
        (("class", "required_credit_hours"), "2", r"class: required_credit_hours is '2'; a number"),
        (("class", "required_credit_hours"), True, "a number"),
        (("class", "required_credit_hours"), 10**400, "a huge number; a finite number"),
        (("class", "starts_on"), "March", "class: starts_on"),
        (("class", "starts_on"), 20260302, "class: starts_on"),
        # Or else a misspelt key would hide that somebody was off the roster.
        (("roster", "gaps"), ..., "roster: gaps is missing"),
        (("roster", "gaps", 0, "added_at"), None, r"roster: gaps\[0\]: added_at is None"),
        (("class", "withdrawn_at"), ..., "class: withdrawn_at is missing"),
        (("sessions", 1, "phase"), "over", r"sessions\[1\]: phase is 'over'; one of opening"),
        (("sessions", 1, "proven"), 1, r"sessions\[1\]: proven is 1; true or false"),
        (("sessions", 1, "witnesses"), -1, r"sessions\[1\]: witnesses is -1; a count"),
        (("sessions", 1, "prompts_missed"), 1.0, r"sessions\[1\]: prompts_missed is 1.0"),
        (("sessions", 1, "prompts_missed"), True, r"prompts_missed is True; a count"),
        (("sessions", 1, "prompts_passed"), 3, "prompts_passed is 3; at most prompts_scheduled 0"),
        (("sessions", 1, "prompts_scheduled"), 10**10, "prompts_scheduled is 10000000000; a count"),
        (("sessions", 1, "makes_up"), "s1", r"sessions\[1\]: makes_up is s1; another session"),
        (("sessions", 1, "makes_up"), "", r"sessions\[1\]: makes_up is ''"),
        (("sessions", 1, "path"), "voice", r"sessions\[1\]: path is 'voice'; one of face"),
        (("sessions", 1, "learner_id"), "l-2", r"sessions\[1\]: learner_id is 'l-2'"),
        (("sessions", 1, "credited_s"), 9000, r"sessions\[1\]: credited_s \+ pending_s is 9000"),
        (("sessions", 1), None, r"sessions\[1\]: .* None; an object"),
        (("list_entries", 0, "approved_by"), "officer-a", r"list_entries\[0\]: .*one person"),
        (("list_entries", 0, "list"), "grey", r"list_entries\[0\]: list is 'grey'; one of black"),
        (("claimed_s",), -1, "claimed_s is -1"),
        (("open_cases", 0, "kind"), "gossip", r"open_cases\[0\]: kind is 'gossip'; one of dup"),
        (("open_cases", 0, "resolution"), ..., r"open_cases\[0\]: resolution is missing"),
        (("open_cases",), None, "open_cases is None; a list"),
    ],
)
def test_a_mistake_is_named_by_place_seen_and_wanted(
    path: tuple[str | int, ...], value: object, wanted: str
) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        read_facts(changed(path, value))


def test_facts_from_before_there_were_cases_have_none() -> None:
    assert read_facts(changed(("open_cases",), ...)).open_cases == ()


def test_a_session_may_say_whose_it_is() -> None:
    record = changed(("sessions", 0, "learner_id"), "l-1")
    assert read_facts(record).sessions[0].credited_s == session(0).credited_s


def test_a_hostile_value_does_not_fill_the_message() -> None:
    with pytest.raises(InvalidRecordError) as raised:
        read_facts(changed(("as_of",), "\x1b[2J" * 1000))
    assert len(str(raised.value)) < 200
    assert "\x1b" not in str(raised.value)


LATER_KEYS = (
    "witnesses",
    "prompts_scheduled",
    "prompts_missed",
    "prompts_passed",
    "makes_up",
    "path",
)


@pytest.mark.parametrize("name", LATER_KEYS)
def test_facts_that_were_written_before_a_key_of_a_session_are_read(name: str) -> None:
    assert read_facts(changed(("sessions", 1, name), ...)) == GOOD


def test_what_came_later_is_read_where_it_is() -> None:
    counts = {"prompts_scheduled": 7, "prompts_missed": 1, "prompts_passed": 5}
    later = session(1, **counts, witnesses=2, makes_up="s0", path=LearnerPath.NON_FACE)
    given = facts(sessions=(session(0), later))
    record = json.loads(json.dumps(facts_record(given)))
    assert [record["sessions"][1][name] for name in LATER_KEYS] == [2, 7, 1, 5, "s0", "non_face"]
    assert read_facts(record) == given
