"""A witness over real HTTP: each status of the specification, and bodies that are none."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.clock import ManualClock
from pipelines.witness import Witness
from service.http.server import listen, serve_in_thread
from service.witness_app import MOST_BYTES, create_witness_app
from tests.pipelines.witness_samples import NOW, ORIGIN, MadeUpLog, make_witness
from verifier.errors import LedgerError
from verifier.transparency.note import NoteSigner, SignedNote

LOG, FORK = MadeUpLog.of(16), MadeUpLog.of(16, salt=1)
STRANGER = MadeUpLog(leaves=LOG.leaves, signer=NoteSigner("other.example", bytes(32)))
NAMESAKE = MadeUpLog(leaves=LOG.leaves, signer=NoteSigner(ORIGIN, bytes(32)))
DIGEST = hashlib.sha256(ORIGIN.encode()).hexdigest()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    make_witness(tmp_path / "witness")
    with Witness.open(tmp_path / "witness", clock=ManualClock(NOW)) as opened:
        yield opened


@pytest.fixture
def http(witness: Witness) -> Iterator[httpx.Client]:
    bound = listen("127.0.0.1", 0)
    app = create_witness_app(witness)
    with bound, serve_in_thread(app, bound) as url, httpx.Client(base_url=url) as client:
        yield client


def add(http: httpx.Client, body: bytes) -> httpx.Response:
    return http.post("/add-checkpoint", content=body)


def test_a_checkpoint_is_cosigned(http: httpx.Client, witness: Witness) -> None:
    reply = add(http, LOG.request(0, 7))
    assert reply.status_code == 200
    note = SignedNote.parse(LOG.note(7).serialize() + reply.content)
    assert witness.verifier.verify(note).timestamp == int(NOW.timestamp())


STATUSES = [
    (b"", 400),
    (b"old 7\n", 400),
    (LOG.request(8, 7), 400),
    (STRANGER.request(0, 7), 404),
    (NAMESAKE.request(7, 9), 403),
    (LOG.request(0, 9), 409),
    (LOG.request(5, 9), 409),
    (LOG.request(9, 9), 409),
    (FORK.request(7, 9), 422),
    (FORK.request(7, 7), 422),
    (LOG.request(7, 9, proof=()), 422),
    (LOG.request(7, 7, proof=(bytes(32),)), 422),
    (LOG.request(7, 7), 200),
    (LOG.request(7, 9), 200),
]


def test_each_status(http: httpx.Client) -> None:
    add(http, LOG.request(0, 7))
    for body, status in STATUSES:  # those that change something come last
        reply = add(http, body)
        assert (body, reply.status_code) == (body, status)
        if status == 409:
            assert reply.headers["content-type"] == "text/x.tlog.size"
            assert reply.content == b"7\n"


def test_a_witness_that_cosigned_nothing_says_zero(http: httpx.Client) -> None:
    reply = add(http, LOG.request(3, 7))
    assert (reply.status_code, reply.content) == (409, b"0\n")
    assert add(http, LOG.request(0, 7, proof=(bytes(32),))).status_code == 422


def test_a_wrong_signature_that_names_the_logs_key_is_forbidden(http: httpx.Client) -> None:
    body = LOG.request(0, 7)
    other = LOG.note(8).signatures[0].line().encode()
    assert add(http, body[: body.rindex("—".encode())] + other).status_code == 403
    assert add(http, body + other).status_code == 403


def test_every_flipped_bit_of_a_request_is_refused(http: httpx.Client) -> None:
    """But where it makes a line of the note that of a key nobody knows, or the old size another."""
    add(http, LOG.request(0, 7))
    body = LOG.request(7, 9)
    for place in range(0, len(body), 3):
        changed = bytearray(body)
        changed[place] ^= 1 << place % 8
        assert add(http, bytes(changed)).status_code in {400, 403, 404, 409, 422}
    assert add(http, body).status_code == 200


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200))
def test_garbage_is_a_bad_request(http: httpx.Client, body: bytes) -> None:
    assert add(http, body).status_code == 400
    assert add(http, b"old 0\n\n" + body).status_code == 400


def test_a_body_that_is_too_large_is_not_read(http: httpx.Client) -> None:
    assert add(http, b"x" * (MOST_BYTES + 1)).status_code == 413


def test_a_body_that_never_ends_is_given_up(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.witness_app.ARRIVES_WITHIN_S", 0.05)
    with socket.create_connection((http.base_url.host, http.base_url.port or 0)) as wire:
        wire.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\n\r\nold")
        assert b" 408 " in wire.recv(4096).split(b"\r\n")[0]


def test_a_disk_that_refuses_is_the_witnesss_own_fault(
    http: httpx.Client, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Witness, _body: bytes) -> None:
        raise LedgerError("the disk is gone")

    monkeypatch.setattr(Witness, "add_checkpoint", fail)
    assert add(http, LOG.request(0, 7)).status_code == 500
    assert witness.latest(DIGEST) is None


def test_the_latest_checkpoint_is_public(http: httpx.Client) -> None:
    assert http.get(f"/{DIGEST}/checkpoint").status_code == 404
    line = add(http, LOG.request(0, 7)).content
    reply = http.get(f"/{DIGEST}/checkpoint")
    assert (reply.status_code, reply.content) == (200, LOG.note(7).serialize() + line)
    assert http.get(f"/{'0' * 64}/checkpoint").status_code == 404


def test_alarms_are_public_with_their_evidence(http: httpx.Client) -> None:
    add(http, LOG.request(0, 7))
    assert http.get("/alarms").json() == []
    add(http, FORK.request(7, 7))
    (alarm,) = http.get("/alarms").json()
    assert (alarm["kind"], alarm["origin"], alarm["size"]) == ("fork", ORIGIN, 7)
    evidence = http.get(f"/alarms/{alarm['evidence']}").json()
    assert evidence["refused"].encode() == FORK.note(7).serialize()
    assert http.get(f"/alarms/{'0' * 16}-fork-{'0' * 16}.json").status_code == 404
    assert http.get("/alarms/..%2Flogs").status_code in {404, 422}
