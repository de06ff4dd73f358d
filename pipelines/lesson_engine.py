"""Lessons from opening to credit, each act one unit of work.

Nothing that a caller asserts earns credit: neither its clock, nor a duration, nor that a lesson
took place. Only answers to prompts that the engine itself issued do, judged by the engine, on
the engine's clock. A prompt goes out when it is due, whether or not anybody asks: not polling
buys no silence, only misses. Start with `LessonEngine.open`.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from pipelines.archive import Archive
from pipelines.calibration_book import CalibrationBook
from pipelines.check import CheckedFrames, FrameChecker
from pipelines.comparison_budget import ComparisonBudget
from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import (
    AnswerView,
    FirstCheckpoint,
    Lesson,
    LessonResult,
    PromptView,
)
from pipelines.lesson_course import NONCE_BYTES, LessonCourse, skip_until
from pipelines.lesson_input import (
    SentAnswer,
    require_frames,
    require_ids,
    require_minutes,
    require_nonce,
)
from pipelines.lesson_records import JudgedAnswer, LessonRecords, counted, opened_entry
from pipelines.lesson_store import (
    ComparisonPurpose,
    LessonStore,
    LessonUnit,
    StoredEnrolment,
)
from pipelines.recording import Recording, recording
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from verifier import session as acts
from verifier.assurance import Assurance
from verifier.calibration import AnyCalibration
from verifier.errors import ProtocolError, UnknownSubjectError, VerifierError
from verifier.policy import Policy
from verifier.protocols import Clock
from verifier.schedule import ScheduleHeader, ScheduleParameters, commitment

T = TypeVar("T")
Also = Callable[[LessonUnit, T], None]
"""What else belongs to a unit of work, given what the act returns."""


def _nothing(_unit: LessonUnit, _done: object) -> None:
    """Add nothing to a unit of work."""


@dataclass(kw_only=True)
class LessonEngine:
    """Holds whatever judges, stores and times lessons; the lessons themselves lie in the store.

    Safe to call from several threads. Frames are judged outside of units of work. ``comparisons``
    is shared with whoever else compares with the same templates.
    """

    checker: FrameChecker
    calibrations: CalibrationBook
    templates: TemplateSealer
    store: LessonStore
    archive: Archive
    policy: Policy
    clock: Clock
    comparisons: ComparisonBudget = field(init=False, repr=False)
    _course: LessonCourse = field(init=False, repr=False)

    def __post_init__(self) -> None:
        observer = self.checker.observer
        records = LessonRecords(
            evidence=self.archive.evidence,
            contract=observer.contract_id,
            attack_contract=observer.attack_contract_id,
        )
        self.comparisons = ComparisonBudget(
            store=self.store, clock=self.clock, rules=self.policy.comparison
        )
        self._course = LessonCourse(
            records=records, policy=self.policy, clock=self.clock, model=observer.contract_id
        )

    def open(
        self,
        *,
        learner_id: str,
        class_id: str,
        platform_id: str,
        planned_minutes: float,
        assurance: Assurance = Assurance.PLATFORM,
        require: Callable[[LessonUnit], None] = lambda _unit: None,
        also: Also[str] = _nothing,
    ) -> str:
        """Open a session and return its id.

        1. The learner is enrolled under the contract in use, and the log can be signed. The
           calibration in force now is the session's to its end.
        2. A session of the same learner that is still open is abandoned: nobody attends two
           lessons at once, and a platform that crashed must not lock its learners out.
        3. A fresh secret is committed to, bound to everything the session is.
        4. The commitment is in the log, under a signed checkpoint.
        5. Only then does the schedule follow, from secret and checkpoint.

        Parameters
        ----------
        require
            Raises where no session may be opened after all, in the unit of work that would do so,
            with the learner locked and nothing changed yet.
        also
            What else belongs to the unit of work that lets the session begin.

        Raises
        ------
        InputError
            If an id or ``planned_minutes`` is not what it should be.
        UnknownSubjectError
            If the learner is not enrolled.
        ContractMismatchError
            If the template was made under another contract.
        ProtocolError
            ``session_over`` if another session of the learner was opened meanwhile.
        LedgerError
            If the session could not be kept, or the checkpoint not signed.
        """
        require_ids(learner_id, class_id=class_id, platform_id=platform_id)
        require_minutes(planned_minutes)
        enrolled = self._enrolled(learner_id)
        self.archive.publish()  # a log that cannot be signed must not cost a running lesson
        header = ScheduleHeader(
            session_id=secrets.token_hex(16),
            learner_id=learner_id,
            class_id=class_id,
            platform_id=platform_id,
            policy_digest=self.policy.digest,
            parameters=ScheduleParameters.of(self.policy.prompts),
            opened_at=self.clock.now(),
        )
        opened_index = self._promise(header, enrolled, assurance, planned_minutes, require)
        checkpoint = self.archive.first_checkpoint_with(opened_index)
        with self._recording() as work:
            lesson = _in_progress(work.unit.lesson(header.session_id))
            first = FirstCheckpoint(size=checkpoint.size, root=checkpoint.root)
            work.unit.save(self._begin(lesson, first))
            also(work.unit, header.session_id)
        return header.session_id

    def poll(self, session_id: str) -> PromptView | None:
        """Return the prompt that waits for an answer now, or None.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``session_over`` if it has ended, for example because its time ran out.
        LedgerError
            If what fell due could not be recorded.
        """
        lesson = self._current(session_id)
        if self._course.has_work(lesson):
            with self._recording() as work:
                lesson = _in_progress(work.unit.lesson(session_id))
                lesson, _ = self._course.catch_up(work, lesson)
                lesson = self._course.ask_opening(work, lesson)  # only who asks is asked
                work.unit.save(lesson)
        prompt = lesson.state.open_prompt
        # Past its time it only waits for an answer that is on its way.
        late = prompt is None or self.clock.now() > prompt.closes_at
        return None if prompt is None or late else PromptView.of(prompt)

    def answer(
        self,
        session_id: str,
        *,
        prompt_id: str,
        nonce: bytes,
        frames: Sequence[bytes],
        arrived_at: datetime | None = None,
        also: Also[AnswerView] = _nothing,
    ) -> AnswerView:
        """Judge the frames sent in answer to a prompt.

        1. The frames are bytes, not too many, not too large.
        2. The prompt is open, of this session, in time, and the nonce is the last one issued.
        3. The frames are judged; after too many comparisons in a day they are compared with
           nothing, and the answer is told to be under review.
        4. The picture they stand on is sealed and on the disk.
        5. Session, evidence and log entry become true together, or none of them does.

        Parameters
        ----------
        arrived_at
            When the answer began to arrive: what the deadline is about. None: now.

        Raises
        ------
        InputError, UnknownSubjectError, ProtocolError
            If step 1 or 2 fails, somebody else answered meanwhile, or the learner's face was
            forgotten; ``session_outdated`` if the session was opened with another model. Nothing
            is kept.
        LedgerError
            If step 4 or 5 fails; unless it says otherwise the prompt is still open.
        """
        require_frames(frames)
        require_nonce(nonce)
        received_at = self.clock.now()  # before any wait: others' frames cost no time
        answer = SentAnswer(
            prompt_id=prompt_id,
            nonce=nonce,
            arrived_at=min(arrived_at or received_at, received_at),
            received_at=received_at,
        )
        with self._course.judging.of(prompt_id):
            lesson = self._current(session_id)
            answer.begin(lesson)
            calibration = self.calibrations.of_session(lesson.calibration_id)
            self._require_same_model(calibration)
            learner_id = lesson.state.learner_id
            with self.comparisons.reserve(learner_id, ComparisonPurpose.ANSWER) as reserved:
                enrolled = self._opened(reserved.required_enrolment)
                reference = enrolled.template if reserved.granted else None
                checked = self.checker.check(frames, reference, calibration)

                def counted_too(unit: LessonUnit, view: AnswerView) -> None:
                    reserved.settle(unit, compared=checked.compared)
                    also(unit, view)

                return self._keep(lesson, answer, checked, counted_too)

    def announce_end(self, session_id: str, *, also: Also[None] = _nothing) -> None:
        """Hear from the platform that the lesson is over; a closing prompt is due at once.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``not_running`` if the session never began, ``session_over`` if it is over.
        """
        self._current(session_id)
        with self._recording() as work:
            lesson, now = self._course.catch_up(work, _in_progress(work.unit.lesson(session_id)))
            work.unit.save(replace(lesson, state=acts.announce_end(lesson.state, at=now)))
            also(work.unit, None)

    def close(self, session_id: str, *, also: Also[LessonResult] = _nothing) -> LessonResult:
        """End a session, score it, record what it came to; return the result.

        One that cannot be closed, because it never began, or its closing prompt was never asked
        or waits for an answer, is abandoned: an open prompt counts as a miss. Of a session that
        has ended already the result is returned again.
        """
        self._catch_up_in_steps(session_id)
        with self._recording() as work:
            lesson = work.unit.lesson(session_id)
            if lesson.end is None:
                lesson = self._course.end(work, lesson)
            result = self._result(lesson)
            also(work.unit, result)
            return result

    def result(self, session_id: str) -> LessonResult:
        """Return what an ended session came to.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``session_in_progress`` if it has not ended.
        """
        with self.store.reading() as unit:
            lesson = unit.lesson(session_id)
        if lesson.end is None:
            raise ProtocolError("session_in_progress", "the session has not ended")
        return self._result(lesson)

    def end_sessions(self, work: Recording, learner_id: str) -> None:
        """End what a learner has in progress, in a unit of work that has them locked."""
        for open_lesson in work.unit.unfinished_of(learner_id):
            self._course.end(work, open_lesson)

    def abandon_expired(self) -> int:
        """Abandon every session whose time has run out; return how many. For a worker to call.

        One that cannot be ended keeps no other from it.

        Raises
        ------
        VerifierError
            Of the first that could not, once all others are done.
        """
        return _count(self.store.unfinished(expired_at=self.clock.now()), self._abandon)

    def recover(self) -> int:
        """Give up the sessions that a crash left without a schedule; return how many.

        To be called before anything is opened. Nobody was told of such a session. It is closed in
        the log, or it would look like one that was discarded.
        """
        return _count(self.store.never_begun(), self._abandon)

    def resume_after(self, away_since: datetime) -> int:
        """Take the time since ``away_since`` out of the lessons in progress; return of how many.

        To be called at a start, before anything happens in a lesson, and with a time at which an
        engine was certainly there: nobody is charged for not being asked, and nobody earns by it.
        """
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
            work.unit.save(self._course.interrupt(work, lesson, since=since, until=until))
            return True

    def _promise(
        self,
        header: ScheduleHeader,
        enrolled: EnrolledTemplate,
        assurance: Assurance,
        planned_minutes: float,
        require: Callable[[LessonUnit], None],
    ) -> int:
        """Keep a session that has no schedule yet, its commitment in the log; return its index."""
        secret, calibration = secrets.token_bytes(32), self.calibrations.current()
        with self._recording() as work:
            work.unit.lock_learner(header.learner_id)
            work.unit.enrolment(header.learner_id)  # or the face was erased meanwhile
            require(work.unit)
            self.end_sessions(work, header.learner_id)
            lesson = Lesson(
                state=acts.open_session(
                    session_id=header.session_id,
                    learner_id=header.learner_id,
                    class_id=header.class_id,
                    platform_id=header.platform_id,
                    policy=self.policy,
                    at=header.opened_at,
                ),
                anchor=enrolled.anchor,
                assurance=assurance,
                planned_minutes=planned_minutes,
                expires_at=self._expiry(header.opened_at, planned_minutes),
                header=header,
                secret=secret,
                number=work.unit.session_count(header.learner_id, header.class_id),
                opened_index=0,
                last_index=0,
                calibration_id=calibration.calibration_id,
            )
            entry = opened_entry(
                self.archive.evidence,
                lesson,
                commitment(secret, header),
                policy=self.policy.rule,
                calibration=calibration,
            )
            index = work.append(entry)
            work.unit.add(replace(lesson, opened_index=index, last_index=index))
        return index

    def _begin(self, lesson: Lesson, checkpoint: FirstCheckpoint) -> Lesson:
        """Let the session's clock run, now that its schedule follows from a checkpoint."""
        now = max(self.clock.now(), lesson.state.last_event_at)
        return replace(
            lesson,
            checkpoint=checkpoint,
            state=replace(lesson.state, started_at=now, last_event_at=now),
            expires_at=self._expiry(now, lesson.planned_minutes),
        )

    def _expiry(self, start: datetime, planned_minutes: float) -> datetime:
        slack_s = self.policy.prompts.abandon_after_planned_s
        return start + timedelta(minutes=planned_minutes, seconds=slack_s)

    def _recording(self, *prepared: PreparedEntry) -> AbstractContextManager[Recording]:
        return recording(self.store, self.archive.evidence, *prepared)

    def _enrolled(self, learner_id: str) -> EnrolledTemplate:
        with self.store.reading() as unit:
            return self._opened(unit.enrolment(learner_id))

    def _opened(self, stored: StoredEnrolment) -> EnrolledTemplate:
        """Open a template anew for each answer: none stays in memory, none outlives its key."""
        contract = self.checker.observer.contract_id
        return self.templates.open(stored.learner_id, stored.sealed_template, contract_id=contract)

    def _require_same_model(self, calibration: AnyCalibration) -> None:
        """Raise if a session's calibration is for another model: no answer can be judged by it.

        Enrolling again would not help, so it must not be asked for.
        """
        if calibration.contract_id != self.checker.observer.contract_id:
            raise ProtocolError(
                "session_outdated", "the session was opened with another model; open a new one"
            )

    def _current(self, session_id: str) -> Lesson:
        """Return a lesson in progress, abandoning it first if its time has run out."""
        with self.store.reading() as unit:
            lesson = _in_progress(unit.lesson(session_id))
        if lesson.checkpoint is None:  # another thread is opening it; nobody was told its id
            raise UnknownSubjectError("there is no session with that id")
        if self.clock.now() >= lesson.expires_at:
            self._abandon(session_id)  # unless somebody else has just done it
            raise _over()
        if self._course.is_far_behind(lesson) and self._catch_up_in_steps(session_id):
            return self._current(session_id)
        return lesson

    def _catch_up_in_steps(self, session_id: str) -> bool:
        """Record what fell due long ago, so that no unit of work keeps others waiting for long.

        Say whether anything was recorded. An answer that is being judged holds it up.
        """
        with self.store.reading() as unit:
            lesson = unit.lesson(session_id)
        if lesson.checkpoint is None or lesson.end is not None:
            return False
        if not self._course.is_far_behind(lesson):
            return False
        with self._recording() as work:
            before = work.unit.lesson(session_id)
            after = before if before.end else self._course.catch_up_some(work, before)
            if after == before:
                return False
            work.unit.save(after)
        self._catch_up_in_steps(session_id)
        return True

    def _abandon(self, session_id: str) -> bool:
        """End a session in a unit of work of its own; say whether it had not ended before."""
        self._catch_up_in_steps(session_id)
        with self._recording() as work:
            lesson = work.unit.lesson(session_id)
            if lesson.end is not None:
                return False
            self._course.end(work, lesson)
            return True

    def _keep(
        self, lesson: Lesson, answer: SentAnswer, checked: CheckedFrames, also: Also[AnswerView]
    ) -> AnswerView:
        """Make a judged answer true.

        The evidence is sealed outside of the unit of work. Where the session changed before the
        unit began, it is sealed anew: the record says where in the session it stands.
        """
        session_id = lesson.state.session_id
        while True:
            judged = self._judged(lesson, answer, checked)
            with suppress(_StaleError), self._recording(judged.entry) as work:
                if work.unit.lesson(session_id).version != lesson.version:
                    raise _StaleError
                return self._save_answer(work, judged, also)
            lesson = self._current(session_id)

    def _judged(self, lesson: Lesson, answer: SentAnswer, checked: CheckedFrames) -> JudgedAnswer:
        began = answer.begin(lesson)
        answered = acts.answer(
            began,
            prompt_id=answer.prompt_id,
            nonce=answer.nonce,
            at=answer.received_at,
            judgement=checked.judged.judgement,
            check=checked.judged.check,
            retry_nonce=secrets.token_bytes(NONCE_BYTES),
        )
        return self._course.records.answer(lesson, answered, answer.prompt_id, checked)

    def _save_answer(
        self, work: Recording, judged: JudgedAnswer, also: Also[AnswerView]
    ) -> AnswerView:
        lesson, state = judged.before, judged.state
        index = work.append(judged.entry)
        after = replace(
            counted(lesson, index), state=state, answers=(*lesson.answers, judged.archived(index))
        )
        if state.phase is not lesson.state.phase:  # the opening prompt was passed
            after = skip_until(after, state.offset_s(state.last_event_at))
        work.unit.save(after)
        also(work.unit, judged.view)
        return judged.view

    def _result(self, lesson: Lesson) -> LessonResult:
        if lesson.end is None:
            raise ValueError("the lesson has not ended")
        return LessonResult(
            state=lesson.state,
            assurance=lesson.assurance,
            evidence=self._course.evidence(lesson),
            account=lesson.end.account,
            promise=None if lesson.checkpoint is None else lesson.promise,
            answers=lesson.answers,
            opened_index=lesson.opened_index,
            closed_index=lesson.end.closed_index,
        )


class _StaleError(VerifierError):
    """The session changed between the reading and the unit of work."""


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


def _in_progress(lesson: Lesson) -> Lesson:
    """Return a lesson that has begun and not ended; raise for any other."""
    if lesson.end is not None:
        raise _over()
    return lesson


def _over() -> ProtocolError:
    return ProtocolError("session_over", "the session has ended; close returns its outcome")
