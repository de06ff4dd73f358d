"""How much a comparison score says: a dated document for one template contract.

A `Calibration` turns a comparison score into evidence, log10 P(score | same person) /
P(score | another person). Its SHA-256 is its name: results and sessions carry it, so that anybody
can say later under which line, and on whose faces, they were judged. `default_calibration` finds
the one that is built in; where there is none, `Uncalibrated` stands in and decides nothing.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

import numpy as np

from verifier.arrays import FloatArray
from verifier.errors import (
    ContractMismatchError,
    InputError,
    InvalidEvidenceError,
    InvalidRecordError,
)
from verifier.evidence import MAX_ABS_LOG10_LR
from verifier.measured_rate import RULE_OF_THREE
from verifier.strict_json import Fields, load_json, shown
from verifier.transparency.canonical_json import JSONValue, canonical_json

T = TypeVar("T")

FORMAT: Final = "zhenxue/calibration/v1"

MOST_BYTES: Final = 64 << 10
"""Of a document; one with many groups under unknown keys has a few thousand."""

LONGEST_TEXT: Final = 200
"""Characters of a name, contract or reason; they are shown in consoles and logs."""


class Metric(StrEnum):
    """How two vectors become a comparison score; higher is more alike."""

    L2 = "l2"  # 1 - Euclidean distance
    COSINE = "cosine"  # the cosine of the angle between them


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """What a calibration rests on, counted in pairs and in people.

    Attributes
    ----------
    subjects, mated_subjects
        People, and those of them who were compared with themselves.
    subject_pairs
        Pairs of different people of whom at least one comparison was made.
    mated, non_mated
        Comparisons; those of one person, or of one pair of people, are not independent.
    sha256
        Of the scores: lines ``1 0.7123`` (mated) and ``0 0.2915`` (non-mated) with four decimals,
        in the order of their bytes, each with its newline.
    extra
        Keys of the public record that this version does not know, kept and otherwise ignored.
    """

    subjects: int
    mated_subjects: int
    subject_pairs: int
    mated: int
    non_mated: int
    sha256: str
    extra: Mapping[str, JSONValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("subjects", "mated_subjects", "subject_pairs", "mated", "non_mated"):
            _require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}: some wanted")
        _require(
            self.mated_subjects <= min(self.subjects, self.mated)
            and self.subject_pairs <= self.non_mated
            and self.subject_pairs <= self.subjects * (self.subjects - 1) // 2,
            f"{self.subjects} subjects cannot make {self.mated_subjects} mated subjects and"
            f" {self.subject_pairs} pairs of people in {self.mated} and {self.non_mated} pairs",
        )
        _require(_is_sha256(self.sha256), "sha256 is not 64 hexadecimal digits")

    @property
    def most_log10_lr(self) -> float:
        """The strongest ratio for one person: no FMR below 3/pairs of people can be shown."""
        return math.log10(self.subject_pairs / RULE_OF_THREE)

    @property
    def least_log10_lr(self) -> float:
        """The strongest ratio against: no FNMR below 3/people can be shown."""
        return -math.log10(self.mated_subjects / RULE_OF_THREE)

    def to_json(self) -> dict[str, JSONValue]:
        """Return the ``data`` of the public record."""
        known = {name: getattr(self, name) for name in self.__slots__ if name != "extra"}
        return {**self.extra, **known}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How scores made under one contract become evidence.

    Linear on the log scale, then capped: ``log10_lr = slope * score + intercept``, between
    ``min_log10_lr`` and ``max_log10_lr``. Few people stand behind any calibration, and a ratio
    more extreme than their number supports is an extrapolation; ``cap_reason`` says which.

    Raises
    ------
    InvalidEvidenceError
        If the line does not rise, a number is not finite, a text is empty, or a cap lies on the
        wrong side of 0.
    InvalidRecordError
        If ``extra`` holds what no canonical document could.
    """

    name: str
    made_on: date
    contract_id: str
    metric: Metric
    slope: float
    intercept: float
    min_log10_lr: float
    max_log10_lr: float
    cap_reason: str
    data: CalibrationData
    extra: Mapping[str, JSONValue] = field(default_factory=dict, hash=False)
    calibration_id: str = field(init=False, repr=False, compare=False)
    """SHA-256, in hexadecimal, of the document; another document has another id."""

    def __post_init__(self) -> None:
        for name in ("name", "contract_id", "cap_reason"):
            text: str = getattr(self, name)
            sound = bool(text.strip()) and text.isprintable() and len(text) <= LONGEST_TEXT
            _require(sound, f"calibration {name}: 1 to {LONGEST_TEXT} printable characters wanted")
        _require(
            math.isfinite(self.slope) and self.slope > 0 and math.isfinite(self.intercept),
            f"calibration line {self.slope}, {self.intercept}: a rising one wanted",
        )
        _require(
            -MAX_ABS_LOG10_LR <= self.min_log10_lr < 0 < self.max_log10_lr <= MAX_ABS_LOG10_LR,
            f"calibration caps {self.min_log10_lr}, {self.max_log10_lr}: wanted around 0,"
            f" at most {MAX_ABS_LOG10_LR:g} away",
        )
        # Once: every result of a lesson carries it.
        object.__setattr__(self, "calibration_id", hashlib.sha256(self.document()).hexdigest())

    @property
    def label(self) -> str:
        """Name and beginning of the id, for people: ``NAME@0123456789ab``."""
        return f"{self.name}@{self.calibration_id[:12]}"

    @property
    def exceeds_its_data(self) -> bool:
        """Whether a cap promises more than the people counted in ``data`` support.

        True of the built-in default, whose caps come from a test of the network on more people
        (``cap_reason``); of anything else, ask before it is activated.
        """
        slack = 1e-9  # the caps were rounded when the document was written
        return (
            self.max_log10_lr > self.data.most_log10_lr + slack
            or self.min_log10_lr < self.data.least_log10_lr - slack
        )

    def require_supported(self, built_in: "Calibration | None") -> None:
        """Raise if a cap promises more than its data support; ``built_in`` alone says why it may.

        A few people would else outvote every other finding.

        Raises
        ------
        InputError
            Saying which caps were wanted.
        """
        if self == built_in or not self.exceeds_its_data:
            return
        least, most = self.data.least_log10_lr, self.data.most_log10_lr
        raise InputError(
            f"caps of {self.min_log10_lr:.4g} and {self.max_log10_lr:.4g}; by the people"
            f" behind it at least {least:.3f} and at most {most:.3f} were wanted"
        )

    def log10_lr(self, comparison_score: float) -> float:
        """Return log10 P(score | same person) / P(score | another), within the caps."""
        raw = self.slope * comparison_score + self.intercept
        return min(max(raw, self.min_log10_lr), self.max_log10_lr)

    def log10_lrs(self, comparison_scores: FloatArray) -> FloatArray:
        """Return `log10_lr` of each of many scores, any shape."""
        raw = self.slope * comparison_scores + self.intercept
        return np.asarray(np.clip(raw, self.min_log10_lr, self.max_log10_lr), np.float64)

    def score_at(self, log10_lr: float) -> float:
        """Return the score at which the line, caps aside, reaches that ratio."""
        return (log10_lr - self.intercept) / self.slope

    def require_fits(self, contract_id: str, metric: Metric) -> None:
        """Raise unless made for templates of that contract, compared by that metric.

        Raises
        ------
        ContractMismatchError
            If either differs: the scores it was fitted to mean something else.
        """
        _require_fits(self, contract_id, metric)

    def to_json(self) -> dict[str, JSONValue]:
        """Return the public record, format ``zhenxue/calibration/v1``."""
        known = {name: getattr(self, name) for name in self.__slots__ if name not in _NOT_PLAIN}
        return {
            **self.extra,
            **known,
            "format": FORMAT,
            "made_on": self.made_on.isoformat(),
            "metric": self.metric.value,
            "data": self.data.to_json(),
        }

    def document(self) -> bytes:
        """Return the record as canonical JSON: the bytes that are kept, approved and hashed."""
        return canonical_json(self.to_json())


