"""Server-sent events of one session, written as they come.

The format is that of the HTML standard, section 9.2. Every event tells the present state, so an
``id`` is only a number and ``Last-Event-ID`` needs no answer: whoever comes back is told where the
session stands. What was not sent yet is not kept: a newer state takes its place.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from random import Random
from typing import Final, Literal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.delivery import Dispatcher, Standing, StreamEnd
from service.http.prompts import PromptReply
from service.http.values import Message
from verifier.session_state import SessionPhase

MEDIA_TYPE: Final = "text/event-stream"
RETRY_MS: Final = 2000
KEEP_ALIVE_S: Final = 15.0
"""Proxies commonly end connections that are silent for a minute."""
READ_WITHIN_S: Final = 20.0
"""Whoever takes longer to read a few hundred bytes is not there, or does not want them."""
LONGEST_STREAM_S: Final = 900.0
"""Then it is opened again, with credentials that may have been taken back meanwhile."""

_HEADERS: Final = {
    "Content-Type": MEDIA_TYPE,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or nginx would collect events until its buffer is full
}
_KEEP_ALIVE: Final = b": still here\n\n"


class SessionEvent(Message):
    """Where a session stands, as its ``session`` event says."""

    phase: SessionPhase
    clock: Literal["running", "paused"]
    paused_until: datetime | None

    @classmethod
    def of(cls, standing: Standing) -> "SessionEvent":
        """Show where a session stands."""
        return cls(
            phase=standing.phase,
            clock="running" if standing.clock_runs else "paused",
            paused_until=standing.paused_until,
        )


class PromptResolved(PromptReply):
    """A prompt that waits no more, as its ``prompt_resolved`` event says.

    What came of it is not in it: whoever answered was told.
    """

    prompt_id: str


class SessionEnded(Message):
    """How a session ended, as its ``end`` event says."""

    phase: SessionPhase


class StreamEnded(Message):
    """Why a stream ends before its session does, as its ``stream_end`` event says."""

    reason: StreamEnd


class Mailbox:
    """The latest that one stream was told; a :class:`service.delivery.Follower`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changed = asyncio.Event()
        self._standing: Standing | None = None
        self._end: StreamEnd | None = None
        self.ended = False

    def tell(self, standing: Standing) -> None:
        """Keep a standing in place of the one before."""
        self._standing = standing
        self._wake()

    def end(self, why: StreamEnd | None) -> None:
        """Take no more."""
        self._end, self.ended = why, True
        self._wake()

    async def wait(self, within_s: float) -> bool:
        """Wait until something new was told; false if nothing was within so many seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def take(self) -> Standing | None:
        """Take out what was told last."""
        standing, self._standing = self._standing, None
        return standing

    @property
    def last_word(self) -> StreamEnded | None:
        """Why it ended, where that is to be told."""
        return None if self._end is None else StreamEnded(reason=self._end)

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, and with it every stream
            self._loop.call_soon_threadsafe(self._changed.set)


class Teller:
    """Says in events what changed since the last time."""

    def __init__(self) -> None:
        self._number = 0
        self._session: SessionEvent | None = None
        self._reply: PromptReply | None = None

    def changes(self, standing: Standing) -> Iterator[bytes]:
        """Yield the events that tell of a standing."""
        session = SessionEvent.of(standing)
        if session != self._session:
            self._session = session
            yield self.event("session", session)
        yield from self._of_prompt(PromptReply.of(standing.prompt))
        if standing.is_over:
            yield self.event("end", SessionEnded(phase=standing.phase))

    def event(self, name: str, data: Message) -> bytes:
        """Return one event; JSON without line breaks needs one ``data`` line."""
        self._number += 1
        return f"id: {self._number}\nevent: {name}\ndata: {data.model_dump_json()}\n\n".encode()

    def _of_prompt(self, reply: PromptReply) -> Iterator[bytes]:
        before, self._reply = self._reply, reply
        if reply == before:
            return
        gone = None if before is None or before.prompt is None else before.prompt.prompt_id
        if gone is not None and (reply.prompt is None or reply.prompt.prompt_id != gone):
            yield self.event("prompt_resolved", PromptResolved(prompt_id=gone, prompt=None))
        if before is None or reply.prompt is not None:
            yield self.event("prompt", reply)


class EventStream(Response):
    """A response that follows a session until it ends, the caller leaves or does not read."""

    media_type = MEDIA_TYPE

    def __init__(self, dispatcher: Dispatcher, session_id: str, *, whose: str) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]  # nobody knows
        self._dispatcher = dispatcher
        self._session_id = session_id
        self._whose = whose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Follow the session; ``TooManyStreamsError`` before anything was sent."""
        mailbox = Mailbox(asyncio.get_running_loop())
        with self._dispatcher.follow(self._session_id, whose=self._whose, follower=mailbox):
            watching = asyncio.create_task(_until_gone(receive))
            watching.add_done_callback(lambda _: mailbox.end(None))
            try:
                await self._tell_all(mailbox, watching, _Writer(send))
            finally:
                watching.cancel()

    async def _tell_all(
        self, mailbox: Mailbox, watching: "asyncio.Task[None]", writer: "_Writer"
    ) -> None:
        # Not all at the same time, or a restart would be felt every quarter of an hour.
        life_s = LONGEST_STREAM_S * Random().uniform(0.75, 1.0)  # noqa: S311 - no secret
        until = asyncio.get_running_loop().time() + life_s
        teller = Teller()
        await writer.start(self.status_code, self.raw_headers)
        while not mailbox.ended and not writer.gave_up:
            if not await mailbox.wait(KEEP_ALIVE_S):
                await writer.write(_KEEP_ALIVE)
            if (standing := mailbox.take()) is not None:
                await writer.write(b"".join(teller.changes(standing)))
                if standing.is_over:
                    break
            if asyncio.get_running_loop().time() > until:
                mailbox.end(StreamEnd.RENEW)
        if mailbox.last_word is not None:
            await writer.write(teller.event("stream_end", mailbox.last_word))
        if not watching.done():
            await writer.finish()


class _Writer:
    """Writes a response for as long as it is read."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.gave_up = False

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self.write(f"retry: {RETRY_MS}\n\n".encode())

    async def write(self, body: bytes) -> None:
        if body:
            await self._body(body, more=True)

    async def finish(self) -> None:
        await self._body(b"", more=False)

    async def _body(self, body: bytes, *, more: bool) -> None:
        if self.gave_up:
            return
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except (TimeoutError, OSError):
            # Not finished either: the server ends the connection then, so that it shows.
            self.gave_up = True


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
