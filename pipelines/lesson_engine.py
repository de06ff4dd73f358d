"""Lessons from opening to credit, in one process.

Nothing that a caller asserts earns credit: neither its clock, nor a duration, nor that a lesson
took place. Only answers to prompts that the engine itself issued do, judged by the engine, on
the engine's clock. A prompt goes out when it is due, whether or not anybody asks: not polling
buys no silence, only misses. Start with `LessonEngine.open`.
"""

import math
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import RLock
from typing import Final

from pipelines.archive import Archive
from pipelines.check import FrameChecker
from pipelines.keystore import RecordClass
from pipelines.lesson import (
    AnswerView,
    ArchivedCheck,
    Assurance,
    Lesson,
    LessonResult,
    PromptView,
)
from pipelines.lesson_records import LessonRecords
from pipelines.template_store import TemplateStore
from verifier import session as acts
from verifier.claim import SessionAccount
from verifier.comparison import Template
from verifier.credit import credit
from verifier.enrolment import Anchor
from verifier.errors import InputError, ProtocolError, UnknownSubjectError
from verifier.policy import Policy
from verifier.prompt import Prompt, PromptKind, PromptOrigin
from verifier.protocols import Clock
from verifier.schedule import (
    PlannedPrompt,
    PlannedPrompts,
    ScheduleHeader,
    ScheduleParameters,
    SchedulePromise,
    commitment,
    seed,
)
from verifier.session_score import score_session
from verifier.session_state import SessionPhase, SessionState

NONCE_BYTES: Final = 16
LONGEST_LESSON_MINUTES: Final = 24 * 60
MOST_FRAMES: Final = 24
LARGEST_ANSWER_BYTES: Final = 3 << 20

_IDENTIFIER: Final = re.compile(r"[\w.:-]{1,64}")
_LONGEST_LEARNER_ID: Final = 128


