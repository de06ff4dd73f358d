"""From two templates to a comparison score, a likelihood ratio and one of three outcomes.

Higher scores are more alike: with `Metric.L2` the score is ``1 - distance``, so that the tolerance
of 0.6 that `face_recognition` made customary is a score of 0.4; with `Metric.COSINE` it is the
cosine. A `verifier.calibration.Calibration` turns it into evidence and says for which contract.
Start with `compare`.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np

from verifier.arrays import Float32Array
from verifier.calibration import (
    DEFAULT_CALIBRATION,
    AnyCalibration,
    Calibration,
    Metric,
    Uncalibrated,
    default_calibration,
)
from verifier.errors import ContractMismatchError, InvalidEvidenceError

__all__ = [
    "DEFAULT_CALIBRATION",
    "DEFAULT_RULES",
    "AnyCalibration",
    "Calibration",
    "ComparisonOutcome",
    "ComparisonResult",
    "Metric",
    "OutcomeRules",
    "Template",
    "Uncalibrated",
    "compare",
    "comparison_score",
    "default_calibration",
]


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
class OutcomeRules:
    """From which ratio on a comparison is decided; everything between is inconclusive."""

    # On the default calibration's 1,225 pairs: 205 of 225 mated match (distance up to 0.54), 19 are
    # inconclusive, 1 is no match; of 1,000 non-mated none match, 28 are inconclusive, 972 are no
    # match.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """One comparison.

    Score and ratio are None when there was nothing to compare; the ratio alone is None under a
    contract that nobody has calibrated. ``calibration`` is the name for people,
    ``calibration_id`` the digest of the document, None where there is none.
    """

    outcome: ComparisonOutcome
    comparison_score: float | None
    log10_lr: float | None
    contract: str
    calibration: str
    calibration_id: str | None = None

    @classmethod
    def not_measured(cls, calibration: AnyCalibration) -> "ComparisonResult":
        """Return the result where a picture shows no face, or several: nothing is known."""
        return cls(
            outcome=ComparisonOutcome.INCONCLUSIVE,
            comparison_score=None,
            log10_lr=None,
            contract=calibration.contract_id,
            calibration=calibration.name,
            calibration_id=calibration.calibration_id,
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
            "calibration_id": self.calibration_id,
        }


def compare(
    reference: Template,
    probe: Template,
    calibration: AnyCalibration,
    rules: OutcomeRules = DEFAULT_RULES,
) -> ComparisonResult:
    """Compare a probe with a reference, by the calibration's metric.

    Under an `Uncalibrated` contract the score is measured and the outcome is inconclusive: no
    score says anything yet.

    Raises
    ------
    ContractMismatchError
        If the templates, or the calibration, belong to different contracts: their numbers
        mean different things.
    InvalidEvidenceError
        If the vectors differ in length although the contract is the same, or have no direction
        where the metric needs one.
    """
    if probe.contract_id != reference.contract_id:
        raise ContractMismatchError(
            f"probe made under {probe.contract_id}, reference under {reference.contract_id}"
        )
    calibration.require_fits(reference.contract_id, calibration.metric)
    score = comparison_score(reference.vector, probe.vector, calibration.metric)
    log10_lr = calibration.log10_lr(score)
    return ComparisonResult(
        outcome=ComparisonOutcome.INCONCLUSIVE if log10_lr is None else rules.outcome(log10_lr),
        comparison_score=score,
        log10_lr=log10_lr,
        contract=reference.contract_id,
        calibration=calibration.name,
        calibration_id=calibration.calibration_id,
    )


def comparison_score(reference: Float32Array, probe: Float32Array, metric: Metric) -> float:
    """Return how alike two vectors, shape (d,), are; higher is more alike, at most 1.

    Raises
    ------
    InvalidEvidenceError
        If the shapes differ, or a vector of length 0 is to be compared by its direction.
    """
    if reference.shape != probe.shape:
        raise InvalidEvidenceError(f"vectors of {reference.shape} and {probe.shape}")
    first, second = reference.astype(np.float64), probe.astype(np.float64)
    if metric is Metric.L2:
        return 1.0 - float(np.linalg.norm(first - second))
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    if lengths == 0:
        raise InvalidEvidenceError("a vector of length 0 has no direction to compare")
    # Rounding may carry the cosine of a vector with itself past 1.
    return min(1.0, max(-1.0, float(first @ second) / lengths))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
