"""Headers that every response carries, unless a route chose its own."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verifier.protocols import Clock

TIME_HEADER: Final = "Zhenxue-Time"
"""The engine's clock, seconds since 1970: what a device signs by, however wrong its own is."""

_HEADERS = {
    # Answers are about one person at one moment: no cache between us and the caller keeps them.
    "Cache-Control": "no-store",
    # A picture or a text that was sent to us is never taken for a page.
    "X-Content-Type-Options": "nosniff",
}


class ResponseHeaders:
    """Adds the headers above, and the time."""

    def __init__(self, app: ASGIApp, *, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers[TIME_HEADER] = str(int(self._clock.now().timestamp()))
            await send(message)

        await self._app(scope, receive, send_with_headers)
