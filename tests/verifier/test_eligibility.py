"""凡补必进、不进不补: every rule with a known value, and the laws of them all."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.eligibility_samples import (
    AS_OF,
    BEFORE,
    CLASS,
    CONSENT,
    DAY,
    ENROLMENT,
    OPENED_AT,
    RETURNED,
    ROSTER,
    case,
    entry,
    facts,
    proposal,
    session,
)
from verifier.assurance import Assurance, LearnerPath
from verifier.eligibility import Eligibility, decide
from verifier.eligibility_facts import EligibilityFacts, RosterFact, RosterGap, SessionFact
from verifier.eligibility_result import GATE_TEXT, GateCode, GateOutcome, RuleResult
from verifier.eligibility_rules import RULES
from verifier.enrolment import Anchor
from verifier.errors import InvalidRecordError
from verifier.list_entry import ListName, SubjectKind
from verifier.policy import default_policy
from verifier.session_score import Decision
from verifier.session_state import SessionPhase
from verifier.transparency.canonical_json import canonical_json

POLICY = default_policy()
MOMENT = timedelta(microseconds=1)
NOT_PAYABLE, REFER = GateOutcome.NOT_PAYABLE, GateOutcome.REFER
NOT_YET, PAYABLE = GateOutcome.NOT_YET, GateOutcome.PAYABLE


def ask(**changes: Any) -> Eligibility:
    return decide(facts(**changes), POLICY)


def answer_of(rule: str, **changes: Any) -> tuple[GateOutcome, str | None]:
    """Return what one rule answers; the others must not hide it."""
    found = next(result for result in ask(**changes).rules if result.rule.startswith(f"{rule}@"))
    return found.outcome, found.code


def values_of(rule: str, eligibility: Eligibility) -> Mapping[str, Any]:
    """Return what one rule looked at."""
    return next(r.values for r in eligibility.rules if r.rule.startswith(f"{rule}@"))


def test_good_facts_are_payable_and_every_rule_says_so() -> None:
    eligibility = ask()
    assert eligibility.outcome is PAYABLE
    assert len(eligibility.rules) == len(RULES) == 12
    assert {result.outcome for result in eligibility.rules} == {PAYABLE}
    assert eligibility.codes == ()
    assert (eligibility.credited_s, eligibility.credit_hours) == (5400, 2)
    assert (eligibility.pending_s, eligibility.claimed_s) == (0, 5640)
    assert eligibility.policy == "default@2"


def test_uploaded_hours_that_nobody_saw_are_not_payable() -> None:
    """不进不补, whatever else is in order."""
    eligibility = ask(sessions=(), claimed_s=172_800.0)
    assert eligibility.outcome is NOT_PAYABLE
    assert eligibility.codes == (GateCode.NO_SESSION_SEEN,)
    assert (eligibility.credited_s, eligibility.claimed_s) == (0, 172_800)
    assert "不进不补" in GATE_TEXT[GateCode.NO_SESSION_SEEN][0]


@pytest.mark.parametrize("claimed_s", [None, 0.0])
def test_without_claim_and_session_the_learner_has_not_begun(claimed_s: float | None) -> None:
    expected = (NOT_YET, GateCode.NO_SESSION_YET)
    assert answer_of("credited_hours", sessions=(), claimed_s=claimed_s) == expected


def test_nothing_on_record_leaves_every_reason_in_the_trace() -> None:
    bare = EligibilityFacts(learner_id="l", class_id="c", as_of=AS_OF)
    eligibility = decide(bare, POLICY)
    assert eligibility.outcome is NOT_YET
    assert set(eligibility.codes) == {
        GateCode.LEARNER_UNKNOWN,
        GateCode.CONSENT_MISSING,
        GateCode.CLASS_UNKNOWN,
        GateCode.NOT_ON_ROSTER,
        GateCode.NO_SESSION_YET,
        GateCode.IDENTITY_NOT_ANCHORED,
    }
    assert decide(replace(bare, claimed_s=60.0), POLICY).outcome is NOT_PAYABLE


LATE = OPENED_AT + MOMENT


@pytest.mark.parametrize(
    ("rule", "changes", "code"),
    [
        ("registered_before_event", {"registered_at": None}, "LEARNER_UNKNOWN"),
        ("registered_before_event", {"registered_at": LATE}, "REGISTERED_AFTER_EVENT"),
        ("class_approved_before_event", {"class_fact": None}, "CLASS_UNKNOWN"),
        (
            "class_approved_before_event",
            {"class_fact": replace(CLASS, approved_at=None)},
            "CLASS_NOT_APPROVED",
        ),
        (
            "class_approved_before_event",
            {"class_fact": replace(CLASS, approved_at=LATE)},
            "CLASS_APPROVED_AFTER_EVENT",
        ),
        ("on_roster_before_event", {"roster": None}, "NOT_ON_ROSTER"),
        (
            "on_roster_before_event",
            {"roster": replace(ROSTER, added_at=LATE)},
            "ON_ROSTER_AFTER_EVENT",
        ),
        (
            "on_roster_before_event",
            {"roster": replace(ROSTER, removed_at=OPENED_AT)},
            "REMOVED_FROM_ROSTER",
        ),
    ],
)
def test_what_did_not_precede_the_first_session_is_beyond_repair(
    rule: str, changes: dict[str, Any], code: str
) -> None:
    """With no session held it is merely missing: nothing is lost yet."""
    assert answer_of(rule, **changes) == (NOT_PAYABLE, code)
    assert answer_of(rule, **changes, sessions=()) == (NOT_YET, code)


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("registered_before_event", {"registered_at": OPENED_AT}),
        ("class_approved_before_event", {"class_fact": replace(CLASS, approved_at=OPENED_AT)}),
        ("on_roster_before_event", {"roster": replace(ROSTER, added_at=OPENED_AT)}),
        ("on_roster_before_event", {"roster": replace(ROSTER, removed_at=OPENED_AT + 2 * DAY)}),
    ],
)
def test_the_moment_of_the_event_is_in_time(rule: str, changes: dict[str, Any]) -> None:
    assert answer_of(rule, **changes) == (PAYABLE, None)


def test_without_a_session_the_first_day_in_china_stands_in() -> None:
    midnight = datetime(2026, 3, 1, 16, tzinfo=UTC)
    in_time, late = (
        answer_of("registered_before_event", sessions=(), registered_at=at)
        for at in (midnight, midnight + MOMENT)
    )
    assert in_time == (PAYABLE, None)
    assert late == (NOT_YET, GateCode.REGISTERED_AFTER_EVENT)


def test_a_withdrawn_class_is_never_payable() -> None:
    withdrawn = replace(CLASS, withdrawn_at=AS_OF)
    expected = (NOT_PAYABLE, GateCode.CLASS_WITHDRAWN)
    assert answer_of("class_approved_before_event", class_fact=withdrawn) == expected


def test_a_session_after_the_removal_goes_to_a_person() -> None:
    removed = replace(ROSTER, removed_at=OPENED_AT + DAY)
    expected = (REFER, GateCode.SESSION_AFTER_REMOVAL)
    assert answer_of("on_roster_before_event", roster=removed) == expected


def gap(start: timedelta, end: timedelta) -> RosterFact:
    """Return a roster that the learner left and came back to, so long after the first session."""
    absent = RosterGap(removed_at=OPENED_AT + start, added_at=OPENED_AT + end)
    return replace(ROSTER, gaps=(absent,))


@pytest.mark.parametrize(
    ("roster", "expected"),
    [
        # Sessions were opened at the first moment and a day later.
        (gap(-2 * DAY, -DAY), (PAYABLE, None)),
        (gap(MOMENT, DAY), (PAYABLE, None)),
        (gap(2 * DAY, 3 * DAY), (PAYABLE, None)),
        (gap(-DAY, timedelta(0)), (PAYABLE, None)),
        (gap(MOMENT, DAY + MOMENT), (REFER, GateCode.SESSION_AFTER_REMOVAL)),
        (gap(DAY, 3 * DAY), (REFER, GateCode.SESSION_AFTER_REMOVAL)),
        # Not even where nothing was held before: who came back is for a person to look at.
        (gap(-DAY, MOMENT), (REFER, GateCode.SESSION_AFTER_REMOVAL)),
        (gap(-DAY, 3 * DAY), (REFER, GateCode.SESSION_AFTER_REMOVAL)),
    ],
)
def test_who_left_the_roster_and_came_back_is_asked_about_sessions_in_between(
    roster: RosterFact, expected: tuple[GateOutcome, GateCode | None]
) -> None:
    assert answer_of("on_roster_before_event", roster=roster) == expected


def test_the_trace_counts_the_sessions_off_the_roster() -> None:
    for roster, count in ((ROSTER, 0), (RETURNED, 0), (gap(DAY, 3 * DAY), 1)):
        (rule,) = (r for r in ask(roster=roster).rules if r.rule == "on_roster_before_event@2")
        assert rule.values["sessions_off_roster"] == count


# China is eight hours ahead: its 2 March, the class's first day, begins at 16:00 on 1 March UTC.
FIRST_MOMENT = datetime(2026, 3, 1, 16, tzinfo=UTC)
PAST_LAST_DAY = datetime(2026, 3, 20, 16, tzinfo=UTC)
OUTSIDE = (REFER, GateCode.OUTSIDE_CLASS_DAYS)


def held(opened_at: datetime, ended_at: datetime, **changes: Any) -> SessionFact:
    earned = {"credited_s": 600.0, "opened_at": opened_at, "ended_at": ended_at}
    return session(0, **{**earned, **changes})


@pytest.mark.parametrize(
    ("opened_at", "ended_at", "expected"),
    [
        (FIRST_MOMENT, FIRST_MOMENT + DAY, (PAYABLE, None)),
        (FIRST_MOMENT - MOMENT, FIRST_MOMENT + DAY, OUTSIDE),
        (PAST_LAST_DAY - DAY, PAST_LAST_DAY - MOMENT, (PAYABLE, None)),
        (PAST_LAST_DAY, PAST_LAST_DAY + DAY, OUTSIDE),
        # Opened on the last day and still going on after midnight.
        (PAST_LAST_DAY - DAY, PAST_LAST_DAY, OUTSIDE),
    ],
)
def test_credit_is_earned_on_the_days_of_the_class_in_china(
    opened_at: datetime, ended_at: datetime, expected: tuple[GateOutcome, GateCode | None]
) -> None:
    lesson_held = held(opened_at, ended_at)
    asked = {"as_of": AS_OF + 9 * DAY, "registered_at": BEFORE - DAY}
    assert answer_of("within_class_days", **asked, sessions=(lesson_held,)) == expected
    earned_nothing = replace(lesson_held, credited_s=0.0)
    nothing = answer_of("within_class_days", **asked, sessions=(earned_nothing,))
    assert nothing == (PAYABLE, None)


def test_the_trace_names_the_days_and_the_first_session_outside_them() -> None:
    sessions = tuple(session(number) for number in (30, 0, 25))
    eligibility = ask(sessions=sessions, as_of=AS_OF + 30 * DAY)
    assert (eligibility.outcome, eligibility.codes) == (REFER, (GateCode.OUTSIDE_CLASS_DAYS,))
    (rule,) = (r for r in eligibility.rules if r.rule == "within_class_days@2")
    assert dict(rule.values) == {
        "starts_on": "2026-03-02",
        "ends_on": "2026-03-20",
        "sessions_outside": 2,
        "first_outside_at": "2026-03-27T01:00:00Z",
    }


MISSED = held(PAST_LAST_DAY - DAY, PAST_LAST_DAY - MOMENT, prompts_scheduled=6, prompts_missed=1)


@pytest.mark.parametrize(
    ("missed", "after", "expected"),
    [
        (MISSED, 2 * DAY, (PAYABLE, None)),  # Sunday
        (MISSED, 5 * DAY, (PAYABLE, None)),  # Wednesday, the last of three working days
        (MISSED, 6 * DAY, OUTSIDE),
        (replace(MISSED, prompts_missed=0), 2 * DAY, OUTSIDE),
        (replace(MISSED, session_id="another"), 2 * DAY, OUTSIDE),
        (replace(MISSED, opened_at=FIRST_MOMENT - MOMENT), 2 * DAY, OUTSIDE),
    ],
)
def test_making_up_for_a_miss_on_the_last_day_is_within_the_days(
    missed: SessionFact, after: timedelta, expected: tuple[GateOutcome, GateCode | None]
) -> None:
    """The class's last day is a Friday; policy gives three working days for making up."""
    begins = PAST_LAST_DAY - DAY + after
    changes = {"session_id": "later", "makes_up": MISSED.session_id}
    later = held(begins, begins + timedelta(minutes=45), **changes)
    asked = {"as_of": AS_OF + 30 * DAY, "registered_at": BEFORE - DAY}
    assert answer_of("within_class_days", **asked, sessions=(missed, later)) == expected


