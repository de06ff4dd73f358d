"""A file server on this machine that can be told to behave badly."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class FileServer:
    """What it serves, how, and what it was asked for."""

    files: dict[str, bytes]
    port: int = 0
    ranges: bool = True
    etag: str | None = '"v1"'
    modified: str | None = None
    cuts: list[int] = field(default_factory=list)  # bodies of the next answers end after so many
    more: bytes = b""  # sent behind the body
    claim: int | None = None  # as Content-Length
    told_length: bool = True
    content_range: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)  # headers
    status: int | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    stall: threading.Event | None = None  # waited for in the middle of a body
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ranges_asked(self) -> list[str | None]:
        """Return the range of each request so far."""
        return [headers.get("range") for _, headers in self.asked]


@contextmanager
def serving(**behaviour: object) -> Iterator[FileServer]:
    """Serve until the end of the block."""
    server = FileServer(**behaviour)  # type: ignore[arg-type]  # the tests name real fields

    class Handler(_Handler):
        behaviour = server

    with _Listener(("127.0.0.1", 0), Handler) as listener:
        server.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            if server.stall is not None:
                server.stall.set()
            listener.shutdown()
            thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: FileServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing."""

    def do_GET(self) -> None:  # the base's name
        server = self.behaviour
        self.close_connection = True
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.asked.append((self.path, headers))
        if self.path in server.redirects:
            self._answer(302, {"Location": server.redirects[self.path]}, b"")
        elif server.status is not None:
            self._answer(server.status, {}, b"no")
        elif self.path not in server.files:
            self._answer(404, {}, b"absent")
        else:
            self._send_file(server.files[self.path], headers)

    def _send_file(self, data: bytes, headers: Mapping[str, str]) -> None:
        server, start, status = self.behaviour, 0, 200
        told = {"ETag": server.etag, "Last-Modified": server.modified, **server.extra}
        same = headers.get("if-range") in (None, server.etag, server.modified)
        if server.ranges and same and (asked := headers.get("range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self._answer(416, {}, b"")
                return
            whole = f"bytes {start}-{len(data) - 1}/{len(data)}"
            status, told = 206, {**told, "Content-Range": server.content_range or whole}
        self._answer(status, told, data[start:] + server.more)

    def _answer(self, status: int, headers: Mapping[str, str | None], body: bytes) -> None:
        server = self.behaviour
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        if server.told_length:
            length = len(body) if server.claim is None else server.claim
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        end = server.cuts.pop(0) if server.cuts and status in {200, 206} else len(body)
        self.wfile.write(body[:end])
        if server.stall is not None and status in {200, 206}:
            self.wfile.flush()
            server.stall.wait(20)
