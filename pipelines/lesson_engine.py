"""Lessons from opening to credit, in one process.

Nothing that a caller asserts earns credit: neither its clock, nor a duration, nor that a lesson
took place. Only answers to prompts that the engine itself issued do, judged by the engine, on
the engine's clock. Start with `LessonEngine.open`.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.archive import Archive, ArchivedSnapshot
from pipelines.check import CheckedFrames, FrameChecker
from pipelines.lesson import (
    AnswerView,
    ArchivedCheck,
    Assurance,
    Lesson,
    LessonResult,
    PromptView,
)
from pipelines.template_store import TemplateStore
from verifier import session as acts
from verifier.claim import SessionAccount
from verifier.credit import credit
from verifier.enrolment import Anchor
from verifier.errors import UnknownSubjectError
from verifier.policy import Policy
from verifier.prompt import PromptKind, PromptOrigin
from verifier.protocols import Clock
from verifier.schedule import (
    PlannedPrompts,
    ScheduleHeader,
    ScheduleParameters,
    SchedulePromise,
    commitment,
    seed,
)
from verifier.session import SessionPhase, SessionState
from verifier.session_score import SessionScore, score_session
from verifier.transparency.base64_text import to_base64
from verifier.transparency.canonical_json import JSONValue

NONCE_BYTES = 16


@dataclass(kw_only=True)
class LessonEngine:
    """Holds the lessons in progress and whatever judges, stores and times them."""

    checker: FrameChecker
    templates: TemplateStore
    archive: Archive
    policy: Policy
    clock: Clock
    _lessons: dict[str, Lesson] = field(default_factory=dict, init=False, repr=False)
    _sessions_held: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)

    def open(
        self,
        *,
        learner_id: str,
        class_id: str,
        platform_id: str,
        planned_minutes: float,
        assurance: Assurance = Assurance.PLATFORM,
    ) -> str:
        """Open a session and return its id.

        1. The learner is enrolled under the contract in use.
        2. A fresh secret is committed to, bound to everything the session is.
        3. The commitment is in the log, under a signed checkpoint.
        4. Only then does the schedule follow, from secret and checkpoint.

        Raises
        ------
        UnknownSubjectError
            If the learner is not enrolled.
        ContractMismatchError
            If the template was made under another contract.
        """
        enrolled = self.templates.load(learner_id, contract_id=self.checker.observer.contract_id)
        header = ScheduleHeader(
            session_id=secrets.token_hex(16),
            learner_id=learner_id,
            class_id=class_id,
            platform_id=platform_id,
            policy_digest=self.policy.digest,
            parameters=_parameters(self.policy),
            opened_at=self.clock.now(),
        )
        opened, promise = self._promise(header, enrolled.anchor, assurance, planned_minutes)
        due = iter(
            PlannedPrompts(
                seed=seed(promise.secret, promise.committed, promise.checkpoint_root),
                parameters=header.parameters,
            )
        )
        self._lessons[header.session_id] = Lesson(
            state=acts.open_session(
                session_id=header.session_id,
                learner_id=learner_id,
                class_id=class_id,
                platform_id=platform_id,
                policy=self.policy,
                at=self.clock.now(),
            ),
            enrolled=enrolled,
            assurance=assurance,
            planned_minutes=planned_minutes,
            promise=promise,
            next_planned=next(due),
            due=due,
            opened_index=opened.index,
            last_index=opened.index,
        )
        return header.session_id

    def poll(self, session_id: str) -> PromptView | None:
        """Return the prompt that waits for an answer now, issuing one that is due; or None."""
        lesson = self._lesson(session_id)
        self._expire(lesson)
        if lesson.state.open_prompt is None:
            self._issue_due(lesson)
        prompt = lesson.state.open_prompt
        return None if prompt is None else PromptView.of(prompt)

    def answer(
        self, session_id: str, *, prompt_id: str, nonce: bytes, frames: Sequence[bytes]
    ) -> AnswerView:
        """Judge the frames sent in answer to a prompt.

        1. The prompt is open, of this session, in time, and the nonce is the last one issued.
        2. The frames are judged.
        3. The evidence is durable in archive and log.
        4. Only then does the session know of the answer.

        Raises
        ------
        UnknownSubjectError, ProtocolError
            If step 1 fails; nothing was judged and nothing stored.
        LedgerError
            If step 3 fails; the prompt is still open.
        """
        lesson = self._lesson(session_id)
        now = self.clock.now()
        begun = acts.begin_upload(lesson.state, prompt_id=prompt_id, nonce=nonce, at=now)
        checked = self.checker.check(frames, lesson.enrolled.template)
        answered = acts.answer(
            begun,
            prompt_id=prompt_id,
            nonce=nonce,
            at=now,
            judgement=checked.judged.judgement,
            check=checked.judged.check,
            retry_nonce=secrets.token_bytes(NONCE_BYTES),
        )
        archived = self._archive_answer(lesson, answered, prompt_id, checked)
        lesson.state = answered
        return AnswerView(
            judgement=checked.judged.judgement,
            reason=checked.judged.reason,
            quality=checked.judged.quality,
            evidence_id=archived.evidence_id,
        )

    def announce_end(self, session_id: str) -> None:
        """Hear from the platform that the lesson is over; a closing prompt follows.

        Raises
        ------
        ProtocolError
            ``not_running`` if the session never began, was paused or is over.
        """
        lesson = self._lesson(session_id)
        self._expire(lesson)
        lesson.state = acts.announce_end(lesson.state, at=self.clock.now())

    def close(self, session_id: str) -> LessonResult:
        """End a session, score it, and put the closing leaf under a checkpoint.

        One that cannot be closed, because it never began, or its closing prompt was never asked,
        is abandoned: an open prompt counts as a miss.
        """
        lesson = self._lesson(session_id)
        self._expire(lesson)
        now = self.clock.now()
        if lesson.state.phase is SessionPhase.ENDING and lesson.state.open_prompt is None:
            lesson.state = acts.close(lesson.state, at=now)
        else:
            lesson.state = acts.abandon(lesson.state, at=now)
        result = self._result(lesson)
        del self._lessons[session_id]
        return result

    def _promise(
        self,
        header: ScheduleHeader,
        anchor: Anchor,
        assurance: Assurance,
        planned_minutes: float,
    ) -> tuple[ArchivedSnapshot, SchedulePromise]:
        """Put the commitment to a fresh secret under a checkpoint, before anything follows."""
        secret = secrets.token_bytes(32)
        committed = commitment(secret, header)
        held = (header.learner_id, header.class_id)
        number = self._sessions_held[held]
        opened = self.archive.append_record(
            "session_opened",
            at=header.opened_at,
            facts={
                "anchor": anchor.value,
                "class_id": header.class_id,
                "policy": self.policy.rule,
                "schedule_commitment": to_base64(committed),
                # Gap-free for a learner and class, so that a discarded session shows.
                "session_number": number,
            },
            private={"header": header.to_record(), "planned_minutes": planned_minutes},
            learner_id=header.learner_id,
            session_id=header.session_id,
            sequence=0,
            assurance=assurance.value,
        )
        checkpoint = self.archive.publish()
        self._sessions_held[held] += 1
        return opened, SchedulePromise(
            secret=secret,
            header=header,
            committed=committed,
            checkpoint_root=checkpoint.root,
        )

    def _issue_due(self, lesson: Lesson) -> None:
        """Issue the prompt that the session's phase and the clock call for, if any."""
        state, now = lesson.state, self.clock.now()
        if state.phase is SessionPhase.OPENING:
            self._issue(lesson, PromptOrigin.OPENING)
        elif state.phase is SessionPhase.ENDING:
            if not any(prompt.origin is PromptOrigin.CLOSING for prompt in state.prompts):
                self._issue(lesson, PromptOrigin.CLOSING)
        elif state.offset_s(now) >= lesson.next_planned.offset_s:
            self._issue(lesson, PromptOrigin.SCHEDULED)

    def _issue(self, lesson: Lesson, origin: PromptOrigin) -> None:
        planned = lesson.take_planned() if origin is PromptOrigin.SCHEDULED else None
        lesson.state = acts.issue_prompt(
            lesson.state,
            prompt_id=secrets.token_hex(16),
            nonce=secrets.token_bytes(NONCE_BYTES),
            kind=PromptKind(planned.kind) if planned else PromptKind.SILENT_CAPTURE,
            origin=origin,
            at=self.clock.now(),
            planned=planned,
        )

    def _expire(self, lesson: Lesson) -> None:
        """Count an open prompt as missed when its time is up, and say so in the log."""
        before = lesson.state.open_prompt
        state = acts.expire(lesson.state, at=self.clock.now())
        if before is not None and state.open_prompt is None:
            self._append_fact(lesson, "prompt_missed", {"prompt_id": before.prompt_id})
        lesson.state = state

    def _archive_answer(
        self, lesson: Lesson, answered: SessionState, prompt_id: str, checked: CheckedFrames
    ) -> ArchivedSnapshot:
        """Keep the picture an answer stands on, or the bare finding where there is none."""
        at, picture = answered.last_event_at, checked.picture
        prompt = next(p for p in answered.prompts if p.prompt_id == prompt_id)
        check = prompt.attempts[-1].check
        private: dict[str, JSONValue] = {
            "prompt_id": prompt_id,
            "attempt": len(prompt.attempts),
            "check": check.to_record(),
            "answer": checked.judged.judgement.value,
            "reason": checked.judged.reason.value,
            "anchor": lesson.enrolled.anchor.value,
            "calibration": self.checker.calibration.name,
        }
        if picture is None:
            archived = self._append_fact(lesson, "answer_unreadable", {}, private)
        else:
            archived = self.archive.append_snapshot(
                record=private,
                image=picture.canonical_bytes,
                pixels_sha256=picture.pixels_sha256,
                learner_id=lesson.state.learner_id,
                session_id=lesson.state.session_id,
                sequence=lesson.sequence,
                assurance=lesson.assurance.value,
                at=at,
                contract=self.checker.observer.contract_id,
            )
            lesson.sequence += 1
            lesson.last_index = archived.index
        self.archive.publish()
        lesson.archived.append(
            ArchivedCheck(
                index=archived.index,
                evidence_id=archived.evidence_id,
                at_s=check.t,
                judgement=checked.judged.judgement,
                has_picture=picture is not None,
            )
        )
        return archived

    def _append_fact(
        self,
        lesson: Lesson,
        kind: str,
        facts: dict[str, JSONValue],
        private: dict[str, JSONValue] | None = None,
    ) -> ArchivedSnapshot:
        archived = self.archive.append_record(
            kind,
            at=self.clock.now(),
            facts=facts,
            private=private,
            learner_id=lesson.state.learner_id,
            session_id=lesson.state.session_id,
            sequence=lesson.sequence,
            assurance=lesson.assurance.value,
        )
        lesson.sequence += 1
        lesson.last_index = archived.index
        return archived

    def _result(self, lesson: Lesson) -> LessonResult:
        evidence = acts.session_evidence(
            lesson.state,
            planned_minutes=lesson.planned_minutes,
            policy=self.policy,
            model=self.checker.observer.contract_id,
        )
        score = score_session(evidence, self.policy)
        earned = credit(
            lesson.state.spans(),
            decision=score.decision,
            lower95_s=60 * score.verified_lower95_minutes,
            rules=self.policy.credit,
        )
        account = SessionAccount(session_id=evidence.session_id, score=score, credit=earned)
        closed = self._append_fact(
            lesson, "session_closed", _closing_facts(lesson), _closing_record(account, score)
        )
        self.archive.publish()
        return LessonResult(
            state=lesson.state,
            assurance=lesson.assurance,
            evidence=evidence,
            account=account,
            promise=lesson.promise,
            archived=tuple(lesson.archived),
            opened_index=lesson.opened_index,
            closed_index=closed.index,
        )

    def _lesson(self, session_id: str) -> Lesson:
        if session_id not in self._lessons:
            raise UnknownSubjectError("no session with that id is in progress")
        return self._lessons[session_id]


def _parameters(policy: Policy) -> ScheduleParameters:
    rules = policy.prompts
    return ScheduleParameters(
        min_gap_s=rules.min_gap_s, mean_gap_s=rules.mean_gap_s, kinds=rules.kinds
    )


def _closing_facts(lesson: Lesson) -> dict[str, JSONValue]:
    """Return counts and range, so that an omission shows; and the secret, now that it is over."""
    counts = lesson.state.counts
    return {
        "phase": lesson.state.phase.value,
        "prompts_issued": counts.issued,
        "prompts_answered": counts.answered,
        "prompts_missed": counts.missed,
        "prompts_added": counts.added,
        "first_index": lesson.opened_index,
        "last_index": lesson.last_index,
        "schedule_secret": to_base64(lesson.promise.secret),
    }


def _closing_record(account: SessionAccount, score: SessionScore) -> dict[str, JSONValue]:
    return {
        "decision": score.decision.value,
        "credited_s": account.credit.credited_s,
        "pending_s": account.credit.pending_s,
        "verified_mean_minutes": score.verified_mean_minutes,
        "verified_lower95_minutes": score.verified_lower95_minutes,
    }
