"""A witness over HTTP (c2sp.org/tlog-witness): no key needed, nothing but public facts told.

===========================================  ======================================================
``POST /add-checkpoint``                     a cosignature, or why there is none
``GET /{SHA-256 of the origin}/checkpoint``  the checkpoint cosigned last of that log
``GET /alarms``                              what was refused and looks like fraud
``GET /alarms/{name}``                       the evidence of one: both signed checkpoints
===========================================  ======================================================
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import FastAPI, Path, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from pipelines.witness import ALARMS, Witness, WitnessReply
from pipelines.witness_alarms import read_alarm, read_alarms
from verifier.errors import LedgerError
from verifier.transparency.witness_request import SIZE_TYPE, Refusal

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 64 * 1024
"""63 hashes and a checkpoint with post-quantum signatures take less than half of it."""
ARRIVES_WITHIN_S: Final = 10.0

_STATUS: Final = {
    Refusal.MALFORMED: HTTPStatus.BAD_REQUEST,
    Refusal.UNKNOWN_LOG: HTTPStatus.NOT_FOUND,
    Refusal.UNTRUSTED: HTTPStatus.FORBIDDEN,
    Refusal.STALE: HTTPStatus.CONFLICT,
    Refusal.INCONSISTENT: HTTPStatus.UNPROCESSABLE_ENTITY,
}

AlarmName = Annotated[str, Path(pattern=r"^[0-9a-f]{16}-[a-z]+-[0-9a-f]{16}\.json$")]
OriginDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def create_witness_app(witness: Witness) -> FastAPI:
    """Return the application that serves ``witness``."""
    app = FastAPI(openapi_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        """Cosign a checkpoint that grew out of the one cosigned last."""
        try:
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                body = await _read(request)
        except (TimeoutError, ClientDisconnect):
            return _closing("the request took too long", HTTPStatus.REQUEST_TIMEOUT)
        if body is None:
            most = f"at most {MOST_BYTES} bytes are accepted"
            return _closing(most, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            reply = await run_in_threadpool(witness.add_checkpoint, body)
        except LedgerError as error:
            logger.error("nothing can be cosigned: %s", error)  # noqa: TRY400 - it says it all
            return _text("nothing can be cosigned", HTTPStatus.INTERNAL_SERVER_ERROR)
        return _rendered(reply)

    @app.get("/{origin_sha256}/checkpoint")
    def get_checkpoint(origin_sha256: OriginDigest) -> Response:
        """Return the checkpoint cosigned last."""
        found = witness.latest(origin_sha256)
        if found is None:
            return _text("no checkpoint of that log was cosigned", HTTPStatus.NOT_FOUND)
        return PlainTextResponse(found)

    @app.get("/alarms")
    def get_alarms() -> Response:
        """Return what was refused and looks like fraud, the oldest first."""
        found = read_alarms(witness.folder / ALARMS)
        return JSONResponse([alarm.to_record() for alarm in found])

    @app.get("/alarms/{name}")
    def get_alarm(name: AlarmName) -> Response:
        """Return the evidence of one alarm."""
        alarm = read_alarm(witness.folder / ALARMS, name)
        if alarm is None:
            return _text("there is no such alarm", HTTPStatus.NOT_FOUND)
        return JSONResponse(dict(alarm.evidence))

    return app


async def _read(request: Request) -> bytes | None:
    """Return the body; None if it is too large, of which no more than that is read."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _rendered(reply: WitnessReply) -> Response:
    if reply.refused is None:
        return PlainTextResponse(reply.line)
    if reply.refused.refusal is Refusal.STALE:
        # As a bare header: a media type beginning with text/ would get a charset appended.
        headers = {"Content-Type": SIZE_TYPE}
        return Response(f"{reply.size}\n", HTTPStatus.CONFLICT, headers)
    return _text(reply.refused.why, _STATUS[reply.refused.refusal])


def _text(why: str, status: HTTPStatus) -> Response:
    return PlainTextResponse(f"{why}\n", status)


def _closing(why: str, status: HTTPStatus) -> Response:
    # What is left of the body would be taken for the next request.
    return PlainTextResponse(f"{why}\n", status, {"Connection": "close"})
