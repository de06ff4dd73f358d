"""How answers are judged and kept: frames, typed codes, and what officers record of calls."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from pipelines.calibration_book import CalibrationBook
from pipelines.check import FrameChecker
from pipelines.comparison_budget import ComparisonBudget
from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import AnswerView, Lesson
from pipelines.lesson_course import NONCE_BYTES, LessonCourse, skip_until
from pipelines.lesson_input import SentAnswer
from pipelines.lesson_records import Found, JudgedAnswer, counted
from pipelines.lesson_store import ComparisonPurpose, LessonUnit, StoredEnrolment
from pipelines.lesson_terms import fresh_code
from pipelines.lesson_upkeep import LessonUpkeep, in_progress
from pipelines.recording import Recording, recording
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from verifier import session as acts
from verifier.answer import CallFinding, judge_call, judge_code
from verifier.calibration import AnyCalibration
from verifier.errors import InputError, ProtocolError, VerifierError
from verifier.policy import Policy
from verifier.prompt import Judgement, Prompt, PromptKind

T = TypeVar("T")
Also = Callable[[LessonUnit, T], None]
"""What else belongs to a unit of work, given what the act returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonAnswers:
    """Judges outside of units of work, and keeps what was found in one."""

    checker: FrameChecker
    calibrations: CalibrationBook
    templates: TemplateSealer
    comparisons: ComparisonBudget
    upkeep: LessonUpkeep
    policy: Policy

    def judge(
        self,
        session_id: str,
        answer: SentAnswer,
        *,
        frames: Sequence[bytes],
        typed: str | None,
        also: Also[AnswerView],
    ) -> AnswerView:
        """Judge an answer; see `pipelines.lesson_engine.LessonEngine.answer`."""
        with self._course.agenda.judging.of(answer.prompt_id):
            lesson = self.upkeep.current(session_id)
            prompt = answer.prompt_of(answer.begin(lesson))
            _require_fit(prompt, frames, typed)
            if typed is not None:
                return self._judge_typed(lesson, prompt, answer, typed, also)
            return self._judge_frames(lesson, answer, frames, also)

    def begin(self, session_id: str, answer: SentAnswer) -> datetime:
        """Note that an answer began to arrive; return until when the prompt takes it."""
        with self._course.agenda.judging.of(answer.prompt_id):
            self.upkeep.current(session_id)
            with self._recording() as work:
                lesson = in_progress(work.unit.lesson(session_id))
                state = answer.begin(lesson)
                if state.prompts != lesson.state.prompts:
                    work.unit.save(replace(lesson, state=state))
        return answer.prompt_of(state).closes_at

    def record_call(
        self,
        session_id: str,
        *,
        prompt_id: str,
        finding: CallFinding,
        by: str,
        also: Also[AnswerView],
    ) -> AnswerView:
        """Record what an officer found who called the learner."""
        now = self.upkeep.clock.now()
        with self._course.agenda.judging.of(prompt_id):
            lesson = self.upkeep.current(session_id)
            prompt = acts.prompt_of(lesson.state, prompt_id)
            if prompt.kind is not PromptKind.OFFICER_CALL:
                raise ProtocolError("wrong_kind", "the prompt asks for no call")
            answer = SentAnswer(
                prompt_id=prompt_id, nonce=prompt.nonce, arrived_at=now, received_at=now
            )
            answer.begin(lesson)
            judged = judge_call(finding, latency_s=answer.latency_s(prompt))
            return self._keep(lesson, answer, Found(judged=judged, by=by), also)

    def require_enrolled(self, learner_id: str) -> EnrolledTemplate:
        """Return a learner's template, made under the contract in use."""
        with self.upkeep.store.reading() as unit:
            return self._opened(unit.enrolment(learner_id))

    @property
    def _course(self) -> LessonCourse:
        return self.upkeep.course

    def _judge_frames(
        self,
        lesson: Lesson,
        answer: SentAnswer,
        frames: Sequence[bytes],
        also: Also[AnswerView],
    ) -> AnswerView:
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

            return self._keep(lesson, answer, Found.of(checked, answer.signed), counted_too)

    def _judge_typed(
        self,
        lesson: Lesson,
        prompt: Prompt,
        answer: SentAnswer,
        typed: str,
        also: Also[AnswerView],
    ) -> AnswerView:
        judged = judge_code(prompt.code or "", typed, latency_s=answer.latency_s(prompt))
        return self._keep(lesson, answer, Found(judged=judged, signed=answer.signed), also)

    def _keep(
        self, lesson: Lesson, answer: SentAnswer, found: Found, also: Also[AnswerView]
    ) -> AnswerView:
        """Make a judged answer true.

        The evidence is sealed outside of the unit of work. Where the session changed before the
        unit began, it is sealed anew: the record says where in the session it stands.
        """
        session_id = lesson.state.session_id
        while True:
            judged = self._judged(lesson, answer, found)
            with suppress(_StaleError), self._recording(judged.entry) as work:
                if work.unit.lesson(session_id).version != lesson.version:
                    raise _StaleError
                return self._save_answer(work, judged, also)
            lesson = self.upkeep.current(session_id)

    def _judged(self, lesson: Lesson, answer: SentAnswer, found: Found) -> JudgedAnswer:
        began = answer.begin(lesson)
        prompt = answer.prompt_of(began)
        answered = acts.answer(
            began,
            prompt_id=answer.prompt_id,
            nonce=answer.nonce,
            at=answer.received_at,
            judgement=found.judged.judgement,
            check=found.judged.check,
            retry_nonce=secrets.token_bytes(NONCE_BYTES),
            retry_code=fresh_code(prompt.kind, self.policy, besides=prompt.code),
        )
        return self._course.records.answer(lesson, answered, answer.prompt_id, found)

    def _save_answer(
        self, work: Recording, judged: JudgedAnswer, also: Also[AnswerView]
    ) -> AnswerView:
        lesson, state, found = judged.before, judged.state, judged.found
        index = work.append(judged.entry)
        after = replace(
            counted(lesson, index), state=state, answers=(*lesson.answers, judged.archived(index))
        )
        if state.phase is not lesson.state.phase:  # the opening prompt was passed
            after = skip_until(after, state.offset_s(state.last_event_at))
        if found.judged.judgement is not Judgement.PASS and found.by is None:
            failed_at = acts.prompt_of(state, judged.prompt_id).attempts[-1].at
            after = self._course.pause_if_failing(work, after, failed_at=[failed_at])
        work.unit.save(after)
        view = replace(judged, state=after.state).view
        also(work.unit, view)
        return view

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

    def _recording(self, *prepared: PreparedEntry) -> AbstractContextManager[Recording]:
        return recording(self.upkeep.store, self.upkeep.evidence, *prepared)


class _StaleError(VerifierError):
    """The session changed between the reading and the unit of work."""


def _require_fit(prompt: Prompt, frames: Sequence[bytes], typed: str | None) -> None:
    """Raise for an answer of another kind than was asked for."""
    if prompt.kind is PromptKind.OFFICER_CALL:
        raise ProtocolError("wrong_kind", "an officer answers it, who calls the learner")
    wants_text = prompt.kind is PromptKind.TYPED_CODE
    if wants_text != (typed is not None) or (wants_text and frames):
        wanted = "a typed code and no frames" if wants_text else "frames and nothing typed"
        raise InputError(f"the prompt asks for {prompt.kind}; {wanted} were wanted")
