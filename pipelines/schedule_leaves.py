"""The prompts and pauses of one session as its leaves tell of them.

Reads public facts, and of answers the sealed record where somebody can open it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipelines.leaf_kinds import ANSWERS, PROMPT_ISSUED, PROMPT_MISSED, SESSION_PAUSED
from pipelines.session_log import LoggedLeaf, SessionLog
from verifier.errors import InvalidRecordError
from verifier.prompt import RECEIVING_S, Judgement, PromptKind, PromptOrigin
from verifier.transparency.canonical_json import JSONValue

RecordOf = Callable[[LoggedLeaf], Mapping[str, JSONValue]]
"""Returns a leaf's sealed record; empty where nobody can open it."""


class Fate(StrEnum):
    """What became of a prompt that went out."""

    PASSED = "passed"
    REFERRED = "referred"
    MISSED = "missed"
    ANSWERED = "answered"  # what the answer was found to be is sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedPrompt:
    """A prompt as its leaves tell of it; times in whole milliseconds from the session's start.

    Attributes
    ----------
    resolved_ms
        None: not told, and no record of an answer could be opened.
    ended_ms
        From when it kept no other one waiting; None: nothing says so, it may still have been open.
    seen_ms
        When the last sign of it was logged, at the latest.
    answered_elsewhere
        Whether what was logged as an answer to it is, by its record, one to another prompt.
    """

    leaf: LoggedLeaf
    prompt_id: str
    origin: PromptOrigin
    kind: str
    planned_index: int | None
    issued_ms: int
    fate: Fate
    resolved_ms: int | None
    ended_ms: int | None
    seen_ms: int
    answered_elsewhere: bool

    @property
    def is_call(self) -> bool:
        """Whether an officer was to answer it."""
        return self.kind == PromptKind.OFFICER_CALL


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedPause:
    """A pause as it was logged before anybody could know what it would excuse."""

    leaf: LoggedLeaf
    because: JSONValue
    from_ms: int
    until_ms: int


def logged_prompts(log: SessionLog, record_of: RecordOf) -> tuple[LoggedPrompt, ...]:
    """Return the prompts that went out, in the order of the log.

    One is open at a time, so what follows an issue, up to the next, speaks of that prompt.

    Raises
    ------
    InvalidRecordError
        If a leaf's facts are not what they should be.
    """
    found: list[list[LoggedLeaf]] = []
    for logged in log.leaves:
        if logged.leaf.kind == PROMPT_ISSUED:
            found.append([logged])
        elif found:
            found[-1].append(logged)
    return tuple(_read(log, first, after, record_of) for first, *after in found)


def logged_pauses(log: SessionLog) -> tuple[LoggedPause, ...]:
    """Return the pauses in the order of the log; errors as `logged_prompts`."""
    return tuple(
        LoggedPause(
            leaf=logged,
            because=logged.fact("because"),
            from_ms=logged.whole("from_ms"),
            until_ms=logged.whole("until_ms"),
        )
        for logged in log.of_kind(SESSION_PAUSED)
    )


def after_opening_ms(log: SessionLog, logged: LoggedLeaf) -> int:
    """Return the time of a leaf since that of the opening leaf.

    A session starts when its schedule is fixed, some seconds after that leaf: by so much this is
    more than the same moment counted from the start.
    """
    return round(1000 * (logged.leaf.time - log.leaves[0].leaf.time).total_seconds())


def _read(
    log: SessionLog, first: LoggedLeaf, after: Sequence[LoggedLeaf], record_of: RecordOf
) -> LoggedPrompt:
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
    answers = [logged for logged in after if logged.leaf.kind in ANSWERS]
    records = [record for record in map(record_of, answers) if record]
    fate, resolved_ms, ended_ms = _fate(prompt_id, after, answers, records)
    issued_ms = first.whole("issued_ms")
    return LoggedPrompt(
        leaf=first,
        prompt_id=prompt_id,
        origin=origin,
        kind=kind,
        planned_index=planned_index,
        issued_ms=issued_ms,
        fate=fate,
        resolved_ms=resolved_ms,
        ended_ms=ended_ms,
        seen_ms=max([issued_ms, *(after_opening_ms(log, answer) for answer in answers)]),
        answered_elsewhere=any(record.get("prompt_id") != prompt_id for record in records),
    )


def _fate(
    prompt_id: str,
    after: Sequence[LoggedLeaf],
    answers: Sequence[LoggedLeaf],
    records: Sequence[Mapping[str, JSONValue]],
) -> tuple[Fate, int | None, int | None]:
    """Return what became of a prompt, when, and from when it kept no other waiting."""
    missed = next(
        (m for m in after if (m.leaf.kind, m.fact("prompt_id")) == (PROMPT_MISSED, prompt_id)), None
    )
    if missed is not None:
        missed_ms = missed.whole("missed_ms")
        return Fate.MISSED, missed_ms, missed_ms + 1000 * RECEIVING_S
    if not answers:
        return Fate.MISSED, None, None  # it was open when the session ended
    if not records:
        return Fate.ANSWERED, None, None
    last = records[-1]
    check = last.get("check")
    at_s = check.get("t") if isinstance(check, Mapping) else None
    resolved_ms = round(1000 * at_s) if isinstance(at_s, int | float) else None
    fates = {Judgement.PASS: Fate.PASSED, Judgement.REFER: Fate.REFERRED}
    fate = next((f for j, f in fates.items() if last.get("answer") == j), None)
    if fate is None or last.get("prompt_id") != prompt_id:
        # One that was asked again and never passed was missed, who knows when.
        return Fate.MISSED, resolved_ms, None
    return fate, resolved_ms, resolved_ms
