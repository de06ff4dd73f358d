"""What a platform claims against what the engine saw: 凡补必进、不进不补.

A claim earns nothing by itself. It is set beside the sessions that the engine held with that
learner in that class; where there are none, nothing was seen and nothing is credited.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from verifier.credit import Credit
from verifier.errors import InvalidRecordError
from verifier.session_score import SessionScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Seconds that a platform says a learner attended in a class."""

    learner_id: str
    class_id: str
    claimed_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.claimed_s) and self.claimed_s >= 0):
            raise InvalidRecordError(f"claimed {self.claimed_s} s; a finite number >= 0 was wanted")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAccount:
    """What one session of that learner in that class came to."""

    session_id: str
    learner_id: str
    class_id: str
    started_at: datetime
    ended_at: datetime
    score: SessionScore
    credit: Credit


class SettlementReason(StrEnum):
    """How a claim stands beside what was seen."""

    NO_SESSION = "NO_SESSION"
    CLAIM_EXCEEDS_VERIFIED = "CLAIM_EXCEEDS_VERIFIED"
    UNDER_REVIEW = "UNDER_REVIEW"
    SETTLED = "SETTLED"


SETTLEMENT_TEXT: Final[Mapping[SettlementReason, tuple[str, str]]] = MappingProxyType(
    {
        SettlementReason.NO_SESSION: (
            "系统内没有任何验证记录：不进不补，不计学时",
            "The engine held no session and saw nothing: nothing is credited.",
        ),
        SettlementReason.CLAIM_EXCEEDS_VERIFIED: (
            "平台上报的时长超过核验到的时长，差额不计",
            "More was claimed than was verified; the difference is not credited.",
        ),
        SettlementReason.UNDER_REVIEW: (
            "部分时长待人工复核",
            "Some of the time waits for a person's review.",
        ),
        SettlementReason.SETTLED: ("全部时长已核验", "All of the time was verified."),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A claim and what became of it, in seconds; the claim itself moves none of the others."""

    claim: Claim
    verified_mean_s: float
    verified_lower95_s: float
    credited_s: float
    pending_s: float
    reasons: tuple[SettlementReason, ...]


def settle(claim: Claim, sessions: Sequence[SessionAccount]) -> Settlement:
    """Set a claim beside the sessions held with that learner in that class.

    ``verified_lower95_s`` adds the sessions' bounds, which understates the sum's own bound.

    Raises
    ------
    InvalidRecordError
        If a session is of another learner or class, is given twice, or overlaps another: the same
        minutes would be paid twice.
    """
    _require_own(claim, sessions)
    require_apart((s.session_id, s.started_at, s.ended_at) for s in sessions)
    verified_s = 60 * math.fsum(s.score.verified_mean_minutes for s in sessions)
    credited_s = math.fsum(s.credit.credited_s for s in sessions)
    pending_s = math.fsum(s.credit.pending_s for s in sessions)
    return Settlement(
        claim=claim,
        verified_mean_s=verified_s,
        verified_lower95_s=60 * math.fsum(s.score.verified_lower95_minutes for s in sessions),
        credited_s=credited_s,
        pending_s=pending_s,
        reasons=_reasons(claim, sessions, credited_s + pending_s, pending_s),
    )


def _require_own(claim: Claim, sessions: Sequence[SessionAccount]) -> None:
    for session in sessions:
        if (session.learner_id, session.class_id) != (claim.learner_id, claim.class_id):
            raise InvalidRecordError("a session is of another learner or class than the claim")


def require_apart(sessions: Iterable[tuple[str, datetime, datetime]]) -> None:
    """Refuse sessions, as (id, start, end), of one learner that repeat or overlap each other.

    Raises
    ------
    InvalidRecordError
        If an id comes twice, or one session starts before another's end.
    """
    by_time = sorted(sessions, key=lambda session: session[1:])
    if len({session_id for session_id, _, _ in by_time}) != len(by_time):
        raise InvalidRecordError("a session was given twice; each once was wanted")
    for (_, _, ended_at), (_, started_at, _) in pairwise(by_time):
        if started_at < ended_at:
            raise InvalidRecordError("two sessions overlap; nobody attends two lessons at once")


_ROUNDING_S: Final = 60.0  # platforms report whole minutes


def _reasons(
    claim: Claim, sessions: Sequence[SessionAccount], seen_s: float, pending_s: float
) -> tuple[SettlementReason, ...]:
    if not sessions:
        return (SettlementReason.NO_SESSION,)
    found = {
        SettlementReason.CLAIM_EXCEEDS_VERIFIED: claim.claimed_s > seen_s + _ROUNDING_S,
        SettlementReason.UNDER_REVIEW: pending_s > 0,
    }
    return tuple(reason for reason in found if found[reason]) or (SettlementReason.SETTLED,)
