"""Requests at fixed moments, or as fast as some clients go; each over a connection that stays.

The client shares the machine with what it measures, so it does as little as it can: requests are
bytes beforehand, and replies are read and parsed by nobody until the time is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from random import Random
from threading import Barrier, Thread
from time import perf_counter, sleep
from typing import Final
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A request that is ready to go."""

    path: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, and when.

    Attributes
    ----------
    latency_s
        From the moment the request was due, where it was; otherwise from when it was sent.
    late_s
        How long after it was due it was sent; what the client itself, or its lack of a free
        connection, adds to the latency.
    done_s
        Seconds from the beginning of the load.
    """

    status: int
    body: bytes = field(repr=False)
    latency_s: float
    late_s: float
    done_s: float


def random_moments(count: int, *, per_s: float, seed: int) -> list[float]:
    """Return moments in seconds, ascending, at which callers arrive who know nothing of each other.

    A Poisson process: at even distances no request would ever meet another, which flatters.
    """
    rng = Random(seed)  # noqa: S311 - nobody gains from guessing it
    moments, at_s = [], 0.0
    for _ in range(count):
        at_s += rng.expovariate(per_s)
        moments.append(at_s)
    return moments


def send_all(
    url: str,
    api_key: str,
    posts: Sequence[Post],
    *,
    clients: int,
    due_s: Sequence[float] | None = None,
) -> list[Reply]:
    """Send every request once; return the replies in the order they came.

    Parameters
    ----------
    clients
        Connections, each with a thread of its own.
    due_s
        When each request is due, in seconds from the beginning, ascending: an open loop. A
        request that finds no free connection waits, and its latency counts from when it was due:
        a service that stalls is charged for everybody it kept waiting. None: a closed loop, each
        client sends its next request as soon as it has a reply.

    Raises
    ------
    OSError
        If a connection fails; the figures would be of another load than was asked for.
    """
    load = _Load(url, api_key, posts, clients, due_s)
    threads = [Thread(target=load.work, name=f"client-{n}") for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if load.failures:
        raise load.failures[0]
    return sorted(load.replies, key=lambda reply: reply.done_s)


class _Load:
    """What the clients of one load share."""

    def __init__(
        self,
        url: str,
        api_key: str,
        posts: Sequence[Post],
        clients: int,
        due_s: Sequence[float] | None,
    ) -> None:
        self.replies: list[Reply] = []
        self.failures: list[Exception] = []
        self._address = urlsplit(url).netloc
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._waiting: SimpleQueue[tuple[Post, float | None]] = SimpleQueue()
        moments: Sequence[float | None] = due_s or [None] * len(posts)
        for post, due in zip(posts, moments, strict=True):
            self._waiting.put((post, due))
        self._began = 0.0
        self._ready = Barrier(clients, action=self._begin)

    def work(self) -> None:
        """Connect, wait for the other clients, then send until nothing is left."""
        connection = HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            connection.connect()
            self._ready.wait()
            while True:
                self.replies.append(self._send(connection, *self._waiting.get_nowait()))
        except Empty:
            pass
        except Exception as error:  # noqa: BLE001 - raised by `send_all`
            self.failures.append(error)
            self._ready.abort()
        finally:
            connection.close()

    def _begin(self) -> None:
        self._began = perf_counter()

    def _send(self, connection: HTTPConnection, post: Post, due_s: float | None) -> Reply:
        if due_s is not None:
            sleep(max(0.0, self._began + due_s - perf_counter()))
        sent_s = perf_counter() - self._began
        connection.request("POST", post.path, post.body, self._headers)
        response = connection.getresponse()
        body = response.read()
        done_s = perf_counter() - self._began
        from_s = sent_s if due_s is None else due_s
        return Reply(
            status=response.status,
            body=body,
            latency_s=done_s - from_s,
            late_s=sent_s - from_s,
            done_s=done_s,
        )
