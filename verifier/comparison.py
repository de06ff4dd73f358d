"""From two templates to a comparison score, a likelihood ratio and one of three outcomes.

The comparison score is ``1 - L2 distance`` of dlib's vectors: higher is more alike, and the
tolerance of 0.6 that `face_recognition` made customary is a score of 0.4. A `Calibration`
turns it into evidence, log10 P(score | same person) / P(score | another person), and says for
which contract. Start with `compare`.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np

from verifier.arrays import Float32Array
from verifier.errors import ContractMismatchError, InvalidEvidenceError


class ComparisonOutcome(StrEnum):
    """What a comparison says; the console shows it, the learner and platform never see it."""

    MATCH = "match"
    NO_MATCH = "no_match"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A face as a vector, and the contract it was made under.

    ``vector`` has shape (d,) and only finite values. Templates of different contracts, for
    example of two versions of a network, are never compared.
    """

    contract_id: str
    vector: Float32Array = field(repr=False)

    def __post_init__(self) -> None:
        if self.vector.ndim != 1 or self.vector.size == 0:
            raise InvalidEvidenceError(f"template of shape {self.vector.shape}, (d,) wanted")
        # A NaN distance is neither above nor below any threshold.
        if not np.isfinite(self.vector).all():
            raise InvalidEvidenceError("template with values that are not finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How scores made under one contract become evidence.

    Linear on the log scale, then capped: ``log10_lr = slope * score + intercept``, between
    ``min_log10_lr`` and ``max_log10_lr``. Few people stand behind any calibration, and a ratio
    more extreme than their number supports is an extrapolation; ``cap_reason`` says which.
    """

    name: str
    contract_id: str
    slope: float
    intercept: float
    min_log10_lr: float
    max_log10_lr: float
    cap_reason: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope > 0 and math.isfinite(self.intercept)):
            raise InvalidEvidenceError(f"calibration line {self.slope}, {self.intercept}")
        if not -math.inf < self.min_log10_lr < 0 < self.max_log10_lr < math.inf:
            raise InvalidEvidenceError(
                f"calibration caps {self.min_log10_lr}, {self.max_log10_lr}: wanted around 0"
            )

    def log10_lr(self, comparison_score: float) -> float:
        """Return log10 P(score | same person) / P(score | another), within the caps."""
        raw = self.slope * comparison_score + self.intercept
        return min(max(raw, self.min_log10_lr), self.max_log10_lr)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRules:
    """From which ratio on a comparison is decided; everything between is inconclusive."""

    # On the 1,225 pairs below: 205 of 225 mated match (distance up to 0.54), 19 are inconclusive,
    # 1 is no match; of 1,000 non-mated none match, 28 are inconclusive, 972 are no match.
    match_from_log10_lr: float = 1.0
    # Further from 0 than the other, because the decade that the default calibration adds for
    # similar impostors is right near the threshold only and overstates low scores (0.64 up).
    no_match_to_log10_lr: float = -1.75

    def __post_init__(self) -> None:
        if not self.no_match_to_log10_lr < 0 < self.match_from_log10_lr:
            raise InvalidEvidenceError(
                f"outcome limits {self.no_match_to_log10_lr}, {self.match_from_log10_lr}"
            )

    def outcome(self, log10_lr: float) -> ComparisonOutcome:
        """Return match, no_match or, in the wide zone between them, inconclusive."""
        if log10_lr >= self.match_from_log10_lr:
            return ComparisonOutcome.MATCH
        if log10_lr <= self.no_match_to_log10_lr:
            return ComparisonOutcome.NO_MATCH
        return ComparisonOutcome.INCONCLUSIVE


DEFAULT_RULES: Final = OutcomeRules()

_SIMILAR_IMPOSTORS_FACTOR: Final = 11

DEFAULT_CALIBRATION: Final = Calibration(
    name="default, uncalibrated for this population",
    contract_id="dlib-resnet-v1@55533b28a958+mesh25-chip150-v1.c1",
    # Fitted to 5 people of LFW, 10 photographs each: 225 mated and 1,000 non-mated pairs. Logistic
    # regression with both kinds weighing the same gives 29.8 and -11.4 (27.9 to 33.9 leaving one
    # person out), two normal distributions of one width 26.7 and -10.7; 28 and -10.9 lie between.
    slope=28.0,
    # Minus one decade: those 5 people differ from each other more than impostors in one county
    # do. With impostors of the same sex, age and region the median system of the DHS RIVR rally
    # (2026) made 11 times as many false matches. Neutral is then a distance of 0.575. On 10 other
    # people of LFW the customary 0.6 rejects 1.8 % of 450 mated and accepts 0.3 % of 4,500
    # non-mated pairs; at 0.6 this calibration says -0.7.
    intercept=-10.9 - 1.0,
    # dlib's own test has 3,000 mated pairs of photographs, none of them from a webcam.
    min_log10_lr=-2.0,
    # With 3,000 non-mated pairs no false-match rate below 3/3000 can be shown (rule of three),
    # and similar impostors cost a factor of 11: 1.96.
    max_log10_lr=math.log10(3000 / 3 / _SIMILAR_IMPOSTORS_FACTOR),
    cap_reason="3,000 non-mated pairs of dissimilar people support no more",
)
"""What holds until a deployment calibrates on its own learners and cameras."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """One comparison. Score and ratio are None when there was nothing to compare."""

    outcome: ComparisonOutcome
    comparison_score: float | None
    log10_lr: float | None
    contract: str
    calibration: str

    @classmethod
    def not_measured(cls, calibration: Calibration) -> "ComparisonResult":
        """Return the result where a picture shows no face, or several: nothing is known."""
        return cls(
            outcome=ComparisonOutcome.INCONCLUSIVE,
            comparison_score=None,
            log10_lr=None,
            contract=calibration.contract_id,
            calibration=calibration.name,
        )

    def of_unfit_face(self) -> "ComparisonResult":
        """Return the result where a face was unfit: nothing is decided, neither way.

        Bad light must not make it somebody else's face, and motion blur must not make somebody
        else's face the learner's. What was measured stays in the result.
        """
        return replace(self, outcome=ComparisonOutcome.INCONCLUSIVE)

    def to_json(self) -> dict[str, Any]:
        """Return the public format of ``compare``; numbers rounded to four decimals."""
        return {
            "outcome": self.outcome.value,
            "comparison_score": _rounded(self.comparison_score),
            "log10_lr": _rounded(self.log10_lr),
            "contract": self.contract,
            "calibration": self.calibration,
        }


def compare(
    reference: Template,
    probe: Template,
    calibration: Calibration,
    rules: OutcomeRules = DEFAULT_RULES,
) -> ComparisonResult:
    """Compare a probe with a reference.

    Raises
    ------
    ContractMismatchError
        If the templates, or the calibration, belong to different contracts: their numbers
        mean different things.
    InvalidEvidenceError
        If the vectors differ in length although the contract is the same.
    """
    if probe.contract_id != reference.contract_id:
        raise ContractMismatchError(
            f"probe made under {probe.contract_id}, reference under {reference.contract_id}"
        )
    if calibration.contract_id != reference.contract_id:
        raise ContractMismatchError(
            f"calibration for {calibration.contract_id}, templates of {reference.contract_id}"
        )
    score = comparison_score(reference.vector, probe.vector)
    log10_lr = calibration.log10_lr(score)
    return ComparisonResult(
        outcome=rules.outcome(log10_lr),
        comparison_score=score,
        log10_lr=log10_lr,
        contract=reference.contract_id,
        calibration=calibration.name,
    )


def comparison_score(reference: Float32Array, probe: Float32Array) -> float:
    """Return ``1 - L2 distance`` of two vectors, shape (d,): at most 1, higher is more alike.

    Raises
    ------
    InvalidEvidenceError
        If the shapes differ.
    """
    if reference.shape != probe.shape:
        raise InvalidEvidenceError(f"vectors of {reference.shape} and {probe.shape}")
    return 1.0 - float(np.linalg.norm(reference.astype(np.float64) - probe))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
