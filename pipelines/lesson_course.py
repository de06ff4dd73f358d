"""What happens in a lesson as time goes by, whoever asks: prompts go out, are missed, it ends.

Each method works inside a unit of work and returns the lesson as it is then.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import count
from typing import Final

from pipelines.judging import Judging
from pipelines.lesson import Lesson, LessonEnd
from pipelines.lesson_records import LessonRecords
from pipelines.recording import Recording
from verifier import session as acts
from verifier.check import SessionEvidence
from verifier.claim import SessionAccount
from verifier.credit import credit
from verifier.policy import Policy
from verifier.prompt import Prompt, PromptKind, PromptOrigin, PromptStatus
from verifier.protocols import Clock
from verifier.schedule import PlannedPrompt
from verifier.session_score import score_session
from verifier.session_state import SessionPhase, SessionState

NONCE_BYTES: Final = 16
BATCH: Final = 64
"""Prompts going out and missed that one unit of work catches up with."""
LONG_AGO: Final = timedelta(minutes=15)
RECEIVING_S: Final = 15
"""An answer that began to arrive in time may take this long to arrive before it is missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonCourse:
    """Lets happen what falls due, on the engine's clock; ``model`` names the contract in use."""

    records: LessonRecords
    policy: Policy
    clock: Clock
    model: str
    judging: Judging = field(default_factory=Judging, repr=False)

    def now(self, lesson: Lesson) -> datetime:
        """Return the moment it is for a lesson: never past its end, never before its last event."""
        return max(min(self.clock.now(), lesson.expires_at), lesson.state.last_event_at)

    def has_work(self, lesson: Lesson) -> bool:
        """Say whether anything fell due, or an opening prompt is wanted."""
        if _waits_to_open(lesson):
            return True
        return self._next_act(lesson, lesson.planned, self.now(lesson)) is not None

    def catch_up(self, work: Recording, lesson: Lesson) -> tuple[Lesson, datetime]:
        """Let happen what fell due, each at its own time; return the moment it is now.

        Whatever ends scheduled prompts has to happen at that very moment: a clock read again
        could be past the next one.
        """
        now = self.now(lesson)
        return self._catch_up(work, lesson, now), now

    def _catch_up(
        self, work: Recording, lesson: Lesson, until: datetime, *, at_most: int | None = None
    ) -> Lesson:
        upcoming = lesson.due_from(lesson.next_planned)
        planned = next(upcoming)
        for _ in count() if at_most is None else range(at_most):
            act = self._next_act(lesson, planned, until)
            if act is None:
                break
            lesson = self._do(work, lesson, act, planned)
            if act is Act.ASK_SCHEDULED:
                planned = next(upcoming)
        return lesson

    def catch_up_some(self, work: Recording, lesson: Lesson) -> Lesson:
        """Let happen the first few things that fell due: long absences are caught up in steps."""
        return self._catch_up(work, lesson, self.now(lesson), at_most=BATCH)

    def is_far_behind(self, lesson: Lesson) -> bool:
        """Say whether so long ago happened the last thing that much may have fallen due since."""
        running = lesson.state.phase is SessionPhase.RUNNING
        return running and self.now(lesson) - lesson.state.last_event_at > LONG_AGO

    def interrupt(
        self, work: Recording, lesson: Lesson, *, since: datetime, until: datetime
    ) -> Lesson:
        """Take out of a lesson the time that the engine was away; it may end later by as much.

        What fell due before happens first, each at its own time: nobody is spared a miss.
        """
        lesson = self._catch_up(work, lesson, since)
        since = max(since, lesson.state.last_event_at)
        if until <= since:
            return lesson
        state = acts.interrupt(lesson.state, since=since, until=until)
        return replace(lesson, state=state, expires_at=lesson.expires_at + (until - since))

    def ask_opening(self, work: Recording, lesson: Lesson) -> Lesson:
        """Issue the opening prompt where none is open, and again when it was missed."""
        if not _waits_to_open(lesson):
            return lesson
        return self._issue(work, lesson, PromptOrigin.OPENING, at=self.now(lesson))

    def end(self, work: Recording, lesson: Lesson) -> Lesson:
        """Close a session whose closing prompt was resolved; abandon any other.

        One that was never announced to end is asked its closing prompt all the same, and has
        missed it: whoever just leaves must not be better off than who was asked.
        """
        now = self.now(lesson)
        if lesson.checkpoint is not None:
            lesson, now = self.catch_up(work, lesson)
        if lesson.state.phase is SessionPhase.RUNNING and lesson.state.open_prompt is None:
            ending = replace(lesson, state=acts.announce_end(lesson.state, at=now))
            lesson = self._issue(work, ending, PromptOrigin.CLOSING, at=now)
        state = lesson.state
        resolved = state.closing_asked and state.open_prompt is None
        end = acts.close if resolved else acts.abandon
        return self._finish(work, replace(lesson, state=end(state, at=now)))

    def evidence(self, lesson: Lesson) -> SessionEvidence:
        """Return the public evidence of an ended lesson."""
        return acts.session_evidence(
            lesson.state,
            planned_minutes=lesson.planned_minutes,
            policy=self.policy,
            model=self.model,
        )

    def _next_act(self, lesson: Lesson, planned: PlannedPrompt, now: datetime) -> "Act | None":
        """Return what fell due by ``now`` and has to happen next, if anything.

        An open prompt comes first, then the closing one, once, then the next of the schedule.
        """
        state = lesson.state
        if state.open_prompt is not None:
            return Act.MISS if self._is_missed(state.open_prompt, lesson, now) else None
        if state.phase is SessionPhase.ENDING:
            waits = not state.closing_asked and _free_at(state) <= now
            return Act.ASK_CLOSING if waits else None
        due = state.phase is SessionPhase.RUNNING and _due_at(state, planned) <= now
        return Act.ASK_SCHEDULED if due else None

    def _is_missed(self, prompt: Prompt, lesson: Lesson, now: datetime) -> bool:
        # What arrived in time is judged in time, however long it takes to arrive and be judged.
        if now >= lesson.expires_at:
            return now > prompt.closes_at
        slack = timedelta(seconds=RECEIVING_S)
        return now > prompt.closes_at + slack and not self.judging.goes_on(prompt.prompt_id)

    def _do(self, work: Recording, lesson: Lesson, act: "Act", planned: PlannedPrompt) -> Lesson:
        """Do what fell due, at its own time."""
        state = lesson.state
        if act is Act.ASK_CLOSING:
            return self._issue(work, lesson, PromptOrigin.CLOSING, at=_free_at(state))
        if act is Act.ASK_SCHEDULED:
            at = _due_at(state, planned)
            lesson = replace(lesson, next_planned=planned.index + 1)
            return self._issue(work, lesson, PromptOrigin.SCHEDULED, at=at, planned=planned)
        return self._miss(work, lesson)

    def _miss(self, work: Recording, lesson: Lesson) -> Lesson:
        prompt = lesson.state.open_prompt
        if prompt is None:
            raise ValueError("no prompt is open; one was wanted")
        at = max(prompt.closes_at, lesson.state.last_event_at)
        recorded = self.records.missed(work, lesson, prompt, now=self.clock.now())
        return replace(recorded, state=acts.expire(lesson.state, at=at))

    def _issue(
        self,
        work: Recording,
        lesson: Lesson,
        origin: PromptOrigin,
        *,
        at: datetime,
        planned: PlannedPrompt | None = None,
    ) -> Lesson:
        issued = acts.issue_prompt(
            lesson.state,
            prompt_id=secrets.token_hex(16),
            nonce=secrets.token_bytes(NONCE_BYTES),
            kind=PromptKind(planned.kind) if planned else PromptKind.SILENT_CAPTURE,
            origin=origin,
            at=at,
            planned=planned,
        )
        recorded = self.records.issued(work, lesson, issued.prompts[-1], now=self.clock.now())
        return replace(recorded, state=issued)

    def _finish(self, work: Recording, lesson: Lesson) -> Lesson:
        """Score an ended session and record it: credit and closing leaf become true together."""
        ended = lesson.state
        score = score_session(self.evidence(lesson), self.policy)
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
        lesson = self.records.closed(work, lesson, account, self.policy)
        lesson = replace(lesson, end=LessonEnd(account=account, closed_index=lesson.last_index))
        work.unit.save(lesson)
        return lesson


