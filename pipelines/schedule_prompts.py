"""Every prompt of one session beside its schedule: due, issued, what became of it, and why not.

Reads public facts, and of answers the sealed record where somebody can open it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile
from typing import Any, Final

from pipelines.session_log import LoggedLeaf, SessionLog
from verifier.credit import Pause
from verifier.errors import InvalidRecordError, VerifierError
from verifier.policy import Policy
from verifier.prompt import AddedBecause, Judgement, PromptOrigin
from verifier.schedule import (
    IssuedPrompt,
    PlannedPrompt,
    PlannedPrompts,
    SchedulePromise,
    verify_schedule,
)
from verifier.transparency.canonical_json import JSONValue

ISSUED: Final = "prompt_issued"
MISSED: Final = "prompt_missed"
PAUSED: Final = "session_paused"
_ANSWERS: Final = frozenset({"snapshot", "answer_unreadable", "code_answered", "call_recorded"})
_ROUNDING_MS: Final = 1
"""Two times in whole milliseconds and the gap between them may each be rounded."""

RecordOf = Callable[[LoggedLeaf], Mapping[str, JSONValue]]
"""Returns a leaf's sealed record; empty where nobody can open it."""


class Fate(StrEnum):
    """What became of a prompt that went out."""

    PASSED = "passed"
    REFERRED = "referred"
    MISSED = "missed"
    ANSWERED = "answered"  # what the answer was found to be is sealed


class Why(StrEnum):
    """Why a prompt of the schedule did not go out, or why one went out that is not in it."""

    BEFORE_OPENING = "before_opening_passed"
    LOCKED_OUT = "paused_after_failures"
    ENGINE_AWAY = "engine_away"
    PROMPT_OPEN = "prompt_open_at_end"
    AT_THE_END = "at_the_very_end"
    SUPERVISOR = "supervisor"
    POSTERIOR = "posterior"


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
class _Issued:
    """A prompt as its leaves tell of it; times in whole milliseconds."""

    leaf: LoggedLeaf
    prompt_id: str
    origin: PromptOrigin
    kind: str
    planned_index: int | None
    issued_ms: int
    fate: Fate
    resolved_ms: int | None  # None: not told, and no record of an answer could be opened


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """The lesson that prompts are held against."""

    log: SessionLog
    promise: SchedulePromise
    ended_s: float
    silences: Sequence[Pause]

    @property
    def planned(self) -> PlannedPrompts:
        return PlannedPrompts(seed=self.promise.seed, parameters=self.promise.header.parameters)

    @property
    def due(self) -> Mapping[int, PlannedPrompt]:
        """What fell due to the very end, by index."""
        return {p.index: p for p in takewhile(lambda p: p.offset_s <= self.ended_s, self.planned)}


def proven_prompts(
    log: SessionLog,
    promise: SchedulePromise | None,
    *,
    ended_s: float,
    silences_ms: JSONValue,
    record_of: RecordOf,
    policy: Policy | None,
) -> tuple[ProvenPrompt, ...]:
    """Return every prompt that was due or went out, by time.

    Parameters
    ----------
    promise
        None: nothing was due.
    ended_s
        When scheduled prompts ceased.
    silences_ms
        When nothing could be asked, as the closing leaf tells it.
    policy
        The one that the header names; None: not at hand, so that the times of prompts that a
        falling posterior added cannot be recomputed.

    Raises
    ------
    InvalidRecordError
        If a leaf's facts are not what they should be.
    """
    issued = _issued(log, record_of)
    if promise is None:
        return tuple(_unplanned(prompt) for prompt in issued)
    course = _Course(log=log, promise=promise, ended_s=ended_s, silences=_silences(silences_ms))
    shown = [
        *_scheduled(course, issued),
        *(_added(prompt, issued, course, policy) for prompt in issued if _is_added(prompt)),
        *(_unplanned(prompt) for prompt in issued if _is_at_an_end(prompt)),
    ]
    return tuple(sorted(shown, key=_time_s))


def _time_s(prompt: ProvenPrompt) -> tuple[float, float]:
    due_s = math.inf if prompt.due_s is None else prompt.due_s
    return (due_s if prompt.issued_s is None else prompt.issued_s, due_s)


