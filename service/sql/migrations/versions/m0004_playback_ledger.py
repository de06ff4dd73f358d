"""What a ledger of heartbeats remembers, so that it goes on after a restart."""

from typing import Final

import sqlalchemy as sa
from alembic.operations import Operations

revision: Final = "0004"
down_revision: Final = "0003"


def upgrade(operations: Operations) -> None:
    """Make its table."""
    operations.create_table(
        "playback_ledger",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("memory", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["session.session_id"],
            name=operations.f("fk_playback_ledger_session_id"),
        ),
        sa.PrimaryKeyConstraint("session_id", name=operations.f("pk_playback_ledger")),
    )
