"""Prompts and their answers: the endpoint that platforms call during lessons.

In the engine's own frame it is the learner who calls, with a token that only their device's key
makes worth anything: neither is the platform told what is asked, nor may it answer.
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Self

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection

from pipelines.lesson import AnswerView, PromptView
from pipelines.lesson_engine import Also
from pipelines.lesson_input import LONGEST_TYPED, MOST_FRAMES, SignedAnswer
from service.application import Application
from service.consent import require_consent
from service.http.callers import (
    Caller,
    OfficerCaller,
    SecretShown,
    may_see_session,
    proof_of,
    require_allowance,
)
from service.http.calls import Call, Calls
from service.http.problem_responses import problems
from service.http.problems import ProblemError
from service.http.values import WANTED, Base64Bytes, Message, OpaqueId
from service.sql.session_index import Asked, asked_of
from service.turns import BusyError
from verifier.answer import ANSWER_TEXT, AnswerReason, CallFinding
from verifier.assurance import Assurance, LearnerPath
from verifier.errors import UnknownSubjectError, VerifierError
from verifier.observation import QualityReason
from verifier.prompt import Judgement, PromptKind
from verifier.transparency.base64_text import to_base64

_CLAIM_S: Final = 30.0
_LONGEST_FILM_MS: Final = 600_000

PROMPT_TEXT: Final[Mapping[PromptKind, tuple[str, str]]] = MappingProxyType(
    {
        PromptKind.SILENT_CAPTURE: ("请正对镜头", "Please face the camera."),
        PromptKind.TYPED_CODE: (
            "请输入屏幕上的数字",
            "Please type the digits that you see on the screen.",
        ),
        PromptKind.OFFICER_CALL: (
            "工作人员将与您联系，请保持在线",
            "An officer will call you: please stay online.",
        ),
    }
)
"""What the learner is asked to do, (Chinese, English)."""

router = APIRouter(tags=["prompts"])


class PromptOut(Message):
    """A prompt that waits for an answer; nothing in it tells when the next one comes."""

    prompt_id: str
    nonce: str = Field(description="base64; goes back with the answer. A retry has a fresh one.")
    kind: PromptKind
    closes_at: datetime
    code: str | None = Field(description="To be shown and typed; null but for `typed_code`.")
    text_zh: str
    text_en: str

    @classmethod
    def of(cls, prompt: PromptView) -> "PromptOut":
        """Show an open prompt."""
        kind = PromptKind(prompt.kind)
        chinese, english = PROMPT_TEXT[kind]
        return cls(
            prompt_id=prompt.prompt_id,
            nonce=to_base64(prompt.nonce),
            kind=kind,
            closes_at=prompt.closes_at,
            code=prompt.code,
            text_zh=chinese,
            text_en=english,
        )


class PromptReply(Message):
    """The prompt that waits, or null."""

    prompt: PromptOut | None

    @classmethod
    def of(cls, prompt: PromptView | None) -> "PromptReply":
        """Show what waits."""
        return cls(prompt=None if prompt is None else PromptOut.of(prompt))


_Frames = Annotated[list[Base64Bytes], Field(min_length=1, max_length=MOST_FRAMES, fail_fast=True)]
_Milliseconds = Annotated[
    list[Annotated[int, Field(ge=0, le=_LONGEST_FILM_MS, strict=True)]],
    Field(min_length=1, max_length=MOST_FRAMES, fail_fast=True),
]


class AnswerIn(Message):
    """The answer to a prompt: frames to a capture, digits to a typed code, never both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"nonce": "q83vEjRWeJCrze8SNFZ4kA==", "frames": ["/9j/4AAQSkZJRg=="]},
                {"nonce": "q83vEjRWeJCrze8SNFZ4kA==", "typed": "042917"},
            ]
        }
    )

    nonce: Base64Bytes
    frames: _Frames | None = Field(
        default=None, description="JPEG or PNG, up to 1 MiB each and 3 MiB together."
    )
    typed: Annotated[str, Field(min_length=1, max_length=LONGEST_TYPED)] | None = None
    captured_ms: _Milliseconds | None = Field(
        default=None,
        description="When each frame was taken, rising, from any zero: how fast, never when.",
    )

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if (self.frames is None) == (self.typed is None):
            raise PydanticCustomError(WANTED, "one of frames and typed was wanted")
        if self.captured_ms is not None and self.frames is None:
            raise PydanticCustomError(WANTED, "captured_ms was wanted with frames only")
        return self


