"""The way of a learner into one session: a one-time code, then a token; of both only SHA-256."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from service.sql.tables import session
from verifier.errors import ProtocolError, UnknownSubjectError

_row = session.c


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerAccess:
    """What a learner's token opens: this session, and nothing else."""

    session_id: str
    learner_id: str
    platform_id: str
    ended_at: datetime | None


def keep_code(tx: Connection, *, session_id: str, code_sha256: bytes, expires_at: datetime) -> None:
    """Keep a code for a session; an earlier code, and a token made from it, open nothing more.

    Raises
    ------
    UnknownSubjectError
        If there is no such session.
    """
    fresh = {"code_sha256": code_sha256, "code_expires_at": expires_at}
    values = {**fresh, "code_used_at": None, "token_sha256": None}
    if (
        tx.execute(update(session).where(_row.session_id == session_id).values(values)).rowcount
        == 0
    ):
        raise UnknownSubjectError("there is no session with that id")


def redeem_code(
    tx: Connection, *, session_id: str, code_sha256: bytes, token_sha256: bytes, at: datetime
) -> LearnerAccess:
    """Exchange a code for a token, once.

    Raises
    ------
    UnknownSubjectError
        If that session was given no such code.
    ProtocolError
        ``code_spent`` if it was used before or is too old, or ``session_over``.
    """
    chosen = select(session).where(
        (_row.session_id == session_id) & (_row.code_sha256 == code_sha256)
    )
    found = tx.execute(chosen.with_for_update(key_share=True)).one_or_none()
    if found is None:
        raise UnknownSubjectError("there is no such code")
    if found.code_used_at is not None:
        raise ProtocolError("code_spent", "the code was used before; ask for another one")
    if at >= found.code_expires_at:
        raise ProtocolError("code_spent", "the code is too old; ask for another one")
    if found.ended_at is not None:
        raise ProtocolError("session_over", "the session has ended")
    this = _row.session_id == found.session_id
    values = {"code_used_at": at, "token_sha256": token_sha256}
    tx.execute(update(session).where(this).values(values))
    return LearnerAccess(
        session_id=found.session_id,
        learner_id=found.learner_id,
        platform_id=found.platform_id,
        ended_at=None,
    )


def access_of(tx: Connection, token_sha256: bytes) -> LearnerAccess | None:
    """Return what a token opens; None if it is nobody's."""
    columns = (_row.session_id, _row.learner_id, _row.platform_id, _row.ended_at)
    found = tx.execute(select(*columns).where(_row.token_sha256 == token_sha256)).one_or_none()
    if found is None:
        return None
    return LearnerAccess(
        session_id=found.session_id,
        learner_id=found.learner_id,
        platform_id=found.platform_id,
        ended_at=found.ended_at,
    )
