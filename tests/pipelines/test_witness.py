"""A witness: what it remembers through crashes, and that no fork or rollback gets past it."""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines import witness_store
from pipelines.clock import ManualClock
from pipelines.witness import ALARMS, Witness, WitnessReply, add_log, memory_folder, read_logs
from pipelines.witness_alarms import MOST_FILES, read_alarms
from pipelines.witness_store import read_trees
from tests.pipelines.witness_samples import NOW, ORIGIN, SIGNER, MadeUpLog, make_witness
from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.transparency.note import NoteSigner, SignedNote, parse_signature_line
from verifier.transparency.witness_request import Refusal, Suspicion

LOG = MadeUpLog.of(300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_witness(tmp_path / "witness")
    return tmp_path / "witness"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def witness(folder: Path, clock: ManualClock) -> Iterator[Witness]:
    with Witness.open(folder, clock=clock) as opened:
        yield opened


def require_cosigned(witness: Witness, reply: WitnessReply, size: int) -> int:
    """Return the time in a reply once its line is shown to be over the log's ``size``."""
    assert reply.refused is None
    line = parse_signature_line(reply.line.removesuffix("\n"))
    return witness.verifier.verify_line(LOG.note(size).text, line).timestamp


def refusal(reply: WitnessReply) -> Refusal:
    assert reply.refused is not None
    assert reply.line == ""
    return reply.refused.refusal


def digest(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def test_a_log_that_grows_is_cosigned(witness: Witness, clock: ManualClock) -> None:
    sizes = [0, 1, 2, 7, 8, 256, 257, 300]
    for old, size in zip([0, *sizes], sizes, strict=False):
        clock.advance(1)
        reply = witness.add_checkpoint(LOG.request(old, size))
        assert require_cosigned(witness, reply, size) == int(clock.now().timestamp())
    assert [tree.size for tree in read_trees(memory_folder(witness.folder, ORIGIN))] == sizes


def test_what_was_cosigned_last_can_be_fetched(witness: Witness) -> None:
    assert witness.latest(digest(ORIGIN)) is None
    witness.add_checkpoint(LOG.request(0, 7))
    note = SignedNote.parse(witness.latest(digest(ORIGIN)) or b"")
    assert note.text == LOG.note(7).text
    SIGNER.verifier.verify(note)
    witness.verifier.verify(note)
    assert witness.latest(digest("other.example")) is None


def test_the_very_same_checkpoint_gets_the_very_same_line(folder: Path, clock: ManualClock) -> None:
    """A fresh one, at another second, would be another draw of the sessions' schedules."""
    with Witness.open(folder, clock=clock) as witness:
        first = witness.add_checkpoint(LOG.request(0, 7))
        clock.advance(5)
        assert witness.add_checkpoint(LOG.request(7, 7)) == first
    with Witness.open(folder, clock=clock) as witness:
        assert witness.add_checkpoint(LOG.request(7, 7)) == first
        reply = witness.add_checkpoint(LOG.request(7, 7, "an extension line"))
        assert refusal(reply) is Refusal.INCONSISTENT
    assert len(read_trees(memory_folder(folder, ORIGIN))) == 1


def test_lines_that_nobody_verified_are_not_kept(witness: Witness) -> None:
    """Anybody may add them to a published checkpoint; they would be told as if they counted."""
    strangers = [NoteSigner.generate(f"stranger{n}.example") for n in range(60)]
    text = LOG.note(7).text
    lines = "".join(signer.sign(text).signatures[0].line() for signer in strangers)
    assert witness.add_checkpoint(LOG.request(0, 7) + lines.encode()).refused is None
    kept = SignedNote.parse(witness.latest(digest(ORIGIN)) or b"")
    assert [line.name for line in kept.signatures] == [ORIGIN, witness.verifier.name]


def test_either_of_a_logs_keys_will_do(folder: Path, clock: ManualClock) -> None:
    """As while the log changes its key."""
    second = NoteSigner.generate(ORIGIN)
    add_log(folder, second.verifier)
    with Witness.open(folder, clock=clock) as witness:
        assert witness.add_checkpoint(LOG.request(0, 7)).refused is None
        renewed = MadeUpLog(leaves=LOG.leaves, signer=second)
        assert witness.add_checkpoint(renewed.request(7, 9)).refused is None
    assert Witness.open(folder, clock=clock).latest(digest(ORIGIN)) is not None


def test_time_never_goes_back(folder: Path, clock: ManualClock) -> None:
    with Witness.open(folder, clock=clock) as witness:
        first = require_cosigned(witness, witness.add_checkpoint(LOG.request(0, 7)), 7)
    behind = ManualClock(NOW.replace(year=2025))
    with Witness.open(folder, clock=behind) as witness:
        again = require_cosigned(witness, witness.add_checkpoint(LOG.request(7, 8)), 8)
    assert again == first == int(NOW.timestamp())


def test_a_thousand_forks_and_rollbacks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever proof comes with them; and the honest log goes on all the same."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # of a thousand pieces of evidence
    rng, attacks = random.Random(5), 0
    for drill in range(40):
        folder = tmp_path / str(drill)
        make_witness(folder)
        with Witness.open(folder, clock=ManualClock(NOW)) as witness:
            held = rng.randrange(1, 40)
            log = MadeUpLog.of(50, salt=drill)
            assert witness.add_checkpoint(log.request(0, held)).refused is None
            before = witness.latest(digest(ORIGIN))
            for _ in range(30):
                body = attack(log, held, rng)
                assert witness.add_checkpoint(body).line == ""
                attacks += 1
            assert witness.latest(digest(ORIGIN)) == before
            assert read_alarms(folder / ALARMS)
            grown = rng.randrange(held, 50)
            assert witness.add_checkpoint(log.request(held, grown)).refused is None
    assert attacks == 1200


def attack(log: MadeUpLog, held: int, rng: random.Random) -> bytes:
    """Return a request by which a log that was cosigned at ``held`` would change its history."""
    kind = rng.randrange(3)
    if kind == 0 and held > 1:  # back to fewer leaves
        return log.request(rng.choice([0, held]), rng.randrange(1, held))
    shared = rng.randrange(held)
    size = held if kind == 1 else rng.randrange(held, 50)
    fork = log.forked(shared, size, rng)
    proved, old = rng.choice([(fork, held), (log, held), (fork, shared), (fork, 0)])
    return fork.request(held, size, proof=proved.proof(old, size))


class TestAnAlarm:
    def test_holds_both_signed_checkpoints(
        self, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        witness.add_checkpoint(LOG.request(0, 7))
        fork = MadeUpLog.of(7, salt=9)
        assert refusal(witness.add_checkpoint(fork.request(7, 7))) is Refusal.INCONSISTENT
        (alarm,) = read_alarms(witness.folder / ALARMS)
        assert (alarm.kind, alarm.origin, alarm.size) == (Suspicion.FORK, ORIGIN, 7)
        refused = SignedNote.parse(alarm.evidence["refused"].encode())
        cosigned = SignedNote.parse(alarm.evidence["cosigned"].encode())
        SIGNER.verifier.verify(refused)
        SIGNER.verifier.verify(cosigned)
        witness.verifier.verify(cosigned)
        assert (refused.text, cosigned.text) == (fork.note(7).text, LOG.note(7).text)
        (record,) = (r for r in caplog.records if r.levelname == "ERROR")
        assert "ALARM fork" in record.getMessage()

    def test_is_kept_once(self, witness: Witness) -> None:
        witness.add_checkpoint(LOG.request(0, 7))
        for _ in range(3):
            witness.add_checkpoint(LOG.request(0, 5))
        assert [a.kind for a in read_alarms(witness.folder / ALARMS)] == [Suspicion.ROLLBACK]

    def test_is_not_made_of_what_was_cosigned_before(self, witness: Witness) -> None:
        """Checkpoints are public: anybody may hand an old one in."""
        for old, size in [(0, 5), (5, 7), (7, 12)]:
            witness.add_checkpoint(LOG.request(old, size))
        for size in (5, 7):
            assert refusal(witness.add_checkpoint(LOG.request(0, size))) is Refusal.STALE
        assert read_alarms(witness.folder / ALARMS) == []

    def test_knows_a_fork_of_an_older_tree(self, witness: Witness) -> None:
        witness.add_checkpoint(LOG.request(0, 5))
        witness.add_checkpoint(LOG.request(5, 7))
        witness.add_checkpoint(MadeUpLog.of(5, salt=9).request(0, 5))
        assert [a.kind for a in read_alarms(witness.folder / ALARMS)] == [Suspicion.FORK]

    def test_needs_the_logs_signature(self, witness: Witness) -> None:
        stranger = MadeUpLog(leaves=LOG.leaves, signer=NoteSigner.generate(ORIGIN))
        witness.add_checkpoint(LOG.request(0, 7))
        assert refusal(witness.add_checkpoint(stranger.request(0, 5))) is Refusal.UNTRUSTED
        assert read_alarms(witness.folder / ALARMS) == []

    def test_cannot_fill_the_disk_nor_crowd_out_a_fork(self, witness: Witness) -> None:
        witness.add_checkpoint(LOG.request(0, 200))
        for size in range(1, MOST_FILES + 20):
            witness.add_checkpoint(LOG.request(0, size))
        assert len(read_alarms(witness.folder / ALARMS)) == MOST_FILES
        witness.add_checkpoint(MadeUpLog.of(200, salt=9).request(200, 200))
        kinds = [alarm.kind for alarm in read_alarms(witness.folder / ALARMS)]
        assert len(kinds) == MOST_FILES + 1
        assert Suspicion.FORK in kinds


class TestTwoSubmissionsAtOnce:
    def test_in_threads_lead_to_one_history(self, witness: Witness) -> None:
        """Of every size at most one tree gets a line, and the sizes only grow."""
        fork = MadeUpLog.of(300, salt=9)
        gate = threading.Barrier(8)

        def submit(worker: int) -> list[tuple[int, bool]]:
            log, won, held = (LOG, fork)[worker % 2], [], 0
            gate.wait()
            for size in range(1, 40):
                reply = witness.add_checkpoint(log.request(held, max(size, held)))
                if reply.refused is None:
                    held = max(size, held)
                    won.append((held, worker % 2 == 0))
                elif reply.refused.refusal is Refusal.STALE:
                    held = reply.size
            return won

        with ThreadPoolExecutor(8) as pool:
            won = [each for found in pool.map(submit, range(8)) for each in found]
        assert len({honest for _, honest in won}) == 1
        sizes = [tree.size for tree in read_trees(memory_folder(witness.folder, ORIGIN))]
        assert sizes == sorted({size for size, _ in won})

    def test_by_two_processes_are_prevented(self, witness: Witness) -> None:
        script = (
            "import sys; from pathlib import Path; from pipelines.clock import SystemClock\n"
            "from pipelines.witness import Witness\n"
            "Witness.open(Path(sys.argv[1]), clock=SystemClock())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, witness.folder],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "another process runs this witness" in done.stderr


class TestAfterACrash:
    """Whatever was told is remembered; what is remembered may not have been told."""

    @pytest.mark.parametrize("stops", range(1, 5))
    def test_at_any_write_what_was_told_stays_true(
        self, folder: Path, clock: ManualClock, stops: int
    ) -> None:
        with Witness.open(folder, clock=clock) as witness:
            witness.add_checkpoint(LOG.request(0, 7))
        calls = iter(range(1, 100))

        def fsync(descriptor: int, real: object = os.fsync) -> None:
            if next(calls) == stops:
                raise OSError(5, "the disk is gone")
            real(descriptor)  # type: ignore[operator]

        told = None
        with Witness.open(folder, clock=clock) as witness, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            try:
                told = witness.add_checkpoint(LOG.request(7, 12))
            except LedgerError:
                with pytest.raises(LedgerError, match="start the witness anew"):
                    witness.add_checkpoint(LOG.request(7, 12))
        with Witness.open(folder, clock=clock) as witness:
            clock.advance(9)
            reply = witness.add_checkpoint(LOG.request(7, 12))
            if told is not None or reply.refused is not None:
                assert refusal(reply) is Refusal.STALE  # it was kept
                kept = witness.add_checkpoint(LOG.request(12, 12))
                assert told in (None, kept)
            assert witness.add_checkpoint(LOG.request(12, 20)).refused is None

    def test_killed_between_keeping_and_telling_it_tells_the_same_later(
        self, folder: Path, clock: ManualClock
    ) -> None:
        script = (
            "import os, sys; from pathlib import Path\n"
            "from pipelines import witness_store\n"
            "from pipelines.clock import SystemClock\n"
            "from pipelines.witness import Witness\n"
            "put = witness_store.CosignedLog.put\n"
            "def killed(self, cosigned):\n"
            "    put(self, cosigned)\n"
            "    os.kill(os.getpid(), 9)\n"
            "witness_store.CosignedLog.put = killed\n"
            "witness = Witness.open(Path(sys.argv[1]), clock=SystemClock())\n"
            "witness.add_checkpoint(sys.stdin.buffer.read())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, folder], input=LOG.request(0, 7), check=False
        )
        assert done.returncode == -9
        with Witness.open(folder, clock=clock) as witness:
            reply = witness.add_checkpoint(LOG.request(0, 9))
            assert (refusal(reply), reply.size) == (Refusal.STALE, 7)
            first = witness.add_checkpoint(LOG.request(7, 7))
            assert require_cosigned(witness, first, 7) > NOW.timestamp() - 1
            assert witness.add_checkpoint(LOG.request(7, 7)) == first

    def test_between_list_and_latest_the_list_is_cut_back(
        self, folder: Path, clock: ManualClock
    ) -> None:
        with Witness.open(folder, clock=clock) as witness:
            witness.add_checkpoint(LOG.request(0, 7))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(witness_store, "replace_file", refuse)
                with pytest.raises(LedgerError):
                    witness.add_checkpoint(LOG.request(7, 12))
        memory = memory_folder(folder, ORIGIN)
        with (memory / "cosigned").open("ab") as file:
            file.write(b"torn")
        assert [tree.size for tree in read_trees(memory)] == [7, 12]
        with Witness.open(folder, clock=clock) as witness:
            assert witness.add_checkpoint(LOG.request(7, 10)).refused is None
        assert [tree.size for tree in read_trees(memory)] == [7, 10]

    def test_drafts_are_swept(self, folder: Path, clock: ManualClock) -> None:
        (folder / "drafts" / ".latest.tmp").write_bytes(b"half")
        Witness.open(folder, clock=clock).close()
        assert list((folder / "drafts").iterdir()) == []


def refuse(*_args: object, **_kwargs: object) -> None:
    raise OSError(28, "no space left")


class TestAMemoryThatIsNotWhole:
    """It must not be begun anew: that would be the rollback it is there to prevent."""

    @pytest.fixture
    def memory(self, folder: Path, clock: ManualClock) -> Path:
        with Witness.open(folder, clock=clock) as witness:
            witness.add_checkpoint(LOG.request(0, 5))
            witness.add_checkpoint(LOG.request(5, 7))
        return memory_folder(folder, ORIGIN)

    def require_refused(self, memory: Path) -> None:
        with pytest.raises(LedgerError):
            Witness.open(memory.parent.parent, clock=ManualClock(NOW))

    @pytest.mark.parametrize("name", ["latest", "cosigned"])
    def test_for_a_missing_file(self, memory: Path, name: str) -> None:
        (memory / name).unlink()
        self.require_refused(memory)

    def test_for_an_older_copy_of_one(self, memory: Path) -> None:
        (memory / "cosigned").write_bytes((memory / "cosigned").read_bytes()[:48])
        self.require_refused(memory)

    def test_for_any_flipped_bit_of_the_latest(self, memory: Path) -> None:
        whole = (memory / "latest").read_bytes()
        text_and_own_line = [*range(whole.index(b"\n\n")), *range(len(whole) - 90, len(whole) - 1)]
        for place in text_and_own_line:
            changed = bytearray(whole)
            changed[place] ^= 1
            (memory / "latest").write_bytes(changed)
            self.require_refused(memory)


class TestTheListOfLogs:
    def test_grows_without_repeating(self, folder: Path) -> None:
        second = NoteSigner.generate(ORIGIN).verifier
        for key in (second, SIGNER.verifier, second):
            add_log(folder, key)
        assert read_logs(folder) == {ORIGIN: [SIGNER.verifier, second]}

    def test_with_a_line_that_is_no_key_is_refused(self, folder: Path) -> None:
        (folder / "logs").write_text("nonsense\n")
        with pytest.raises(InvalidRecordError):
            Witness.open(folder, clock=ManualClock(NOW))

    def test_is_none_where_there_is_no_witness(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no witness"):
            read_logs(tmp_path)


def test_a_witness_keeps_its_key(folder: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        make_witness(folder)
    assert (folder / "witness.key").stat().st_mode & 0o077 == 0


def test_damaged_evidence_is_told(folder: Path) -> None:
    (folder / ALARMS).mkdir()
    for content in ("no json", json.dumps({"kind": "fork"})):
        (folder / ALARMS / "x.json").write_text(content)
        with pytest.raises(LedgerError, match="damaged"):
            read_alarms(folder / ALARMS)


def test_a_closed_witness_signs_nothing(witness: Witness) -> None:
    witness.close()
    with pytest.raises(LedgerError, match="closed"):
        witness.add_checkpoint(LOG.request(0, 7))
