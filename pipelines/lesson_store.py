"""Ports to where lessons are kept: everything in a unit of work becomes true, or none of it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import Lesson
from verifier.enrolment import Anchor
from verifier.playback import Stretch
from verifier.review_case import CaseKind
from verifier.transparency.canonical_json import JSONValue


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEnrolment:
    """A learner's template as it is kept: sealed under the learner's own key."""

    learner_id: str
    contract_id: str
    sealed_template: bytes = field(repr=False)
    anchor: Anchor
    enrolled_at: datetime
    evidence_id: str  # of the enrolment's leaf
    authority_reference: str | None = None  # under which an identity authority vouched


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCase:
    """Something that a person has to look at; whom it is about is told nothing of it.

    ``details`` are for reviewers only, and kept sealed: scores are in them.
    """

    kind: CaseKind
    learner_id: str
    at: datetime
    details: Mapping[str, JSONValue] = field(repr=False)
    other_learner_id: str | None = None


class ComparisonPurpose(StrEnum):
    """What a face was compared for; counted apart, so that neither uses the other's up."""

    ANSWER = "answer"  # to a prompt
    ENROLMENT = "enrolment"  # over the learner's earlier one


class LessonReader(Protocol):
    """What may be read; all of it as of one moment."""

    def lesson(self, session_id: str) -> Lesson:
        """Return a lesson, in progress or ended; ``UnknownSubjectError`` if there is none.

        In a unit of work it is locked until the unit ends: no other unit can change it.
        """

    def enrolment(self, learner_id: str) -> StoredEnrolment:
        """Return a learner's enrolment; ``UnknownSubjectError`` if there is none."""

    def comparison_count(self, learner_id: str, day: date, purpose: ComparisonPurpose) -> int:
        """Return how often a face was compared with the learner's template that day, and for it."""

    def playback(self, session_id: str) -> Sequence[Stretch]:
        """Return what heartbeats of a session came to, by time; none if there were none."""


class LessonUnit(LessonReader, Protocol):
    """One unit of work.

    Every method raises ``LedgerError`` where the store cannot do it; nothing of the unit is kept
    then.
    """

    def lock_learner(self, learner_id: str) -> None:
        """Let no other unit open a session of this learner; ``UnknownSubjectError`` if unknown."""

    def unfinished_of(self, learner_id: str) -> Sequence[Lesson]:
        """Return the learner's lessons that have not ended, locked."""

    def failed_answers(self, learner_id: str, *, since: datetime) -> Sequence[datetime]:
        """Return when the learner's answers failed since a moment, in any session and order.

        All that were judged and not passed; what an officer recorded of a call is none.
        """

    def session_count(self, learner_id: str, class_id: str) -> int:
        """Return how many sessions of the learner in the class were ever opened."""

    def add(self, lesson: Lesson) -> None:
        """Keep a new lesson; its ``version`` is 0."""

    def save(self, lesson: Lesson) -> None:
        """Keep a changed lesson, whose ``version`` is what was read; the store counts it up.

        Raises
        ------
        ProtocolError
            ``session_changed`` if somebody else saved it since.
        """

    def append(self, entry: PreparedEntry) -> int:
        """Give a log entry the next place and return it, 0-based and without gaps."""

    def store_enrolment(self, enrolment: StoredEnrolment) -> None:
        """Keep an enrolment over an earlier one."""

    def remove_enrolment(self, learner_id: str) -> bool:
        """Remove a learner's enrolment, sealed template and all; say whether there was one."""

    def count_comparison(self, learner_id: str, day: date, purpose: ComparisonPurpose) -> None:
        """Count one more comparison with the learner's template that day."""

    def open_case(self, case: FoundCase) -> None:
        """Have a person look at something; if the same is open already, nothing is added."""


class EnrolmentSource(Protocol):
    """Knows everybody who is enrolled."""

    def enrolments(self, *, after: str, limit: int) -> Sequence[StoredEnrolment]:
        """Return the first ``limit`` enrolments by learner's id, of ids above ``after``."""


class LessonStore(EnrolmentSource, Protocol):
    """Opens units of work; safe for threads."""

    def reading(self) -> AbstractContextManager[LessonReader]:
        """Return a unit that only reads."""

    def writing(self) -> AbstractContextManager[LessonUnit]:
        """Return a unit that is committed, durably, when its block ends without an exception.

        Raises
        ------
        LedgerError
            If the store is busy, full or gone: nothing of the unit is kept.
        UncertainOutcomeError
            If it went away in the very act of committing.
        """

    def unfinished(self, *, expired_at: datetime | None = None) -> Sequence[str]:
        """Return the ids of lessons that have not ended, or only those that expired by then."""

    def never_begun(self) -> Sequence[str]:
        """Return the ids of lessons that have not ended and never got their schedule."""


class EntrySource(Protocol):
    """The log's entries in their order, as acknowledged."""

    def entry_count(self) -> int:
        """Return how many there are."""

    def entries(self, first: int, *, limit: int) -> Sequence[bytes]:
        """Return up to ``limit`` entries from index ``first`` on."""
