"""Calibrations, cases for review, comparisons counted by day; sessions keep their calibration."""

from typing import Final

import sqlalchemy as sa
from alembic.operations import Operations

revision: Final = "0002"
down_revision: Final = "0001"

_TIME: Final = sa.DateTime(timezone=True)


def upgrade(operations: Operations) -> None:
    """Make them; sessions that are there already keep a null, which is the default."""
    operations.add_column(
        "session", sa.Column("calibration_id", sa.String(length=64), nullable=True)
    )
    _make_calibration(operations)
    _make_review_case(operations)
    operations.create_table(
        "comparison_count",
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["learner_id"],
            ["learner.learner_id"],
            name=operations.f("fk_comparison_count_learner_id"),
        ),
        sa.PrimaryKeyConstraint(
            "learner_id", "day", "purpose", name=operations.f("pk_comparison_count")
        ),
    )


def _make_calibration(operations: Operations) -> None:
    operations.create_table(
        "calibration",
        sa.Column("calibration_id", sa.String(length=64), nullable=False),
        sa.Column("contract_id", sa.String(length=200), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.String(length=200), nullable=False),
        sa.Column("proposed_at", _TIME, nullable=False),
        sa.Column("approved_by", sa.String(length=200), nullable=True),
        sa.Column("approved_at", _TIME, nullable=True),
        sa.Column("earlier", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("calibration_id", name=operations.f("pk_calibration")),
    )
    operations.create_index(
        "ix_calibration_contract_id", "calibration", ["contract_id"], unique=False
    )


def _make_review_case(operations: Operations) -> None:
    operations.create_table(
        "review_case",
        sa.Column("case_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("other_learner_id", sa.String(length=64), nullable=True),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("resolution", sa.String(length=32), nullable=True),
        sa.Column("proposed_by", sa.String(length=200), nullable=True),
        sa.Column("proposed_at", _TIME, nullable=True),
        sa.Column("closed_by", sa.String(length=200), nullable=True),
        sa.Column("closed_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_review_case_learner_id")
        ),
        sa.ForeignKeyConstraint(
            ["other_learner_id"],
            ["learner.learner_id"],
            name=operations.f("fk_review_case_other_learner_id"),
        ),
        sa.PrimaryKeyConstraint("case_id", name=operations.f("pk_review_case")),
    )
    for name in ("learner_id", "other_learner_id"):
        operations.create_index(f"ix_review_case_{name}", "review_case", [name], unique=False)
    operations.create_index(
        "ix_review_case_of_two",
        "review_case",
        ["kind", "learner_id", "other_learner_id"],
        unique=True,
    )
    operations.create_index(
        "ix_review_case_open_of_one",
        "review_case",
        ["kind", "learner_id"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL AND other_learner_id IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL AND other_learner_id IS NULL"),
    )
