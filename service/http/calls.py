"""One request that changes something: done once, however often it is sent."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection

from pipelines.lesson_store import LessonUnit
from service.application import Application
from service.http.callers import AnyCaller, ApplicationOf, Caller
from service.sql import idempotency
from service.sql.idempotency import IdempotentRequest, StoredReply
from service.sql.lesson_store import SqlLessonUnit

T = TypeVar("T")
JSON_TYPE = "application/json"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="The same key with the same request gives the same reply, and one effect.",
    ),
]


class _RepliedBeforeError(Exception):
    """Somebody else's request with this key came first; this unit of work must not happen."""

    def __init__(self, reply: StoredReply) -> None:
        super().__init__()
        self.reply = reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request under way: who, and which request it is; ``request`` None: without a key."""

    application: Application
    caller: Caller
    request: IdempotentRequest | None

    def once(
        self,
        act: Callable[[Callable[[LessonUnit, T], None]], object],
        render: Callable[[Connection, T], BaseModel],
        *,
        status: int = 200,
    ) -> Response:
        """Do an act of the engine, its reply kept in the act's own unit of work.

        Parameters
        ----------
        act
            Called with what the engine takes as ``also``.
        render
            Makes the reply inside the unit of work, from its transaction and what was done.
        """
        replied: list[StoredReply] = []

        def also(unit: LessonUnit, done: T) -> None:
            replied.append(self._keep(connection_of(unit), done, render, status))

        return self._reply(lambda: act(also), replied)

    def require_first(self, unit: LessonUnit) -> None:
        """Leave a unit of work, for the reply that the same request has got meanwhile."""
        if self.request is not None:
            earlier = idempotency.replay(connection_of(unit), self.request)
            if earlier is not None:
                raise _RepliedBeforeError(earlier)

    def once_in_sql(
        self, act: Callable[[Connection], T], render: Callable[[T], BaseModel], *, status: int = 200
    ) -> Response:
        """Do something in one transaction; as `once`."""
        replied: list[StoredReply] = []

        def run() -> None:
            with self.application.database.writing() as tx:
                replied.append(self._keep(tx, act(tx), lambda _, done: render(done), status))

        return self._reply(run, replied)

    def _reply(self, run: Callable[[], object], replied: list[StoredReply]) -> Response:
        earlier = self._earlier()
        if earlier is None:
            try:
                run()
            except _RepliedBeforeError as error:
                earlier = error.reply
        reply = earlier or replied[-1]
        return Response(reply.body, status_code=reply.status, media_type=JSON_TYPE)

    def _earlier(self) -> StoredReply | None:
        if self.request is None:
            return None
        with self.application.database.reading() as tx:
            return idempotency.replay(tx, self.request)

    def _keep(
        self, tx: Connection, done: T, render: Callable[[Connection, T], BaseModel], status: int
    ) -> StoredReply:
        if self.request is not None:
            earlier = idempotency.begin(tx, self.request, at=self.application.clock.now())
            if earlier is not None:
                raise _RepliedBeforeError(earlier)
        reply = StoredReply(status=status, body=render(tx, done).model_dump_json().encode())
        if self.request is not None:
            idempotency.finish(tx, self.request, reply)
        return reply


async def _call(
    request: Request, application: ApplicationOf, found: AnyCaller, key: IdempotencyKey = None
) -> Call:
    # The body was read to be understood; this gives the very same bytes again.
    body = hashlib.sha256(await request.body()).digest()
    same = None
    if key is not None:
        same = IdempotentRequest(
            principal=found.principal,
            key=key,
            route=f"{request.method} {request.url.path}",
            body_sha256=body,
        )
    return Call(application=application, caller=found, request=same)


Calls = Annotated[Call, Depends(_call)]


def connection_of(unit: LessonUnit) -> Connection:
    """Return the transaction of a unit of work of the SQL store."""
    if not isinstance(unit, SqlLessonUnit):
        raise TypeError(f"a unit of the SQL store was wanted, not {type(unit).__name__}")
    return unit.tx
