"""How often a template is compared with in a day: a score that is asked often enough is a hill.

What an answer tells is one of three outcomes, whatever number of frames it had; so an answer is
one comparison, and so is an enrolment that was compared with an earlier one. The two are counted
apart: whoever may enrol a learner, any platform that knows name and number, must not use up what
the learner's own answers are compared with. Counted is, in the unit of work that makes it true,
whatever was told. A place is reserved before anybody looks at a face, so that answers which are
judged at the same time cannot together pass the limit.

Reservations are in memory: what was not told before a crash taught nobody anything, and an
archive has one process that writes to it.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Lock

from pipelines.lesson_store import (
    ComparisonPurpose,
    FoundCase,
    LessonReader,
    LessonStore,
    LessonUnit,
    StoredEnrolment,
)
from verifier.eligibility_facts import china_day
from verifier.errors import UnknownSubjectError
from verifier.policy_groups import ComparisonRules
from verifier.protocols import Clock
from verifier.review_case import CaseKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Leave to compare with a learner's template once; ``granted`` False: it is used up today.

    ``enrolment`` is the learner's, as of the moment of counting; None: there is none.
    """

    learner_id: str
    purpose: ComparisonPurpose
    at: datetime
    granted: bool
    max_per_day: int
    enrolment: StoredEnrolment | None

    @property
    def required_enrolment(self) -> StoredEnrolment:
        """The enrolment; ``UnknownSubjectError`` if there is none."""
        if self.enrolment is None:
            raise UnknownSubjectError("this learner is not enrolled")
        return self.enrolment

    @property
    def day(self) -> date:
        """The day that it counts for, wherever the day has got to meanwhile."""
        return china_day(self.at)

    def settle(self, unit: LessonUnit, *, compared: bool) -> None:
        """Count the comparison, if it was made; of an answer beyond the limit open a case.

        None of an enrolment: it holds the learner's payment up, and others may try to enrol them.
        To be called in the unit of work that lets the outcome be told, once.
        """
        if self.granted and compared:
            unit.count_comparison(self.learner_id, self.day, self.purpose)
        elif not self.granted and self.purpose is ComparisonPurpose.ANSWER:
            unit.open_case(
                FoundCase(
                    kind=CaseKind.TOO_MANY_COMPARISONS,
                    learner_id=self.learner_id,
                    at=self.at,
                    details={"day": self.day.isoformat(), "max_per_day": self.max_per_day},
                )
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonBudget:
    """Grants comparisons, day by day of China time; safe for threads.

    One for all who compare with the same templates: engine and enroller share it.
    """

    store: LessonStore
    clock: Clock
    rules: ComparisonRules
    _reserved: Counter[tuple[str, date, ComparisonPurpose]] = field(
        default_factory=Counter, init=False, repr=False
    )
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @contextmanager
    def reserve(self, learner_id: str, purpose: ComparisonPurpose) -> Iterator[Reservation]:
        """Reserve a comparison for as long as the block lasts, in which it has to be settled.

        Raises
        ------
        LedgerError
            If the store cannot say how many there were.
        """
        now = self.clock.now()
        key = learner_id, china_day(now), purpose
        with self._lock:
            ahead = self._reserved[key]
            self._reserved[key] += 1
        try:
            # Counted after the look at who is ahead: whoever has gone since is in this count.
            with self.store.reading() as unit:
                count = unit.comparison_count(*key)
                enrolment = _enrolment(unit, learner_id)
            limit = self._limit(purpose)
            yield Reservation(
                learner_id=learner_id,
                purpose=purpose,
                at=now,
                granted=count + ahead < limit,
                max_per_day=limit,
                enrolment=enrolment,
            )
        finally:
            with self._lock:
                self._reserved[key] -= 1
                if not self._reserved[key]:
                    del self._reserved[key]

    def _limit(self, purpose: ComparisonPurpose) -> int:
        if purpose is ComparisonPurpose.ENROLMENT:
            return self.rules.max_enrolments_per_learner_day
        return self.rules.max_per_learner_day


def _enrolment(unit: LessonReader, learner_id: str) -> StoredEnrolment | None:
    try:
        return unit.enrolment(learner_id)
    except UnknownSubjectError:
        return None
