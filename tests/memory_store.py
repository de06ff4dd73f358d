"""A store of lessons in memory: one unit of work at a time, all of it or nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from threading import RLock

from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import Lesson
from pipelines.lesson_store import ComparisonPurpose, FoundCase, StoredEnrolment
from verifier.errors import LedgerError, ProtocolError, UnknownSubjectError
from verifier.playback import Stretch
from verifier.prompt import Judgement, PromptKind


@dataclass(kw_only=True)
class _Contents:
    """Everything that is kept."""

    lessons: dict[str, Lesson] = field(default_factory=dict)
    enrolments: dict[str, StoredEnrolment] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)
    comparisons: Counter[tuple[str, date, ComparisonPurpose]] = field(default_factory=Counter)
    cases: list[FoundCase] = field(default_factory=list)
    playback: dict[str, list[Stretch]] = field(default_factory=dict)

    def copied(self) -> "_Contents":
        return _Contents(
            lessons=copy(self.lessons),
            enrolments=copy(self.enrolments),
            entries=copy(self.entries),
            comparisons=copy(self.comparisons),
            cases=copy(self.cases),
            playback={session_id: [*found] for session_id, found in self.playback.items()},
        )


class MemoryUnit:
    """A `pipelines.lesson_store.LessonUnit` over a copy of what is kept."""

    def __init__(self, contents: _Contents, learners: set[str]) -> None:
        self.contents, self._learners = contents, learners

    def lesson(self, session_id: str) -> Lesson:
        if session_id not in self.contents.lessons:
            raise UnknownSubjectError("there is no session with that id")
        return self.contents.lessons[session_id]

    def enrolment(self, learner_id: str) -> StoredEnrolment:
        if learner_id not in self.contents.enrolments:
            raise UnknownSubjectError("this learner is not enrolled")
        return self.contents.enrolments[learner_id]

    def lock_learner(self, learner_id: str) -> None:
        if learner_id not in self._learners:
            raise UnknownSubjectError("there is no learner with that id")

    def unfinished_of(self, learner_id: str) -> list[Lesson]:
        found = self.contents.lessons.values()
        return [x for x in found if x.end is None and x.header.learner_id == learner_id]

    def failed_answers(self, learner_id: str, *, since: datetime) -> list[datetime]:
        lessons = self.contents.lessons.values()
        prompts = [p for x in lessons if x.header.learner_id == learner_id for p in x.state.prompts]
        answered = [p for p in prompts if p.kind is not PromptKind.OFFICER_CALL]
        attempts = [attempt for prompt in answered for attempt in prompt.attempts]
        return [x.at for x in attempts if x.judgement is not Judgement.PASS and x.at >= since]

    def session_count(self, learner_id: str, class_id: str) -> int:
        wanted = (learner_id, class_id)
        headers = [lesson.header for lesson in self.contents.lessons.values()]
        return sum((header.learner_id, header.class_id) == wanted for header in headers)

    def add(self, lesson: Lesson) -> None:
        assert lesson.header.session_id not in self.contents.lessons
        assert not self.unfinished_of(lesson.header.learner_id)
        self.contents.lessons[lesson.header.session_id] = lesson

    def save(self, lesson: Lesson) -> None:
        session_id = lesson.header.session_id
        if self.contents.lessons[session_id].version != lesson.version:
            raise ProtocolError("session_changed", "somebody else changed the session meanwhile")
        self.contents.lessons[session_id] = replace(lesson, version=lesson.version + 1)

    def append(self, entry: PreparedEntry) -> int:
        self.contents.entries.append(entry.entry)
        return len(self.contents.entries) - 1

    def store_enrolment(self, enrolment: StoredEnrolment) -> None:
        self.contents.enrolments[enrolment.learner_id] = enrolment

    def remove_enrolment(self, learner_id: str) -> bool:
        return self.contents.enrolments.pop(learner_id, None) is not None

    def comparison_count(self, learner_id: str, day: date, purpose: ComparisonPurpose) -> int:
        return self.contents.comparisons[learner_id, day, purpose]

    def count_comparison(self, learner_id: str, day: date, purpose: ComparisonPurpose) -> None:
        self.contents.comparisons[learner_id, day, purpose] += 1

    def playback(self, session_id: str) -> list[Stretch]:
        return self.contents.playback.get(session_id, [])

    def keep_playback(self, session_id: str, *stretches: Stretch) -> None:
        self.contents.playback.setdefault(session_id, []).extend(stretches)

    def open_case(self, case: FoundCase) -> None:
        people = {case.learner_id, case.other_learner_id}
        same = [x for x in self.contents.cases if x.kind is case.kind]
        if people not in [{x.learner_id, x.other_learner_id} for x in same]:
            self.contents.cases.append(case)


class MemoryStore:
    """A `pipelines.lesson_store.LessonStore` and `EntrySource`; ``broken`` refuses commits."""

    def __init__(self) -> None:
        self.learners: set[str] = set()
        self.broken = False
        self.longest_unit = 0  # log entries in one unit of work
        self._contents = _Contents()
        self._lock = RLock()

    @contextmanager
    def reading(self) -> Iterator[MemoryUnit]:
        with self._lock:
            yield MemoryUnit(self._contents.copied(), self.learners)

    @contextmanager
    def writing(self) -> Iterator[MemoryUnit]:
        with self._lock:
            unit = MemoryUnit(self._contents.copied(), self.learners)
            yield unit
            if self.broken:
                raise LedgerError("the store could not be brought to the disk")
            added = len(unit.contents.entries) - len(self._contents.entries)
            self.longest_unit = max(self.longest_unit, added)
            self._contents = unit.contents

    def unfinished(self, *, expired_at: datetime | None = None) -> Sequence[str]:
        lessons = [x for x in self._contents.lessons.values() if x.end is None]
        return [
            lesson.header.session_id
            for lesson in lessons
            if expired_at is None or lesson.expires_at <= expired_at
        ]

    def never_begun(self) -> Sequence[str]:
        lessons = self._contents.lessons.values()
        return [x.header.session_id for x in lessons if x.end is None and x.checkpoint is None]

    def enrolments(self, *, after: str, limit: int) -> list[StoredEnrolment]:
        kept = sorted(self._contents.enrolments.items())
        return [stored for learner_id, stored in kept if learner_id > after][:limit]

    @property
    def cases(self) -> list[FoundCase]:
        """What persons have to look at."""
        return self._contents.cases

    def entry_count(self) -> int:
        return len(self._contents.entries)

    def entries(self, first: int, *, limit: int) -> list[bytes]:
        return self._contents.entries[first : first + limit]
