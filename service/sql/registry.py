"""Learners: who they are, under which references platforms know them, what they consented to.

The engine issues the learner's id. A person is one learner, whichever platforms bring them: the
same identity number leads to the same id. A learner whom a platform has not brought is unknown
to that platform.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from service.sql.checked_text import require_text
from service.sql.encrypted_column import blind_index
from service.sql.errors import StorageBusyError
from service.sql.insertion import insert_new
from service.sql.tables import (
    LONGEST_ID,
    LONGEST_REFERENCE,
    consent,
    enrolment,
    learner,
    learner_alias,
)
from verifier.eligibility_facts import ConsentFact
from verifier.enrolment import Anchor
from verifier.errors import InputError, UnknownSubjectError
from verifier.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A learner as one platform knows them; ``created`` if the reference is new to it."""

    learner_id: str
    registered_at: datetime
    created: bool


def register_learner(
    tx: Connection, *, platform_id: str, reference: str, identity: Identity | None, at: datetime
) -> Registration:
    """Put a learner on record under a platform's own reference; the same again changes nothing.

    A number that is known with another name is corrected as long as nobody independent has vouched
    for a face under it: an institution's word must not fix a name that it made up.

    Raises
    ------
    InputError
        If the reference already stands for somebody else, or the name is not the one vouched for.
    """
    require_text("reference", reference, longest=LONGEST_REFERENCE)
    known = _by_alias(tx, platform_id, reference)
    if known is not None:
        if identity is not None:
            _agree(tx, known, identity)
        return _registration(known, created=False)
    found = _find_or_make(tx, identity, at)
    alias = {"platform_id": platform_id, "reference": reference, "learner_id": found.learner_id}
    if not insert_new(tx, learner_alias, created_at=at, **alias):
        raise StorageBusyError("the same reference was registered at the same moment")
    return _registration(found, created=True)


def learner_of(tx: Connection, *, platform_id: str, reference: str) -> str:
    """Return the id of a platform's learner; ``UnknownSubjectError`` for an unknown reference."""
    found = _by_alias(tx, platform_id, reference)
    if found is None:
        raise UnknownSubjectError("this platform registered no learner under that reference")
    return str(found.learner_id)


def require_own_learner(tx: Connection, *, platform_id: str, learner_id: str) -> None:
    """Return if the platform has brought the learner; ``UnknownSubjectError`` otherwise."""
    alias = learner_alias.c
    own = (alias.platform_id == platform_id) & (alias.learner_id == learner_id)
    if tx.execute(select(alias.learner_id).where(own).limit(1)).one_or_none() is None:
        raise UnknownSubjectError("there is no learner with that id")


def registered_at(tx: Connection, learner_id: str) -> datetime:
    """Return when a learner was first registered; ``UnknownSubjectError`` if never."""
    at: datetime = _row_of(tx, learner_id).registered_at
    return at


def identity_of(tx: Connection, learner_id: str) -> Identity | None:
    """Return who the learner is on paper; None if nobody said."""
    return _identity(_row_of(tx, learner_id))


def give_consent(
    tx: Connection, *, platform_id: str, learner_id: str, purpose: str, version: str, at: datetime
) -> None:
    """Record that the learner consents to a text; one that is in force already stays."""
    require_text("purpose", purpose, longest=LONGEST_ID)
    require_text("version", version, longest=LONGEST_ID)
    require_own_learner(tx, platform_id=platform_id, learner_id=learner_id)
    same = _in_force(learner_id, purpose) & (consent.c.version == version)
    if tx.execute(select(consent.c.consent_id).where(same).limit(1)).one_or_none() is not None:
        return
    tx.execute(
        insert(consent).values(
            consent_id=secrets.token_hex(16),
            learner_id=learner_id,
            platform_id=platform_id,
            purpose=purpose,
            version=version,
            given_at=at,
        )
    )


