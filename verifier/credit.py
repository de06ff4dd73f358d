"""From passed and missed prompts to seconds that can be paid.

A span runs between two passed checks. With no missed or referred prompt in between it can be
credited; otherwise it waits for a person. Spans that touch are joined. What lies before the first
pass or after the last is in no span and earns nothing: nobody showed who was there.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from verifier.policy_groups import CreditRules
from verifier.session_score import Decision


class SpanState(StrEnum):
    """What became of a span; ``void`` is missing here because only a person may say it."""

    CREDITABLE = "creditable"  # the session has not been decided yet
    CREDITED = "credited"
    PENDING = "pending"


class PendingReason(StrEnum):
    """Why a span is not credited."""

    MISS_WITHIN = "miss_within"
    SESSION_NOT_ACCEPTED = "session_not_accepted"
    BOUND_TOO_LOW = "bound_too_low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A stretch in which the lesson clock stood still, offsets in seconds."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        _require_order(self.start_s, self.end_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch between passed checks, offsets in seconds from the session's start.

    ``paused_s`` is how much of it the lesson clock stood still.
    """

    start_s: float
    end_s: float
    paused_s: float
    state: SpanState
    reason: PendingReason | None = None

    def __post_init__(self) -> None:
        _require_order(self.start_s, self.end_s)

    @property
    def credit_s(self) -> float:
        """Server seconds minus those in which the lesson clock stood still."""
        return max(0.0, self.end_s - self.start_s - self.paused_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What a session earned.

    ``credit_hours`` is ``credited_s`` in 学时, a number with fractions: rounding down to whole
    ones belongs to the class, not to the session.
    """

    credited_s: float
    pending_s: float
    credit_hours: float
    spans: tuple[Span, ...]


def credit_spans(
    *, passes_s: Iterable[float], breaks_s: Iterable[float], pauses: Iterable[Pause]
) -> tuple[Span, ...]:
    """Return the spans between passed checks, by time; order and repeats do not matter.

    Parameters
    ----------
    passes_s
        Offsets of passed checks, the opening one included.
    breaks_s
        Offsets at which prompts were issued that were then missed or referred. One that falls on
        a pass breaks the span that follows it: that prompt went out after the pass.
    pauses
        May overlap; each second is taken off once.
    """
    breaks = sorted(breaks_s)
    stopped = joined(pauses)
    spans: list[Span] = []
    for start_s, end_s in pairwise(sorted(set(passes_s))):
        broken = any(start_s <= at < end_s for at in breaks)
        span = _span(start_s, end_s, broken=broken, pauses=stopped)
        _append(spans, span)
    return tuple(spans)


def credit(
    spans: Sequence[Span], *, decision: Decision, lower95_s: float, rules: CreditRules
) -> Credit:
    """Decide what a session's spans are worth.

    Creditable spans are credited if the session is accepted and ``lower95_s`` (the lower bound of
    the verified seconds) reaches the policy's share of them all; otherwise they are pending.
    """
    span_credit_s = math.fsum(span.credit_s for span in spans if _creditable(span))
    # Rounded before it decides, so that reruns on one machine type agree.
    enough = round(lower95_s, 6) >= round(rules.lower95_share * span_credit_s, 6)
    reason = _why_not(decision, enough=enough)
    decided = tuple(_decide(span, reason) if _creditable(span) else span for span in spans)
    credited_s = _seconds(decided, SpanState.CREDITED)
    return Credit(
        credited_s=credited_s,
        pending_s=_seconds(decided, SpanState.PENDING),
        credit_hours=round(credited_s / (60 * rules.credit_hour_minutes), 6),
        spans=decided,
    )


def joined(pauses: Iterable[Pause]) -> list[Pause]:
    """Return pauses by time, those that overlap or touch made one, so that no second is twice."""
    found: list[Pause] = []
    for pause in sorted(pauses, key=lambda p: p.start_s):
        if found and pause.start_s <= found[-1].end_s:
            last = found.pop()
            pause = replace(last, end_s=max(last.end_s, pause.end_s))  # noqa: PLW2901 - widened
        found.append(pause)
    return found


def _span(start_s: float, end_s: float, *, broken: bool, pauses: Sequence[Pause]) -> Span:
    overlaps = (min(end_s, p.end_s) - max(start_s, p.start_s) for p in pauses)
    return Span(
        start_s=start_s,
        end_s=end_s,
        paused_s=math.fsum(max(0.0, overlap) for overlap in overlaps),
        state=SpanState.PENDING if broken else SpanState.CREDITABLE,
        reason=PendingReason.MISS_WITHIN if broken else None,
    )


def _append(spans: list[Span], span: Span) -> None:
    if spans and spans[-1].end_s == span.start_s and spans[-1].state is span.state:
        last = spans.pop()
        span = replace(span, start_s=last.start_s, paused_s=last.paused_s + span.paused_s)
    spans.append(span)


def _seconds(spans: Sequence[Span], state: SpanState) -> float:
    # Rounded, so that reruns agree and no 691.5360000000001 reaches anybody.
    return round(math.fsum(span.credit_s for span in spans if span.state is state), 6)


def _creditable(span: Span) -> bool:
    return span.state is SpanState.CREDITABLE


def _why_not(decision: Decision, *, enough: bool) -> PendingReason | None:
    if decision is not Decision.ACCEPT:
        return PendingReason.SESSION_NOT_ACCEPTED
    return None if enough else PendingReason.BOUND_TOO_LOW


def _decide(span: Span, reason: PendingReason | None) -> Span:
    state = SpanState.CREDITED if reason is None else SpanState.PENDING
    return replace(span, state=state, reason=reason)


def _require_order(start_s: float, end_s: float) -> None:
    if not (math.isfinite(end_s) and 0 <= start_s <= end_s):
        raise ValueError(f"from {start_s} s to {end_s} s; 0 <= start <= end was wanted")