def _is_added(prompt: _Issued) -> bool:
    return prompt.origin is PromptOrigin.ADDED


def _is_at_an_end(prompt: _Issued) -> bool:
    return prompt.origin in {PromptOrigin.OPENING, PromptOrigin.CLOSING}


def _issued(log: SessionLog, record_of: RecordOf) -> list[_Issued]:
    """Return the prompts that went out, in the order of the log.

    One is open at a time, so what follows an issue, up to the next, speaks of that prompt.
    """
    found: list[list[LoggedLeaf]] = []
    for logged in log.leaves:
        if logged.leaf.kind == ISSUED:
            found.append([logged])
        elif found:
            found[-1].append(logged)
    return [_read(first, after, record_of) for first, *after in found]


def _read(first: LoggedLeaf, after: Sequence[LoggedLeaf], record_of: RecordOf) -> _Issued:
    prompt_id, kind = first.fact("prompt_id"), first.fact("kind")
    planned_index = first.fact("planned_index")
    try:
        origin = PromptOrigin(str(first.fact("origin")))
    except ValueError:
        raise InvalidRecordError(f"entry {first.index} names no origin of a prompt") from None
    if not isinstance(prompt_id, str) or not isinstance(kind, str):
        raise InvalidRecordError(f"entry {first.index} names no prompt or no kind")
    if planned_index is not None:
        planned_index = first.whole("planned_index")
    fate, resolved_ms = _fate(prompt_id, after, record_of)
    return _Issued(
        leaf=first,
        prompt_id=prompt_id,
        origin=origin,
        kind=kind,
        planned_index=planned_index,
        issued_ms=first.whole("issued_ms"),
        fate=fate,
        resolved_ms=resolved_ms,
    )


def _fate(
    prompt_id: str, after: Sequence[LoggedLeaf], record_of: RecordOf
) -> tuple[Fate, int | None]:
    """Return what became of a prompt, and when where that is told."""
    missed = next(
        (m for m in after if (m.leaf.kind, m.fact("prompt_id")) == (MISSED, prompt_id)), None
    )
    if missed is not None:
        told = missed.fact("missed_ms")
        return Fate.MISSED, told if isinstance(told, int) else None
    answers = [logged for logged in after if logged.leaf.kind in _ANSWERS]
    if not answers:
        return Fate.MISSED, None  # it was open when the session ended
    record = record_of(answers[-1])
    if not record or record.get("prompt_id") != prompt_id:
        return Fate.ANSWERED, None
    fates = {Judgement.PASS: Fate.PASSED, Judgement.REFER: Fate.REFERRED}
    # One that was asked again and never passed was missed.
    fate = next((f for j, f in fates.items() if record.get("answer") == j), Fate.MISSED)
    check = record.get("check")
    at_s = check.get("t") if isinstance(check, Mapping) else None
    return fate, round(1000 * at_s) if isinstance(at_s, int | float) else None


def _silences(told: Any) -> list[Pause]:
    try:
        return [Pause(start_s=start / 1000, end_s=end / 1000) for start, end in told]
    except (TypeError, ValueError, VerifierError) as error:
        raise InvalidRecordError("silences_ms is no list of stretches") from error


def _scheduled(course: _Course, issued: Sequence[_Issued]) -> list[ProvenPrompt]:
    went_out = [prompt for prompt in issued if prompt.origin is PromptOrigin.SCHEDULED]
    told = [
        IssuedPrompt(
            index=-1 if prompt.planned_index is None else prompt.planned_index,
            kind=prompt.kind,
            issued_s=prompt.issued_ms / 1000,
        )
        for prompt in went_out
    ]
    verdict = verify_schedule(
        course.promise, told, ended_s=course.ended_s, silences=course.silences
    )
    due = course.due
    shown = [
        _went_out(prompt, due.get(place.index), is_foreign=place.index in verdict.foreign)
        for prompt, place in zip(went_out, told, strict=True)
    ]
    silent = due.keys() - {place.index for place in told}
    for index in sorted(silent):
        absent = ProvenPrompt(
            origin=PromptOrigin.SCHEDULED,
            kind=due[index].kind,
            index=index,
            due_s=due[index].offset_s,
        )
        if index in verdict.missing:
            fault = "it was due and never went out"
            shown.append(replace(absent, faults=(fault,)))
        else:
            shown.append(replace(absent, why=_excuse(course, due[index])))
    return shown


