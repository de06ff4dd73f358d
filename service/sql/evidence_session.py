"""Which session a piece of evidence is of, for a learner who may see one session only."""

from sqlalchemy import Connection, select

from service.sql.tables import log_entry


def session_of_entry(tx: Connection, index: int) -> str | None:
    """Return the session of the log's entry ``index``; None for one that belongs to none."""
    found = select(log_entry.c.session_id).where(log_entry.c.log_index == index)
    session_id: str | None = tx.execute(found).scalar_one_or_none()
    return session_id
