"""A lesson as rows, and rows as a lesson: what is written comes back equal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import RowMapping

from pipelines.lesson import ArchivedAnswer, FirstCheckpoint, Lesson, LessonEnd
from verifier.answer import AnswerReason
from verifier.assurance import Assurance, LearnerPath
from verifier.check import Check, parse_session
from verifier.claim import SessionAccount
from verifier.credit import Credit, Pause, PendingReason, Span, SpanState
from verifier.enrolment import Anchor
from verifier.errors import LedgerError
from verifier.evidence import State
from verifier.observation import QualityReason
from verifier.policy_groups import PromptRules
from verifier.prompt import (
    AddedBecause,
    Attempt,
    Judgement,
    Prompt,
    PromptKind,
    PromptOrigin,
    PromptStatus,
)
from verifier.schedule import ScheduleHeader
from verifier.session_score import Decision, Reason, ReasonCode, SessionScore
from verifier.session_state import SessionPhase, SessionState
from verifier.transparency.base64_text import from_base64, to_base64

Row: TypeAlias = RowMapping


def session_row(lesson: Lesson) -> dict[str, Any]:
    """Return the row of a lesson; its ``version`` is the lesson's own."""
    state, checkpoint = lesson.state, lesson.checkpoint
    return {
        "session_id": state.session_id,
        "learner_id": state.learner_id,
        "class_id": state.class_id,
        "platform_id": state.platform_id,
        "assurance": lesson.assurance.value,
        "anchor": lesson.anchor.value,
        "policy_digest": lesson.header.policy_digest,
        "rules": asdict(state.rules),
        "planned_minutes": lesson.planned_minutes,
        "session_number": lesson.number,
        "opened_at": lesson.header.opened_at,
        "started_at": state.started_at,
        "last_event_at": state.last_event_at,
        "expires_at": lesson.expires_at,
        "phase": state.phase.value,
        "end_announced_at": state.end_announced_at,
        "ended_at": state.ended_at,
        "paused_at": state.paused_at,
        "paused_until": state.paused_until,
        "pauses": [[pause.start_s, pause.end_s] for pause in state.pauses],
        "schedule_secret": lesson.secret,
        "schedule_header": lesson.header.to_record(),
        "checkpoint_size": None if checkpoint is None else checkpoint.size,
        "checkpoint_root": None if checkpoint is None else checkpoint.root,
        "next_planned_index": lesson.next_planned,
        "opened_index": lesson.opened_index,
        "last_index": lesson.last_index,
        "sequence": lesson.sequence,
        "calibration_id": lesson.calibration_id,
        "checkpoint_cosignatures": (
            None if checkpoint is None else [to_base64(each) for each in checkpoint.cosignatures]
        ),
        "path": lesson.path.value,
        "extra_time": lesson.extra_time,
        "grant_id": lesson.grant_id,
        "makes_up": lesson.makes_up,
        "device_id": lesson.device_id,
        "version": lesson.version,
        **_end_columns(lesson),
    }


def _end_columns(lesson: Lesson) -> dict[str, Any]:
    if lesson.end is None:
        return {}
    account = lesson.end.account
    _require_own_account(lesson.state, account)
    return {
        "closed_index": lesson.end.closed_index,
        "decision": account.score.decision.value,
        "credited_s": account.credit.credited_s,
        "pending_s": account.credit.pending_s,
        "credit_hours": account.credit.credit_hours,
        "score": json.loads(account.score.to_json()),
    }


def _require_own_account(state: SessionState, account: SessionAccount) -> None:
    """Refuse an account of another session: these columns are kept once, with the session."""
    kept = (state.session_id, state.learner_id, state.class_id)
    told = (account.session_id, account.learner_id, account.class_id)
    times = (account.started_at, account.ended_at) == (state.started_at, state.last_event_at)
    if kept != told or account.score.session_id != state.session_id or not times:
        raise LedgerError("the account is not the session's own")


def span_rows(lesson: Lesson) -> list[dict[str, Any]]:
    """Return the rows of what an ended lesson earned."""
    spans = () if lesson.end is None else lesson.end.account.credit.spans
    return [
        {
            "session_id": lesson.state.session_id,
            "ordinal": ordinal,
            "start_s": span.start_s,
            "end_s": span.end_s,
            "paused_s": span.paused_s,
            "state": span.state.value,
            "reason": None if span.reason is None else span.reason.value,
        }
        for ordinal, span in enumerate(spans)
    ]


