"""Accommodations: another way for a learner, proposed by one officer and approved by another."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy import Connection

from pipelines.accommodation_records import granted_entry, revoked_entry
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.lesson_store import LessonUnit
from pipelines.recording import recording
from service.http.callers import ApplicationOf, OfficerCaller, StaffCaller
from service.http.calls import Call, Calls, connection_of
from service.http.lists import Moment
from service.http.problem_responses import problems
from service.http.values import LongText, Message, OpaqueId
from service.sql import accommodations, registry
from service.sql.lesson_store import SqlLessonStore
from verifier.accommodation import AccommodationKind, Grant

MOST_WAITING: Final = 1000

_Leaf = Callable[[EvidenceStore, Grant], PreparedEntry]

router = APIRouter(tags=["accommodations"])


class GrantProposal(Message):
    """What an officer proposes; another has to approve it before it opens anything."""

    kind: AccommodationKind = Field(examples=["non_face"])
    reason: LongText = Field(
        repr=False,
        description="For officers only. No diagnosis: what was seen and agreed.",
        examples=["本人到场，核对身份证原件，不愿使用人脸识别"],
    )
    valid_from: Moment | None = Field(
        default=None, description="By default now; never in force before its approval."
    )
    valid_to: Moment = Field(examples=["2026-12-31T16:00:00Z"])


class GrantOut(Message):
    """A grant as officers see it; ``…_by`` name persons."""

    grant_id: str
    learner_id: str
    kind: AccommodationKind
    reason: str = Field(repr=False)
    valid_from: datetime
    valid_to: datetime
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    revoked_by: str | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, grant: Grant) -> "GrantOut":
        """Show a grant."""
        return cls(**{name: getattr(grant, name) for name in cls.model_fields})


class InForceOut(Message):
    """An accommodation that holds now; why is nobody's business but the officers'."""

    kind: AccommodationKind
    valid_to: datetime


class LearnerGrantsOut(Message):
    """What a learner was granted."""

    in_force: Sequence[InForceOut]
    grants: Sequence[GrantOut] = Field(
        default=(), description="Proposals, grants and revoked ones, by time; for officers."
    )


class WaitingGrantsOut(Message):
    """Proposals that wait for a second person, the oldest first."""

    waiting: int = Field(description="How many there are, shown here or not.")
    grants: Sequence[GrantOut]


@router.get(
    "/v1/learners/{learner_id}/accommodations",
    response_model_exclude_unset=True,
    responses=problems("unknown_subject"),
)
def list_accommodations(
    learner_id: OpaqueId, found: StaffCaller, application: ApplicationOf
) -> LearnerGrantsOut:
    """Return what is in force for a learner now; to officers all that was proposed, and why."""
    at = application.clock.now()
    with application.database.reading() as tx:
        if found.is_officer:
            registry.registered_at(tx, learner_id)
        else:
            registry.require_own_learner(
                tx, platform_id=found.own_platform_id, learner_id=learner_id
            )
        grants = accommodations.grants_of(tx, learner_id)
    in_force = [
        InForceOut(kind=grant.kind, valid_to=grant.valid_to)
        for grant in grants
        if grant.in_force(at)
    ]
    if not found.is_officer:
        return LearnerGrantsOut(in_force=in_force)
    return LearnerGrantsOut(in_force=in_force, grants=[GrantOut.of(grant) for grant in grants])


@router.get("/v1/accommodations", responses=problems())
def list_waiting_accommodations(
    _: OfficerCaller,
    application: ApplicationOf,
    limit: Annotated[int, Query(ge=1, le=MOST_WAITING)] = MOST_WAITING,
) -> WaitingGrantsOut:
    """List the accommodations that another officer has to approve."""
    with application.database.reading() as tx:
        count, grants = accommodations.waiting_grants(tx, limit=limit)
    return WaitingGrantsOut(waiting=count, grants=[GrantOut.of(grant) for grant in grants])


@router.post(
    "/v1/learners/{learner_id}/accommodations",
    status_code=201,
    response_model=GrantOut,
    responses=problems("unknown_subject", "invalid_record", "idempotency_conflict"),
)
def propose_accommodation(
    learner_id: OpaqueId, body: GrantProposal, found: OfficerCaller, call: Calls
) -> Response:
    """Propose an accommodation; it opens nothing until another officer approves it."""
    application = call.application

    def act(tx: Connection) -> Grant:
        now = application.clock.now()
        proposal = Grant(
            grant_id=secrets.token_hex(16),
            learner_id=learner_id,
            kind=body.kind,
            reason=body.reason,
            valid_from=body.valid_from or now,
            valid_to=body.valid_to,
            proposed_by=found.own_person,
            proposed_at=now,
        )
        longest_days = application.policy.non_face.longest_grant_days
        accommodations.propose_grant(tx, proposal, longest_days=longest_days)
        return proposal

    return call.once_in_sql(act, GrantOut.of, status=201)


@router.post(
    "/v1/accommodations/{grant_id}/approval",
    response_model=GrantOut,
    responses=problems(
        "unknown_grant",
        "already_approved",
        "grant_revoked",
        "grant_over",
        "second_person_wanted",
        "idempotency_conflict",
    ),
)
def approve_accommodation(grant_id: OpaqueId, found: OfficerCaller, call: Calls) -> Response:
    """Put another officer's proposal in force, for sessions that are opened from now on."""

    def act(tx: Connection) -> tuple[Grant, _Leaf | None]:
        at = call.application.clock.now()
        grant = accommodations.approve_grant(
            tx, grant_id=grant_id, approved_by=found.own_person, at=at
        )
        return grant, granted_entry

    return _on_record(call, act)


@router.delete(
    "/v1/accommodations/{grant_id}",
    response_model=GrantOut,
    responses=problems("unknown_grant", "idempotency_conflict"),
)
def revoke_accommodation(grant_id: OpaqueId, found: OfficerCaller, call: Calls) -> Response:
    """Revoke a grant, or take a proposal back; sessions that were opened under it go on."""

    def act(tx: Connection) -> tuple[Grant, _Leaf | None]:
        at = call.application.clock.now()
        grant, done = accommodations.revoke_grant(
            tx, grant_id=grant_id, revoked_by=found.own_person, at=at
        )
        # A proposal never opened anything, so the log need not say that it went.
        return grant, revoked_entry if done and grant.is_approved else None

    return _on_record(call, act)


def _on_record(call: Call, act: Callable[[Connection], tuple[Grant, _Leaf | None]]) -> Response:
    """Do an act on a grant, its leaf appended in the same unit of work."""
    application = call.application
    store, evidence = SqlLessonStore(application.database), application.archive.evidence

    def run(also: Callable[[LessonUnit, Grant], None]) -> None:
        with recording(store, evidence) as work:
            grant, leaf = act(connection_of(work.unit))
            if leaf is not None:
                work.append(leaf(evidence, grant))
            also(work.unit, grant)

    return call.once(run, lambda _, grant: GrantOut.of(grant))
