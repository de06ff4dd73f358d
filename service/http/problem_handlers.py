"""Which error becomes which problem. Start at :func:`install_problem_handlers`."""

import errno
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic_core.core_schema import ErrorType
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.delivery import TooManyStreamsError
from service.http.failures import log_failure
from service.http.problems import PROBLEMS, FieldProblem, Problem, ProblemError, problem_response
from service.http.request_log import request_id_of
from service.http.values import WANTED
from service.live.live_state import LiveStateUnavailableError
from service.playback import TooManyHeartbeatsError
from service.sql.accommodations import UnknownGrantError
from service.sql.calibrations import UnknownCalibrationError
from service.sql.cases import UnknownCaseError
from service.sql.errors import CommitUncertainError, StorageBusyError, StorageError
from service.turns import BusyError
from service.uploads import (
    DigestMismatchError,
    IncompleteUploadError,
    TooLongError,
    TooManyUploadsError,
    UnknownUploadError,
    WrongOffsetError,
)
from verifier.errors import (
    ContractMismatchError,
    IdentityAuthorityUnavailableError,
    InputError,
    InvalidRecordError,
    LedgerError,
    ModelUnavailableError,
    ProtocolError,
    UnknownSubjectError,
    UnreadableImageError,
    VerifierError,
)

# Read by the most special class. Errors without a row are faults of the engine: `internal`.
_CODES: Mapping[type[Exception], str] = {
    UnreadableImageError: "unreadable_image",
    InvalidRecordError: "invalid_record",
    UnknownCaseError: "unknown_case",
    UnknownCalibrationError: "unknown_calibration",
    UnknownGrantError: "unknown_grant",
    UnknownSubjectError: "unknown_subject",
    InputError: "invalid_input",
    ContractMismatchError: "enrolment_outdated",
    ModelUnavailableError: "model_unavailable",
    IdentityAuthorityUnavailableError: "identity_authority_unavailable",
    LiveStateUnavailableError: "live_state_unavailable",
    StorageBusyError: "storage_busy",
    CommitUncertainError: "commit_uncertain",
    StorageError: "storage_unavailable",
    LedgerError: "ledger_unverified",
    BusyError: "busy",
    TooManyStreamsError: "too_many_streams",
    TooManyHeartbeatsError: "rate_limited",
    UnknownUploadError: "unknown_upload",
    WrongOffsetError: "wrong_offset",
    IncompleteUploadError: "upload_incomplete",
    DigestMismatchError: "digest_mismatch",
    TooLongError: "body_too_large",
    TooManyUploadsError: "too_many_uploads",
}

# Only these were written for the caller; what other errors say is about the engine's inside.
_TOLD = (InputError, ProtocolError)

_HTTP_CODES: Mapping[int, str] = {
    # FastAPI raises 400 where a body cannot be parsed: nested too deep, or a huge number.
    HTTPStatus.BAD_REQUEST: "malformed_body",
    HTTPStatus.UNAUTHORIZED: "unauthenticated",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.NOT_ACCEPTABLE: "not_acceptable",
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "wrong_content_type",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
}

MOST_ERRORS_TOLD: Final = 20

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

# A message of pydantic holds what was sent where one of these goes into it, or where it is not
# pydantic's own: a validator's exception says whatever its author wrote.
_ECHOING = frozenset({"error", "encoding_error", "tag", "tz_actual", "attribute"})
_OWN_TYPES = frozenset(get_args(ErrorType))
# A key that was sent is shown only if it looks like the name of a field: an identity number used
# as a key does not.
_FIELD_NAME = re.compile("[A-Za-z_][A-Za-z_-]{0,63}")


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every foreseen error with a problem; :class:`FailureGuard` answers the rest."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(VerifierError, _on_verifier_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OSError, _on_os_error)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - tells mypy what it is registered for
    return _respond(request, error.problem, error)


async def _on_verifier_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VerifierError)  # noqa: S101 - likewise
    return _respond(request, problem_of(error), error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
    errors = error.errors()
    if any(each["type"] == "json_invalid" for each in errors):
        return _respond(request, Problem.of("malformed_body"), error)
    fields = tuple(_field_problem(each) for each in errors[:MOST_ERRORS_TOLD])
    return _respond(request, Problem.of("invalid_input", errors=fields), error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - likewise
    problem = Problem.of(_http_code(error.status_code))
    return _respond(request, problem, error, headers=error.headers)


async def _on_os_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, OSError) or error.errno not in _DISK_ERRORS:
        raise error
    return _respond(request, Problem.of("storage_unavailable"), error)


def problem_of(error: VerifierError) -> Problem:
    """Return what the caller is told of an error that was raised on purpose."""
    if isinstance(error, ProtocolError):
        code = error.code if error.code in PROBLEMS else "not_allowed_now"
        return Problem.of(code, detail=str(error))
    code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), "internal")
    if code == "ledger_unverified" and isinstance(error.__cause__, OSError):
        code = "storage_unavailable"  # nothing is wrong with what is stored; the disk refused
    return Problem.of(
        code,
        detail=str(error) if isinstance(error, _TOLD) else None,
        reason=error.code if isinstance(error, UnreadableImageError) else None,
    )


def _http_code(status: int) -> str:
    fallback = "malformed_request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal"
    return _HTTP_CODES.get(status, fallback)


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    own = error["type"] in {*_OWN_TYPES, WANTED} and not _ECHOING & error.get("ctx", {}).keys()
    wanted = error["msg"] if own else "another form of value"
    return FieldProblem(field=_path(error["loc"]), wanted=wanted)


def _path(location: Iterable[int | str]) -> str:
    shown = (
        str(part) if isinstance(part, int) or _FIELD_NAME.fullmatch(part) else "…"
        for part in location
    )
    return ".".join(shown)


def _respond(
    request: Request,
    problem: Problem,
    error: Exception,
    *,
    headers: Mapping[str, str] | None = None,
) -> Response:
    request_id = request_id_of(request.scope)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log_failure(error, request_id=request_id)
    return problem_response(problem, request_id=request_id, headers=headers)
