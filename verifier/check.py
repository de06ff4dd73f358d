"""The public evidence format: what the checks of one session found, one session a line.

Start at :func:`parse_session`. The format is described in ``docs/score.md``; a line that breaks
it raises :class:`~verifier.errors.InvalidRecordError`, which the caller counts and skips.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from verifier.assurance import LearnerPath
from verifier.errors import InvalidRecordError
from verifier.strict_json import load_json, refuse

# More than one a second in the longest lesson; a longer list is a mistake, or an attack on memory.
MAX_CHECKS = 20_000
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Outcome(StrEnum):
    """What one check captured. Only ``captured`` can hold a comparison worth much."""

    CAPTURED = "captured"
    NO_RESPONSE = "no_response"
    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What the learner was asked to do, and whether it was done."""

    kind: str
    passed: bool
    latency_s: float | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        if self.latency_s is not None:
            _require(_finite(self.latency_s) and self.latency_s >= 0, "latency_s", self.latency_s)

    def to_record(self) -> dict[str, Any]:
        """Return the public form."""
        known = {"kind": self.kind, "passed": self.passed, "latency_s": self.latency_s}
        return {**self.extra, **_measured(known)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at the learner.

    Attributes
    ----------
    t
        Seconds since the session started.
    prompted
        Whether the engine asked for it (a prompt), or it came on its own.
    faces
        How many faces the picture held; None where nobody counted.
    comparison_log10_lr
        Same person against another, calibrated for a single check; None: not compared.
    pad_log10_lr
        Bona fide against presentation attack; None: no attack detector ran.
    extra
        Keys this version does not know, kept and otherwise ignored.

    Raises
    ------
    InvalidRecordError
        If a number is not finite or out of range, or ``faces`` contradicts ``outcome``.
    """

    t: float
    prompted: bool
    outcome: Outcome
    faces: int | None = None
    comparison_log10_lr: float | None = None
    pad_log10_lr: float | None = None
    challenge: Challenge | None = None
    near_duplicate: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        _require(_finite(self.t) and self.t >= 0, "t", self.t, "a finite number, 0 or more")
        for name in ("comparison_log10_lr", "pad_log10_lr"):
            value = getattr(self, name)
            # One infinite ratio would outvote every other finding.
            _require(value is None or _finite(value), name, value, "a finite number")
        self._require_faces_to_fit()

    def _require_faces_to_fit(self) -> None:
        if self.faces is None:
            return
        low, high = _FACES_OF[self.outcome]
        wanted = f"{low} to {high} with outcome {self.outcome}"
        _require(low <= self.faces <= high, "faces", self.faces, wanted)
        measured = self.comparison_log10_lr is not None or self.pad_log10_lr is not None
        _require(self.faces > 0 or not measured, "faces", self.faces, "a face where one was judged")

    def to_record(self) -> dict[str, Any]:
        """Return the public form; what was not measured is absent."""
        known = {
            "t": self.t,
            "prompted": self.prompted,
            "outcome": self.outcome.value,
            "faces": self.faces,
            "comparison_log10_lr": self.comparison_log10_lr,
            "pad_log10_lr": self.pad_log10_lr,
            "challenge": None if self.challenge is None else self.challenge.to_record(),
            "near_duplicate": self.near_duplicate,
        }
        return {**self.extra, **_measured(known)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvidence:
    """Every check of one session, by time.

    Attributes
    ----------
    planned_minutes
        What the lesson was announced to last.
    duration_s
        What it lasted on the server's clock, seconds.
    checks
        Sorted by ``t`` on reading, however they were given.
    started_at
        As the record has it (ISO 8601), not interpreted here.
    model, policy
        Names with digest or version of what made and will judge the findings.
    path
        How the learner was known: by the face, or by an officer's grant made before.
    pauses
        Stretches (start, end) in seconds in which the whole lesson stood still, by time and not
        overlapping: they are no part of what has to be attended.
    extra
        Keys this version does not know, kept and otherwise ignored.

    Raises
    ------
    InvalidRecordError
        If a number is not finite or negative, a check or pause lies beyond ``duration_s``, pauses
        are out of order, or there are more than ``MAX_CHECKS`` of either.
    """

    session_id: str
    planned_minutes: float
    duration_s: float
    checks: tuple[Check, ...]
    started_at: str | None = None
    learner_id: str | None = None
    institution_id: str | None = None
    platform_id: str | None = None
    model: str | None = None
    policy: str | None = None
    path: LearnerPath = LearnerPath.FACE
    pauses: tuple[tuple[float, float], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        _require(bool(self.session_id), "session_id", self.session_id, "a non-empty string")
        for name in ("planned_minutes", "duration_s"):
            value = getattr(self, name)
            _require(_finite(value) and value >= 0, name, value, "a finite number, 0 or more")
        _require(
            len(self.checks) <= MAX_CHECKS, "checks", len(self.checks), f"{MAX_CHECKS} or fewer"
        )
        object.__setattr__(self, "checks", tuple(sorted(self.checks, key=lambda check: check.t)))
        if self.checks:
            last = self.checks[-1].t
            _require(last <= self.duration_s, "t", last, f"at most duration_s {self.duration_s}")
        self._require_pauses()

    def _require_pauses(self) -> None:
        count = len(self.pauses)
        _require(count <= MAX_CHECKS, "pauses", count, f"{MAX_CHECKS} or fewer")
        before_s = 0.0
        for start_s, end_s in self.pauses:
            follows = before_s <= start_s < end_s <= self.duration_s  # NaN fails it
            wanted = f"from {before_s} s to {self.duration_s} s, the end after the start"
            _require(follows, "pauses", [start_s, end_s], wanted)
            before_s = end_s

    def to_json(self) -> str:
        """Return the public form on one line, without a line break."""
        known: dict[str, Any] = {
            "session_id": self.session_id,
            "planned_minutes": self.planned_minutes,
            "duration_s": self.duration_s,
            "checks": [check.to_record() for check in self.checks],
        }
        optional = {name: getattr(self, name) for name in _OPTIONAL_TEXTS}
        # Absent means by the face, so that records from before there was another way keep
        # their bytes, which seed the score.
        optional["path"] = None if self.path is LearnerPath.FACE else self.path.value
        optional["pauses"] = [list(pause) for pause in self.pauses] or None
        record = {**self.extra, **known, **_measured(optional)}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parse_session(line: str | bytes) -> SessionEvidence:
    """Read one line of an evidence file.

    Raises
    ------
    InvalidRecordError
        If the line is not JSON, or breaks the format; the message names what was seen and what
        was wanted. Duplicate session ids can only be seen by who reads the whole file.
    """
    record = _object(load_json(line), "session")
    checks = _member(record, "checks")
    if not isinstance(checks, list):
        refuse("checks", checks, "a list")
    return SessionEvidence(
        session_id=_text(_member(record, "session_id"), "session_id"),
        planned_minutes=_number(_member(record, "planned_minutes"), "planned_minutes"),
        duration_s=_number(_member(record, "duration_s"), "duration_s"),
        checks=tuple(_parse_check(check, at) for at, check in enumerate(checks)),
        **{name: _optional(record, name, _text) for name in _OPTIONAL_TEXTS},
        path=_optional(record, "path", _path) or LearnerPath.FACE,
        pauses=_optional(record, "pauses", _pauses) or (),
        extra=_unknown(record, _SESSION_KEYS),
    )


def _parse_check(value: object, at: int) -> Check:
    try:
        record = _object(value, "check")
        return Check(
            t=_number(_member(record, "t"), "t"),
            prompted=_flag(_member(record, "prompted"), "prompted"),
            outcome=_outcome(_member(record, "outcome")),
            faces=_optional(record, "faces", _count),
            comparison_log10_lr=_optional(record, "comparison_log10_lr", _number),
            pad_log10_lr=_optional(record, "pad_log10_lr", _number),
            challenge=_optional(record, "challenge", _parse_challenge),
            near_duplicate=_optional(record, "near_duplicate", _flag),
            extra=_unknown(record, _CHECK_KEYS),
        )
    except InvalidRecordError as error:
        raise InvalidRecordError(f"checks[{at}]: {error}") from None


def _parse_challenge(value: object, name: str) -> Challenge:
    record = _object(value, name)
    return Challenge(
        kind=_text(_member(record, "kind"), "challenge.kind"),
        passed=_flag(_member(record, "passed"), "challenge.passed"),
        latency_s=_optional(record, "latency_s", _number),
        extra=_unknown(record, _CHALLENGE_KEYS),
    )


# The faces a picture may hold under each outcome, lowest and highest.
_MANY = 10_000
_FACES_OF = {
    Outcome.CAPTURED: (1, _MANY),
    Outcome.NO_RESPONSE: (0, 0),
    Outcome.NO_FACE: (0, 0),
    Outcome.MULTIPLE_FACES: (2, _MANY),
    Outcome.UNREADABLE: (0, _MANY),
}
_OPTIONAL_TEXTS = (
    "started_at",
    "learner_id",
    "institution_id",
    "platform_id",
    "model",
    "policy",
)
_SESSION_KEYS = frozenset(
    {"session_id", "planned_minutes", "duration_s", "checks", "path", "pauses", *_OPTIONAL_TEXTS}
)
_CHECK_KEYS = frozenset(
    {
        "t",
        "prompted",
        "outcome",
        "faces",
        "comparison_log10_lr",
        "pad_log10_lr",
        "challenge",
        "near_duplicate",
    }
)
_CHALLENGE_KEYS = frozenset({"kind", "passed", "latency_s"})


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(name, value, "an object")
    return value


def _member(record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise InvalidRecordError(f"{name} is missing")
    return record[name]


def _optional(record: Mapping[str, Any], name: str, read: Any) -> Any:
    value = record.get(name)
    return None if value is None else read(value, name)


def _unknown(record: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    return MappingProxyType({key: value for key, value in record.items() if key not in known})


def _measured(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        refuse(name, value, "a string")
    return value


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        refuse(name, value, "true or false")
    return value


def _number(value: object, name: str) -> float:
    # bool is an int in Python, but true is no number of seconds.
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(name, value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    _require(math.isfinite(number), name, value, "a finite number")
    return number


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(name, value, "a whole number")
    return value


def _outcome(value: object) -> Outcome:
    try:
        return Outcome(_text(value, "outcome"))
    except ValueError:
        refuse("outcome", value, "one of " + ", ".join(Outcome))


def _path(value: object, name: str) -> LearnerPath:
    try:
        return LearnerPath(_text(value, name))
    except ValueError:
        refuse(name, value, "one of " + ", ".join(LearnerPath))


def _pauses(value: object, name: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list):
        refuse(name, value, "a list")
    return tuple(_pause(each, name) for each in value)


def _pause(value: object, name: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        refuse(name, value, "two numbers each")
    return _number(value[0], name), _number(value[1], name)


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _require(
    holds: bool,
    name: str,
    seen: object,
    wanted: str = "a finite number, 0 or more",
) -> None:
    if not holds:
        refuse(name, seen, wanted)
