"""The subsidy gate, 「凡补必进、不进不补」: whether a learner's hours in a class may be paid.

:func:`decide` asks every rule of :mod:`verifier.eligibility_rules` and lets the worst answer
decide; none stops the others, so that the trace says everything that stands in the way. Facts in
(:class:`~verifier.eligibility_facts.EligibilityFacts`), one :class:`Eligibility` out; nothing here
reads a clock or a store, and the same facts under the same policy give the same answer again.
"""

import math
from dataclasses import dataclass
from datetime import datetime

from verifier.eligibility_facts import EligibilityFacts, china_day
from verifier.eligibility_result import GateCode, GateOutcome, RuleResult
from verifier.eligibility_rules import RULES, credit_hour_s, utc_text
from verifier.errors import InvalidRecordError
from verifier.policy import Policy
from verifier.transparency.canonical_json import JSONValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """The gate's answer, with the trace of every rule.

    Attributes
    ----------
    outcome
        The worst of the rules'.
    credited_s, pending_s
        Of all sessions, proven or not; payable is what the outcome says, never these.
    credit_hours
        ``credited_s`` in 学时, with fractions.
    claimed_s
        What the platform uploaded, shown beside; it moves nothing.
    policy
        ``name@version``.
    """

    learner_id: str
    class_id: str
    as_of: datetime
    outcome: GateOutcome
    rules: tuple[RuleResult, ...]
    credited_s: float
    credit_hours: float
    pending_s: float
    claimed_s: float | None
    policy: str

    def __post_init__(self) -> None:
        worst = min(result.outcome for result in self.rules)
        if self.outcome is not worst:
            raise InvalidRecordError(f"outcome is {self.outcome}; {worst}, the worst, was wanted")

    @property
    def codes(self) -> tuple[GateCode, ...]:
        """Why not, the worst first; empty where payable."""
        by_outcome = sorted(self.rules, key=lambda result: result.outcome.rank)
        return tuple(result.code for result in by_outcome if result.code is not None)

    def to_record(self) -> dict[str, JSONValue]:
        """Return the public form."""
        return {
            "learner_id": self.learner_id,
            "class_id": self.class_id,
            "as_of": utc_text(self.as_of),
            "outcome": self.outcome.value,
            "credited_s": self.credited_s,
            "credit_hours": self.credit_hours,
            "pending_s": self.pending_s,
            "claimed_s": self.claimed_s,
            "policy": self.policy,
            "rules": [result.to_record() for result in self.rules],
        }


def decide(facts: EligibilityFacts, policy: Policy) -> Eligibility:
    """Ask every rule; the worst answer decides.

    Raises
    ------
    InvalidRecordError
        If a value of the policy does not hold on the day of ``facts.as_of`` in China.
    """
    policy.require_valid_on(china_day(facts.as_of))
    results = tuple(rule(facts, policy) for rule in RULES)
    credited_s = round(math.fsum(session.credited_s for session in facts.sessions), 6)
    return Eligibility(
        learner_id=facts.learner_id,
        class_id=facts.class_id,
        as_of=facts.as_of,
        outcome=min(result.outcome for result in results),
        rules=results,
        credited_s=credited_s,
        credit_hours=round(credited_s / credit_hour_s(policy), 6),
        pending_s=round(math.fsum(session.pending_s for session in facts.sessions), 6),
        claimed_s=facts.claimed_s,
        policy=policy.rule,
    )
