"""Grants on record: two persons, the reason sealed, in force for openings after the approval."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from service.sql import tables
from service.sql.accommodations import (
    UnknownGrantError,
    approve_grant,
    grant_in_force,
    grants_of,
    propose_grant,
    revoke_grant,
    waiting_grants,
)
from tests.verifier.test_accommodation import DAY, FROM, PROPOSAL, grant
from verifier.accommodation import AccommodationKind, Grant
from verifier.errors import InputError, InvalidRecordError, ProtocolError, UnknownSubjectError

NON_FACE, EXTRA_TIME = AccommodationKind.NON_FACE, AccommodationKind.EXTRA_TIME
LATER = FROM + DAY


@pytest.fixture(autouse=True)
def _learners(tx: Connection) -> None:
    people = [{"learner_id": name, "registered_at": FROM} for name in ("l-1", "l-2")]
    tx.execute(insert(tables.learner), people)


def propose(tx: Connection, **changes: Any) -> Grant:
    proposal = grant(**{**PROPOSAL, **changes})
    propose_grant(tx, proposal, longest_days=180)
    return proposal


def approve(tx: Connection, **changes: Any) -> Grant:
    said = {"grant_id": "g-1", "approved_by": "李强", "at": LATER, **changes}
    return approve_grant(tx, **said)


def in_force(tx: Connection, at: Any, kind: AccommodationKind = NON_FACE) -> Grant | None:
    return grant_in_force(tx, learner_id="l-1", kind=kind, at=at)


def code_of(error: pytest.ExceptionInfo[ProtocolError]) -> str:
    return error.value.code


def test_from_the_approval_on_and_for_nobody_else(tx: Connection) -> None:
    proposal = propose(tx)
    assert grants_of(tx, "l-1") == [proposal]
    assert in_force(tx, LATER) is None
    approved = approve(tx)
    assert (approved.approved_by, approved.approved_at) == ("李强", LATER)
    assert in_force(tx, LATER) == approved
    assert in_force(tx, LATER - timedelta(microseconds=1)) is None
    assert in_force(tx, LATER, EXTRA_TIME) is None
    assert grant_in_force(tx, learner_id="l-2", kind=NON_FACE, at=LATER) is None


@pytest.mark.parametrize("name", ["王芳", " 王 芳", "王芳 "])
def test_nobody_grants_alone(tx: Connection, name: str) -> None:
    propose(tx)
    with pytest.raises(ProtocolError) as raised:
        approve(tx, approved_by=name)
    assert code_of(raised) == "second_person_wanted"
    assert in_force(tx, LATER) is None


def test_once_only_and_in_time(tx: Connection) -> None:
    propose(tx)
    with pytest.raises(ProtocolError) as raised:
        approve(tx, at=FROM + 10 * DAY)
    assert code_of(raised) == "grant_over"
    approve(tx)
    with pytest.raises(ProtocolError) as raised:
        approve(tx, approved_by="赵敏")
    assert code_of(raised) == "already_approved"
    with pytest.raises(UnknownGrantError):
        approve(tx, grant_id="none")


def test_one_person_revokes_and_the_first_time_stays(tx: Connection) -> None:
    propose(tx)
    approve(tx)
    revoked, done = revoke_grant(tx, grant_id="g-1", revoked_by="王芳", at=LATER + DAY)
    assert (done, revoked.revoked_by, revoked.revoked_at) == (True, "王芳", LATER + DAY)
    again = revoke_grant(tx, grant_id="g-1", revoked_by="李强", at=LATER + 2 * DAY)
    assert again == (revoked, False)
    assert in_force(tx, LATER + DAY) is None
    assert in_force(tx, LATER) is not None  # what was opened under it was opened under it
    with pytest.raises(UnknownGrantError):
        revoke_grant(tx, grant_id="none", revoked_by="王芳", at=LATER)


def test_a_proposal_that_was_taken_back_is_approved_by_nobody(tx: Connection) -> None:
    propose(tx)
    revoke_grant(tx, grant_id="g-1", revoked_by="李强", at=LATER)
    with pytest.raises(ProtocolError) as raised:
        approve(tx)
    assert code_of(raised) == "grant_revoked"


def test_a_revocation_never_precedes_what_it_revokes(tx: Connection) -> None:
    propose(tx)
    approve(tx)
    revoked, _ = revoke_grant(tx, grant_id="g-1", revoked_by="王芳", at=FROM)
    assert revoked.revoked_at == LATER


def test_those_that_wait_the_oldest_first(tx: Connection) -> None:
    propose(tx, grant_id="g-2", learner_id="l-2", proposed_at=FROM)
    waits = propose(tx, grant_id="g-1")
    propose(tx, grant_id="g-3")
    revoke_grant(tx, grant_id="g-3", revoked_by="王芳", at=FROM)
    propose(tx, grant_id="g-4")
    approve(tx, grant_id="g-4")
    assert waiting_grants(tx, limit=1) == (2, [waits])


def test_what_is_not_kept(tx: Connection) -> None:
    with pytest.raises(UnknownSubjectError):
        propose(tx, learner_id="nobody")
    with pytest.raises(InvalidRecordError, match="at most 180"):
        propose(tx, valid_to=FROM + 200 * DAY)
    with pytest.raises(ProtocolError) as raised:
        propose_grant(tx, grant(), longest_days=180)
    assert code_of(raised) == "already_approved"
    with pytest.raises(InputError, match="proposed_by"):
        propose(tx, proposed_by="王" * 201)
    assert grants_of(tx, "l-1") == []


def test_whoever_copies_the_database_does_not_read_why(tx: Connection) -> None:
    propose(tx)
    (row,) = tx.execute(text("SELECT * FROM accommodation"))
    kept = b"".join(bytes(v) if not isinstance(v, str) else v.encode() for v in row if _is_data(v))
    assert "身份证".encode() not in kept


def _is_data(value: object) -> bool:
    return isinstance(value, bytes | bytearray | memoryview | str)
