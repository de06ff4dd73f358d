"""What goes over the wire, with a client of our own that reads, leaves, or does neither."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.types import Message

from pipelines.lesson import PromptView
from service.delivery import Follower, Standing, StreamEnd, TooManyStreamsError
from service.http import event_stream
from service.http.event_stream import EventStream, Mailbox, Teller
from verifier.session_state import SessionPhase

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
QUIET = Standing(phase=SessionPhase.RUNNING, clock_runs=True, paused_until=None, prompt=None)
PROMPT = PromptView(
    prompt_id="prompt-1",
    nonce=b"nonce",
    kind="silent_capture",
    closes_at=NOW + timedelta(seconds=60),
)
ASKED = replace(QUIET, clock_runs=False, prompt=PROMPT)
OVER = replace(QUIET, phase=SessionPhase.CLOSED, clock_runs=False)


def parse(wire: bytes) -> list[tuple[str, Any]]:
    """Return the events of a stream, (name, data), as a browser would see them."""
    found = []
    for block in wire.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in ":r")
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def names(*standings: Standing) -> list[str]:
    teller = Teller()
    return [name for each in standings for name, _ in parse(b"".join(teller.changes(each)))]


def test_the_first_events_tell_the_present_state() -> None:
    """Also that nothing waits: whoever comes back may remember a prompt that is over."""
    teller = Teller()
    told = parse(b"".join(teller.changes(QUIET)))
    session = {"phase": "running", "clock": "running", "paused_until": None}
    assert told == [("session", session), ("prompt", {"prompt": None})]


def test_only_changes_are_told() -> None:
    assert names(QUIET, QUIET, ASKED, ASKED) == ["session", "prompt", "session", "prompt"]


def test_a_prompt_that_waits_no_more_is_named() -> None:
    teller = Teller()
    list(teller.changes(ASKED))
    told = parse(b"".join(teller.changes(QUIET)))
    assert told[1:] == [("prompt_resolved", {"prompt": None, "prompt_id": "prompt-1"})]


def test_a_retry_is_the_same_prompt_with_another_nonce() -> None:
    again = replace(ASKED, prompt=replace(PROMPT, nonce=b"other"))
    assert names(ASKED, again) == ["session", "prompt", "prompt"]


def test_one_prompt_after_another() -> None:
    following = replace(ASKED, prompt=replace(PROMPT, prompt_id="prompt-2"))
    assert names(ASKED, following) == ["session", "prompt", "prompt_resolved", "prompt"]


def test_a_pause_and_the_end_are_told() -> None:
    paused = replace(QUIET, clock_runs=False, paused_until=NOW + timedelta(minutes=30))
    assert names(QUIET, paused, OVER) == ["session", "prompt", "session", "session", "end"]


def test_ids_go_up() -> None:
    teller = Teller()
    wire = b"".join([*teller.changes(QUIET), *teller.changes(ASKED)])
    ids = [line for line in wire.decode().splitlines() if line.startswith("id: ")]
    assert ids == ["id: 1", "id: 2", "id: 3", "id: 4"]


@dataclass
class FakeDispatcher:
    """Hands out who follows, so that a test may tell them things."""

    full: bool = False
    follower: Follower | None = None
    left: bool = False

    @contextmanager
    def follow(self, session_id: str, *, whose: str, follower: Follower) -> Iterator[None]:
        assert (session_id, whose) == ("session-1", "platform-1")
        if self.full:
            raise TooManyStreamsError("full")
        self.follower = follower
        yield
        self.left = True


@dataclass
class Client:
    """The other end of an ASGI connection; ``reads`` unset: nothing that is sent gets through."""

    dispatcher: FakeDispatcher
    sent: list[Message] = field(default_factory=list)
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    leaves: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            await self.reads.wait()
        self.sent.append(message)
        self.news.set()

    @property
    def wire(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def events(self) -> list[str]:
        return [name for name, _ in parse(self.wire)]

    @property
    def is_finished(self) -> bool:
        return self.sent[-1].get("more_body") is False

    async def until(self, events: list[str]) -> None:
        while self.events != events:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 10)

    @property
    def follower(self) -> Follower:
        assert self.dispatcher.follower is not None
        return self.dispatcher.follower


@asynccontextmanager
async def streaming(*, reads: bool = True) -> AsyncIterator[tuple[Client, "asyncio.Task[None]"]]:
    dispatcher = FakeDispatcher()
    client = Client(dispatcher)
    if reads:
        client.reads.set()
    stream = EventStream(dispatcher, "session-1", whose="platform-1")  # type: ignore[arg-type]
    task = asyncio.create_task(stream({"type": "http"}, client.receive, client.send))
    while dispatcher.follower is None:
        await asyncio.sleep(0)
    yield client, task
    await asyncio.wait_for(task, 10)
    assert dispatcher.left


def test_a_stream_from_beginning_to_end() -> None:
    async def run() -> Client:
        async with streaming() as (client, _):
            await asyncio.to_thread(client.follower.tell, QUIET)
            await client.until(["session", "prompt"])
            await asyncio.to_thread(client.follower.tell, ASKED)
            await client.until(["session", "prompt", "session", "prompt"])
            await asyncio.to_thread(client.follower.tell, OVER)
        return client

    client = asyncio.run(run())
    headers = dict(client.sent[0]["headers"])
    assert headers == {
        b"content-type": b"text/event-stream",
        b"cache-control": b"no-store",
        b"x-accel-buffering": b"no",
    }
    assert client.wire.startswith(b"retry: 2000\n\n")
    assert client.events[-1] == "end"
    assert client.is_finished


@pytest.mark.parametrize("why", list(StreamEnd))
def test_a_stream_that_is_ended_says_why(why: StreamEnd) -> None:
    async def run() -> Client:
        async with streaming() as (client, _):
            client.follower.tell(ASKED)
            client.follower.end(why)
        return client

    client = asyncio.run(run())
    assert parse(client.wire)[-1] == ("stream_end", {"reason": why.value})
    assert client.is_finished


def test_who_leaves_is_followed_no_longer() -> None:
    async def run() -> Client:
        async with streaming() as (client, _):
            client.follower.tell(QUIET)
            await client.until(["session", "prompt"])
            client.leaves.set()
        return client

    assert "stream_end" not in asyncio.run(run()).events


def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_S", 0.01)

    async def run() -> Client:
        async with streaming() as (client, _):
            while client.wire.count(b": still here") < 2:
                await asyncio.sleep(0.005)
            client.leaves.set()
        return client

    wire = asyncio.run(run()).wire
    assert b": still here\n\n: still here\n\n" in wire
    assert parse(wire) == []


def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing piles up for them meanwhile: the latest state takes the earlier one's place."""
    monkeypatch.setattr(event_stream, "READ_WITHIN_S", 0.05)

    async def run() -> Client:
        async with streaming(reads=False) as (client, _):
            for _ in range(1000):
                client.follower.tell(ASKED)
                client.follower.tell(QUIET)
        return client

    client = asyncio.run(run())
    assert client.wire == b""
    assert not client.is_finished