def test_without_a_class_there_are_no_days_to_miss() -> None:
    """Another rule says that the class is unknown; this one adds nothing to it."""
    assert answer_of("within_class_days", class_fact=None) == (PAYABLE, None)


@settings(deadline=None)
@given(numbers=st.sets(st.integers(-10, 30), min_size=1, max_size=4), shift=st.integers(-9, 9))
def test_only_the_place_of_sessions_among_the_days_matters(numbers: set[int], shift: int) -> None:
    """Moving class and lessons together by whole days changes no answer; days beyond it refer."""
    sessions = tuple(session(number) for number in numbers)
    moved = tuple(session(number + shift) for number in numbers)
    away = shift * DAY
    shifted = replace(CLASS, starts_on=CLASS.starts_on + away, ends_on=CLASS.ends_on + away)
    asked = {"as_of": AS_OF + 60 * DAY}
    here = answer_of("within_class_days", **asked, sessions=sessions)
    there = answer_of("within_class_days", **asked, sessions=moved, class_fact=shifted)
    inside = all(0 <= number <= 18 for number in numbers)
    assert here == there == ((PAYABLE, None) if inside else OUTSIDE)


def test_withdrawing_consent_after_the_lessons_costs_nothing() -> None:
    withdrawn = replace(CONSENT, withdrawn_at=OPENED_AT + DAY + MOMENT)
    assert answer_of("consent_in_force", consents=(withdrawn,)) == (PAYABLE, None)
    expected = (NOT_YET, GateCode.CONSENT_MISSING)
    assert answer_of("consent_in_force", consents=(withdrawn,), sessions=()) == expected


