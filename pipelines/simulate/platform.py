"""A training platform that holds a lesson: it polls, films, answers and announces the end."""

from dataclasses import dataclass

from pipelines.clock import ManualClock
from pipelines.lesson import LessonResult, PromptView
from pipelines.lesson_engine import LessonEngine
from pipelines.simulate.attendance import Attendance
from pipelines.simulate.webcam import Webcam

ANSWER_DELAY_S = 4.0
"""From the prompt's arrival to the frames': a browser opens the camera and uploads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPlatform:
    """Plays lessons against an engine whose clock it moves."""

    engine: LessonEngine
    clock: ManualClock
    platform_id: str

    def hold_lesson(
        self, *, learner_id: str, class_id: str, attendance: Attendance, webcam: Webcam
    ) -> LessonResult:
        """Hold one lesson to its end and return what the engine makes of it."""
        session_id = self.engine.open(
            learner_id=learner_id,
            class_id=class_id,
            platform_id=self.platform_id,
            planned_minutes=attendance.duration_s / 60,
        )
        elapsed_s = self._run(session_id, attendance, webcam, until_s=attendance.duration_s)
        self.engine.announce_end(session_id)
        self._answer_all(session_id, attendance, webcam, elapsed_s)
        return self.engine.close(session_id)

    def _run(
        self, session_id: str, attendance: Attendance, webcam: Webcam, *, until_s: float
    ) -> float:
        elapsed_s = 0.0
        while elapsed_s < until_s:
            elapsed_s = self._answer_all(session_id, attendance, webcam, elapsed_s)
            self.clock.advance(1.0)
            elapsed_s += 1.0
        # A prompt that is open when the bell rings is answered before the end is announced.
        return self._answer_all(session_id, attendance, webcam, elapsed_s)

    def _answer_all(
        self, session_id: str, attendance: Attendance, webcam: Webcam, elapsed_s: float
    ) -> float:
        """Answer prompts, retries included, until none is open; return the time it is then."""
        while prompt := self.engine.poll(session_id):
            self.clock.advance(ANSWER_DELAY_S)
            elapsed_s += ANSWER_DELAY_S
            self._answer(session_id, prompt, attendance.capture(webcam, elapsed_s))
        return elapsed_s

    def _answer(self, session_id: str, prompt: PromptView, frames: list[bytes]) -> None:
        self.engine.answer(
            session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, frames=frames
        )
