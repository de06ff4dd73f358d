"""What happens in a lesson as time goes by, whoever asks: prompts go out, are missed, it ends.

Each method works inside a unit of work and returns the lesson as it is then.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from pipelines.agenda import Act, Agenda, Due, waits_to_open
from pipelines.lesson import Lesson, LessonEnd
from pipelines.lesson_records import LessonRecords
from pipelines.lesson_store import LessonUnit
from pipelines.lesson_terms import fresh_code, usual_kind, waiting_s
from pipelines.recording import Recording
from verifier import session as acts
from verifier.check import SessionEvidence
from verifier.claim import SessionAccount
from verifier.credit import Pause, credit
from verifier.failures import looked_back, paused_until
from verifier.playback import withheld, withheld_by_state
from verifier.policy import Policy
from verifier.prompt import AddedBecause, PromptKind, PromptOrigin
from verifier.protocols import Clock
from verifier.session_score import score_session
from verifier.session_state import SessionPhase

NONCE_BYTES: Final = 16
BATCH: Final = 64
"""Prompts going out and missed that one unit of work catches up with."""
LONG_AGO: Final = timedelta(minutes=15)
LATEST_TOLD: Final = timedelta(seconds=30)
"""By how much a deadline moves at most because the engine was late to tell of a prompt.

