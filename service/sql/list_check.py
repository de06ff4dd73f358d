"""Who of many is on a list now: one query for each kind of subject, however many there are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TypeAlias

from sqlalchemy import Connection, select

from service.sql.tables import learner_alias, list_entry
from verifier.list_entry import ListName, SubjectKind

Subject: TypeAlias = tuple[SubjectKind, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The entry that decides how a subject stands: the first of the black list, else the white."""

    list_name: ListName
    reason_code: str
    since: datetime


def listings(
    tx: Connection, subjects: Iterable[Subject], *, at: datetime
) -> Mapping[Subject, Listing]:
    """Return how those stand who are on a list at ``at``; as `verifier.list_entry.check_subject`.

    Who is not among the keys is on none.
    """
    by_kind = groupby(sorted(set(subjects)), key=lambda subject: subject[0])
    found: dict[Subject, Listing] = {}
    for kind, group in by_kind:
        for subject_id, listing in _of_kind(tx, kind, [name for _, name in group], at):
            before = found.setdefault((kind, subject_id), listing)
            # By time, so the first stays, unless it is white: no white entry lifts a block.
            if before.list_name is not listing.list_name and listing.list_name is ListName.BLACK:
                found[kind, subject_id] = listing
    return found


def brought_by(tx: Connection, platform_id: str, learner_ids: Iterable[str]) -> set[str]:
    """Return which of these learners a platform has brought."""
    alias = learner_alias.c
    own = (alias.platform_id == platform_id) & alias.learner_id.in_(set(learner_ids))
    return set(tx.execute(select(alias.learner_id).where(own)).scalars())


def _of_kind(
    tx: Connection, kind: SubjectKind, subject_ids: list[str], at: datetime
) -> Iterable[tuple[str, Listing]]:
    row = list_entry.c
    in_force = (
        row.approved_at.is_not(None)
        & (row.valid_from <= at)
        & (row.valid_to.is_(None) | (row.valid_to > at))
    )
    chosen = (
        select(row.subject_id, row.list_name, row.reason_code, row.valid_from)
        .where((row.subject_kind == kind.value) & row.subject_id.in_(subject_ids) & in_force)
        .order_by(row.valid_from, row.entry_id)
    )
    for subject_id, name, reason_code, since in tx.execute(chosen):
        listing = Listing(list_name=ListName(name), reason_code=reason_code, since=since)
        yield subject_id, listing
