"""Calibrations: how much a comparison score says, proposed by one officer, approved by another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from pipelines.duplicates import DuplicateSearch
from service.application import Application, warn_if_blind
from service.http.callers import ApplicationOf, OfficerCaller
from service.http.calls import Calls
from service.http.problem_responses import problems
from service.http.values import Message, OpaqueId
from service.sql.calibrations import KnownCalibration

router = APIRouter(tags=["calibrations"])

_DOCUMENT: Final = {
    "requestBody": {
        "required": True,
        "description": "What `zhenxue calibrate` writes, format zhenxue/calibration/v1.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class ActivationOut(Message):
    """A proposal, and the approval that put it in force."""

    proposed_by: str | None = Field(description="null: it came with the program.")
    proposed_at: datetime
    approved_by: str | None = Field(description="null: built in, which takes no approval.")
    approved_at: datetime | None


class CalibrationOut(Message):
    """A calibration and the persons behind it."""

    calibration_id: str = Field(description="SHA-256 of the document; sessions carry it.")
    label: str = Field(description="For people: the name, and the beginning of the id.")
    contract_id: str = Field(description="Whose templates it is for: pack and pre-processing.")
    active: bool = Field(description="Whether sessions opened now are judged by it.")
    finds_duplicates: bool | None = Field(
        description="Whether any two faces can be alike enough under it to open a case, among as "
        "many as are enrolled now; null: it is for another contract."
    )
    proposed_by: str | None = Field(description="null: it came with the program.")
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    earlier: Sequence[ActivationOut] = Field(
        description="How it came to be in force before it was proposed once more."
    )
    document: Mapping[str, Any]

    @classmethod
    def of(cls, known: KnownCalibration, duplicates: DuplicateSearch) -> "CalibrationOut":
        """Show a calibration, and what it lets the search for duplicates find."""
        shown = known.calibration
        used = shown.contract_id == duplicates.gallery.contract_id
        return cls(
            calibration_id=shown.calibration_id,
            label=shown.label,
            contract_id=shown.contract_id,
            active=known.active,
            finds_duplicates=not duplicates.is_blind(shown) if used else None,
            proposed_by=known.proposed_by,
            proposed_at=known.proposed_at,
            approved_by=known.approved_by,
            approved_at=known.approved_at,
            earlier=[ActivationOut(**asdict(each)) for each in known.earlier],
            document=shown.to_json(),
        )


class CalibrationsOut(Message):
    """All calibrations on record, the latest proposal first."""

    contract_id: str = Field(description="In use: a proposal has to be for it.")
    calibrations: Sequence[CalibrationOut]


async def _body(request: Request) -> bytes:
    return await request.body()


# As it came: two readers of one document have to agree on every number and every key.
Document = Annotated[bytes, Depends(_body)]


@router.get("/v1/calibrations", responses=problems())
def list_calibrations(_: OfficerCaller, application: ApplicationOf) -> CalibrationsOut:
    """List the calibrations on record: which one judges now, which ones wait for approval."""
    book = application.calibrations
    with application.database.reading() as tx:
        known = book.known(tx)
    shown = [CalibrationOut.of(each, application.enroller.duplicates) for each in known]
    return CalibrationsOut(contract_id=book.contract_id, calibrations=shown)


@router.post(
    "/v1/calibrations",
    status_code=201,
    response_model=CalibrationOut,
    responses=problems("invalid_record", "already_approved", "idempotency_conflict"),
    openapi_extra=_DOCUMENT,
)
def propose_calibration(document: Document, found: OfficerCaller, call: Calls) -> Response:
    """Propose a calibration; nobody is judged by it until another officer approves it."""
    application, book = call.application, call.application.calibrations
    proposed = book.parse(document)

    def act(tx: Connection) -> KnownCalibration:
        at = application.clock.now()
        return book.propose(tx, proposed, proposed_by=found.own_person, at=at)

    return call.once_in_sql(act, _shown(application), status=201)


@router.post(
    "/v1/calibrations/{calibration_id}/approval",
    response_model=CalibrationOut,
    responses=problems(
        "unknown_calibration", "already_approved", "second_person_wanted", "idempotency_conflict"
    ),
)
def approve_calibration(calibration_id: OpaqueId, found: OfficerCaller, call: Calls) -> Response:
    """Put another officer's calibration in force; sessions in progress keep their own."""
    application = call.application

    def act(tx: Connection) -> KnownCalibration:
        done = application.calibrations.approve(
            tx,
            calibration_id=calibration_id,
            approved_by=found.own_person,
            at=application.clock.now(),
        )
        warn_if_blind(application.enroller.duplicates, done.calibration)
        return done

    return call.once_in_sql(act, _shown(application))


def _shown(application: Application) -> Callable[[KnownCalibration], CalibrationOut]:
    return partial(CalibrationOut.of, duplicates=application.enroller.duplicates)
