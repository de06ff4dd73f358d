"""Which states of presence a finding can tell apart, and how far it does.

Start at :func:`log_likelihoods`: the likelihood table, for one check at a time. Its law: no
finding moves a ratio between two states it cannot tell apart, and what was not measured moves
nothing.

===================  =======  ========  ====================  ====================  =======
finding              genuine  impostor  presentation attack   injection             absent
===================  =======  ========  ====================  ====================  =======
capture outcome      present  present   present               present               absent
comparison ratio L   L        1         L or 1, see `Phase`   L or 1, see `Phase`   1
attack detection A   1        1         1 / A                 1: not tested on it   1
===================  =======  ========  ====================  ====================  =======

A code typed rightly is a capture outcome like a face that was seen and compared with nothing: it
separates present from absent, and never one person from another. What an officer says of a call
moves nothing: nobody measured how often officers err, and one of them alone decides nothing. Other
challenges, repeated frames and streams are not in it yet: no rate has been measured for them.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

import numpy as np

from verifier.arrays import FloatArray
from verifier.check import Check
from verifier.errors import InvalidEvidenceError
from verifier.policy import Policy
from verifier.prompt import PromptKind

# A ratio of a million would need a million independent people behind its calibration.
MAX_ABS_LOG10_LR = 6.0


class State(StrEnum):
    """Who is before the camera, in the order of every array over states."""

    GENUINE = "genuine"
    ABSENT = "absent"
    IMPOSTOR = "impostor"
    PRESENTATION_ATTACK = "presentation_attack"
    INJECTION = "injection"


STATES = tuple(State)


class Phase(IntEnum):
    """The states with what stays hidden and lasts; the order of every array over phases.

    An attack shows the enrolled person's face or another one, and goes on doing so. Were that
    drawn afresh at each check, every match would speak for ``genuine`` and against an attack with
    the person's own photograph, although no comparison can tell these two apart.

    Absence is a short break or not: one who left for good does not come back like one who fetches
    tea.
    """

    GENUINE = 0
    SHORT_BREAK = 1
    AWAY = 2
    IMPOSTOR = 3
    PRESENTED_SELF = 4
    PRESENTED_OTHER = 5
    INJECTED_SELF = 6
    INJECTED_OTHER = 7


STATE_OF_PHASE = (
    State.GENUINE,
    State.ABSENT,
    State.ABSENT,
    State.IMPOSTOR,
    State.PRESENTATION_ATTACK,
    State.PRESENTATION_ATTACK,
    State.INJECTION,
    State.INJECTION,
)
_MATED = np.array(
    [phase in {Phase.GENUINE, Phase.PRESENTED_SELF, Phase.INJECTED_SELF} for phase in Phase]
)
_ABSENT = np.array([state is State.ABSENT for state in STATE_OF_PHASE])
_PRESENTED = np.array([state is State.PRESENTATION_ATTACK for state in STATE_OF_PHASE])


class Proposition(StrEnum):
    """The question a finding answers, and thereby the states it may separate."""

    SOMEBODY_THERE = "somebody_there_vs_nobody"
    SAME_PERSON = "same_person_vs_another"
    BONA_FIDE = "bona_fide_vs_presentation_attack"

    def separates(self, one: State, other: State) -> bool:
        """Whether a finding on this question may move the ratio of two states."""
        return _SIDES[self][one] != _SIDES[self][other]


# 1 answers like a genuine learner, 0 like the opposite; a half: some attacks do, some do not.
# Injection counts as bona fide because no attack detector here was tested on it: what was not
# measured must not move it against a genuine learner.
_SIDES: dict[Proposition, dict[State, float]] = {
    Proposition.SOMEBODY_THERE: dict(zip(STATES, (1, 0, 1, 1, 1), strict=True)),
    Proposition.SAME_PERSON: dict(zip(STATES, (1, 0, 0, 0.5, 0.5), strict=True)),
    Proposition.BONA_FIDE: dict(zip(STATES, (1, 1, 1, 0, 1), strict=True)),
}


class EvidenceKind(StrEnum):
    """Where a finding came from."""

    CAPTURE_OUTCOME = "capture_outcome"
    FACE_COMPARISON = "face_comparison"
    ATTACK_DETECTION = "attack_detection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One finding and the states of presence it can tell apart.

    Attributes
    ----------
    log10_lr
        P(finding | proposition) / P(finding | its opposite); 0 is neutral.
    model_sha256
        The weights behind it, lower-case hex, so that it can be scored again.

    Raises
    ------
    InvalidEvidenceError
        If ``log10_lr`` is not finite or larger than any calibration could support, the digest is
        not a SHA-256, or the time has no zone.
    """

    kind: EvidenceKind
    proposition: Proposition
    log10_lr: float
    model_sha256: str
    observed_at: datetime

    def __post_init__(self) -> None:
        # One unbounded ratio would outvote every other finding. NaN fails every comparison.
        if not abs(self.log10_lr) <= MAX_ABS_LOG10_LR:
            wanted = f"a finite ratio of at most {MAX_ABS_LOG10_LR:g}"
            raise InvalidEvidenceError(f"{self.kind}: log10_lr is {self.log10_lr}; {wanted}")
        if len(self.model_sha256) != 64 or set(self.model_sha256) - set("0123456789abcdef"):
            raise InvalidEvidenceError(f"{self.kind}: model_sha256 is not 64 hex digits")
        if self.observed_at.utcoffset() is None:
            raise InvalidEvidenceError(f"{self.kind}: observed_at has no time zone")


