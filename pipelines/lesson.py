"""One lesson in progress, and what is left of it when it is over."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from verifier.answer import AnswerReason
from verifier.check import SessionEvidence
from verifier.claim import SessionAccount
from verifier.enrolment import Anchor
from verifier.observation import QualityReason
from verifier.prompt import Judgement, Prompt
from verifier.schedule import PlannedPrompt, SchedulePromise
from verifier.session_state import SessionState


class Assurance(StrEnum):
    """Who held the camera: the engine's own frame, or the calling platform."""

    FRAME = "frame"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """What the learner's side is told of an open prompt; no future time is in it."""

    prompt_id: str
    nonce: bytes
    kind: str
    closes_at: datetime

    @classmethod
    def of(cls, prompt: Prompt) -> "PromptView":
        """Show an open prompt."""
        return cls(
            prompt_id=prompt.prompt_id,
            nonce=prompt.nonce,
            kind=prompt.kind.value,
            closes_at=prompt.closes_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """What platform and learner are told about an answer: never a score.

    ``evidence_id`` names the entry in the log; it is pending until a checkpoint holds it.
    """

    judgement: Judgement
    reason: AnswerReason
    quality: tuple[QualityReason, ...]
    evidence_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedCheck:
    """Where the evidence of one judged answer lies; ``has_picture`` tells a picture was kept."""

    index: int
    evidence_id: str
    at_s: float
    judgement: Judgement
    has_picture: bool


@dataclass(kw_only=True)
class Lesson:
    """One lesson in progress: the session as a value, and what must not leave the engine."""

    state: SessionState = field(repr=False)
    anchor: Anchor
    assurance: Assurance
    planned_minutes: float
    expires_at: datetime
    checkpoint_size: int  # of the checkpoint that the schedule follows from
    promise: SchedulePromise = field(repr=False)
    due: Iterator[PlannedPrompt] = field(repr=False)
    next_planned: PlannedPrompt = field(repr=False)
    opened_index: int
    last_index: int
    sequence: int = 1  # the next leaf's place in the session; the opening leaf has 0
    archived: list[ArchivedCheck] = field(default_factory=list)

    def take_planned(self) -> PlannedPrompt:
        """Return the next scheduled prompt and move on to the one after it."""
        planned, self.next_planned = self.next_planned, next(self.due)
        return planned

    def skip_until(self, offset_s: float) -> None:
        """Let go of what was due before ``offset_s``: the lesson had not begun."""
        while self.next_planned.offset_s < offset_s:
            self.take_planned()


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonResult:
    """A finished lesson: the public evidence, what it is worth, and where the proof lies."""

    state: SessionState
    assurance: Assurance
    evidence: SessionEvidence
    account: SessionAccount
    promise: SchedulePromise
    archived: tuple[ArchivedCheck, ...]
    opened_index: int
    closed_index: int
