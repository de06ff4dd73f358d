"""Leaves that tell of accommodations: that one was granted or revoked, and not whose or why."""

from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.keystore import RecordClass
from verifier.accommodation import Grant
from verifier.eligibility_facts import china_day
from verifier.errors import InputError
from verifier.transparency.canonical_json import JSONValue


def granted_entry(evidence: EvidenceStore, grant: Grant) -> PreparedEntry:
    """Prepare the leaf that a second person approved a grant; ``InputError`` if nobody did."""
    if grant.approved_at is None:
        raise InputError("an approved grant was wanted")
    # Why is sealed where no receipt discloses it: it may tell of somebody's health.
    console: dict[str, JSONValue] = {"reason": grant.reason}
    return _entry(evidence, grant, "granted", console=console)


def revoked_entry(evidence: EvidenceStore, grant: Grant) -> PreparedEntry:
    """Prepare the leaf that a grant was revoked; ``InputError`` if it was not."""
    if grant.revoked_at is None:
        raise InputError("a revoked grant was wanted")
    return _entry(evidence, grant, "revoked", console=None)


def _entry(
    evidence: EvidenceStore, grant: Grant, act: str, *, console: dict[str, JSONValue] | None
) -> PreparedEntry:
    at = grant.approved_at if act == "granted" else grant.revoked_at
    assert at is not None  # noqa: S101 - tells mypy what both callers looked at
    return evidence.prepare_record(
        f"accommodation_{act}",
        at=at,
        facts={"kind": grant.kind.value, "valid_to": china_day(grant.valid_to).isoformat()},
        private={
            "grant_id": grant.grant_id,
            "learner_id": grant.learner_id,
            "valid_from": grant.valid_from.isoformat(),
            "valid_to": grant.valid_to.isoformat(),
            "proposed_by": grant.proposed_by,
            "approved_by": grant.approved_by,
            "revoked_by": grant.revoked_by,
        },
        console=console,
        learner_id=grant.learner_id,
        purpose="accommodation",
        record_class=RecordClass.MONEY_FACTS,
    )
