"""A client of the service's HTTP API, as small as a simulation needs it."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from verifier.errors import VerifierError

_TIMEOUT_S: Final = 60.0


class CallRefusedError(VerifierError):
    """The service answered with a problem; ``code`` is the problem's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class HttpCaller:
    """Calls one service with one API key; a context manager."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=_TIMEOUT_S,
            trust_env=False,  # straight to the service, whatever proxy the machine has set
        )

    def __enter__(self) -> "HttpCaller":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """Return the JSON at ``path``."""
        return self._call("GET", path).json()

    def get_text(self, path: str) -> str:
        """Return the text at ``path``."""
        return self._call("GET", path).text

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send ``body``; return the JSON that comes back.

        Raises
        ------
        CallRefusedError
            If the service refused.
        """
        return self._call("POST", path, body or {}).json()

    def put(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Put ``body``; as `post`."""
        return self._call("PUT", path, body or {}).json()

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        response = self._client.request(method, path, json=body)
        if response.is_success:
            return response
        problem = response.json()
        raise CallRefusedError(
            problem["code"], f"{method}: {response.status_code} {problem['code']}"
        )
