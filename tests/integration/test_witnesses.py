"""An archive, and two bureaux that watch it over HTTP: one down, one back, one of two minds."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import witnessing as witnessing_module
from pipelines.archive import Archive
from pipelines.archive_verification import verify_archive, verify_receipt
from pipelines.clock import ManualClock
from pipelines.witness import Witness, add_log
from pipelines.witness_client import WitnessAddress, WitnessClient
from pipelines.witnessing import WitnessedCheckpoint, Witnessing
from service.archive_commands import archive_app
from service.http.server import listen, serve_in_thread
from service.witness_app import create_witness_app
from tests.pipelines.archive_samples import (
    OPENED_AT,
    ORIGIN,
    Folders,
    append_note,
    make_folders,
    prepared_snapshot,
)
from tests.pipelines.witness_samples import MadeUpLog, make_witness
from verifier.errors import LedgerError
from verifier.transparency.cosignature import Cosignature, CosignatureVerifier
from verifier.transparency.note import NoteSigner, SignedNote

__all__ = ["make_folders"]  # a fixture


class Bureau:
    """One witness with its own folder and key; up while ``running`` lasts, always at one port."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.verifier = make_witness(folder, name, logs=False)
        with listen("127.0.0.1", 0) as bound:
            self.port = bound.getsockname()[1]
        url = f"http://127.0.0.1:{self.port}"
        self.address = WitnessAddress(verifier=self.verifier, url=url)
        self.clock = ManualClock(OPENED_AT)

    @contextmanager
    def running(self) -> Iterator[Witness]:
        bound = listen("127.0.0.1", self.port)
        with (
            bound,
            Witness.open(self.folder, clock=self.clock) as witness,
            serve_in_thread(create_witness_app(witness), bound),
        ):
            yield witness


@pytest.fixture
def bureaux(tmp_path: Path, folders: Folders) -> tuple[Bureau, Bureau]:
    with folders.open() as archive:
        key = archive.verifier
    finance = Bureau(tmp_path / "finance", "witness.finance.example")
    hr = Bureau(tmp_path / "hr", "witness.hr.example")
    for bureau in (finance, hr):
        add_log(bureau.folder, key)
    return finance, hr


@contextmanager
def watched(folders: Folders, *bureaux: Bureau) -> Iterator[Archive]:
    clients = [WitnessClient(bureau.address) for bureau in bureaux]
    with (
        Witnessing(clients, alarms=folders.archive.parent / "alarms") as witnessing,
        folders.open(witnessing=witnessing) as archive,
    ):
        yield archive


def opened(archive: Archive, sequence: int) -> WitnessedCheckpoint:
    """Append what a session begins with, dated as the bureaux' clocks are; wait for its lines."""
    prepared = prepared_snapshot(archive.evidence, sequence)
    leaf = replace(prepared.leaf, time=OPENED_AT)
    dated = replace(prepared, leaf=leaf, entry=leaf.serialize())
    return archive.first_checkpoint_with(archive.append(dated).index)


def by(first: WitnessedCheckpoint, *bureaux: Bureau) -> list[str]:
    """Return whose the cosignatures are; each must be of one of ``bureaux``."""
    return [signer(first, each, bureaux) for each in first.cosignatures]


def signer(first: WitnessedCheckpoint, cosignature: bytes, bureaux: tuple[Bureau, ...]) -> str:
    for bureau in bureaux:
        try:
            found = Cosignature.from_bytes(cosignature)
            bureau.verifier.verify_bytes(first.checkpoint.text(), found)
        except LedgerError:
            continue
        return bureau.verifier.name
    raise AssertionError("a cosignature is nobody's")


def carriers(data: bytes, *verifiers: CosignatureVerifier) -> int:
    note = SignedNote.parse(data)
    return sum(any(map(verifier.made, note.signatures)) for verifier in verifiers)


def wait_until_carried(archive: Archive, *bureaux: Bureau) -> None:
    """Return once the checkpoint on the disk has a line of each bureau."""
    verifiers = [bureau.verifier for bureau in bureaux]
    for _ in range(3000):
        if carriers(archive.reader.checkpoint_bytes(), *verifiers) == len(verifiers):
            return
        time.sleep(0.01)
    raise AssertionError("the checkpoint on the disk never got its lines")


def test_both_cosign_and_receipts_show_it(
    folders: Folders, bureaux: tuple[Bureau, Bureau], tmp_path: Path
) -> None:
    finance, hr = bureaux
    with ExitStack() as stack:
        for bureau in bureaux:
            stack.enter_context(bureau.running())
        archive = stack.enter_context(watched(folders, *bureaux))
        first = opened(archive, 0)
        assert sorted(by(first, *bureaux)) == [finance.verifier.name, hr.verifier.name]
        assert first.cosignatures == tuple(sorted(first.cosignatures))
        wait_until_carried(archive, *bureaux)
        receipt = archive.receipt(0)
        key = archive.verifier
    shown = verify_receipt(receipt, key, witnesses=[finance.verifier, hr.verifier])
    assert [witness.name for witness in shown.witnessed] == [b.verifier.name for b in bureaux]
    assert {witness.timestamp for witness in shown.witnessed} == {int(OPENED_AT.timestamp())}
    keys = [finance.verifier, hr.verifier]
    assert verify_archive(folders.archive, verifier=key, witnesses=keys).problems == []
    (tmp_path / "r").write_bytes(receipt)
    command = ["verify", str(tmp_path / "r"), "--vkey", key.vkey]
    asked = [word for each in keys for word in ("--witness", each.vkey)]
    done = CliRunner().invoke(archive_app, [*command, *asked])
    assert done.exit_code == 0
    assert "cosigned by witness.hr.example at 2026-05-01T09:00:00" in done.stdout
    plain = CliRunner().invoke(archive_app, command)
    assert plain.exit_code == 0
    assert "cosigned by witness.hr.example? not checked" in plain.stdout
    stranger = make_witness(tmp_path / "stranger", "witness.finance.example")
    assert CliRunner().invoke(archive_app, [*command, "--witness", stranger.vkey]).exit_code == 1


