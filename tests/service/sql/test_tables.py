"""The migrations lead to the tables that the code uses."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select

from service.sql.database import Database
from service.sql.tables import log_head, metadata


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.reading() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_log_begins_empty(database: Database) -> None:
    with database.reading() as tx:
        assert tx.execute(select(log_head.c.next_index)).scalar_one() == 0