def test_who_reads_slowly_hears_the_latest() -> None:
    async def run() -> Client:
        async with streaming(reads=False) as (client, _):
            for standing in [ASKED, QUIET] * 500:
                client.follower.tell(standing)
            client.reads.set()
            await client.until(["session", "prompt"])
            client.leaves.set()
        return client

    assert parse(asyncio.run(run()).wire)[1] == ("prompt", {"prompt": None})


def test_a_long_stream_has_to_be_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are looked at when a stream is opened; they may be taken back after that."""
    monkeypatch.setattr(event_stream, "LONGEST_STREAM_S", 0.0)

    async def run() -> Client:
        async with streaming() as (client, _):
            client.follower.tell(QUIET)
        return client

    assert parse(asyncio.run(run()).wire)[-1] == ("stream_end", {"reason": "renew"})


def test_where_there_is_no_room_nothing_is_sent() -> None:
    async def run() -> None:
        dispatcher = FakeDispatcher(full=True)
        client = Client(dispatcher)
        stream = EventStream(dispatcher, "session-1", whose="platform-1")  # type: ignore[arg-type]
        with pytest.raises(TooManyStreamsError):
            await stream({"type": "http"}, client.receive, client.send)
        assert client.sent == []

    asyncio.run(run())


def test_a_loop_that_is_gone_is_told_nothing() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()
    mailbox.tell(QUIET)
    mailbox.end(StreamEnd.STOPPING)
