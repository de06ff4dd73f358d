"""What callers send to a lesson, checked before anything is done with it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

from pipelines.lesson import Lesson
from verifier import session as acts
from verifier.errors import InputError, ProtocolError
from verifier.policy_groups import CaptureRules
from verifier.prompt import Prompt
from verifier.session_state import SessionState

LONGEST_LESSON_MINUTES: Final = 24 * 60
MOST_FRAMES: Final = 24
"""What a request may carry before anybody asks the policy, which may allow less."""
LONGEST_TYPED: Final = 64

_IDENTIFIER: Final = re.compile(r"[\w.:-]{1,64}")
_LONGEST_LEARNER_ID: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAnswer:
    """A device's signature over what it sent, as the service found it good.

    ``signed`` is what the signature covers, so that anybody who has the device's public key can
    repeat the check.
    """

    device_id: str
    signature: bytes
    signed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAnswer:
    """What was sent in answer to a prompt, and when.

    ``announced``: these very bytes were, in the time in which an answer has to begin to arrive.
    """

    prompt_id: str
    nonce: bytes
    arrived_at: datetime
    received_at: datetime
    signed: SignedAnswer | None = None
    announced: bool = False

    def begin(self, lesson: Lesson) -> SessionState:
        """Return the session with the upload begun; ``ProtocolError`` if it may not."""
        # Whoever sends headers before the prompt is out gains nothing by it.
        asked = [p.asked_at for p in lesson.state.prompts if p.prompt_id == self.prompt_id]
        at = max([self.arrived_at, *asked])
        state = acts.begin_upload(lesson.state, prompt_id=self.prompt_id, nonce=self.nonce, at=at)
        # The grace is for bytes that exist already, not for whoever has yet to come back.
        if at > self.prompt_of(state).captured_until and not self.announced:
            raise ProtocolError("deadline_passed", "it was not announced in time")
        return state

    def prompt_of(self, state: SessionState) -> Prompt:
        """Return the prompt that it answers."""
        return acts.prompt_of(state, self.prompt_id)

    def latency_s(self, prompt: Prompt) -> float:
        """Return how long after the prompt was asked it began to arrive, in seconds."""
        return max(0.0, (self.arrived_at - prompt.asked_at).total_seconds())


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


def require_frames(
    frames: Sequence[bytes], rules: CaptureRules, captured_ms: Sequence[int] | None = None
) -> None:
    """Raise ``InputError`` for more than one answer may hold, or a film that is none.

    A few frames are stills, of any size; more are a film, whose frames are small and many.

    Parameters
    ----------
    captured_ms
        When each frame was taken, in whole milliseconds of the sender's own clock, rising.
    """
    if not isinstance(frames, list | tuple) or not all(isinstance(f, bytes) for f in frames):
        raise InputError("frames is not a list of bytes")
    _require_at_most("frames in one answer", len(frames), rules.most_frames)
    _require_at_most("bytes in one answer", sum(map(len, frames)), rules.answer_bytes)
    is_film = len(frames) > rules.most_stills
    if is_film:
        _require_at_most(
            "bytes in a frame of a film", max(map(len, frames)), rules.film_frame_bytes
        )
        _require_at_most("bytes in a film", sum(map(len, frames)), rules.film_bytes)
    if captured_ms is not None:
        _require_times(captured_ms, len(frames))
        if is_film:
            _require_rate(captured_ms, rules)


def _require_at_most(noun: str, seen: int, most: int) -> None:
    if seen > most:
        raise InputError(f"{seen} {noun}; at most {most} were wanted")


def _require_times(captured_ms: Sequence[int], frames: int) -> None:
    whole = isinstance(captured_ms, list | tuple) and all(type(ms) is int for ms in captured_ms)
    if not whole:
        raise InputError("captured_ms is not a list of whole milliseconds")
    if len(captured_ms) != frames:
        raise InputError(f"{len(captured_ms)} times in captured_ms; {frames} were wanted")
    if any(later <= earlier for earlier, later in pairwise(captured_ms)):
        raise InputError("captured_ms does not rise from frame to frame")


def _require_rate(captured_ms: Sequence[int], rules: CaptureRules) -> None:
    # The sender's own clock proves nothing: this only keeps films out that no judge could use.
    per_s = 1000 * (len(captured_ms) - 1) / (captured_ms[-1] - captured_ms[0])
    if per_s < rules.min_frames_per_s:
        wanted = f"at least {rules.min_frames_per_s:g}"
        raise InputError(f"{per_s:.2f} frames a second; {wanted} were wanted of a film")


def require_typed(typed: str) -> None:
    """Raise ``InputError`` for what is no short text."""
    if not isinstance(typed, str) or not 0 < len(typed) <= LONGEST_TYPED:
        raise InputError(f"typed is not a text of 1 to {LONGEST_TYPED} characters")


def require_nonce(nonce: bytes) -> None:
    """Raise ``InputError`` for what is no bytes; whose nonce it is only the session knows."""
    if not isinstance(nonce, bytes):
        raise InputError(f"the nonce is {type(nonce).__name__}; bytes were wanted")
