"""What is on record of one learner in one class, for the gate (:mod:`verifier.eligibility`)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, func, select

from service.sql.cases import standing_cases
from service.sql.registry import consents, registered_at
from service.sql.subject_lists import entries_about
from service.sql.tables import enrolment, prompt, session
from service.sql.training_classes import claimed_s, class_of, whole_roster
from verifier.assurance import Assurance, LearnerPath
from verifier.eligibility_facts import (
    EligibilityFacts,
    EnrolmentFact,
    SessionFact,
)
from verifier.enrolment import Anchor
from verifier.list_entry import SubjectKind
from verifier.prompt import PromptOrigin, PromptStatus
from verifier.session_score import Decision
from verifier.session_state import SessionPhase


def eligibility_facts(
    tx: Connection,
    *,
    learner_id: str,
    class_id: str,
    purpose: str,
    as_of: datetime,
    published_size: int,
) -> EligibilityFacts:
    """Gather the facts as they are now.

    Parameters
    ----------
    purpose
        Of the consents that count.
    as_of
        Now, on the engine's clock.
    published_size
        Of the latest signed checkpoint: what lies beyond it is not proven.

    Raises
    ------
    UnknownSubjectError
        If learner or class are not on record.
    """
    fact = class_of(tx, class_id).fact
    subjects = (
        (SubjectKind.LEARNER, learner_id),
        (SubjectKind.INSTITUTION, fact.institution_id),
        (SubjectKind.PLATFORM, fact.platform_id),
    )
    return EligibilityFacts(
        learner_id=learner_id,
        class_id=class_id,
        as_of=as_of,
        registered_at=registered_at(tx, learner_id),
        consents=consents(tx, learner_id=learner_id, purpose=purpose),
        class_fact=fact,
        roster=whole_roster(tx, class_id=class_id, learner_id=learner_id),
        enrolment=_enrolment(tx, learner_id),
        sessions=sessions_of(
            tx, learner_id=learner_id, class_id=class_id, published_size=published_size
        ),
        list_entries=entries_about(tx, subjects),
        claimed_s=claimed_s(tx, class_id=class_id, learner_id=learner_id),
        open_cases=standing_cases(tx, learner_id),
    )


def _enrolment(tx: Connection, learner_id: str) -> EnrolmentFact | None:
    columns = (enrolment.c.anchor, enrolment.c.enrolled_at)
    row = tx.execute(select(*columns).where(enrolment.c.learner_id == learner_id)).one_or_none()
    if row is None:
        return None
    return EnrolmentFact(anchor=Anchor(row.anchor), enrolled_at=row.enrolled_at)


def sessions_of(
    tx: Connection, *, learner_id: str, class_id: str, published_size: int
) -> tuple[SessionFact, ...]:
    """Return what a learner's sessions in a class came to, by time."""
    row = session.c
    # One that never got its schedule never began: nobody was told of it, and nothing happened.
    begun = (row.learner_id == learner_id) & (row.class_id == class_id)
    chosen = select(session).where(begun & row.checkpoint_size.is_not(None))
    found = tx.execute(chosen.order_by(row.started_at)).all()
    counts = _prompt_counts(tx, learner_id, class_id)
    return tuple(_session_fact(each, counts, published_size) for each in found)


def _counts() -> Any:
    """Say which prompts the budget counts: the schedule's, and closing ones that were missed.

    A closing prompt comes when the platform says so: passed ones would thin misses out at will.
    """
    origin, missed = prompt.c.origin, prompt.c.status == PromptStatus.MISSED.value
    closing = (origin == PromptOrigin.CLOSING.value) & missed
    return (origin == PromptOrigin.SCHEDULED.value) | closing


def _prompt_counts(tx: Connection, learner_id: str, class_id: str) -> Mapping[str, Row[Any]]:
    """Return by session how many prompts were scheduled and resolved, missed and passed."""
    status = prompt.c.status
    query = (
        select(
            prompt.c.session_id,
            func.count().label("scheduled"),
            _count(status == PromptStatus.MISSED.value).label("missed"),
            _count(status == PromptStatus.PASSED.value).label("passed"),
        )
        .join(session, session.c.session_id == prompt.c.session_id)
        .where(session.c.learner_id == learner_id, session.c.class_id == class_id)
        .where(_counts(), status != PromptStatus.OPEN.value)
        .group_by(prompt.c.session_id)
    )
    return {row.session_id: row for row in tx.execute(query)}


def _count(holds: Any) -> Any:
    return func.sum(case((holds, 1), else_=0))


def _session_fact(
    row: Row[Any], counts: Mapping[str, Row[Any]], published_size: int
) -> SessionFact:
    prompts = counts.get(row.session_id)
    return SessionFact(
        session_id=row.session_id,
        opened_at=row.started_at,
        ended_at=row.ended_at,
        phase=SessionPhase(row.phase),
        decision=None if row.decision is None else Decision(row.decision),
        credited_s=row.credited_s or 0.0,
        pending_s=row.pending_s or 0.0,
        anchor=Anchor(row.anchor),
        assurance=Assurance(row.assurance),
        proven=row.last_index < published_size,
        witnesses=len(row.checkpoint_cosignatures or ()),
        prompts_scheduled=0 if prompts is None else prompts.scheduled,
        prompts_missed=0 if prompts is None else prompts.missed,
        prompts_passed=0 if prompts is None else prompts.passed,
        makes_up=row.makes_up,
        path=LearnerPath(row.path or LearnerPath.FACE),
    )
