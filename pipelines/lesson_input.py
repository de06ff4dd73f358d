"""What callers send to a lesson, checked before anything is done with it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipelines.lesson import Lesson
from verifier import session as acts
from verifier.errors import InputError
from verifier.session_state import SessionState

LONGEST_LESSON_MINUTES: Final = 24 * 60
MOST_FRAMES: Final = 24
LARGEST_ANSWER_BYTES: Final = 3 << 20

_IDENTIFIER: Final = re.compile(r"[\w.:-]{1,64}")
_LONGEST_LEARNER_ID: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAnswer:
    """What was sent in answer to a prompt, and when."""

    prompt_id: str
    nonce: bytes
    arrived_at: datetime
    received_at: datetime

    def begin(self, lesson: Lesson) -> SessionState:
        """Return the session with the upload begun; ``ProtocolError`` if it may not."""
        # Whoever sends headers before the prompt is out gains nothing by it.
        asked = [p.asked_at for p in lesson.state.prompts if p.prompt_id == self.prompt_id]
        at = max([self.arrived_at, *asked])
        return acts.begin_upload(lesson.state, prompt_id=self.prompt_id, nonce=self.nonce, at=at)


def require_ids(learner_id: str, *, class_id: str, platform_id: str) -> None:
    """Raise ``InputError`` for an id that may not stand on record."""
    if not isinstance(learner_id, str) or not 0 < len(learner_id) <= _LONGEST_LEARNER_ID:
        raise InputError(f"learner_id is not a text of 1 to {_LONGEST_LEARNER_ID} characters")
    # These stand in the public log for ever, so no free text.
    for name, value in (("class_id", class_id), ("platform_id", platform_id)):
        if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
            raise InputError(f"{name} is not 1 to 64 letters, digits or any of . _ : -")


def require_minutes(planned_minutes: float) -> None:
    """Raise ``InputError`` for what no lesson lasts."""
    number = isinstance(planned_minutes, int | float) and not isinstance(planned_minutes, bool)
    if not number or not math.isfinite(planned_minutes):
        raise InputError("planned_minutes is not a finite number")
    if not 0 < planned_minutes <= LONGEST_LESSON_MINUTES:
        wanted = f"more than 0, at most {LONGEST_LESSON_MINUTES}"
        raise InputError(f"planned_minutes is {planned_minutes}; {wanted} was wanted")


def require_frames(frames: Sequence[bytes]) -> None:
    """Raise ``InputError`` for more than one answer may hold."""
    if not isinstance(frames, list | tuple) or not all(isinstance(f, bytes) for f in frames):
        raise InputError("frames is not a list of bytes")
    if len(frames) > MOST_FRAMES:
        raise InputError(f"{len(frames)} frames in one answer; at most {MOST_FRAMES} were wanted")
    size = sum(map(len, frames))
    if size > LARGEST_ANSWER_BYTES:
        raise InputError(f"{size} bytes in one answer; at most {LARGEST_ANSWER_BYTES} were wanted")


def require_nonce(nonce: bytes) -> None:
    """Raise ``InputError`` for what is no bytes; whose nonce it is only the session knows."""
    if not isinstance(nonce, bytes):
        raise InputError(f"the nonce is {type(nonce).__name__}; bytes were wanted")
