"""Classes: applied for by platforms, approved by officers; who is on the roster; what is claimed.

A class of another platform is unknown to a platform that asks.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, select, update

from service.sql.checked_text import require_text
from service.sql.insertion import insert_new
from service.sql.registry import require_own_learner
from service.sql.tables import LONGEST_ID, LONGEST_TITLE, claim, roster_entry, training_class
from verifier.claim import Claim
from verifier.eligibility_facts import ClassFact, RosterFact, RosterGap
from verifier.errors import ProtocolError, UnknownSubjectError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClass:
    """A class on record; ``approved_by`` names the officer."""

    class_id: str
    title: str
    fact: ClassFact
    approved_by: str | None = None


def apply_for_class(tx: Connection, *, class_id: str, title: str, fact: ClassFact) -> TrainingClass:
    """Put an application on record, not approved whatever ``fact`` says; once more changes nothing.

    Raises
    ------
    ProtocolError
        ``class_exists`` if the id is taken by an application that says something else.
    """
    require_text("class_id", class_id, longest=LONGEST_ID)
    require_text("title", title, longest=LONGEST_TITLE)
    require_text("institution_id", fact.institution_id, longest=LONGEST_ID)
    said = {
        "platform_id": fact.platform_id,
        "institution_id": fact.institution_id,
        "title": title,
        "starts_on": fact.starts_on,
        "ends_on": fact.ends_on,
        "required_credit_hours": fact.required_credit_hours,
    }
    if not insert_new(tx, training_class, class_id=class_id, applied_at=fact.applied_at, **said):
        row = _locked(tx, class_id, platform_id=None)
        if any(getattr(row, name) != value for name, value in said.items()):
            raise ProtocolError("class_exists", "a class with this id is on record")
    return class_of(tx, class_id)


def approve_class(
    tx: Connection, *, class_id: str, approved_by: str, at: datetime
) -> TrainingClass:
    """Approve an application; one that is approved already keeps its first approval.

    Raises
    ------
    UnknownSubjectError
        If there is no such class.
    ProtocolError
        ``class_withdrawn`` if it was withdrawn.
    """
    row = _locked(tx, class_id, platform_id=None)
    if row.withdrawn_at is not None:
        raise ProtocolError("class_withdrawn", "the class was withdrawn")
    if row.approved_at is None:
        _change(tx, class_id, approved_at=max(at, row.applied_at), approved_by=approved_by)
    return class_of(tx, class_id)


def withdraw_class(
    tx: Connection, *, class_id: str, at: datetime, platform_id: str | None = None
) -> TrainingClass:
    """Withdraw a class, for a platform its own only; the first withdrawal's time stays."""
    row = _locked(tx, class_id, platform_id=platform_id)
    if row.withdrawn_at is None:
        # Never before what it withdraws, though the moment was taken before this lock.
        _change(tx, class_id, withdrawn_at=max(at, row.applied_at, row.approved_at or at))
    return class_of(tx, class_id)


def class_of(tx: Connection, class_id: str, *, platform_id: str | None = None) -> TrainingClass:
    """Return a class, for a platform its own only; ``UnknownSubjectError`` otherwise."""
    row = tx.execute(select(training_class).where(_own(class_id, platform_id))).one_or_none()
    return _class(_found(row))


def add_to_roster(
    tx: Connection, *, platform_id: str, class_id: str, learner_id: str, at: datetime
) -> RosterFact:
    """Put a learner of the platform on its class's roster; who is on it stays since then.

    Raises
    ------
    UnknownSubjectError
        If class or learner are not the platform's.
    ProtocolError
        ``class_withdrawn``.
    """
    require_own_learner(tx, platform_id=platform_id, learner_id=learner_id)
    if _locked(tx, class_id, platform_id=platform_id).withdrawn_at is not None:
        raise ProtocolError("class_withdrawn", "the class was withdrawn")
    before = roster_fact(tx, class_id=class_id, learner_id=learner_id)
    if before is not None and before.removed_at is None:
        return before
    if before is not None and before.removed_at is not None:
        # Not before it was taken off, though the moment was taken before this lock.
        at = max(at, before.removed_at)
    row = {"class_id": class_id, "learner_id": learner_id, "added_at": at}
    if not insert_new(tx, roster_entry, **row):
        # Put on, taken off and put on again in one instant: as if it had stayed on.
        same = [roster_entry.c[name] == value for name, value in row.items()]
        tx.execute(update(roster_entry).where(*same).values(removed_at=None))
    return RosterFact(added_at=at, removed_at=None)


