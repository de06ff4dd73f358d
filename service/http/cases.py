"""Cases for review: what the engine noticed, and what two officers found out about it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy import Connection

from service.http.callers import ApplicationOf, OfficerCaller
from service.http.calls import Calls
from service.http.problem_responses import problems
from service.http.values import Message, OpaqueId
from service.sql import cases
from verifier.review_case import CaseKind, CaseResolution, ReviewCase

MOST_CASES: Final = 1000

router = APIRouter(tags=["cases"])


class CaseOut(Message):
    """A case; officers only, for it says whose faces are alike."""

    case_id: str
    kind: CaseKind
    learner_ids: Sequence[str]
    opened_at: datetime
    stands: bool = Field(description="Whether it asks for a decision, and the gate refers.")
    finding: CaseResolution | None = Field(
        description="What two officers found, in force until two find something else."
    )
    resolution: CaseResolution | None = Field(
        description="As proposed; it is the finding once closed_at is there."
    )
    proposed_by: str | None
    proposed_at: datetime | None
    closed_by: str | None
    closed_at: datetime | None
    details: Mapping[str, Any] = Field(description="What was measured. For the console only.")

    @classmethod
    def of(cls, case: ReviewCase) -> "CaseOut":
        """Show a case."""
        return cls(**{name: getattr(case, name) for name in cls.model_fields})


class CasesOut(Message):
    """Cases, those that stand first, the oldest of them first."""

    standing: int = Field(description="How many ask for a decision, shown here or not.")
    cases: Sequence[CaseOut]


class ResolutionIn(Message):
    """What a case came to."""

    resolution: CaseResolution = Field(examples=["different_people"])


@router.get("/v1/cases", responses=problems())
def list_cases(
    _: OfficerCaller,
    application: ApplicationOf,
    limit: Annotated[int, Query(ge=1, le=MOST_CASES)] = MOST_CASES,
) -> CasesOut:
    """List cases for review, those that ask for a decision first."""
    with application.database.reading() as tx:
        found = cases.cases(tx, limit=limit)
        standing = cases.count_standing(tx)
    return CasesOut(standing=standing, cases=[CaseOut.of(case) for case in found])


@router.post(
    "/v1/cases/{case_id}/resolution",
    response_model=CaseOut,
    responses=problems("unknown_case", "case_closed", "idempotency_conflict"),
)
def propose_resolution(
    case_id: OpaqueId, body: ResolutionIn, found: OfficerCaller, call: Calls
) -> Response:
    """Propose what a case came to; it holds once another officer approves it."""

    def act(tx: Connection) -> ReviewCase:
        return cases.propose_resolution(
            tx,
            case_id=case_id,
            resolution=body.resolution,
            proposed_by=found.own_person,
            at=call.application.clock.now(),
        )

    return call.once_in_sql(act, CaseOut.of)


@router.post(
    "/v1/cases/{case_id}/approval",
    response_model=CaseOut,
    responses=problems(
        "unknown_case",
        "case_closed",
        "not_proposed",
        "second_person_wanted",
        "idempotency_conflict",
    ),
)
def approve_resolution(
    case_id: OpaqueId, body: ResolutionIn, found: OfficerCaller, call: Calls
) -> Response:
    """Close a case with what another officer proposed, named once more."""

    def act(tx: Connection) -> ReviewCase:
        return cases.approve_resolution(
            tx,
            case_id=case_id,
            resolution=body.resolution,
            closed_by=found.own_person,
            at=call.application.clock.now(),
        )

    return call.once_in_sql(act, CaseOut.of)
