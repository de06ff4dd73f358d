"""One prompt: issued by the engine, answered once, inside its time, or missed.

The acts on a prompt are pure functions of :class:`Prompt`; :mod:`verifier.session` decides when
they are allowed.
"""

import hmac
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from verifier.check import Check, Outcome
from verifier.errors import ProtocolError
from verifier.policy_groups import PromptRules

RECEIVING_S: Final = 15
"""An answer that began to arrive in time may take this long to arrive before it is missed."""


class PromptKind(StrEnum):
    """What the learner is asked for; the policy says which kinds the schedule may draw."""

    SILENT_CAPTURE = "silent_capture"
    TYPED_CODE = "typed_code"  # shows that somebody is there, never who
    OFFICER_CALL = "officer_call"  # an officer speaks with the learner and records it


class PromptOrigin(StrEnum):
    """Why a prompt was issued. Only ``scheduled`` ones follow from the seed."""

    OPENING = "opening"
    SCHEDULED = "scheduled"
    ADDED = "added"  # see AddedBecause
    CLOSING = "closing"


class AddedBecause(StrEnum):
    """Why a prompt was added to the schedule."""

    SUPERVISOR = "supervisor"  # an officer wanted it
    POSTERIOR = "posterior"  # the learner may be gone


class PromptStatus(StrEnum):
    """Where a prompt stands; all but ``open`` are final."""

    OPEN = "open"
    PASSED = "passed"
    REFERRED = "referred"  # answered, and somebody else seems to have answered
    MISSED = "missed"


class Judgement(StrEnum):
    """What platform and learner are told about an answer; never a score."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    RETRY = "retry"
    REFER = "refer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One judged answer."""

    at: datetime
    judgement: Judgement
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt and what became of it.

    Attributes
    ----------
    nonce
        What an answer must carry; every retry gets a fresh one.
    planned_index, planned_offset_s
        Its place in the schedule; None unless ``origin`` is ``scheduled``.
    issued_at
        When it went out.
    asked_at
        From when the deadline counts: ``issued_at``, or the first retry if a face was seen; later
        by as long as the engine was away meanwhile, or late in telling of it.
    capture_s, upload_s
        Seconds from ``asked_at`` in which frames must begin to arrive, and seconds more for an
        upload that began in time.
    spent_nonces
        Nonces of earlier attempts, so that none is ever accepted again.
    resolved_at
        When it passed, was referred or was found missed; None while open.
    added_because
        Given exactly when ``origin`` is ``added``.
    code
        What has to be typed; None for other kinds.
    """

    prompt_id: str
    nonce: bytes
    kind: PromptKind
    origin: PromptOrigin
    planned_index: int | None
    planned_offset_s: float | None
    issued_at: datetime
    asked_at: datetime
    capture_s: float
    upload_s: float
    status: PromptStatus = PromptStatus.OPEN
    upload_began_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    spent_nonces: tuple[bytes, ...] = ()
    resolved_at: datetime | None = None
    added_because: AddedBecause | None = None
    code: str | None = field(default=None, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether it still waits for an answer."""
        return self.status is PromptStatus.OPEN

    @property
    def is_call(self) -> bool:
        """Whether an officer answers it, and the learner cannot."""
        return self.kind is PromptKind.OFFICER_CALL

    @property
    def captured_until(self) -> datetime:
        """The last moment at which an answer may begin to arrive that nobody announced."""
        return self.asked_at + timedelta(seconds=self.capture_s)

    @property
    def closes_at(self) -> datetime:
        """The last moment at which an answer counts, as things stand."""
        grace_s = self.upload_s if self.upload_began_at is not None else 0
        return self.captured_until + timedelta(seconds=grace_s)

    @property
    def free_at(self) -> datetime | None:
        """From when another prompt may go out; None while it is open.

        One whose time ran out was still waited for; nobody could be shown another meanwhile.
        """
        ran_out = self.status is PromptStatus.MISSED
        if self.resolved_at is None or not ran_out or self.resolved_at < self.closes_at:
            return self.resolved_at
        return self.resolved_at + timedelta(seconds=RECEIVING_S)

    @property
    def nonces(self) -> tuple[bytes, ...]:
        """Every nonce this prompt has used."""
        return (*self.spent_nonces, self.nonce)


