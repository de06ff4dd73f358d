"""A row that is put in only where there is none: who comes second waits, then sees the first."""

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(tx: Connection, table: Table, **values: Any) -> bool:
    """Insert a row unless one with the same key is there; say whether it was inserted.

    Where another unit of work has put the same key in and is not over, this one waits for it.
    """
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    new = insert(table).values(**values).on_conflict_do_nothing()
    # Otherwise the count of an INSERT is forgotten.
    return tx.execute(new, execution_options={"preserve_rowcount": True}).rowcount == 1
