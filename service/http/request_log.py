"""One line for each request: method, route, status, milliseconds, request id.

The route is the template, ``/v1/sessions/{session_id}``, never the path: ids, queries, headers
and bodies stay out of the log. Run the server with its own access log switched off, for that one
writes the path.
"""

import logging
import re
import uuid
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"

_LOG = logging.getLogger("zhenxue.access")
# A UUID or a trace id of 32 hex digits: no identity or telephone number passes for one.
_ACCEPTED = re.compile("[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLog:
    """Names each request, tells the caller its name, and logs it when it is over."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request between its naming and its line in the log."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _accepted(Headers(scope=scope).get(HEADER)) or uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None

        async def named_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        began = perf_counter()
        try:
            await self._app(scope, receive, named_send)
        finally:
            _LOG.info(
                "%s %s %s %.1f ms request=%s",
                scope["method"] if scope["method"] in _METHODS else "OTHER",
                route_template(scope),
                "gone" if status is None else status,
                (perf_counter() - began) * 1000,
                request_id,
            )


def request_id_of(scope: Scope) -> str | None:
    """Return the name that :class:`RequestLog` gave the request."""
    request_id: str | None = scope.get("state", {}).get("request_id")
    return request_id


def route_template(scope: Scope) -> str:
    """Return the template of the route that was taken, ``-`` where there is none."""
    # FastAPI keeps the whole template of an included router's route beside the route, which
    # knows only its own part; without it the log would be shorter, not leakier.
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    return getattr(route, "path_format", "-")


def _accepted(offered: str | None) -> str | None:
    return offered if offered is not None and _ACCEPTED.fullmatch(offered) else None
