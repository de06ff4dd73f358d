"""Signs of life: when the service was there last, and how far time has come in the database."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select, update

from service.sql import tables
from service.sql.insertion import insert_new

_at = tables.heartbeat.c.at

_MOMENTS: Final = (
    _at,
    tables.session.c.last_event_at,
    tables.idempotency.c.created_at,
    tables.learner.c.registered_at,
    tables.consent.c.given_at,
    tables.consent.c.withdrawn_at,
    tables.enrolment.c.enrolled_at,
    tables.training_class.c.applied_at,
    tables.training_class.c.approved_at,
    tables.training_class.c.withdrawn_at,
    tables.roster_entry.c.added_at,
    tables.roster_entry.c.removed_at,
    tables.claim.c.claimed_at,
    tables.list_entry.c.proposed_at,
    tables.list_entry.c.approved_at,
)
"""When something happened; deadlines and periods of validity may lie in the future."""


def beat(tx: Connection, *, at: datetime) -> None:
    """Note that the service is there."""
    if not insert_new(tx, tables.heartbeat, id=1, at=at):
        tx.execute(update(tables.heartbeat).values(at=at))


def last_beat(tx: Connection) -> datetime | None:
    """Return when the service was there last; None if it never was."""
    return tx.execute(select(_at)).scalar_one_or_none()


def latest_moment(tx: Connection) -> datetime | None:
    """Return the latest time at which anything on record happened; None if nothing did."""
    known = [tx.execute(select(func.max(moment))).scalar_one() for moment in _MOMENTS]
    return max((at for at in known if at is not None), default=None)