def prompt_row(session_id: str, ordinal: int, prompt: Prompt) -> dict[str, Any]:
    """Return the row of a session's prompt number ``ordinal``; its attempts have their own."""
    return {
        "prompt_id": prompt.prompt_id,
        "session_id": session_id,
        "ordinal": ordinal,
        "nonce": prompt.nonce,
        "kind": prompt.kind.value,
        "origin": prompt.origin.value,
        "planned_index": prompt.planned_index,
        "planned_offset_s": prompt.planned_offset_s,
        "issued_at": prompt.issued_at,
        "asked_at": prompt.asked_at,
        "capture_s": prompt.capture_s,
        "upload_s": prompt.upload_s,
        "status": prompt.status.value,
        "upload_began_at": prompt.upload_began_at,
        "spent_nonces": [to_base64(nonce) for nonce in prompt.spent_nonces],
        "resolved_at": prompt.resolved_at,
        "added_because": None if prompt.added_because is None else prompt.added_because.value,
        "parameters": None if prompt.code is None else {"code": prompt.code},
    }


def attempt_rows(lesson: Lesson) -> list[dict[str, Any]]:
    """Return the rows of all judged answers, in their order.

    Raises
    ------
    LedgerError
        If an attempt has no evidence, or evidence no attempt: neither is kept alone.
    """
    made = [
        (prompt.prompt_id, ordinal, attempt)
        for prompt in lesson.state.prompts
        for ordinal, attempt in enumerate(prompt.attempts)
    ]
    if len(made) != len(lesson.answers):
        raise LedgerError(f"{len(made)} attempts, but evidence of {len(lesson.answers)}")
    return [
        _attempt_row(prompt_id, ordinal, attempt, answer)
        for (prompt_id, ordinal, attempt), answer in zip(made, lesson.answers, strict=True)
    ]


def _attempt_row(
    prompt_id: str, ordinal: int, attempt: Attempt, answer: ArchivedAnswer
) -> dict[str, Any]:
    if (prompt_id, attempt.judgement) != (answer.prompt_id, answer.judgement):
        raise LedgerError("an attempt and its evidence do not agree")
    return {
        "prompt_id": prompt_id,
        "ordinal": ordinal,
        "at": attempt.at,
        "judgement": attempt.judgement.value,
        "check": attempt.check.to_record(),
        "evidence_id": answer.evidence_id,
        "log_index": answer.index,
        "at_s": answer.at_s,
        "has_picture": answer.has_picture,
        "reason": answer.reason.value,
        "quality": [reason.value for reason in answer.quality],
    }


def lesson_of(
    row: Row, prompts: Sequence[Row], attempts: Sequence[Row], spans: Sequence[Row]
) -> Lesson:
    """Return the lesson that rows hold; prompts, attempts and spans in their order."""
    made: dict[str, list[Row]] = {prompt["prompt_id"]: [] for prompt in prompts}
    for attempt in attempts:
        made[attempt["prompt_id"]].append(attempt)
    state = _state(row, tuple(_prompt(prompt, made[prompt["prompt_id"]]) for prompt in prompts))
    return Lesson(
        state=state,
        anchor=Anchor(row["anchor"]),
        assurance=Assurance(row["assurance"]),
        planned_minutes=row["planned_minutes"],
        expires_at=row["expires_at"],
        header=ScheduleHeader.from_record(row["schedule_header"]),
        secret=row["schedule_secret"],
        number=row["session_number"],
        opened_index=row["opened_index"],
        last_index=row["last_index"],
        sequence=row["sequence"],
        next_planned=row["next_planned_index"],
        checkpoint=_checkpoint(row),
        answers=tuple(map(_answer, chain.from_iterable(made.values()))),
        end=_end(row, state, spans),
        calibration_id=row["calibration_id"],
        path=LearnerPath(row["path"] or LearnerPath.FACE),
        grant_id=row["grant_id"],
        extra_time=bool(row["extra_time"]),
        makes_up=row["makes_up"],
        device_id=row["device_id"],
        version=row["version"],
    )


