"""The gate's rules, one function each: facts and policy in, one answer with its values out.

No rule knows of another, so that each stands in the trace whatever the others say. A rule's number
changes with its meaning; numbers it compares with are policy values.

What had to come before *the event*, the first session, cannot be made up for afterwards:
``not_payable``. Where no session has been held the class's first day stands in for the event, and
then nothing is lost yet: ``not_yet``.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from verifier.assurance import Assurance, LearnerPath
from verifier.eligibility_facts import (
    CaseFact,
    ClassFact,
    EligibilityFacts,
    SessionFact,
    china_day,
)
from verifier.eligibility_result import GateCode, GateOutcome, RuleResult, Scalar
from verifier.enrolment import STRENGTH, Anchor
from verifier.list_entry import ListCheck, ListEntry, SubjectKind, check_subject, in_order
from verifier.miss_budget import MissVerdict, in_time
from verifier.miss_budget import miss_budget as miss_budget_of
from verifier.policy import Policy
from verifier.review_case import CaseKind, still_stands

Rule: TypeAlias = Callable[[EligibilityFacts, Policy], RuleResult]

INDEPENDENT_ANCHORS: Final = frozenset({Anchor.OFFICER, Anchor.AUTHORITY})
"""No policy value: whoever is paid for a learner cannot vouch for the learner."""

ASSURANCES_BY_STRENGTH: Final = (Assurance.PLATFORM, Assurance.FRAME)


def registered_before_event(facts: EligibilityFacts, _: Policy) -> RuleResult:
    """凡补必进: the learner was in the system before the first session."""
    rule = "registered_before_event@1"
    values = _times(registered_at=facts.registered_at, event_at=facts.event)
    if facts.registered_at is None:
        return _came_too_late(facts, rule, GateCode.LEARNER_UNKNOWN, values)
    if _after_event(facts.registered_at, facts):
        return _came_too_late(facts, rule, GateCode.REGISTERED_AFTER_EVENT, values)
    return _payable(rule, values)


def consent_in_force(facts: EligibilityFacts, _: Policy) -> RuleResult:
    """Consent stood whenever a session was opened; with no session, it stands now.

    Withdrawing it afterwards costs nothing that was earned under it. A session opened without
    goes to a person: it should never have been opened, and that need not be the learner's doing.
    Where no face was asked for there is nothing to consent to.
    """
    rule = "consent_in_force@2"
    by_face = sorted(s.opened_at for s in facts.sessions if s.path is LearnerPath.FACE)
    uncovered = [at for at in by_face if not _consented(facts, at)]
    values: dict[str, Scalar] = {
        "consents": len(facts.consents),
        "sessions": len(by_face),
        "sessions_without_consent": len(uncovered),
        **_times(first_without_consent_at=uncovered[0] if uncovered else None),
    }
    if uncovered:
        return _refer(rule, GateCode.SESSION_WITHOUT_CONSENT, values)
    if not facts.sessions and not _consented(facts, facts.as_of):
        return _not_yet(rule, GateCode.CONSENT_MISSING, values)
    return _payable(rule, values)


def class_approved_before_event(facts: EligibilityFacts, _: Policy) -> RuleResult:
    """开班申请 was approved before the first session, and was not withdrawn."""
    rule, class_fact = "class_approved_before_event@1", facts.class_fact
    if class_fact is None:
        return _came_too_late(facts, rule, GateCode.CLASS_UNKNOWN, _times(event_at=facts.event))
    values = _times(
        applied_at=class_fact.applied_at,
        approved_at=class_fact.approved_at,
        withdrawn_at=class_fact.withdrawn_at,
        event_at=facts.event,
    )
    if class_fact.withdrawn_at is not None:
        return _not_payable(rule, GateCode.CLASS_WITHDRAWN, values)
    if class_fact.approved_at is None:
        return _came_too_late(facts, rule, GateCode.CLASS_NOT_APPROVED, values)
    if _after_event(class_fact.approved_at, facts):
        return _came_too_late(facts, rule, GateCode.CLASS_APPROVED_AFTER_EVENT, values)
    return _payable(rule, values)


def on_roster_before_event(facts: EligibilityFacts, _: Policy) -> RuleResult:
    """花名册 named the learner before the first session, and no removal came before it.

    A session after a removal, also one that was taken back later, goes to a person: the others
    stand. Leaving and coming back with no session in between costs nothing.
    """
    rule, roster = "on_roster_before_event@2", facts.roster
    if roster is None:
        return _came_too_late(facts, rule, GateCode.NOT_ON_ROSTER, _times(event_at=facts.event))
    off = sum(roster.was_off(opened_at) for opened_at in facts.openings)
    values: dict[str, Scalar] = {
        **_times(added_at=roster.added_at, removed_at=roster.removed_at, event_at=facts.event),
        "sessions_off_roster": off,
    }
    if _after_event(roster.added_at, facts):
        return _came_too_late(facts, rule, GateCode.ON_ROSTER_AFTER_EVENT, values)
    removed_at, openings = roster.removed_at, facts.openings
    if removed_at is not None and (not openings or removed_at <= openings[0]):
        return _came_too_late(facts, rule, GateCode.REMOVED_FROM_ROSTER, values)
    if off:
        return _refer(rule, GateCode.SESSION_AFTER_REMOVAL, values)
    return _payable(rule, values)


def within_class_days(facts: EligibilityFacts, policy: Policy) -> RuleResult:
    """Whatever carries credit was held on the days of the 开班申请, or makes up for such a session.

    The approval spoke of those days only. A session outside them goes to a person: a class may
    have moved for a good reason, and that need not be the learner's doing. Where the class is
    unknown there are no days to miss, and ``class_approved_before_event`` speaks.
    """
    rule, class_fact = "within_class_days@2", facts.class_fact
    if class_fact is None:
        return _payable(rule, {"starts_on": None, "ends_on": None, "sessions_outside": 0})
    outside = [
        s
        for s in _carrying_credit(facts)
        if not _held_within(s, class_fact) and not _makes_up_within(s, facts, class_fact, policy)
    ]
    values: dict[str, Scalar] = {
        "starts_on": class_fact.starts_on.isoformat(),
        "ends_on": class_fact.ends_on.isoformat(),
        "sessions_outside": len(outside),
        **_times(first_outside_at=min((s.opened_at for s in outside), default=None)),
    }
    if outside:
        return _refer(rule, GateCode.OUTSIDE_CLASS_DAYS, values)
    return _payable(rule, values)


def credited_hours(facts: EligibilityFacts, policy: Policy) -> RuleResult:
    """不进不补: proven credit reaches the hours that the class asks for.

    Credit counts once a signed checkpoint covers it. While hours are short and any time waits for
    a person, the answer is ``refer``, also where that time would not suffice: otherwise a learner
    who earned more could fall from ``not_yet`` to ``refer``.
    """
    rule, tally = "credited_hours@1", _Tally.of(facts, policy)
    outcome, code = _judge_hours(facts, tally)
    return RuleResult(rule=rule, outcome=outcome, code=code, values=tally.values(facts))


def identity_anchored(facts: EligibilityFacts, _: Policy) -> RuleResult:
    """Somebody independent vouches for the face: the weakest anchor counts.

    Of the reference in use, unless it was erased since, and of every session that carries credit,
    each as it was then: who has a face forgotten forgoes nothing that was earned by it. A later,
    better anchor does not reach back: its new picture says nothing of who sat in the old sessions,
    and an institution could have a hired face vouched for afterwards.
    """
    rule = "identity_anchored@2"
    enrolled = None if facts.enrolment is None else facts.enrolment.anchor
    in_sessions = {s.anchor for s in _carrying_credit(facts)}
    weakest = _weakest(in_sessions, STRENGTH)
    values: dict[str, Scalar] = {
        "enrolment_anchor": None if enrolled is None else enrolled.value,
        "weakest_session_anchor": weakest,
    }
    anchors = in_sessions | ({enrolled} - {None})
    if anchors and anchors <= INDEPENDENT_ANCHORS:
        return _payable(rule, values)
    return _not_yet(rule, GateCode.IDENTITY_NOT_ANCHORED, values)


def assurance_accepted(facts: EligibilityFacts, policy: Policy) -> RuleResult:
    """Policy pays on the way the answers of each session with credit came in.

    Without the face it asks for more: a typed code is told to who answers it, so where that passes
    through the platform's hands a program of the platform's could answer.
    """
    rule = "assurance_accepted@2"
    gate, sessions = policy.gate, list(_carrying_credit(facts))
    found = {session.assurance for session in sessions}
    unseen = {s.assurance for s in sessions if s.path is LearnerPath.NON_FACE}
    values: dict[str, Scalar] = {
        "weakest_assurance": _weakest(found, ASSURANCES_BY_STRENGTH),
        "weakest_non_face_assurance": _weakest(unseen, ASSURANCES_BY_STRENGTH),
    }
    non_face_accepted = unseen <= set(gate.payable_non_face_assurances)
    if found <= set(gate.payable_assurances) and non_face_accepted:
        return _payable(rule, values)
    return _refer(rule, GateCode.ASSURANCE_NOT_ACCEPTED, values)


def not_black_listed(facts: EligibilityFacts, policy: Policy) -> RuleResult:
    """No entry was in force against learner, institution or platform when it mattered.

    That is at the event, whenever a session was opened, and now. Two persons make an entry; the
    proposal of one takes nothing away. It asks for a person's decision, and lapses for the gate
    when none came in time, or a single insider could withhold money by proposing. The white list
    is not asked: it overrides nothing.
    """
    rule = "not_black_listed@1"
    checks = list(_list_checks(facts))
    black = in_order(entry for check in checks for entry in check.black)
    patience = timedelta(days=policy.gate.proposal_refers_days)
    fresh = in_order(
        entry
        for check in checks
        for entry in check.proposed
        if facts.as_of - entry.proposed_at < patience
    )
    if black:
        return _not_payable(rule, GateCode.BLACK_LISTED, _entry_values(black))
    if fresh:
        return _refer(rule, GateCode.BLACK_LIST_PROPOSED, _entry_values(fresh))
    return _payable(rule, {"entries": 0})


def no_open_case(facts: EligibilityFacts, _: Policy) -> RuleResult:
    """No case about the learner asks for a decision, whichever side of it they are on.

    It only ever refers: one of two people who look alike has done nothing, and of one person with
    two identities nobody knows yet which is borrowed. Who is to lose anything is black-listed, by
    two persons. Of a case that does not stand any more nothing is held up.
    """
    rule = "no_open_case@1"
    standing = [case for case in facts.open_cases if still_stands(case.resolution)]
    if not standing:
        return _payable(rule, {"cases": 0})
    first = min(standing, key=lambda case: (_CASE_ORDER.index(_case_code(case)), case.opened_at))
    values: dict[str, Scalar] = {
        "cases": len(standing),
        "case_id": first.case_id,
        **_times(opened_at=first.opened_at),
    }
    return _refer(rule, _case_code(first), values)


def miss_budget(facts: EligibilityFacts, policy: Policy) -> RuleResult:
    """No more prompts of the class were missed, and not made up for, than policy allows.

    While the class goes on nothing is decided: the denominator grows. Afterwards too many go to a
    person, since why they were missed is no question for a machine. Where the class is unknown
    there is no last day, and ``class_approved_before_event`` speaks.
    """
    rule, class_fact = "miss_budget@1", facts.class_fact
    class_over = class_fact is not None and china_day(facts.as_of) > class_fact.ends_on
    budget = miss_budget_of(facts.sessions, policy.classes, class_over=class_over)
    values: dict[str, Scalar] = {
        "scheduled": budget.scheduled,
        "missed": budget.missed,
        "made_up": budget.made_up,
        "share": budget.share,
        "verdict": budget.verdict.value,
    }
    if budget.verdict is MissVerdict.EXCEEDED:
        return _refer(rule, GateCode.MISS_BUDGET_EXCEEDED, values)
    return _payable(rule, values)


def schedule_witnessed(facts: EligibilityFacts, policy: Policy) -> RuleResult:
    """Enough witnesses cosigned what the schedule of each session with credit follows from."""
    rule, wanted = "schedule_witnessed@1", policy.gate.min_witnesses
    found = [session.witnesses for session in _carrying_credit(facts)]
    values: dict[str, Scalar] = {
        "min_witnesses": wanted,
        "fewest_witnesses": min(found, default=None),
        "sessions_below": sum(count < wanted for count in found),
    }
    if values["sessions_below"]:
        return _not_yet(rule, GateCode.SCHEDULE_UNWITNESSED, values)
    return _payable(rule, values)


RULES: Final[tuple[Rule, ...]] = (
    registered_before_event,
    consent_in_force,
    class_approved_before_event,
    on_roster_before_event,
    within_class_days,
    credited_hours,
    identity_anchored,
    assurance_accepted,
    not_black_listed,
    no_open_case,
    miss_budget,
    schedule_witnessed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    """Seconds by what they wait for; ``required_s`` is None where nobody knows."""

    proven_s: float
    unproven_s: float
    pending_s: float
    required_s: float | None

    @classmethod
    def of(cls, facts: EligibilityFacts, policy: Policy) -> "_Tally":
        hours = None if facts.class_fact is None else facts.class_fact.required_credit_hours
        sessions = facts.sessions
        return cls(
            proven_s=_seconds(s.credited_s for s in sessions if s.proven),
            unproven_s=_seconds(s.credited_s for s in sessions if not s.proven),
            pending_s=_seconds(s.pending_s for s in sessions),
            required_s=None if hours is None else round(hours * credit_hour_s(policy), 6),
        )

    @property
    def credited_s(self) -> float:
        return round(self.proven_s + self.unproven_s, 6)

    def values(self, facts: EligibilityFacts) -> dict[str, Scalar]:
        return {
            "required_s": self.required_s,
            "proven_s": self.proven_s,
            "unproven_s": self.unproven_s,
            "pending_s": self.pending_s,
            "claimed_s": facts.claimed_s,
            "sessions": len(facts.sessions),
            "sessions_running": sum(not s.phase.is_final for s in facts.sessions),
        }


def credit_hour_s(policy: Policy) -> float:
    """Return the seconds of one 学时."""
    return 60.0 * policy.credit.credit_hour_minutes


def _judge_hours(facts: EligibilityFacts, tally: _Tally) -> tuple[GateOutcome, GateCode | None]:
    if facts.sessions:
        return _judge_seconds(tally)
    # 不进不补: what was uploaded without a session seen here is worth nothing.
    if facts.claimed_s:
        return GateOutcome.NOT_PAYABLE, GateCode.NO_SESSION_SEEN
    return GateOutcome.NOT_YET, GateCode.NO_SESSION_YET


def _judge_seconds(tally: _Tally) -> tuple[GateOutcome, GateCode | None]:
    required_s = tally.required_s
    if required_s is None:
        return GateOutcome.NOT_YET, GateCode.REQUIRED_HOURS_UNKNOWN
    if tally.proven_s >= required_s:
        return GateOutcome.PAYABLE, None
    if tally.credited_s >= required_s:
        return GateOutcome.NOT_YET, GateCode.PENDING_PROOF
    if tally.pending_s > 0:
        fills = round(tally.credited_s + tally.pending_s, 6) >= required_s
        code = GateCode.UNDER_REVIEW if fills else GateCode.UNDER_REVIEW_AND_SHORT
        return GateOutcome.REFER, code
    return GateOutcome.NOT_YET, GateCode.HOURS_SHORT


def _after_event(at: datetime, facts: EligibilityFacts) -> bool:
    return facts.event is not None and at > facts.event


def _consented(facts: EligibilityFacts, at: datetime) -> bool:
    return any(consent.in_force(at) for consent in facts.consents)


def _carrying_credit(facts: EligibilityFacts) -> list[SessionFact]:
    return [session for session in facts.sessions if session.credited_s > 0]


def _held_within(session: SessionFact, class_fact: ClassFact) -> bool:
    # Its end as well: a lesson may begin before midnight of the last day and go on after it.
    return class_fact.meets_on(session.opened_at) and class_fact.meets_on(
        session.ended_at or session.opened_at
    )


def _makes_up_within(
    session: SessionFact, facts: EligibilityFacts, class_fact: ClassFact, policy: Policy
) -> bool:
    """Say whether it made up, in the days allowed for that, for one held on the class's days."""
    missed = next((s for s in facts.sessions if s.session_id == session.makes_up), None)
    return (
        missed is not None
        and missed.prompts_missed > 0
        and _held_within(missed, class_fact)
        and in_time(missed, session.opened_at, policy.classes)
    )


