"""What the gate is told about one learner in one class, as it was known at one moment.

Nobody's claim is a fact here except ``claimed_s``, which is what a platform uploaded and moves no
second. What is not on record is None or empty, never a default. The public JSON form is read and
written by :mod:`verifier.eligibility_record`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, date, datetime, timedelta, timezone
from typing import Final

from verifier.assurance import Assurance, LearnerPath
from verifier.claim import require_apart
from verifier.enrolment import Anchor
from verifier.errors import InvalidRecordError
from verifier.list_entry import ListEntry
from verifier.review_case import RESOLUTIONS, CaseKind, CaseResolution
from verifier.session_score import Decision
from verifier.session_state import SessionPhase
from verifier.transparency.canonical_json import JSONValue

CHINA_TIME: Final = timezone(timedelta(hours=8))
"""Days of a class are days in China, which has kept one time without summer time since 1992."""

LEAST_CREDIT_HOURS: Final = 0.01
"""What a class has to ask for: next to nothing would be rounded away, and paid to everybody."""


# Seconds of credit are differences of times on the same clock; more is no rounding.
_ROUNDING_S: Final = 1e-3


def china_day(at: datetime) -> date:
    """Return the day that it is in China."""
    return at.astimezone(CHINA_TIME).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentFact:
    """One period in which the learner consented to face processing, and to which text."""

    version: str
    given_at: datetime
    withdrawn_at: datetime | None
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_texts(self, "version")
        _require_zones(self, "given_at", "withdrawn_at")
        _require_order(self, "given_at", "withdrawn_at")

    def in_force(self, at: datetime) -> bool:
        """Whether consent stood at ``at``; at the moment of withdrawal it no longer does."""
        return self.given_at <= at and (self.withdrawn_at is None or at < self.withdrawn_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFact:
    """One class: who holds it, its opening application, its days, the 学时 it asks for.

    ``starts_on`` and ``ends_on`` are both included; ``required_credit_hours`` is at least 0.01,
    27 seconds of 45-minute hours.
    """

    institution_id: str
    platform_id: str
    applied_at: datetime
    approved_at: datetime | None
    withdrawn_at: datetime | None
    starts_on: date
    ends_on: date
    required_credit_hours: float
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_texts(self, "institution_id", "platform_id")
        _require_zones(self, "applied_at", "approved_at", "withdrawn_at")
        _require_order(self, "applied_at", "approved_at")
        _require_order(self, "applied_at", "withdrawn_at")
        _require_order(self, "starts_on", "ends_on")
        # With nothing asked for, or next to nothing, everybody enrolled would be paid.
        hours = self.required_credit_hours
        enough = math.isfinite(hours) and hours >= LEAST_CREDIT_HOURS
        wanted = f"at least {LEAST_CREDIT_HOURS}"
        _require(enough, "required_credit_hours", hours, wanted)

    @property
    def first_moment(self) -> datetime:
        """The first moment of its first day."""
        day = self.starts_on
        return datetime(day.year, day.month, day.day, tzinfo=CHINA_TIME)

    def meets_on(self, at: datetime) -> bool:
        """Whether ``at`` lies on one of its days, the first and the last included."""
        return self.starts_on <= china_day(at) <= self.ends_on


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterGap:
    """A time off the roster: when the learner was taken off it, and later put on it again."""

    removed_at: datetime
    added_at: datetime
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_zones(self, "removed_at", "added_at")
        later = self.removed_at < self.added_at
        _require(later, "added_at", self.added_at, f"a time after removed_at {self.removed_at}")

    def covers(self, at: datetime) -> bool:
        """Whether the learner was off the roster then; at the moment of returning no longer."""
        return self.removed_at <= at < self.added_at


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterFact:
    """When the learner was first put on the class's roster, and last taken off it.

    ``gaps`` are the times off it in between, in order.
    """

    added_at: datetime
    removed_at: datetime | None
    gaps: tuple[RosterGap, ...] = ()
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_zones(self, "added_at", "removed_at")
        _require_order(self, "added_at", "removed_at")
        moments = (self.added_at, *self._comings_and_goings(), self.removed_at)
        known = [at for at in moments if at is not None]
        wanted = "times off the roster while on it, in order,"
        _require(known == sorted(known), "gaps", len(self.gaps), wanted)

    def _comings_and_goings(self) -> Iterable[datetime]:
        for gap in self.gaps:
            yield from (gap.removed_at, gap.added_at)

    def was_off(self, at: datetime) -> bool:
        """Whether the learner had been on the roster before ``at`` and was not on it then."""
        removed = self.removed_at is not None and self.removed_at <= at
        return removed or any(gap.covers(at) for gap in self.gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentFact:
    """The learner's reference in use: who vouches that the face belongs to the name."""

    anchor: Anchor
    enrolled_at: datetime
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_zones(self, "enrolled_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFact:
    """What one session of the learner in the class came to.

    Attributes
    ----------
    ended_at, decision
        None while the session runs, and only then.
    credited_s, pending_s
        Together no more than its wall-clock time; credited only if the decision is ``accept``.
    anchor
        Of the reference that the learner was compared with then.
    proven
        Whether a signed checkpoint covers every one of its leaves.
    witnesses
        Cosignatures under the checkpoint that its schedule follows from.
    prompts_scheduled, prompts_missed, prompts_passed
        Prompts of the schedule that were resolved, and closing ones that were missed; what is
        neither missed nor passed was referred.
    makes_up
        The earlier session whose misses it was opened to make up for.
    path
        How the learner is known in it.
    """

    session_id: str
    opened_at: datetime
    ended_at: datetime | None
    phase: SessionPhase
    decision: Decision | None
    credited_s: float
    pending_s: float
    anchor: Anchor
    assurance: Assurance
    proven: bool
    witnesses: int = 0
    prompts_scheduled: int = 0
    prompts_missed: int = 0
    prompts_passed: int = 0
    makes_up: str | None = None
    path: LearnerPath = LearnerPath.FACE
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_texts(self, "session_id")
        _require_zones(self, "opened_at", "ended_at")
        _require_order(self, "opened_at", "ended_at")
        over = self.phase.is_final
        wanted = f"{'a value' if over else 'null'} in phase {self.phase}"
        for name in ("ended_at", "decision"):
            value = getattr(self, name)
            _require((value is not None) == over, name, value, wanted)
        self._require_earned()
        self._require_counts()

    def _require_counts(self) -> None:
        for name in ("witnesses", "prompts_scheduled", "prompts_missed", "prompts_passed"):
            count = getattr(self, name)
            _require(count >= 0, name, count, "a count")
        resolved, scheduled = self.prompts_missed + self.prompts_passed, self.prompts_scheduled
        wanted = f"at most prompts_scheduled {scheduled}"
        _require(resolved <= scheduled, "prompts_missed + prompts_passed", resolved, wanted)
        _require(self.makes_up != self.session_id, "makes_up", self.makes_up, "another session")

    def _require_earned(self) -> None:
        for name in ("credited_s", "pending_s"):
            seconds = getattr(self, name)
            _require(math.isfinite(seconds) and seconds >= 0, name, seconds, "a finite number >= 0")
        accepted = self.decision is Decision.ACCEPT
        wanted = f"0 with decision {self.decision}"
        _require(accepted or self.credited_s == 0, "credited_s", self.credited_s, wanted)
        earned_s, most_s = self.credited_s + self.pending_s, self.wall_clock_s + _ROUNDING_S
        # Credit never runs faster than the clock on the wall.
        wanted = f"at most {self.wall_clock_s} s, the session's length"
        _require(earned_s <= most_s, "credited_s + pending_s", earned_s, wanted)

    @property
    def wall_clock_s(self) -> float:
        """How long it lasted; 0 while it runs, since nothing is earned before its end."""
        return 0.0 if self.ended_at is None else (self.ended_at - self.opened_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFact:
    """A case about the learner: what was noticed, and what two persons found; None: not yet."""

    case_id: str
    kind: CaseKind
    opened_at: datetime
    resolution: CaseResolution | None
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_texts(self, "case_id")
        _require_zones(self, "opened_at")
        if self.resolution is not None and self.resolution not in RESOLUTIONS[self.kind]:
            raise InvalidRecordError(f"{self.kind} does not come to {self.resolution}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilityFacts:
    """Everything the gate decides on: one learner, one class, one moment.

    Attributes
    ----------
    as_of
        The moment of the question; nothing that was recorded later may be among the facts.
    registered_at
        When the learner was registered; None: unknown to the system.
    class_fact, roster, enrolment
        None where the system has no such record.
    sessions
        Of this learner in this class; each once, and no two at the same time.
    list_entries
        Every entry that may concern the learner, the institution or the platform.
    claimed_s
        What the platform uploaded; None where it uploaded nothing.
    open_cases
        About the learner, on either side, that stand.
    extra
        Keys of the public record that this version does not know, kept and otherwise ignored.

    Raises
    ------
    InvalidRecordError
        If an id is empty, a time has no zone or lies after ``as_of``, a session or an entry is
        given twice, or two sessions overlap: the same minutes would be paid twice.
    """

    learner_id: str
    class_id: str
    as_of: datetime
    registered_at: datetime | None = None
    consents: tuple[ConsentFact, ...] = ()
    class_fact: ClassFact | None = None
    roster: RosterFact | None = None
    enrolment: EnrolmentFact | None = None
    sessions: tuple[SessionFact, ...] = ()
    list_entries: tuple[ListEntry, ...] = ()
    claimed_s: float | None = None
    open_cases: tuple[CaseFact, ...] = ()
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_texts(self, "learner_id", "class_id")
        _require_zones(self, "as_of", "registered_at")
        # The day in China of a moment in UTC's last hours could not be told.
        _require(self.as_of.year < MAXYEAR, "as_of", self.as_of, f"a year before {MAXYEAR}")
        claimed_s = 0.0 if self.claimed_s is None else self.claimed_s
        valid = math.isfinite(claimed_s) and claimed_s >= 0
        _require(valid, "claimed_s", claimed_s, "a finite number >= 0")
        self._require_known_by_then()
        require_apart((s.session_id, s.opened_at, s.ended_at or self.as_of) for s in self.sessions)
        self._require_each_once("list_entries", [entry.entry_id for entry in self.list_entries])
        self._require_each_once("open_cases", [case.case_id for case in self.open_cases])

    def _require_each_once(self, name: str, ids: Sequence[str]) -> None:
        _require(len(set(ids)) == len(ids), name, len(ids), "each of them once")

    def _require_known_by_then(self) -> None:
        """Refuse what came to be known later: a decision of that moment cannot rest on it."""
        for name, at in self._recorded():
            wanted = f"at most as_of {self.as_of.isoformat()}"
            _require(at is None or at <= self.as_of, name, at, wanted)

    def _recorded(self) -> Iterable[tuple[str, datetime | None]]:
        yield "registered_at", self.registered_at
        groups: Mapping[str, tuple[Iterable[object], tuple[str, ...]]] = {
            "consents": (self.consents, ("given_at", "withdrawn_at")),
            "class": ([self.class_fact], ("applied_at", "approved_at", "withdrawn_at")),
            "roster": ([self.roster], ("added_at", "removed_at")),
            "roster gaps": (self.roster.gaps if self.roster else (), ("added_at",)),
            "enrolment": ([self.enrolment], ("enrolled_at",)),
            "sessions": (self.sessions, ("opened_at", "ended_at")),
            "list_entries": (self.list_entries, ("proposed_at", "approved_at")),
            "open_cases": (self.open_cases, ("opened_at",)),
        }
        for group, (records, names) in groups.items():
            for record in records:
                for name in names:
                    yield f"{group}: {name}", getattr(record, name, None)

    @property
    def event(self) -> datetime | None:
        """What everything had to precede: the first session, else the class's first day."""
        if self.sessions:
            return min(session.opened_at for session in self.sessions)
        return None if self.class_fact is None else self.class_fact.first_moment

    @property
    def openings(self) -> tuple[datetime, ...]:
        """When sessions were opened, by time."""
        return tuple(sorted(session.opened_at for session in self.sessions))


def _require_texts(record: object, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        _require(bool(value.strip()), name, value, "a non-empty text")


def _require_zones(record: object, *names: str) -> None:
    for name in names:
        at: datetime | None = getattr(record, name)
        _require(at is None or at.utcoffset() is not None, name, at, "a time with a zone")


def _require_order(record: object, earlier: str, later: str) -> None:
    first, then = getattr(record, earlier), getattr(record, later)
    _require(then is None or first <= then, later, then, f"{earlier} {first} or later")


def _require(holds: bool, name: str, seen: object, wanted: str) -> None:
    if not holds:
        raise InvalidRecordError(f"{name} is {seen}; {wanted} was wanted")
