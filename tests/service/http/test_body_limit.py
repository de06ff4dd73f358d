"""What is refused before a route sees it, and when a request counts as arrived."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from threading import get_ident
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from pipelines.clock import ManualClock
from service.http.body_limit import BodyGate, BodyLimits, FindCaller
from service.http.middleware import install_middleware
from service.http.problem_handlers import install_problem_handlers
from service.sql.errors import StorageError
from tests.service.http.asgi_client import call

ARRIVED_AT = datetime(2026, 1, 15, 8, tzinfo=UTC)
JSON = {"content-type": "application/json"}
KEY = "Bearer somebody's"
LIMITS = BodyLimits(by_route={"/v1/prompts/{prompt_id}/answer": 100}, default_bytes=10)


def known(shown: str | None) -> str | None:
    return "somebody" if shown == KEY else None


def app_with_limits() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    clock = ManualClock(ARRIVED_AT)
    install_middleware(app, clock=clock, limits=LIMITS, find_caller=known)

    async def length(request: Request) -> dict[str, Any]:
        body = await request.body()
        caller = getattr(request.state, "caller", None)
        arrived_at = request.state.arrived_at.isoformat()
        return {"bytes": len(body), "arrived_at": arrived_at, "caller": caller}

    methods = ["GET", "POST", "PUT"]
    app.add_api_route("/v1/prompts/{prompt_id}/answer", length, methods=methods)
    app.add_api_route("/v1/sessions", length, methods=methods)
    return app


def post(content: Any, *, path: str = "/v1/sessions", **headers: str) -> httpx.Response:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {**JSON, "authorization": KEY, **changed}
    return call(app_with_limits(), "POST", path, content=content, headers=sent)


async def trickle(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(("path", "most"), [("/v1/sessions", 10), ("/v1/prompts/p1/answer", 100)])
def test_the_largest_body_and_one_byte_more(path: str, most: int) -> None:
    assert post(b" " * most, path=path).json()["bytes"] == most
    refused = post(b" " * (most + 1), path=path)
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
    assert refused.json()["detail"] == f"at most {most} bytes are accepted here"
    assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/v1/prompts/p1/answer/more", "/v1/prompts//answer", "/", "/x"])
def test_a_path_that_only_resembles_one_has_the_small_limit(path: str) -> None:
    assert post(b" " * 11, path=path).status_code == 413


def test_a_body_without_length_is_counted() -> None:
    assert post(trickle(b"12345", b"67890")).json()["bytes"] == 10
    assert post(trickle(b"12345", b"678901")).status_code == 413


def test_a_large_body_is_refused_unread() -> None:
    scope = scope_of([(b"content-length", b"11"), (b"content-type", b"application/json")])
    (start, _body) = served(scope, unread)
    assert start["status"] == 413


class TestLargeBodies:
    """A body above the usual limit is read only once it is known who sends it."""

    ANSWER = "/v1/prompts/p1/answer"

    @pytest.mark.parametrize("shown", ["", "Bearer nobody's", None])
    @pytest.mark.parametrize("length", [b"5", b"99", None])
    def test_nobodys_is_refused_unread(self, shown: str | None, length: bytes | None) -> None:
        headers = list_of(JSON)
        headers += [(b"content-length", length)] if length else [(b"transfer-encoding", b"chunked")]
        headers += [] if shown is None else [(b"authorization", shown.encode())]
        (start, body) = served(scope_of(headers, path=self.ANSWER), unread)
        assert start["status"] == 401
        assert json.loads(body["body"])["code"] == "unauthenticated"
        assert (b"connection", b"close") in start["headers"]

    def test_somebodys_is_read(self) -> None:
        answer = post(b" " * 100, path=self.ANSWER).json()
        assert (answer["bytes"], answer["caller"]) == (100, "somebody")

    def test_small_ones_are_read_as_ever(self) -> None:
        """Who may call where is for the routes."""
        assert post(b" " * 10, authorization="Bearer nobody's").json()["bytes"] == 10

    def test_where_it_cannot_be_known_nothing_is_read(self) -> None:
        def away(_: str | None) -> None:
            raise StorageError("postgresql://user:password@host refused")

        (start, body) = served(scope_of(list_of(JSON), path=self.ANSWER), unread, find_caller=away)
        assert start["status"] == 503
        assert json.loads(body["body"])["code"] == "storage_unavailable"
        assert "password" not in body["body"].decode()

    def test_the_question_leaves_the_event_loop_alone(self) -> None:
        asked_in: list[int] = []

        def remember(_: str | None) -> None:
            asked_in.append(get_ident())

        served(scope_of(list_of(JSON), path=self.ANSWER), unread, find_caller=remember)
        assert asked_in
        assert get_ident() not in asked_in  # `served` runs its event loop in this thread


@pytest.mark.parametrize("length", ["-1", "1e3", "1_0", "²", "9" * 5000, ""])
def test_a_length_that_is_none(length: str) -> None:
    scope = scope_of([(b"content-length", length.encode("latin-1", "replace"))])
    (start, _body) = served(scope, whole(b""))
    assert start["status"] == 400


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/jsonx", "application/json; charset=gbk", "text/json", "json"],
)
def test_a_body_that_is_no_json_is_refused(content_type: str) -> None:
    response = post(b"{}", content_type=content_type)
    assert (response.status_code, response.json()["code"]) == (415, "wrong_content_type")


def test_a_body_without_length_needs_its_type_too() -> None:
    assert post(trickle(b"{}"), content_type="text/plain").status_code == 415


def test_a_compressed_body_is_refused() -> None:
    assert post(b"{}", content_encoding="gzip").status_code == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
    ],
)
def test_json_by_its_various_names(content_type: str) -> None:
    assert post(b"{}", content_type=content_type).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_body_needs_no_type(method: str) -> None:
    assert call(app_with_limits(), method, "/v1/sessions").json()["bytes"] == 0


def test_the_moment_of_arrival_is_the_headers() -> None:
    """The clock moves on while the body arrives; what was noted does not."""
    clock = ManualClock(ARRIVED_AT)
    noted: list[datetime] = []

    async def note(scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        noted.append(scope["state"]["arrived_at"])

    async def slow() -> Message:
        clock.advance(20)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    served(scope_of(list_of(JSON)), slow, app=note, clock=clock)
    assert noted == [ARRIVED_AT]


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    (start, _body) = served(scope_of([]), never, limits=BodyLimits(arrives_within_s=0.001))
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]


def test_a_body_that_breaks_off_starts_nothing() -> None:
    messages: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def breaks_off() -> Message:
        return next(messages)

    async def forbidden(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("half a body reached the application")

    assert served(scope_of(list_of(JSON)), breaks_off, app=forbidden) == []


def test_after_the_body_the_application_hears_the_connection() -> None:
    heard: list[Message] = []

    async def listen(_scope: Scope, receive: Receive, _send: Send) -> None:
        heard.extend([await receive(), await receive()])

    messages: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": b"{}", "more_body": False},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Message:
        return next(messages)

    served(scope_of(list_of(JSON)), receive, app=listen)
    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]


@given(chunks=st.lists(st.binary(max_size=8), max_size=5))
@settings(deadline=None)
def test_a_body_arrives_whole_or_not_at_all(chunks: list[bytes]) -> None:
    """However it is cut, what the application reads is what was sent."""
    bodies: list[bytes] = []

    async def read(_scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent = served(scope_of(list_of(JSON)), cut(chunks), app=read, limits=LIMITS)
    whole_body = b"".join(chunks)
    assert bodies == ([whole_body] if len(whole_body) <= 10 else [])
    assert sent[0]["status"] == (200 if len(whole_body) <= 10 else 413)


def served(
    scope: Scope,
    receive: Receive,
    *,
    app: Any = None,
    clock: ManualClock | None = None,
    limits: BodyLimits = LIMITS,
    find_caller: FindCaller = known,
) -> list[Message]:
    """Return what the gate sends for a request given as plain messages."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    clock = clock or ManualClock(ARRIVED_AT)
    gate = BodyGate(app, clock=clock, limits=limits, find_caller=find_caller)
    asyncio.run(gate(scope, receive, send))
    return sent


async def unread() -> Message:
    raise AssertionError("the body was read")


def scope_of(headers: list[tuple[bytes, bytes]], *, path: str = "/v1/sessions") -> Scope:
    return {"type": "http", "method": "POST", "path": path, "headers": headers}


def list_of(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def whole(body: bytes) -> Receive:
    return cut([body])


def cut(chunks: list[bytes]) -> Receive:
    """Return a ``receive`` that hands out one chunk at a time."""
    left = list(chunks) or [b""]

    async def receive() -> Message:
        chunk = left.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    return receive


def test_one_route_may_take_longer() -> None:
    """Sixteen megabytes of reference over a thin line; no deadline hangs on them."""
    limits = BodyLimits(arrives_within_s=0.001, slower_s={"/slow/{name}": 30.0})

    async def late() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def done(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    for path, status in (("/slow/x", 204), ("/other", 408)):
        start, *_ = served(scope_of([], path=path), late, app=done, limits=limits)
        assert start["status"] == status
