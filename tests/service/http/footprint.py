"""What a request left behind, wherever it could: to tell that one left nothing."""

from dataclasses import dataclass

from sqlalchemy import func, select

from service.sql import tables
from tests.service.http.service_stage import ServiceStage

_TABLES = (
    "session",
    "prompt",
    "attempt",
    "credit_span",
    "log_entry",
    "idempotency",
    "learner",
    "enrolment",
    "roster_entry",
    "claim",
    "accommodation",
    "review_case",
)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Rows by table, versions of sessions, objects in the store, objects waiting in it."""

    rows: dict[str, int]
    versions: int
    objects: int
    waiting: int


def footprint(stage: ServiceStage) -> Footprint:
    """Look at SQL, log and store."""
    with stage.application.database.reading() as tx:
        counted = {
            name: tx.execute(
                select(func.count()).select_from(tables.metadata.tables[name])
            ).scalar_one()
            for name in _TABLES
        }
        versions = tx.execute(select(func.sum(tables.session.c.version))).scalar_one() or 0
    archive = stage.application.archive.folder
    return Footprint(
        rows=counted,
        versions=versions,
        objects=sum(path.is_file() for path in (archive / "objects").rglob("*")),
        waiting=sum(1 for _ in (archive / "incoming").iterdir()),
    )
