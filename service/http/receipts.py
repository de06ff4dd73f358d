"""Receipts, and what anybody needs to check one: the log's latest checkpoint and its key."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import PlainTextResponse
from sqlalchemy import Connection

from service.http.callers import AnyCaller, ApplicationOf, Caller
from service.http.problem_responses import problems
from service.http.problems import ProblemError
from service.sql import registry
from service.sql.session_index import EvidencePlace, place_of_evidence
from verifier.errors import UnknownSubjectError

_UNKNOWN: Final = "there is no evidence with that id"

EvidenceId = Annotated[
    str,
    Path(pattern=r"^[0-9a-f]{64}$", description="From the reply to an answer or an enrolment."),
]

router = APIRouter(tags=["receipts"])


@router.get(
    "/v1/receipts/{evidence_id}",
    response_class=PlainTextResponse,
    responses=problems("unknown_subject", "evidence_pending"),
)
def get_receipt(
    evidence_id: EvidenceId, found: AnyCaller, application: ApplicationOf
) -> PlainTextResponse:
    """Return the proof that evidence is in the log, to be checked without this service."""
    with application.database.reading() as tx:
        place = place_of_evidence(tx, evidence_id)
        if not _is_own(tx, found, place):
            raise UnknownSubjectError(_UNKNOWN)
    if place.index >= application.archive.checkpoint.size:
        raise ProblemError("evidence_pending")
    return PlainTextResponse(application.archive.receipt(place.index).decode("utf-8"))


@router.get("/v1/log/checkpoint", response_class=PlainTextResponse)
def get_checkpoint(application: ApplicationOf) -> PlainTextResponse:
    """Return the log's latest checkpoint, a signed note; needs no key."""
    return PlainTextResponse(application.archive.reader.checkpoint_bytes().decode("utf-8"))


@router.get("/v1/log/key", response_class=PlainTextResponse)
def get_log_key(application: ApplicationOf) -> PlainTextResponse:
    """Return the log's public key, with which checkpoints and receipts are checked."""
    return PlainTextResponse(application.archive.verifier.vkey + "\n")


def _is_own(tx: Connection, found: Caller, place: EvidencePlace) -> bool:
    if found.is_officer:
        return True
    if found.access is not None:
        return place.session_id == found.access.session_id
    if place.platform_id is not None:
        return place.platform_id == found.platform_id
    # An enrolment belongs to the learner: to every platform that brought them.
    return _brought(tx, found.own_platform_id, place.learner_id)


def _brought(tx: Connection, platform_id: str, learner_id: str) -> bool:
    try:
        registry.require_own_learner(tx, platform_id=platform_id, learner_id=learner_id)
    except UnknownSubjectError:
        return False
    return True
