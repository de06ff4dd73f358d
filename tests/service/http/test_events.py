"""Event streams of the running service, over sockets and on a clock that is moved by hand."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.delivery import StreamLimits
from service.http import events
from service.http.server import base_url, listen, serve_in_thread
from tests.service.http.service_stage import ServiceStage, open_stage

SECONDS = 20.0
"""How long a read may take before the test fails; none comes near it."""


class Stream:
    """One stream, read event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()
        self.ids: list[int] = []

    def next(self) -> tuple[str, Any]:
        """Wait for the next event; return its name and data."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                self.ids.append(int(fields["id"]))
                return fields["event"], json.loads(fields["data"])
        raise EOFError

    def until(self, name: str) -> Any:
        """Pass over events until one of a name; return its data."""
        while True:
            found, data = self.next()
            if found == name:
                return data

    def rest(self) -> list[str]:
        """Return the names of all events until the stream ends."""
        names = []
        try:
            while True:
                names.append(self.next()[0])
        except EOFError:
            return names


class Client:
    """Streams of the service that a stage runs."""

    def __init__(self, url: str, stage: ServiceStage) -> None:
        self.url = url
        self.stage = stage

    @contextmanager
    def stream(self, session_id: str, *, by: str | None = None) -> Iterator[Stream]:
        """Open a stream that has to be let in."""
        with self.asked(session_id, by=by) as response:
            assert response.status_code == 200, response.read()
            yield Stream(response)

    @contextmanager
    def asked(self, session_id: str, *, by: str | None = None) -> Iterator[httpx.Response]:
        """Ask for a stream."""
        key = self.stage.platform if by is None else by
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with (
            httpx.Client(base_url=self.url, timeout=SECONDS, trust_env=False) as client,
            client.stream("GET", f"/v1/sessions/{session_id}/events", headers=headers) as response,
        ):
            yield response

    def refusal(self, session_id: str, *, by: str | None = None) -> tuple[int, str]:
        """Ask for a stream that is refused; return the status and the problem's code."""
        with self.asked(session_id, by=by) as response:
            response.read()
            return response.status_code, response.json()["code"]


@contextmanager
def served(stage: ServiceStage) -> Iterator[Client]:
    with listen("127.0.0.1", 0) as bound, serve_in_thread(stage.app, bound) as url:
        yield Client(url, stage)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with open_stage(tmp_path_factory.mktemp("events")) as stage, served(stage) as opened:
        yield opened


@pytest.fixture
def own_client(tmp_path: Path) -> Iterator[Client]:
    with open_stage(tmp_path) as stage, served(stage) as opened:
        yield opened


def opened_session(client: Client) -> Any:
    return client.stage.open_session(*client.stage.prepare(), minutes=45)


def pass_opening(client: Client, session_id: str) -> None:
    prompt = client.stage.prompt(session_id)
    assert client.stage.answer(prompt)["answer"] == "pass"


def test_a_lesson_from_its_first_prompt_to_its_end(client: Client) -> None:
    stage, session_id = client.stage, opened_session(client)["session_id"]
    with client.stream(session_id) as stream:
        assert stream.next() == (
            "session",
            {"phase": "opening", "clock": "paused", "paused_until": None},
        )
        name, told = stream.next()
        assert (name, told) == ("prompt", stage.get(f"/v1/sessions/{session_id}/prompt"))
        stage.answer(told["prompt"])
        assert stream.until("session")["clock"] == "running"
        resolved = stream.until("prompt_resolved")
        assert resolved == {"prompt": None, "prompt_id": told["prompt"]["prompt_id"]}

        while (asked := stage.prompt(session_id)) is None:
            stage.clock.advance(30)
        scheduled = stream.until("prompt")
        assert scheduled == {"prompt": asked}
        stage.answer(scheduled["prompt"])
        stage.post(f"/v1/sessions/{session_id}/end")
        closing = stream.until("prompt")
        stage.answer(closing["prompt"])
        stage.post(f"/v1/sessions/{session_id}/close")
        assert stream.rest()[-1] == "end"
        assert stream.ids == list(range(1, len(stream.ids) + 1))


@pytest.mark.parametrize("who", ["platform", "learner"])
def test_who_may_ask_for_the_prompt_may_follow(client: Client, who: str) -> None:
    opened = opened_session(client)
    by = client.stage.token(opened) if who == "learner" else None
    with client.stream(opened["session_id"], by=by) as stream:
        assert stream.until("prompt")["prompt"]["kind"] == "silent_capture"


def test_nobody_else_may(client: Client) -> None:
    """In the words, and with the status, that asking for the prompt has."""
    session_id = opened_session(client)["session_id"]
    other_learner = client.stage.token(opened_session(client))
    for by in ("", "zx_platform_nobody", client.stage.other_platform, other_learner):
        asked = client.stage.call("GET", f"/v1/sessions/{session_id}/prompt", by=by)
        assert client.refusal(session_id, by=by) == (asked.status_code, asked.json()["code"])
        assert asked.status_code in {401, 404}
    assert client.refusal(session_id, by=client.stage.officer) == (403, "forbidden")
    assert client.refusal("no-such-session") == (404, "unknown_subject")


