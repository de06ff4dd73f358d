"""The first tables: who may call, learners, classes, lists, the log, lessons."""

from typing import Final

import sqlalchemy as sa
from alembic.operations import Operations

revision: Final = "0001"
down_revision: Final = None

_TIME: Final = sa.DateTime(timezone=True)
_LOG_INDEX: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade(operations: Operations) -> None:
    """Make them, and the head of an empty log."""
    operations.create_table(
        "database_key",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_check", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=operations.f("pk_database_key")),
    )
    operations.create_table(
        "installation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("archive_id", sa.String(length=64), nullable=False),
        sa.Column("authority", sa.String(length=64), nullable=False),
        sa.Column("log_origin", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=operations.f("pk_installation")),
    )
    operations.create_table(
        "heartbeat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=operations.f("pk_heartbeat")),
    )
    operations.create_table(
        "idempotency",
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("principal", "key", name=operations.f("pk_idempotency")),
    )
    operations.create_index(
        "ix_idempotency_created_at", "idempotency", ["created_at"], unique=False
    )
    operations.create_table(
        "learner",
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("id_index", sa.LargeBinary(), nullable=True),
        sa.Column("identity", sa.LargeBinary(), nullable=True),
        sa.Column("registered_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("learner_id", name=operations.f("pk_learner")),
        sa.UniqueConstraint("id_index", name=operations.f("uq_learner_id_index")),
    )
    operations.create_table(
        "list_entry",
        sa.Column("entry_id", sa.String(length=64), nullable=False),
        sa.Column("list_name", sa.String(length=16), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=64), nullable=False),
        sa.Column("valid_from", _TIME, nullable=False),
        sa.Column("valid_to", _TIME, nullable=True),
        sa.Column("reason_code", sa.String(length=64), nullable=False),
        sa.Column("proposed_by", sa.String(length=64), nullable=False),
        sa.Column("proposed_at", _TIME, nullable=False),
        sa.Column("approved_by", sa.String(length=64), nullable=True),
        sa.Column("approved_at", _TIME, nullable=True),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=operations.f("pk_list_entry")),
    )
    operations.create_index(
        "ix_list_entry_subject_kind_subject_id",
        "list_entry",
        ["subject_kind", "subject_id"],
        unique=False,
    )
    operations.create_table(
        "log_entry",
        sa.Column("log_index", _LOG_INDEX, autoincrement=False, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=True),
        sa.Column("object_sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("log_index", name=operations.f("pk_log_entry")),
        sa.UniqueConstraint("leaf_hash", name=operations.f("uq_log_entry_leaf_hash")),
    )
    operations.create_index(
        "ix_log_entry_object_sha256", "log_entry", ["object_sha256"], unique=False
    )
    operations.create_index("ix_log_entry_session_id", "log_entry", ["session_id"], unique=False)
    operations.create_table(
        "log_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=operations.f("pk_log_head")),
    )
    operations.create_table(
        "platform",
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("platform_id", name=operations.f("pk_platform")),
    )
    operations.create_table(
        "api_key",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("platform_id", sa.String(length=64), nullable=True),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["platform_id"], ["platform.platform_id"], name=operations.f("fk_api_key_platform_id")
        ),
        sa.PrimaryKeyConstraint("key_id", name=operations.f("pk_api_key")),
        sa.UniqueConstraint("secret_sha256", name=operations.f("uq_api_key_secret_sha256")),
    )
    operations.create_table(
        "consent",
        sa.Column("consent_id", sa.String(length=64), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("given_at", _TIME, nullable=False),
        sa.Column("withdrawn_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_consent_learner_id")
        ),
        sa.ForeignKeyConstraint(
            ["platform_id"], ["platform.platform_id"], name=operations.f("fk_consent_platform_id")
        ),
        sa.PrimaryKeyConstraint("consent_id", name=operations.f("pk_consent")),
    )
    operations.create_index("ix_consent_learner_id", "consent", ["learner_id"], unique=False)
    operations.create_table(
        "enrolment",
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("contract_id", sa.String(length=200), nullable=False),
        sa.Column("sealed_template", sa.LargeBinary(), nullable=False),
        sa.Column("anchor", sa.String(length=16), nullable=False),
        sa.Column("enrolled_at", _TIME, nullable=False),
        sa.Column("evidence_id", sa.String(length=64), nullable=False),
        sa.Column("authority_reference", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_enrolment_learner_id")
        ),
        sa.PrimaryKeyConstraint("learner_id", name=operations.f("pk_enrolment")),
    )
    operations.create_table(
        "learner_alias",
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_learner_alias_learner_id")
        ),
        sa.ForeignKeyConstraint(
            ["platform_id"],
            ["platform.platform_id"],
            name=operations.f("fk_learner_alias_platform_id"),
        ),
        sa.PrimaryKeyConstraint("platform_id", "reference", name=operations.f("pk_learner_alias")),
    )
    operations.create_index(
        "ix_learner_alias_learner_id", "learner_alias", ["learner_id"], unique=False
    )
    operations.create_table(
        "training_class",
        sa.Column("class_id", sa.String(length=64), nullable=False),
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("institution_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("required_credit_hours", sa.Double(), nullable=False),
        sa.Column("applied_at", _TIME, nullable=False),
        sa.Column("approved_at", _TIME, nullable=True),
        sa.Column("approved_by", sa.String(length=64), nullable=True),
        sa.Column("withdrawn_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["platform_id"],
            ["platform.platform_id"],
            name=operations.f("fk_training_class_platform_id"),
        ),
        sa.PrimaryKeyConstraint("class_id", name=operations.f("pk_training_class")),
    )
    operations.create_index(
        "ix_training_class_platform_id", "training_class", ["platform_id"], unique=False
    )
    operations.create_table(
        "claim",
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("class_id", sa.String(length=64), nullable=False),
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("claimed_s", sa.Double(), nullable=False),
        sa.Column("claimed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["class_id"], ["training_class.class_id"], name=operations.f("fk_claim_class_id")
        ),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_claim_learner_id")
        ),
        sa.ForeignKeyConstraint(
            ["platform_id"], ["platform.platform_id"], name=operations.f("fk_claim_platform_id")
        ),
        sa.PrimaryKeyConstraint("learner_id", "class_id", name=operations.f("pk_claim")),
    )
    operations.create_table(
        "roster_entry",
        sa.Column("class_id", sa.String(length=64), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("added_at", _TIME, nullable=False),
        sa.Column("removed_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["class_id"], ["training_class.class_id"], name=operations.f("fk_roster_entry_class_id")
        ),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_roster_entry_learner_id")
        ),
        sa.PrimaryKeyConstraint(
            "class_id", "learner_id", "added_at", name=operations.f("pk_roster_entry")
        ),
    )
    operations.create_index(
        "ix_roster_entry_once",
        "roster_entry",
        ["class_id", "learner_id"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    operations.create_table(
        "session",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("learner_id", sa.String(length=64), nullable=False),
        sa.Column("class_id", sa.String(length=64), nullable=False),
        sa.Column("platform_id", sa.String(length=64), nullable=False),
        sa.Column("assurance", sa.String(length=16), nullable=False),
        sa.Column("anchor", sa.String(length=16), nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("planned_minutes", sa.Double(), nullable=False),
        sa.Column("session_number", sa.Integer(), nullable=False),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("last_event_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("end_announced_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("paused_at", _TIME, nullable=True),
        sa.Column("pauses", sa.JSON(), nullable=False),
        sa.Column("schedule_secret", sa.LargeBinary(), nullable=False),
        sa.Column("schedule_header", sa.JSON(), nullable=False),
        sa.Column("checkpoint_size", sa.BigInteger(), nullable=True),
        sa.Column("checkpoint_root", sa.LargeBinary(), nullable=True),
        sa.Column("next_planned_index", sa.Integer(), nullable=False),
        sa.Column("opened_index", _LOG_INDEX, nullable=False),
        sa.Column("last_index", _LOG_INDEX, nullable=False),
        sa.Column("closed_index", _LOG_INDEX, nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("code_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("code_expires_at", _TIME, nullable=True),
        sa.Column("code_used_at", _TIME, nullable=True),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("credited_s", sa.Double(), nullable=True),
        sa.Column("pending_s", sa.Double(), nullable=True),
        sa.Column("credit_hours", sa.Double(), nullable=True),
        sa.Column("score", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["class_id"], ["training_class.class_id"], name=operations.f("fk_session_class_id")
        ),
        sa.ForeignKeyConstraint(
            ["closed_index"], ["log_entry.log_index"], name=operations.f("fk_session_closed_index")
        ),
        sa.ForeignKeyConstraint(
            ["last_index"], ["log_entry.log_index"], name=operations.f("fk_session_last_index")
        ),
        sa.ForeignKeyConstraint(
            ["learner_id"], ["learner.learner_id"], name=operations.f("fk_session_learner_id")
        ),
        sa.ForeignKeyConstraint(
            ["opened_index"], ["log_entry.log_index"], name=operations.f("fk_session_opened_index")
        ),
        sa.ForeignKeyConstraint(
            ["platform_id"], ["platform.platform_id"], name=operations.f("fk_session_platform_id")
        ),
        sa.PrimaryKeyConstraint("session_id", name=operations.f("pk_session")),
        sa.UniqueConstraint("code_sha256", name=operations.f("uq_session_code_sha256")),
        sa.UniqueConstraint(
            "learner_id",
            "class_id",
            "session_number",
            name=operations.f("uq_session_learner_id_class_id_session_number"),
        ),
        sa.UniqueConstraint("token_sha256", name=operations.f("uq_session_token_sha256")),
    )
    operations.create_index("ix_session_class_id", "session", ["class_id"], unique=False)
    operations.create_index(
        "ix_session_expires_at",
        "session",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    operations.create_index(
        "ix_session_one_open",
        "session",
        ["learner_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    operations.create_table(
        "credit_span",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=False),
        sa.Column("paused_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session.session_id"], name=operations.f("fk_credit_span_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", "ordinal", name=operations.f("pk_credit_span")),
    )
    operations.create_table(
        "prompt",
        sa.Column("prompt_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("planned_index", sa.Integer(), nullable=True),
        sa.Column("planned_offset_s", sa.Double(), nullable=True),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("capture_s", sa.Double(), nullable=False),
        sa.Column("upload_s", sa.Double(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("upload_began_at", _TIME, nullable=True),
        sa.Column("spent_nonces", sa.JSON(), nullable=False),
        sa.Column("resolved_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session.session_id"], name=operations.f("fk_prompt_session_id")
        ),
        sa.PrimaryKeyConstraint("prompt_id", name=operations.f("pk_prompt")),
        sa.UniqueConstraint(
            "session_id", "ordinal", name=operations.f("uq_prompt_session_id_ordinal")
        ),
        sa.UniqueConstraint(
            "session_id", "planned_index", name=operations.f("uq_prompt_session_id_planned_index")
        ),
    )
    operations.create_table(
        "attempt",
        sa.Column("prompt_id", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("judgement", sa.String(length=16), nullable=False),
        sa.Column("check", sa.LargeBinary(), nullable=False),
        sa.Column("evidence_id", sa.String(length=64), nullable=False),
        sa.Column("log_index", _LOG_INDEX, nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("has_picture", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["log_index"], ["log_entry.log_index"], name=operations.f("fk_attempt_log_index")
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompt.prompt_id"], name=operations.f("fk_attempt_prompt_id")
        ),
        sa.PrimaryKeyConstraint("prompt_id", "ordinal", name=operations.f("pk_attempt")),
    )
    head = sa.table("log_head", sa.column("id"), sa.column("next_index"))
    operations.execute(head.insert().values(id=1, next_index=0))