def _state(row: Row, prompts: tuple[Prompt, ...]) -> SessionState:
    rules = row["rules"]
    return SessionState(
        session_id=row["session_id"],
        learner_id=row["learner_id"],
        class_id=row["class_id"],
        platform_id=row["platform_id"],
        rules=PromptRules(**{**rules, "kinds": tuple(rules["kinds"])}),
        started_at=row["started_at"],
        last_event_at=row["last_event_at"],
        phase=SessionPhase(row["phase"]),
        prompts=prompts,
        pauses=tuple(Pause(start_s=start, end_s=end) for start, end in row["pauses"]),
        paused_at=row["paused_at"],
        paused_until=row["paused_until"],
        end_announced_at=row["end_announced_at"],
        ended_at=row["ended_at"],
    )


def _prompt(row: Row, attempts: Sequence[Row]) -> Prompt:
    return Prompt(
        prompt_id=row["prompt_id"],
        nonce=bytes(row["nonce"]),
        kind=PromptKind(row["kind"]),
        origin=PromptOrigin(row["origin"]),
        planned_index=row["planned_index"],
        planned_offset_s=row["planned_offset_s"],
        issued_at=row["issued_at"],
        asked_at=row["asked_at"],
        capture_s=row["capture_s"],
        upload_s=row["upload_s"],
        status=PromptStatus(row["status"]),
        upload_began_at=row["upload_began_at"],
        attempts=tuple(map(_attempt, attempts)),
        spent_nonces=tuple(map(from_base64, row["spent_nonces"])),
        resolved_at=row["resolved_at"],
        added_because=None if row["added_because"] is None else AddedBecause(row["added_because"]),
        code=None if row["parameters"] is None else row["parameters"]["code"],
    )


def _attempt(row: Row) -> Attempt:
    return Attempt(at=row["at"], judgement=Judgement(row["judgement"]), check=_check(row["check"]))


def _check(record: Mapping[str, Any]) -> Check:
    """Read one check by way of the public format, which knows how to."""
    alone = {"session_id": "-", "planned_minutes": 0, "duration_s": record["t"], "checks": [record]}
    return parse_session(json.dumps(alone)).checks[0]


def _answer(row: Row) -> ArchivedAnswer:
    return ArchivedAnswer(
        prompt_id=row["prompt_id"],
        index=row["log_index"],
        evidence_id=row["evidence_id"],
        at_s=row["at_s"],
        judgement=Judgement(row["judgement"]),
        reason=AnswerReason(row["reason"]),
        quality=tuple(QualityReason(reason) for reason in row["quality"]),
        has_picture=row["has_picture"],
    )


def _checkpoint(row: Row) -> FirstCheckpoint | None:
    if row["checkpoint_size"] is None:
        return None
    return FirstCheckpoint(
        size=row["checkpoint_size"],
        root=bytes(row["checkpoint_root"]),
        cosignatures=tuple(map(from_base64, row["checkpoint_cosignatures"] or [])),
    )


def _end(row: Row, state: SessionState, spans: Sequence[Row]) -> LessonEnd | None:
    if row["closed_index"] is None:
        return None
    account = SessionAccount(
        session_id=state.session_id,
        learner_id=state.learner_id,
        class_id=state.class_id,
        started_at=state.started_at,
        ended_at=state.last_event_at,
        score=_score(row["score"]),
        credit=Credit(
            credited_s=row["credited_s"],
            pending_s=row["pending_s"],
            credit_hours=row["credit_hours"],
            spans=tuple(map(_span, spans)),
        ),
    )
    return LessonEnd(account=account, closed_index=row["closed_index"])


def _span(row: Row) -> Span:
    return Span(
        start_s=row["start_s"],
        end_s=row["end_s"],
        paused_s=row["paused_s"],
        state=SpanState(row["state"]),
        reason=None if row["reason"] is None else PendingReason(row["reason"]),
    )


def _score(record: Mapping[str, Any]) -> SessionScore:
    return SessionScore(
        session_id=record["session_id"],
        authenticity=record["authenticity"],
        verified_mean_minutes=record["verified_minutes"]["mean"],
        verified_lower95_minutes=record["verified_minutes"]["lower95"],
        minutes={State(name): minutes for name, minutes in record["minutes"].items()},
        decision=Decision(record["decision"]),
        reasons=tuple(_reason(reason) for reason in record["reasons"]),
        policy=record["policy"],
    )


def _reason(record: Mapping[str, Any]) -> Reason:
    return Reason(
        code=ReasonCode(record["code"]),
        log10_lr=record.get("log10_lr"),
        at_s=record.get("at_s"),
    )