def log_likelihoods(check: Check, policy: Policy) -> FloatArray:
    """Return ln P(check | state) for the five states, shape (5,), up to a common constant."""
    by_phase = phase_log_likelihoods(check, policy)
    self_, other = math.log(policy.presence.pi_self), math.log1p(-policy.presence.pi_self)
    presented = np.logaddexp(
        self_ + by_phase[Phase.PRESENTED_SELF], other + by_phase[Phase.PRESENTED_OTHER]
    )
    injected = np.logaddexp(
        self_ + by_phase[Phase.INJECTED_SELF], other + by_phase[Phase.INJECTED_OTHER]
    )
    single = (by_phase[phase] for phase in (Phase.GENUINE, Phase.AWAY, Phase.IMPOSTOR))
    return np.array([*single, presented, injected])


def phase_log_likelihoods(
    check: Check,
    policy: Policy,
    *,
    outcome_weight: float = 1,
    comparison_weight: float = 1,
    pad_weight: float = 1,
) -> FloatArray:
    """Return ln P(check | phase), shape (8,), up to a common constant.

    Parameters
    ----------
    outcome_weight, comparison_weight, pad_weight
        0 to 1: how much of a finding counts, less where it repeats others of the session.
    """
    outcome = np.where(_ABSENT, outcome_log_lr(check, policy), 0.0)
    comparison = bounded_log_lr(check.comparison_log10_lr, policy)
    pad = bounded_log_lr(check.pad_log10_lr, policy)
    return (
        outcome_weight * outcome
        + np.where(_MATED, comparison_weight * comparison, 0.0)
        # Divided out of the attack, not given to the others: injection was not tested, and must
        # keep its ratio to genuine.
        - np.where(_PRESENTED, pad_weight * pad, 0.0)
    )


def outcome_log_lr(check: Check, policy: Policy) -> float:
    """Return ln P(outcome | nobody there) / P(outcome | somebody there); 0 of an officer's call."""
    if is_call(check):
        return 0.0
    rates = policy.outcomes
    absent = getattr(rates, f"absent_{check.outcome.value}")
    return float(math.log(absent / getattr(rates, f"present_{check.outcome.value}")))


def is_call(check: Check) -> bool:
    """Say whether it is what an officer recorded of a call, not what a learner sent."""
    return check.challenge is not None and check.challenge.kind == PromptKind.OFFICER_CALL


def bounded_log_lr(log10_lr: float | None, policy: Policy) -> float:
    """Return the natural logarithm of a ratio within the policy's bound; not measured is 0."""
    if log10_lr is None:
        return 0.0
    bound = policy.presence.max_abs_log10_lr
    return math.log(10) * min(bound, max(-bound, log10_lr))
