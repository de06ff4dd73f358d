"""Headers that every response carries, unless a route chose its own."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    # Answers are about one person at one moment: no cache between us and the caller keeps them.
    "Cache-Control": "no-store",
    # A picture or a text that was sent to us is never taken for a page.
    "X-Content-Type-Options": "nosniff",
}


class ResponseHeaders:
    """Adds the headers above."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
