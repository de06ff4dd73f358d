"""One lesson in progress, and what is left of it when it is over."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from verifier.answer import AnswerReason
from verifier.assurance import Assurance, LearnerPath
from verifier.check import SessionEvidence
from verifier.claim import SessionAccount
from verifier.credit import Pause
from verifier.enrolment import Anchor
from verifier.observation import QualityReason
from verifier.prompt import Judgement, Prompt
from verifier.schedule import (
    PlannedPrompt,
    PlannedPrompts,
    ScheduleHeader,
    SchedulePromise,
    commitment,
)
from verifier.session_state import SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """What the learner's side is told of an open prompt; no future time is in it."""

    prompt_id: str
    nonce: bytes
    kind: str
    closes_at: datetime
    code: str | None = field(default=None, repr=False)  # what a typed code has to be

    @classmethod
    def of(cls, prompt: Prompt) -> "PromptView":
        """Show an open prompt."""
        return cls(
            prompt_id=prompt.prompt_id,
            nonce=prompt.nonce,
            kind=prompt.kind.value,
            closes_at=prompt.closes_at,
            code=prompt.code,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """What platform and learner are told about an answer: never a score.

    ``evidence_id`` names the entry in the log; it is pending until a checkpoint holds it.
    ``asked_again`` is what to answer now, while retries are left.
    """

    judgement: Judgement
    reason: AnswerReason
    quality: tuple[QualityReason, ...]
    evidence_id: str
    asked_again: PromptView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedAnswer:
    """One judged answer and where its evidence lies; ``has_picture``: a picture was kept."""

    prompt_id: str
    index: int
    evidence_id: str
    at_s: float
    judgement: Judgement
    reason: AnswerReason
    quality: tuple[QualityReason, ...]
    has_picture: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCheckpoint:
    """The first checkpoint that holds a session's commitment; its root shapes the schedule."""

    size: int
    root: bytes  # 32 bytes
    cosignatures: tuple[bytes, ...] = ()  # of witnesses, as `verifier.schedule.seed` takes them


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonEnd:
    """What an ended lesson came to, and the place of its closing leaf."""

    account: SessionAccount
    closed_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One lesson: the session as a value, and what must not leave the engine.

    Attributes
    ----------
    secret
        ``s`` of the schedule, 32 bytes: whoever has it knows when prompts are due.
    number
        Gap-free among the sessions of this learner in this class, from 0.
    opened_index, last_index
        Places in the log of its first and its latest leaf.
    sequence
        The next leaf's place in the session; the opening leaf has 0.
    next_planned
        Index of the next prompt of the schedule to go out.
    checkpoint
        None until the commitment is published: then nothing may happen in it yet.
    answers
        In the order of the attempts in ``state.prompts``.
    end
        None while it is in progress.
    calibration_id
        Of the calibration that all its answers are judged by; None: opened before they had ids.
    path, grant_id
        How the learner is known in it, and by which officer's grant if not by the face.
    extra_time
        Whether the learner was granted more time for each answer.
    makes_up
        The session whose misses it makes up for; None: none.
    device_id
        Of the key that signs its answers; None: in no frame, or nobody came yet.
    version
        How often it was saved; a save of another version is refused.
    """

    state: SessionState = field(repr=False)
    anchor: Anchor
    assurance: Assurance
    planned_minutes: float
    expires_at: datetime
    header: ScheduleHeader = field(repr=False)
    secret: bytes = field(repr=False)
    number: int
    opened_index: int
    last_index: int
    sequence: int = 1
    next_planned: int = 0
    checkpoint: FirstCheckpoint | None = None
    answers: tuple[ArchivedAnswer, ...] = ()
    end: LessonEnd | None = None
    calibration_id: str | None = None
    path: LearnerPath = LearnerPath.FACE
    grant_id: str | None = None
    extra_time: bool = False
    makes_up: str | None = None
    device_id: str | None = None
    version: int = 0

    @property
    def promise(self) -> SchedulePromise:
        """What was promised before the session began; ``ValueError`` if it never began."""
        if self.checkpoint is None:
            raise ValueError("the schedule's commitment was not published")
        return SchedulePromise(
            secret=self.secret,
            header=self.header,
            committed=commitment(self.secret, self.header),
            checkpoint_root=self.checkpoint.root,
            cosignatures=self.checkpoint.cosignatures,
        )

    def due_from(self, index: int) -> Iterator[PlannedPrompt]:
        """Yield the schedule's prompts from ``index`` on, but for those due in a pause or a call.

        ``ValueError`` if it never began.
        """
        planned = PlannedPrompts(seed=self.promise.seed, parameters=self.header.parameters)
        silent = (*self.state.pauses, *self.state.calls)
        return (p for p in islice(planned, index, None) if not _is_within(p.offset_s, silent))

    def is_paused_at(self, offset_s: float) -> bool:
        """Say whether a pause that is over held the lesson up then."""
        return _is_within(offset_s, self.state.pauses)

    @property
    def planned(self) -> PlannedPrompt:
        """The next scheduled prompt."""
        return next(self.due_from(self.next_planned))


def _is_within(offset_s: float, pauses: Iterable[Pause]) -> bool:
    return any(pause.start_s <= offset_s < pause.end_s for pause in pauses)


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonResult:
    """A finished lesson: the public evidence, what it is worth, and where the proof lies."""

    state: SessionState
    assurance: Assurance
    evidence: SessionEvidence
    account: SessionAccount
    promise: SchedulePromise | None  # None: it was given up before its commitment was published
    answers: Sequence[ArchivedAnswer]
    opened_index: int
    closed_index: int
