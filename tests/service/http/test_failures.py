"""What fails where no handler can help."""

import asyncio
import logging
import traceback

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from service.http.failures import FailureGuard, ResponseCutShortError, log_failure
from tests.service.http.asgi_client import call

SECRET = "11010519491231002X"  # noqa: S105 - stands for whatever must not be logged


async def fails_at_once(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError(SECRET)


async def fails_half_way(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError(SECRET)


def test_what_fails_before_the_response_is_answered() -> None:
    response = call(FailureGuard(fails_at_once), "GET", "/")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert SECRET not in response.text


def test_what_fails_later_breaks_off_without_telling_why() -> None:
    """The server logs what is raised to it, with its traceback; the message is not in there."""
    with pytest.raises(ResponseCutShortError) as broken:
        call(FailureGuard(fails_half_way), "GET", "/")
    assert SECRET not in "".join(traceback.format_exception(broken.value))


def test_a_caller_who_leaves_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def waits(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    async def leave() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(FailureGuard(waits))) as client:
            request = asyncio.ensure_future(client.get("http://test/"))
            await asyncio.sleep(0)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    asyncio.run(leave())
    assert not [record for record in caplog.records if record.name == "zhenxue.failures"]


def test_other_traffic_is_passed_on() -> None:
    """Start-up must fail loudly, not be answered."""

    async def silent() -> Message:
        return {"type": "lifespan.startup"}

    async def unheard(_message: Message) -> None:
        return None

    with pytest.raises(RuntimeError):
        asyncio.run(FailureGuard(fails_at_once)({"type": "lifespan"}, silent, unheard))


def test_errors_that_cause_each_other_end(caplog: pytest.LogCaptureFixture) -> None:
    one, other = RuntimeError(SECRET), ValueError(SECRET)
    one.__cause__, other.__cause__ = other, one
    with caplog.at_level(logging.ERROR):
        log_failure(one, request_id=None)
    assert caplog.text.count("builtins.") == 2
    assert SECRET not in caplog.text