def test_a_session_without_consent_goes_to_a_person() -> None:
    """Consent given again afterwards does not reach back."""
    first = replace(CONSENT, withdrawn_at=OPENED_AT + DAY)
    again = replace(CONSENT, given_at=OPENED_AT + DAY + MOMENT)
    expected = (REFER, GateCode.SESSION_WITHOUT_CONSENT)
    assert answer_of("consent_in_force", consents=(first, again)) == expected
    in_time = replace(again, given_at=OPENED_AT + DAY)
    assert answer_of("consent_in_force", consents=(in_time, first)) == (PAYABLE, None)


REVIEWED: dict[str, Any] = {"decision": Decision.REVIEW, "credited_s": 0.0}


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (session(1, credited_s=2699.0), (NOT_YET, "HOURS_SHORT")),
        (session(1, credited_s=2699.0, pending_s=1.0), (REFER, "UNDER_REVIEW")),
        (session(1, **REVIEWED, pending_s=2700.0), (REFER, "UNDER_REVIEW")),
        (session(1, **REVIEWED, pending_s=2699.0), (REFER, "UNDER_REVIEW_AND_SHORT")),
        (session(1, proven=False), (NOT_YET, "PENDING_PROOF")),
        (session(1, proven=False, credited_s=2699.0), (NOT_YET, "HOURS_SHORT")),
        (session(1, credited_s=2700.0, pending_s=100.0), (PAYABLE, None)),
        (session(1, phase=SessionPhase.ABANDONED), (PAYABLE, None)),
        (
            session(1, **REVIEWED | {"decision": None}, phase=SessionPhase.RUNNING, ended_at=None),
            (NOT_YET, "HOURS_SHORT"),
        ),
    ],
)
def test_hours(second: SessionFact, expected: tuple[GateOutcome, str | None]) -> None:
    """Two 学时 of 45 minutes are asked for; the first session gives one."""
    assert answer_of("credited_hours", sessions=(session(0), second)) == expected


