"""Getting checkpoints cosigned: nobody waits for who is down, and other histories are told."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from pipelines import witnessing as witnessing_module
from pipelines.clock import ManualClock
from pipelines.log_writer import LogWriter
from pipelines.witness import Witness
from pipelines.witness_client import WitnessAddress, WitnessAnswer, WitnessClient, read_addresses
from pipelines.witnessing import Witnessing
from tests.pipelines.witness_samples import (
    NOW,
    SIGNER,
    WITNESS,
    LocalClient,
    MadeUpLog,
    make_witness,
)
from verifier.errors import InvalidRecordError
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint
from verifier.transparency.cosignature import CosignatureSigner
from verifier.transparency.note import NoteSignature, SignedNote
from verifier.transparency.witness_request import AddCheckpoint

LOG = MadeUpLog.of(64)
COSIGNER = CosignatureSigner(WITNESS, bytes(32))
PATIENT_S = 30.0  # far longer than a test should take: who waits for nothing returns at once


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    make_witness(tmp_path / "witness")
    with Witness.open(tmp_path / "witness", clock=ManualClock(NOW)) as opened:
        yield opened


@pytest.fixture
def client(witness: Witness) -> LocalClient:
    return LocalClient(witness)


@contextmanager
def witnessed_by(folder: Path, *clients: WitnessClient) -> Iterator[Witnessing]:
    with Witnessing(clients, alarms=folder / "alarms") as opened:
        yield opened


def offer(witnessing: Witnessing, size: int, log: MadeUpLog = LOG) -> Checkpoint:
    checkpoint = log.checkpoint(size)
    witnessing.offer(checkpoint, log.note(size), lambda old: log.proof(old, size))
    return checkpoint


def cosigned(witnessing: Witnessing, size: int) -> tuple[NoteSignature, ...]:
    return witnessing.lines(offer(witnessing, size), within_s=PATIENT_S)


def test_each_checkpoint_gets_a_verified_line(tmp_path: Path, client: LocalClient) -> None:
    with witnessed_by(tmp_path, client) as witnessing:
        for size in (3, 7, 12):
            (line,) = cosigned(witnessing, size)
            client.witness.verifier.verify_line(LOG.note(size).text, line)
    assert client.asked == [(0, 3), (3, 7), (7, 12)]


def test_the_oldest_is_asked_for_first(tmp_path: Path, client: LocalClient) -> None:
    """A witness that has seen a later one cannot cosign the one that somebody waits for."""
    go = Event()
    client.before = lambda: go.wait(PATIENT_S)
    with witnessed_by(tmp_path, client) as witnessing:
        offered = [offer(witnessing, size) for size in (3, 7, 12)]
        go.set()
        assert [len(witnessing.lines(each, within_s=PATIENT_S)) for each in offered] == [1, 1, 1]


def test_where_it_lags_only_who_waits_is_served(
    tmp_path: Path, client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnessing_module, "UNASKED_AFTER_S", 0.0)
    asked, go = Event(), Event()

    def hold() -> None:
        asked.set()
        go.wait(PATIENT_S)

    client.before = hold
    with witnessed_by(tmp_path, client) as witnessing:
        offer(witnessing, 3)
        assert asked.wait(PATIENT_S)
        for size in (5, 7, 9):
            last = offer(witnessing, size)
        go.set()
        assert len(witnessing.lines(last, within_s=PATIENT_S)) == 1
    assert [size for _, size in client.asked] == [3, 9]


def test_a_restart_takes_up_where_the_witness_is(tmp_path: Path, client: LocalClient) -> None:
    with witnessed_by(tmp_path, client) as witnessing:
        cosigned(witnessing, 7)
    again = LocalClient(client.witness)
    with witnessed_by(tmp_path, again) as witnessing:
        assert len(cosigned(witnessing, 12)) == 1
    assert again.asked == [(0, 12), (7, 12)]


def test_the_same_checkpoint_after_a_restart_gets_the_same_line(
    tmp_path: Path, client: LocalClient
) -> None:
    lines = []
    for _ in range(2):
        with witnessed_by(tmp_path, LocalClient(client.witness)) as witnessing:
            lines.append(cosigned(witnessing, 7))
    assert lines[0] == lines[1]
    assert len(lines[0]) == 1


class DeadClient(WitnessClient):
    """A witness that cannot be reached until it comes back."""

    def __init__(self, behind: LocalClient) -> None:
        super().__init__(behind.address)
        self.behind, self.back = behind, Event()
        self.before: Callable[[], object] = lambda: None

    def submit(self, request: AddCheckpoint) -> WitnessAnswer:
        self.before()
        if not self.back.is_set():
            return WitnessAnswer(failure="ConnectError")
        return self.behind.submit(request)


def test_nobody_waits_for_a_witness_that_is_down(
    tmp_path: Path,
    client: LocalClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(witnessing_module, "FIRST_PAUSE_S", 0.0)
    dead, returned, waited = DeadClient(client), Event(), list[bool]()
    with witnessed_by(tmp_path, dead) as witnessing:
        assert cosigned(witnessing, 3) == ()
        # From here on it does not even refuse: each request to it hangs until somebody returned.
        dead.before = lambda: waited.append(not returned.wait(PATIENT_S))
        for size in (7, 12):
            checkpoint = offer(witnessing, size)
            assert witnessing.lines(checkpoint, within_s=2 * PATIENT_S) == ()
        returned.set()
    assert not any(waited)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        f"witness {dead.address.name} does not cosign: ConnectError"
    ]


def test_one_that_comes_back_is_asked_again(
    tmp_path: Path, client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything new being published."""
    monkeypatch.setattr(witnessing_module, "FIRST_PAUSE_S", 0.01)
    dead, carried = DeadClient(client), Event()
    with witnessed_by(tmp_path, dead) as witnessing:
        witnessing.carry_to(lambda _checkpoint, _lines: carried.set())
        assert cosigned(witnessing, 7) == ()
        dead.back.set()
        assert carried.wait(PATIENT_S)
        assert len(cosigned(witnessing, 12)) == 1


