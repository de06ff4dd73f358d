"""What comes next in a lesson by itself, and when; holds future prompt times, so nothing is logged.

From the lesson's state, its schedule and the prompts added to that; nothing is changed here.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from pipelines.added_prompts import AddedPrompt, AddedPrompts
from pipelines.judging import Judging
from pipelines.lesson import Lesson
from verifier.prompt import RECEIVING_S, Prompt
from verifier.schedule import PlannedPrompt
from verifier.session_state import SessionPhase, SessionState


class Act(Enum):
    """What may fall due in a lesson."""

    RESUME = auto()
    MISS = auto()
    ASK_OPENING = auto()  # only if somebody asks
    ASK_CLOSING = auto()
    ASK_SCHEDULED = auto()
    ASK_ADDED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something that happens at a moment, and the prompt that the schedule or a doubt brings."""

    act: Act
    at: datetime = field(repr=False)
    planned: PlannedPrompt | None = field(default=None, repr=False)
    added: AddedPrompt | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """Knows what falls due, given which answers are being judged."""

    added: AddedPrompts
    judging: Judging = field(default_factory=Judging, repr=False)

    def next_due(self, lesson: Lesson) -> datetime:
        """Return when something may happen next in a lesson, its end at the latest."""
        if waits_to_open(lesson):
            return lesson.state.last_event_at
        due = self.next_act(lesson, lesson.planned)
        return lesson.expires_at if due is None else min(due.at, lesson.expires_at)

    def next_act(self, lesson: Lesson, planned: PlannedPrompt) -> Due | None:
        """Return what has to happen next by itself, if anything, and when.

        A pause comes first, then an open prompt, then the closing one, once, then the next of the
        schedule, or one that was added before it.
        """
        state = lesson.state
        if state.paused_at is not None:
            if state.paused_until is None:
                return None
            return Due(act=Act.RESUME, at=max(state.paused_until, state.last_event_at))
        if state.open_prompt is not None:
            return Due(act=Act.MISS, at=self._missed_at(state.open_prompt, lesson))
        return self._next_prompt(lesson, planned)

    def _next_prompt(self, lesson: Lesson, planned: PlannedPrompt) -> Due | None:
        state = lesson.state
        if state.phase is SessionPhase.ENDING:
            asked = state.closing_asked
            return None if asked else Due(act=Act.ASK_CLOSING, at=_free_at(state))
        if state.phase is not SessionPhase.RUNNING:
            return None
        scheduled_at = _due_at(state, planned)
        added = self.added.next_of(lesson, before=scheduled_at)
        if added is not None and (at := max(added.at, _free_at(state))) < scheduled_at:
            return Due(act=Act.ASK_ADDED, at=at, added=added)
        return Due(act=Act.ASK_SCHEDULED, at=scheduled_at, planned=planned)

    def _missed_at(self, prompt: Prompt, lesson: Lesson) -> datetime:
        """Return the first moment at which an open prompt is missed, as things stand."""
        # What arrived in time is judged in time, however long it takes to arrive and be judged.
        waited = prompt.closes_at + timedelta(seconds=RECEIVING_S) + timedelta.resolution
        goes_on = self.judging.goes_on(prompt.prompt_id)
        at = lesson.expires_at if goes_on else min(waited, lesson.expires_at)
        return max(at, prompt.closes_at + timedelta.resolution)


def _due_at(state: SessionState, planned: PlannedPrompt) -> datetime:
    """Return when a scheduled prompt goes out if none is open."""
    planned_at = state.started_at + timedelta(seconds=planned.offset_s)
    # One prompt at a time: what fell due while another was open follows it at once.
    return max(planned_at, _free_at(state))


def _free_at(state: SessionState) -> datetime:
    """Return from when a prompt may go out, if none is open."""
    freed = state.prompts[-1].free_at if state.prompts else None
    return max(state.last_event_at, freed or state.last_event_at)


def waits_to_open(lesson: Lesson) -> bool:
    """Say whether an opening prompt may go out, which it does if somebody asks."""
    state = lesson.state
    idle = state.open_prompt is None and state.paused_at is None
    return state.phase is SessionPhase.OPENING and idle
