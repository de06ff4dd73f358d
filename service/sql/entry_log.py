"""The log's entries in the order in which they were acknowledged.

The index of an entry is given out in the unit of work that the entry belongs to, and the row that
counts them stays locked until that unit is over: units that append end one after another, so
there is never a gap, and whoever reads up to the head misses nothing.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from pipelines.evidence_store import PreparedEntry
from service.sql.database import Database
from service.sql.tables import log_entry, log_head


def append_entry(tx: Connection, prepared: PreparedEntry) -> int:
    """Give an entry the next place, 0-based, and return it; the same entry twice is refused."""
    take = update(log_head).values(next_index=log_head.c.next_index + 1)
    following: int = tx.execute(take.returning(log_head.c.next_index)).scalar_one()
    leaf = prepared.leaf
    tx.execute(
        insert(log_entry).values(
            log_index=following - 1,
            entry=prepared.entry,
            leaf_hash=prepared.leaf_hash,
            kind=leaf.kind,
            session_id=leaf.session_id,
            object_sha256=leaf.object_sha256,
        )
    )
    return following - 1


class SqlEntrySource:
    """Implements :class:`pipelines.lesson_store.EntrySource`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entry_count(self) -> int:
        """Return how many entries were acknowledged."""
        with self._database.reading() as tx:
            count: int = tx.execute(select(log_head.c.next_index)).scalar_one()
            return count

    def entries(self, first: int, *, limit: int) -> Sequence[bytes]:
        """Return up to ``limit`` entries from index ``first`` on."""
        chosen = (
            select(log_entry.c.entry)
            .where(log_entry.c.log_index >= first)
            .order_by(log_entry.c.log_index)
            .limit(limit)
        )
        with self._database.reading() as tx:
            return [bytes(entry) for entry in tx.execute(chosen).scalars()]