_NOT_PLAIN: Final = ("calibration_id", "extra", "data", "made_on", "metric")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncalibrated:
    """Stands in where nobody has calibrated a contract: scores are measured and say nothing.

    Has the names of a `Calibration` that results are labelled with; ``log10_lr`` is None, never
    0, since what is not known must not count as neutral evidence.
    """

    contract_id: str
    metric: Metric

    @property
    def name(self) -> str:
        """What results say in place of a calibration's name."""
        return "uncalibrated"

    @property
    def label(self) -> str:
        """The name: there is no document to point at."""
        return self.name

    @property
    def calibration_id(self) -> None:
        """None: there is no document."""
        return

    def log10_lr(self, comparison_score: float) -> None:
        """Return None: no score says anything yet."""

    def require_fits(self, contract_id: str, metric: Metric) -> None:
        """Raise ``ContractMismatchError`` if contract or metric differ."""
        _require_fits(self, contract_id, metric)


AnyCalibration: TypeAlias = Calibration | Uncalibrated


def parse_calibration(data: bytes | str) -> Calibration:
    """Read a calibration in the format ``zhenxue/calibration/v1``; layout does not matter.

    Raises
    ------
    InvalidRecordError
        If it is longer than `MOST_BYTES`, is no JSON, a key is missing or of another kind, or a
        value breaks an invariant.
    """
    _require_short(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    fields = Fields(load_json(data), "the calibration")
    if (format_ := fields.text("format")) != FORMAT:
        raise InvalidRecordError(f"format is {shown(format_)}; {FORMAT} was wanted")
    try:
        calibration = Calibration(
            name=fields.text("name"),
            made_on=fields.day("made_on"),
            contract_id=fields.text("contract_id"),
            metric=fields.choice("metric", Metric),
            slope=fields.number("slope"),
            intercept=fields.number("intercept"),
            min_log10_lr=fields.number("min_log10_lr"),
            max_log10_lr=fields.number("max_log10_lr"),
            cap_reason=fields.text("cap_reason"),
            data=_present("data", fields.object("data", _read_data)),
            extra=fields.extra(),
        )
    except InvalidEvidenceError as error:
        raise InvalidRecordError(str(error)) from None
    # Numbers under unknown keys may be longer in the canonical spelling, which is what is kept.
    _require_short(calibration.document())
    return calibration


def _require_short(document: bytes) -> None:
    if len(document) > MOST_BYTES:
        raise InvalidRecordError(f"{len(document)} bytes; at most {MOST_BYTES} were wanted")


def _read_data(fields: Fields) -> CalibrationData:
    return CalibrationData(
        subjects=_count(fields, "subjects"),
        mated_subjects=_count(fields, "mated_subjects"),
        subject_pairs=_count(fields, "subject_pairs"),
        mated=_count(fields, "mated"),
        non_mated=_count(fields, "non_mated"),
        sha256=fields.text("sha256"),
        extra=fields.extra(),
    )


def _count(fields: Fields, name: str) -> int:
    number = fields.number(name)
    if not (number.is_integer() and 0 < number < 2**53):
        raise InvalidRecordError(f"{name} is {shown(number)}; a whole number above 0 was wanted")
    return int(number)


def _present(name: str, value: T | None) -> T:
    if value is None:
        raise InvalidRecordError(f"{name} is null; an object was wanted")
    return value


def _require_fits(calibration: AnyCalibration, contract_id: str, metric: Metric) -> None:
    if calibration.contract_id != contract_id:
        raise ContractMismatchError(
            f"calibration for {calibration.contract_id}, templates of {contract_id}"
        )
    if calibration.metric is not metric:
        raise ContractMismatchError(
            f"calibration for {calibration.metric} scores, these are {metric}"
        )


def _is_sha256(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidEvidenceError(message)


_SIMILAR_IMPOSTORS_FACTOR: Final = 11

DEFAULT_CALIBRATION: Final = Calibration(
    name="default, uncalibrated for this population",
    made_on=date(2026, 11, 23),
    contract_id="dlib-resnet-v1@55533b28a958+mesh25-chip150-v1.c1",
    metric=Metric.L2,
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
    max_log10_lr=math.log10(3000 / RULE_OF_THREE / _SIMILAR_IMPOSTORS_FACTOR),
    cap_reason="3,000 non-mated pairs of dissimilar people support no more",
    data=CalibrationData(
        subjects=5,
        mated_subjects=5,
        subject_pairs=10,
        mated=225,
        non_mated=1000,
        sha256="c5e3affd87d5646bc66e50310deccfe6f2c2ba931236394bc0eb32acef6a3a3b",
    ),
)
"""What holds for the default pack until a site calibrates on its own learners and cameras."""


def default_calibration(contract_id: str) -> Calibration | None:
    """Return the built-in calibration of a contract; None where a site has to make its own."""
    return DEFAULT_CALIBRATION if contract_id == DEFAULT_CALIBRATION.contract_id else None
