"""What happens to lessons in the store without a caller: caught up with, abandoned, taken up again.

One whose time ran out is abandoned whoever looks at it; a worker looks at all of them.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from pipelines.evidence_store import EvidenceStore
from pipelines.lesson import Lesson
from pipelines.lesson_course import LessonCourse
from pipelines.lesson_store import LessonStore
from pipelines.recording import Recording, recording
from verifier.errors import ProtocolError, UnknownSubjectError, VerifierError
from verifier.protocols import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonUpkeep:
    """Keeps the lessons in a store up with the clock."""

    store: LessonStore
    evidence: EvidenceStore
    course: LessonCourse
    clock: Clock

    def current(self, session_id: str) -> Lesson:
        """Return a lesson in progress, abandoning it first if its time has run out.

        Raises
        ------
        UnknownSubjectError
            If there is none, or nobody was told of it yet.
        ProtocolError
            ``session_over`` if it has ended.
        """
        with self.store.reading() as unit:
            lesson = in_progress(unit.lesson(session_id))
        require_begun(lesson)  # another thread is opening it; nobody was told its id
        if self.clock.now() >= lesson.expires_at:
            self.abandon(session_id)  # unless somebody else has just done it
            raise _over()
        if self.course.is_far_behind(lesson) and self.catch_up_in_steps(session_id):
            return self.current(session_id)
        return lesson

    def catch_up_in_steps(self, session_id: str) -> bool:
        """Record what fell due long ago, so that no unit of work keeps others waiting for long.

        Say whether anything was recorded. An answer that is being judged holds it up.
        """
        recorded = False
        while self._catch_up_some(session_id):
            recorded = True
        return recorded

    def _catch_up_some(self, session_id: str) -> bool:
        """Record some of it in one unit of work; say whether anything was."""
        with self.store.reading() as unit:
            lesson = unit.lesson(session_id)
        if lesson.checkpoint is None or lesson.end is not None:
            return False
        if not self.course.is_far_behind(lesson):
            return False
        with self._recording() as work:
            before = work.unit.lesson(session_id)
            after = before if before.end else self.course.catch_up_some(work, before)
            if after == before:
                return False
            work.unit.save(after)
        return True

    def abandon(self, session_id: str) -> bool:
        """End a session in a unit of work of its own; say whether it had not ended before."""
        self.catch_up_in_steps(session_id)
        with self._recording() as work:
            lesson = work.unit.lesson(session_id)
            if lesson.end is not None:
                return False
            self.course.end(work, lesson)
            return True

    def end_sessions(self, work: Recording, learner_id: str) -> None:
        """End what a learner has in progress, in a unit of work that has them locked."""
        for open_lesson in work.unit.unfinished_of(learner_id):
            self.course.end(work, open_lesson)

    def abandon_expired(self) -> int:
        """Abandon every session whose time has run out; return how many.

        One that cannot be ended keeps no other from it; its error is raised at the end.
        """
        return _count(self.store.unfinished(expired_at=self.clock.now()), self.abandon)

    def recover(self) -> int:
        """Give up the sessions that a crash left without a schedule; return how many."""
        return _count(self.store.never_begun(), self.abandon)

    def resume_after(self, away_since: datetime) -> int:
        """Take the time since ``away_since`` out of the lessons in progress; return of how many."""
        back_at = self.clock.now()
        unfinished = self.store.unfinished()
        return _count(
            unfinished, lambda session_id: self._interrupt(session_id, away_since, back_at)
        )

    def _interrupt(self, session_id: str, since: datetime, until: datetime) -> bool:
        with self._recording() as work:
            lesson = work.unit.lesson(session_id)
            if lesson.checkpoint is None or lesson.expires_at <= since:
                return False  # it never began, or was over before; it will be abandoned
            work.unit.save(self.course.interrupt(work, lesson, since=since, until=until))
            return True

    def _recording(self) -> AbstractContextManager[Recording]:
        return recording(self.store, self.evidence)


def in_progress(lesson: Lesson) -> Lesson:
    """Return a lesson that has not ended; ``session_over`` for any other."""
    if lesson.end is not None:
        raise _over()
    return lesson


def require_begun(lesson: Lesson) -> None:
    """Raise ``UnknownSubjectError`` for a lesson whose schedule is not fixed yet."""
    if lesson.checkpoint is None:
        raise UnknownSubjectError("there is no session with that id")


def _count(session_ids: Sequence[str], act: Callable[[str], bool]) -> int:
    """Act on each session; return on how many it did. What fails for one is raised at the end."""
    done, failures = 0, list[VerifierError]()
    for session_id in session_ids:
        try:
            done += act(session_id)
        except VerifierError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return done


def _over() -> ProtocolError:
    return ProtocolError("session_over", "the session has ended; close returns its outcome")
