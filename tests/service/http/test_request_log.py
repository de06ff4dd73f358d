"""One line a request, with nothing of a person in it."""

import re
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse, Response

from pipelines.clock import ManualClock
from service.http.body_limit import BodyLimits
from service.http.middleware import install_middleware
from service.http.problem_handlers import install_problem_handlers
from tests.service.http.asgi_client import call

SECRET = "110105194912310027"  # noqa: S105 - stands for whatever must not be logged
TRACE_ID = "0123456789abcdef" * 2


def app_with_routes() -> FastAPI:
    app, outer, inner = FastAPI(), APIRouter(prefix="/v1"), APIRouter(prefix="/learners")
    install_problem_handlers(app)
    clock = ManualClock(datetime(2026, 1, 15, tzinfo=UTC))
    install_middleware(app, clock=clock, limits=BodyLimits())

    @inner.get("/{learner_id}/minutes")
    def minutes(learner_id: str) -> int:
        return len(learner_id)

    @inner.get("/broken")
    def broken() -> None:
        raise RuntimeError(SECRET)

    @app.get("/cached")
    def cached() -> Response:
        return PlainTextResponse("script", headers={"Cache-Control": "max-age=60"})

    outer.include_router(inner)
    app.include_router(outer)
    return app


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="zhenxue.access")
    return caplog


def get(path: str, **headers: str) -> httpx.Response:
    return call(app_with_routes(), "GET", path, headers=headers)


def test_a_line_tells_template_and_status(lines: pytest.LogCaptureFixture) -> None:
    response = get(f"/v1/learners/{SECRET}/minutes?name={SECRET}", authorization=SECRET)
    (line,) = lines.messages
    request_id = response.headers["x-request-id"]
    expected = rf"GET /v1/learners/\{{learner_id}}/minutes 200 \d+\.\d ms request={request_id}"
    assert re.fullmatch(expected, line)
    assert SECRET not in lines.text


@pytest.mark.parametrize(
    ("path", "told"), [(f"/{SECRET}", "GET - 404 "), ("/v1/learners/broken", "broken 500 ")]
)
def test_what_goes_wrong_has_its_line(
    lines: pytest.LogCaptureFixture, path: str, told: str
) -> None:
    get(path)
    assert told in lines.text
    assert SECRET not in lines.text


def test_an_invented_method_is_not_repeated(lines: pytest.LogCaptureFixture) -> None:
    call(app_with_routes(), f"X{SECRET}", "/cached")
    assert lines.messages[-1].startswith("OTHER ")
    assert SECRET not in lines.text


@pytest.mark.parametrize("offered", [TRACE_ID, "01234567-89ab-4cde-8f01-23456789abcd"])
def test_a_proper_request_id_is_kept(offered: str) -> None:
    assert get("/cached", **{"x-request-id": offered}).headers["x-request-id"] == offered


@pytest.mark.parametrize("offered", ["", SECRET, TRACE_ID + "0", TRACE_ID.upper(), "a b", "x\ty"])
def test_any_other_is_replaced(lines: pytest.LogCaptureFixture, offered: str) -> None:
    given = get("/cached", **{"x-request-id": offered}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", given)
    assert given in lines.text


def test_each_request_has_its_own_id() -> None:
    assert get("/cached").headers["x-request-id"] != get("/cached").headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/learners/l1/minutes", "/nowhere", "/v1/learners/broken"])
def test_nothing_is_cached_or_guessed(path: str) -> None:
    headers = get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_route_may_choose_its_own_header() -> None:
    assert get("/cached").headers.get_list("cache-control") == ["max-age=60"]