def _weakest(found: set[Anchor] | set[Assurance], by_strength: tuple[str, ...]) -> str | None:
    return next((str(each) for each in by_strength if each in found), None)


def _list_checks(facts: EligibilityFacts) -> Iterator[ListCheck]:
    subjects = [(SubjectKind.LEARNER, facts.learner_id)]
    if facts.class_fact is not None:
        subjects += [
            (SubjectKind.INSTITUTION, facts.class_fact.institution_id),
            (SubjectKind.PLATFORM, facts.class_fact.platform_id),
        ]
    moments = {facts.as_of, *facts.openings} | ({facts.event} if facts.event else set())
    for kind, subject_id in subjects:
        for at in moments:
            yield check_subject(facts.list_entries, kind, subject_id, at)


_CASE_ORDER: Final = (
    GateCode.DUPLICATE_FACE_FOUND,
    GateCode.DUPLICATE_FACE_UNDER_REVIEW,
    GateCode.TOO_MANY_COMPARISONS,
    GateCode.NON_FACE_SHARE,
)
"""Which of several cases is told: what is known before what is suspected."""


_ONE_LEARNER_CODES: Final = {
    CaseKind.TOO_MANY_COMPARISONS: GateCode.TOO_MANY_COMPARISONS,
    CaseKind.NON_FACE_SHARE: GateCode.NON_FACE_SHARE,
}


