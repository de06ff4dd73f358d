"""The same request twice has one effect and one reply.

`begin` and `finish` stand in the unit of work that has the effect, so reply and effect are kept
together or not at all. Who comes with the same key meanwhile waits in `begin` for that unit's
end, and is then handed its reply. A key belongs to the principal that used it.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from service.sql.checked_text import require_text
from service.sql.insertion import insert_new
from service.sql.tables import LONGEST_REFERENCE, LONGEST_TITLE, idempotency
from verifier.errors import ProtocolError

_row = idempotency.c


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """What was replied the first time."""

    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """What makes a request the same request.

    Attributes
    ----------
    principal
        Whose key it is: of an API key or of a learner's token.
    key
        What the caller sent, 1 to 128 characters.
    route
        Method and path, with the ids in it.
    body_sha256
        Of the body as it arrived, 32 bytes.
    """

    principal: str
    key: str
    route: str
    body_sha256: bytes

    def __post_init__(self) -> None:
        require_text("the idempotency key", self.key, longest=LONGEST_REFERENCE)
        require_text("principal", self.principal, longest=LONGEST_REFERENCE)
        require_text("route", self.route, longest=LONGEST_TITLE)


def replay(tx: Connection, request: IdempotentRequest) -> StoredReply | None:
    """Return the reply to the same request, if there was one; for a look before any work.

    Raises
    ------
    ProtocolError
        ``idempotency_conflict`` if the key was used for another request.
    ValueError
        If a unit of work took the key and kept no reply.
    """
    same = (_row.principal == request.principal) & (_row.key == request.key)
    row = tx.execute(select(idempotency).where(same)).one_or_none()
    if row is None:
        return None
    if (row.route, bytes(row.body_sha256)) != (request.route, request.body_sha256):
        raise ProtocolError("idempotency_conflict", "this key was used for another request")
    if row.status is None:
        raise ValueError("the key was taken and no reply kept, in one unit of work")
    return StoredReply(status=row.status, body=row.response)


def begin(tx: Connection, request: IdempotentRequest, *, at: datetime) -> StoredReply | None:
    """Take the key; return None if the caller is the first, else the reply to the first.

    Raises
    ------
    ProtocolError
        As `replay`.
    """
    first = insert_new(
        tx,
        idempotency,
        principal=request.principal,
        key=request.key,
        route=request.route,
        body_sha256=request.body_sha256,
        created_at=at,
    )
    return None if first else replay(tx, request)


def finish(tx: Connection, request: IdempotentRequest, reply: StoredReply) -> None:
    """Keep the reply, in the unit of work that has taken the key; ``ValueError`` if none has."""
    own = (_row.principal == request.principal) & (_row.key == request.key) & _row.status.is_(None)
    kept = update(idempotency).where(own).values(status=reply.status, response=reply.body)
    if tx.execute(kept).rowcount != 1:
        raise ValueError("the key was not taken in this unit of work, or has its reply already")


def forget_before(tx: Connection, moment: datetime) -> int:
    """Forget replies given before ``moment``; return how many."""
    return tx.execute(delete(idempotency).where(_row.created_at < moment)).rowcount
