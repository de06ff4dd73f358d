"""Learners' devices, accommodations, playback; sessions keep path, witnesses and pauses."""

from typing import Final

import sqlalchemy as sa
from alembic.operations import Operations

revision: Final = "0003"
down_revision: Final = "0002"

_TIME: Final = sa.DateTime(timezone=True)


def upgrade(operations: Operations) -> None:
    """Make them; what is there already keeps nulls, which are the defaults."""
    operations.add_column("platform", sa.Column("frame_origins", sa.JSON(), nullable=True))
    for column in (
        sa.Column("checkpoint_cosignatures", sa.JSON(), nullable=True),
        sa.Column("path", sa.String(length=16), nullable=True),
        sa.Column("extra_time", sa.Boolean(), nullable=True),
        sa.Column("grant_id", sa.String(length=64), nullable=True),
        sa.Column("makes_up", sa.String(length=64), nullable=True),
        sa.Column("device_id", sa.String(length=64), nullable=True),
        sa.Column("paused_until", _TIME, nullable=True),
    ):
        operations.add_column("session", column)
    operations.add_column("prompt", sa.Column("added_because", sa.String(length=16), nullable=True))
    operations.add_column("prompt", sa.Column("parameters", sa.LargeBinary(), nullable=True))
    _make_devices(operations)
    _make_accommodation(operations)
    operations.create_table(
        "playback_stretch",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["session.session_id"],
            name=operations.f("fk_playback_stretch_session_id"),
        ),
        sa.PrimaryKeyConstraint("session_id", "ordinal", name=operations.f("pk_playback_stretch")),
    )


def _make_devices(operations: Operations) -> None:
    operations.create_table(
        "learner_device",
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("registered_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("evidence_id", sa.String(length=64), nullable=True),
        *_whose(operations, "learner_device"),
        sa.PrimaryKeyConstraint("device_id", name=operations.f("pk_learner_device")),
    )
    operations.create_index(
        "ix_learner_device_learner_id", "learner_device", ["learner_id"], unique=False
    )
    operations.create_table(
        "device_code",
        sa.Column("code_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        *_whose(operations, "device_code"),
        sa.PrimaryKeyConstraint("code_sha256", name=operations.f("pk_device_code")),
    )


def _whose(operations: Operations, table: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint(
            [column], [f"{other}.{column}"], name=operations.f(f"fk_{table}_{column}")
        )
        for column, other in (("learner_id", "learner"), ("platform_id", "platform"))
    ]


def _make_accommodation(operations: Operations) -> None:
    operations.create_table(
        "accommodation",
        sa.Column("grant_id", sa.String(length=64), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("valid_from", _TIME, nullable=False),
        sa.Column("valid_to", _TIME, nullable=False),
        sa.Column("proposed_by", sa.String(length=200), nullable=False),
        sa.Column("proposed_at", _TIME, nullable=False),
        sa.Column("approved_by", sa.String(length=200), nullable=True),
        sa.Column("approved_at", _TIME, nullable=True),
        sa.Column("revoked_by", sa.String(length=200), nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_accommodation_learner_id")
        ),
        sa.PrimaryKeyConstraint("grant_id", name=operations.f("pk_accommodation")),
    )
    operations.create_index(
        "ix_accommodation_learner_id", "accommodation", ["learner_id"], unique=False
    )