def test_hours_without_a_class_are_not_known_to_suffice() -> None:
    expected = (NOT_YET, GateCode.REQUIRED_HOURS_UNKNOWN)
    assert answer_of("credited_hours", class_fact=None) == expected


def test_a_session_beyond_the_hours_needs_no_proof_yet() -> None:
    """What is paid on is proven; more than that may wait."""
    spare = session(2, proven=False)
    assert answer_of("credited_hours", sessions=(session(0), session(1), spare)) == (PAYABLE, None)


@pytest.mark.parametrize(
    ("enrolled", "in_session", "credited_s", "outcome"),
    [
        (Anchor.AUTHORITY, Anchor.OFFICER, 2700.0, PAYABLE),
        (Anchor.OFFICER, Anchor.AUTHORITY, 2700.0, PAYABLE),
        (Anchor.INSTITUTION, Anchor.OFFICER, 2700.0, NOT_YET),
        # Erased since: whose face it was had been established then.
        (None, Anchor.OFFICER, 2700.0, PAYABLE),
        (None, Anchor.INSTITUTION, 2700.0, NOT_YET),
        # Anchored afterwards: the old session ran on a face nobody independent had seen.
        (Anchor.AUTHORITY, Anchor.INSTITUTION, 2700.0, NOT_YET),
        (Anchor.AUTHORITY, Anchor.INSTITUTION, 0.0, PAYABLE),
    ],
)
def test_the_weakest_anchor_that_carries_credit_counts(
    enrolled: Anchor | None, in_session: Anchor, credited_s: float, outcome: GateOutcome
) -> None:
    enrolment = None if enrolled is None else replace(ENROLMENT, anchor=enrolled)
    sessions = (session(0), session(1, anchor=in_session, credited_s=credited_s))
    code = None if outcome is PAYABLE else GateCode.IDENTITY_NOT_ANCHORED
    found = answer_of("identity_anchored", enrolment=enrolment, sessions=sessions)
    assert found == (outcome, code)


