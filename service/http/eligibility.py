"""The gate, 凡补必进、不进不补, and the claims that platforms make beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import Connection

from service.application import Application
from service.consent import PURPOSE
from service.http.callers import AnyCaller, ApplicationOf, Caller, PlatformCaller
from service.http.calls import Calls
from service.http.problem_responses import problems
from service.http.values import Message, OpaqueId
from service.sql import registry, training_classes
from service.sql.gate_facts import eligibility_facts
from service.sql.lesson_store import SqlLessonReader
from service.sql.session_index import session_accounts
from verifier.claim import SETTLEMENT_TEXT, Claim, Settlement, SettlementReason, settle
from verifier.eligibility import Eligibility, decide
from verifier.eligibility_facts import EligibilityFacts
from verifier.eligibility_result import (
    OUTCOME_TEXT,
    GateCode,
    GateOutcome,
    RuleResult,
    Scalar,
)
from verifier.errors import UnknownSubjectError

MOST_CLAIMED_MINUTES: Final = 1_000_000

_FOR_OFFICERS: Final = frozenset(
    {
        GateCode.BLACK_LIST_PROPOSED,  # a proposal must not warn anybody
        # Nor must the engine tell who asks whether a face is known under another identity.
        GateCode.DUPLICATE_FACE_UNDER_REVIEW,
        GateCode.DUPLICATE_FACE_FOUND,
        GateCode.TOO_MANY_COMPARISONS,
        GateCode.NON_FACE_SHARE,
    }
)

router = APIRouter(tags=["eligibility"])


class RuleOut(Message):
    """What one rule of the gate answered."""

    rule: str = Field(description="name@version", examples=["credited_hours@1"])
    outcome: GateOutcome
    code: GateCode | None = Field(description="Why not; null where the rule is met.")
    text_zh: str | None
    text_en: str | None
    values: Mapping[str, Scalar] = Field(
        default_factory=dict, description="What the rule looked at; for officers."
    )


class EligibilityOut(Message):
    """Whether the hours may be paid: the worst of all rules decides, and all are told."""

    learner_id: str
    class_id: str
    as_of: datetime
    outcome: GateOutcome
    credited_s: float
    credit_hours: float = Field(description="学时")
    pending_s: float = Field(description="Seconds that wait for a person.")
    claimed_s: float | None = Field(description="What the platform said; it moves nothing.")
    policy: str
    rules: Sequence[RuleOut]


class ClaimIn(Message):
    """Minutes that a platform says a learner attended in a class."""

    learner_id: OpaqueId = Field(examples=["5b0e8d1f0c9a4e7d8f2b6a3c1d9e0f42"])
    class_id: OpaqueId = Field(examples=["cook-2026-03"])
    claimed_minutes: float = Field(
        ge=0, le=MOST_CLAIMED_MINUTES, strict=True, allow_inf_nan=False, examples=[45]
    )


class ClaimReasonOut(Message):
    """How a claim stands beside what was seen."""

    code: SettlementReason
    text_zh: str
    text_en: str


class SettlementOut(Message):
    """A claim and what the engine saw; the claim itself earns nothing."""

    claimed_s: float
    credited_s: float
    pending_s: float
    reasons: Sequence[ClaimReasonOut]


@router.get(
    "/v1/classes/{class_id}/learners/{learner_id}/eligibility",
    response_model_exclude_unset=True,
    responses=problems("unknown_subject"),
)
def get_eligibility(
    class_id: OpaqueId, learner_id: OpaqueId, found: AnyCaller, application: ApplicationOf
) -> EligibilityOut:
    """Ask the gate whether a learner's hours in a class may be paid, and if not, why not."""
    facts = _facts(application, found, class_id=class_id, learner_id=learner_id)
    return _eligibility(decide(facts, application.policy), found)


