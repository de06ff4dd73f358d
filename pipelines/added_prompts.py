"""Prompts added to the schedule because the learner may be gone.

Everything follows from the session's state, seed and policy, so that a restart changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile
from threading import Lock
from typing import Final

from pipelines.lesson import Lesson
from verifier import session as acts
from verifier.evidence import STATES, State
from verifier.policy import Policy
from verifier.presence import state_probabilities
from verifier.prompt import AddedBecause, Prompt, PromptOrigin, PromptStatus
from verifier.schedule import PlannedPrompts
from verifier.session_state import SessionPhase

_REMEMBERED: Final = 4096
_GENUINE: Final = STATES.index(State.GENUINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedPrompt:
    """One that is to go out at ``at``, because of a scheduled prompt that was resolved before."""

    at: datetime = field(repr=False)
    after: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedPrompts:
    """Says after which scheduled prompts another one follows; safe for threads."""

    policy: Policy
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    # By prompt; what was found once stays true, as nothing that comes later is looked at.
    _doubtful: dict[str, bool] = field(default_factory=dict, init=False, repr=False)

    def next_of(self, lesson: Lesson, *, before: datetime) -> AddedPrompt | None:
        """Return the one that goes out before the next scheduled one at ``before``, if any is to.

        At most one follows each scheduled prompt that was not passed while the lesson ran. What
        would be due in a pause is dropped, as are scheduled prompts.
        """
        if lesson.state.phase is not SessionPhase.RUNNING:
            return None
        place = _last_scheduled(lesson.state.prompts)
        if place is None:
            return None
        after, later = lesson.state.prompts[place], lesson.state.prompts[place + 1 :]
        failed = after.status in {PromptStatus.MISSED, PromptStatus.REFERRED}
        if not failed or any(p.added_because is AddedBecause.POSTERIOR for p in later):
            return None
        at = self._due_at(lesson, after)
        if at >= before or lesson.is_paused_at(lesson.state.offset_s(at)):
            return None
        return AddedPrompt(at=at, after=after) if self._is_doubtful(lesson, place) else None

    def _due_at(self, lesson: Lesson, after: Prompt) -> datetime:
        if after.planned_index is None or after.resolved_at is None:
            raise ValueError("a scheduled prompt that was resolved was wanted")
        planned = PlannedPrompts(seed=lesson.promise.seed, parameters=lesson.header.parameters)
        rules = self.policy.added
        gap_ms = planned.added_gap_ms(
            after.planned_index, min_gap_s=rules.min_gap_s, mean_gap_s=rules.mean_gap_s
        )
        return after.resolved_at + timedelta(milliseconds=gap_ms)

    def _is_doubtful(self, lesson: Lesson, place: int) -> bool:
        """Say whether the learner may have been gone once prompt number ``place`` was resolved.

        Where it was so after a prompt before, and nothing was sent in answer to any since, it
        still is: absence that goes on is not computed anew a hundred times.
        """
        prompts = lesson.state.prompts
        silent = len(list(takewhile(lambda p: not p.attempts, reversed(prompts[: place + 1]))))
        first = min(place, place + 1 - silent)
        return any(self._was_doubtful(lesson, number) for number in range(first, place + 1))

    def _was_doubtful(self, lesson: Lesson, place: int) -> bool:
        prompt_id = lesson.state.prompts[place].prompt_id
        with self._lock:
            known = self._doubtful.get(prompt_id)
        if known is None:
            known = self._genuine(lesson, place) < self.policy.added.below
            with self._lock:
                if len(self._doubtful) >= _REMEMBERED:
                    self._doubtful.clear()
                self._doubtful[prompt_id] = known
        return known

    def _genuine(self, lesson: Lesson, place: int) -> float:
        """Return P(genuine) when prompt number ``place`` was resolved, of what was known then."""
        prompts = lesson.state.prompts[: place + 1]
        then = replace(
            lesson.state,
            prompts=prompts,
            last_event_at=prompts[-1].resolved_at or lesson.state.last_event_at,
        )
        evidence = acts.session_evidence(
            then, planned_minutes=lesson.planned_minutes, policy=self.policy, path=lesson.path
        )
        _, probabilities = state_probabilities(evidence, self.policy)
        return float(probabilities[-1, _GENUINE])


def _last_scheduled(prompts: Sequence[Prompt]) -> int | None:
    """Return the place of the last scheduled prompt that went out."""
    places = [i for i, p in enumerate(prompts) if p.origin is PromptOrigin.SCHEDULED]
    return places[-1] if places else None