def test_policy_may_ask_for_a_second_look_at_what_platforms_captured() -> None:
    strict = replace(POLICY, gate=replace(POLICY.gate, payable_assurances=("frame",)))
    eligibility = decide(facts(), strict)
    assert eligibility.outcome is REFER
    assert eligibility.codes == (GateCode.ASSURANCE_NOT_ACCEPTED,)
    framed = tuple(session(i, assurance=Assurance.FRAME) for i in range(2))
    assert decide(facts(sessions=framed), strict).outcome is PAYABLE


@pytest.mark.parametrize(
    ("assurance", "outcome"), [(Assurance.FRAME, PAYABLE), (Assurance.PLATFORM, REFER)]
)
def test_a_code_that_the_platforms_app_shows_is_looked_at_again(
    assurance: Assurance, outcome: GateOutcome
) -> None:
    """Its program can type it; in the engine's own frame it never sees it."""
    typed = session(1, assurance=assurance, path=LearnerPath.NON_FACE)
    eligibility = decide(facts(sessions=(session(0), typed)), POLICY)
    assert eligibility.outcome is outcome


@pytest.mark.parametrize(
    ("kind", "subject_id", "listed"),
    [
        (SubjectKind.LEARNER, "l-1", True),
        (SubjectKind.INSTITUTION, "i-1", True),
        (SubjectKind.PLATFORM, "p-1", True),
        (SubjectKind.PLATFORM, "p-2", False),
        (SubjectKind.LEARNER, "i-1", False),
    ],
)
def test_the_black_list_reaches_learner_institution_and_platform(
    kind: SubjectKind, subject_id: str, listed: bool
) -> None:
    listing = entry(subject_kind=kind, subject_id=subject_id)
    eligibility = ask(list_entries=(listing,))
    assert eligibility.outcome is (NOT_PAYABLE if listed else PAYABLE)
    values = values_of("not_black_listed", eligibility)
    if listed:
        assert (values["subject_kind"], values["reason_code"]) == (kind, "proxy_attendance")


def test_of_several_entries_the_one_that_began_first_is_named() -> None:
    older = entry(
        entry_id="e-9", subject_kind=SubjectKind.PLATFORM, subject_id="p-1", valid_from=BEFORE - DAY
    )
    values = values_of("not_black_listed", ask(list_entries=(entry(), older)))
    assert (values["entries"], values["entry_id"]) == (2, "e-9")


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "listed"),
    [
        (OPENED_AT, OPENED_AT + MOMENT, True),  # at the event
        (OPENED_AT + DAY, OPENED_AT + DAY + MOMENT, True),  # at another session's opening
        (AS_OF, None, True),  # now
        (BEFORE, OPENED_AT, False),  # over in time
        (AS_OF + MOMENT, None, False),  # still to come
        (OPENED_AT + 3 * DAY, OPENED_AT + 4 * DAY, False),  # between lessons
    ],
)
def test_an_entry_counts_when_it_mattered(
    valid_from: datetime, valid_to: datetime | None, listed: bool
) -> None:
    listing = entry(valid_from=valid_from, valid_to=valid_to)
    outcome, _ = answer_of("not_black_listed", list_entries=(listing,))
    assert outcome is (NOT_PAYABLE if listed else PAYABLE)


def test_a_white_list_entry_lifts_no_block() -> None:
    white = entry(entry_id="e-2", list_name=ListName.WHITE)
    assert ask(list_entries=(white,)).outcome is PAYABLE
    assert ask(list_entries=(white, entry())).outcome is NOT_PAYABLE


def test_one_persons_proposal_asks_a_person_and_lapses() -> None:
    """It takes nothing away, and cannot hold money up for ever."""
    expected = (REFER, GateCode.BLACK_LIST_PROPOSED)
    assert answer_of("not_black_listed", list_entries=(proposal(),)) == expected
    last, over = (
        answer_of("not_black_listed", list_entries=(proposal(proposed_at=at),))
        for at in (AS_OF - 14 * DAY + MOMENT, AS_OF - 14 * DAY)
    )
    assert (last, over) == (expected, (PAYABLE, None))