Whoever comes back to a stream after a while was late himself, and must not gain by it.
"""


BeforeEnd = Callable[[LessonUnit, str], None]
"""Brings what belongs to a session into the unit of work that ends it, before it is settled."""


def leave_alone(_unit: LessonUnit, _session_id: str) -> None:
    """Bring nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonCourse:
    """Lets happen what falls due, on the engine's clock.

    ``model`` names the contract in use; ``before_end`` is called in the unit of work that ends a
    session, before it is scored.
    """

    records: LessonRecords
    policy: Policy
    clock: Clock
    model: str
    agenda: Agenda
    before_end: BeforeEnd = leave_alone

    def now(self, lesson: Lesson) -> datetime:
        """Return the moment it is for a lesson: never past its end, never before its last event."""
        return max(min(self.clock.now(), lesson.expires_at), lesson.state.last_event_at)

    def has_work(self, lesson: Lesson) -> bool:
        """Say whether anything fell due, or an opening prompt is wanted."""
        return self.agenda.next_due(lesson) <= self.now(lesson)

    def catch_up(
        self, work: Recording, lesson: Lesson, *, streaming: bool = False
    ) -> tuple[Lesson, datetime]:
        """Let happen what fell due, each at its own time; return the moment it is now.

        Whatever ends scheduled prompts has to happen at that very moment: a clock read again
        could be past the next one.

        Parameters
        ----------
        streaming
            Whoever is told of a prompt that goes out now was waiting for it: if it goes out late
            then the engine was, and its deadline counts from now.
        """
        now = self.now(lesson)
        return self._catch_up(work, lesson, now, streaming=streaming), now

    def _catch_up(
        self,
        work: Recording,
        lesson: Lesson,
        until: datetime,
        *,
        at_most: int | None = None,
        streaming: bool = False,
    ) -> Lesson:
        upcoming = lesson.due_from(lesson.next_planned)
        planned = next(upcoming)
        for _ in count() if at_most is None else range(at_most):
            due = self.agenda.next_act(lesson, planned)
            if due is None or due.at > until:
                break
            waiting = lesson.state.open_prompt
            was_silent = due.act is Act.RESUME or (waiting is not None and waiting.is_call)
            lesson = self._do(work, lesson, due, streaming=streaming)
            if was_silent:  # what was due in the pause or the call is let go
                upcoming = lesson.due_from(lesson.next_planned)
            if was_silent or due.act is Act.ASK_SCHEDULED:
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
        away = Pause(start_s=state.offset_s(since), end_s=state.offset_s(until))
        lesson = self.records.away(work, lesson, away, now=until)
        # A pause that goes on has moved the end by its own time already.
        since = max(since, lesson.state.paused_until or since)
        later = max(until - since, timedelta(0))
        return replace(lesson, state=state, expires_at=lesson.expires_at + later)

    def ask_opening(self, work: Recording, lesson: Lesson) -> Lesson:
        """Issue the opening prompt where none is open, and again when it was missed."""
        if not waits_to_open(lesson):
            return lesson
        due = Due(act=Act.ASK_OPENING, at=self.now(lesson))
        return self._issue(work, lesson, due, usual_kind(lesson), PromptOrigin.OPENING)

    def ask_added(
        self, work: Recording, lesson: Lesson, kind: PromptKind, *, at: datetime, by: str
    ) -> Lesson:
        """Issue a prompt that an officer wants; ``ProtocolError`` if none may go out now."""
        due = Due(act=Act.ASK_ADDED, at=at)
        return self._issue(work, lesson, due, kind, PromptOrigin.ADDED, by=by)

    def pause_if_failing(
        self, work: Recording, lesson: Lesson, *, failed_at: Sequence[datetime] = ()
    ) -> Lesson:
        """Pause a lesson whose learner gave too many answers that failed, in it or before.

        Parameters
        ----------
        failed_at
            When answers failed that the store does not know yet.
        """
        state, rules = lesson.state, self.policy.failures
        since = state.last_event_at - looked_back(rules)
        known = work.unit.failed_answers(state.learner_id, since=since)
        until = paused_until([*known, *failed_at], rules)
        if until is None or until <= state.last_event_at:
            return lesson
        paused = acts.pause_after_failures(state, at=state.last_event_at, until=until)
        lesson = self.records.paused(work, lesson, paused, now=self.clock.now())
        later = until - state.last_event_at
        return replace(lesson, state=paused, expires_at=lesson.expires_at + later)

    def end(self, work: Recording, lesson: Lesson) -> Lesson:
        """Close a session whose closing prompt was resolved; abandon any other.

        One that was never announced to end is asked its closing prompt all the same, and has
        missed it: whoever just leaves must not be better off than who was asked. In a pause
        nobody is asked; what led to it is on record.
        """
        now = self.now(lesson)
        if lesson.checkpoint is not None:
            lesson, now = self.catch_up(work, lesson)
        state = lesson.state
        idle = state.open_prompt is None and state.paused_at is None
        if state.phase is SessionPhase.RUNNING and idle:
            ending = replace(lesson, state=acts.announce_end(state, at=now))
            lesson = self._do(work, ending, Due(act=Act.ASK_CLOSING, at=now))
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
            path=lesson.path,
        )

    def _do(self, work: Recording, lesson: Lesson, due: Due, *, streaming: bool = False) -> Lesson:
        """Do what fell due, at its own time."""
        if due.act is Act.RESUME:
            return replace(lesson, state=acts.resume(lesson.state, at=due.at))
        if due.act is Act.MISS:
            return self._miss(work, lesson)
        kind, origin = usual_kind(lesson), PromptOrigin.ADDED
        if due.act is Act.ASK_CLOSING:
            origin = PromptOrigin.CLOSING
        if due.planned is not None:
            kind, origin = PromptKind(due.planned.kind), PromptOrigin.SCHEDULED
            lesson = replace(lesson, next_planned=due.planned.index + 1)
        return self._issue(work, lesson, due, kind, origin, streaming=streaming)

    def _miss(self, work: Recording, lesson: Lesson) -> Lesson:
        prompt = lesson.state.open_prompt
        if prompt is None:
            raise ValueError("no prompt is open; one was wanted")
        at = max(prompt.closes_at, lesson.state.last_event_at)
        recorded = self.records.missed(work, lesson, prompt, at=at, now=self.clock.now())
        return replace(recorded, state=acts.expire(lesson.state, at=at))

    def _issue(
        self,
        work: Recording,
        lesson: Lesson,
        due: Due,
        kind: PromptKind,
        origin: PromptOrigin,
        *,
        streaming: bool = False,
        by: str | None = None,
    ) -> Lesson:
        issued = acts.issue_prompt(
            lesson.state,
            prompt_id=secrets.token_hex(16),
            nonce=secrets.token_bytes(NONCE_BYTES),
            kind=kind,
            origin=origin,
            at=due.at,
            planned=due.planned,
            added_because=_because(origin, by),
            code=fresh_code(kind, self.policy),
            asked_at=min(self.clock.now(), due.at + LATEST_TOLD) if streaming else None,
            capture_s=waiting_s(kind, self.policy),
            extra_time=lesson.extra_time,
        )
        after = None if due.added is None else due.added.after
        now = self.clock.now()
        recorded = self.records.issued(
            work, lesson, issued.prompts[-1], after=after, by=by, now=now
        )
        return replace(recorded, state=issued)

    def _finish(self, work: Recording, lesson: Lesson) -> Lesson:
        """Score an ended session and record it: credit and closing leaf become true together."""
        ended = lesson.state
        self.before_end(work.unit, ended.session_id)
        played = work.unit.playback(ended.session_id)
        until_s = ended.offset_s(ended.lesson_end or ended.last_event_at)
        required = self.policy.playback.is_required(lesson.assurance)
        score = score_session(self.evidence(lesson), self.policy)
        account = SessionAccount(
            session_id=ended.session_id,
            learner_id=ended.learner_id,
            class_id=ended.class_id,
            started_at=ended.started_at,
            ended_at=ended.last_event_at,
            score=score,
            credit=credit(
                ended.spans(withheld(played, until_s=until_s, required=required)),
                decision=score.decision,
                lower95_s=60 * score.verified_lower95_minutes,
                rules=self.policy.credit,
            ),
        )
        lost = withheld_by_state(played, until_s=until_s, required=required)
        lesson = self.records.closed(work, lesson, account, self.policy, withheld_s=lost)
        lesson = replace(lesson, end=LessonEnd(account=account, closed_index=lesson.last_index))
        work.unit.save(lesson)
        return lesson


def _because(origin: PromptOrigin, by: str | None) -> AddedBecause | None:
    if origin is not PromptOrigin.ADDED:
        return None
    return AddedBecause.POSTERIOR if by is None else AddedBecause.SUPERVISOR


def skip_until(lesson: Lesson, offset_s: float) -> Lesson:
    """Let go of what was due before ``offset_s``: the lesson had not begun."""
    later = lesson.due_from(lesson.next_planned)
    return replace(lesson, next_planned=next(p.index for p in later if p.offset_s >= offset_s))
