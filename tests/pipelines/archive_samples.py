"""A small archive for tests: pictures made of noise, no face anywhere."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.image_decoder import DecodedImage, decode_image
from pipelines.archive import Archive, ArchivedSnapshot
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.keystore import KeyStore, RecordClass
from pipelines.lesson_store import EntrySource
from pipelines.private_files import load_or_create_signer
from pipelines.witnessing import Witnessing

AUTHORITY, ORIGIN = "chongqing", "log.example/chongqing"
OPENED_AT = datetime(2026, 5, 1, 9, tzinfo=UTC)
LEARNER = "500101199001011234"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where a test's archive and its keys lie."""

    archive: Path
    secrets: Path

    def open(
        self, source: EntrySource | None = None, witnessing: Witnessing | None = None
    ) -> Archive:
        """Open the archive for writing; with a source it follows that."""
        return Archive.open(
            self.archive,
            authority=AUTHORITY,
            keystore=self.keystore(),
            signer=load_or_create_signer(self.secrets / "signing.key", ORIGIN),
            source=source,
            witnessing=witnessing,
        )

    def keystore(self) -> KeyStore:
        """Open its keys."""
        return KeyStore.open(self.secrets)

    def objects(self) -> list[str]:
        """Return the digests of all objects."""
        return sorted(path.name for path in (self.archive / "objects").rglob("*/*"))

    def drafts(self) -> list[str]:
        """Return the digests of objects whose leaf is not known to be kept."""
        return sorted(path.name for path in (self.archive / "incoming").iterdir())


def picture(seed: int) -> DecodedImage:
    """Return a small JPEG of noise, decoded."""
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    done, data = cv2.imencode(".jpg", noise)
    assert done
    return decode_image(data.tobytes())


def prepared_snapshot(
    evidence: EvidenceStore, sequence: int, learner: str = LEARNER
) -> PreparedEntry:
    """Bring one picture to the disk; the learner gets a key, as enrolment gives one."""
    evidence.keystore.key_for(learner, RecordClass.FACE_EVIDENCE)
    image = picture(sequence)
    return evidence.prepare_snapshot(
        record={"outcome": "captured", "faces": 1, "n": sequence},
        image=image.canonical_bytes,
        pixels_sha256=image.pixels_sha256,
        learner_id=learner,
        session_id="s1",
        sequence=sequence,
        assurance="frame",
        at=OPENED_AT + timedelta(minutes=sequence),
        contract="model@1",
    )


def append_snapshot(archive: Archive, sequence: int, learner: str = LEARNER) -> ArchivedSnapshot:
    """Keep one picture."""
    return archive.append(prepared_snapshot(archive.evidence, sequence, learner))


def append_note(archive: Archive) -> ArchivedSnapshot:
    """Keep a record of nothing private."""
    return archive.append(archive.evidence.prepare_record("note", at=OPENED_AT, facts={}))


def prepared_session(evidence: EvidenceStore) -> list[PreparedEntry]:
    """Prepare a session: opened, two pictures, closed."""
    opened = evidence.prepare_record(
        "session_opened",
        at=OPENED_AT,
        facts={"schedule": "00" * 32},
        learner_id=LEARNER,
        session_id="s1",
        assurance="frame",
    )
    snapshots = [prepared_snapshot(evidence, sequence) for sequence in range(2)]
    closed = evidence.prepare_record(
        "session_closed",
        at=OPENED_AT + timedelta(hours=1),
        facts={"issued": 2, "answered": 2, "missed": 0, "added": 0, "first": 0, "last": 2},
        private={"learner": LEARNER, "class": "c1"},
        learner_id=LEARNER,
        session_id="s1",
        assurance="frame",
    )
    return [opened, *snapshots, closed]


def write_session(archive: Archive) -> list[ArchivedSnapshot]:
    """Keep a session: opened, two pictures, closed; publish it."""
    kept = [archive.append(prepared) for prepared in prepared_session(archive.evidence)]
    archive.publish()
    return kept


@pytest.fixture(name="folders")
def make_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Give a test its own folders; flushing is skipped, order and content are what is tested."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return Folders(archive=tmp_path / "archive", secrets=tmp_path / "secrets")
