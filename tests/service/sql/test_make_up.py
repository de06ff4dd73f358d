"""Making up for misses: whose, where, how soon; and what the gate reads of prompts in SQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from pipelines.lesson import FirstCheckpoint, Lesson
from service.sql import tables
from service.sql.gate_facts import sessions_of
from service.sql.lesson_store import SqlLessonUnit
from service.sql.make_up import require_make_up
from tests.service.sql.lesson_samples import (
    POLICY,
    STARTS,
    WHOLE_LESSON,
    add_opened,
    courses,
    register,
)
from verifier.assurance import LearnerPath
from verifier.eligibility_facts import SessionFact
from verifier.errors import ProtocolError
from verifier.prompt import PromptOrigin, PromptStatus

DAY = timedelta(days=1)
SOON = STARTS + DAY


def hold(tx: Connection, **changes: Any) -> Lesson:
    """Hold a whole lesson of l in c: one of three scheduled prompts missed, the closing passed."""
    unit = SqlLessonUnit(tx)
    lesson = replace(add_opened(unit), **changes)
    for taken in WHOLE_LESSON:
        lesson = courses(unit, lesson, taken)
    unit.save(lesson)
    return lesson


@pytest.fixture(name="held")
def _held(tx: Connection) -> Lesson:
    register(tx)
    return hold(tx)


def facts(tx: Connection) -> tuple[SessionFact, ...]:
    return sessions_of(tx, learner_id="l", class_id="c", published_size=0)


def require(tx: Connection, session_id: str, **changes: Any) -> None:
    said = {"learner_id": "l", "class_id": "c", "at": SOON, "rules": POLICY.classes, **changes}
    require_make_up(tx, session_id=session_id, **said)


def refusal(tx: Connection, session_id: str, **changes: Any) -> str:
    with pytest.raises(ProtocolError) as raised:
        require(tx, session_id, **changes)
    assert raised.value.code == "make_up_refused"
    return str(raised.value)


def change(tx: Connection, session_id: str, **values: Any) -> None:
    this = tables.session.c.session_id == session_id
    tx.execute(update(tables.session).where(this).values(values))


def test_the_gate_counts_scheduled_prompts(tx: Connection, held: Lesson) -> None:
    (fact,) = facts(tx)
    counts = (fact.prompts_scheduled, fact.prompts_missed, fact.prompts_passed)
    assert counts == (3, 1, 2)
    assert len(held.state.prompts) == 5  # and the opening and the closing one
    assert (fact.witnesses, fact.makes_up, fact.path) == (0, None, LearnerPath.FACE)


@pytest.mark.parametrize(
    ("origin", "status", "counts"),
    [
        (PromptOrigin.ADDED, PromptStatus.MISSED, (3, 1, 2)),
        (PromptOrigin.OPENING, PromptStatus.MISSED, (3, 1, 2)),
        (PromptOrigin.SCHEDULED, PromptStatus.REFERRED, (4, 1, 2)),
        (PromptOrigin.CLOSING, PromptStatus.OPEN, (3, 1, 2)),
        # As many as the platform opens sessions: they must not thin misses out, nor make up.
        (PromptOrigin.CLOSING, PromptStatus.PASSED, (3, 1, 2)),
        (PromptOrigin.CLOSING, PromptStatus.REFERRED, (3, 1, 2)),
        (PromptOrigin.CLOSING, PromptStatus.MISSED, (4, 2, 2)),
        (PromptOrigin.SCHEDULED, PromptStatus.MISSED, (4, 2, 2)),
    ],
)
def test_others_are_not_counted_but_for_a_closing_one_that_was_missed(
    tx: Connection,
    held: Lesson,
    origin: PromptOrigin,
    status: PromptStatus,
    counts: tuple[int, int, int],
) -> None:
    row = tables.prompt.c
    closing = (row.session_id == held.state.session_id) & (row.origin == "closing")
    said = {"origin": origin.value, "status": status.value}
    tx.execute(update(tables.prompt).where(closing).values(said))
    (fact,) = facts(tx)
    assert (fact.prompts_scheduled, fact.prompts_missed, fact.prompts_passed) == counts


def test_what_a_session_says_of_itself(tx: Connection, held: Lesson) -> None:
    checkpoint = FirstCheckpoint(size=9, root=b"r" * 32, cosignatures=(b"a" * 72, b"b" * 72))
    unit = SqlLessonUnit(tx)
    lesson = add_opened(unit)
    otherwise = replace(lesson, path=LearnerPath.NON_FACE, makes_up="s-x")
    unit.save(replace(otherwise, checkpoint=checkpoint))
    fact = next(each for each in facts(tx) if each.session_id == lesson.state.session_id)
    assert (fact.witnesses, fact.makes_up, fact.path) == (2, "s-x", LearnerPath.NON_FACE)
    assert (fact.prompts_scheduled, fact.prompts_missed) == (0, 0)
    assert held.state.session_id != fact.session_id


def test_misses_may_be_made_up_for_soon_enough(tx: Connection, held: Lesson) -> None:
    """It was held on Monday: three working days end on Thursday night in China."""
    session_id, midnight = held.state.session_id, datetime(2026, 3, 5, 16, tzinfo=UTC)
    require(tx, session_id)
    require(tx, session_id, at=midnight - timedelta(microseconds=1))
    assert refusal(tx, session_id, at=midnight) == "the last day for it was 2026-03-05"
    shorter = replace(POLICY.classes, make_up_working_days=0)
    assert "2026-03-02" in refusal(tx, session_id, rules=shorter)


def test_where_no_calendar_is_announced_the_refusal_says_so(tx: Connection, held: Lesson) -> None:
    session_id, far = held.state.session_id, datetime(2199, 12, 30, 2, tzinfo=UTC)
    change(tx, session_id, started_at=far - timedelta(hours=1), ended_at=far)
    assert refusal(tx, session_id, at=far + 30 * DAY) == (
        "the last day for it was 2200-01-02, counted in weekdays: the year's calendar is not known"
    )


def test_of_nobody_else_nowhere_else_and_not_before_its_end(tx: Connection, held: Lesson) -> None:
    session_id = held.state.session_id
    unknown = refusal(tx, "none")
    assert refusal(tx, session_id, learner_id="other") == unknown
    assert refusal(tx, session_id, class_id="other") == unknown
    unended = {"ended_at": None, "phase": "ending", "decision": None}
    change(tx, session_id, **unended, credited_s=None, pending_s=None)
    assert refusal(tx, session_id) == unknown


def test_nothing_missed_is_nothing_to_make_up(tx: Connection, held: Lesson) -> None:
    this = tables.prompt.c.session_id == held.state.session_id
    tx.execute(update(tables.prompt).where(this).values(status="passed"))
    assert "no scheduled prompt was missed" in refusal(tx, held.state.session_id)


def test_once_only(tx: Connection, held: Lesson) -> None:
    session_id = held.state.session_id
    later = hold(tx).state.session_id
    prompts = tables.prompt.c.session_id == later
    tx.execute(update(tables.prompt).where(prompts).values(status="passed"))
    moments = {"started_at": SOON, "ended_at": SOON + timedelta(hours=2)}
    accepted = {"decision": "accept", "makes_up": session_id}
    reviewed = {"decision": "review", "credited_s": 0.0}
    change(tx, later, **moments, makes_up=session_id, **reviewed)
    require(tx, session_id, at=SOON + DAY)  # it does not count until it is accepted
    change(tx, later, **accepted)
    assert "made up for before" in refusal(tx, session_id, at=SOON + DAY)


def test_while_the_class_goes_on_no_share_is_a_verdict(tx: Connection, held: Lesson) -> None:
    """One of three is above 18.75 %, and may be made up for; after the last day it may not."""
    session_id = held.state.session_id
    require(tx, session_id)
    tx.execute(update(tables.training_class).values(ends_on=STARTS.date()))
    assert "more prompts of the class were missed" in refusal(tx, session_id)
    within = replace(POLICY.classes, miss_budget_share=0.34)
    require(tx, session_id, rules=within)
    found = tx.execute(select(tables.session.c.session_id)).scalars().all()
    assert found == [session_id]