def test_an_unwitnessed_receipt_says_so(folders: Folders, tmp_path: Path) -> None:
    with folders.open() as archive:
        assert opened(archive, 0).cosignatures == ()
        (tmp_path / "r").write_bytes(archive.receipt(0))
        command = ["verify", str(tmp_path / "r"), "--vkey", archive.verifier.vkey]
    assert "unwitnessed" in CliRunner().invoke(archive_app, command).stdout


def test_one_is_down_and_comes_back(
    folders: Folders, bureaux: tuple[Bureau, Bureau], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnessing_module, "FIRST_PAUSE_S", 0.05)
    finance, hr = bureaux
    with finance.running(), watched(folders, *bureaux) as archive:
        for sequence in range(3):
            assert by(opened(archive, sequence), finance) == [finance.verifier.name]
        with hr.running():
            wait_until_carried(archive, finance, hr)
            assert len(by(opened(archive, 3), *bureaux)) == 2
        assert verify_archive(folders.archive, verifier=archive.verifier).problems == []


def test_one_that_saw_another_history_is_an_alarm_and_the_other_goes_on(
    folders: Folders, bureaux: tuple[Bureau, Bureau], caplog: pytest.LogCaptureFixture
) -> None:
    finance, hr = bureaux
    signer = NoteSigner.from_text((folders.secrets / "signing.key").read_text().strip())
    fork = replace(MadeUpLog.of(9), signer=signer)
    with finance.running(), hr.running() as deceived, watched(folders, *bureaux) as archive:
        assert deceived.add_checkpoint(fork.request(0, 9)).refused is None
        assert by(opened(archive, 0), *bureaux) == [finance.verifier.name]
        assert by(opened(archive, 1), *bureaux) == [finance.verifier.name]
    assert list((folders.archive.parent / "alarms").glob("*.json"))
    told = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert any(f"witness {hr.address.name} holds another history" in text for text in told)


@pytest.mark.parametrize(("off_s", "counted"), [(60, 1), (61, 0), (-60, 1), (-61, 0)])
def test_a_cosignature_of_another_time_does_not_count(
    folders: Folders, bureaux: tuple[Bureau, Bureau], off_s: int, counted: int
) -> None:
    finance, _ = bureaux
    finance.clock = ManualClock(OPENED_AT + timedelta(seconds=off_s))
    with finance.running(), watched(folders, finance) as archive:
        assert len(opened(archive, 0).cosignatures) == counted


def test_a_restarted_engine_goes_on(folders: Folders, bureaux: tuple[Bureau, Bureau]) -> None:
    finance, _ = bureaux
    with finance.running() as witness:
        for sequence in range(2):
            with watched(folders, finance) as archive:
                assert len(opened(archive, sequence).cosignatures) == 1
        assert witness.logs[ORIGIN]


def test_whoever_stops_leaves_all_of_it_cosigned(
    folders: Folders, bureaux: tuple[Bureau, Bureau]
) -> None:
    finance, hr = bureaux
    with finance.running(), watched(folders, finance, hr) as archive:
        opened(archive, 0)
        append_note(archive)
        size = archive.publish_witnessed().size
    key = finance.verifier
    assert verify_archive(folders.archive, witnesses=[key]).witnessed == size
    assert not verify_archive(folders.archive, witnesses=[key, hr.verifier]).ok  # it was down


class TestTheCosignedCheckpoint:
    @pytest.fixture
    def key(self, folders: Folders, bureaux: tuple[Bureau, Bureau]) -> CosignatureVerifier:
        finance, _ = bureaux
        with finance.running(), watched(folders, finance) as archive:
            opened(archive, 0)
            wait_until_carried(archive, finance)
        with folders.open() as archive:
            opened(archive, 1)
        return finance.verifier

    def test_serves_the_receipts_of_what_it_holds(
        self, folders: Folders, key: CosignatureVerifier
    ) -> None:
        with folders.open() as archive:
            verify_receipt(archive.receipt(0), archive.verifier, witnesses=[key])
            with pytest.raises(LedgerError, match="no cosignature"):
                verify_receipt(archive.receipt(1), archive.verifier, witnesses=[key])

    def test_is_checked_with_the_rest(self, folders: Folders, key: CosignatureVerifier) -> None:
        path = folders.archive / "log" / "witnessed"
        whole = path.read_bytes()
        report = verify_archive(folders.archive, witnesses=[key])
        assert report.ok
        assert report.witnessed is not None
        assert report.witnessed < report.entries + report.pending  # it tells how far it reaches
        assert verify_archive(folders.archive).witnessed is None
        for place in range(0, len(whole), 4):
            changed = bytearray(whole)
            changed[place] ^= 1
            path.write_bytes(changed)
            assert not verify_archive(folders.archive, witnesses=[key]).ok
        path.unlink()
        assert verify_archive(folders.archive).ok
        assert not verify_archive(folders.archive, witnesses=[key]).ok
