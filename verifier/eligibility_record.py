"""The public JSON form of the facts that the gate decides on; ``docs/formats.md`` describes it."""

from collections.abc import Mapping
from datetime import datetime

from verifier.assurance import Assurance, LearnerPath
from verifier.eligibility_facts import (
    CaseFact,
    ClassFact,
    ConsentFact,
    EligibilityFacts,
    EnrolmentFact,
    RosterFact,
    RosterGap,
    SessionFact,
)
from verifier.eligibility_rules import utc_text
from verifier.enrolment import Anchor
from verifier.errors import InvalidRecordError
from verifier.list_entry import ListEntry, ListName, SubjectKind
from verifier.review_case import CaseKind, CaseResolution
from verifier.session_score import Decision
from verifier.session_state import SessionPhase
from verifier.strict_json import Fields, shown
from verifier.transparency.canonical_json import JSONValue


def read_facts(record: object) -> EligibilityFacts:
    """Read one record, as :func:`verifier.strict_json.load_json` returns it.

    Every key has to be there but those that came later: ``open_cases``, and of a session
    ``witnesses``, ``prompts_scheduled``, ``prompts_missed``, ``prompts_passed``, ``makes_up`` and
    ``path``. Keys that nobody knows are kept and otherwise ignored.

    Raises
    ------
    InvalidRecordError
        Naming the place, what was seen and what was wanted.
    """
    fields = Fields(record, "the record")
    learner_id, class_id = fields.text("learner_id"), fields.text("class_id")
    own = {"learner_id": learner_id, "class_id": class_id}
    return EligibilityFacts(
        learner_id=learner_id,
        class_id=class_id,
        as_of=fields.moment("as_of"),
        registered_at=fields.optional("registered_at", fields.moment),
        consents=fields.objects("consents", _read_consent),
        class_fact=fields.object("class", _read_class),
        roster=fields.object("roster", _read_roster),
        enrolment=fields.object("enrolment", _read_enrolment),
        sessions=fields.objects("sessions", lambda session: _read_session(session, own)),
        list_entries=fields.objects("list_entries", read_list_entry),
        claimed_s=fields.optional("claimed_s", fields.number),
        open_cases=fields.objects_if_any("open_cases", _read_case),
        extra=fields.extra(),
    )


def facts_record(facts: EligibilityFacts) -> dict[str, JSONValue]:
    """Return the public form; :func:`read_facts` reads it back."""
    return {
        **facts.extra,
        "learner_id": facts.learner_id,
        "class_id": facts.class_id,
        "as_of": utc_text(facts.as_of),
        "registered_at": _optional_utc(facts.registered_at),
        "consents": [_consent_record(consent) for consent in facts.consents],
        "class": None if facts.class_fact is None else _class_record(facts.class_fact),
        "roster": None if facts.roster is None else _roster_record(facts.roster),
        "enrolment": None if facts.enrolment is None else _enrolment_record(facts.enrolment),
        "sessions": [_session_record(session) for session in facts.sessions],
        "list_entries": [list_entry_record(entry) for entry in facts.list_entries],
        "claimed_s": facts.claimed_s,
        "open_cases": [_case_record(case) for case in facts.open_cases],
    }


def read_list_entry(fields: Fields) -> ListEntry:
    """Read one entry of a list."""
    return ListEntry(
        entry_id=fields.text("entry_id"),
        list_name=fields.choice("list", ListName),
        subject_kind=fields.choice("subject_kind", SubjectKind),
        subject_id=fields.text("subject_id"),
        valid_from=fields.moment("valid_from"),
        valid_to=fields.optional("valid_to", fields.moment),
        reason_code=fields.text("reason_code"),
        proposed_by=fields.text("proposed_by"),
        proposed_at=fields.moment("proposed_at"),
        approved_by=fields.optional("approved_by", fields.text),
        approved_at=fields.optional("approved_at", fields.moment),
        extra=fields.extra(),
    )


def list_entry_record(entry: ListEntry) -> dict[str, JSONValue]:
    """Return the public form of an entry."""
    return {
        **entry.extra,
        "entry_id": entry.entry_id,
        "list": entry.list_name.value,
        "subject_kind": entry.subject_kind.value,
        "subject_id": entry.subject_id,
        "valid_from": utc_text(entry.valid_from),
        "valid_to": _optional_utc(entry.valid_to),
        "reason_code": entry.reason_code,
        "proposed_by": entry.proposed_by,
        "proposed_at": utc_text(entry.proposed_at),
        "approved_by": entry.approved_by,
        "approved_at": _optional_utc(entry.approved_at),
    }


def _read_consent(fields: Fields) -> ConsentFact:
    return ConsentFact(
        version=fields.text("version"),
        given_at=fields.moment("given_at"),
        withdrawn_at=fields.optional("withdrawn_at", fields.moment),
        extra=fields.extra(),
    )


def _consent_record(consent: ConsentFact) -> dict[str, JSONValue]:
    return {
        **consent.extra,
        "version": consent.version,
        "given_at": utc_text(consent.given_at),
        "withdrawn_at": _optional_utc(consent.withdrawn_at),
    }


def _read_class(fields: Fields) -> ClassFact:
    return ClassFact(
        institution_id=fields.text("institution_id"),
        platform_id=fields.text("platform_id"),
        applied_at=fields.moment("applied_at"),
        approved_at=fields.optional("approved_at", fields.moment),
        withdrawn_at=fields.optional("withdrawn_at", fields.moment),
        starts_on=fields.day("starts_on"),
        ends_on=fields.day("ends_on"),
        required_credit_hours=fields.number("required_credit_hours"),
        extra=fields.extra(),
    )


