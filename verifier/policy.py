"""Every number a decision rests on: dated, sourced, and named ``name@version`` in the decision.

A policy is one TOML file. Each number is a table with ``value``, ``valid_from``, optionally
``valid_to``, and ``source``; :func:`load_policy` checks types, ranges and dates. A version never
changes: another number is another version, so that each decision can be replayed.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias, cast

from verifier.errors import InvalidRecordError
from verifier.policy_groups import (
    AddedRules,
    CaptureRules,
    ClassRules,
    ComparisonRules,
    CreditRules,
    DecisionRules,
    DuplicateRules,
    FailureRules,
    FrameRules,
    GateRules,
    NonFaceRules,
    OutcomeRates,
    PlaybackRules,
    PresenceRates,
    PromptRules,
    fail,
)
from verifier.transparency.canonical_json import JSONValue, canonical_json

Value: TypeAlias = "float | tuple[str, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """One value, the days it holds (both ends included), and where it comes from."""

    value: Value
    valid_from: date
    valid_to: date | None
    source: str

    def __post_init__(self) -> None:
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise InvalidRecordError(f"valid_to {self.valid_to} lies before {self.valid_from}")
        if not self.source.strip():
            raise InvalidRecordError("source is empty; where the value comes from was wanted")

    def holds_on(self, day: date) -> bool:
        """Whether the value is valid on that day."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)

    def to_record(self) -> dict[str, JSONValue]:
        """Return the form that the policy's digest covers."""
        return {
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "valid_from": self.valid_from.isoformat(),
            "valid_to": None if self.valid_to is None else self.valid_to.isoformat(),
            "source": self.source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A named version of every number, by group.

    ``values`` holds each one with its dates and source, by dotted name such as
    ``prompts.min_gap_s``.
    """

    name: str
    version: str
    prompts: PromptRules
    frame: FrameRules
    added: AddedRules
    failures: FailureRules
    capture: CaptureRules
    non_face: NonFaceRules
    classes: ClassRules
    playback: PlaybackRules
    credit: CreditRules
    outcomes: OutcomeRates
    presence: PresenceRates
    decision: DecisionRules
    gate: GateRules
    comparison: ComparisonRules
    duplicates: DuplicateRules
    values: Mapping[str, PolicyValue]

    @property
    def rule(self) -> str:
        """``name@version``, as decisions and records name it."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of all it holds, sources and dates included, in hex."""
        record: JSONValue = {
            "name": self.name,
            "version": self.version,
            "values": {name: value.to_record() for name, value in self.values.items()},
        }
        return hashlib.sha256(canonical_json(record)).hexdigest()

    def require_valid_on(self, day: date) -> None:
        """Raise unless every value holds on that day.

        Raises
        ------
        InvalidRecordError
            Naming the values that do not.
        """
        outside = [name for name, value in self.values.items() if not value.holds_on(day)]
        if outside:
            raise InvalidRecordError(f"{self.rule} on {day}: not valid: {', '.join(outside)}")


_GROUPS: Mapping[str, Any] = {
    "prompts": PromptRules,
    "frame": FrameRules,
    "added": AddedRules,
    "failures": FailureRules,
    "capture": CaptureRules,
    "non_face": NonFaceRules,
    "classes": ClassRules,
    "playback": PlaybackRules,
    "credit": CreditRules,
    "outcomes": OutcomeRates,
    "presence": PresenceRates,
    "decision": DecisionRules,
    "gate": GateRules,
    "comparison": ComparisonRules,
    "duplicates": DuplicateRules,
}


def load_policy(source: bytes | Path) -> Policy:
    """Read a policy from a TOML file or its bytes.

    Raises
    ------
    InvalidRecordError
        If it is no TOML, a value is missing, unknown, of the wrong type or out of range, or its
        dates or source are unusable; the message names the value.
    """
    document = _parse(source if isinstance(source, bytes) else source.read_bytes())
    _require_keys("policy", document, {"name", "version", *_GROUPS})
    values: dict[str, PolicyValue] = {}
    groups: dict[str, Any] = {}
    for group, rules in _GROUPS.items():
        read = _read_group(group, rules, document[group])
        groups[group] = rules(**{name: entry.value for name, entry in read.items()})
        values.update({f"{group}.{name}": entry for name, entry in read.items()})
    name, version = (_label(key, document[key]) for key in ("name", "version"))
    return Policy(name=name, version=version, values=values, **groups)


def default_policy() -> Policy:
    """Return the policy that ships with the engine."""
    return load_policy(resources.files("verifier").joinpath("policies/default.toml").read_bytes())


def _parse(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise InvalidRecordError(f"the policy is not UTF-8 TOML: {error}") from None


def _read_group(group: str, rules: Any, table: object) -> dict[str, PolicyValue]:
    wanted = {f.name: f for f in fields(rules)}
    entries = _table(group, table)
    _require_keys(group, entries, set(wanted))
    return {key: _read_value(f"{group}.{key}", f, entries[key]) for key, f in wanted.items()}


def _read_value(name: str, wanted: Field[Any], table: object) -> PolicyValue:
    entry = _table(name, table)
    _require_keys(name, entry, {"value", "valid_from", "valid_to", "source"}, {"valid_to"})
    try:
        return PolicyValue(
            value=_typed(name, wanted.type, entry["value"]),
            valid_from=_day(f"{name}.valid_from", entry["valid_from"]),
            valid_to=_day(f"{name}.valid_to", entry["valid_to"]) if "valid_to" in entry else None,
            source=_label(f"{name}.source", entry["source"]),
        )
    except InvalidRecordError as error:
        raise InvalidRecordError(f"{name}: {error}") from None


def _typed(name: str, wanted: object, value: object) -> Value:
    if wanted is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return cast("int", value) if whole else fail(name, value, "a whole number")
    if wanted is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(cast("float", value)) if number else fail(name, value, "a number")
    texts = isinstance(value, list) and value and all(isinstance(item, str) for item in value)
    return tuple(cast("list[str]", value)) if texts else fail(name, value, "a list of texts")


def _require_keys(
    name: str, table: Mapping[str, object], wanted: set[str], optional: set[str] | None = None
) -> None:
    missing = sorted(wanted - (optional or set()) - table.keys())
    unknown = sorted(table.keys() - wanted)
    # An unknown value is refused: a misspelt one would silently rule nothing.
    if missing or unknown:
        raise InvalidRecordError(f"{name}: missing {missing}, unknown {unknown}")


def _table(name: str, value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else fail(name, value, "a table")


def _label(name: str, value: object) -> str:
    return value if isinstance(value, str) and value else fail(name, value, "a non-empty text")


def _day(name: str, value: object) -> date:
    # A datetime is a date in Python, but a policy holds for whole days.
    return value if type(value) is date else fail(name, value, "a date")
