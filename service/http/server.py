"""Running an app on a socket: in the foreground for `serve`, in a thread for demo and tests."""

import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Final

import uvicorn
from fastapi import FastAPI

from verifier.errors import InputError, VerifierError

BACKLOG: Final = 1024
KEEP_ALIVE_S: Final = 30
START_WITHIN_S: Final = 30.0
READ_WITHIN_S: Final = 60.0
FINISH_WITHIN_S: Final = 20
"""Requests in progress may end before the server stops."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections; ``InputError`` if the address is taken or is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, or asyncio would leave Nagle's algorithm on: 40 ms a reply.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _drop_who_does_not_read(bound)
        bound.bind((host, port))
        bound.listen(BACKLOG)  # who calls from now on waits until the server is up
    except OSError as error:
        bound.close()
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return bound


def _drop_who_does_not_read(bound: socket.socket) -> None:
    """Let the connections it takes end once a peer has taken nothing of what waits for it."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux; elsewhere the system's own time
    if option is not None:
        bound.setsockopt(socket.IPPROTO_TCP, option, round(1000 * READ_WITHIN_S))


def base_url(bound: socket.socket) -> str:
    """Return the address that a client uses."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, bound: socket.socket) -> None:
    """Serve until a signal asks to stop; return once requests in progress have ended."""
    # uvicorn raises the signal again when it has stopped: its default would end the process here,
    # with the database open and the last entries unsigned.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _allow_many_connections()
    with suppress(KeyboardInterrupt):
        _server(app).run(sockets=[bound])


@contextmanager
def serve_in_thread(app: FastAPI, bound: socket.socket) -> Iterator[str]:
    """Serve for as long as the context lasts; gives the address.

    Raises
    ------
    VerifierError
        If the server does not come up.
    """
    started = Event()
    server = _AnnouncingServer(app, started)
    thread = Thread(target=server.run, kwargs={"sockets": [bound]}, name="http", daemon=True)
    thread.start()
    try:
        if not started.wait(START_WITHIN_S):
            raise VerifierError(f"the server did not start within {START_WITHIN_S:g} s")
        yield base_url(bound)
    finally:
        server.should_exit = True
        thread.join()


class _PromptServer(uvicorn.Server):
    """Calls the app's ``state.before_stop`` when it is asked to stop.

    Event streams end then; they would be waited for in vain.
    """

    def __init__(self, app: FastAPI) -> None:
        super().__init__(_config(app))
        self._before_stop: Callable[[], None] = getattr(app.state, "before_stop", _nothing)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_stop()
        await super().shutdown(sockets)


class _AnnouncingServer(_PromptServer):
    """Says when it accepts connections."""

    def __init__(self, app: FastAPI, started: Event) -> None:
        super().__init__(app)
        self._started_event = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started_event.set()


def _nothing() -> None:
    """Do nothing before the server stops."""


def _allow_many_connections() -> None:
    """Take as many file descriptors as the system lets us; the usual 1024 are soon streams."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where "without limit" is said and not meant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _server(app: FastAPI) -> uvicorn.Server:
    return _PromptServer(app)


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_WITHIN_S,
        log_config=None,  # the service's own log says what may be said
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
    )
