"""Requests to an application in this process, without a socket.

Starlette's own TestClient warns about httpx 0.28, and warnings are errors here.
"""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp


def call(app: ASGIApp, method: str, path: str, **request: Any) -> httpx.Response:
    """Return the application's answer; ``request`` as for :meth:`httpx.AsyncClient.request`."""

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **request)

    return asyncio.run(once())
