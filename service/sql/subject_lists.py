"""Black and white lists on record; what an entry means is in :mod:`verifier.list_entry`."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, tuple_, update

from service.sql.checked_text import require_text
from service.sql.tables import LONGEST_ID, list_entry
from verifier.errors import ProtocolError, UnknownSubjectError
from verifier.list_entry import ListEntry, ListName, SubjectKind


def propose_entry(tx: Connection, proposal: ListEntry) -> None:
    """Keep a proposal, which lists nobody until another person approves it.

    Raises
    ------
    ProtocolError
        ``already_approved`` if ``proposal`` comes with an approval.
    """
    if proposal.is_approved:
        raise ProtocolError("already_approved", "a proposal is approved by a second person")
    for name in ("entry_id", "subject_id", "reason_code", "proposed_by"):
        require_text(name, getattr(proposal, name), longest=LONGEST_ID)
    tx.execute(
        insert(list_entry).values(
            entry_id=proposal.entry_id,
            list_name=proposal.list_name.value,
            subject_kind=proposal.subject_kind.value,
            subject_id=proposal.subject_id,
            valid_from=proposal.valid_from,
            valid_to=proposal.valid_to,
            reason_code=proposal.reason_code,
            proposed_by=proposal.proposed_by,
            proposed_at=proposal.proposed_at,
            extra=dict(proposal.extra),
        )
    )


def approve_entry(tx: Connection, *, entry_id: str, approved_by: str, at: datetime) -> ListEntry:
    """Put a proposal in force.

    Raises
    ------
    UnknownSubjectError
        If there is no such proposal.
    ProtocolError
        ``already_approved``.
    InvalidRecordError
        If the person who proposed it approves it.
    """
    chosen = select(list_entry).where(list_entry.c.entry_id == entry_id).with_for_update()
    row = tx.execute(chosen).one_or_none()
    if row is None:
        raise UnknownSubjectError("there is no list entry with that id")
    proposal = _entry(row)
    if proposal.is_approved:
        raise ProtocolError("already_approved", "the entry was approved before")
    require_text("approved_by", approved_by, longest=LONGEST_ID)
    # The value refuses one person in both places.
    approved = replace(proposal, approved_by=approved_by, approved_at=at)
    said = {"approved_by": approved.approved_by, "approved_at": approved.approved_at}
    tx.execute(update(list_entry).where(list_entry.c.entry_id == entry_id).values(said))
    return approved


def entries_about(
    tx: Connection, subjects: Iterable[tuple[SubjectKind, str]]
) -> tuple[ListEntry, ...]:
    """Return every entry and proposal about one of ``subjects``, past ones too."""
    row = list_entry.c
    wanted = [(kind.value, subject_id) for kind, subject_id in subjects]
    about = tuple_(row.subject_kind, row.subject_id).in_(wanted)
    chosen = select(list_entry).where(about).order_by(row.valid_from, row.entry_id)
    return tuple(_entry(found) for found in tx.execute(chosen))


def _entry(row: Row[Any]) -> ListEntry:
    return ListEntry(
        entry_id=row.entry_id,
        list_name=ListName(row.list_name),
        subject_kind=SubjectKind(row.subject_kind),
        subject_id=row.subject_id,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        reason_code=row.reason_code,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        approved_by=row.approved_by,
        approved_at=row.approved_at,
        extra=row.extra,
    )
