"""What a session's entries say of when nothing could be asked, beside the closing leaf's own word.

The closing leaf is written when everybody knows which prompts are missing. So a silence excuses
only what other entries bear out, each of them logged while the lesson went on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipelines.leaf_kinds import ANSWERS, SESSION_OPENED
from pipelines.schedule_leaves import (
    Fate,
    LoggedPause,
    LoggedPrompt,
    RecordOf,
    after_opening_ms,
    logged_pauses,
)
from pipelines.session_log import SessionLog
from verifier.policy import Policy
from verifier.prompt import Judgement, PromptOrigin

ROUNDING_MS: Final = 1
"""Two times in whole milliseconds and the gap between them may each be rounded."""
MINUTE_MS: Final = 60_000
"""How far the clock that dates entries and the one that times prompts may be apart."""
OPEN_AT_MOST_MS: Final = 900_000
"""No prompt waits longer after the last that was heard of it, an officer's call 600 s."""
FAILURES: Final = "failures"
ENGINE_AWAY: Final = "engine_away"


class Why(StrEnum):
    """Why a prompt of the schedule did not go out, or why one went out that is not in it."""

    BEFORE_OPENING = "before_opening_passed"
    LOCKED_OUT = "paused_after_failures"
    CALLED = "officer_call_open"
    ENGINE_AWAY = "engine_away"
    PROMPT_OPEN = "prompt_open_at_end"
    AT_THE_END = "at_the_very_end"
    SUPERVISOR = "supervisor"
    POSTERIOR = "posterior"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A stretch in which nothing could be asked; milliseconds from the session's start.

    ``why``: None where no entry but the closing one says so.
    """

    start_ms: int
    end_ms: int
    why: Why | None

    @property
    def ms(self) -> int:
        """How long it is."""
        return self.end_ms - self.start_ms


def logged_silences(
    log: SessionLog, issued: Sequence[LoggedPrompt], *, ended_ms: int, sent_ms: int
) -> tuple[Silence, ...]:
    """Return every silence that a session's entries bear out.

    Parameters
    ----------
    ended_ms
        When scheduled prompts ceased.
    sent_ms
        When the last prompt of the schedule that went out was due: one due before it would have
        gone out before it.
    """
    pauses = logged_pauses(log)
    opened_ms = _opened_ms(issued, ended_ms)
    paused = [_of_pause(pause) for pause in pauses]
    called = [
        Silence(
            start_ms=prompt.issued_ms,
            end_ms=min(open_until_ms(prompt, issued, pauses), ended_ms),
            why=Why.CALLED,
        )
        for prompt in issued
        if prompt.is_call
    ]
    opening = Silence(start_ms=0, end_ms=opened_ms, why=Why.BEFORE_OPENING)
    since_ms = _queued_since_ms(issued, pauses, ended_ms=ended_ms, sent_ms=sent_ms)
    queue = Silence(start_ms=since_ms, end_ms=ended_ms, why=Why.PROMPT_OPEN)
    found = (opening, *called, *paused, queue)
    return tuple(silence for silence in found if silence.ms > 0)


def open_until_ms(
    prompt: LoggedPrompt, issued: Sequence[LoggedPrompt], pauses: Sequence[LoggedPause]
) -> int:
    """Return up to when a prompt may have kept others waiting, at the latest."""
    place = issued.index(prompt)
    following = issued[place + 1].issued_ms if place + 1 < len(issued) else None
    until_ms = prompt.ended_ms
    if until_ms is None:
        until_ms = prompt.seen_ms + OPEN_AT_MOST_MS
        for pause in sorted(pauses, key=lambda pause: pause.from_ms):
            if prompt.issued_ms <= pause.until_ms and pause.from_ms <= until_ms:
                until_ms += max(0, pause.until_ms - pause.from_ms)
    return until_ms if following is None else min(until_ms, max(following, prompt.issued_ms))


def as_told(start_ms: int, end_ms: int, logged: Sequence[Silence]) -> Silence:
    """Return a silence of the closing leaf with the reason that other entries bear out."""
    at_ms = start_ms
    for silence in sorted(logged, key=lambda silence: silence.start_ms):
        if silence.start_ms <= at_ms + 2 * ROUNDING_MS:
            at_ms = max(at_ms, silence.end_ms)
    within = (s for s in logged if s.start_ms <= end_ms and start_ms <= s.end_ms)
    is_covered = at_ms + 2 * ROUNDING_MS >= end_ms
    first = max(
        within, key=lambda s: min(s.end_ms, end_ms) - max(s.start_ms, start_ms), default=None
    )
    return Silence(
        start_ms=start_ms,
        end_ms=end_ms,
        why=first.why if is_covered and first is not None else None,
    )


def total_s(silences: Sequence[Silence]) -> float:
    """Return how many seconds silences come to; what two of them cover counts once."""
    ms, reached_ms = 0, 0
    for silence in sorted(silences, key=lambda silence: silence.start_ms):
        ms += max(0, silence.end_ms - max(silence.start_ms, reached_ms))
        reached_ms = max(reached_ms, silence.end_ms)
    return ms / 1000


def pause_problems(
    log: SessionLog, issued: Sequence[LoggedPrompt], policy: Policy | None, record_of: RecordOf
) -> list[str]:
    """Return which pauses cannot have been what their entries say."""
    return [
        f"the pause of entry {pause.leaf.index}: {fault}"
        for pause in logged_pauses(log)
        if (fault := _fault(log, pause, issued, policy, record_of)) is not None
    ]


def _fault(
    log: SessionLog,
    pause: LoggedPause,
    issued: Sequence[LoggedPrompt],
    policy: Policy | None,
    record_of: RecordOf,
) -> str | None:
    if not 0 <= pause.from_ms <= pause.until_ms or pause.because not in {FAILURES, ENGINE_AWAY}:
        return "it names no reason, or no stretch of time"
    inside = (pause.from_ms + ROUNDING_MS, pause.until_ms - ROUNDING_MS)
    if any(inside[0] < prompt.issued_ms < inside[1] for prompt in issued):
        return "a prompt went out in it"
    if pause.because == ENGINE_AWAY:
        early = after_opening_ms(log, pause.leaf) < pause.until_ms - MINUTE_MS
        return "it was logged before the engine was back" if early else None
    if (
        policy is not None
        and pause.until_ms - pause.from_ms > 1000 * policy.failures.pause_s + 1000
    ):
        return "it is longer than the policy says"
    return _no_failure(log, pause, record_of)


def _no_failure(log: SessionLog, pause: LoggedPause, record_of: RecordOf) -> str | None:
    """Return why no failed answer can have led to a pause: it is logged with the answer."""
    before = log.leaves[log.leaves.index(pause.leaf) - 1]
    if before.leaf.kind == SESSION_OPENED:
        return None  # what failed in a session before counts on
    if before.leaf.kind not in ANSWERS:
        return "it follows no answer"
    passed = record_of(before).get("answer") == Judgement.PASS
    return "it follows an answer that passed" if passed else None


def _of_pause(pause: LoggedPause) -> Silence:
    away = pause.because == ENGINE_AWAY
    return Silence(
        start_ms=pause.from_ms,
        end_ms=pause.until_ms,
        why=Why.ENGINE_AWAY if away else Why.LOCKED_OUT,
    )


def _opened_ms(issued: Sequence[LoggedPrompt], ended_ms: int) -> int:
    """Return when the opening was passed at the latest; the end if it never was."""
    passed = [p.resolved_ms for p in issued if p.fate is Fate.PASSED and p.resolved_ms is not None]
    later = [p.issued_ms for p in issued if p.origin is not PromptOrigin.OPENING]
    answered = [
        p.seen_ms for p in issued if p.origin is PromptOrigin.OPENING and p.fate is Fate.ANSWERED
    ]
    # Without keys: the last answer to an opening prompt is the one that let the lesson begin.
    known = [*passed, *later, *(answered[-1:] if later else [])]
    return math.floor(min(known, default=ended_ms)) + ROUNDING_MS


def _queued_since_ms(
    issued: Sequence[LoggedPrompt],
    pauses: Sequence[LoggedPause],
    *,
    ended_ms: int,
    sent_ms: int,
) -> int:
    """Return from when on one prompt or pause followed the other without a gap up to the end."""
    taken = [(pause.from_ms, pause.until_ms) for pause in pauses]
    taken += [(p.issued_ms, open_until_ms(p, issued, pauses)) for p in issued]
    since_ms = ended_ms
    for start_ms, stop_ms in sorted(taken, reverse=True):
        if start_ms < since_ms <= stop_ms + 2 * ROUNDING_MS:
            since_ms = start_ms
    return max(since_ms, sent_ms)
