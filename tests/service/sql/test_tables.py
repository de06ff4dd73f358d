"""The migrations lead to the tables that the code uses, from every earlier state."""

import stat
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url, select, text

from service.sql import migrations
from service.sql.database import Database
from service.sql.migrations.versions import m0001_first_tables
from service.sql.tables import log_head, metadata
from tests.service.sql.conftest import KEY


def differences(database: Database) -> list[object]:
    with database.reading() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True})
        found: list[object] = compare_metadata(context, metadata)
        return found


def test_migrations_and_tables_agree(database: Database) -> None:
    assert differences(database) == []


def test_the_log_begins_empty(database: Database) -> None:
    with database.reading() as tx:
        assert tx.execute(select(log_head.c.next_index)).scalar_one() == 0


def test_what_the_first_version_kept_is_there_after_the_second(database_url: str) -> None:
    begin_as_first_version(database_url)
    database = Database.open(database_url, key=KEY)
    assert differences(database) == []
    with database.reading() as tx:
        row = tx.execute(text("SELECT session_id, calibration_id FROM session")).one()
    assert tuple(row) == ("s", None)
    database.close()


def begin_as_first_version(url: str) -> None:
    """Make the tables of revision 0001, with a session in them."""
    parsed = make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        Path(parsed.database or "").parent.mkdir(mode=stat.S_IRWXU)
    engine = create_engine(parsed.set(drivername="sqlite" if sqlite else "postgresql+psycopg"))
    with engine.begin() as tx:
        context = MigrationContext.configure(tx)
        m0001_first_tables.upgrade(Operations(context))
        context.stamp(ScriptDirectory(str(Path(migrations.__file__).parent)), "0001")
        add_session(tx)
    engine.dispose()
    if sqlite:
        Path(parsed.database or "").chmod(stat.S_IRUSR | stat.S_IWUSR)


SESSION = (
    "INSERT INTO platform VALUES ('p', 'P', CURRENT_TIMESTAMP)",
    "INSERT INTO learner (learner_id, registered_at) VALUES ('l', CURRENT_TIMESTAMP)",
    "INSERT INTO training_class (class_id, platform_id, institution_id, title, starts_on,"
    " ends_on, required_credit_hours, applied_at)"
    " VALUES ('c', 'p', 'i', 'T', '2026-03-01', '2026-03-31', 40, CURRENT_TIMESTAMP)",
    "INSERT INTO log_entry (log_index, entry, leaf_hash, kind) VALUES (0, 'e', 'h', 'k')",
    "INSERT INTO session (session_id, learner_id, class_id, platform_id, assurance, anchor,"
    " policy_digest, rules, planned_minutes, session_number, opened_at, started_at,"
    " last_event_at, expires_at, phase, pauses, schedule_secret, schedule_header,"
    " next_planned_index, opened_index, last_index, sequence, version)"
    " VALUES ('s', 'l', 'c', 'p', 'platform', 'officer', 'd', '{}', 45, 0, CURRENT_TIMESTAMP,"
    " CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 'running', '[]', 'x', '{}',"
    " 0, 0, 0, 1, 0)",
)
"""One session, with what it refers to."""


def add_session(tx: Connection) -> None:
    for statement in SESSION:
        tx.execute(text(statement))