class Act(Enum):
    """What may fall due in a lesson without anybody doing anything."""

    MISS = auto()
    ASK_CLOSING = auto()
    ASK_SCHEDULED = auto()


def _due_at(state: SessionState, planned: PlannedPrompt) -> datetime:
    """Return when a scheduled prompt goes out if none is open."""
    planned_at = state.started_at + timedelta(seconds=planned.offset_s)
    # One prompt at a time: what fell due while another was open follows it at once.
    return max(planned_at, _free_at(state))


def _free_at(state: SessionState) -> datetime:
    """Return from when a prompt may go out, if none is open.

    One whose time ran out was still waited for; nobody could have been shown another meanwhile.
    """
    last = state.prompts[-1] if state.prompts else None
    if last is None or last.resolved_at is None or last.status is not PromptStatus.MISSED:
        return state.last_event_at
    if last.resolved_at < last.closes_at:  # too many inconclusive answers: nothing was waited for
        return state.last_event_at
    return max(state.last_event_at, last.resolved_at + timedelta(seconds=RECEIVING_S))


def _waits_to_open(lesson: Lesson) -> bool:
    state = lesson.state
    return state.phase is SessionPhase.OPENING and state.open_prompt is None


def skip_until(lesson: Lesson, offset_s: float) -> Lesson:
    """Let go of what was due before ``offset_s``: the lesson had not begun."""
    later = lesson.due_from(lesson.next_planned)
    return replace(lesson, next_planned=next(p.index for p in later if p.offset_s >= offset_s))
