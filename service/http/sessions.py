"""Sessions: opened and ended by a platform, followed by it and by the learner."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import Connection

from pipelines.lesson import ArchivedAnswer, Lesson, LessonResult
from pipelines.lesson_engine import Also
from pipelines.lesson_input import LONGEST_LESSON_MINUTES
from pipelines.lesson_records import told
from pipelines.lesson_store import LessonUnit
from service.application import Application
from service.consent import require_consent
from service.credentials import (
    CODE_LIVES,
    CODES_TRIED_PER_MINUTE,
    OneTimeCode,
    issue_learner_token,
    issue_one_time_code,
)
from service.http.callers import (
    AnyCaller,
    ApplicationOf,
    Caller,
    PlatformCaller,
    may_see_session,
    require_allowance,
)
from service.http.calls import Calls, connection_of
from service.http.problem_responses import problems
from service.http.problems import ProblemError
from service.http.prompts import PromptReply, require_asking
from service.http.values import Message, OpaqueId
from service.sql import learner_access, registry, training_classes
from service.sql.accommodations import grant_in_force, watch_share
from service.sql.lesson_store import SqlLessonReader
from service.sql.make_up import require_make_up
from verifier.accommodation import AccommodationKind
from verifier.assurance import Assurance, LearnerPath
from verifier.enrolment import Anchor
from verifier.errors import ProtocolError, UnknownSubjectError
from verifier.prompt import Judgement
from verifier.session_state import SessionPhase

router = APIRouter(tags=["sessions"])


class SessionOpening(Message):
    """A lesson that is about to begin."""

    learner_id: OpaqueId = Field(examples=["5b0e8d1f0c9a4e7d8f2b6a3c1d9e0f42"])
    class_id: OpaqueId = Field(examples=["cook-2026-03"])
    planned_minutes: Annotated[
        float,
        Field(gt=0, le=LONGEST_LESSON_MINUTES, strict=True, allow_inf_nan=False, examples=[48]),
    ]
    assurance: Assurance = Assurance.PLATFORM
    path: LearnerPath = Field(
        default=LearnerPath.FACE,
        description="`non_face` where two officers granted it before; needs no enrolment.",
    )
    makes_up: OpaqueId | None = Field(
        default=None,
        description="An ended session of the learner in the class, whose misses this makes up for.",
    )


class SessionOpened(Message):
    """A session, and the one-time code for which the learner gets a token."""

    session_id: str
    opened_at: datetime
    expires_at: datetime
    assurance: Assurance
    anchor: Anchor
    code: str = Field(description="Goes to the learner; exchanged once for a token.")
    code_expires_at: datetime


class CodeIssued(Message):
    """A fresh one-time code; the earlier one and its token open nothing any more."""

    session_id: str
    code: str = Field(description="Goes to the learner; exchanged once for a token.")
    code_expires_at: datetime


class CodeShown(Message):
    """What a learner exchanges."""

    code: str = Field(
        max_length=200, pattern=r"^[\x21-\x7e]+$", examples=["zx_code_aBcDeFgHiJkLmNoPqRsTuV"]
    )


class TokenIssued(Message):
    """What lets a learner follow and answer one session."""

    token: str
    session_id: str


class PromptCountsOut(Message):
    """What became of the prompts so far."""

    issued: int
    answered: int
    missed: int
    open: int
    added: int = Field(description="Of those issued: by an officer, or because of misses.")


class EvidenceOut(Message):
    """One judged answer; a receipt is to be had once it is ``proven``."""

    evidence_id: str
    at_s: float = Field(description="Seconds from the start of the session.")
    answer: Judgement
    reason: str
    proven: bool = Field(description="Whether a signed checkpoint holds it.")


class SessionOut(Message):
    """A session as platform and learner may know it: never a score."""

    session_id: str
    learner_id: str
    class_id: str
    assurance: Assurance
    anchor: Anchor
    path: LearnerPath
    phase: SessionPhase
    clock: Literal["running", "paused"] = Field(
        description="Time counts as lesson time while it runs: not in a pause, nor while a prompt "
        "waits for its answer."
    )
    paused_until: datetime | None = Field(
        description="When the pause after too many failed answers ends; null: there is none."
    )
    planned_minutes: float
    opened_at: datetime
    started_at: datetime
    ended_at: datetime | None
    prompts: PromptCountsOut
    decision: Literal["accept", "under_review"] | None = Field(
        description="null while in progress."
    )
    credited_s: float | None = Field(description="Seconds that can be paid; null in progress.")
    pending_s: float | None = Field(description="Seconds that wait for a person.")
    evidence: Sequence[EvidenceOut]

    @classmethod
    def of(cls, lesson: Lesson, *, published_size: int) -> "SessionOut":
        """Show a lesson."""
        state, counts = lesson.state, lesson.state.counts
        account = None if lesson.end is None else lesson.end.account
        return cls(
            session_id=state.session_id,
            learner_id=state.learner_id,
            class_id=state.class_id,
            assurance=lesson.assurance,
            anchor=lesson.anchor,
            path=lesson.path,
            phase=state.phase,
            clock="running" if state.clock_runs else "paused",
            paused_until=state.paused_until,
            planned_minutes=lesson.planned_minutes,
            opened_at=lesson.header.opened_at,
            started_at=state.started_at,
            ended_at=state.ended_at,
            prompts=PromptCountsOut(
                issued=counts.issued,
                answered=counts.answered,
                missed=counts.missed,
                open=counts.open,
                added=counts.added,
            ),
            decision=None if account is None else told(account.score.decision),
            credited_s=None if account is None else account.credit.credited_s,
            pending_s=None if account is None else account.credit.pending_s,
            evidence=[_evidence(answer, published_size) for answer in lesson.answers],
        )


@router.post(
    "/v1/sessions",
    status_code=201,
    response_model=SessionOpened,
    responses=problems(
        "unknown_subject",
        "consent_missing",
        "enrolment_outdated",
        "accommodation_missing",
        "make_up_refused",
        "idempotency_conflict",
    ),
)
def open_session(body: SessionOpening, found: PlatformCaller, call: Calls) -> Response:
    """Open a session; another one of the same learner that is still open is abandoned."""
    application, platform_id = call.application, found.own_platform_id

    def require_all(tx: Connection) -> None:
        registry.require_own_learner(tx, platform_id=platform_id, learner_id=body.learner_id)
        training_classes.class_of(tx, body.class_id, platform_id=platform_id)
        _require_made_up_for(application, tx, body)
        if body.path is LearnerPath.FACE:
            require_consent(tx, body.learner_id)

    def act(also: Also[str]) -> None:
        with application.database.reading() as tx:
            require_all(tx)
            granted = _granted(application, tx, body)

        def require(unit: LessonUnit) -> None:
            call.require_first(unit)
            tx = connection_of(unit)
            require_all(tx)
            # What is recorded is what is in force now, not what was a moment ago.
            if not granted.items() <= _granted(application, tx, body).items():
                raise ProblemError("accommodation_missing")

        application.engine.open(
            learner_id=body.learner_id,
            class_id=body.class_id,
            platform_id=platform_id,
            planned_minutes=body.planned_minutes,
            assurance=body.assurance,
            path=body.path,
            grant_id=granted.get(AccommodationKind.NON_FACE),
            extra_time=AccommodationKind.EXTRA_TIME in granted,
            makes_up=body.makes_up,
            require=require,
            also=also,
        )

    def render(tx: Connection, session_id: str) -> SessionOpened:
        if body.path is LearnerPath.NON_FACE:
            now = application.clock.now()
            watch_share(tx, class_id=body.class_id, policy=application.policy, at=now)
        return _opened(application, tx, session_id)

    return call.once(act, render, status=201)


@router.post(
    "/v1/sessions/{session_id}/code",
    response_model=CodeIssued,
    responses=problems("unknown_subject", "session_over", "idempotency_conflict"),
)
def renew_code(session_id: OpaqueId, found: PlatformCaller, call: Calls) -> Response:
    """Give out another one-time code, where the learner's was lost, too old or used by another."""
    require_own(call.application, found, session_id)

    def act(tx: Connection) -> CodeIssued:
        if SqlLessonReader(tx).lesson(session_id).state.ended_at is not None:
            raise ProtocolError("session_over", "the session has ended")
        return _new_code(call.application, tx, session_id)

    return call.once_in_sql(act, lambda issued: issued)


