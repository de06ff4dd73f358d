"""Answers in parts: what a network that breaks off did carry need not be sent again.

The bytes that are put together are exactly the body of ``POST …/answer``. Names and meanings of
the headers are those of tus 1.0 (https://tus.io/protocols/resumable-upload).
"""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError
from starlette.requests import ClientDisconnect

from pipelines.lesson_input import SignedAnswer
from service.device_keys import DeviceKey
from service.http.callers import (
    AnyCaller,
    ApplicationOf,
    Caller,
    SecretShown,
    ShownSecret,
    require_allowance,
)
from service.http.calls import Calls
from service.http.problem_handlers import problem_of
from service.http.problem_responses import problems
from service.http.problems import ProblemError, problem_response
from service.http.prompts import AnswerIn, AnswerOut, announce, answer_body, asked_by
from service.http.request_log import request_id_of
from service.http.values import WANTED, Base64Bytes, Message, OpaqueId
from service.uploads import (
    LONGEST_ANSWER_BYTES,
    Announcement,
    Part,
    Upload,
    WrongOffsetError,
)
from verifier.errors import ProtocolError
from verifier.prompt import RECEIVING_S

PART_TYPE: Final = "application/offset+octet-stream"
PART_WITHIN_S: Final = 60.0
"""Of real time. What arrived by then is kept, and the upload's own end may come before."""

router = APIRouter(tags=["prompts"])

