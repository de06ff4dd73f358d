"""Everything that has happened in one session, as a value, and what follows from it.

The acts that lead from one state to the next are in :mod:`verifier.session`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from verifier.check import Check, Outcome
from verifier.credit import Pause, Span, credit_spans, joined
from verifier.policy_groups import PromptRules
from verifier.prompt import Prompt, PromptOrigin, PromptStatus


class SessionPhase(StrEnum):
    """Where a session stands; the last two are final."""

    OPENING = "opening"
    RUNNING = "running"
    ENDING = "ending"
    CLOSED = "closed"
    ABANDONED = "abandoned"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens in the session any more."""
        return self in {SessionPhase.CLOSED, SessionPhase.ABANDONED}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCounts:
    """What became of the prompts; ``issued = answered + missed + open``."""

    issued: int
    answered: int
    missed: int
    open: int
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """Everything that has happened in one session.

    Attributes
    ----------
    started_at
        Second 0 of every offset.
    last_event_at
        No later act may carry an earlier time.
    end_announced_at
        When the platform said the lesson was over; None before.
    pauses
        Finished pauses, in offsets; also when the engine itself was away.
    paused_at
        When the running pause began; None when the clock runs.
    paused_until
        When the running pause ends by itself, after too many failed answers; None: it does not.
    ended_at
        When it was closed or abandoned; None before.
    """

    session_id: str
    learner_id: str
    class_id: str
    platform_id: str
    rules: PromptRules
    started_at: datetime
    last_event_at: datetime
    phase: SessionPhase = SessionPhase.OPENING
    prompts: tuple[Prompt, ...] = ()
    pauses: tuple[Pause, ...] = ()
    paused_at: datetime | None = None
    paused_until: datetime | None = None
    end_announced_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def open_prompt(self) -> Prompt | None:
        """The one prompt that waits for an answer, if any."""
        return next((prompt for prompt in self.prompts if prompt.is_open), None)

    @property
    def clock_runs(self) -> bool:
        """Whether time counts as lesson time now: not in a pause, nor while a prompt is open."""
        going_on = self.phase is SessionPhase.RUNNING and self.paused_at is None
        return going_on and self.open_prompt is None

    @property
    def closing_asked(self) -> bool:
        """Whether the closing prompt has gone out."""
        return any(prompt.origin is PromptOrigin.CLOSING for prompt in self.prompts)

    @property
    def counts(self) -> PromptCounts:
        """How many prompts were issued and what became of them."""
        statuses = [prompt.status for prompt in self.prompts]
        return PromptCounts(
            issued=len(statuses),
            answered=statuses.count(PromptStatus.PASSED) + statuses.count(PromptStatus.REFERRED),
            missed=statuses.count(PromptStatus.MISSED),
            open=statuses.count(PromptStatus.OPEN),
            added=sum(prompt.origin is PromptOrigin.ADDED for prompt in self.prompts),
        )

    @property
    def passes_s(self) -> tuple[float, ...]:
        """Offsets at which prompts were passed: when the frames were judged.

        None lies beyond the announced end, so that a slow closing answer earns no lesson time.
        """
        # One officer's word raises no credit: a call confirms, but bounds no span.
        passed = (p for p in self.prompts if p.status is PromptStatus.PASSED and not p.is_call)
        return tuple(self._within_lesson(p.resolved_at or p.issued_at) for p in passed)

    @property
    def breaks_s(self) -> tuple[float, ...]:
        """Offsets at which missed or referred prompts went out; each ends a span."""
        broken = {PromptStatus.MISSED, PromptStatus.REFERRED}
        return tuple(
            self._within_lesson(p.issued_at)
            for p in self.prompts
            if p.status in broken and not _never_called(p)
        )

    @property
    def lesson_end(self) -> datetime | None:
        """When scheduled prompts ceased: the announced end, or when it was abandoned."""
        return self.end_announced_at or self.ended_at

    @property
    def silences(self) -> tuple[Pause, ...]:
        """When no scheduled prompt could go out.

        Before the opening prompt was passed, in pauses, while an officer called, and while one
        prompt after the other was waited for at the end.
        """
        return (*self._opening(), *self.pauses, *self.calls, *self._queue())

    @property
    def calls(self) -> tuple[Pause, ...]:
        """When an officer's call was waited for, within the lesson, by time.

        For so long that whatever falls due meanwhile is let go: it would all come at once.
        """
        return self._open([prompt for prompt in self.prompts if prompt.is_call])

    def _queue(self) -> tuple[Pause, ...]:
        """Return the stretch before the end in which whatever fell due had to wait its turn.

        It reaches back over prompts and pauses that followed one another without a gap, but not
        behind the moment at which the last prompt of the schedule that did go out was due: what
        was due earlier went out earlier, or was never sent.
        """
        end = self.lesson_end
        if end is None:
            return ()
        end_s = since_s = self.offset_s(end)
        taken = [(pause.start_s, pause.end_s) for pause in self.pauses]
        taken += [
            (self.offset_s(p.issued_at), self.offset_s(p.free_at or end)) for p in self.prompts
        ]
        for start_s, stop_s in sorted(taken, reverse=True):
            if start_s < since_s <= stop_s:
                since_s = start_s
        sent_s = [p.planned_offset_s for p in self.prompts if p.planned_offset_s is not None]
        since_s = max(since_s, max(sent_s, default=0.0))
        return (Pause(start_s=since_s, end_s=end_s),) if since_s < end_s else ()

    def _opening(self) -> tuple[Pause, ...]:
        passed = [p.resolved_at for p in self.prompts if p.status is PromptStatus.PASSED]
        until = min((at for at in passed if at), default=self.last_event_at)
        opening_s = self.offset_s(until)
        return (Pause(start_s=0.0, end_s=opening_s),) if opening_s > 0 else ()

    @property
    def answering(self) -> tuple[Pause, ...]:
        """When a prompt was open within the lesson, by time: the lesson clock stood still then.

        Not a silence unless an officer called: what falls due meanwhile follows at once.
        """
        return self._open(self.prompts)

    def _open(self, prompts: Sequence[Prompt]) -> tuple[Pause, ...]:
        now = self.lesson_end or self.last_event_at
        ends = [(p.issued_at, min(p.resolved_at or now, now)) for p in prompts]
        return tuple(
            Pause(start_s=self.offset_s(start), end_s=self.offset_s(end))
            for start, end in ends
            if start < end
        )

    def offset_s(self, at: datetime) -> float:
        """Return seconds since the session started."""
        return (at - self.started_at).total_seconds()

    def running_s(self, start: datetime, end: datetime) -> float:
        """Return for how many seconds from ``start`` to ``end`` the lesson clock ran."""
        start_s, end_s = self.offset_s(start), self.offset_s(end)
        held = (min(end_s, p.end_s) - max(start_s, p.start_s) for p in joined(self.stopped))
        return end_s - start_s - math.fsum(max(0.0, overlap_s) for overlap_s in held)

    @property
    def stopped(self) -> tuple[Pause, ...]:
        """Whenever the lesson clock stood still, in no order; two may overlap."""
        if self.paused_at is None:
            return (*self.pauses, *self.answering)
        start_s, end_s = self.offset_s(self.paused_at), self.offset_s(self.last_event_at)
        return (*self.pauses, *self.answering, Pause(start_s=start_s, end_s=end_s))

    @property
    def bridged_pauses(self) -> tuple[Pause, ...]:
        """The pauses after which a prompt was passed, by time, those that touch made one.

        Of these the learner is not asked to have been there. Whoever did not come back after one
        left the lesson.
        """
        passed = [p for p in self.prompts if p.status is PromptStatus.PASSED and not p.is_call]
        back_s = max((self.offset_s(p.resolved_at or p.issued_at) for p in passed), default=0.0)
        return tuple(p for p in joined(self.pauses) if p.start_s < p.end_s <= back_s)

    def spans(self, withheld: Sequence[Pause] = ()) -> tuple[Span, ...]:
        """Return the spans as they stand; see :func:`verifier.credit.credit_spans`.

        ``withheld``: what else earns nothing.
        """
        pauses = (*self.stopped, *withheld)
        return credit_spans(passes_s=self.passes_s, breaks_s=self.breaks_s, pauses=pauses)

    def checks(self) -> tuple[Check, ...]:
        """Return what was found, by time; an unanswered prompt is a ``no_response``."""
        found = [check for prompt in self.prompts for check in self._checks_of(prompt)]
        return tuple(sorted(found, key=lambda check: check.t))

    def _checks_of(self, prompt: Prompt) -> Sequence[Check]:
        # Before the first pass nothing is earned: that nobody answered yet says nothing more.
        unanswered = prompt.status is PromptStatus.MISSED and not prompt.attempts
        if _never_called(prompt):
            return []
        if unanswered and prompt.origin is PromptOrigin.OPENING and self.passes_s:
            return []
        if not unanswered:
            return [attempt.check for attempt in prompt.attempts]
        issued_s = self.offset_s(prompt.issued_at)
        return [Check(t=issued_s, prompted=True, outcome=Outcome.NO_RESPONSE)]

    def _within_lesson(self, at: datetime) -> float:
        end = self.end_announced_at
        return self.offset_s(at if end is None else min(at, end))


def _never_called(prompt: Prompt) -> bool:
    """Say whether an officer recorded nothing: no learner can answer that, so none missed it."""
    ran_out = prompt.status is PromptStatus.MISSED and not prompt.attempts
    return ran_out and prompt.is_call