def test_a_bug_in_one_costs_the_others_nothing(tmp_path: Path, client: LocalClient) -> None:
    class Broken(WitnessClient):
        def submit(self, request: AddCheckpoint) -> WitnessAnswer:
            raise ZeroDivisionError(request)

    other = CosignatureSigner.generate("witness.hr.example").verifier
    broken = Broken(WitnessAddress(verifier=other, url="http://localhost"))
    with witnessed_by(tmp_path, broken, client) as witnessing:
        for size in (3, 7):
            assert len(cosigned(witnessing, size)) == 1


def test_a_bug_in_who_keeps_the_lines_does_not_end_the_asking(
    tmp_path: Path, client: LocalClient, caplog: pytest.LogCaptureFixture
) -> None:
    carried = Event()

    def carry(checkpoint: Checkpoint, _lines: object) -> None:
        if checkpoint.size < 12:
            raise ZeroDivisionError("a secret")
        carried.set()

    with witnessed_by(tmp_path, client) as witnessing:
        witnessing.carry_to(carry)
        for size in (3, 7, 12):
            assert len(cosigned(witnessing, size)) == 1
        assert carried.wait(PATIENT_S)
    assert [r.getMessage() for r in caplog.records] == 2 * [
        "what a witness said was lost: ZeroDivisionError"
    ]


def test_who_does_not_cosign_is_named_until_it_does(
    tmp_path: Path, client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnessing_module, "FIRST_PAUSE_S", 0.01)
    dead, carried = DeadClient(client), Event()
    with witnessed_by(tmp_path, dead) as witnessing:
        witnessing.carry_to(lambda _checkpoint, _lines: carried.set())
        assert not list(witnessing.failing)
        cosigned(witnessing, 7)
        assert list(witnessing.failing) == [dead.address.name]
        dead.back.set()
        assert carried.wait(PATIENT_S)
        assert not list(witnessing.failing)


