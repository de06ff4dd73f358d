"""Loads on a small server of our own: nothing is forgiven to one that stalls."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Lock, Thread
from time import sleep

import pytest

from benchmarks.load import Post, random_moments, send_all

SLOW_S = 0.2


class Handler(BaseHTTPRequestHandler):
    """Sends back what it got; everybody waits for a body that says ``slow``."""

    protocol_version = "HTTP/1.1"
    one_at_a_time = Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.one_at_a_time:
            sleep(SLOW_S if body == b"slow" else 0)
        reply = b" ".join([self.path.encode(), body, self.headers["Authorization"].encode()])
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def small_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with small_server() as running:
        yield running


def test_every_request_is_sent_once_with_the_key(url: str) -> None:
    posts = [Post(path=f"/{n}", body=f"body {n}".encode()) for n in range(20)]
    replies = send_all(url, "zx_key", posts, clients=3)
    expected = {f"/{n} body {n} Bearer zx_key".encode() for n in range(20)}
    assert {reply.body for reply in replies} == expected
    assert len(replies) == 20
    assert [r.done_s for r in replies] == sorted(r.done_s for r in replies)
    assert all(reply.late_s == 0 for reply in replies)


def test_a_refusal_is_a_reply(url: str) -> None:
    (reply,) = send_all(url, "k", [Post(path="/none", body=b"")], clients=1)
    assert reply.status == 404


def test_whoever_a_stall_kept_waiting_is_counted(url: str) -> None:
    """One connection: the second request cannot even be sent while the first one stalls."""
    posts = [Post(path="/", body=body) for body in (b"slow", b"quick", b"quick")]
    replies = send_all(url, "k", posts, clients=1, due_s=[0.0, 0.01, 0.02])
    waits = [reply.latency_s for reply in replies]
    assert waits[1] >= SLOW_S - 0.01
    assert waits[2] >= SLOW_S - 0.02
    assert replies[1].late_s > 0


def test_nothing_is_sent_before_it_is_due(url: str) -> None:
    due_s = [0.0, 0.15]
    replies = send_all(url, "k", [Post(path="/", body=b"")] * 2, clients=2, due_s=due_s)
    assert replies[1].done_s >= due_s[1]
    assert all(reply.late_s >= 0 for reply in replies)


def test_a_connection_that_fails_is_no_figure() -> None:
    with small_server() as url:
        pass  # gone again
    with pytest.raises(OSError, match="refused"):
        send_all(url, "k", [Post(path="/", body=b"")] * 4, clients=2)


def test_callers_arrive_at_the_rate_that_was_asked_for() -> None:
    """20 a second over 5000 moments: within 5 standard errors, and by chance, not evenly."""
    moments = random_moments(5_000, per_s=20, seed=3)
    gaps = [b - a for a, b in pairwise(moments)]
    mean_s = sum(gaps) / len(gaps)
    assert mean_s == pytest.approx(1 / 20, rel=5 / 5_000**0.5)
    # The standard deviation of an exponential gap is its mean; even gaps would have none.
    spread_s = (sum((gap - mean_s) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert spread_s == pytest.approx(mean_s, rel=0.1)
    assert moments == random_moments(5_000, per_s=20, seed=3)
