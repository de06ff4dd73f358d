"""Facts that contradict each other, or the calendar, are refused before anything is decided."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.verifier.eligibility_samples import (
    AS_OF,
    CLASS,
    CONSENT,
    DAY,
    ENROLMENT,
    OPENED_AT,
    ROSTER,
    case,
    entry,
    facts,
    session,
)
from verifier.eligibility_facts import EligibilityFacts, RosterFact, RosterGap
from verifier.errors import InvalidRecordError
from verifier.session_score import Decision
from verifier.session_state import SessionPhase

LATER = AS_OF + timedelta(microseconds=1)
NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001 - what has to be refused


def absent(start: timedelta, end: timedelta) -> RosterFact:
    """Return a roster that the learner was not on from one time after joining to another."""
    at = ROSTER.added_at
    return replace(ROSTER, gaps=(RosterGap(removed_at=at + start, added_at=at + end),))


def test_the_event_is_the_first_session_else_the_first_day_in_china() -> None:
    assert facts(sessions=(session(1), session(0))).event == OPENED_AT
    assert facts(sessions=()).event == datetime(2026, 3, 1, 16, tzinfo=UTC)
    assert facts(sessions=(), class_fact=None).event is None


def test_consent_ends_at_the_moment_of_withdrawal() -> None:
    consent = replace(CONSENT, withdrawn_at=AS_OF)
    assert consent.in_force(consent.given_at)
    assert not consent.in_force(consent.given_at - timedelta(microseconds=1))
    assert not consent.in_force(AS_OF)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"learner_id": ""}, "learner_id"),
        ({"class_id": " "}, "class_id"),
        ({"as_of": NAIVE}, "as_of.*zone"),
        ({"as_of": datetime(9999, 12, 31, tzinfo=UTC)}, "as_of"),
        ({"registered_at": NAIVE}, "registered_at.*zone"),
        ({"registered_at": LATER}, "registered_at.*at most as_of"),
        ({"consents": (replace(CONSENT, given_at=LATER),)}, "consents: given_at"),
        ({"consents": (replace(CONSENT, withdrawn_at=LATER),)}, "consents: withdrawn_at"),
        ({"class_fact": replace(CLASS, approved_at=LATER)}, "class: approved_at"),
        ({"class_fact": replace(CLASS, withdrawn_at=LATER)}, "class: withdrawn_at"),
        ({"roster": replace(ROSTER, added_at=LATER)}, "roster: added_at"),
        ({"roster": replace(ROSTER, removed_at=LATER)}, "roster: removed_at"),
        ({"roster": absent(DAY, LATER - ROSTER.added_at)}, "roster gaps: added_at"),
        ({"enrolment": replace(ENROLMENT, enrolled_at=LATER)}, "enrolment: enrolled_at"),
        (
            {"sessions": (session(0),), "as_of": OPENED_AT + timedelta(minutes=46)},
            "sessions: ended_at",
        ),
        ({"sessions": (session(19),)}, "sessions: opened_at"),
        ({"list_entries": (entry(approved_at=LATER),)}, "list_entries: approved_at"),
        ({"list_entries": (entry(), entry())}, "list_entries is 2; each of them once"),
        ({"open_cases": (case("duplicate_face", None),) * 2}, "open_cases is 2"),
        ({"open_cases": (case("duplicate_face", None, opened_at=LATER),)}, "opened_at"),
        ({"sessions": (session(0), session(0))}, "twice"),
        ({"sessions": (session(0), replace(session(0), session_id="other"))}, "overlap"),
        ({"claimed_s": -1.0}, "claimed_s"),
        ({"claimed_s": math.nan}, "claimed_s"),
    ],
)
def test_contradictory_facts_are_refused_by_name(change: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        facts(**change)


@pytest.mark.parametrize(
    ("record", "change", "wanted"),
    [
        (CONSENT, {"version": ""}, "version"),
        (CONSENT, {"withdrawn_at": CONSENT.given_at - DAY}, "withdrawn_at"),
        (CONSENT, {"given_at": NAIVE}, "zone"),
        (case("duplicate_face", None), {"case_id": " "}, "case_id"),
        (case("duplicate_face", None), {"opened_at": NAIVE}, "zone"),
        (CLASS, {"institution_id": ""}, "institution_id"),
        (CLASS, {"platform_id": ""}, "platform_id"),
        (CLASS, {"approved_at": CLASS.applied_at - DAY}, "approved_at"),
        (CLASS, {"withdrawn_at": CLASS.applied_at - DAY}, "withdrawn_at"),
        (CLASS, {"ends_on": date(2026, 3, 1)}, "ends_on"),
        # Asking for nothing would pay everybody on the roster.
        (CLASS, {"required_credit_hours": 0}, "at least 0.01"),
        (CLASS, {"required_credit_hours": 0.0099}, "at least 0.01"),
        (CLASS, {"required_credit_hours": math.inf}, "at least 0.01"),
        (CLASS, {"required_credit_hours": math.nan}, "at least 0.01"),
        (ROSTER, {"removed_at": ROSTER.added_at - DAY}, "removed_at"),
        (absent(DAY, 2 * DAY), {"added_at": ROSTER.added_at + 2 * DAY}, "gaps.* in order"),
        (absent(DAY, 2 * DAY), {"removed_at": ROSTER.added_at + DAY}, "gaps.* in order"),
        (absent(DAY, 2 * DAY), {"gaps": absent(DAY, 2 * DAY).gaps * 2}, "gaps.* in order"),
        (absent(DAY, 2 * DAY).gaps[0], {"added_at": ROSTER.added_at}, "added_at"),
        (absent(DAY, 2 * DAY).gaps[0], {"removed_at": NAIVE}, "zone"),
        (ENROLMENT, {"enrolled_at": NAIVE}, "zone"),
        (session(0), {"session_id": ""}, "session_id"),
        (session(0), {"ended_at": OPENED_AT - DAY}, "ended_at"),
        (session(0), {"ended_at": None}, "ended_at.*phase closed"),
        (session(0), {"decision": None}, "decision.*phase closed"),
        (session(0), {"phase": SessionPhase.RUNNING}, "null in phase running"),
        (session(0), {"decision": Decision.REVIEW}, "0 with decision review"),
        (session(0), {"decision": Decision.REJECT}, "0 with decision reject"),
        (session(0), {"credited_s": math.nan}, "credited_s"),
        (session(0), {"pending_s": -1.0}, "pending_s"),
        # 47 minutes are 2820 seconds.
        (session(0), {"credited_s": 2821.0}, "the session's length"),
        (session(0), {"pending_s": 121.0}, "the session's length"),
    ],
)
def test_a_fact_is_sound_from_birth(record: Any, change: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        replace(record, **change)


def test_the_least_that_a_class_may_ask_for() -> None:
    assert replace(CLASS, required_credit_hours=0.01).required_credit_hours == 0.01


def test_who_left_the_roster_is_off_it_until_they_return() -> None:
    left = replace(absent(DAY, 2 * DAY), removed_at=ROSTER.added_at + 3 * DAY)
    seen = [left.was_off(ROSTER.added_at + hours * DAY / 2) for hours in range(8)]
    assert seen == [False, False, True, True, False, False, True, True]


def test_a_running_session_is_a_fact_without_credit() -> None:
    running = {"phase": SessionPhase.RUNNING, "ended_at": None, "decision": None}
    assert session(0, **running, credited_s=0.0).wall_clock_s == 0
    with pytest.raises(InvalidRecordError, match="0 with decision None"):
        session(0, **running)
    # It lasts until now, so it overlaps every session opened after it.
    with pytest.raises(InvalidRecordError, match="overlap"):
        facts(sessions=(session(0, **running, credited_s=0.0), session(1)))


def test_what_is_not_on_record_is_nothing() -> None:
    bare = EligibilityFacts(learner_id="l", class_id="c", as_of=AS_OF)
    assert (bare.registered_at, bare.class_fact, bare.sessions, bare.event) == (
        None,
        None,
        (),
        None,
    )