@router.post(
    "/v1/claims",
    response_model=SettlementOut,
    responses=problems("unknown_subject", "idempotency_conflict"),
)
def claim(body: ClaimIn, found: PlatformCaller, call: Calls) -> Response:
    """Record what a platform claims; credited is what the engine saw, whatever is claimed."""
    platform_id = found.own_platform_id
    made = Claim(
        learner_id=body.learner_id, class_id=body.class_id, claimed_s=60 * body.claimed_minutes
    )

    def act(tx: Connection) -> Settlement:
        training_classes.record_claim(
            tx, made, platform_id=platform_id, at=call.application.clock.now()
        )
        seen = session_accounts(tx, learner_id=made.learner_id, class_id=made.class_id)
        return settle(made, seen)

    return call.once_in_sql(act, _settlement)


def _facts(
    application: Application, found: Caller, *, class_id: str, learner_id: str
) -> EligibilityFacts:
    """Gather everything in one transaction, if the caller may ask about it."""
    # Before the transaction: a checkpoint signed since may hold what it does not see.
    published_size = application.archive.checkpoint.size
    with application.database.reading() as tx:
        _require_own(tx, found, class_id=class_id, learner_id=learner_id)
        return eligibility_facts(
            tx,
            learner_id=learner_id,
            class_id=class_id,
            purpose=PURPOSE,
            # After the first query, which fixed what is seen: nothing of it lies in the future.
            as_of=application.clock.now(),
            published_size=published_size,
        )


def _require_own(tx: Connection, found: Caller, *, class_id: str, learner_id: str) -> None:
    """Return if the caller may ask; to anybody else there is no such class or learner."""
    if found.access is None:
        # An officer's platform is None, which asks for any class.
        training_classes.class_of(tx, class_id, platform_id=found.platform_id)
        if not found.is_officer:
            registry.require_own_learner(
                tx, platform_id=found.own_platform_id, learner_id=learner_id
            )
        return
    own = SqlLessonReader(tx).lesson(found.access.session_id).state
    if (own.class_id, own.learner_id) != (class_id, learner_id):
        raise UnknownSubjectError("there is no class with that id")


def _eligibility(decided: Eligibility, found: Caller) -> EligibilityOut:
    rules = decided.rules if found.is_officer else _without_secrets(decided.rules)
    return EligibilityOut(
        learner_id=decided.learner_id,
        class_id=decided.class_id,
        as_of=decided.as_of,
        outcome=min(result.outcome for result in rules),
        credited_s=decided.credited_s,
        credit_hours=decided.credit_hours,
        pending_s=decided.pending_s,
        claimed_s=decided.claimed_s,
        policy=decided.policy,
        rules=[_rule(result, found) for result in rules],
    )


def _without_secrets(rules: Sequence[RuleResult]) -> Sequence[RuleResult]:
    """Return what may be told while anything else stands in the way of a payment.

    An outcome tells as much as a code: faces enrolled one by one, and the gate asked after each,
    would show whose are known. Where all else is well the payment waits, and that cannot be hidden.
    """
    others = [result for result in rules if result.code not in _FOR_OFFICERS]
    if all(result.outcome is GateOutcome.PAYABLE for result in others):
        return rules
    return [
        replace(result, outcome=GateOutcome.PAYABLE, code=None) if result not in others else result
        for result in rules
    ]


def _rule(result: RuleResult, found: Caller) -> RuleOut:
    code, text = result.code, result.text or (None, None)
    if code in _FOR_OFFICERS and not found.is_officer:
        code, text = None, OUTCOME_TEXT[result.outcome]
    told = RuleOut(
        rule=result.rule, outcome=result.outcome, code=code, text_zh=text[0], text_en=text[1]
    )
    # Platforms are told codes and texts: with the values they could feel their way. A learner's
    # token is no better, since the platform hands the code on and may have exchanged it itself.
    if not found.is_officer:
        return told
    return RuleOut(**told.model_dump(exclude_unset=True), values=result.values)


def _settlement(done: Settlement) -> SettlementOut:
    return SettlementOut(
        claimed_s=done.claim.claimed_s,
        credited_s=done.credited_s,
        pending_s=done.pending_s,
        reasons=[_reason(code) for code in done.reasons],
    )


def _reason(code: SettlementReason) -> ClaimReasonOut:
    chinese, english = SETTLEMENT_TEXT[code]
    return ClaimReasonOut(code=code, text_zh=chinese, text_en=english)
