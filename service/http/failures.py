"""What nobody foresaw: told to the operator without values, and to the caller not at all.

The message of a foreign exception may hold anything: a database driver puts the statement and its
parameters into it. So only types and places are logged, and nothing is raised further: the server
around the application would log the message.
"""

import logging
from collections.abc import Iterator
from traceback import walk_tb

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import Problem, problem_response
from service.http.request_log import request_id_of
from verifier.errors import LedgerError, ModelUnavailableError

_LOG = logging.getLogger("zhenxue.failures")
# Written for the operator, who must act on them: which object is broken, which weights miss.
_TOLD = (LedgerError, ModelUnavailableError)


class ResponseCutShortError(Exception):
    """A response failed after its first byte; the connection is closed, so that it shows."""


class FailureGuard:
    """Turns whatever the application did not handle into a problem with code ``internal``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; answer for whatever fails."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception as error:  # noqa: BLE001 - the last place to catch anything
            log_failure(error, request_id=request_id_of(scope))
            if started:
                # `from None`: with the context the server would log the message after all.
                raise ResponseCutShortError("failed after the response began") from None
            response = problem_response(Problem.of("internal"), request_id=request_id_of(scope))
            await response(scope, receive, send)


def log_failure(error: BaseException, *, request_id: str | None) -> None:
    """Log the types and places of an error and of its causes: no variable, no foreign message."""
    chain = "\n".join(line for link in _chain(error) for line in _places(link))
    _LOG.error("failed request=%s\n%s", request_id or "-", chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then its causes, as far as they were not suppressed."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _places(error: BaseException) -> Iterator[str]:
    told = f": {error}" if isinstance(error, _TOLD) else ""
    yield f"{type(error).__module__}.{type(error).__qualname__}{told}"
    for frame, line in walk_tb(error.__traceback__):
        yield f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