class AnswerOut(Message):
    """What platform and learner are told: never a score."""

    answer: Judgement
    reason: AnswerReason
    text_zh: str
    text_en: str
    quality: Sequence[QualityReason] = Field(description="What to put right in a poor picture.")
    evidence_id: str = Field(description="Pending until a signed checkpoint holds it.")
    prompt: PromptOut | None = Field(description="On a retry: what to answer now.")

    @classmethod
    def of(cls, view: AnswerView) -> "AnswerOut":
        """Show a judged answer."""
        chinese, english = ANSWER_TEXT[view.reason]
        return cls(
            answer=view.judgement,
            reason=view.reason,
            text_zh=chinese,
            text_en=english,
            quality=view.quality,
            evidence_id=view.evidence_id,
            prompt=PromptReply.of(view.asked_again).prompt,
        )


class PromptAdding(Message):
    """What an officer wants the learner to be asked for now."""

    kind: PromptKind = Field(examples=["officer_call"])


class PromptAdded(Message):
    """A prompt that an officer had asked; what it takes to answer is told to the learner only."""

    prompt_id: str
    kind: PromptKind
    closes_at: datetime


class CallRecording(Message):
    """What an officer found who called the learner."""

    finding: CallFinding = Field(examples=["seen"])


@router.post(
    "/v1/prompts/{prompt_id}/answer",
    response_model=AnswerOut,
    responses=problems(
        "invalid_input",
        "unknown_subject",
        "wrong_nonce",
        "prompt_already_resolved",
        "deadline_passed",
        "answer_in_progress",
        "session_over",
        "consent_missing",
        "enrolment_outdated",
        "session_outdated",
        "body_too_large",
        "idempotency_conflict",
        "busy",
    ),
)
def answer_prompt(
    prompt_id: OpaqueId, body: AnswerIn, request: Request, call: Calls, shown: SecretShown
) -> Response:
    """Judge what was sent in answer to one prompt: pass, retry or refer."""
    return answer_body(
        prompt_id,
        body,
        call=call,
        sha256=hashlib.sha256(shown.body).digest(),
        arrived_at=request.state.arrived_at,
        signed=proof_of(request),
    )


def answer_body(
    prompt_id: str,
    body: AnswerIn,
    *,
    call: Call,
    sha256: bytes,
    arrived_at: datetime,
    signed: SignedAnswer | None,
) -> Response:
    """Judge a whole answer, however it arrived.

    Parameters
    ----------
    sha256
        Of the bytes as they were sent: past the deadline they are taken if they were announced.
    arrived_at
        When it began to arrive: what the deadline is about.
    signed
        By the key of the learner's device; None where none is wanted.
    """
    application = call.application
    asked = asked_by(application, call.caller, prompt_id)
    require_allowance(
        application, f"answers:{asked.session_id}", application.settings.answers_per_minute
    )

    def judge(also: Also[AnswerView]) -> None:
        with (
            _judged_once(application, prompt_id),
            _delay_costs_nothing(application, asked, body.nonce, sha256, arrived_at),
        ):
            application.engine.answer(
                asked.session_id,
                prompt_id=prompt_id,
                nonce=body.nonce,
                frames=body.frames or (),
                typed=body.typed,
                captured_ms=body.captured_ms,
                arrived_at=arrived_at,
                announced=application.uploads.announced.has(prompt_id, body.nonce, sha256),
                signed=signed,
                also=also,
            )

    def render(tx: Connection, view: AnswerView) -> AnswerOut:
        # Once more, in the unit of work: it may have been withdrawn while the faces were judged.
        _require_consent(tx, asked)
        return AnswerOut.of(view)

    return call.once(judge, render)


@router.post(
    "/v1/sessions/{session_id}/prompts",
    status_code=201,
    response_model=PromptAdded,
    responses=problems(
        "unknown_subject",
        "not_running",
        "wrong_kind",
        "prompt_open",
        "session_paused",
        "session_over",
        "idempotency_conflict",
    ),
)
def add_prompt(
    session_id: OpaqueId, body: PromptAdding, found: OfficerCaller, call: Calls
) -> Response:
    """Ask the learner now: an officer wants it, and the log says so."""

    def act(also: Also[PromptView]) -> None:
        call.application.engine.add_prompt(
            session_id, kind=body.kind, by=found.own_person, also=also
        )

    def render(_tx: Connection, added: PromptView) -> PromptAdded:
        kind = PromptKind(added.kind)
        return PromptAdded(prompt_id=added.prompt_id, kind=kind, closes_at=added.closes_at)

    return call.once(act, render, status=201)


