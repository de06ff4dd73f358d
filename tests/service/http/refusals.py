"""What tests say of answers that are problems."""

from typing import Any

import httpx


def refused(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, str(response.json()["code"])


def told(response: httpx.Response) -> Any:
    """Return all that a problem says, but for the request's own id."""
    return {**response.json(), "request_id": None}
