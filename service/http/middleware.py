"""What lies around every route, and in which order."""

from fastapi import FastAPI

from service.http.body_limit import BodyGate, BodyLimits, FindCaller
from service.http.failures import FailureGuard
from service.http.request_log import RequestLog
from service.http.response_headers import ResponseHeaders
from verifier.protocols import Clock


def find_nobody(_: str | None) -> None:
    """Know nobody, so that no large body is read."""


def install_middleware(
    app: FastAPI, *, clock: Clock, limits: BodyLimits, find_caller: FindCaller = find_nobody
) -> None:
    """Put the layers around the application; the one added last lies outermost.

    RequestLog names the request first, for all others tell or log that name; FailureGuard lies
    outside of whatever may fail; BodyGate comes last, next to the application it protects.
    """
    app.add_middleware(BodyGate, clock=clock, limits=limits, find_caller=find_caller)
    app.add_middleware(FailureGuard)
    app.add_middleware(ResponseHeaders, clock=clock)
    app.add_middleware(RequestLog)
