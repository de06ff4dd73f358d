"""The tables as they are now; :mod:`service.sql.migrations` leads there from any earlier state.

Ids are texts that the engine issued, or that were checked where they came in. What may not be
read by whoever copies the database is sealed (:mod:`service.sql.encrypted_column`): identities,
scores, findings with their ratios, the secret of a schedule, stored replies. API keys, codes and
tokens are there as SHA-256 only.
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from service.sql.encrypted_column import EncryptedBytes, EncryptedJSON
from service.sql.utc_time import UtcTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

LONGEST_ID: Final = 64
LONGEST_REFERENCE: Final = 128
LONGEST_TITLE: Final = 200

# In SQLite only an INTEGER key is the row's own number; 64 bits it has anyway.
_LOG_INDEX = BigInteger().with_variant(Integer(), "sqlite")


def _text(
    name: str, *constraints: Any, length: int = LONGEST_ID, null: bool = False
) -> Column[Any]:
    return Column(name, String(length), *constraints, nullable=null)


def _time(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, UtcTime(), nullable=null)


def _seconds(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, Double(), nullable=null)


def _learner(*, primary_key: bool = False) -> Column[Any]:
    key = ForeignKey("learner.learner_id")
    return Column("learner_id", String(LONGEST_ID), key, nullable=False, primary_key=primary_key)


def _platform(*, null: bool = False) -> Column[Any]:
    return _text("platform_id", ForeignKey("platform.platform_id"), null=null)


def _class() -> Column[Any]:
    return _text("class_id", ForeignKey("training_class.class_id"))


def _log_place(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, _LOG_INDEX, ForeignKey("log_entry.log_index"), nullable=null)


def _only_one(name: str, *columns: Any, where: Any) -> Index:
    """Return a unique index over the rows for which ``where`` holds."""
    return Index(name, *columns, unique=True, sqlite_where=where, postgresql_where=where)


# --- this database -----------------------------------------------------------------------------

database_key = Table(
    "database_key",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("key_check", LargeBinary, nullable=False),
)

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    _text("archive_id"),  # as in the archive's own folder
    _text("authority"),
    _text("log_origin", length=LONGEST_REFERENCE),
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    _time("at"),
)

# --- who may call ------------------------------------------------------------------------------

platform = Table(
    "platform",
    metadata,
    _text("platform_id"),
    _text("name", length=LONGEST_TITLE),
    _time("created_at"),
    Column("frame_origins", JSON),  # whose pages may embed the learner frame; null: nobody's
    PrimaryKeyConstraint("platform_id"),
)

api_key = Table(
    "api_key",
    metadata,
    _text("key_id"),
    _text("role", length=16),
    _platform(null=True),  # null for officers
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    _text("label", length=LONGEST_TITLE),
    _time("created_at"),
    _time("revoked_at", null=True),
    PrimaryKeyConstraint("key_id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    _text("principal", length=LONGEST_REFERENCE),
    _text("key", length=LONGEST_REFERENCE),
    _text("route", length=LONGEST_TITLE),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("response", EncryptedBytes("idempotency.response")),
    _time("created_at"),
    PrimaryKeyConstraint("principal", "key"),
    Index("ix_idempotency_created_at", "created_at"),
)

# --- learners ----------------------------------------------------------------------------------

learner = Table(
    "learner",
    metadata,
    _text("learner_id"),
    # By which the same person is found again; null where no identity was given.
    Column("id_index", LargeBinary, unique=True),
    Column("identity", EncryptedJSON("learner.identity")),
    _time("registered_at"),
    PrimaryKeyConstraint("learner_id"),
)

learner_alias = Table(
    "learner_alias",
    metadata,
    _platform(),
    _text("reference", length=LONGEST_REFERENCE),
    _learner(),
    _time("created_at"),
    PrimaryKeyConstraint("platform_id", "reference"),
    Index("ix_learner_alias_learner_id", "learner_id"),
)

consent = Table(
    "consent",
    metadata,
    Column("consent_id", String(LONGEST_ID), primary_key=True),
    _learner(),
    _platform(),
    _text("purpose"),
    _text("version"),
    _time("given_at"),
    _time("withdrawn_at", null=True),
    Index("ix_consent_learner_id", "learner_id"),
)

enrolment = Table(
    "enrolment",
    metadata,
    _learner(primary_key=True),
    _text("contract_id", length=LONGEST_TITLE),
    Column("sealed_template", LargeBinary, nullable=False),  # under the learner's own key
    _text("anchor", length=16),
    _time("enrolled_at"),
    _text("evidence_id"),
    _text("authority_reference", length=LONGEST_TITLE, null=True),
)

learner_device = Table(
    "learner_device",
    metadata,
    _text("device_id"),  # SHA-256 of the public key
    _learner(),
    _platform(),  # on whose pages it was made: browsers keep it there only
    Column("public_key", LargeBinary, nullable=False),  # SubjectPublicKeyInfo
    _time("registered_at"),
    _time("revoked_at", null=True),
    _text("evidence_id", null=True),  # of the leaf about it
    PrimaryKeyConstraint("device_id"),
    Index("ix_learner_device_learner_id", "learner_id"),
)

device_code = Table(
    "device_code",
    metadata,
    Column("code_sha256", LargeBinary, primary_key=True),
    _learner(),
    _platform(),
    _time("expires_at"),
    _time("used_at", null=True),
)

accommodation = Table(
    "accommodation",
    metadata,
    _text("grant_id"),
    _learner(),
    _text("kind", length=16),  # non_face, extra_time
    # May tell of somebody's health or faith.
    Column("reason", EncryptedJSON("accommodation.reason"), nullable=False),
    _time("valid_from"),
    _time("valid_to"),
    _text("proposed_by", length=LONGEST_TITLE),
    _time("proposed_at"),
    _text("approved_by", length=LONGEST_TITLE, null=True),
    _time("approved_at", null=True),
    _text("revoked_by", length=LONGEST_TITLE, null=True),
    _time("revoked_at", null=True),
    PrimaryKeyConstraint("grant_id"),
    Index("ix_accommodation_learner_id", "learner_id"),
)

# --- classes -----------------------------------------------------------------------------------

training_class = Table(
    "training_class",
    metadata,
    _text("class_id"),
    _platform(),
    _text("institution_id"),
    _text("title", length=LONGEST_TITLE),
    Column("starts_on", Date, nullable=False),
    Column("ends_on", Date, nullable=False),
    Column("required_credit_hours", Double, nullable=False),
    _time("applied_at"),
    _time("approved_at", null=True),
    _text("approved_by", null=True),
    _time("withdrawn_at", null=True),
    PrimaryKeyConstraint("class_id"),
    Index("ix_training_class_platform_id", "platform_id"),
)

roster_entry = Table(
    "roster_entry",
    metadata,
    _class(),
    _learner(),
    _time("added_at"),
    _time("removed_at", null=True),
    PrimaryKeyConstraint("class_id", "learner_id", "added_at"),
)
_only_one(
    "ix_roster_entry_once",
    roster_entry.c.class_id,
    roster_entry.c.learner_id,
    where=roster_entry.c.removed_at.is_(None),
)

claim = Table(
    "claim",
    metadata,
    _learner(),
    _class(),
    _platform(),
    _seconds("claimed_s"),
    _time("claimed_at"),
    PrimaryKeyConstraint("learner_id", "class_id"),
)

# --- lists -------------------------------------------------------------------------------------

list_entry = Table(
    "list_entry",
    metadata,
    _text("entry_id"),
    _text("list_name", length=16),
    _text("subject_kind", length=16),
    _text("subject_id"),
    _time("valid_from"),
    _time("valid_to", null=True),
    _text("reason_code"),
    _text("proposed_by"),
    _time("proposed_at"),
    _text("approved_by", null=True),
    _time("approved_at", null=True),
    Column("extra", JSON, nullable=False),
    PrimaryKeyConstraint("entry_id"),
    Index("ix_list_entry_subject_kind_subject_id", "subject_kind", "subject_id"),
)

# --- faces: how much a score says, and what two persons have to look at ------------------------

calibration = Table(
    "calibration",
    metadata,
    _text("calibration_id"),  # SHA-256 of the document
    _text("contract_id", length=LONGEST_TITLE),
    Column("document", Text, nullable=False),
    _text("proposed_by", length=LONGEST_TITLE),
    _time("proposed_at"),
    _text("approved_by", length=LONGEST_TITLE, null=True),
    _time("approved_at", null=True),
    Column("earlier", JSON, nullable=False),  # who proposed and approved it before
    PrimaryKeyConstraint("calibration_id"),
    Index("ix_calibration_contract_id", "contract_id"),
)

review_case = Table(
    "review_case",
    metadata,
    _text("case_id"),
    _text("kind", length=32),
    _learner(),
    # Of two learners, the one whose id comes first in order is ``learner_id``.
    _text("other_learner_id", ForeignKey("learner.learner_id"), null=True),
    _time("opened_at"),
    Column("details", EncryptedJSON("review_case.details"), nullable=False),
    _text("resolution", length=32, null=True),
    _text("proposed_by", length=LONGEST_TITLE, null=True),
    _time("proposed_at", null=True),
    _text("closed_by", length=LONGEST_TITLE, null=True),
    _time("closed_at", null=True),
    PrimaryKeyConstraint("case_id"),
    Index("ix_review_case_learner_id", "learner_id"),
    Index("ix_review_case_other_learner_id", "other_learner_id"),
)
# Of two learners there is one case, ever. In an index NULL equals nothing: cases about one learner
# may come again, but one at a time.
Index(
    "ix_review_case_of_two",
    review_case.c.kind,
    review_case.c.learner_id,
    review_case.c.other_learner_id,
    unique=True,
)
_only_one(
    "ix_review_case_open_of_one",
    review_case.c.kind,
    review_case.c.learner_id,
    where=review_case.c.closed_at.is_(None) & review_case.c.other_learner_id.is_(None),
)

comparison_count = Table(
    "comparison_count",
    metadata,
    _learner(),
    Column("day", Date, nullable=False),  # in China
    _text("purpose", length=16),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("learner_id", "day", "purpose"),
)

# --- the log, as acknowledged ------------------------------------------------------------------

log_head = Table(
    "log_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("next_index", BigInteger, nullable=False),
)

log_entry = Table(
    "log_entry",
    metadata,
    Column("log_index", _LOG_INDEX, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False, unique=True),
    _text("kind"),
    _text("session_id", null=True),
    _text("object_sha256", null=True),
    Index("ix_log_entry_session_id", "session_id"),
    Index("ix_log_entry_object_sha256", "object_sha256"),
)

# --- lessons -----------------------------------------------------------------------------------

session = Table(
    "session",
    metadata,
    _text("session_id"),
    _learner(),
    _class(),
    _platform(),
    _text("assurance", length=16),
    _text("anchor", length=16),
    _text("policy_digest"),
    Column("rules", JSON, nullable=False),  # of the policy, for prompts
    Column("planned_minutes", Double, nullable=False),
    Column("session_number", Integer, nullable=False),
    _time("opened_at"),
    _time("started_at"),
    _time("last_event_at"),
    _time("expires_at"),
    _text("phase", length=16),
    _time("end_announced_at", null=True),
    _time("ended_at", null=True),
    _time("paused_at", null=True),
    Column("pauses", JSON, nullable=False),
    Column("schedule_secret", EncryptedBytes("session.schedule_secret"), nullable=False),
    Column("schedule_header", JSON, nullable=False),
    Column("checkpoint_size", BigInteger),
    Column("checkpoint_root", LargeBinary),
    Column("next_planned_index", Integer, nullable=False),
    _log_place("opened_index"),
    _log_place("last_index"),
    _log_place("closed_index", null=True),
    Column("sequence", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("code_sha256", LargeBinary, unique=True),
    _time("code_expires_at", null=True),
    _time("code_used_at", null=True),
    Column("token_sha256", LargeBinary, unique=True),
    _text("decision", length=16, null=True),
    _seconds("credited_s", null=True),
    _seconds("pending_s", null=True),
    Column("credit_hours", Double),
    Column("score", EncryptedJSON("session.score")),
    _text("calibration_id", null=True),  # null: opened before there were any
    Column("checkpoint_cosignatures", JSON),  # base64; null: opened before there were any
    _text("path", length=16, null=True),  # null: by the face
    Column("extra_time", Boolean),
    _text("grant_id", null=True),
    _text("makes_up", null=True),  # the session whose misses this one makes up for
    _text("device_id", null=True),
    _time("paused_until", null=True),
    PrimaryKeyConstraint("session_id"),
    UniqueConstraint("learner_id", "class_id", "session_number"),
)
# Nobody attends two lessons at once.
_only_one(
    "ix_session_one_open",
    session.c.learner_id,
    where=session.c.ended_at.is_(None),
)
Index("ix_session_class_id", session.c.class_id)
Index(
    "ix_session_expires_at",
    session.c.expires_at,
    sqlite_where=session.c.ended_at.is_(None),
    postgresql_where=session.c.ended_at.is_(None),
)

prompt = Table(
    "prompt",
    metadata,
    _text("prompt_id"),
    _text("session_id", ForeignKey("session.session_id")),
    Column("ordinal", Integer, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    _text("kind"),
    _text("origin", length=16),
    Column("planned_index", Integer),
    _seconds("planned_offset_s", null=True),
    _time("issued_at"),
    _time("asked_at"),
    _seconds("capture_s"),
    _seconds("upload_s"),
    _text("status", length=16),
    _time("upload_began_at", null=True),
    Column("spent_nonces", JSON, nullable=False),
    _time("resolved_at", null=True),
    _text("added_because", length=16, null=True),
    Column("parameters", EncryptedJSON("prompt.parameters")),  # a code to be typed, for example
    PrimaryKeyConstraint("prompt_id"),
    UniqueConstraint("session_id", "ordinal"),
    UniqueConstraint("session_id", "planned_index"),
)

attempt = Table(
    "attempt",
    metadata,
    _text("prompt_id", ForeignKey("prompt.prompt_id")),
    Column("ordinal", Integer, nullable=False),
    _time("at"),
    _text("judgement", length=16),
    Column("check", EncryptedJSON("attempt.check"), nullable=False),
    _text("evidence_id"),
    _log_place("log_index"),
    _seconds("at_s"),
    Column("has_picture", Boolean, nullable=False),
    _text("reason"),
    Column("quality", JSON, nullable=False),
    PrimaryKeyConstraint("prompt_id", "ordinal"),
)

credit_span = Table(
    "credit_span",
    metadata,
    _text("session_id", ForeignKey("session.session_id")),
    Column("ordinal", Integer, nullable=False),
    _seconds("start_s"),
    _seconds("end_s"),
    _seconds("paused_s"),
    _text("state", length=16),
    _text("reason", null=True),
    PrimaryKeyConstraint("session_id", "ordinal"),
)

playback_stretch = Table(
    "playback_stretch",
    metadata,
    _text("session_id", ForeignKey("session.session_id")),
    Column("ordinal", Integer, nullable=False),
    _seconds("start_s"),
    _seconds("end_s"),
    _text("state", length=16),
    PrimaryKeyConstraint("session_id", "ordinal"),
)

playback_ledger = Table(
    "playback_ledger",
    metadata,
    _text("session_id", ForeignKey("session.session_id")),
    Column("memory", JSON, nullable=False),  # the latest heartbeat, and which video was seen
    PrimaryKeyConstraint("session_id"),
)
