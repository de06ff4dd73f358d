"""Platforms, and the keys by which they and officers are known; of a key only its SHA-256."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from service.credentials import Role
from service.sql.checked_text import require_text
from service.sql.insertion import insert_new
from service.sql.tables import LONGEST_ID, LONGEST_TITLE, api_key, platform
from verifier.errors import InputError, ProtocolError, UnknownSubjectError


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, by the key that was shown.

    Attributes
    ----------
    platform_id
        None for officers.
    person
        Whose key an officer's is: what takes two takes two persons, not two keys. None for
        platforms.
    """

    key_id: str
    role: Role
    platform_id: str | None
    person: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """What is kept of a key; its secret is not."""

    principal: Principal
    label: str
    created_at: datetime
    revoked_at: datetime | None


def create_platform(tx: Connection, *, platform_id: str, name: str, at: datetime) -> None:
    """Put a platform on record; ``ProtocolError`` ``platform_exists`` if the id is taken."""
    require_text("platform_id", platform_id, longest=LONGEST_ID)
    require_text("name", name, longest=LONGEST_TITLE)
    if not insert_new(tx, platform, platform_id=platform_id, name=name, created_at=at):
        raise ProtocolError("platform_exists", "a platform with this id is on record")


def create_key(
    tx: Connection, *, principal: Principal, secret_sha256: bytes, label: str, at: datetime
) -> None:
    """Keep a key that was just made.

    Parameters
    ----------
    label
        For the list of keys; of an officer's key, the person.

    Raises
    ------
    InputError
        If a platform's key names no platform, or an officer's key names one or no person.
    UnknownSubjectError
        If the platform is unknown.
    """
    is_officer = principal.role is Role.OFFICER
    # A person's name stands in approvals, which are as long as ids.
    require_text("label", label, longest=LONGEST_ID if is_officer else LONGEST_TITLE)
    if principal.person != (label if is_officer else None):
        raise InputError(f"a key of role {principal.role} and a person do not go together")
    if (principal.role is Role.PLATFORM) != (principal.platform_id is not None):
        raise InputError(f"a key of role {principal.role} and a platform do not go together")
    if principal.platform_id is not None:
        _require_platform(tx, principal.platform_id)
    tx.execute(
        insert(api_key).values(
            key_id=principal.key_id,
            role=principal.role.value,
            platform_id=principal.platform_id,
            secret_sha256=secret_sha256,
            label=label,
            created_at=at,
        )
    )


def revoke_key(tx: Connection, *, key_id: str, at: datetime) -> None:
    """Let a key open nothing any more; the first revocation's time stays."""
    if tx.execute(select(api_key.c.key_id).where(api_key.c.key_id == key_id)).one_or_none() is None:
        raise UnknownSubjectError("there is no key with that id")
    valid = (api_key.c.key_id == key_id) & api_key.c.revoked_at.is_(None)
    tx.execute(update(api_key).where(valid).values(revoked_at=at))


def stored_keys(tx: Connection, *, platform_id: str | None = None) -> Sequence[StoredKey]:
    """Return all keys, or those of one platform, by the time they were made."""
    chosen = select(api_key).order_by(api_key.c.created_at, api_key.c.key_id)
    if platform_id is not None:
        chosen = chosen.where(api_key.c.platform_id == platform_id)
    return [
        StoredKey(
            principal=_principal(row),
            label=row.label,
            created_at=row.created_at,
            revoked_at=row.revoked_at,
        )
        for row in tx.execute(chosen)
    ]


def authenticate(tx: Connection, secret_sha256: bytes) -> Principal | None:
    """Return whose key has that digest; None if nobody's, or if it was revoked.

    Looking a digest up by its index tells nothing useful by its timing: whoever could steer the
    digest towards a stored one would have to invert SHA-256.
    """
    valid = (api_key.c.secret_sha256 == secret_sha256) & api_key.c.revoked_at.is_(None)
    row = tx.execute(select(api_key).where(valid)).one_or_none()
    return None if row is None else _principal(row)


def _principal(row: Row[Any]) -> Principal:
    role = Role(row.role)
    return Principal(
        key_id=row.key_id,
        role=role,
        platform_id=row.platform_id,
        person=row.label if role is Role.OFFICER else None,
    )


def _require_platform(tx: Connection, platform_id: str) -> None:
    known = select(platform.c.platform_id).where(platform.c.platform_id == platform_id)
    if tx.execute(known).one_or_none() is None:
        raise UnknownSubjectError("there is no platform with that id")
