"""From any earlier state of the tables to the present one, step by step (Alembic).

A step lies in ``versions``; its ``upgrade(operations)`` says in full what it changes, and never
refers to :mod:`service.sql.tables`, which goes on changing after it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from verifier.errors import InputError

# Any number that nobody else locks in this database.
_ADVISORY_LOCK: Final = 0x7A78_7571  # "zxuq"
_LOCK_TIMEOUT_MS: Final = 120_000


def upgrade(tx: Connection) -> None:
    """Run the steps that are missing, all of them inside the unit of work ``tx``.

    Raises
    ------
    InputError
        If a newer version of this program changed the tables: this one cannot know how.
    """
    _wait_for_others(tx)
    steps = ScriptDirectory(str(Path(__file__).parent))
    context = MigrationContext.configure(
        tx, opts={"fn": lambda current, _: _missing(steps, current), "transactional_ddl": True}
    )
    _require_known(steps, context.get_current_heads())
    context.run_migrations(operations=Operations(context))


def _wait_for_others(tx: Connection) -> None:
    """Let processes that start at once go one after another; in SQLite a unit is alone anyway."""
    if tx.dialect.name == "postgresql":
        # Only here, and longer than for other locks: another process may have much to change.
        tx.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
        tx.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))


def _require_known(steps: ScriptDirectory, heads: Iterable[str]) -> None:
    for head in heads:
        try:
            steps.get_revision(head)
        except CommandError:
            raise InputError(
                f"the database is at revision {head}, which this version does not know: "
                "a newer version has changed it"
            ) from None


def _missing(steps: ScriptDirectory, current: Any) -> Any:
    # What alembic.command.upgrade does; the public way leads through files of settings.
    return steps._upgrade_revs("head", current)
