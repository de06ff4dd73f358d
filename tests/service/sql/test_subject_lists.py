"""Lists take two persons, and entries come back as they were proposed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from service.sql.subject_lists import approve_entry, entries_about, propose_entry
from tests.service.sql.lesson_samples import STARTS
from verifier.errors import InvalidRecordError, ProtocolError, UnknownSubjectError
from verifier.list_entry import ListEntry, ListName, SubjectKind

LATER = STARTS + timedelta(days=1)
PROPOSAL = ListEntry(
    entry_id="e",
    list_name=ListName.BLACK,
    subject_kind=SubjectKind.LEARNER,
    subject_id="l",
    valid_from=STARTS,
    valid_to=None,
    reason_code="proxy_attendance",
    proposed_by="officer-1",
    proposed_at=STARTS,
    extra={"note": ["附"]},
)
LEARNER = [(SubjectKind.LEARNER, "l")]


def test_a_proposal_comes_back_and_lists_nobody(tx: Connection) -> None:
    propose_entry(tx, PROPOSAL)
    assert entries_about(tx, LEARNER) == (PROPOSAL,)
    assert not entries_about(tx, LEARNER)[0].in_force(LATER)


def test_a_second_person_puts_it_in_force(tx: Connection) -> None:
    propose_entry(tx, PROPOSAL)
    approved = approve_entry(tx, entry_id="e", approved_by="officer-2", at=LATER)
    assert approved == replace(PROPOSAL, approved_by="officer-2", approved_at=LATER)
    assert entries_about(tx, LEARNER) == (approved,)
    with pytest.raises(ProtocolError):
        approve_entry(tx, entry_id="e", approved_by="officer-3", at=LATER)


def test_nobody_approves_their_own_proposal(tx: Connection) -> None:
    propose_entry(tx, PROPOSAL)
    with pytest.raises(InvalidRecordError, match="one person"):
        approve_entry(tx, entry_id="e", approved_by="officer-1", at=LATER)
    assert entries_about(tx, LEARNER) == (PROPOSAL,)


@pytest.mark.parametrize("spelt", ["Officer-1", " officer-1 ", "ｏｆｆｉｃｅｒ-1"])
def test_a_person_is_the_same_in_any_spelling(tx: Connection, spelt: str) -> None:
    propose_entry(tx, PROPOSAL)
    with pytest.raises(InvalidRecordError, match="one person"):
        approve_entry(tx, entry_id="e", approved_by=spelt, at=LATER)
    assert entries_about(tx, LEARNER) == (PROPOSAL,)


def test_a_proposal_brings_no_approval(tx: Connection) -> None:
    with pytest.raises(ProtocolError):
        propose_entry(tx, replace(PROPOSAL, approved_by="officer-2", approved_at=LATER))


def test_what_was_not_proposed_cannot_be_approved(tx: Connection) -> None:
    with pytest.raises(UnknownSubjectError):
        approve_entry(tx, entry_id="x", approved_by="officer-2", at=LATER)


def test_only_entries_about_those_asked_for_are_returned(tx: Connection) -> None:
    """A learner and an institution may have the same id."""
    institution = replace(
        PROPOSAL, entry_id="f", subject_kind=SubjectKind.INSTITUTION, valid_to=LATER
    )
    for proposal in (PROPOSAL, institution):
        propose_entry(tx, proposal)
    assert entries_about(tx, [(SubjectKind.INSTITUTION, "l")]) == (institution,)
    both = [*LEARNER, (SubjectKind.INSTITUTION, "l"), (SubjectKind.PLATFORM, "l")]
    assert entries_about(tx, both) == (PROPOSAL, institution)
    assert entries_about(tx, []) == ()


def test_a_thousand_subjects_are_asked_about_at_once(tx: Connection) -> None:
    propose_entry(tx, PROPOSAL)
    many = [(SubjectKind.LEARNER, f"l{number}") for number in range(1000)]
    assert entries_about(tx, [*many, *LEARNER]) == (PROPOSAL,)
