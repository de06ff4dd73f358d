"""A training platform that holds a lesson: it polls, films, answers and announces the end."""

import base64
from dataclasses import dataclass
from typing import Any

from pipelines.clock import ManualClock
from pipelines.simulate.attendance import Attendance
from pipelines.simulate.http_caller import HttpCaller
from pipelines.simulate.webcam import Webcam

ANSWER_DELAY_S = 4.0
"""From the prompt's arrival to the frames': a browser opens the camera and uploads."""
POLL_EVERY_S = 6.0
"""A tenth of the time that a prompt waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPlatform:
    """Plays lessons against a service whose clock it moves."""

    caller: HttpCaller
    clock: ManualClock

    def hold_lesson(
        self, *, learner_id: str, class_id: str, attendance: Attendance, webcam: Webcam
    ) -> Any:
        """Hold one lesson to its end; return what the service tells the platform of it."""
        opened = self.caller.post(
            "/v1/sessions",
            {
                "learner_id": learner_id,
                "class_id": class_id,
                "planned_minutes": attendance.duration_s / 60,
                "assurance": "platform",
            },
        )
        session = f"/v1/sessions/{opened['session_id']}"
        elapsed_s = self._run(session, attendance, webcam, until_s=attendance.duration_s)
        self.caller.post(f"{session}/end")
        self._answer_all(session, attendance, webcam, elapsed_s)
        return self.caller.post(f"{session}/close")

    def _run(
        self, session: str, attendance: Attendance, webcam: Webcam, *, until_s: float
    ) -> float:
        elapsed_s = 0.0
        while elapsed_s < until_s:
            elapsed_s = self._answer_all(session, attendance, webcam, elapsed_s)
            step_s = min(POLL_EVERY_S, max(until_s - elapsed_s, 0.0))
            self.clock.advance(step_s)
            elapsed_s += step_s
        # A prompt that is open when the bell rings is answered before the end is announced.
        return self._answer_all(session, attendance, webcam, elapsed_s)

    def _answer_all(
        self, session: str, attendance: Attendance, webcam: Webcam, elapsed_s: float
    ) -> float:
        """Answer prompts, retries included, until none is open; return the time it is then."""
        while prompt := self.caller.get(f"{session}/prompt")["prompt"]:
            self.clock.advance(ANSWER_DELAY_S)
            elapsed_s += ANSWER_DELAY_S
            frames = attendance.capture(webcam, elapsed_s)
            self.caller.post(
                f"/v1/prompts/{prompt['prompt_id']}/answer",
                {"nonce": prompt["nonce"], "frames": [in_base64(frame) for frame in frames]},
            )
        return elapsed_s


def in_base64(data: bytes) -> str:
    """Return bytes as the API takes them."""
    return base64.b64encode(data).decode("ascii")
