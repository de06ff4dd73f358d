"""Whether the service can do its work, and which part cannot."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from service.application import Application
from service.http.callers import ApplicationOf
from service.http.values import Message
from service.sql.entry_log import SqlEntrySource
from verifier.errors import LedgerError

_PUBLISHING_FAILS: Final = "publishing: no checkpoint can be signed, so nothing gets proven"
_SWEEPING_FAILS: Final = "sweeping: sessions that were left are not settled"
_BEATING_FAILS: Final = "beating: a restart will not know how long the service was away"
_FLUSHING_FAILS: Final = "flushing: heartbeats are not kept, so their time may earn nothing"
_DELIVERY_FAILS: Final = "delivery: open streams are not told what is asked"
_WITNESS_FAILS: Final = "witness {}: it does not cosign, so schedules have one witness less"
_DATABASE_FAILS: Final = "database: it cannot be read"

router = APIRouter(tags=["health"])


class LogHealth(Message):
    """How far the log is signed."""

    size: int = Field(description="Entries that a signed checkpoint holds.")
    pending: int | None = Field(
        description="Acknowledged entries that wait for one; null where the database is away."
    )


class Health(Message):
    """What the service runs on; ``degraded`` where credit cannot be earned, proven or settled.

    A witness is another's machine: where nothing but witnesses fails the status code stays 200,
    so that nobody takes a service away from its learners for it.
    """

    status: Literal["ok", "degraded"]
    database: str = Field(examples=["sqlite"])
    live_state: str = Field(examples=["redis-server"])
    log: LogHealth
    failing: Sequence[str] = Field(description="What does not work, in words.")


@router.get("/v1/health", responses={503: {"model": Health, "description": "Degraded"}})
def health(application: ApplicationOf, response: Response) -> Health:
    """Say whether the service works; needs no key."""
    log = _log(application)
    failing = [text for text, fails in _parts(application, log) if fails]
    if failing:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    failing += [_WITNESS_FAILS.format(name) for name in application.archive.failing_witnesses]
    return Health(
        status="degraded" if failing else "ok",
        database=application.database.engine.dialect.name,
        live_state=application.live.describe(),
        log=log,
        failing=failing,
    )


def _parts(application: Application, log: LogHealth) -> Sequence[tuple[str, bool]]:
    """Return in words what it means that a part fails, and whether it does."""
    return [
        (_PUBLISHING_FAILS, application.publishing.failing),
        (_SWEEPING_FAILS, application.sweeping.failing),
        (_BEATING_FAILS, application.beating.failing),
        (_FLUSHING_FAILS, application.flushing.failing),
        (_DELIVERY_FAILS, application.dispatcher.failing),
        (_DATABASE_FAILS, log.pending is None),
    ]


def _log(application: Application) -> LogHealth:
    # The size first: entries only become more, so that what is pending is never below 0.
    size = application.archive.checkpoint.size
    try:
        count = SqlEntrySource(application.database).entry_count()
    except LedgerError:
        return LogHealth(size=size, pending=None)
    return LogHealth(size=size, pending=count - size)
