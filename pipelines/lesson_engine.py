"""Lessons from opening to credit, each act one unit of work.

Nothing that a caller asserts earns credit: neither its clock, nor a duration, nor that a lesson
took place. Only answers to prompts that the engine itself issued do, judged by the engine, on
the engine's clock. A prompt goes out when it is due, whether or not anybody asks: not polling
buys no silence, only misses. Start with `LessonEngine.open`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipelines.added_prompts import AddedPrompts
from pipelines.agenda import Agenda
from pipelines.archive import Archive
from pipelines.calibration_book import CalibrationBook
from pipelines.check import FrameChecker
from pipelines.comparison_budget import ComparisonBudget
from pipelines.lesson import AnswerView, Lesson, LessonResult, PromptView
from pipelines.lesson_answers import Also, LessonAnswers
from pipelines.lesson_course import BeforeEnd, LessonCourse, leave_alone
from pipelines.lesson_input import (
    SentAnswer,
    SignedAnswer,
    require_frames,
    require_nonce,
    require_typed,
)
from pipelines.lesson_opening import LessonOpening, Wish
from pipelines.lesson_records import LessonRecords
from pipelines.lesson_store import LessonStore, LessonUnit
from pipelines.lesson_terms import require_addable
from pipelines.lesson_upkeep import LessonUpkeep, in_progress
from pipelines.recording import Recording, recording
from pipelines.sealed_template import TemplateSealer
from verifier import session as acts
from verifier.answer import CallFinding
from verifier.assurance import Assurance, LearnerPath
from verifier.enrolment import Anchor
from verifier.errors import ProtocolError
from verifier.policy import Policy
from verifier.prompt import PromptKind
from verifier.protocols import Clock
from verifier.session_state import SessionPhase

__all__ = ["Also", "Followed", "LessonEngine"]


def _nothing(_unit: LessonUnit, _done: object) -> None:
    """Add nothing to a unit of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A lesson, the prompt that waits in it, and when to look again: a secret till then."""

    lesson: Lesson
    prompt: PromptView | None
    due: datetime = field(repr=False)


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
    before_end: BeforeEnd = leave_alone
    comparisons: ComparisonBudget = field(init=False, repr=False)
    _course: LessonCourse = field(init=False, repr=False)
    _upkeep: LessonUpkeep = field(init=False, repr=False)

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
            records=records,
            policy=self.policy,
            clock=self.clock,
            model=observer.contract_id,
            agenda=Agenda(added=AddedPrompts(policy=self.policy)),
            before_end=self.before_end,
        )
        self._upkeep = LessonUpkeep(
            store=self.store, evidence=self.archive.evidence, course=self._course, clock=self.clock
        )

    def open(
        self,
        *,
        learner_id: str,
        class_id: str,
        platform_id: str,
        planned_minutes: float,
        assurance: Assurance = Assurance.PLATFORM,
        path: LearnerPath = LearnerPath.FACE,
        grant_id: str | None = None,
        extra_time: bool = False,
        makes_up: str | None = None,
        require: Callable[[LessonUnit], None] = lambda _unit: None,
        also: Also[str] = _nothing,
    ) -> str:
        """Open a session and return its id.

        1. The learner is enrolled under the contract in use, or an officer granted another way,
           and the log can be signed. The calibration in force now is the session's to its end.
        2. A session of the same learner that is still open is abandoned: nobody attends two
           lessons at once, and a platform that crashed must not lock its learners out.
        3. A fresh secret is committed to, bound to everything the session is.
        4. The commitment is in the log, under a signed checkpoint.
        5. Only then does the schedule follow, from secret and checkpoint.

        Whoever failed too often a moment ago has a session that is paused at first; none is
        refused for it.

        Parameters
        ----------
        path, grant_id
            How the learner is known, and by whose grant if not by the face: an officer, who saw
            the learner, is then the anchor, and no face is enrolled or looked at.
        extra_time
            Whether the learner was granted more time for each answer.
        makes_up
            The session whose misses it makes up for.
        require
            Raises where no session may be opened after all, in the unit of work that would do so,
            with the learner locked and nothing changed yet.
        also
            What else belongs to the unit of work that lets the session begin.

        Raises
        ------
        InputError
            If an id or ``planned_minutes`` is not what it should be, or path and grant disagree.
        UnknownSubjectError
            If the learner is not enrolled.
        ContractMismatchError
            If the template was made under another contract.
        ProtocolError
            ``session_over`` if another session of the learner was opened meanwhile.
        LedgerError
            If the session could not be kept, or the checkpoint not signed.
        """
        wish = Wish(
            learner_id=learner_id,
            class_id=class_id,
            platform_id=platform_id,
            planned_minutes=planned_minutes,
            assurance=assurance,
            path=path,
            grant_id=grant_id,
            extra_time=extra_time,
            makes_up=makes_up,
        )
        wish.require_sound()
        anchor = Anchor.OFFICER
        if wish.shows_face:
            anchor = self._answering.require_enrolled(learner_id).anchor
        return self._opening.open(wish, anchor=anchor, require=require, also=also)

    def poll(self, session_id: str, *, streaming: bool = False) -> PromptView | None:
        """Return the prompt that waits for an answer now, or None.

        Parameters
        ----------
        streaming
            A stream of the learner's has been open since before it was due, so that only the
            engine can be late to tell of a prompt: the deadline of one that goes out by this call
            counts from now. Without it, from when it was due, whenever somebody asks.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``session_over`` if it has ended, for example because its time ran out.
        LedgerError
            If what fell due could not be recorded.
        """
        return self.follow(session_id, streaming=streaming).prompt

    def follow(self, session_id: str, *, streaming: bool = False) -> Followed:
        """As `poll`, with the lesson as it is then and when to ask again, of one reading."""
        lesson = self._upkeep.current(session_id)
        if self._course.has_work(lesson):
            with self._recording() as work:
                lesson = in_progress(work.unit.lesson(session_id))
                lesson, _ = self._course.catch_up(work, lesson, streaming=streaming)
                lesson = self._course.ask_opening(work, lesson)  # only who asks is asked
                work.unit.save(lesson)
        prompt = lesson.state.open_prompt
        # Past its time it only waits for an answer that is on its way.
        late = prompt is None or self.clock.now() > prompt.closes_at
        return Followed(
            lesson=lesson,
            prompt=None if prompt is None or late else PromptView.of(prompt),
            due=self._course.agenda.next_due(lesson),
        )

    def answer(
        self,
        session_id: str,
        *,
        prompt_id: str,
        nonce: bytes,
        frames: Sequence[bytes] = (),
        typed: str | None = None,
        captured_ms: Sequence[int] | None = None,
        arrived_at: datetime | None = None,
        announced: bool = False,
        signed: SignedAnswer | None = None,
        also: Also[AnswerView] = _nothing,
    ) -> AnswerView:
        """Judge what was sent in answer to a prompt: frames, or a typed code.

        1. The frames are bytes, not too many, not too large; or a short text was typed.
        2. The prompt is open, of this session, in time, and the nonce is the last one issued.
        3. The frames are judged; after too many comparisons in a day they are compared with
           nothing, and the answer is told to be under review.
        4. The picture they stand on is sealed and on the disk.
        5. Session, evidence and log entry become true together, or none of them does. So does the
           pause that follows where too many answers of the learner failed.

        Parameters
        ----------
        captured_ms
            When each frame was taken, on the sender's clock.
        arrived_at
            When the answer began to arrive: what the deadline is about. None: now.
        announced
            Whether these very bytes were announced in time, by `begin_upload`: past the time for
            capturing nothing else is taken.
        signed
            The device's signature, which the service found good.

        Raises
        ------
        InputError, UnknownSubjectError, ProtocolError
            If step 1 or 2 fails, somebody else answered meanwhile, or the learner's face was
            forgotten; ``wrong_kind`` if only an officer can answer; ``session_paused`` after too
            many failures; ``session_outdated`` if the session was opened with another model.
            Nothing is kept.
        LedgerError
            If step 4 or 5 fails; unless it says otherwise the prompt is still open.
        """
        require_nonce(nonce)
        if typed is None:
            require_frames(frames, self.policy.capture, captured_ms)
        else:
            require_typed(typed)
        received_at = self.clock.now()  # before any wait: others' frames cost no time
        answer = SentAnswer(
            prompt_id=prompt_id,
            nonce=nonce,
            arrived_at=min(arrived_at or received_at, received_at),
            received_at=received_at,
            signed=signed,
            announced=announced,
        )
        return self._answering.judge(session_id, answer, frames=frames, typed=typed, also=also)

    def begin_upload(
        self,
        session_id: str,
        *,
        prompt_id: str,
        nonce: bytes,
        arrived_at: datetime,
        announced: bool = False,
    ) -> datetime:
        """Note that an answer began to arrive at ``arrived_at``, so that the grace applies.

        Return until when the prompt takes it. Also for one that the engine was too busy to judge:
        sent again, it is in time.
        ``announced``: as in `answer`; who lost what came of it may begin once more.

        Raises
        ------
        InputError, UnknownSubjectError, ProtocolError
            As `answer`; nothing is kept.
        """
        require_nonce(nonce)
        now = self.clock.now()
        begun = SentAnswer(
            prompt_id=prompt_id,
            nonce=nonce,
            arrived_at=min(arrived_at, now),
            received_at=now,
            announced=announced,
        )
        return self._answering.begin(session_id, begun)

    def add_prompt(
        self, session_id: str, *, kind: PromptKind, by: str, also: Also[PromptView] = _nothing
    ) -> PromptView:
        """Ask the learner now, because an officer, ``by``, wants it.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``wrong_kind`` if learners on this path are not asked that, ``not_running``,
            ``session_paused``, ``prompt_open`` or ``session_over``.
        """
        self._upkeep.current(session_id)
        with self._recording() as work:
            lesson, now = self._course.catch_up(work, in_progress(work.unit.lesson(session_id)))
            if lesson.state.phase is not SessionPhase.RUNNING:
                phase = lesson.state.phase
                raise ProtocolError("not_running", f"the session is {phase}, not running")
            require_addable(lesson, kind)
            lesson = self._course.ask_added(work, lesson, kind, at=now, by=by)
            work.unit.save(lesson)
            view = PromptView.of(lesson.state.prompts[-1])
            also(work.unit, view)
        return view

    def record_call(
        self,
        session_id: str,
        *,
        prompt_id: str,
        finding: CallFinding,
        by: str,
        also: Also[AnswerView] = _nothing,
    ) -> AnswerView:
        """Record what an officer, ``by``, found who called the learner.

        Raises
        ------
        UnknownSubjectError
            If there is no such session or prompt.
        ProtocolError
            ``wrong_kind`` if the prompt asks for no call; otherwise as `answer`.
        LedgerError
            If it could not be kept; unless it says otherwise the prompt is still open.
        """
        return self._answering.record_call(
            session_id, prompt_id=prompt_id, finding=finding, by=by, also=also
        )

    def next_due(self, session_id: str) -> datetime | None:
        """Return the next moment at which `poll` could have something to do; None: never again.

        Tells when prompts are due: for the engine's own memory, and never to be logged.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        """
        with self.store.reading() as unit:
            lesson = unit.lesson(session_id)
        if lesson.end is not None or lesson.checkpoint is None:
            return None
        return self._course.agenda.next_due(lesson)

    def announce_end(self, session_id: str, *, also: Also[None] = _nothing) -> None:
        """Hear from the platform that the lesson is over; a closing prompt is due at once.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``not_running`` if the session never began, ``session_over`` if it is over.
        """
        self._upkeep.current(session_id)
        with self._recording() as work:
            lesson, now = self._course.catch_up(work, in_progress(work.unit.lesson(session_id)))
            work.unit.save(replace(lesson, state=acts.announce_end(lesson.state, at=now)))
            also(work.unit, None)

    def close(self, session_id: str, *, also: Also[LessonResult] = _nothing) -> LessonResult:
        """End a session, score it, record what it came to; return the result.

        One that cannot be closed, because it never began, is paused before its closing prompt, or
        that was never asked or waits for an answer, is abandoned: an open prompt counts as a
        miss. Of a session that has ended already the result is returned again.
        """
        self._upkeep.catch_up_in_steps(session_id)
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
        self._upkeep.end_sessions(work, learner_id)

    def abandon_expired(self) -> int:
        """Abandon every session whose time has run out; return how many. For a worker to call.

        One that cannot be ended keeps no other from it.

        Raises
        ------
        VerifierError
            Of the first that could not, once all others are done.
        """
        return self._upkeep.abandon_expired()

    def recover(self) -> int:
        """Give up the sessions that a crash left without a schedule; return how many.

        To be called before anything is opened. Nobody was told of such a session. It is closed in
        the log, or it would look like one that was discarded.
        """
        return self._upkeep.recover()

    def resume_after(self, away_since: datetime) -> int:
        """Take the time since ``away_since`` out of the lessons in progress; return of how many.

        To be called at a start, before anything happens in a lesson, and with a time at which an
        engine was certainly there: nobody is charged for not being asked, and nobody earns by it.
        """
        return self._upkeep.resume_after(away_since)

    # Made anew for each act: whoever gave the engine another checker, say, means from then on.
    @property
    def _opening(self) -> LessonOpening:
        return LessonOpening(
            store=self.store,
            archive=self.archive,
            calibrations=self.calibrations,
            upkeep=self._upkeep,
            policy=self.policy,
            clock=self.clock,
        )

    @property
    def _answering(self) -> LessonAnswers:
        return LessonAnswers(
            checker=self.checker,
            calibrations=self.calibrations,
            templates=self.templates,
            comparisons=self.comparisons,
            upkeep=self._upkeep,
            policy=self.policy,
        )

    def _recording(self) -> AbstractContextManager[Recording]:
        return recording(self.store, self.archive.evidence)

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
