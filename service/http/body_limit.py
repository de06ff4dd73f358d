"""What a request may bring along, and when it came.

1. The moment the headers arrived is noted, so that a deadline does not depend on how long the
   body takes or how busy the engine is.
2. A body that says by its headers that it is too large or no JSON is refused unread.
3. So is, where large ones may come, one of which nobody knows who sends it: or else whoever has
   no key could fill the memory with them.
4. The rest is read here, counted and timed, before the application sees any of it: a body that
   lies about its length, trickles, or breaks off starts nothing.

Reading it whole costs nothing, since FastAPI does so too before it looks at credentials.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.failures import log_failure
from service.http.problem_handlers import problem_of
from service.http.problems import Problem, ProblemError, problem_response
from service.http.request_log import request_id_of
from verifier.errors import VerifierError
from verifier.protocols import Clock

T = TypeVar("T")
D = TypeVar("D")
FindCaller: TypeAlias = Callable[[str | None], object | None]

# No body is near as long, and Python refuses to read a number of thousands of digits.
_MOST_LENGTH_DIGITS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How many bytes a body may have, and how long it may take.

    Attributes
    ----------
    by_route
        Bytes by the template of the path, for example ``/v1/prompts/{prompt_id}/answer``.
    default_bytes
        Bytes for every other path, the unknown ones included.
    arrives_within_s
        Seconds of real time from the headers to the last byte of the body.
    slower_s
        The same by the template of the path, where a body may take longer.
    read_by_route
        Media types by the template of the path, where the route itself reads the body of a PATCH,
        counts and times it: what arrived stays although the rest does not.
    """

    by_route: Mapping[str, int] = field(default_factory=dict)
    default_bytes: int = 64 * 1024
    arrives_within_s: float = 30.0
    slower_s: Mapping[str, float] = field(default_factory=dict)
    read_by_route: Mapping[str, str] = field(default_factory=dict)


class _CallerGoneError(Exception):
    """The connection ended before the body did; there is nobody to answer."""


class BodyGate:
    """Lets through requests whose body is JSON, small enough and there in time.

    Parameters
    ----------
    find_caller
        Says whose an ``Authorization`` header is, itself None where there is none; None: nobody's.
        Asked in a thread, since it may look into a database. Who was found is the request's
        ``state.caller``, so that nobody has to be looked up twice.
    """

    def __init__(
        self, app: ASGIApp, *, clock: Clock, limits: BodyLimits, find_caller: FindCaller
    ) -> None:
        self._app = app
        self._clock = clock
        self._limits = limits
        self._find_caller = find_caller
        self._bytes, self._seconds = _ByPath(limits.by_route), _ByPath(limits.slower_s)
        self._parts = _ByPath(limits.read_by_route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["arrived_at"] = self._clock.now()
        try:
            receive = await self._admit(scope, receive)
        except ProblemError as error:
            await _refuse(error.problem, scope, receive, send)
        except VerifierError as error:
            log_failure(error, request_id=request_id_of(scope))
            await _refuse(problem_of(error), scope, receive, send)
        except _CallerGoneError:
            return
        else:
            await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        most = self._bytes.at(scope["path"], self._limits.default_bytes)
        within_s = self._seconds.at(scope["path"], self._limits.arrives_within_s)
        part = self._parts.at(scope["path"], None) if scope["method"] == "PATCH" else None
        length = _declared_length(headers)
        if length > most:
            raise _too_large(most)
        if part is not None:
            _require_type(headers, part)
        elif length or "transfer-encoding" in headers:
            _require_json(headers)
        if most > self._limits.default_bytes:
            scope["state"]["caller"] = await self._require_known(headers)
        if part is not None:
            return receive
        try:
            async with asyncio.timeout(within_s):
                return _replay(await _read(receive, most), receive)
        except TimeoutError:
            raise ProblemError("request_timeout") from None

    async def _require_known(self, headers: Headers) -> object:
        found = await run_in_threadpool(self._find_caller, headers.get("authorization"))
        if found is None:
            raise ProblemError("unauthenticated")
        return found


class _ByPath(Generic[T]):
    """Values by the template of a path."""

    def __init__(self, by_template: Mapping[str, T]) -> None:
        self._patterns = [(compile_path(path)[0], value) for path, value in by_template.items()]

    def at(self, path: str, default: D) -> T | D:
        return next((found for pattern, found in self._patterns if pattern.match(path)), default)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    # What is left of the body would be taken for the next request: the connection ends.
    refusal = problem_response(
        problem, request_id=request_id_of(scope), headers={"Connection": "close"}
    )
    await refusal(scope, receive, send)


async def _read(receive: Receive, most: int) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _CallerGoneError
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        more = message.get("more_body", False)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that hands out the body once, then what the connection says."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again


def _declared_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_LENGTH_DIGITS):
        raise ProblemError("malformed_request", detail="Content-Length is not a number of bytes")
    return int(text)


def _require_json(headers: Headers) -> None:
    _, _, parameters = headers.get("content-type", "").partition(";")
    if parameters.replace(" ", "").replace('"', "").lower() not in {"", "charset=utf-8"}:
        raise ProblemError("wrong_content_type")
    _require_type(headers, "application/json")


def _require_type(headers: Headers, wanted: str) -> None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        told = None if wanted == "application/json" else f"{wanted} was wanted"
        raise ProblemError("wrong_content_type", detail=told)
    # A few compressed bytes may unfold into gigabytes; nobody needs it for pictures.
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProblemError("wrong_content_type", detail="a Content-Encoding is not accepted")


def _too_large(most: int) -> ProblemError:
    return ProblemError("body_too_large", detail=f"at most {most} bytes are accepted here")
