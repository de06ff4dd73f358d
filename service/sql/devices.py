"""Learners' devices: the keys their browsers keep, each for one learner at one platform.

A browser keeps what a page in a frame stores apart for every site that embeds it, so a key that
was made on one platform's pages is not there on another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from service.sql.insertion import insert_new
from service.sql.tables import device_code, learner_device
from verifier.errors import ProtocolError, UnknownSubjectError

MOST_DEVICES: Final = 5
"""Of a learner at one platform; who registers another one gives up the oldest."""

_code, _device = device_code.c, learner_device.c


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """For whom a one-time code lets a device be registered."""

    learner_id: str
    platform_id: str
    used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDevice:
    """A device that was registered.

    Attributes
    ----------
    device_id
        SHA-256 of the public key, 64 hex digits.
    public_key
        SubjectPublicKeyInfo.
    evidence_id
        Of the leaf about it.
    """

    device_id: str
    learner_id: str
    platform_id: str
    public_key: bytes = field(repr=False)
    registered_at: datetime
    revoked_at: datetime | None = None
    evidence_id: str | None = None


def keep_device_code(
    tx: Connection,
    *,
    learner_id: str,
    platform_id: str,
    code_sha256: bytes,
    expires_at: datetime,
) -> None:
    """Keep a code; the learner's earlier ones at the platform open nothing more."""
    own = (_code.learner_id == learner_id) & (_code.platform_id == platform_id)
    tx.execute(delete(device_code).where(own))
    tx.execute(
        insert(device_code).values(
            code_sha256=code_sha256,
            learner_id=learner_id,
            platform_id=platform_id,
            expires_at=expires_at,
        )
    )


def device_code_of(tx: Connection, code_sha256: bytes, *, at: datetime) -> DeviceCode | None:
    """Return for whom a code is, used or not; None if it is nobody's, or too old."""
    known = (_code.code_sha256 == code_sha256) & (_code.expires_at > at)
    row = tx.execute(select(device_code).where(known)).one_or_none()
    if row is None:
        return None
    return DeviceCode(learner_id=row.learner_id, platform_id=row.platform_id, used_at=row.used_at)


def spend_device_code(tx: Connection, code_sha256: bytes, *, at: datetime) -> None:
    """Let a code open nothing more; ``ProtocolError`` ``code_spent`` if it does not already."""
    fresh = (_code.code_sha256 == code_sha256) & _code.used_at.is_(None) & (_code.expires_at > at)
    if tx.execute(update(device_code).where(fresh).values(used_at=at)).rowcount != 1:
        raise ProtocolError("code_spent", "the code was used before or is too old; ask for another")


def add_device(tx: Connection, device: StoredDevice) -> None:
    """Keep a device, and revoke the learner's oldest there beyond the number one may have.

    Raises
    ------
    ProtocolError
        ``device_taken`` if the key was registered before, for whomever.
    """
    values = {
        "device_id": device.device_id,
        "learner_id": device.learner_id,
        "platform_id": device.platform_id,
        "public_key": device.public_key,
        "registered_at": device.registered_at,
        "evidence_id": device.evidence_id,
    }
    if not insert_new(tx, learner_device, **values):
        raise ProtocolError("device_taken", "this key was registered before; make another one")
    own = (
        (_device.learner_id == device.learner_id)
        & (_device.platform_id == device.platform_id)
        & _device.revoked_at.is_(None)
        & (_device.device_id != device.device_id)
    )
    newest_first = select(_device.device_id).where(own).order_by(_device.registered_at.desc())
    for device_id in tx.execute(newest_first).scalars().all()[MOST_DEVICES - 1 :]:
        _revoke(tx, device_id, device.registered_at)


def devices_of(tx: Connection, learner_id: str) -> Sequence[StoredDevice]:
    """Return all devices that a learner ever had, the newest first."""
    own = select(learner_device).where(_device.learner_id == learner_id)
    newest_first = own.order_by(_device.registered_at.desc(), _device.device_id)
    return [_stored(row) for row in tx.execute(newest_first)]


def valid_device(
    tx: Connection, device_id: str, *, learner_id: str, platform_id: str
) -> StoredDevice | None:
    """Return a device if it is the learner's at that platform and was not revoked."""
    valid = (
        (_device.device_id == device_id)
        & (_device.learner_id == learner_id)
        & (_device.platform_id == platform_id)
        & _device.revoked_at.is_(None)
    )
    row = tx.execute(select(learner_device).where(valid)).one_or_none()
    return None if row is None else _stored(row)


def revoke_device(tx: Connection, *, learner_id: str, device_id: str, at: datetime) -> bool:
    """Let a device, and every token bound to it, open nothing more; say whether it still did.

    Raises
    ------
    UnknownSubjectError
        If the learner never had that device.
    """
    own = (_device.device_id == device_id) & (_device.learner_id == learner_id)
    row = tx.execute(select(learner_device).where(own)).one_or_none()
    if row is None:
        raise UnknownSubjectError("this learner has no device with that id")
    return row.revoked_at is None and _revoke(tx, device_id, at)


def _revoke(tx: Connection, device_id: str, at: datetime) -> bool:
    valid = (_device.device_id == device_id) & _device.revoked_at.is_(None)
    revoked: int = tx.execute(update(learner_device).where(valid).values(revoked_at=at)).rowcount
    return revoked == 1


def _stored(row: Row[Any]) -> StoredDevice:
    return StoredDevice(
        device_id=row.device_id,
        learner_id=row.learner_id,
        platform_id=row.platform_id,
        public_key=row.public_key,
        registered_at=row.registered_at,
        revoked_at=row.revoked_at,
        evidence_id=row.evidence_id,
    )
