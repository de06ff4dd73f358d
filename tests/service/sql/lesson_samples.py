"""Lessons for the tests of the store: what they refer to, and any course one may take."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Final

from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import ArchivedAnswer, FirstCheckpoint, Lesson, LessonEnd
from service.sql import tables
from service.sql.lesson_store import SqlLessonUnit
from verifier import session as acts
from verifier.answer import AnswerReason
from verifier.assurance import Assurance
from verifier.check import Challenge, Check, Outcome
from verifier.claim import SessionAccount
from verifier.credit import credit
from verifier.enrolment import Anchor
from verifier.observation import QualityReason
from verifier.policy import default_policy
from verifier.prompt import Judgement, PromptKind, PromptOrigin
from verifier.schedule import ScheduleHeader, ScheduleParameters
from verifier.session_score import score_session
from verifier.session_state import SessionPhase, SessionState
from verifier.transparency.leaf import Leaf

POLICY: Final = default_policy()
STARTS: Final = datetime(2026, 3, 2, 1, 0, 0, 123456, tzinfo=UTC)
_numbers = count()


def fresh(noun: str) -> str:
    """Return an id that nothing else in this run has."""
    return f"{noun}-{next(_numbers)}"


def entry(kind: str = "session_opened", session_id: str | None = None) -> PreparedEntry:
    """Return a log entry unlike any other."""
    leaf = Leaf(kind=kind, time=STARTS, session_id=session_id, facts={"n": next(_numbers)})
    return PreparedEntry(leaf=leaf, entry=leaf.serialize())


def register(
    tx: Connection, *, learner_id: str = "l", class_id: str = "c", platform_id: str = "p"
) -> None:
    """Put a learner, a class and a platform on record."""
    tx.execute(insert(tables.platform).values(platform_id=platform_id, name="P", created_at=STARTS))
    tx.execute(insert(tables.learner).values(learner_id=learner_id, registered_at=STARTS))
    tx.execute(
        insert(tables.training_class).values(
            class_id=class_id,
            platform_id=platform_id,
            institution_id="i",
            title="T",
            starts_on=date(2026, 3, 1),
            ends_on=date(2026, 3, 31),
            required_credit_hours=40.0,
            applied_at=STARTS,
        )
    )


def opened(
    *, learner_id: str = "l", class_id: str = "c", platform_id: str = "p", index: int, number: int
) -> Lesson:
    """Return a lesson as it is when it has just been opened."""
    header = ScheduleHeader(
        session_id=fresh("s"),
        learner_id=learner_id,
        class_id=class_id,
        platform_id=platform_id,
        policy_digest=POLICY.digest,
        parameters=ScheduleParameters.of(POLICY.prompts),
        opened_at=STARTS,
    )
    return Lesson(
        state=acts.open_session(
            session_id=header.session_id,
            learner_id=learner_id,
            class_id=class_id,
            platform_id=platform_id,
            policy=POLICY,
            at=STARTS,
        ),
        anchor=Anchor.OFFICER,
        assurance=Assurance.PLATFORM,
        planned_minutes=45,
        expires_at=STARTS + timedelta(minutes=60),
        header=header,
        secret=b"s" * 32,
        number=number,
        opened_index=index,
        last_index=index,
    )


def add_opened(unit: SqlLessonUnit, *, learner_id: str = "l", class_id: str = "c") -> Lesson:
    """Open a lesson in a unit of work, with its leaf."""
    number = unit.session_count(learner_id, class_id)
    index = unit.append(entry())
    lesson = opened(learner_id=learner_id, class_id=class_id, index=index, number=number)
    unit.add(lesson)
    return lesson


_RATIOS = st.none() | st.floats(-5, 5)
_CHECKS = st.builds(
    Check,
    t=st.just(0.0),
    prompted=st.just(True),
    outcome=st.just(Outcome.CAPTURED),
    faces=st.none() | st.just(1),
    comparison_log10_lr=_RATIOS,
    pad_log10_lr=_RATIOS,
    challenge=st.none()
    | st.builds(
        Challenge,
        kind=st.just("turn_left"),
        passed=st.booleans(),
        latency_s=_RATIOS.map(lambda ratio: None if ratio is None else abs(ratio)),
    ),
    near_duplicate=st.none() | st.booleans(),
    extra=st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=9), st.integers()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What somebody does next, if the lesson allows it, and how long after the last thing."""

    wait_s: float
    judgement: Judgement
    check: Check
    reason: AnswerReason
    quality: tuple[QualityReason, ...]
    leave: bool


STEPS: Final = st.lists(
    st.builds(
        Step,
        wait_s=st.floats(0, 200).map(lambda seconds: round(seconds, 6)),
        judgement=st.sampled_from(Judgement),
        check=_CHECKS,
        reason=st.sampled_from(AnswerReason),
        quality=st.lists(st.sampled_from(QualityReason), max_size=2).map(tuple),
        leave=st.integers(0, 9).map(lambda chance: chance == 0),
    ),
    max_size=14,
)


def step(judgement: Judgement = Judgement.PASS, wait_s: float = 1.5) -> Step:
    """Return a step of which only ``judgement`` and ``wait_s`` matter."""
    return Step(
        wait_s=wait_s,
        judgement=judgement,
        check=Check(
            t=0.0,
            prompted=True,
            outcome=Outcome.CAPTURED,
            faces=1,
            comparison_log10_lr=2.0,
            challenge=Challenge(kind="turn_left", passed=True, latency_s=1.25),
        ),
        reason=AnswerReason.CONFIRMED,
        quality=(QualityReason.BLURRED,),
        leave=False,
    )