def remove_from_roster(
    tx: Connection, *, platform_id: str, class_id: str, learner_id: str, at: datetime
) -> None:
    """Take a learner off the roster; ``UnknownSubjectError`` if they are not on it."""
    _locked(tx, class_id, platform_id=platform_id)
    standing = roster_fact(tx, class_id=class_id, learner_id=learner_id)
    if standing is None or standing.removed_at is not None:
        raise UnknownSubjectError("this learner is not on the roster")
    row = roster_entry.c
    this = (row.class_id == class_id) & (row.learner_id == learner_id) & row.removed_at.is_(None)
    removed_at = max(at, standing.added_at)
    tx.execute(update(roster_entry).where(this).values(removed_at=removed_at))


def roster_fact(tx: Connection, *, class_id: str, learner_id: str) -> RosterFact | None:
    """Return the learner's latest time on the roster; None if they never were on it."""
    row = roster_entry.c
    own = (row.class_id == class_id) & (row.learner_id == learner_id)
    latest = select(roster_entry).where(own).order_by(row.added_at.desc()).limit(1)
    found = tx.execute(latest).one_or_none()
    if found is None:
        return None
    return RosterFact(added_at=found.added_at, removed_at=found.removed_at)


def whole_roster(tx: Connection, *, class_id: str, learner_id: str) -> RosterFact | None:
    """Return the learner's times on the roster as one, from the first, with the gaps between."""
    row = roster_entry.c
    own = (row.class_id == class_id) & (row.learner_id == learner_id)
    rows = tx.execute(select(roster_entry).where(own).order_by(row.added_at)).all()
    if not rows:
        return None
    gaps = tuple(
        RosterGap(removed_at=before.removed_at, added_at=after.added_at)
        for before, after in pairwise(rows)
        if before.removed_at < after.added_at
    )
    return RosterFact(added_at=rows[0].added_at, removed_at=rows[-1].removed_at, gaps=gaps)


def record_claim(tx: Connection, made: Claim, *, platform_id: str, at: datetime) -> None:
    """Keep what a platform says a learner attended; the latest word counts, and moves nothing.

    Raises
    ------
    UnknownSubjectError
        If class or learner are not the platform's.
    """
    require_own_learner(tx, platform_id=platform_id, learner_id=made.learner_id)
    _locked(tx, made.class_id, platform_id=platform_id)
    said = {"platform_id": platform_id, "claimed_s": made.claimed_s, "claimed_at": at}
    if not insert_new(tx, claim, learner_id=made.learner_id, class_id=made.class_id, **said):
        tx.execute(update(claim).where(_of(made.class_id, made.learner_id)).values(said))


def claimed_s(tx: Connection, *, class_id: str, learner_id: str) -> float | None:
    """Return the seconds claimed last; None if nothing was claimed."""
    found = select(claim.c.claimed_s).where(_of(class_id, learner_id))
    return tx.execute(found).scalar_one_or_none()


def _of(class_id: str, learner_id: str) -> Any:
    return (claim.c.class_id == class_id) & (claim.c.learner_id == learner_id)


def _own(class_id: str, platform_id: str | None) -> Any:
    this = training_class.c.class_id == class_id
    return this if platform_id is None else this & (training_class.c.platform_id == platform_id)


def _locked(tx: Connection, class_id: str, *, platform_id: str | None) -> Row[Any]:
    chosen = select(training_class).where(_own(class_id, platform_id))
    return _found(tx.execute(chosen.with_for_update(key_share=True)).one_or_none())


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise UnknownSubjectError("there is no class with that id")
    return row


def _change(tx: Connection, class_id: str, **values: Any) -> None:
    tx.execute(update(training_class).where(training_class.c.class_id == class_id).values(values))


def _class(row: Row[Any]) -> TrainingClass:
    return TrainingClass(
        class_id=row.class_id,
        title=row.title,
        approved_by=row.approved_by,
        fact=ClassFact(
            institution_id=row.institution_id,
            platform_id=row.platform_id,
            applied_at=row.applied_at,
            approved_at=row.approved_at,
            withdrawn_at=row.withdrawn_at,
            starts_on=row.starts_on,
            ends_on=row.ends_on,
            required_credit_hours=row.required_credit_hours,
        ),
    )