def withdraw_consent(tx: Connection, *, learner_id: str, purpose: str, at: datetime) -> int:
    """End every consent of the learner to a purpose, whoever recorded it; return how many."""
    standing = select(consent).where(_in_force(learner_id, purpose)).with_for_update()
    rows = tx.execute(standing).all()
    for row in rows:
        # Never before it was given, though the moment was taken before this lock.
        ended = {"withdrawn_at": max(at, row.given_at)}
        tx.execute(update(consent).where(consent.c.consent_id == row.consent_id).values(ended))
    return len(rows)


def consents(tx: Connection, *, learner_id: str, purpose: str) -> tuple[ConsentFact, ...]:
    """Return the learner's consents to a purpose, past ones too, by time."""
    own = (consent.c.learner_id == learner_id) & (consent.c.purpose == purpose)
    rows = tx.execute(select(consent).where(own).order_by(consent.c.given_at))
    return tuple(
        ConsentFact(version=row.version, given_at=row.given_at, withdrawn_at=row.withdrawn_at)
        for row in rows
    )


def _in_force(learner_id: str, purpose: str) -> Any:
    own = (consent.c.learner_id == learner_id) & (consent.c.purpose == purpose)
    return own & consent.c.withdrawn_at.is_(None)


def _find_or_make(tx: Connection, identity: Identity | None, at: datetime) -> Row[Any]:
    learner_id = secrets.token_hex(16)
    if identity is None:
        tx.execute(insert(learner).values(learner_id=learner_id, registered_at=at))
        return _row_of(tx, learner_id)
    index = _index(tx, identity)
    values = {"id_index": index, "identity": _record(identity), "registered_at": at}
    if insert_new(tx, learner, learner_id=learner_id, **values):
        return _row_of(tx, learner_id)
    found = tx.execute(select(learner).where(learner.c.id_index == index)).one()
    _agree(tx, found, identity)
    return found


def _agree(tx: Connection, known: Row[Any], identity: Identity) -> None:
    """Bring what is on record and what is said now together, or refuse."""
    if _identity(known) == identity:
        return
    # Locked, as enrolling does: nobody vouches for the old name while it is being changed.
    locked = select(learner).where(learner.c.learner_id == known.learner_id)
    known = tx.execute(locked.with_for_update(key_share=True)).one()
    index, before = _index(tx, identity), _identity(known)
    if before == identity:
        return
    if before is not None and before.id_number != identity.id_number:
        raise InputError("this reference stands for a learner with another identity number")
    if before is None and _is_taken(tx, index):
        raise InputError("this identity number belongs to a learner with another reference")
    if _is_vouched_for(tx, known.learner_id):
        raise InputError("this learner is enrolled with another name, or with none")
    said = {"id_index": index, "identity": _record(identity)}
    tx.execute(update(learner).where(learner.c.learner_id == known.learner_id).values(said))


def _index(tx: Connection, identity: Identity) -> bytes:
    return blind_index(tx, "learner.id_index", identity.id_number)


def _record(identity: Identity) -> dict[str, str]:
    return {"name": identity.name, "id_number": identity.id_number}


def _identity(row: Row[Any]) -> Identity | None:
    return None if row.identity is None else Identity(**row.identity)


def _is_taken(tx: Connection, index: bytes) -> bool:
    taken = select(learner.c.learner_id).where(learner.c.id_index == index)
    return tx.execute(taken).one_or_none() is not None


def _is_vouched_for(tx: Connection, learner_id: str) -> bool:
    anchor = select(enrolment.c.anchor).where(enrolment.c.learner_id == learner_id)
    return tx.execute(anchor).scalar_one_or_none() not in {None, Anchor.INSTITUTION.value}


def _by_alias(tx: Connection, platform_id: str, reference: str) -> Row[Any] | None:
    alias = learner_alias.c
    own = (alias.platform_id == platform_id) & (alias.reference == reference)
    return tx.execute(select(learner).join(learner_alias).where(own)).one_or_none()


def _row_of(tx: Connection, learner_id: str) -> Row[Any]:
    row = tx.execute(select(learner).where(learner.c.learner_id == learner_id)).one_or_none()
    if row is None:
        raise UnknownSubjectError("there is no learner with that id")
    return row


def _registration(row: Row[Any], *, created: bool) -> Registration:
    return Registration(learner_id=row.learner_id, registered_at=row.registered_at, created=created)
