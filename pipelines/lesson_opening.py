"""How a lesson begins: promised in the log first, then let run."""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipelines.archive import Archive
from pipelines.calibration_book import CalibrationBook
from pipelines.lesson import FirstCheckpoint, Lesson
from pipelines.lesson_input import require_ids, require_minutes
from pipelines.lesson_records import opened_entry
from pipelines.lesson_store import LessonStore, LessonUnit
from pipelines.lesson_terms import parameters_of
from pipelines.lesson_upkeep import LessonUpkeep, in_progress
from pipelines.recording import Recording, recording
from verifier import session as acts
from verifier.assurance import Assurance, LearnerPath
from verifier.enrolment import Anchor
from verifier.errors import InputError
from verifier.policy import Policy
from verifier.protocols import Clock
from verifier.schedule import ScheduleHeader, commitment


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants a lesson to be; see `pipelines.lesson.Lesson` for each field."""

    learner_id: str
    class_id: str
    platform_id: str
    planned_minutes: float
    assurance: Assurance
    path: LearnerPath
    grant_id: str | None
    extra_time: bool
    makes_up: str | None

    @property
    def shows_face(self) -> bool:
        """Whether the learner is known by the face."""
        return self.path is LearnerPath.FACE

    def require_sound(self) -> None:
        """Raise ``InputError`` for what no lesson is."""
        require_ids(self.learner_id, class_id=self.class_id, platform_id=self.platform_id)
        require_minutes(self.planned_minutes)
        if self.shows_face != (self.grant_id is None):
            raise InputError("a grant goes with the non-face path, and with no other")


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonOpening:
    """Opens lessons: a secret committed to, a checkpoint that nobody could choose, then the start.

    See `pipelines.lesson_engine.LessonEngine.open` for the order, which is the point.
    """

    store: LessonStore
    archive: Archive
    calibrations: CalibrationBook
    upkeep: LessonUpkeep
    policy: Policy
    clock: Clock

    def open(
        self,
        wish: Wish,
        *,
        anchor: Anchor,
        require: Callable[[LessonUnit], None],
        also: Callable[[LessonUnit, str], None],
    ) -> str:
        """Open a session and return its id; ``anchor``: who vouches for the learner in it."""
        self.archive.publish()  # a log that cannot be signed must not cost a running lesson
        header = ScheduleHeader(
            session_id=secrets.token_hex(16),
            learner_id=wish.learner_id,
            class_id=wish.class_id,
            platform_id=wish.platform_id,
            policy_digest=self.policy.digest,
            parameters=parameters_of(self.policy, wish.assurance, wish.path),
            opened_at=self.clock.now(),
        )
        opened_index = self._promise(wish, header, anchor, require)
        checkpoint = self.archive.first_checkpoint_with(opened_index)
        first = FirstCheckpoint(
            size=checkpoint.size, root=checkpoint.root, cosignatures=checkpoint.cosignatures
        )
        with self._recording() as work:
            lesson = in_progress(work.unit.lesson(header.session_id))
            work.unit.save(self._begin(work, lesson, first))
            also(work.unit, header.session_id)
        return header.session_id

    def _promise(
        self,
        wish: Wish,
        header: ScheduleHeader,
        anchor: Anchor,
        require: Callable[[LessonUnit], None],
    ) -> int:
        """Keep a session that has no schedule yet, its commitment in the log; return its index."""
        secret = secrets.token_bytes(32)
        calibration = self.calibrations.current() if wish.shows_face else None
        with self._recording() as work:
            work.unit.lock_learner(header.learner_id)
            if wish.shows_face:
                work.unit.enrolment(header.learner_id)  # or the face was erased meanwhile
            require(work.unit)
            self.upkeep.end_sessions(work, header.learner_id)
            lesson = Lesson(
                state=acts.open_session(
                    session_id=header.session_id,
                    learner_id=header.learner_id,
                    class_id=header.class_id,
                    platform_id=header.platform_id,
                    policy=self.policy,
                    at=header.opened_at,
                ),
                anchor=anchor,
                assurance=wish.assurance,
                planned_minutes=wish.planned_minutes,
                expires_at=self._expiry(header.opened_at, wish.planned_minutes),
                header=header,
                secret=secret,
                number=work.unit.session_count(header.learner_id, header.class_id),
                opened_index=0,
                last_index=0,
                calibration_id=None if calibration is None else calibration.calibration_id,
                path=wish.path,
                grant_id=wish.grant_id,
                extra_time=wish.extra_time,
                makes_up=wish.makes_up,
            )
            entry = opened_entry(
                self.archive.evidence,
                lesson,
                commitment(secret, header),
                policy=self.policy.rule,
                calibration=calibration,
                witnesses=self.archive.witnesses,
            )
            index = work.append(entry)
            work.unit.add(replace(lesson, opened_index=index, last_index=index))
        return index

    def _begin(self, work: Recording, lesson: Lesson, checkpoint: FirstCheckpoint) -> Lesson:
        """Let the session's clock run, now that its schedule follows from a checkpoint.

        Whoever failed too often in a session before waits in this one for as long as in that.
        """
        now = max(self.clock.now(), lesson.state.last_event_at)
        begun = replace(
            lesson,
            checkpoint=checkpoint,
            state=replace(lesson.state, started_at=now, last_event_at=now),
            expires_at=self._expiry(now, lesson.planned_minutes),
        )
        return self.upkeep.course.pause_if_failing(work, begun)

    def _expiry(self, start: datetime, planned_minutes: float) -> datetime:
        slack_s = self.policy.prompts.abandon_after_planned_s
        return start + timedelta(minutes=planned_minutes, seconds=slack_s)

    def _recording(self) -> AbstractContextManager[Recording]:
        return recording(self.store, self.archive.evidence)
