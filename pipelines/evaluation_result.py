"""What an evaluation found, as a value and in its public format."""

from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.embedded_pictures import EmbeddedPictures
from pipelines.face_pairs import ScoredPairs
from pipelines.picture_lists import PictureList
from verifier.calibration import Calibration
from verifier.error_rates import OperatingPoints
from verifier.measured_rate import FnmrAtFmr, MeasuredRate
from verifier.subject_bootstrap import Interval

_DIGITS: Final = 6  # of rates and scores in JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a reader of the figures has to know, in two languages."""

    chinese: str
    english: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that ``zhenxue evaluate`` says.

    ``calibration`` is None where scores were not turned into ratios; so is ``cllr`` then.
    ``points`` is what the DET curve is drawn from; ``notes`` say what to be careful about.
    """

    listed: PictureList
    embedded: EmbeddedPictures
    scored: ScoredPairs
    subjects: int
    mated_subjects: int
    subject_pairs: int
    points: OperatingPoints = field(repr=False)
    eer: MeasuredRate
    fnmr_at: tuple[FnmrAtFmr, ...]
    cllr: float | None
    cllr_interval: Interval | None
    min_cllr: float
    calibration: Calibration | None
    rounds: int
    seed: int
    data_sha256: str
    notes: tuple[Note, ...]

    @property
    def mated(self) -> int:
        """Completed comparisons of one person."""
        return int(self.scored.mated.sum())

    @property
    def non_mated(self) -> int:
        """Completed comparisons of two people."""
        return len(self.scored.mated) - self.mated

    def to_json(self) -> dict[str, Any]:
        """Return the public format of ``evaluate``."""
        return {
            "subjects": self.subjects,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "fta": self.embedded.fta,
            "eer": rate_json(self.eer),
            "fnmr_at": {f"{each.target:g}": fnmr_json(each) for each in self.fnmr_at},
            "cllr": _rounded(self.cllr),
            "min_cllr": _rounded(self.min_cllr),
            "cllr_interval": _interval_json(self.cllr_interval),
            **self._counts_json(),
            "contract": self.scored.contract_id,
            "metric": self.scored.metric.value,
            "calibration": None if self.calibration is None else self.calibration.label,
            "bootstrap": {"rounds": self.rounds, "seed": self.seed},
            "data": {"name": self.listed.name, "sha256": self.data_sha256},
            "notes": [note.english for note in self.notes],
        }

    def _counts_json(self) -> dict[str, Any]:
        return {
            "images": len(self.embedded.pictures),
            "fta_reasons": dict(self.embedded.failures),
            "unfit_images": int(self.embedded.unfit.sum()),
            "mated_subjects": self.mated_subjects,
            "subject_pairs": self.subject_pairs,
            "not_compared": {
                "mated": self.scored.not_compared_mated,
                "non_mated": self.scored.not_compared_non_mated,
                "identical": self.scored.identical,
            },
            "non_mated_available": self.scored.non_mated_available,
            "duplicate_pairs": self.listed.duplicate_pairs,
            "ignored_files": self.listed.ignored_files,
        }


def fnmr_json(found: FnmrAtFmr) -> dict[str, Any]:
    """Return an FNMR's public form, with the operating point it was read at."""
    return {
        **rate_json(found.rate),
        "threshold": _rounded(found.threshold),
        "false_matches": found.false_matches,
        "false_non_matches": found.false_non_matches,
    }


def rate_json(rate: MeasuredRate) -> dict[str, Any]:
    """Return a rate's public form; what was not measured is null."""
    return {
        "value": _rounded(rate.value),
        "low": _rounded(rate.low),
        "high": _rounded(rate.high),
        "few": rate.few,
        "why": rate.why,
    }


def _interval_json(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return {"low": _rounded(interval[0]), "high": _rounded(interval[1])}


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, _DIGITS)