def test_headers_keep_proxies_from_keeping_it(client: Client) -> None:
    session_id = opened_session(client)["session_id"]
    with client.stream(session_id) as stream:
        headers = stream.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"


def test_who_comes_back_is_told_where_it_stands(client: Client) -> None:
    session_id = opened_session(client)["session_id"]
    with client.stream(session_id) as stream:
        before = [stream.next(), stream.next()]
    with client.stream(session_id) as stream:
        assert [stream.next(), stream.next()] == before


def test_a_session_that_is_over_says_so_and_ends(client: Client) -> None:
    session_id = opened_session(client)["session_id"]
    client.stage.post(f"/v1/sessions/{session_id}/close")
    with client.stream(session_id) as stream:
        assert stream.next()[1]["phase"] == "abandoned"
        assert stream.rest() == ["prompt", "end"]


def test_the_newer_of_two_streams_goes_on(client: Client) -> None:
    session_id = opened_session(client)["session_id"]
    with client.stream(session_id) as old:
        told = old.until("prompt")
        with client.stream(session_id) as new:
            assert old.until("stream_end") == {"reason": "replaced"}
            assert old.rest() == []
            assert new.until("prompt") == told
            client.stage.answer(told["prompt"])
            assert new.until("prompt_resolved")["prompt_id"] == told["prompt"]["prompt_id"]


def test_opening_streams_too_often_is_slowed_down(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs that keep pushing each other out."""
    monkeypatch.setattr(events, "STREAMS_PER_MINUTE", 2)
    session_id = opened_session(client)["session_id"]
    for _ in range(2):
        with client.stream(session_id):
            pass
    assert client.refusal(session_id) == (429, "rate_limited")


def test_no_more_streams_than_there_is_room_for(own_client: Client) -> None:
    own_client.stage.application.dispatcher.limits = StreamLimits(in_all=5, of_one=1)
    first, second = opened_session(own_client), opened_session(own_client)
    with own_client.stream(first["session_id"]):
        with own_client.asked(second["session_id"]) as refused:
            refused.read()
            assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
            assert int(refused.headers["retry-after"]) > 0
        # Asking for the prompt is always possible.
        assert own_client.stage.prompt(second["session_id"]) is not None


def test_a_stopping_server_ends_its_streams(tmp_path: Path) -> None:
    """At once: they would be waited for until the last lesson is over."""
    with open_stage(tmp_path) as stage:
        with served(stage) as client:
            session_id = opened_session(client)["session_id"]
            context = client.stream(session_id)
            stream = context.__enter__()
            stream.until("prompt")
        assert stream.until("stream_end") == {"reason": "stopping"}
        assert stream.rest() == []
        context.__exit__(None, None, None)


def test_who_never_reads_stops_nobody(own_client: Client) -> None:
    """Many that are opened and left; others hear of theirs all the same."""
    stage = own_client.stage
    sessions = [opened_session(own_client)["session_id"] for _ in range(4)]
    host, _, port = own_client.url.removeprefix("http://").rpartition(":")
    idle = []
    for session_id in sessions[1:]:
        connection = socket.create_connection((host, int(port)))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        request = (
            f"GET /v1/sessions/{session_id}/events HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {stage.platform}\r\n\r\n"
        )
        connection.sendall(request.encode())
        idle.append(connection)
    with own_client.stream(sessions[0]) as stream:
        told = stream.until("prompt")
        stage.answer(told["prompt"])
        assert stream.until("prompt_resolved")
    for connection in idle:
        connection.close()


def test_a_connection_ends_that_takes_nothing() -> None:
    """On Linux; the memory of whoever does not read must not stay theirs for good."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:
        pytest.skip("only Linux can be told")
    with listen("127.0.0.1", 0) as bound:
        host, _, port = base_url(bound).removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))), bound.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, option) == 60_000


def test_the_future_is_in_no_event_and_no_log(
    own_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stage = own_client.stage
    session_id = opened_session(own_client)["session_id"]
    with own_client.stream(session_id) as stream:
        told = [stream.next(), stream.next()]
        pass_opening(own_client, session_id)
        told += [stream.next(), stream.next()]
        due = stage.application.engine.next_due(session_id)
    assert due is not None

    def logged() -> str:
        own = ("zhenxue", "service")  # not what the client itself says
        return "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(own))

    over = time.monotonic() + SECONDS
    while "/events 200" not in logged() and time.monotonic() < over:
        time.sleep(0.01)  # the server logs a stream once it hears that the client went
    log = logged()
    shown = [log, json.dumps(told), repr(stage.application.dispatcher)]
    # To the millisecond: the second alone may be that in which the opening prompt closes.
    assert not [text for text in shown if f"{due:%H:%M:%S.%f}"[:-3] in text]
    assert "GET /v1/sessions/{session_id}/events 200" in log
    assert session_id not in log


def test_a_session_of_the_frame_is_not_told_to_its_platform(client: Client) -> None:
    stage = client.stage
    learner_id, class_id = stage.prepare()
    body = {
        "learner_id": learner_id,
        "class_id": class_id,
        "planned_minutes": 45,
        "assurance": "frame",
    }
    session_id = stage.post("/v1/sessions", body)["session_id"]
    assert client.refusal(session_id) == (403, "forbidden")
