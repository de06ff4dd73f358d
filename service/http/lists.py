"""Black and white lists: checked by anybody with a key, changed by two officers."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, BeforeValidator, FailFast, Field, ValidationInfo
from sqlalchemy import Connection

from service.http.callers import ApplicationOf, Caller, OfficerCaller, StaffCaller
from service.http.calls import Calls
from service.http.problem_responses import problems
from service.http.problems import ProblemError
from service.http.values import Message, OpaqueId
from service.sql import registry
from service.sql.list_check import Listing, Subject, brought_by, listings
from service.sql.subject_lists import approve_entry, propose_entry
from verifier.errors import InputError, InvalidRecordError
from verifier.list_entry import ListEntry, ListName, SubjectKind

MOST_SUBJECTS: Final = 1000

router = APIRouter(tags=["lists"])


def _text(value: object, info: ValidationInfo) -> object:
    # Pydantic by itself would take a number for the seconds since 1970.
    if value is not None and not isinstance(value, str):
        raise InputError(f"{info.field_name}: a time as text, with its zone, was wanted")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text)]


class SubjectIn(Message):
    """Whom a list may be about; learners by the engine's id, others by the id that classes use."""

    kind: SubjectKind
    id: OpaqueId = Field(examples=["school-17"])


class ListQuestion(Message):
    """Subjects to look up, up to 1000 at once."""

    subjects: Annotated[list[SubjectIn], FailFast()] = Field(
        min_length=1,
        max_length=MOST_SUBJECTS,
        examples=[[{"kind": "institution", "id": "school-17"}]],
    )


class StandingOut(Message):
    """How one subject stands; the last two fields are for officers."""

    kind: SubjectKind
    id: str
    listed: ListName | None
    reason_code: str | None = None
    since: datetime | None = None


class ListAnswer(Message):
    """One result for each subject, in the order of the question."""

    results: Sequence[StandingOut]


class EntryProposal(Message):
    """An entry that another officer has to approve before it lists anybody."""

    list_name: ListName = Field(examples=["black"])
    subject_kind: SubjectKind = Field(examples=["institution"])
    subject_id: OpaqueId = Field(examples=["school-17"])
    reason_code: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["proxy_attendance"])
    ]
    valid_from: Moment | None = Field(default=None, description="By default now.")
    valid_to: Moment | None = Field(default=None, description="null: until further notice.")


class EntryOut(Message):
    """An entry as officers see it; ``proposed_by`` and ``approved_by`` name persons."""

    entry_id: str
    list_name: ListName
    subject_kind: SubjectKind
    subject_id: str
    reason_code: str
    valid_from: datetime
    valid_to: datetime | None
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None

    @classmethod
    def of(cls, entry: ListEntry) -> "EntryOut":
        """Show an entry."""
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


@router.post(
    "/v1/lists/check",
    response_model_exclude_unset=True,
    responses=problems(),
)
def check_lists(body: ListQuestion, found: StaffCaller, application: ApplicationOf) -> ListAnswer:
    """Say who of many subjects is on the black or the white list now."""
    asked = [(subject.kind, subject.id) for subject in body.subjects]
    with application.database.reading() as tx:
        known = listings(tx, _askable(tx, found, asked), at=application.clock.now())
    return ListAnswer(
        results=[_standing(each, known.get(each), full=found.is_officer) for each in asked]
    )


@router.post(
    "/v1/lists/entries",
    status_code=201,
    response_model=EntryOut,
    responses=problems("invalid_record", "unknown_subject", "idempotency_conflict"),
)
def propose(body: EntryProposal, found: OfficerCaller, call: Calls) -> Response:
    """Propose an entry; it lists nobody until another officer approves it."""

    def act(tx: Connection) -> ListEntry:
        if body.subject_kind is SubjectKind.LEARNER:
            registry.registered_at(tx, body.subject_id)  # or a slip of the pen would list nobody
        now = call.application.clock.now()
        proposal = ListEntry(
            entry_id=secrets.token_hex(16),
            list_name=body.list_name,
            subject_kind=body.subject_kind,
            subject_id=body.subject_id,
            valid_from=body.valid_from or now,
            valid_to=body.valid_to,
            reason_code=body.reason_code,
            proposed_by=found.own_person,
            proposed_at=now,
        )
        propose_entry(tx, proposal)
        return proposal

    return call.once_in_sql(act, EntryOut.of, status=201)


@router.post(
    "/v1/lists/entries/{entry_id}/approval",
    response_model=EntryOut,
    responses=problems(
        "unknown_subject",
        "already_approved",
        "second_person_wanted",
        "idempotency_conflict",
    ),
)
def approve(entry_id: OpaqueId, found: OfficerCaller, call: Calls) -> Response:
    """Put a proposal of another officer in force."""

    def act(tx: Connection) -> ListEntry:
        at = call.application.clock.now()
        try:
            return approve_entry(tx, entry_id=entry_id, approved_by=found.own_person, at=at)
        except InvalidRecordError:  # nothing else can be wrong with a proposal that was kept
            raise ProblemError("second_person_wanted") from None

    return call.once_in_sql(act, EntryOut.of)


def _askable(tx: Connection, found: Caller, asked: Sequence[Subject]) -> Iterable[Subject]:
    """Return whom the caller may ask about; for a platform, of learners only its own."""
    if found.is_officer:
        return asked
    learner_ids = [subject_id for kind, subject_id in asked if kind is SubjectKind.LEARNER]
    own = brought_by(tx, found.own_platform_id, learner_ids) if learner_ids else set()
    return [each for each in asked if each[0] is not SubjectKind.LEARNER or each[1] in own]


def _standing(subject: Subject, listing: Listing | None, *, full: bool) -> StandingOut:
    kind, subject_id = subject
    listed = None if listing is None else listing.list_name
    if not full:
        return StandingOut(kind=kind, id=subject_id, listed=listed)
    return StandingOut(
        kind=kind,
        id=subject_id,
        listed=listed,
        reason_code=None if listing is None else listing.reason_code,
        since=None if listing is None else listing.since,
    )
