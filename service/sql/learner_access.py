"""The way of a learner into one session: a one-time code, then a token; of both only SHA-256."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from service.sql.devices import StoredDevice, valid_device
from service.sql.tables import session
from verifier.assurance import Assurance
from verifier.errors import ProtocolError, UnknownSubjectError

_row = session.c


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerAccess:
    """What a learner's token opens: this session, and nothing else.

    Attributes
    ----------
    device_id, public_key
        The device that the token is bound to: it opens nothing without that key. None where the
        session runs on the platform's own pages.
    """

    session_id: str
    learner_id: str
    platform_id: str
    ended_at: datetime | None
    device_id: str | None = None
    public_key: bytes | None = field(default=None, repr=False)


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
    found = _redeemable(tx, session_id=session_id, code_sha256=code_sha256, at=at)
    values = {"code_used_at": at, "token_sha256": token_sha256}
    tx.execute(update(session).where(_row.session_id == session_id).values(values))
    return _access(found, None)


def redeem_code_on_device(
    tx: Connection,
    *,
    session_id: str,
    code_sha256: bytes,
    token_sha256: bytes,
    device_id: str,
    require: Callable[[StoredDevice], object],
    at: datetime,
) -> LearnerAccess:
    """Exchange a code, once, for a token that opens nothing without the device's key.

    Parameters
    ----------
    require
        Raises if whoever shows the code has not got the device's key; the code is then not spent.

    Raises
    ------
    UnknownSubjectError, ProtocolError
        As :func:`redeem_code`; ``not_allowed_now`` for a session of the platform's own pages, and
        ``device_unknown`` if that device is not the learner's at the platform, or was revoked.
    """
    found = _redeemable(tx, session_id=session_id, code_sha256=code_sha256, at=at)
    if found.assurance != Assurance.FRAME.value:
        raise ProtocolError("not_allowed_now", "this session does not run in the engine's frame")
    device = valid_device(tx, device_id, learner_id=found.learner_id, platform_id=found.platform_id)
    if device is None:
        raise ProtocolError(
            "device_unknown", "register this device first, with a device code from the platform"
        )
    require(device)
    values = {
        "code_used_at": at,
        "token_sha256": token_sha256,
        "device_id": device.device_id,
        # Part of the lesson: whoever read it before must not save over it.
        "version": _row.version + 1,
    }
    tx.execute(update(session).where(_row.session_id == session_id).values(values))
    return _access(found, device)


def access_of(tx: Connection, token_sha256: bytes) -> LearnerAccess | None:
    """Return what a token opens; None if it is nobody's, or its device was revoked."""
    names = ("session_id", "learner_id", "platform_id", "ended_at", "assurance", "device_id")
    chosen: Select[Any] = select(*(_row[name] for name in names))
    found = tx.execute(chosen.where(_row.token_sha256 == token_sha256)).one_or_none()
    if found is None:
        return None
    if found.assurance != Assurance.FRAME.value:
        return _access(found, None)
    if found.device_id is None:  # a frame session has no token without a key
        return None
    device = valid_device(
        tx, found.device_id, learner_id=found.learner_id, platform_id=found.platform_id
    )
    return None if device is None else _access(found, device)


def _redeemable(tx: Connection, *, session_id: str, code_sha256: bytes, at: datetime) -> Row[Any]:
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
    return found


def _access(found: Row[Any], device: StoredDevice | None) -> LearnerAccess:
    return LearnerAccess(
        session_id=found.session_id,
        learner_id=found.learner_id,
        platform_id=found.platform_id,
        ended_at=found.ended_at,
        device_id=None if device is None else device.device_id,
        public_key=None if device is None else device.public_key,
    )
