"""Facts that the gate lets pass, to be spoiled one at a time."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from verifier.assurance import Assurance
from verifier.eligibility_facts import (
    CaseFact,
    ClassFact,
    ConsentFact,
    EligibilityFacts,
    EnrolmentFact,
    RosterFact,
    RosterGap,
    SessionFact,
)
from verifier.enrolment import Anchor
from verifier.list_entry import ListEntry, ListName, SubjectKind
from verifier.review_case import CaseKind, CaseResolution
from verifier.session_score import Decision
from verifier.session_state import SessionPhase

OPENED_AT = datetime(2026, 3, 2, 1, tzinfo=UTC)
AS_OF = datetime(2026, 3, 20, 2, tzinfo=UTC)
DAY = timedelta(days=1)
BEFORE = OPENED_AT - DAY

CONSENT = ConsentFact(version="2026-01", given_at=OPENED_AT - 4 * DAY, withdrawn_at=None)
CLASS = ClassFact(
    institution_id="i-1",
    platform_id="p-1",
    applied_at=OPENED_AT - 10 * DAY,
    approved_at=OPENED_AT - 8 * DAY,
    withdrawn_at=None,
    starts_on=date(2026, 3, 2),
    ends_on=date(2026, 3, 20),
    required_credit_hours=2,
)
ROSTER = RosterFact(added_at=OPENED_AT - 3 * DAY, removed_at=None)
RETURNED = replace(
    ROSTER, gaps=(RosterGap(removed_at=OPENED_AT - 2 * DAY, added_at=OPENED_AT - DAY),)
)
"""Taken off and put on again before anything was held."""
ENROLMENT = EnrolmentFact(anchor=Anchor.OFFICER, enrolled_at=OPENED_AT - 4 * DAY)


def session(number: int, **changes: Any) -> SessionFact:
    """Return an accepted lesson of 47 minutes on day ``number``, 45 of them credited."""
    opened_at = OPENED_AT + number * DAY
    whole = SessionFact(
        session_id=f"s{number}",
        opened_at=opened_at,
        ended_at=opened_at + timedelta(minutes=47),
        phase=SessionPhase.CLOSED,
        decision=Decision.ACCEPT,
        credited_s=2700.0,
        pending_s=0.0,
        anchor=Anchor.OFFICER,
        assurance=Assurance.PLATFORM,
        proven=True,
    )
    return replace(whole, **changes)


def facts(**changes: Any) -> EligibilityFacts:
    """Return facts on which two 学时 of 45 minutes are payable."""
    good = EligibilityFacts(
        learner_id="l-1",
        class_id="c-1",
        as_of=AS_OF,
        registered_at=OPENED_AT - 4 * DAY,
        consents=(CONSENT,),
        class_fact=CLASS,
        roster=ROSTER,
        enrolment=ENROLMENT,
        sessions=(session(0), session(1)),
        list_entries=(),
        claimed_s=5640.0,
    )
    return replace(good, **changes)


def entry(**changes: Any) -> ListEntry:
    """Return a black-list entry in force against the learner."""
    listed = ListEntry(
        entry_id="e-1",
        list_name=ListName.BLACK,
        subject_kind=SubjectKind.LEARNER,
        subject_id="l-1",
        valid_from=OPENED_AT - DAY,
        valid_to=None,
        reason_code="proxy_attendance",
        proposed_by="officer-a",
        proposed_at=OPENED_AT - 2 * DAY,
        approved_by="officer-b",
        approved_at=OPENED_AT - DAY,
    )
    return replace(listed, **changes)


def proposal(**changes: Any) -> ListEntry:
    """Return a proposal of two days ago against the learner that nobody has approved."""
    waiting = {"approved_by": None, "approved_at": None, "proposed_at": AS_OF - 2 * DAY}
    return entry(**{**waiting, **changes})


def case(kind: str, resolution: str | None, **changes: Any) -> CaseFact:
    """Return a case about the learner that was opened with the first session."""
    opened = CaseFact(
        case_id="k-1",
        kind=CaseKind(kind),
        opened_at=OPENED_AT,
        resolution=None if resolution is None else CaseResolution(resolution),
    )
    return replace(opened, **changes)