_OFFSET: Final = "Upload-Offset"
_PART_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {PART_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
UploadOffset = Annotated[
    int,
    Header(alias=_OFFSET, ge=0, le=LONGEST_ANSWER_BYTES, description="Bytes that have arrived."),
]


def _digest(value: bytes) -> bytes:
    if len(value) != 32:
        raise PydanticCustomError(WANTED, "32 bytes in base64 were wanted")
    return value


class UploadBeginning(Message):
    """An answer that is about to be sent in parts."""

    nonce: Base64Bytes = Field(examples=["q83vEjRWeJCrze8SNFZ4kA=="])
    bytes: Annotated[int, Field(gt=0, le=LONGEST_ANSWER_BYTES, strict=True, examples=[812_344])]
    sha256: Annotated[Base64Bytes, AfterValidator(_digest)] = Field(
        examples=["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
        description="Of all of it.",
    )


class UploadBegun(Message):
    """Where the parts go."""

    upload_id: str
    offset: int
    expires_at: datetime = Field(description="The whole has to be handed in by then.")


class UploadedAnswer(Message):
    """Hands an upload in as the answer."""

    proof: str | None = Field(
        default=None,
        max_length=200,
        description="In the engine's own frame: the `Zhenxue-Proof` that `POST …/answer` with "
        "these very bytes would have carried.",
    )


@router.post(
    "/v1/prompts/{prompt_id}/uploads",
    status_code=201,
    responses=problems(
        "unknown_subject",
        "wrong_nonce",
        "prompt_already_resolved",
        "deadline_passed",
        "session_over",
        "session_paused",
        "consent_missing",
        "too_many_uploads",
    ),
)
def begin_upload(
    prompt_id: OpaqueId,
    body: UploadBeginning,
    request: Request,
    found: AnyCaller,
    application: ApplicationOf,
) -> UploadBegun:
    """Begin to send an answer in parts; there is more time for them once it has begun."""
    asked = asked_by(application, found, prompt_id)
    limit = application.settings.answers_per_minute
    require_allowance(application, f"uploads:{asked.session_id}", limit)
    closes_at = announce(
        application, asked, body.nonce, body.sha256, arrived_at=request.state.arrived_at
    )
    announced = Announcement(
        session_id=asked.session_id,
        prompt_id=prompt_id,
        principal=found.principal,
        whose=found.budget,
        length=body.bytes,
        sha256=body.sha256,
        # A little longer than it is of use: who did not hear what came of it may ask again.
        expires_at=closes_at + timedelta(seconds=RECEIVING_S),
    )
    upload = application.uploads.begin(announced)
    return UploadBegun(upload_id=upload.upload_id, offset=0, expires_at=closes_at)


@router.patch(
    "/v1/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    openapi_extra=_PART_BODY,
    responses=problems("unknown_upload", "wrong_offset", "body_too_large", "request_timeout"),
)
async def add_part(
    upload_id: OpaqueId,
    request: Request,
    found: AnyCaller,
    application: ApplicationOf,
    offset: UploadOffset,
) -> Response:
    """Send the bytes from an offset on; those that arrive are kept, also if the rest does not."""
    try:
        part = application.uploads.go_on(upload_id, found.principal, offset=offset)
        await _receive(request, part)
    except WrongOffsetError as error:
        return _elsewhere(request, error)
    return Response(status_code=204, headers=_headers(part.upload))


@router.head(
    "/v1/uploads/{upload_id}",
    response_class=Response,
    responses=problems("unknown_upload"),
)
def upload_offset(upload_id: OpaqueId, found: AnyCaller, application: ApplicationOf) -> Response:
    """Tell in the header Upload-Offset how many bytes have arrived."""
    upload = application.uploads.of(upload_id, found.principal)
    return Response(headers={**_headers(upload), "Upload-Length": str(upload.announced.length)})


@router.delete(
    "/v1/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=problems("unknown_upload"),
)
def drop_upload(upload_id: OpaqueId, found: AnyCaller, application: ApplicationOf) -> Response:
    """Drop an upload; the prompt still waits for an answer."""
    application.uploads.drop(upload_id, found.principal)
    return Response(status_code=204)


@router.post(
    "/v1/uploads/{upload_id}/answer",
    response_model=AnswerOut,
    responses=problems(
        "unknown_upload",
        "upload_incomplete",
        "digest_mismatch",
        "unknown_subject",
        "wrong_nonce",
        "prompt_already_resolved",
        "deadline_passed",
        "answer_in_progress",
        "session_over",
        "consent_missing",
        "enrolment_outdated",
        "session_outdated",
        "idempotency_conflict",
        "busy",
    ),
)
def answer_with_upload(
    upload_id: OpaqueId, body: UploadedAnswer, request: Request, call: Calls, shown: SecretShown
) -> Response:
    """Judge what was uploaded, as if it had come at once."""
    uploads = call.application.uploads
    upload = uploads.of(upload_id, call.caller.principal)
    if upload.answered:
        return call.once(_judged_already, lambda _tx, _none: body)
    try:
        whole = uploads.whole(upload_id, call.caller.principal)
    except WrongOffsetError as error:
        return _elsewhere(request, error)
    answered = answer_body(
        upload.announced.prompt_id,
        _answer_of(whole),
        call=call,
        sha256=upload.announced.sha256,
        arrived_at=request.state.arrived_at,
        signed=_signed(call.caller, shown, upload, whole, body.proof),
    )
    uploads.answered(upload)
    return answered


async def _receive(request: Request, part: Part) -> None:
    """Keep what arrives, as it arrives."""
    try:
        async with asyncio.timeout(PART_WITHIN_S):
            async for chunk in request.stream():
                part.add(chunk)
    except TimeoutError:
        raise ProblemError("request_timeout") from None
    except ClientDisconnect:
        return  # nobody hears what is answered


def _answer_of(whole: bytes) -> AnswerIn:
    try:
        return AnswerIn.model_validate_json(whole)
    except ValidationError as error:
        wrong = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(wrong) from None


def _signed(
    found: Caller, shown: ShownSecret, upload: Upload, whole: bytes, proof: str | None
) -> SignedAnswer | None:
    """Return what a device signed of an answer that it sent in parts; None: there is no device.

    It is over the answer itself, so that evidence does not depend on how it travelled.
    """
    if found.access is None or found.access.public_key is None:
        return None
    as_one = ShownSecret(
        text=shown.text,
        proof=proof,
        method="POST",
        target=f"/v1/prompts/{upload.announced.prompt_id}/answer",
        body=whole,
        now=shown.now,
    )
    return as_one.signed_by(DeviceKey(found.access.public_key))


def _judged_already(_also: object) -> None:
    raise ProtocolError("prompt_already_resolved", "this upload was judged already")


def _headers(upload: Upload) -> dict[str, str]:
    return {_OFFSET: str(upload.offset)}


def _elsewhere(request: Request, error: WrongOffsetError) -> Response:
    """Refuse a part, and say where to go on."""
    return problem_response(
        problem_of(error),
        request_id=request_id_of(request.scope),
        headers={_OFFSET: str(error.offset)},
    )