def test_outcomes_are_ordered_by_what_they_say() -> None:
    """As text, refer would be the best of all."""
    assert sorted([PAYABLE, NOT_YET, REFER, NOT_PAYABLE]) == list(GateOutcome)
    assert max(GateOutcome) is PAYABLE
    assert NOT_PAYABLE < REFER < NOT_YET <= PAYABLE
    assert PAYABLE >= REFER > NOT_PAYABLE


def test_reasons_come_the_worst_first() -> None:
    weak = replace(ENROLMENT, anchor=Anchor.INSTITUTION)
    eligibility = ask(enrolment=weak, consents=(), list_entries=(entry(),))
    assert eligibility.codes == (
        GateCode.BLACK_LISTED,
        GateCode.SESSION_WITHOUT_CONSENT,
        GateCode.IDENTITY_NOT_ANCHORED,
    )


def test_every_code_has_a_text_in_both_languages() -> None:
    assert set(GATE_TEXT) == set(GateCode)
    assert all(chinese and english.endswith(".") for chinese, english in GATE_TEXT.values())


@pytest.mark.parametrize(
    ("kind", "resolution", "code"),
    [
        ("duplicate_face", None, GateCode.DUPLICATE_FACE_UNDER_REVIEW),
        ("duplicate_face", "same_person", GateCode.DUPLICATE_FACE_FOUND),
        ("duplicate_face", "different_people", None),
        ("duplicate_face", "explained", None),
        ("too_many_comparisons", None, GateCode.TOO_MANY_COMPARISONS),
        ("too_many_comparisons", "explained", None),
        ("non_face_share", None, GateCode.NON_FACE_SHARE),
        ("non_face_share", "explained", None),
    ],
)
def test_a_case_that_stands_goes_to_a_person_and_takes_nothing_away(
    kind: str, resolution: str | None, code: GateCode | None
) -> None:
    about = case(kind, resolution)
    expected = (PAYABLE if code is None else REFER, code)
    assert answer_of("no_open_case", open_cases=(about,)) == expected
    assert ask(open_cases=(about,)).outcome is expected[0]


def test_of_several_cases_what_is_known_comes_before_what_is_suspected() -> None:
    cases = (
        case("too_many_comparisons", None, case_id="k-1"),
        case("duplicate_face", None, case_id="k-2", opened_at=BEFORE),
        case("duplicate_face", "same_person", case_id="k-3"),
        case("duplicate_face", "explained", case_id="k-4", opened_at=BEFORE),
    )
    assert values_of("no_open_case", ask(open_cases=cases)) == {
        "cases": 3,
        "case_id": "k-3",
        "opened_at": "2026-03-02T01:00:00Z",
    }


def test_consent_is_asked_for_where_a_face_was() -> None:
    """Who refuses face recognition and was granted another way has nothing to consent to."""
    otherwise = tuple(session(number, path=LearnerPath.NON_FACE) for number in (0, 1))
    assert answer_of("consent_in_force", sessions=otherwise, consents=()) == (PAYABLE, None)
    mixed = (otherwise[0], session(1))
    expected = (REFER, GateCode.SESSION_WITHOUT_CONSENT)
    assert answer_of("consent_in_force", sessions=mixed, consents=()) == expected
    assert values_of("consent_in_force", ask(sessions=mixed)) == {
        "consents": 1,
        "sessions": 1,
        "sessions_without_consent": 0,
        "first_without_consent_at": None,
    }


def missing(scheduled: int, missed: int, **changes: Any) -> SessionFact:
    """Return the first session with its prompts; those that were not missed were passed."""
    counts = {"prompts_scheduled": scheduled, "prompts_missed": missed}
    return session(0, **counts, prompts_passed=scheduled - missed, **changes)


AFTER_LAST_DAY = datetime(2026, 3, 20, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("missed", "as_of", "expected", "verdict"),
    [
        (9, AFTER_LAST_DAY, (PAYABLE, None), "within"),
        (10, AFTER_LAST_DAY, (REFER, GateCode.MISS_BUDGET_EXCEEDED), "exceeded"),
        (10, AFTER_LAST_DAY - MOMENT, (PAYABLE, None), "above_so_far"),
    ],
)
def test_the_miss_budget_of_a_class_is_judged_after_its_last_day_in_china(
    missed: int,
    as_of: datetime,
    expected: tuple[GateOutcome, GateCode | None],
    verdict: str,
) -> None:
    sessions = (missing(48, missed), session(1))
    assert answer_of("miss_budget", sessions=sessions, as_of=as_of) == expected
    assert values_of("miss_budget", ask(sessions=sessions, as_of=as_of)) == {
        "scheduled": 48,
        "missed": missed,
        "made_up": 0,
        "share": round(missed / 48, 6),
        "verdict": verdict,
    }