def _class_record(class_fact: ClassFact) -> dict[str, JSONValue]:
    return {
        **class_fact.extra,
        "institution_id": class_fact.institution_id,
        "platform_id": class_fact.platform_id,
        "applied_at": utc_text(class_fact.applied_at),
        "approved_at": _optional_utc(class_fact.approved_at),
        "withdrawn_at": _optional_utc(class_fact.withdrawn_at),
        "starts_on": class_fact.starts_on.isoformat(),
        "ends_on": class_fact.ends_on.isoformat(),
        "required_credit_hours": class_fact.required_credit_hours,
    }


def _read_roster(fields: Fields) -> RosterFact:
    return RosterFact(
        added_at=fields.moment("added_at"),
        removed_at=fields.optional("removed_at", fields.moment),
        gaps=fields.objects("gaps", _read_gap),
        extra=fields.extra(),
    )


def _read_gap(fields: Fields) -> RosterGap:
    return RosterGap(
        removed_at=fields.moment("removed_at"),
        added_at=fields.moment("added_at"),
        extra=fields.extra(),
    )


def _gap_record(gap: RosterGap) -> dict[str, JSONValue]:
    return {
        **gap.extra,
        "removed_at": utc_text(gap.removed_at),
        "added_at": utc_text(gap.added_at),
    }


def _roster_record(roster: RosterFact) -> dict[str, JSONValue]:
    return {
        **roster.extra,
        "added_at": utc_text(roster.added_at),
        "removed_at": _optional_utc(roster.removed_at),
        "gaps": [_gap_record(gap) for gap in roster.gaps],
    }


def _read_case(fields: Fields) -> CaseFact:
    return CaseFact(
        case_id=fields.text("case_id"),
        kind=fields.choice("kind", CaseKind),
        opened_at=fields.moment("opened_at"),
        resolution=fields.optional("resolution", lambda name: fields.choice(name, CaseResolution)),
        extra=fields.extra(),
    )


def _case_record(case: CaseFact) -> dict[str, JSONValue]:
    return {
        **case.extra,
        "case_id": case.case_id,
        "kind": case.kind.value,
        "opened_at": utc_text(case.opened_at),
        "resolution": None if case.resolution is None else case.resolution.value,
    }


def _read_enrolment(fields: Fields) -> EnrolmentFact:
    return EnrolmentFact(
        anchor=fields.choice("anchor", Anchor),
        enrolled_at=fields.moment("enrolled_at"),
        extra=fields.extra(),
    )


def _enrolment_record(enrolment: EnrolmentFact) -> dict[str, JSONValue]:
    return {
        **enrolment.extra,
        "anchor": enrolment.anchor.value,
        "enrolled_at": utc_text(enrolment.enrolled_at),
    }


def _read_session(fields: Fields, own: Mapping[str, str]) -> SessionFact:
    session = SessionFact(
        session_id=fields.text("session_id"),
        opened_at=fields.moment("opened_at"),
        ended_at=fields.optional("ended_at", fields.moment),
        phase=fields.choice("phase", SessionPhase),
        decision=fields.optional("decision", lambda name: fields.choice(name, Decision)),
        credited_s=fields.number("credited_s"),
        pending_s=fields.number("pending_s"),
        anchor=fields.choice("anchor", Anchor),
        assurance=fields.choice("assurance", Assurance),
        proven=fields.flag("proven"),
        witnesses=fields.if_any("witnesses", fields.count, otherwise=0),
        prompts_scheduled=fields.if_any("prompts_scheduled", fields.count, otherwise=0),
        prompts_missed=fields.if_any("prompts_missed", fields.count, otherwise=0),
        prompts_passed=fields.if_any("prompts_passed", fields.count, otherwise=0),
        makes_up=fields.if_any(
            "makes_up", lambda name: fields.optional(name, fields.text), otherwise=None
        ),
        path=fields.if_any(
            "path", lambda name: fields.choice(name, LearnerPath), otherwise=LearnerPath.FACE
        ),
        extra=fields.extra(),
    )
    for name, wanted in own.items():
        # Not asked for, but a session that says it is somebody else's must not be paid here.
        seen = session.extra.get(name, wanted)
        if seen != wanted:
            raise InvalidRecordError(f"{name} is {shown(seen)}; that of the record was wanted")
    return session


def _session_record(session: SessionFact) -> dict[str, JSONValue]:
    return {
        **session.extra,
        "session_id": session.session_id,
        "opened_at": utc_text(session.opened_at),
        "ended_at": _optional_utc(session.ended_at),
        "phase": session.phase.value,
        "decision": None if session.decision is None else session.decision.value,
        "credited_s": session.credited_s,
        "pending_s": session.pending_s,
        "anchor": session.anchor.value,
        "assurance": session.assurance.value,
        "proven": session.proven,
        "witnesses": session.witnesses,
        "prompts_scheduled": session.prompts_scheduled,
        "prompts_missed": session.prompts_missed,
        "prompts_passed": session.prompts_passed,
        "makes_up": session.makes_up,
        "path": session.path.value,
    }


def _optional_utc(at: datetime | None) -> str | None:
    return None if at is None else utc_text(at)
