"""Every prompt of one session beside its schedule: due, issued, what became of it, and why not.

Reads public facts, and of answers the sealed record where somebody can open it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final

from pipelines.schedule_leaves import (
    Fate,
    LoggedPrompt,
    RecordOf,
    after_opening_ms,
    logged_pauses,
    logged_prompts,
)
from pipelines.schedule_silences import (
    MINUTE_MS,
    ROUNDING_MS,
    Silence,
    Why,
    as_told,
    logged_silences,
    open_until_ms,
    pause_problems,
)
from pipelines.session_log import SessionLog
from verifier.credit import Pause
from verifier.errors import InvalidRecordError, VerifierError
from verifier.policy import Policy
from verifier.prompt import AddedBecause, PromptOrigin
from verifier.schedule import (
    IssuedPrompt,
    PlannedPrompt,
    PlannedPrompts,
    SchedulePromise,
    verify_schedule,
)
from verifier.transparency.canonical_json import JSONValue

_AT_ONCE_MS: Final = 5_000
"""A prompt whose turn has come goes out at once, whoever asks when; clocks are read twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPrompt:
    """One prompt that was due, went out, or both; seconds from the session's start.

    Attributes
    ----------
    index
        Place in the schedule; of an added one the place of the prompt that brought it about;
        None: neither.
    due_s
        When it follows from the seed; None where nothing follows.
    issued_s
        When it went out; None: it did not.
    fate
        None if it did not go out.
    why
        The reason for which it is missing or added; None: it is neither, or has none.
    faults
        What does not follow.
    """

    origin: PromptOrigin
    kind: str
    index: int | None = None
    due_s: float | None = None
    issued_s: float | None = None
    fate: Fate | None = None
    why: Why | None = None
    faults: tuple[str, ...] = ()

    @property
    def is_planned(self) -> bool:
        """Whether the schedule holds it, or its entry says so."""
        return self.origin is PromptOrigin.SCHEDULED

    @property
    def is_added(self) -> bool:
        """Whether its entry says that it was added."""
        return self.origin is PromptOrigin.ADDED

    @property
    def is_excused(self) -> bool:
        """Whether it did not go out for a reason."""
        return self.issued_s is None and self.why is not None

    @property
    def is_missed(self) -> bool:
        """Whether it went out and nobody answered well enough."""
        return self.fate is Fate.MISSED

    @property
    def fate_is_known(self) -> bool:
        """Whether what became of it is told, not only that somebody answered."""
        return self.fate is not Fate.ANSWERED

    @property
    def delay_s(self) -> float | None:
        """How long after its time it went out."""
        if self.due_s is None or self.issued_s is None:
            return None
        return round(self.issued_s - self.due_s, 3)

    @property
    def name(self) -> str:
        """What an auditor calls it: its index, or its origin and time."""
        if self.is_planned:
            return str(self.index)
        return f"{self.origin.value} at {self.issued_s or 0:.3f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPrompts:
    """All prompts by time, the silences that the closing leaf tells, and what is wrong besides."""

    prompts: tuple[ProvenPrompt, ...]
    silences: tuple[Silence, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """The lesson that prompts are held against; ``told`` are the closing leaf's silences."""

    log: SessionLog
    promise: SchedulePromise
    ended_s: float
    told: Sequence[Pause]
    issued: Sequence[LoggedPrompt]

    @property
    def planned(self) -> PlannedPrompts:
        return PlannedPrompts(seed=self.promise.seed, parameters=self.promise.header.parameters)

    @property
    def due(self) -> Mapping[int, PlannedPrompt]:
        """What fell due to the very end, by index."""
        return {p.index: p for p in takewhile(lambda p: p.offset_s <= self.ended_s, self.planned)}

    @property
    def ended_ms(self) -> int:
        return round(1000 * self.ended_s)

    def scheduled(self) -> Sequence[LoggedPrompt]:
        return [prompt for prompt in self.issued if prompt.origin is PromptOrigin.SCHEDULED]

    def silences(self) -> tuple[Silence, ...]:
        """Return what other entries than the closing one bear out."""
        due = self.due
        places = [p.planned_index for p in self.scheduled() if p.planned_index is not None]
        sent = [due[place] for place in places if place in due]
        sent_ms = max((round(1000 * prompt.offset_s) for prompt in sent), default=0)
        return logged_silences(self.log, self.issued, ended_ms=self.ended_ms, sent_ms=sent_ms)

    def free_ms(self, prompt: LoggedPrompt) -> int:
        """Return when the last thing before a prompt was over that it may have had to wait for."""
        pauses, place = logged_pauses(self.log), self.issued.index(prompt)
        over = [p.until_ms for p in pauses if p.until_ms <= prompt.issued_ms + ROUNDING_MS]
        over += [open_until_ms(p, self.issued, pauses) for p in self.issued[:place]]
        return max([0, *over])


def proven_prompts(
    log: SessionLog,
    promise: SchedulePromise | None,
    *,
    ended_s: float,
    silences_ms: JSONValue,
    record_of: RecordOf,
    policy: Policy | None,
) -> ProvenPrompts:
    """Return every prompt that was due or went out, by time.

    Parameters
    ----------
    promise
        None: nothing was due.
    ended_s
        When scheduled prompts ceased.
    silences_ms
        When nothing could be asked, as the closing leaf tells it. It excuses nothing that other
        entries do not bear out.
    policy
        The one that the header names; None: not at hand, so that the times of prompts that a
        falling posterior added cannot be recomputed.

    Raises
    ------
    InvalidRecordError
        If a leaf's facts are not what they should be.
    """
    issued, told = logged_prompts(log, record_of), _silences(silences_ms)
    if promise is None:
        return ProvenPrompts(
            prompts=tuple(_unplanned(prompt) for prompt in issued), silences=(), problems=()
        )
    course = _Course(log=log, promise=promise, ended_s=ended_s, told=told, issued=issued)
    logged = course.silences()
    shown = [
        *_scheduled(course, logged),
        *(_added(prompt, course, policy) for prompt in issued if _is_added(prompt)),
        *(_at_an_end(prompt, course) for prompt in issued if _is_at_an_end(prompt)),
    ]
    milliseconds = [(round(1000 * s.start_s), round(1000 * s.end_s)) for s in told]
    return ProvenPrompts(
        prompts=tuple(sorted(shown, key=_time_s)),
        silences=tuple(as_told(start_ms, end_ms, logged) for start_ms, end_ms in milliseconds),
        problems=tuple(pause_problems(log, issued, policy, record_of)),
    )


def _time_s(prompt: ProvenPrompt) -> tuple[float, float]:
    due_s = math.inf if prompt.due_s is None else prompt.due_s
    return (due_s if prompt.issued_s is None else prompt.issued_s, due_s)


def _is_added(prompt: LoggedPrompt) -> bool:
    return prompt.origin is PromptOrigin.ADDED


def _is_at_an_end(prompt: LoggedPrompt) -> bool:
    return prompt.origin in {PromptOrigin.OPENING, PromptOrigin.CLOSING}


def _silences(told: Any) -> list[Pause]:
    try:
        return [Pause(start_s=start / 1000, end_s=end / 1000) for start, end in told]
    except (TypeError, ValueError, OverflowError, VerifierError) as error:
        raise InvalidRecordError("silences_ms is no list of stretches") from error


def _scheduled(course: _Course, logged: Sequence[Silence]) -> list[ProvenPrompt]:
    went_out = course.scheduled()
    told = [
        IssuedPrompt(
            index=-1 if prompt.planned_index is None else prompt.planned_index,
            kind=prompt.kind,
            issued_s=prompt.issued_ms / 1000,
        )
        for prompt in went_out
    ]
    verdict = verify_schedule(course.promise, told, ended_s=course.ended_s, silences=course.told)
    due = course.due
    shown = [
        _went_out(prompt, course, due.get(place.index), is_foreign=place.index in verdict.foreign)
        for prompt, place in zip(went_out, told, strict=True)
    ]
    for index in sorted(due.keys() - {place.index for place in told}):
        missing = index in verdict.missing
        shown.append(_silent(course, due[index], logged, is_missing=missing))
    return shown


def _went_out(
    prompt: LoggedPrompt, course: _Course, due: PlannedPrompt | None, *, is_foreign: bool
) -> ProvenPrompt:
    due_s = None if due is None else due.offset_s
    faults = ["it does not follow from the seed"] if is_foreign else []
    if due_s is not None:
        faults += _held_back(prompt, course, due_ms=round(1000 * due_s))
    shown = _unplanned(prompt, course.log)
    return replace(shown, index=prompt.planned_index, due_s=due_s, faults=(*faults, *shown.faults))


def _held_back(prompt: LoggedPrompt, course: _Course, *, due_ms: int) -> list[str]:
    """Say so if a prompt waited for nothing: whoever may hold one back chooses its moment."""
    late_ms = prompt.issued_ms - max(due_ms, course.free_ms(prompt))
    return (
        [f"it was held back {late_ms / 1000:.0f} s for no reason"] if late_ms > _AT_ONCE_MS else []
    )


def _silent(
    course: _Course, due: PlannedPrompt, logged: Sequence[Silence], *, is_missing: bool
) -> ProvenPrompt:
    """Show a prompt that never went out: why, or that nothing excuses it."""
    absent = ProvenPrompt(
        origin=PromptOrigin.SCHEDULED, kind=due.kind, index=due.index, due_s=due.offset_s
    )
    due_ms = round(1000 * due.offset_s)
    if is_missing:
        return replace(absent, faults=("it was due and never went out",))
    if due_ms == course.ended_ms:  # due in the very millisecond of the end: it may go out
        return replace(absent, why=Why.AT_THE_END)
    around = (s for s in logged if s.start_ms <= due_ms <= s.end_ms)
    why = next((silence.why for silence in around), None)
    fault = "it was due in a silence that no other entry bears out, and never went out"
    return replace(absent, why=why, faults=() if why else (fault,))


def _added(prompt: LoggedPrompt, course: _Course, policy: Policy | None) -> ProvenPrompt:
    shown = _unplanned(prompt, course.log)
    because = prompt.leaf.fact("added_because")
    if because == AddedBecause.SUPERVISOR:
        return replace(shown, why=Why.SUPERVISOR)
    if because != AddedBecause.POSTERIOR:
        return _with(shown, "it was added and no reason is given")
    after_index = prompt.leaf.whole("after_index")
    shown = replace(shown, why=Why.POSTERIOR, index=after_index)
    twins = [p for p in course.issued if p.leaf.fact("after_index") == after_index]
    if twins[0] is not prompt:
        return _with(shown, f"another one was added after prompt {after_index} before")
    place = course.issued.index(prompt)
    before = [p for p in course.issued[:place] if p.origin is PromptOrigin.SCHEDULED]
    last = before[-1] if before else None
    if last is None or last.planned_index != after_index or last.fate is Fate.PASSED:
        return _with(shown, f"prompt {after_index} was not missed before it")
    if policy is None:
        return _with(shown, "the policy that says when it is due was not given")
    gap_ms = course.planned.added_gap_ms(
        after_index, min_gap_s=policy.added.min_gap_s, mean_gap_s=policy.added.mean_gap_s
    )
    return _timed(shown, prompt, last, course, gap_ms)


def _timed(
    shown: ProvenPrompt, prompt: LoggedPrompt, before: LoggedPrompt, course: _Course, gap_ms: int
) -> ProvenPrompt:
    """Say when a prompt that a falling posterior added was due, and whether it kept to that."""
    told = prompt.leaf.fact("after_ms")
    resolved_ms = before.resolved_ms if before.resolved_ms is not None else told
    if not isinstance(resolved_ms, int):
        return _with(shown, "when the prompt before it was resolved is not told")
    faults = []
    if isinstance(told, int) and abs(told - resolved_ms) > ROUNDING_MS:
        faults.append("it names another moment at which the prompt before it was resolved")
    if not before.issued_ms <= resolved_ms:
        faults.append("the prompt before it was resolved before it went out")
    if prompt.issued_ms < resolved_ms + gap_ms - ROUNDING_MS:
        faults.append("it went out before it was due")
    faults += _held_back(prompt, course, due_ms=resolved_ms + gap_ms)
    return _with(replace(shown, due_s=(resolved_ms + gap_ms) / 1000), *faults)


def _at_an_end(prompt: LoggedPrompt, course: _Course) -> ProvenPrompt:
    """Show an opening or closing prompt; neither is a name for one that somebody added."""
    shown, place = _unplanned(prompt, course.log), course.issued.index(prompt)
    if prompt.origin is PromptOrigin.OPENING:
        before = course.issued[:place]
        begun = any(p.origin is not PromptOrigin.OPENING or p.fate is Fate.PASSED for p in before)
        return _with(shown, "the lesson had begun before it") if begun else shown
    if place + 1 < len(course.issued) or prompt.issued_ms < course.ended_ms - ROUNDING_MS:
        return _with(shown, "it went out before the end")
    due_ms = max(course.ended_ms, course.free_ms(prompt))
    late = prompt.issued_ms > due_ms + MINUTE_MS
    return _with(shown, "it went out more than a minute after the end") if late else shown


def _unplanned(prompt: LoggedPrompt, log: SessionLog | None = None) -> ProvenPrompt:
    shown = ProvenPrompt(
        origin=prompt.origin,
        kind=prompt.kind,
        issued_s=prompt.issued_ms / 1000,
        fate=prompt.fate,
    )
    if prompt.answered_elsewhere:
        shown = _with(shown, "what was logged as its answer is one to another prompt")
    if log is not None and after_opening_ms(log, prompt.leaf) < prompt.issued_ms - MINUTE_MS:
        shown = _with(shown, "it was logged long before it went out")
    return shown


def _with(shown: ProvenPrompt, *faults: str) -> ProvenPrompt:
    return replace(shown, faults=(*shown.faults, *faults))