def test_misses_that_were_made_up_for_are_taken_off() -> None:
    made_up = session(1, makes_up="s0", prompts_scheduled=10, prompts_passed=10)
    sessions = (missing(48, 10), made_up)
    assert answer_of("miss_budget", sessions=sessions, as_of=AFTER_LAST_DAY) == (PAYABLE, None)
    assert values_of("miss_budget", ask(sessions=sessions))["made_up"] == 10


@pytest.mark.parametrize(
    ("least", "witnesses", "expected"),
    [
        (0, 0, (PAYABLE, None)),
        (1, 1, (PAYABLE, None)),
        (2, 1, (NOT_YET, GateCode.SCHEDULE_UNWITNESSED)),
    ],
)
def test_witnesses_are_wanted_for_sessions_with_credit(
    least: int, witnesses: int, expected: tuple[GateOutcome, GateCode | None]
) -> None:
    policy = replace(POLICY, gate=replace(POLICY.gate, min_witnesses=least))
    earned = session(0, witnesses=witnesses)
    nothing = session(1, witnesses=0, credited_s=0.0)
    given = facts(sessions=(earned, nothing))
    (rule,) = (r for r in decide(given, policy).rules if r.rule == "schedule_witnessed@1")
    assert (rule.outcome, rule.code) == expected
    assert rule.values == {
        "min_witnesses": least,
        "fewest_witnesses": witnesses,
        "sessions_below": int(witnesses < least),
    }


def test_a_result_explains_itself_unless_payable() -> None:
    with pytest.raises(ValueError, match="refer with code None"):
        RuleResult(rule="r@1", outcome=REFER)
    with pytest.raises(ValueError, match="payable with code"):
        RuleResult(rule="r@1", outcome=PAYABLE, code=GateCode.HOURS_SHORT)
    assert RuleResult(rule="r@1", outcome=PAYABLE).text is None


def test_an_answer_that_hides_its_worst_rule_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="the worst"):
        replace(ask(roster=None), outcome=PAYABLE)


def test_a_policy_out_of_its_days_decides_nothing() -> None:
    with pytest.raises(InvalidRecordError, match="not valid"):
        decide(EligibilityFacts(learner_id="l", class_id="c", as_of=AS_OF - 4000 * DAY), POLICY)


# Each takes something good away from any facts.
SPOILS: dict[str, Callable[[EligibilityFacts], EligibilityFacts]] = {
    "registration": lambda f: replace(f, registered_at=None),
    "consents": lambda f: replace(f, consents=()),
    "class": lambda f: replace(f, class_fact=None),
    "approval": lambda f: replace(
        f, class_fact=f.class_fact and replace(f.class_fact, approved_at=None)
    ),
    "roster": lambda f: replace(f, roster=None),
    "an independent anchor": lambda f: replace(
        f, enrolment=replace(ENROLMENT, anchor=Anchor.INSTITUTION)
    ),
    "a later session": lambda f: replace(f, sessions=f.sessions[:1] + f.sessions[2:]),
    "proofs": lambda f: replace(f, sessions=tuple(replace(s, proven=False) for s in f.sessions)),
    "credit": lambda f: replace(f, sessions=tuple(replace(s, credited_s=0.0) for s in f.sessions)),
    "an entry more": lambda f: replace(
        f, list_entries=(*f.list_entries, entry(entry_id="more", subject_kind="platform"))
    ),
    "another entry": lambda f: replace(f, list_entries=(*f.list_entries, entry(entry_id="other"))),
    "a case": lambda f: replace(
        f, open_cases=(*f.open_cases, case("duplicate_face", None, case_id="more"))
    ),
    "a proposal": lambda f: replace(f, list_entries=(*f.list_entries, proposal(entry_id="p"))),
}


