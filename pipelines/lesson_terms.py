"""What differs between sessions by who holds the camera and how the learner is known."""

import secrets
from typing import Final

from pipelines.lesson import Lesson
from verifier.assurance import Assurance, LearnerPath
from verifier.errors import ProtocolError
from verifier.policy import Policy
from verifier.prompt import PromptKind
from verifier.schedule import ScheduleParameters

# What an officer may ask for beside the kinds that the schedule draws. A face session is never
# asked for a code: it shows that somebody is there, and would count as a pass by anybody.
_BESIDE: Final = {
    LearnerPath.FACE: {PromptKind.SILENT_CAPTURE, PromptKind.OFFICER_CALL},
    LearnerPath.NON_FACE: {PromptKind.TYPED_CODE, PromptKind.OFFICER_CALL},
}


def parameters_of(policy: Policy, assurance: Assurance, path: LearnerPath) -> ScheduleParameters:
    """Return what shapes a session's schedule."""
    # Codes say less than faces about the time between two of them: docs/score.md has the figures.
    may_be_sparse = assurance is Assurance.FRAME and path is LearnerPath.FACE
    return ScheduleParameters(
        min_gap_s=policy.prompts.min_gap_s,
        mean_gap_s=policy.frame.mean_gap_s if may_be_sparse else policy.prompts.mean_gap_s,
        kinds=policy.prompts.kinds if path is LearnerPath.FACE else policy.non_face.kinds,
    )


def usual_kind(lesson: Lesson) -> PromptKind:
    """Return the kind of opening, closing and most added prompts: the path's first."""
    return PromptKind(lesson.header.parameters.kinds[0])


def require_addable(lesson: Lesson, kind: PromptKind) -> None:
    """Raise ``wrong_kind`` for what learners on this path are not asked."""
    if kind not in _BESIDE[lesson.path]:
        raise ProtocolError("wrong_kind", f"{kind} is not asked on the path {lesson.path}")


def fresh_code(kind: PromptKind, policy: Policy, *, besides: str | None = None) -> str | None:
    """Return digits to type that nobody can know beforehand; None where none are asked for.

    Others than ``besides``, which were asked for before.
    """
    if kind is not PromptKind.TYPED_CODE:
        return None
    digits = policy.non_face.code_digits
    code = f"{secrets.randbelow(10**digits):0{digits}}"
    return code if code != besides else fresh_code(kind, policy, besides=besides)


def waiting_s(kind: PromptKind, policy: Policy) -> float | None:
    """Return how long a prompt waits, in seconds; None: as long as the policy says of all."""
    called = kind is PromptKind.OFFICER_CALL
    return policy.non_face.officer_call_deadline_s if called else None