@router.post(
    "/v1/sessions/{session_id}/token",
    responses=problems("unauthenticated", "rate_limited", "code_spent", "unknown_subject"),
)
def redeem_code(session_id: OpaqueId, body: CodeShown, application: ApplicationOf) -> TokenIssued:
    """Exchange the one-time code for the learner's token; needs no key, works once."""
    require_allowance(application, f"codes:{session_id}", CODES_TRIED_PER_MINUTE)
    code = OneTimeCode.parse(body.code)
    if code is None:
        raise ProblemError("unauthenticated")
    token = issue_learner_token()
    with application.database.writing() as tx:
        learner_access.redeem_code(
            tx,
            session_id=session_id,
            code_sha256=code.digest,
            token_sha256=token.digest,
            at=application.clock.now(),
        )
        # After the code, so that only who has it hears it; leaving undoes the exchange.
        if SqlLessonReader(tx).lesson(session_id).assurance is Assurance.FRAME:
            raise ProblemError("forbidden", detail="in the engine's own frame only, on a device")
    return TokenIssued(token=token.text, session_id=session_id)


@router.get("/v1/sessions/{session_id}", responses=problems("unknown_subject"))
def get_session(session_id: OpaqueId, found: AnyCaller, application: ApplicationOf) -> SessionOut:
    """Return where a session stands, or what it came to."""
    lesson = require_own(application, found, session_id)
    return SessionOut.of(lesson, published_size=application.archive.checkpoint.size)