def maybe(value: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([value, None])


@st.composite
def lesson(draw: st.DrawFn, number: int) -> SessionFact:
    """Draw a session that stands to no review; anchors are those of the enrolment."""
    return session(
        number, credited_s=draw(st.sampled_from([0.0, 1350.0, 2700.0])), proven=draw(st.booleans())
    )


@st.composite
def any_facts(draw: st.DrawFn) -> EligibilityFacts:
    count = draw(st.integers(0, 4))
    approved_at = draw(st.sampled_from([CLASS.approved_at, LATE, None]))
    return facts(
        registered_at=draw(st.sampled_from([BEFORE, LATE, None])),
        consents=draw(st.sampled_from([(), (CONSENT,)])),
        class_fact=draw(maybe(replace(CLASS, approved_at=approved_at))),
        roster=draw(st.sampled_from([ROSTER, RETURNED, None])),
        enrolment=draw(maybe(ENROLMENT)),
        sessions=tuple(draw(lesson(number)) for number in range(count)),
        list_entries=draw(st.sampled_from([(), (entry(),), (proposal(),)])),
        claimed_s=draw(st.sampled_from([None, 5640.0])),
        open_cases=draw(st.sampled_from([(), (case("too_many_comparisons", None),)])),
    )


@settings(deadline=None)
@given(given_facts=any_facts(), name=st.sampled_from(sorted(SPOILS)))
def test_taking_a_good_fact_away_never_raises_the_outcome(
    given_facts: EligibilityFacts, name: str
) -> None:
    spoilt = SPOILS[name](given_facts)
    assert decide(spoilt, POLICY).outcome <= decide(given_facts, POLICY).outcome


@pytest.mark.parametrize("name", sorted(SPOILS))
def test_nothing_good_can_be_spared(name: str) -> None:
    """On facts that just suffice the law above is strict, but for entries about others."""
    outcome = decide(SPOILS[name](facts()), POLICY).outcome
    assert (outcome is PAYABLE) == (name == "an entry more")


@settings(deadline=None)
@given(given_facts=any_facts())
def test_the_worst_rule_decides_and_no_rule_stops_the_others(
    given_facts: EligibilityFacts,
) -> None:
    eligibility = decide(given_facts, POLICY)
    assert [result.rule for result in eligibility.rules] == [r.rule for r in ask().rules]
    assert all(eligibility.outcome <= result.outcome for result in eligibility.rules)
    assert eligibility.outcome in {result.outcome for result in eligibility.rules}
    assert len(eligibility.codes) == sum(r.outcome is not PAYABLE for r in eligibility.rules)


@settings(deadline=None)
@given(
    given_facts=any_facts(),
    pending_s=st.sampled_from([0.0, 60.0, 120.0]),
    credited=st.lists(st.sampled_from([0.0, 1350.0, 2640.0, 2700.0]), min_size=2, max_size=2),
)
def test_more_credited_seconds_never_lower_the_outcome(
    given_facts: EligibilityFacts, pending_s: float, credited: list[float]
) -> None:
    """Also where time waits for a review, whether it would suffice or not."""
    less, more = (
        decide(
            replace(
                given_facts,
                sessions=(session(0, pending_s=pending_s), session(1, credited_s=seconds)),
            ),
            POLICY,
        )
        for seconds in sorted(credited)
    )
    assert less.outcome <= more.outcome


@settings(deadline=None)
@given(data=st.data(), given_facts=any_facts())
def test_the_order_of_facts_changes_no_byte(
    data: st.DataObject, given_facts: EligibilityFacts
) -> None:
    entries = (entry(entry_id="b"), entry(entry_id="a"), proposal(entry_id="c"))
    listed = replace(given_facts, list_entries=entries)
    shuffled = replace(
        listed,
        sessions=tuple(data.draw(st.permutations(listed.sessions))),
        list_entries=tuple(data.draw(st.permutations(entries))),
    )
    first, second = (canonical_json(decide(f, POLICY).to_record()) for f in (listed, shuffled))
    assert first == second


@settings(deadline=None)
@given(given_facts=any_facts())
def test_credit_never_exceeds_the_clock_on_the_wall(given_facts: EligibilityFacts) -> None:
    eligibility = decide(given_facts, POLICY)
    lasted_s = (given_facts.as_of - OPENED_AT).total_seconds() if given_facts.sessions else 0
    assert eligibility.credited_s + eligibility.pending_s <= lasted_s
    assert eligibility.credit_hours == eligibility.credited_s / 2700


@settings(deadline=None)
@given(
    given_facts=any_facts(),
    ends=st.lists(st.integers(0, 30), max_size=3),
    moments=st.lists(st.integers(0, 40), min_size=2, max_size=2),
)
def test_time_alone_only_lets_blocks_expire(
    given_facts: EligibilityFacts, ends: list[int], moments: list[int]
) -> None:
    """Entries in force now or before end some day; nothing else hangs on the time of asking."""
    entries = tuple(
        entry(entry_id=f"e{i}", valid_from=BEFORE, valid_to=AS_OF + (end + 1) * DAY)
        for i, end in enumerate(ends)
    )
    listed = replace(given_facts, list_entries=(*entries, proposal(entry_id="p")))
    early, late = (
        decide(replace(listed, as_of=AS_OF + days * DAY), POLICY).outcome
        for days in sorted(moments)
    )
    assert early <= late