def _case_code(case: CaseFact) -> GateCode:
    if case.kind in _ONE_LEARNER_CODES:
        return _ONE_LEARNER_CODES[case.kind]
    if case.resolution is None:
        return GateCode.DUPLICATE_FACE_UNDER_REVIEW
    return GateCode.DUPLICATE_FACE_FOUND


def _entry_values(entries: list[ListEntry]) -> dict[str, Scalar]:
    """Name the entry that began first, and say how many there are."""
    first = entries[0]
    return {
        "entries": len({entry.entry_id for entry in entries}),
        "entry_id": first.entry_id,
        "subject_kind": first.subject_kind.value,
        "reason_code": first.reason_code,
        **_times(valid_from=first.valid_from, valid_to=first.valid_to),
    }


def _times(**times: datetime | None) -> dict[str, Scalar]:
    return {name: None if at is None else utc_text(at) for name, at in times.items()}


def utc_text(at: datetime) -> str:
    """Return ISO 8601 in UTC, so that one moment has one spelling."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _seconds(parts: Iterable[float]) -> float:
    # Rounded before it decides, so that reruns agree and the order of sessions is no matter.
    return round(math.fsum(parts), 6)


def _came_too_late(
    facts: EligibilityFacts, rule: str, code: GateCode, values: dict[str, Scalar]
) -> RuleResult:
    """Answer where something did not precede the event: beyond repair once a session was held."""
    outcome = GateOutcome.NOT_PAYABLE if facts.sessions else GateOutcome.NOT_YET
    return RuleResult(rule=rule, outcome=outcome, code=code, values=values)


def _payable(rule: str, values: dict[str, Scalar]) -> RuleResult:
    return RuleResult(rule=rule, outcome=GateOutcome.PAYABLE, values=values)


def _not_yet(rule: str, code: GateCode, values: dict[str, Scalar]) -> RuleResult:
    return RuleResult(rule=rule, outcome=GateOutcome.NOT_YET, code=code, values=values)


def _refer(rule: str, code: GateCode, values: dict[str, Scalar]) -> RuleResult:
    return RuleResult(rule=rule, outcome=GateOutcome.REFER, code=code, values=values)


def _not_payable(rule: str, code: GateCode, values: dict[str, Scalar]) -> RuleResult:
    return RuleResult(rule=rule, outcome=GateOutcome.NOT_PAYABLE, code=code, values=values)
