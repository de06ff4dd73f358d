"""Prompts and their answers: the endpoint that platforms call during lessons."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import FailFast, Field
from sqlalchemy import Connection

from pipelines.lesson import AnswerView, PromptView
from pipelines.lesson_engine import Also
from pipelines.lesson_input import MOST_FRAMES
from service.application import Application
from service.consent import require_consent
from service.http.callers import Caller, may_see_session, require_allowance
from service.http.calls import Calls
from service.http.problem_responses import problems
from service.http.problems import ProblemError
from service.http.values import Base64Bytes, Message, OpaqueId
from service.sql.session_index import asked_of
from verifier.answer import ANSWER_TEXT, AnswerReason
from verifier.assurance import Assurance
from verifier.errors import UnknownSubjectError
from verifier.observation import QualityReason
from verifier.prompt import Judgement
from verifier.transparency.base64_text import to_base64

_CLAIM_S: Final = 30.0

router = APIRouter(tags=["prompts"])


class PromptOut(Message):
    """A prompt that waits for an answer; nothing in it tells when the next one comes."""

    prompt_id: str
    nonce: str = Field(description="base64; goes back with the answer. A retry has a fresh one.")
    kind: str = Field(examples=["silent_capture"])
    closes_at: datetime

    @classmethod
    def of(cls, prompt: PromptView) -> "PromptOut":
        """Show an open prompt."""
        return cls(
            prompt_id=prompt.prompt_id,
            nonce=to_base64(prompt.nonce),
            kind=prompt.kind,
            closes_at=prompt.closes_at,
        )


class PromptReply(Message):
    """The prompt that waits, or null."""

    prompt: PromptOut | None

    @classmethod
    def of(cls, prompt: PromptView | None) -> "PromptReply":
        """Show what waits."""
        return cls(prompt=None if prompt is None else PromptOut.of(prompt))


class AnswerIn(Message):
    """Frames taken in answer to a prompt: JPEG or PNG, up to 1 MiB each and 3 MiB together."""

    nonce: Base64Bytes = Field(examples=["q83vEjRWeJCrze8SNFZ4kA=="])
    frames: Annotated[
        list[Base64Bytes],
        FailFast(),
        Field(min_length=1, max_length=MOST_FRAMES, examples=[["/9j/4AAQSkZJRg=="]]),
    ]


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
def answer_prompt(prompt_id: OpaqueId, body: AnswerIn, request: Request, call: Calls) -> Response:
    """Judge the frames sent in answer to one prompt: pass, retry or refer."""
    application = call.application
    session_id, learner_id = _own_session(application, call.caller, prompt_id)
    require_allowance(application, f"answers:{session_id}", application.settings.answers_per_minute)

    def judge(also: Also[AnswerView]) -> None:
        with _judged_once(application, prompt_id):
            application.engine.answer(
                session_id,
                prompt_id=prompt_id,
                nonce=body.nonce,
                frames=body.frames,
                arrived_at=request.state.arrived_at,
                also=also,
            )

    def render(tx: Connection, view: AnswerView) -> AnswerOut:
        # Once more, in the unit of work: it may have been withdrawn while the faces were judged.
        require_consent(tx, learner_id)
        return AnswerOut.of(view)

    return call.once(judge, render)


def _own_session(application: Application, found: Caller, prompt_id: str) -> tuple[str, str]:
    """Return session and learner of a prompt that the caller may answer.

    Raises
    ------
    UnknownSubjectError
        If it is another's, in the same words as if it were nobody's.
    ProtocolError
        ``consent_missing``: no face of the learner's may be looked at.
    """
    with application.database.reading() as tx:
        asked = asked_of(tx, prompt_id)
        if asked is None or not may_see_session(found, asked.session_id, asked.platform_id):
            raise UnknownSubjectError("there is no prompt with that id")
        if found.is_officer:
            raise ProblemError("forbidden", detail="officers do not answer for learners")
        if asked.assurance is Assurance.FRAME and found.access is None:
            # Its pictures must not have passed through the platform's hands.
            raise ProblemError("forbidden", detail="only the learner answers in the engine's frame")
        require_consent(tx, asked.learner_id)
    return asked.session_id, asked.learner_id


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
