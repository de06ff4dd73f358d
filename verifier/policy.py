"""Every number a decision rests on: dated, sourced, and named ``name@version`` in the decision.

A policy is one TOML file. Each number is a table with ``value``, ``valid_from``, optionally
``valid_to``, and ``source``; :func:`load_policy` checks types, ranges and dates. A version never
changes: another number is another version, so that each decision can be replayed.
"""

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast

from verifier.errors import InvalidRecordError
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


def _between(low: float, high: float) -> Any:
    return field(metadata={"low": low, "high": high})


def _share() -> Any:
    return _between(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRules:
    """When prompts are issued and how long they wait.

    Attributes
    ----------
    mean_gap_s, min_gap_s
        Gaps are ``min_gap_s`` plus an exponential time; their mean is ``mean_gap_s``.
    kinds
        Kinds of prompt that the schedule may draw.
    capture_deadline_s
        Time for frames to begin to arrive.
    accessibility_extra_s
        Added once for a learner to whom it was granted.
    upload_grace_s
        Added for an upload that began in time.
    max_retries
        Inconclusive answers that may be repeated; one more is a miss.
    closing_prompt_within_s
        The closing prompt follows the announced end within this.
    abandon_after_planned_s
        A session that is not closed is abandoned this long after its planned end.
    """

    mean_gap_s: int = _between(60, 3600)
    min_gap_s: int = _between(0, 30)
    kinds: tuple[str, ...]
    capture_deadline_s: int = _between(10, 600)
    accessibility_extra_s: int = _between(0, 600)
    upload_grace_s: int = _between(0, 600)
    max_retries: int = _between(0, 10)
    closing_prompt_within_s: int = _between(1, 600)
    abandon_after_planned_s: int = _between(0, 86_400)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditRules:
    """What a creditable span is worth.

    ``lower95_share``: the lower bound of the verified time must reach this share of it.
    """

    credit_hour_minutes: int = _between(1, 120)
    lower95_share: float = _share()

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRates:
    """How often each capture outcome comes, given whether somebody is before the camera."""

    present_captured: float = _share()
    present_no_response: float = _share()
    present_no_face: float = _share()
    present_multiple_faces: float = _share()
    present_unreadable: float = _share()
    absent_captured: float = _share()  # somebody else's face: a passer-by
    absent_no_response: float = _share()
    absent_no_face: float = _share()
    absent_multiple_faces: float = _share()
    absent_unreadable: float = _share()

    def __post_init__(self) -> None:
        _check_ranges(self)
        for who in ("present", "absent"):
            rates = [getattr(self, f.name) for f in fields(self) if f.name.startswith(who)]
            # A rate of 0 would make one finding decide alone, for ever.
            if min(rates) <= 0 or abs(math.fsum(rates) - 1) > 1e-9:
                _fail(f"outcomes.{who}_*", rates, "positive rates that add up to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceRates:
    """The prior of the presence model; ``docs/score.md`` says what each parameter means.

    Attributes
    ----------
    start_present
        Chance that anybody is before the camera at second 0, before any check says so.
    start_impostor, start_presentation_attack, start_injection
        Shares of those present who are that; the rest are genuine.
    leave_per_h, short_break_per_h
        Rates at which a genuine learner leaves for good, or for a short break.
    return_per_h, break_end_per_h
        Rates at which somebody comes, or comes back from a short break.
    impostor_per_h, presentation_attack_per_h, injection_per_h
        Rates at which a genuine learner gives way to each kind of attack.
    attack_end_per_h
        Rate at which the learner takes over again.
    pi_self
        Share of attacks that show the enrolled person's own face.
    comparison_rho, pad_rho, outcome_rho
        Correlation between findings of one kind within a session.
    max_abs_log10_lr
        Bound on a single comparison or attack-detection ratio.
    """

    start_present: float = _between(1e-6, 0.5)
    start_impostor: float = _between(1e-6, 0.5)
    start_presentation_attack: float = _between(1e-6, 0.25)
    start_injection: float = _between(1e-6, 0.2)
    leave_per_h: float = _between(1e-6, 60)
    short_break_per_h: float = _between(1e-6, 60)
    return_per_h: float = _between(1e-6, 60)
    break_end_per_h: float = _between(1e-6, 600)
    impostor_per_h: float = _between(1e-6, 60)
    presentation_attack_per_h: float = _between(1e-6, 60)
    injection_per_h: float = _between(1e-6, 60)
    attack_end_per_h: float = _between(1e-6, 600)
    pi_self: float = _between(0.01, 0.99)
    comparison_rho: float = _share()
    pad_rho: float = _share()
    outcome_rho: float = _share()
    max_abs_log10_lr: float = _between(0.1, 6)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRules:
    """When a session is accepted, reviewed, or proposed for rejection.

    Attributes
    ----------
    min_genuine_share
        A session is authentic only if the learner was there this share of it.
    cost_false_accept, cost_false_reject
        Against the cost of one review, which is 1.
    min_matched_checks
        With fewer, nothing is accepted without a person.
    """

    min_genuine_share: float = _share()
    cost_false_accept: float = _between(1, 1e6)
    cost_false_reject: float = _between(1, 1e6)
    min_matched_checks: int = _between(1, 100)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """What the subsidy gate accepts.

    Attributes
    ----------
    payable_assurances
        Ways that pictures may come in without a second look by a person.
    proposal_refers_days
        A proposed black-list entry sends a payment to a person for this long; a proposal that
        nobody approved by then holds nothing up any more.
    """

    payable_assurances: tuple[str, ...]
    proposal_refers_days: int = _between(0, 366)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRules:
    """How often a template may be compared with.

    Attributes
    ----------
    max_per_learner_day
        Answers in one day of China time that were compared with the learner's template; beyond
        it nothing is compared, and a person looks at it.
    max_enrolments_per_learner_day
        Enrolments over the learner's earlier one, counted apart: any platform that knows name and
        number may try. Beyond it whoever is not better vouched for is asked to try another day.
    """

    max_per_learner_day: int = _between(1, 100_000)
    max_enrolments_per_learner_day: int = _between(1, 1_000)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateRules:
    """When the same face under another id opens a case at enrolment.

    Attributes
    ----------
    false_cases_per_enrolment
        Expected of somebody who looks like nobody in particular, if the calibration holds.
    most_cases_per_enrolment
        The most alike are looked at first.
    """

    false_cases_per_enrolment: float = _between(1e-6, 1)
    most_cases_per_enrolment: int = _between(1, 100)

    def __post_init__(self) -> None:
        _check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A named version of every number, by group.

    ``values`` holds each one with its dates and source, by dotted name such as
    ``prompts.min_gap_s``.
    """

    name: str
    version: str
    prompts: PromptRules
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
        return cast("int", value) if whole else _fail(name, value, "a whole number")
    if wanted is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(cast("float", value)) if number else _fail(name, value, "a number")
    texts = isinstance(value, list) and value and all(isinstance(item, str) for item in value)
    return tuple(cast("list[str]", value)) if texts else _fail(name, value, "a list of texts")


def _check_ranges(rules: Any) -> None:
    for wanted in fields(rules):
        value = getattr(rules, wanted.name)
        low, high = wanted.metadata.get("low"), wanted.metadata.get("high")
        # NaN fails every comparison, so it is refused here too.
        if low is not None and not low <= value <= high:
            _fail(wanted.name, value, f"{low:g} to {high:g}")


def _require_keys(
    name: str, table: Mapping[str, object], wanted: set[str], optional: set[str] | None = None
) -> None:
    missing = sorted(wanted - (optional or set()) - table.keys())
    unknown = sorted(table.keys() - wanted)
    # An unknown value is refused: a misspelt one would silently rule nothing.
    if missing or unknown:
        raise InvalidRecordError(f"{name}: missing {missing}, unknown {unknown}")


def _table(name: str, value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else _fail(name, value, "a table")


def _label(name: str, value: object) -> str:
    return value if isinstance(value, str) and value else _fail(name, value, "a non-empty text")


def _day(name: str, value: object) -> date:
    # A datetime is a date in Python, but a policy holds for whole days.
    return value if type(value) is date else _fail(name, value, "a date")


def _fail(name: str, seen: object, wanted: str) -> NoReturn:
    raise InvalidRecordError(f"{name} is {seen!r}; {wanted} was wanted")
