"""Cases for review on record; what they mean is in :mod:`verifier.review_case`.

Of two learners there is at most one case of a kind, ever. That they are different people is not
asked again each time one of them enrols; a case that was closed as explained is opened again, since
whoever did it once may do it again. A case about one learner is asked once at a time.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, update

from service.sql.checked_text import require_text
from service.sql.insertion import insert_new
from service.sql.tables import LONGEST_ID, review_case
from verifier.eligibility_facts import CaseFact
from verifier.errors import InputError, InvalidRecordError, ProtocolError, UnknownSubjectError
from verifier.list_entry import is_same_person
from verifier.review_case import CaseKind, CaseResolution, ReviewCase, still_stands
from verifier.transparency.canonical_json import JSONValue

_row = review_case.c


class UnknownCaseError(UnknownSubjectError):
    """A case that nobody opened."""


def open_case(
    tx: Connection,
    *,
    kind: CaseKind,
    learner_id: str,
    other_learner_id: str | None = None,
    at: datetime,
    details: Mapping[str, JSONValue],
) -> str:
    """Open a case in the unit of work ``tx``, unless there is one; return its id.

    One about two learners that was closed as explained is opened again: with what was measured
    now, and what was found before in its details. Whoever opens the same case at the same moment
    waits, and gets the id of the first; or opens another where the first is about one learner and
    was closed meanwhile.

    Parameters
    ----------
    learner_id, other_learner_id
        On record; their order is no matter. The second for a duplicate face, and only there.
    details
        What was measured; kept encrypted, shown to officers only.
    """
    given = (learner_id,) if other_learner_id is None else (learner_id, other_learner_id)
    opened = ReviewCase(
        case_id=secrets.token_hex(16),
        kind=kind,
        learner_ids=tuple(sorted(given)),
        opened_at=at,
        details=details,
    )
    while (known := _known(tx, opened)) is None:
        new = insert_new(
            tx,
            review_case,
            case_id=opened.case_id,
            kind=kind.value,
            learner_id=opened.learner_ids[0],
            other_learner_id=_other(opened),
            opened_at=at,
            details=dict(details),
        )
        if new:
            return opened.case_id
    if known.closed_at is not None and known.resolution is CaseResolution.EXPLAINED:
        _save(tx, replace(opened, case_id=known.case_id, details=_with_history(opened, known)))
    return known.case_id


def cases_of_kind(
    tx: Connection, *, kind: CaseKind, learner_ids: Sequence[str]
) -> Mapping[str, Sequence[ReviewCase]]:
    """Return all cases of a kind that are about one learner, locked, by learner, by time."""
    about = (_row.kind == kind.value) & _row.learner_id.in_(learner_ids)
    chosen = select(review_case).where(about & _row.other_learner_id.is_(None))
    # In one order for everybody, or two who lock the same cases could wait for each other.
    found = tx.execute(chosen.order_by(_row.opened_at, _row.case_id).with_for_update())
    known: dict[str, list[ReviewCase]] = {}
    for row in found:
        known.setdefault(row.learner_id, []).append(_case(row))
    return known


def measure_again(
    tx: Connection, case: ReviewCase, *, details: Mapping[str, JSONValue]
) -> ReviewCase:
    """Keep other details in an open case, locked; what was proposed on the old ones is no more."""
    after = replace(case, details=details, resolution=None, proposed_by=None, proposed_at=None)
    _save(tx, after)
    return after


def propose_resolution(
    tx: Connection,
    *,
    case_id: str,
    resolution: CaseResolution,
    proposed_by: str,
    at: datetime,
) -> ReviewCase:
    """Propose what a case came to; a later proposal takes an earlier one's place.

    One that was closed and still stands, since one person was found under two identities, is
    opened again by it, to be closed once what had to follow has followed. Until another person
    approves, what two had found holds.

    Raises
    ------
    UnknownSubjectError
        If there is no such case.
    ProtocolError
        ``case_closed`` if it does not stand any more.
    InputError
        If no case of its kind comes to that.
    """
    require_text("proposed_by", proposed_by, longest=LONGEST_ID)
    before = _locked(tx, case_id)
    if not before.stands:
        raise ProtocolError("case_closed", "the case was closed before")
    try:
        after = replace(
            before,
            resolution=resolution,
            proposed_by=proposed_by,
            proposed_at=at,
            closed_by=None,
            closed_at=None,
            details=_with_history(before, before),
        )
    except InvalidRecordError as error:
        raise InputError(str(error)) from None
    _save(tx, after)
    return after


def approve_resolution(
    tx: Connection, *, case_id: str, resolution: CaseResolution, closed_by: str, at: datetime
) -> ReviewCase:
    """Close a case with what another person proposed, which has to be named again.

    Raises
    ------
    UnknownSubjectError
        If there is no such case.
    ProtocolError
        ``case_closed``; ``not_proposed`` if nothing, or something else, is proposed;
        ``second_person_wanted`` if the proposer approves.
    """
    require_text("closed_by", closed_by, longest=LONGEST_ID)
    case = _locked(tx, case_id)
    if case.closed_at is not None:
        raise ProtocolError("case_closed", "the case was closed before")
    if case.proposed_by is None or case.proposed_at is None or case.resolution is not resolution:
        raise ProtocolError("not_proposed", f"{resolution} is not what is proposed")
    if is_same_person(closed_by, case.proposed_by):
        raise ProtocolError("second_person_wanted", "another person has to approve it")
    closed = replace(case, closed_by=closed_by, closed_at=max(at, case.proposed_at))
    _save(tx, closed)
    return closed


def cases(tx: Connection, *, limit: int) -> Sequence[ReviewCase]:
    """Return up to ``limit`` cases: first those that stand, the oldest first; then the others."""
    stands = _stands()
    order = (stands.desc(), _row.opened_at, _row.case_id)
    return [_case(row) for row in tx.execute(select(review_case).order_by(*order).limit(limit))]


def count_standing(tx: Connection) -> int:
    """Return how many cases ask for a decision."""
    chosen = select(func.count()).select_from(review_case).where(_stands())
    return tx.execute(chosen).scalar_one()


def standing_cases(tx: Connection, learner_id: str) -> tuple[CaseFact, ...]:
    """Return the cases about a learner, on either side, that ask for a decision, by time."""
    about = (_row.learner_id == learner_id) | (_row.other_learner_id == learner_id)
    chosen = select(review_case).where(about & _stands()).order_by(_row.opened_at, _row.case_id)
    return tuple(_fact(_case(row)) for row in tx.execute(chosen))


def _fact(case: ReviewCase) -> CaseFact:
    return CaseFact(
        case_id=case.case_id, kind=case.kind, opened_at=case.opened_at, resolution=case.finding
    )


def _stands() -> Any:
    standing = [each.value for each in CaseResolution if still_stands(each)]
    return _row.closed_at.is_(None) | _row.resolution.in_(standing)


def _known(tx: Connection, like: ReviewCase) -> ReviewCase | None:
    """Return the case that a new one would repeat, locked."""
    other = _other(like)
    same = (_row.kind == like.kind.value) & (_row.learner_id == like.learner_ids[0])
    if other is None:
        same &= _row.other_learner_id.is_(None) & _row.closed_at.is_(None)
    else:
        same &= _row.other_learner_id == other
    row = tx.execute(select(review_case).where(same).with_for_update()).one_or_none()
    return None if row is None else _case(row)


def _other(case: ReviewCase) -> str | None:
    return case.learner_ids[1] if len(case.learner_ids) == 2 else None


def _with_history(case: ReviewCase, before: ReviewCase) -> Mapping[str, JSONValue]:
    """Return the details of a case, with what two persons had found in it before, and on what."""
    if before.closed_at is None or before.resolution is None:
        return case.details
    measured = {name: said for name, said in before.details.items() if name != "earlier"}
    found: JSONValue = {
        **({} if case is before else {"details": measured}),
        "opened_at": before.opened_at.isoformat(),
        "resolution": before.resolution.value,
        "proposed_by": before.proposed_by,
        "closed_by": before.closed_by,
        "closed_at": before.closed_at.isoformat(),
    }
    return {**case.details, "earlier": [*before.earlier, found]}


def _locked(tx: Connection, case_id: str) -> ReviewCase:
    chosen: Select[Any] = select(review_case).where(_row.case_id == case_id).with_for_update()
    row = tx.execute(chosen).one_or_none()
    if row is None:
        raise UnknownCaseError("there is no case with that id")
    return _case(row)


def _save(tx: Connection, case: ReviewCase) -> None:
    said = {
        "opened_at": case.opened_at,
        "details": dict(case.details),
        "resolution": None if case.resolution is None else case.resolution.value,
        "proposed_by": case.proposed_by,
        "proposed_at": case.proposed_at,
        "closed_by": case.closed_by,
        "closed_at": case.closed_at,
    }
    tx.execute(update(review_case).where(_row.case_id == case.case_id).values(said))


def _case(row: Row[Any]) -> ReviewCase:
    pair = (row.learner_id, row.other_learner_id)
    return ReviewCase(
        case_id=row.case_id,
        kind=CaseKind(row.kind),
        learner_ids=tuple(each for each in pair if each is not None),
        opened_at=row.opened_at,
        details=row.details,
        resolution=None if row.resolution is None else CaseResolution(row.resolution),
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        closed_by=row.closed_by,
        closed_at=row.closed_at,
    )