@router.post(
    "/v1/prompts/{prompt_id}/recording",
    response_model=AnswerOut,
    responses=problems(
        "unknown_subject",
        "wrong_kind",
        "prompt_already_resolved",
        "deadline_passed",
        "session_over",
        "idempotency_conflict",
    ),
)
def record_call(
    prompt_id: OpaqueId, body: CallRecording, found: OfficerCaller, call: Calls
) -> Response:
    """Record what an officer found who called the learner."""
    application = call.application
    with application.database.reading() as tx:
        asked = asked_of(tx, prompt_id)
    if asked is None:
        raise _no_prompt()

    def act(also: Also[AnswerView]) -> None:
        application.engine.record_call(
            asked.session_id,
            prompt_id=prompt_id,
            finding=body.finding,
            by=found.own_person,
            also=also,
        )

    return call.once(act, lambda _tx, view: AnswerOut.of(view))


def announce(
    application: Application, asked: Asked, nonce: bytes, sha256: bytes, *, arrived_at: datetime
) -> datetime:
    """Note that an answer with that digest is on its way: the grace applies to it, and to no other.

    Return until when the prompt takes it.

    Raises
    ------
    VerifierError
        If the prompt takes no answer any more, or only one that was announced in time.
    """
    announced = application.uploads.announced
    closes_at = application.engine.begin_upload(
        asked.session_id,
        prompt_id=asked.prompt_id,
        nonce=nonce,
        arrived_at=arrived_at,
        announced=announced.has(asked.prompt_id, nonce, sha256),
    )
    announced.note(asked.prompt_id, nonce, sha256)
    return closes_at


def require_asking(found: Caller, assurance: Assurance) -> None:
    """Return if the caller may be told what is asked in a session.

    Raises
    ------
    ProblemError
        ``forbidden`` for officers, since asking is what sends a prompt out; and in the engine's
        own frame for everybody but the learner on their device.
    """
    if found.is_officer:
        raise ProblemError("forbidden", detail="officers do not ask for learners' prompts")
    _require_own_hands(found, assurance)


def asked_by(application: Application, found: Caller, prompt_id: str) -> Asked:
    """Return who was asked by a prompt that the caller may answer.

    Raises
    ------
    UnknownSubjectError
        If it is another's, in the same words as if it were nobody's.
    ProblemError
        ``forbidden``: the caller may not answer for the learner.
    ProtocolError
        ``consent_missing``: no face of the learner's may be looked at.
    """
    with application.database.reading() as tx:
        asked = asked_of(tx, prompt_id)
        if asked is None or not may_see_session(found, asked.session_id, asked.platform_id):
            raise _no_prompt()
        if found.is_officer:
            raise ProblemError("forbidden", detail="officers do not answer for learners")
        _require_own_hands(found, asked.assurance)
        _require_consent(tx, asked)
    return asked


def _require_own_hands(found: Caller, assurance: Assurance) -> None:
    # What passes through the engine's own frame must not pass through the platform's hands.
    device = None if found.access is None else found.access.device_id
    if assurance is Assurance.FRAME and device is None:
        raise ProblemError("forbidden", detail="only the learner, in the engine's own frame")


def _require_consent(tx: Connection, asked: Asked) -> None:
    # It is about faces; who is known by a grant shows none.
    if asked.path is LearnerPath.FACE:
        require_consent(tx, asked.learner_id)


def _no_prompt() -> UnknownSubjectError:
    return UnknownSubjectError("there is no prompt with that id")


@contextmanager
def _delay_costs_nothing(
    application: Application, asked: Asked, nonce: bytes, sha256: bytes, arrived_at: datetime
) -> Iterator[None]:
    """Keep on record that an answer arrived which nobody had time to judge: it is sent again."""
    try:
        yield
    except BusyError:
        # Where it cannot be noted, it is as late as it was.
        with suppress(VerifierError):
            announce(application, asked, nonce, sha256, arrived_at=arrived_at)
        raise


@contextmanager
def _judged_once(application: Application, prompt_id: str) -> Iterator[None]:
    """Let one answer to a prompt be judged at a time; SQL decides, this only saves work."""
    key, owner = f"answer:{prompt_id}", secrets.token_hex(8)
    if not application.live.claim(key, owner, ttl_s=_CLAIM_S):
        raise ProblemError("answer_in_progress")
    try:
        yield
    finally:
        application.live.release(key, owner)