WHOLE_LESSON: Final = [
    *[step()] * 3,  # checkpoint; opening prompt: asked, passed
    *[step(Judgement.RETRY)] * 2,  # paused, resumed
    *[step(), step(Judgement.RETRY), step()],  # a prompt: asked, unclear, passed
    *[step(), step(wait_s=500)],  # another: asked, missed
    *[step(), step()],  # another: asked, passed
    step(Judgement.REFER),  # the end is announced
    *[step()] * 4,  # closing prompt: asked, passed; closed; settled
]
"""Everything that may happen, once."""


def courses(unit: SqlLessonUnit, lesson: Lesson, taken: Step) -> Lesson:
    """Return the lesson after a step, its evidence appended in ``unit``."""
    return _finished(unit, lesson) if lesson.state.ended_at else _stepped(unit, lesson, taken)


def _stepped(unit: SqlLessonUnit, lesson: Lesson, taken: Step) -> Lesson:
    state = lesson.state
    at = state.last_event_at + timedelta(seconds=taken.wait_s)
    if lesson.checkpoint is None:
        first = FirstCheckpoint(size=lesson.opened_index + 1, root=b"r" * 32)
        return replace(lesson, checkpoint=first)
    if state.open_prompt is not None and at <= state.open_prompt.closes_at and not taken.leave:
        return _answered(unit, lesson, taken, at)
    changed = _changed(state, taken, at)
    return _asked(lesson, at) if changed is None else replace(lesson, state=changed)


def _changed(state: SessionState, taken: Step, at: datetime) -> SessionState | None:
    """Return the session after what needs no evidence; None if it is time for a prompt."""
    if taken.leave:
        return acts.abandon(state, at=at)
    if state.paused_at is not None:
        return acts.resume(state, at=at)
    if state.open_prompt is not None:
        return acts.expire(state, at=at)
    if state.phase is SessionPhase.RUNNING and taken.judgement is Judgement.REFER:
        return acts.announce_end(state, at=at)
    if state.phase is SessionPhase.RUNNING and taken.judgement is Judgement.RETRY:
        return acts.pause(state, at=at)
    return acts.close(state, at=at) if state.closing_asked else None


def _asked(lesson: Lesson, at: datetime) -> Lesson:
    state = lesson.state
    origins = {
        SessionPhase.OPENING: PromptOrigin.OPENING,
        SessionPhase.RUNNING: PromptOrigin.SCHEDULED,
        SessionPhase.ENDING: PromptOrigin.CLOSING,
    }
    origin = origins[state.phase]
    planned = lesson.planned if origin is PromptOrigin.SCHEDULED else None
    if planned is not None:
        at = max(at, state.started_at + timedelta(seconds=planned.offset_s))
    if origin is PromptOrigin.CLOSING:
        at = state.last_event_at
    issued = acts.issue_prompt(
        state,
        prompt_id=fresh("q"),
        nonce=fresh("nonce").encode().rjust(16),
        kind=PromptKind.SILENT_CAPTURE,
        origin=origin,
        at=at,
        planned=planned,
    )
    index = lesson.next_planned + (planned is not None)
    return replace(lesson, state=issued, next_planned=index)


def _answered(unit: SqlLessonUnit, lesson: Lesson, taken: Step, at: datetime) -> Lesson:
    prompt = lesson.state.open_prompt
    assert prompt is not None
    begun = acts.begin_upload(lesson.state, prompt_id=prompt.prompt_id, nonce=prompt.nonce, at=at)
    state = acts.answer(
        begun,
        prompt_id=prompt.prompt_id,
        nonce=prompt.nonce,
        at=at,
        judgement=taken.judgement,
        check=taken.check,
        retry_nonce=fresh("nonce").encode().rjust(16),
    )
    leaf = entry("snapshot", state.session_id)
    index = unit.append(leaf)
    answer = ArchivedAnswer(
        prompt_id=prompt.prompt_id,
        index=index,
        evidence_id=leaf.evidence_id,
        at_s=state.offset_s(at),
        judgement=taken.judgement,
        reason=taken.reason,
        quality=taken.quality,
        has_picture=taken.check.faces is not None,
    )
    return replace(
        lesson,
        state=state,
        answers=(*lesson.answers, answer),
        last_index=index,
        sequence=lesson.sequence + 1,
    )


def _finished(unit: SqlLessonUnit, lesson: Lesson) -> Lesson:
    if lesson.end is not None:
        return lesson
    state = lesson.state
    evidence = acts.session_evidence(state, planned_minutes=45, policy=POLICY)
    score = score_session(evidence, POLICY)
    account = SessionAccount(
        session_id=state.session_id,
        learner_id=state.learner_id,
        class_id=state.class_id,
        started_at=state.started_at,
        ended_at=state.last_event_at,
        score=score,
        credit=credit(
            state.spans(),
            decision=score.decision,
            lower95_s=60 * score.verified_lower95_minutes,
            rules=POLICY.credit,
        ),
    )
    index = unit.append(entry("session_closed", state.session_id))
    return replace(lesson, end=LessonEnd(account=account, closed_index=index), last_index=index)