@router.get(
    "/v1/sessions/{session_id}/prompt", responses=problems("unknown_subject", "session_over")
)
def poll(session_id: OpaqueId, found: AnyCaller, application: ApplicationOf) -> PromptReply:
    """Return the prompt that waits for an answer now, or null; ask every few seconds."""
    require_asking(found, require_own(application, found, session_id).assurance)
    return PromptReply.of(application.engine.poll(session_id))


@router.post(
    "/v1/sessions/{session_id}/end",
    response_model=PromptReply,
    responses=problems("unknown_subject", "not_running", "session_over", "idempotency_conflict"),
)
def announce_end(session_id: OpaqueId, found: PlatformCaller, call: Calls) -> Response:
    """Say that the lesson is over; the closing prompt is due at once."""
    engine = call.application.engine
    require_own(call.application, found, session_id)

    def act(also: Also[None]) -> None:
        engine.announce_end(session_id, also=also)

    # The closing prompt is asked for by polling: another prompt may still wait for its answer.
    return call.once(act, lambda _tx, _none: PromptReply(prompt=None))


@router.post(
    "/v1/sessions/{session_id}/close",
    response_model=SessionOut,
    responses=problems("unknown_subject", "idempotency_conflict"),
)
def close_session(session_id: OpaqueId, found: PlatformCaller, call: Calls) -> Response:
    """End a session and settle what it is worth; one that has ended is told again."""
    application = call.application
    require_own(application, found, session_id)

    def render(tx: Connection, _: LessonResult) -> SessionOut:
        lesson = SqlLessonReader(tx).lesson(session_id)
        return SessionOut.of(lesson, published_size=application.archive.checkpoint.size)

    return call.once(lambda also: application.engine.close(session_id, also=also), render)


def require_own(application: Application, found: Caller, session_id: str) -> Lesson:
    """Return a session that the caller may see; ``UnknownSubjectError`` otherwise."""
    with application.engine.store.reading() as unit:
        lesson = unit.lesson(session_id)
    if not may_see_session(found, session_id, lesson.state.platform_id):
        raise UnknownSubjectError("there is no session with that id")
    return lesson


def _granted(
    application: Application, tx: Connection, body: SessionOpening
) -> Mapping[AccommodationKind, str]:
    """Return the ids of the grants that the session stands on, by kind.

    Raises
    ------
    ProblemError
        ``accommodation_missing`` if there is none for its path.
    """
    kinds = [AccommodationKind.EXTRA_TIME]
    if body.path is LearnerPath.NON_FACE:
        kinds.append(AccommodationKind.NON_FACE)
    now = application.clock.now()
    found = {
        kind: grant_in_force(tx, learner_id=body.learner_id, kind=kind, at=now) for kind in kinds
    }
    granted = {kind: grant.grant_id for kind, grant in found.items() if grant is not None}
    if body.path is LearnerPath.NON_FACE and AccommodationKind.NON_FACE not in granted:
        raise ProblemError("accommodation_missing")
    return granted


def _require_made_up_for(application: Application, tx: Connection, body: SessionOpening) -> None:
    if body.makes_up is not None:
        require_make_up(
            tx,
            session_id=body.makes_up,
            learner_id=body.learner_id,
            class_id=body.class_id,
            at=application.clock.now(),
            rules=application.policy.classes,
        )


def _opened(application: Application, tx: Connection, session_id: str) -> SessionOpened:
    """Give out the learner's code in the unit of work that opened the session."""
    lesson, issued = SqlLessonReader(tx).lesson(session_id), _new_code(application, tx, session_id)
    return SessionOpened(
        session_id=session_id,
        opened_at=lesson.state.started_at,
        expires_at=lesson.expires_at,
        assurance=lesson.assurance,
        anchor=lesson.anchor,
        code=issued.code,
        code_expires_at=issued.code_expires_at,
    )


def _new_code(application: Application, tx: Connection, session_id: str) -> CodeIssued:
    code, expires_at = issue_one_time_code(), application.clock.now() + CODE_LIVES
    learner_access.keep_code(
        tx, session_id=session_id, code_sha256=code.digest, expires_at=expires_at
    )
    return CodeIssued(session_id=session_id, code=code.text, code_expires_at=expires_at)


def _evidence(answer: ArchivedAnswer, published_size: int) -> EvidenceOut:
    return EvidenceOut(
        evidence_id=answer.evidence_id,
        at_s=answer.at_s,
        answer=answer.judgement,
        reason=answer.reason.value,
        proven=answer.index < published_size,
    )
