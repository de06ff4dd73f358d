"""Accommodations on record; what a grant means is in :mod:`verifier.accommodation`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from service.sql.checked_text import require_text
from service.sql.non_face_share import watch_share
from service.sql.tables import LONGEST_ID, LONGEST_TITLE, accommodation, learner
from verifier.accommodation import AccommodationKind, Grant, first_in_force
from verifier.errors import ProtocolError, UnknownSubjectError
from verifier.list_entry import is_same_person

__all__ = [
    "UnknownGrantError",
    "approve_grant",
    "grant_in_force",
    "grants_of",
    "propose_grant",
    "revoke_grant",
    "waiting_grants",
    "watch_share",
]

_row = accommodation.c


class UnknownGrantError(UnknownSubjectError):
    """An accommodation that nobody proposed."""


def grant_in_force(
    tx: Connection, *, learner_id: str, kind: AccommodationKind, at: datetime
) -> Grant | None:
    """Return the grant of that kind which is in force for a learner at ``at``; None: there is none.

    Of a session that is opened ``at`` is the opening: what is approved later never covers it.
    """
    return first_in_force(grants_of(tx, learner_id), kind, at)


def grants_of(tx: Connection, learner_id: str) -> Sequence[Grant]:
    """Return a learner's proposals and grants, past and revoked ones too, by time."""
    chosen = select(accommodation).where(_row.learner_id == learner_id)
    found = tx.execute(chosen.order_by(_row.proposed_at, _row.grant_id))
    return [_grant(row) for row in found]


def waiting_grants(tx: Connection, *, limit: int) -> tuple[int, Sequence[Grant]]:
    """Return how many proposals wait for a second person, and the ``limit`` oldest of them."""
    waits = _row.approved_at.is_(None) & _row.revoked_at.is_(None)
    count = tx.execute(select(func.count()).select_from(accommodation).where(waits)).scalar_one()
    chosen = select(accommodation).where(waits).order_by(_row.proposed_at, _row.grant_id)
    return count, [_grant(row) for row in tx.execute(chosen.limit(limit))]


def propose_grant(tx: Connection, proposal: Grant, *, longest_days: int) -> None:
    """Keep a proposal, which grants nothing until another person approves it.

    Raises
    ------
    UnknownSubjectError
        If the learner is not registered.
    InvalidRecordError
        If it would be in force for more than ``longest_days``.
    ProtocolError
        ``already_approved`` if ``proposal`` comes with an approval.
    """
    if proposal.is_approved:
        raise ProtocolError("already_approved", "a proposal is approved by a second person")
    proposal.require_at_most(longest_days)
    require_text("grant_id", proposal.grant_id, longest=LONGEST_ID)
    require_text("proposed_by", proposal.proposed_by, longest=LONGEST_TITLE)
    known = select(learner.c.learner_id).where(learner.c.learner_id == proposal.learner_id)
    if tx.execute(known).one_or_none() is None:
        raise UnknownSubjectError("there is no learner with that id")
    tx.execute(
        insert(accommodation).values(
            grant_id=proposal.grant_id,
            learner_id=proposal.learner_id,
            kind=proposal.kind.value,
            reason=proposal.reason,
            valid_from=proposal.valid_from,
            valid_to=proposal.valid_to,
            proposed_by=proposal.proposed_by,
            proposed_at=proposal.proposed_at,
        )
    )


def approve_grant(tx: Connection, *, grant_id: str, approved_by: str, at: datetime) -> Grant:
    """Put a proposal in force, from now on at the earliest.

    Raises
    ------
    UnknownGrantError
        If there is no such proposal.
    ProtocolError
        ``already_approved``, ``grant_revoked``; ``grant_over`` if its time has passed;
        ``second_person_wanted`` if the proposer approves.
    """
    require_text("approved_by", approved_by, longest=LONGEST_TITLE)
    proposal = _locked(tx, grant_id)
    if proposal.revoked_at is not None:
        raise ProtocolError("grant_revoked", "the proposal was taken back")
    if proposal.is_approved:
        raise ProtocolError("already_approved", "the grant was approved before")
    if is_same_person(approved_by, proposal.proposed_by):
        raise ProtocolError("second_person_wanted", "another person has to approve it")
    if at >= proposal.valid_to:
        raise ProtocolError("grant_over", "the time that was proposed has passed")
    approved = replace(proposal, approved_by=approved_by, approved_at=max(at, proposal.proposed_at))
    _change(tx, grant_id, approved_by=approved_by, approved_at=approved.approved_at)
    return approved


def revoke_grant(
    tx: Connection, *, grant_id: str, revoked_by: str, at: datetime
) -> tuple[Grant, bool]:
    """End a grant, or take a proposal back; return it, and whether this act did so.

    One person is enough, for it only takes away. The first revocation stays.

    Raises
    ------
    UnknownGrantError
        If there is no such grant.
    """
    require_text("revoked_by", revoked_by, longest=LONGEST_TITLE)
    grant = _locked(tx, grant_id)
    if grant.revoked_at is not None:
        return grant, False
    # Never before what it revokes, though the moment was taken before this lock.
    revoked_at = max(at, grant.approved_at or grant.proposed_at)
    _change(tx, grant_id, revoked_by=revoked_by, revoked_at=revoked_at)
    return replace(grant, revoked_by=revoked_by, revoked_at=revoked_at), True


def _locked(tx: Connection, grant_id: str) -> Grant:
    chosen: Select[Any] = select(accommodation).where(_row.grant_id == grant_id).with_for_update()
    row = tx.execute(chosen).one_or_none()
    if row is None:
        raise UnknownGrantError("there is no accommodation with that id")
    return _grant(row)


def _change(tx: Connection, grant_id: str, **values: Any) -> None:
    tx.execute(update(accommodation).where(_row.grant_id == grant_id).values(values))


def _grant(row: Row[Any]) -> Grant:
    return Grant(
        grant_id=row.grant_id,
        learner_id=row.learner_id,
        kind=AccommodationKind(row.kind),
        reason=row.reason,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        approved_by=row.approved_by,
        approved_at=row.approved_at,
        revoked_by=row.revoked_by,
        revoked_at=row.revoked_at,
    )