def begin_upload(prompt: Prompt, *, nonce: bytes, at: datetime) -> Prompt:
    """Note that the first byte of an answer arrived; the upload grace now applies.

    Raises
    ------
    ProtocolError
        ``prompt_already_resolved``, ``wrong_nonce`` or ``deadline_passed``.
    """
    _require_answerable(prompt, nonce=nonce, at=at)
    return prompt if prompt.upload_began_at is not None else replace(prompt, upload_began_at=at)


def answer_prompt(
    prompt: Prompt,
    attempt: Attempt,
    *,
    nonce: bytes,
    retry_nonce: bytes | None,
    retry_code: str | None = None,
    rules: PromptRules,
) -> Prompt:
    """Record a judged answer; see :func:`verifier.session.answer`."""
    _require_answerable(prompt, nonce=nonce, at=attempt.at)
    answered = replace(prompt, attempts=(*prompt.attempts, attempt))
    if attempt.judgement is Judgement.PASS:
        return replace(answered, status=PromptStatus.PASSED, resolved_at=attempt.at)
    if attempt.judgement is Judgement.REFER:
        return replace(answered, status=PromptStatus.REFERRED, resolved_at=attempt.at)
    # An officer who reached nobody calls again by another prompt.
    retries = 0 if prompt.is_call else rules.max_retries
    if len(answered.attempts) > retries:
        # Inconclusive too often: no accusation, and no credit either.
        return replace(answered, status=PromptStatus.MISSED, resolved_at=attempt.at)
    return _ask_again(answered, at=attempt.at, nonce=retry_nonce, code=retry_code)


def miss_prompt(prompt: Prompt, *, at: datetime) -> Prompt:
    """Return it missed; whether its time is up is the caller's question."""
    return replace(prompt, status=PromptStatus.MISSED, resolved_at=at)


def require_code(kind: PromptKind, code: str | None) -> None:
    """Raise ``wrong_kind`` unless there is a code exactly where one has to be typed."""
    if (kind is PromptKind.TYPED_CODE) != (code is not None):
        raise ProtocolError("wrong_kind", "a code goes with prompts that ask for one, and no other")


def _ask_again(prompt: Prompt, *, at: datetime, nonce: bytes | None, code: str | None) -> Prompt:
    if nonce is None or nonce in prompt.nonces:
        raise ProtocolError("nonce_reused", "a retry needs a fresh nonce")
    require_code(prompt.kind, code)
    if code is not None and code == prompt.code:
        raise ProtocolError("wrong_kind", "a retry needs a fresh code")
    # Only a face that was seen earns new time, and only once: whoever sends something unclear at
    # the last second, again and again, must not keep the prompt open until somebody is back.
    shown = prompt.attempts[-1].check.outcome in {Outcome.CAPTURED, Outcome.MULTIPLE_FACES}
    renewed = shown and len(prompt.attempts) == 1
    return replace(
        prompt,
        nonce=nonce,
        code=code,
        spent_nonces=prompt.nonces,
        asked_at=at if renewed else prompt.asked_at,
        upload_began_at=None,
    )


def _require_answerable(prompt: Prompt, *, nonce: bytes, at: datetime) -> None:
    if not prompt.is_open:
        raise ProtocolError("prompt_already_resolved", f"prompt is {prompt.status}, not open")
    # Constant time: how far a guess was right must not show.
    if not hmac.compare_digest(nonce, prompt.nonce):
        raise ProtocolError("wrong_nonce", "the nonce is not the one last issued for this prompt")
    if at > prompt.closes_at:
        late_s = (at - prompt.closes_at).total_seconds()
        raise ProtocolError("deadline_passed", f"the answer came {late_s:.1f} s too late")