@dataclass(kw_only=True)
class LessonEngine:
    """Holds the lessons in progress and whatever judges, stores and times them.

    Safe to call from several threads; acts are done one after another.
    """

    checker: FrameChecker
    templates: TemplateStore
    archive: Archive
    policy: Policy
    clock: Clock
    _lessons: dict[str, Lesson] = field(default_factory=dict, init=False, repr=False)
    _finished: dict[str, LessonResult] = field(default_factory=dict, init=False, repr=False)
    # By the learner's keyed reference and the class: how many sessions the log knows.
    _sessions_held: Counter[tuple[str, str]] = field(init=False, repr=False)
    _records: LessonRecords = field(init=False, repr=False)
    _lock: RLock = field(default_factory=RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._records = LessonRecords(
            archive=self.archive,
            contract=self.checker.observer.contract_id,
            calibration=self.checker.calibration.name,
        )
        self._sessions_held = Counter(
            (leaf.learner or "", str(leaf.facts["class_id"]))
            for leaf in self.archive.leaves()
            if leaf.kind == "session_opened"
        )

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
        2. A session of the same learner that is still open is abandoned: nobody attends two
           lessons at once, and a platform that crashed must not lock its learners out.
        3. A fresh secret is committed to, bound to everything the session is.
        4. The commitment is in the log, under a signed checkpoint.
        5. Only then does the schedule follow, from secret and checkpoint.

        Raises
        ------
        InputError
            If an id or ``planned_minutes`` is not what it should be.
        UnknownSubjectError
            If the learner is not enrolled.
        ContractMismatchError
            If the template was made under another contract.
        """
        _require_ids(learner_id, class_id=class_id, platform_id=platform_id)
        _require_minutes(planned_minutes)
        with self._lock:
            enrolled = self.templates.load(
                learner_id, contract_id=self.checker.observer.contract_id
            )
            for lesson in [x for x in self._lessons.values() if x.state.learner_id == learner_id]:
                self._abandon(lesson)
            header = ScheduleHeader(
                session_id=secrets.token_hex(16),
                learner_id=learner_id,
                class_id=class_id,
                platform_id=platform_id,
                policy_digest=self.policy.digest,
                parameters=ScheduleParameters.of(self.policy.prompts),
                opened_at=self.clock.now(),
            )
            lesson = self._begin(header, enrolled.anchor, assurance, planned_minutes)
            self._lessons[header.session_id] = lesson
            return header.session_id

    def poll(self, session_id: str) -> PromptView | None:
        """Return the prompt that waits for an answer now, or None.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``session_over`` if it was abandoned, for example past its time.
        """
        with self._lock:
            lesson = self._lesson(session_id)
            self._catch_up(lesson)
            self._issue_opening(lesson)
            prompt = lesson.state.open_prompt
            return None if prompt is None else PromptView.of(prompt)

    def answer(
        self, session_id: str, *, prompt_id: str, nonce: bytes, frames: Sequence[bytes]
    ) -> AnswerView:
        """Judge the frames sent in answer to a prompt.

        1. The frames are bytes, not too many, not too large.
        2. The prompt is open, of this session, in time, and the nonce is the last one issued.
        3. The frames are judged.
        4. The evidence is durable in archive and log.
        5. Only then does the session know of the answer.

        Raises
        ------
        InputError, UnknownSubjectError, ProtocolError
            If step 1 or 2 fails, or the learner's face was forgotten meanwhile; nothing was
            judged and nothing stored.
        LedgerError
            If step 4 fails; the prompt is still open.
        """
        _require_frames(frames)
        if not isinstance(nonce, bytes):
            raise InputError(f"the nonce is {type(nonce).__name__}; bytes were wanted")
        arrived = self.clock.now()  # before the wait for the lock: others' frames cost no time
        with self._lock:
            lesson = self._lesson(session_id)
            now = max(arrived, lesson.state.last_event_at)
            begun = acts.begin_upload(lesson.state, prompt_id=prompt_id, nonce=nonce, at=now)
            checked = self.checker.check(frames, self._reference(lesson))
            judged = checked.judged
            answered = acts.answer(
                begun,
                prompt_id=prompt_id,
                nonce=nonce,
                at=now,
                judgement=judged.judgement,
                check=judged.check,
                retry_nonce=secrets.token_bytes(NONCE_BYTES),
            )
            archived, check = self._records.answered(lesson, answered, prompt_id, checked)
            if answered.phase is not lesson.state.phase:  # the opening prompt was passed
                lesson.skip_until(answered.offset_s(now))
            lesson.state = answered
            lesson.archived.append(
                ArchivedCheck(
                    index=archived.index,
                    evidence_id=archived.evidence_id,
                    at_s=check.t,
                    judgement=judged.judgement,
                    has_picture=checked.picture is not None,
                )
            )
            return AnswerView(
                judgement=judged.judgement,
                reason=judged.reason,
                quality=judged.quality,
                evidence_id=archived.evidence_id,
            )

    def announce_end(self, session_id: str) -> None:
        """Hear from the platform that the lesson is over; a closing prompt is due at once.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``not_running`` if the session never began, ``session_over`` if it is over.
        """
        with self._lock:
            lesson = self._lesson(session_id)
            now = self._catch_up(lesson)
            lesson.state = acts.announce_end(lesson.state, at=now)

    def close(self, session_id: str) -> LessonResult:
        """End a session, score it, put the closing leaf under a checkpoint; return the result.

        One that cannot be closed, because it never began, or its closing prompt was never asked
        or waits for an answer, is abandoned: an open prompt counts as a miss. Of a session that
        was abandoned before, the result is returned once.
        """
        with self._lock:
            if session_id in self._finished:
                return self._finished.pop(session_id)
            lesson = self._lesson(session_id)
            return self._end(lesson, self._catch_up(lesson))

    def abandon_expired(self) -> int:
        """Abandon every session whose time has run out; return how many. For a worker to call."""
        with self._lock:
            expired = [x for x in self._lessons.values() if self.clock.now() >= x.expires_at]
            for lesson in expired:
                self._abandon(lesson)
            return len(expired)

    def _begin(
        self,
        header: ScheduleHeader,
        anchor: Anchor,
        assurance: Assurance,
        planned_minutes: float,
    ) -> Lesson:
        """Promise a schedule in the log, then derive it, then let the clock run."""
        secret = secrets.token_bytes(32)
        committed = commitment(secret, header)
        reference = self.archive.reference_of(header.learner_id, RecordClass.MONEY_FACTS)
        held = (reference, header.class_id)
        opened = self._records.opened(
            header,
            committed,
            policy=self.policy.rule,
            number=self._sessions_held[held],
            anchor=anchor,
            assurance=assurance,
            planned_minutes=planned_minutes,
        )
        self._sessions_held[held] += 1
        checkpoint = self.archive.publish()
        promise = SchedulePromise(
            secret=secret, header=header, committed=committed, checkpoint_root=checkpoint.root
        )
        drawn = seed(secret, committed, checkpoint.root)
        due = iter(PlannedPrompts(seed=drawn, parameters=header.parameters))
        started_at = self.clock.now()
        slack_s = self.policy.prompts.abandon_after_planned_s
        return Lesson(
            state=acts.open_session(
                session_id=header.session_id,
                learner_id=header.learner_id,
                class_id=header.class_id,
                platform_id=header.platform_id,
                policy=self.policy,
                at=started_at,
            ),
            anchor=anchor,
            assurance=assurance,
            planned_minutes=planned_minutes,
            expires_at=started_at + timedelta(minutes=planned_minutes, seconds=slack_s),
            checkpoint_size=checkpoint.size,
            promise=promise,
            next_planned=next(due),
            due=due,
            opened_index=opened.index,
            last_index=opened.index,
        )

    def _catch_up(self, lesson: Lesson) -> datetime:
        """Let happen what fell due, each at its own time; return the moment it is now.

        Whatever ends scheduled prompts has to happen at that very moment: a clock read again
        could be past the next one.
        """
        now = max(min(self.clock.now(), lesson.expires_at), lesson.state.last_event_at)
        missed = lesson.state.counts.missed
        while self._do_next(lesson, now):
            pass
        # Misses are proved now; a prompt that is open is proved with its answer.
        if lesson.state.counts.missed > missed:
            self.archive.publish()
        return now

    def _do_next(self, lesson: Lesson, now: datetime) -> bool:
        """Do the next thing that fell due by ``now``, at its own time; say whether there was one.

        An open prompt comes first, then the closing one, once, then the next of the schedule.
        """
        state = lesson.state
        if state.open_prompt is not None:
            return self._expire_prompt(lesson, state.open_prompt, now)
        if state.phase is SessionPhase.ENDING and not state.closing_asked:
            self._issue(lesson, PromptOrigin.CLOSING, at=state.last_event_at)
            return True
        due_at = _due_at(lesson)
        if due_at is None or due_at > now:
            return False
        planned = lesson.next_planned
        self._issue(lesson, PromptOrigin.SCHEDULED, at=due_at, planned=planned)
        lesson.take_planned()  # only now: a prompt that the disk refused is issued later
        return True

    def _expire_prompt(self, lesson: Lesson, prompt: Prompt, now: datetime) -> bool:
        """Count the open prompt as missed if its time is up, and say so in the log."""
        if now <= prompt.closes_at:
            return False
        at = max(prompt.closes_at, lesson.state.last_event_at)
        expired = acts.expire(lesson.state, at=at)
        self._records.missed(lesson, prompt, now=self.clock.now())
        lesson.state = expired
        return True

    def _issue_opening(self, lesson: Lesson) -> None:
        """Issue the opening prompt, and again when it was missed: only who asks is asked."""
        if lesson.state.phase is SessionPhase.OPENING and lesson.state.open_prompt is None:
            self._issue(lesson, PromptOrigin.OPENING, at=self.clock.now())

    def _issue(
        self,
        lesson: Lesson,
        origin: PromptOrigin,
        *,
        at: datetime,
        planned: PlannedPrompt | None = None,
    ) -> None:
        issued = acts.issue_prompt(
            lesson.state,
            prompt_id=secrets.token_hex(16),
            nonce=secrets.token_bytes(NONCE_BYTES),
            kind=PromptKind(planned.kind) if planned else PromptKind.SILENT_CAPTURE,
            origin=origin,
            at=at,
            planned=planned,
        )
        self._records.issued(lesson, issued.prompts[-1], now=self.clock.now())
        lesson.state = issued

    def _abandon(self, lesson: Lesson) -> None:
        result = self._end(lesson, self._catch_up(lesson))
        self._finished[result.state.session_id] = result

    def _end(self, lesson: Lesson, now: datetime) -> LessonResult:
        """Close a session whose closing prompt was resolved; abandon any other.

        One that was never announced to end is asked its closing prompt all the same, and has
        missed it: whoever just leaves must not be better off than who was asked.
        """
        if lesson.state.phase is SessionPhase.RUNNING and lesson.state.open_prompt is None:
            lesson.state = acts.announce_end(lesson.state, at=now)
            self._do_next(lesson, now)
        state = lesson.state
        resolved = state.closing_asked and state.open_prompt is None
        end = acts.close if resolved else acts.abandon
        return self._finish(lesson, end(state, at=now))

    def _reference(self, lesson: Lesson) -> Template:
        """Open the template anew for each answer: none stays in memory, none outlives its key."""
        enrolled = self.templates.load(
            lesson.state.learner_id, contract_id=self.checker.observer.contract_id
        )
        return enrolled.template

    def _finish(self, lesson: Lesson, ended: SessionState) -> LessonResult:
        """Score an ended session and record it; only then is the lesson let go."""
        evidence = acts.session_evidence(
            ended,
            planned_minutes=lesson.planned_minutes,
            policy=self.policy,
            model=self.checker.observer.contract_id,
        )
        score = score_session(evidence, self.policy)
        account = SessionAccount(
            session_id=ended.session_id,
            learner_id=ended.learner_id,
            class_id=ended.class_id,
            started_at=ended.started_at,
            ended_at=ended.last_event_at,
            score=score,
            credit=credit(
                ended.spans(),
                decision=score.decision,
                lower95_s=60 * score.verified_lower95_minutes,
                rules=self.policy.credit,
            ),
        )
        closed_index = self._records.closed(lesson, ended, account)
        del self._lessons[ended.session_id]
        return LessonResult(
            state=ended,
            assurance=lesson.assurance,
            evidence=evidence,
            account=account,
            promise=lesson.promise,
            archived=tuple(lesson.archived),
            opened_index=lesson.opened_index,
            closed_index=closed_index,
        )

    def _lesson(self, session_id: str) -> Lesson:
        """Return a lesson in progress, abandoning it first if its time has run out."""
        lesson = self._lessons.get(session_id)
        if lesson is not None and self.clock.now() >= lesson.expires_at:
            self._abandon(lesson)
        if session_id in self._finished:
            raise ProtocolError("session_over", "the session was abandoned; close returns it")
        if session_id not in self._lessons:
            raise UnknownSubjectError("no session with that id is in progress")
        return self._lessons[session_id]


def _due_at(lesson: Lesson) -> datetime | None:
    """Return when the next scheduled prompt goes out if none is open, or None if none does."""
    state = lesson.state
    if state.phase is not SessionPhase.RUNNING:
        return None
    planned_at = state.started_at + timedelta(seconds=lesson.next_planned.offset_s)
    # One prompt at a time: what fell due while another was open follows it at once.
    return max(planned_at, state.last_event_at)


def _require_ids(learner_id: str, *, class_id: str, platform_id: str) -> None:
    if not isinstance(learner_id, str) or not 0 < len(learner_id) <= _LONGEST_LEARNER_ID:
        raise InputError(f"learner_id is not a text of 1 to {_LONGEST_LEARNER_ID} characters")
    # These stand in the public log for ever, so no free text.
    for name, value in (("class_id", class_id), ("platform_id", platform_id)):
        if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
            raise InputError(f"{name} is not 1 to 64 letters, digits or any of . _ : -")


def _require_minutes(planned_minutes: float) -> None:
    number = isinstance(planned_minutes, int | float) and not isinstance(planned_minutes, bool)
    if not number or not math.isfinite(planned_minutes):
        raise InputError("planned_minutes is not a finite number")
    if not 0 < planned_minutes <= LONGEST_LESSON_MINUTES:
        wanted = f"more than 0, at most {LONGEST_LESSON_MINUTES}"
        raise InputError(f"planned_minutes is {planned_minutes}; {wanted} was wanted")


def _require_frames(frames: Sequence[bytes]) -> None:
    if not isinstance(frames, list | tuple) or not all(isinstance(f, bytes) for f in frames):
        raise InputError("frames is not a list of bytes")
    if len(frames) > MOST_FRAMES:
        raise InputError(f"{len(frames)} frames in one answer; at most {MOST_FRAMES} were wanted")
    size = sum(map(len, frames))
    if size > LARGEST_ANSWER_BYTES:
        raise InputError(f"{size} bytes in one answer; at most {LARGEST_ANSWER_BYTES} were wanted")
