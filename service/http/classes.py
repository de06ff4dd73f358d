"""Classes: applied for by a platform, approved by an officer; who is on the roster."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import BeforeValidator, Field, ValidationInfo
from sqlalchemy import Connection

from service.http.callers import ApplicationOf, OfficerCaller, PlatformCaller, StaffCaller
from service.http.calls import Calls
from service.http.problem_responses import problems
from service.http.values import Message, OpaqueId, ShortText
from service.sql import training_classes
from service.sql.training_classes import TrainingClass
from verifier.eligibility_facts import LEAST_CREDIT_HOURS, ClassFact, RosterFact
from verifier.errors import InputError

MOST_CREDIT_HOURS: Final = 10_000

_EARLIEST_DAY: Final = date(2000, 1, 1)
_LATEST_DAY: Final = date(2199, 12, 31)

router = APIRouter(tags=["classes"])


def _day(value: object, info: ValidationInfo) -> date:
    # Pydantic by itself would take a number for the seconds since 1970.
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        day = None
    if day is None or not _EARLIEST_DAY <= day <= _LATEST_DAY:
        wanted = f"a day from {_EARLIEST_DAY} to {_LATEST_DAY}, as YYYY-MM-DD"
        raise InputError(f"{info.field_name}: {wanted}, was wanted")
    return day


Day = Annotated[date, BeforeValidator(_day)]


class ClassApplication(Message):
    """A class to be approved: 开班申请."""

    class_id: OpaqueId = Field(
        description="Chosen by the platform, unique among all.", examples=["cook-2026-03"]
    )
    institution_id: OpaqueId = Field(examples=["school-17"])
    title: ShortText = Field(examples=["中式烹调师（初级）"])
    starts_on: Day = Field(description="First day, in China.", examples=["2026-03-01"])
    ends_on: Day = Field(description="Last day, included.", examples=["2026-04-30"])
    required_credit_hours: float = Field(
        ge=LEAST_CREDIT_HOURS,
        le=MOST_CREDIT_HOURS,
        strict=True,
        allow_inf_nan=False,
        description="学时 that a learner has to attend.",
        examples=[40],
    )


class ClassStatus(StrEnum):
    """Where an application stands."""

    APPLIED = "applied"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"


class ClassOut(Message):
    """A class and where its application stands."""

    class_id: str
    platform_id: str
    institution_id: str
    title: str
    starts_on: date
    ends_on: date
    required_credit_hours: float
    status: ClassStatus
    applied_at: datetime
    approved_at: datetime | None
    withdrawn_at: datetime | None

    @classmethod
    def of(cls, known: TrainingClass) -> "ClassOut":
        """Show a class."""
        fact = known.fact
        return cls(
            class_id=known.class_id,
            platform_id=fact.platform_id,
            institution_id=fact.institution_id,
            title=known.title,
            starts_on=fact.starts_on,
            ends_on=fact.ends_on,
            required_credit_hours=fact.required_credit_hours,
            status=_status(fact),
            applied_at=fact.applied_at,
            approved_at=fact.approved_at,
            withdrawn_at=fact.withdrawn_at,
        )


class RosterOut(Message):
    """A learner's latest time on a roster."""

    class_id: str
    learner_id: str
    added_at: datetime
    removed_at: datetime | None


@router.post(
    "/v1/classes",
    status_code=201,
    response_model=ClassOut,
    responses=problems("invalid_record", "class_exists", "idempotency_conflict"),
)
def apply_for_class(body: ClassApplication, found: PlatformCaller, call: Calls) -> Response:
    """Apply for a class; the same application again changes nothing."""
    fact = ClassFact(
        institution_id=body.institution_id,
        platform_id=found.own_platform_id,
        applied_at=call.application.clock.now(),
        approved_at=None,
        withdrawn_at=None,
        starts_on=body.starts_on,
        ends_on=body.ends_on,
        required_credit_hours=body.required_credit_hours,
    )

    def act(tx: Connection) -> TrainingClass:
        return training_classes.apply_for_class(
            tx, class_id=body.class_id, title=body.title, fact=fact
        )

    return call.once_in_sql(act, ClassOut.of, status=201)


@router.get("/v1/classes/{class_id}", responses=problems("unknown_subject"))
def get_class(class_id: OpaqueId, found: StaffCaller, application: ApplicationOf) -> ClassOut:
    """Return a class and where its application stands."""
    with application.database.reading() as tx:
        # An officer's platform is None, which asks for any class.
        return ClassOut.of(training_classes.class_of(tx, class_id, platform_id=found.platform_id))


@router.post(
    "/v1/classes/{class_id}/approval",
    response_model=ClassOut,
    responses=problems("unknown_subject", "class_withdrawn", "idempotency_conflict"),
)
def approve_class(class_id: OpaqueId, found: OfficerCaller, call: Calls) -> Response:
    """Approve a class; one that is approved keeps its first approval."""

    def act(tx: Connection) -> TrainingClass:
        at = call.application.clock.now()
        return training_classes.approve_class(
            tx, class_id=class_id, approved_by=found.own_person, at=at
        )

    return call.once_in_sql(act, ClassOut.of)


@router.delete("/v1/classes/{class_id}/approval", responses=problems("unknown_subject"))
def withdraw_class(
    class_id: OpaqueId, _found: OfficerCaller, application: ApplicationOf
) -> ClassOut:
    """Withdraw a class for good, whether it was approved or not."""
    with application.database.writing() as tx:
        at = application.clock.now()
        return ClassOut.of(training_classes.withdraw_class(tx, class_id=class_id, at=at))


@router.put(
    "/v1/classes/{class_id}/roster/{learner_id}",
    responses=problems("unknown_subject", "class_withdrawn"),
)
def add_to_roster(
    class_id: OpaqueId, learner_id: OpaqueId, found: PlatformCaller, application: ApplicationOf
) -> RosterOut:
    """Put a learner on a class's roster; who is on it already stays since then."""
    with application.database.writing() as tx:
        fact = training_classes.add_to_roster(
            tx,
            platform_id=found.own_platform_id,
            class_id=class_id,
            learner_id=learner_id,
            at=application.clock.now(),
        )
    return _roster(class_id, learner_id, fact)


@router.delete(
    "/v1/classes/{class_id}/roster/{learner_id}",
    responses=problems("unknown_subject"),
)
def remove_from_roster(
    class_id: OpaqueId, learner_id: OpaqueId, found: PlatformCaller, application: ApplicationOf
) -> RosterOut:
    """Take a learner off a class's roster; that they were on it stays on record."""
    with application.database.writing() as tx:
        training_classes.remove_from_roster(
            tx,
            platform_id=found.own_platform_id,
            class_id=class_id,
            learner_id=learner_id,
            at=application.clock.now(),
        )
        fact = training_classes.roster_fact(tx, class_id=class_id, learner_id=learner_id)
    assert fact is not None  # noqa: S101 - tells mypy: it was just there to be ended
    return _roster(class_id, learner_id, fact)


def _roster(class_id: str, learner_id: str, fact: RosterFact) -> RosterOut:
    return RosterOut(
        class_id=class_id,
        learner_id=learner_id,
        added_at=fact.added_at,
        removed_at=fact.removed_at,
    )


def _status(fact: ClassFact) -> ClassStatus:
    if fact.withdrawn_at is not None:
        return ClassStatus.WITHDRAWN
    return ClassStatus.APPLIED if fact.approved_at is None else ClassStatus.APPROVED