class TestAnAlarm:
    def evidence(self, tmp_path: Path) -> list[dict[str, object]]:
        found = (tmp_path / "alarms").glob("*.json")
        return [json.loads(path.read_text()) for path in found]

    def test_is_a_witness_that_saw_more_than_there_is(
        self, tmp_path: Path, client: LocalClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log was put back to an older copy."""
        client.witness.add_checkpoint(LOG.request(0, 20))
        with witnessed_by(tmp_path, client) as witnessing:
            assert cosigned(witnessing, 7) == ()
        (found,) = self.evidence(tmp_path)
        assert (found["status"], found["witness_size"]) == (409, 20)
        assert found["asked"] == LOG.note(7).serialize().decode()
        assert any("ALARM" in r.getMessage() for r in caplog.records if r.levelname == "ERROR")

    @pytest.mark.parametrize("size", [20, 30])
    def test_is_a_witness_of_another_history(
        self, tmp_path: Path, client: LocalClient, size: int
    ) -> None:
        client.witness.add_checkpoint(MadeUpLog.of(20, salt=9).request(0, 20))
        with witnessed_by(tmp_path, client) as witnessing:
            assert cosigned(witnessing, size) == ()
        (found,) = self.evidence(tmp_path)
        assert found["status"] == 422

    def test_is_not_a_witness_that_saw_a_later_one_of_ours(
        self, tmp_path: Path, client: LocalClient
    ) -> None:
        client.witness.add_checkpoint(LOG.request(0, 12))
        go = Event()
        client.before = lambda: go.wait(PATIENT_S)
        with witnessed_by(tmp_path, client) as witnessing:
            early, late = offer(witnessing, 7), offer(witnessing, 12)
            go.set()
            assert witnessing.lines(early, within_s=PATIENT_S) == ()
            assert len(witnessing.lines(late, within_s=PATIENT_S)) == 1
        assert self.evidence(tmp_path) == []


class TestTheLogCarries:
    """Witnesses' lines, beside whatever it publishes meanwhile."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[LogWriter]:
        with LogWriter.open(tmp_path / "log", SIGNER) as opened:
            yield opened

    def published(self, log: LogWriter, entry: bytes) -> tuple[Checkpoint, NoteSignature]:
        log.append(entry)
        checkpoint = log.publish()
        return checkpoint, COSIGNER.cosign(checkpoint.text(), 7)

    def test_those_of_the_newest_in_both_files(self, log: LogWriter) -> None:
        checkpoint, line = self.published(log, b"0")
        log.carry(checkpoint, [line])
        note = SignedNote.parse(log.reader.checkpoint_bytes())
        assert COSIGNER.verifier.verify(note).timestamp == 7
        assert log.reader.witnessed_bytes() == note.serialize()
        assert log.note.signatures == note.signatures[:1]  # what is handed to the witnesses

    def test_late_ones_without_going_back(self, log: LogWriter) -> None:
        older, older_line = self.published(log, b"0")
        newer, newer_line = self.published(log, b"1")
        log.carry(older, [older_line])
        assert log.reader.checkpoint(SIGNER.verifier) == newer
        assert open_checkpoint(log.reader.witnessed_bytes() or b"", SIGNER.verifier) == older
        log.carry(newer, [newer_line])
        log.carry(older, [older_line])
        assert open_checkpoint(log.reader.witnessed_bytes() or b"", SIGNER.verifier) == newer

    def test_across_restarts(self, log: LogWriter, tmp_path: Path) -> None:
        checkpoint, line = self.published(log, b"0")
        log.carry(checkpoint, [line])
        log.close()
        with LogWriter.open(tmp_path / "log", SIGNER) as again:
            assert again.checkpoint == checkpoint
            assert len(again.note.signatures) == 1
            assert self.published(again, b"1")[0].size == 2


class TestAnAnswer:
    """Read as strictly as a request: whoever is on the way could have written it."""

    @pytest.fixture
    def request_(self) -> AddCheckpoint:
        return AddCheckpoint.parse(LOG.request(0, 7))

    def test_of_another_key_counts_for_nothing(
        self, client: LocalClient, request_: AddCheckpoint
    ) -> None:
        namesake = CosignatureSigner.generate(WITNESS)
        foreign = namesake.cosign(request_.note.text, 7).line().encode()
        answer = client._understood(request_, 200, "text/plain", foreign)
        assert answer.line is None
        assert answer.failure == "LedgerError"
        own = client.witness.add_checkpoint(request_.serialize()).line.encode()
        assert client._understood(request_, 200, "text/plain", foreign + own).line is not None

    def test_over_another_text_counts_for_nothing(
        self, client: LocalClient, request_: AddCheckpoint
    ) -> None:
        other = client.witness.add_checkpoint(LOG.request(0, 9)).line.encode()
        assert client._understood(request_, 200, "text/plain", other).line is None

    @pytest.mark.parametrize(
        ("status", "kind", "body"),
        [
            (200, "text/plain", b""),
            (200, "text/plain", b"\xff\n"),
            (200, "text/html", b"<html>welcome to the hotel</html>"),
            (409, "text/x.tlog.size", b"07\n"),
            (409, "text/x.tlog.size", b"seven"),
            (403, "text/plain", b""),
            (302, "text/html", b""),
            (500, "text/plain", b"7\n"),
        ],
    )
    def test_that_makes_no_sense_is_a_failure(
        self, client: LocalClient, request_: AddCheckpoint, status: int, kind: str, body: bytes
    ) -> None:
        answer = client._understood(request_, status, kind, body)
        assert answer.failure is not None
        assert not answer.inconsistent

    def test_of_older_texts_of_the_specification_is_understood(
        self, client: LocalClient, request_: AddCheckpoint
    ) -> None:
        """409 without the size was once said of two trees of one size."""
        assert client._understood(request_, 409, "text/plain", b"7\n").inconsistent


class TestAddresses:
    VKEY = CosignatureSigner(WITNESS, bytes(32)).verifier.vkey
    OTHER = CosignatureSigner("witness.hr.example", bytes(range(32))).verifier.vkey

    @pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
    def test_are_pairs(self, between: str) -> None:
        words = [self.VKEY, "https://a.example/w/", self.OTHER, "http://127.0.0.1:1"]
        found = read_addresses(between.join(words))
        assert [address.url for address in found] == ["https://a.example/w", "http://127.0.0.1:1"]
        assert [address.verifier.vkey for address in found] == [self.VKEY, self.OTHER]
        assert all(address.is_guarded for address in found)

    def test_may_be_none(self) -> None:
        assert read_addresses("") == ()

    def test_by_http_are_not_guarded(self) -> None:
        (found,) = read_addresses(f"{self.VKEY} http://witness.example")
        assert not found.is_guarded

    @pytest.mark.parametrize(
        "text",
        [
            VKEY,
            f"https://a.example {VKEY}",
            f"{SIGNER.verifier.vkey} https://a.example",  # a log's key, not a witness's
            f"{VKEY} ftp://a.example",
            f"{VKEY} https://",
            f"{VKEY} https://user:secret@a.example",
            f"{VKEY} https://a.example?q",
            f"{VKEY} https://a.example {VKEY} https://b.example",
        ],
    )
    def test_that_cannot_be_used_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidRecordError):
            read_addresses(text)


def test_without_witnesses_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    with witnessed_by(tmp_path) as witnessing:
        assert cosigned(witnessing, 7) == ()