def _went_out(prompt: _Issued, due: PlannedPrompt | None, *, is_foreign: bool) -> ProvenPrompt:
    return ProvenPrompt(
        origin=prompt.origin,
        kind=prompt.kind,
        index=prompt.planned_index,
        due_s=None if due is None else due.offset_s,
        issued_s=prompt.issued_ms / 1000,
        fate=prompt.fate,
        faults=("it does not follow from the seed",) if is_foreign else (),
    )


def _excuse(course: _Course, due: PlannedPrompt) -> Why:
    """Return why a prompt of the schedule may be missing: of which kind its silence was."""
    around = [pause for pause in course.silences if pause.start_s <= due.offset_s <= pause.end_s]
    issued_s = {logged.whole("issued_ms") / 1000 for logged in course.log.of_kind(ISSUED)}
    locked_s = {logged.whole("from_ms") / 1000 for logged in course.log.of_kind(PAUSED)}
    if not around:
        return Why.AT_THE_END  # due in the very millisecond of the end: it may go out
    if any(pause.start_s == 0 for pause in around):
        return Why.BEFORE_OPENING
    if any(pause.start_s in issued_s and pause.end_s == course.ended_s for pause in around):
        return Why.PROMPT_OPEN
    if any(pause.start_s in locked_s for pause in around):
        return Why.LOCKED_OUT
    return Why.ENGINE_AWAY


def _added(
    prompt: _Issued, issued: Sequence[_Issued], course: _Course, policy: Policy | None
) -> ProvenPrompt:
    shown = _unplanned(prompt)
    because = prompt.leaf.fact("added_because")
    if because == AddedBecause.SUPERVISOR:
        return replace(shown, why=Why.SUPERVISOR)
    if because != AddedBecause.POSTERIOR:
        return replace(shown, faults=("it was added and no reason is given",))
    after_index = prompt.leaf.whole("after_index")
    shown = replace(shown, why=Why.POSTERIOR, index=after_index)
    before = [
        p for p in issued if p.planned_index == after_index and p.issued_ms <= prompt.issued_ms
    ]
    if not before or before[-1].fate is Fate.PASSED:
        return replace(shown, faults=(f"prompt {after_index} was not missed before it",))
    if policy is None:
        return replace(shown, faults=("the policy that says when it is due was not given",))
    gap_ms = course.planned.added_gap_ms(
        after_index, min_gap_s=policy.added.min_gap_s, mean_gap_s=policy.added.mean_gap_s
    )
    return _timed(shown, prompt, before[-1], gap_ms)


def _timed(shown: ProvenPrompt, prompt: _Issued, before: _Issued, gap_ms: int) -> ProvenPrompt:
    """Say when a prompt that a falling posterior added was due, and whether it kept to that."""
    told = prompt.leaf.fact("after_ms")
    resolved_ms = before.resolved_ms if before.resolved_ms is not None else told
    if not isinstance(resolved_ms, int):
        return replace(shown, faults=("when the prompt before it was resolved is not told",))
    faults = []
    if isinstance(told, int) and abs(told - resolved_ms) > _ROUNDING_MS:
        faults.append("it names another moment at which the prompt before it was resolved")
    if not before.issued_ms <= resolved_ms:
        faults.append("the prompt before it was resolved before it went out")
    if prompt.issued_ms < resolved_ms + gap_ms - _ROUNDING_MS:
        faults.append("it went out before it was due")
    return replace(shown, due_s=(resolved_ms + gap_ms) / 1000, faults=tuple(faults))


def _unplanned(prompt: _Issued) -> ProvenPrompt:
    return ProvenPrompt(
        origin=prompt.origin,
        kind=prompt.kind,
        issued_s=prompt.issued_ms / 1000,
        fate=prompt.fate,
    )
