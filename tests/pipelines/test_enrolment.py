"""Enrolment: a reference that live frames confirm, and nothing stored otherwise."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.archive import Archive
from pipelines.archive_verification import verify_archive
from pipelines.check import FrameChecker
from pipelines.clock import ManualClock
from pipelines.enrolment import Enroller
from pipelines.keystore import KeyStore
from pipelines.private_files import load_or_create_signer
from pipelines.template_store import EnrolledTemplate, TemplateStore
from tests.fakes import (
    ALONE,
    BLURRED,
    CALIBRATION,
    CONTRACT,
    FRAME,
    NOBODY,
    OTHER,
    REFERENCE,
    TWO,
    UNSURE,
    ScriptedObserver,
    face,
    frame,
    vector_at,
)
from tests.generated_images import jpeg, picture
from tests.portrait_pictures import frames_of, shrunk, side_by_side
from verifier.comparison import DEFAULT_CALIBRATION
from verifier.enrolment import Anchor, Refusal, RefusalCode
from verifier.errors import ContractMismatchError, UnknownSubjectError, UnreadableImageError
from verifier.observation import FrameObservation, QualityReason
from verifier.transparency.leaf import Leaf

LEARNER = "500101199001011234"
NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
ENROLLED = frame(face(REFERENCE.vector))


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where learners enrol: a template store and a clock that stands still."""

    folder: Path
    templates: TemplateStore
    archive: Archive

    def enroller(self, checker: FrameChecker) -> Enroller:
        """Return an enroller that judges with ``checker``."""
        return Enroller(
            checker=checker,
            templates=self.templates,
            archive=self.archive,
            clock=ManualClock(NOW),
        )

    def enrol(self, *script: FrameObservation) -> Refusal | EnrolledTemplate:
        """Enrol from a reference and live frames that show what the script says."""
        checker = FrameChecker(observer=ScriptedObserver(script), calibration=CALIBRATION)
        live = [jpeg(picture(seed=at)) for at in range(1, len(script))]
        return self.enroller(checker).enrol(
            LEARNER, reference=FRAME, live=live, anchor=Anchor.OFFICER
        )

    def enrol_portraits(
        self, checker: FrameChecker, reference: bytes, live: Sequence[bytes]
    ) -> Refusal | EnrolledTemplate:
        """Enrol real faces."""
        return self.enroller(checker).enrol(
            LEARNER, reference=reference, live=live, anchor=Anchor.OFFICER
        )

    def holds_nothing(self) -> bool:
        """Whether no template was written, and the log knows of nothing."""
        self.archive.publish()
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return not files and self.archive.checkpoint.size == 0


@pytest.fixture(name="desk")
def make_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Give a test its own store; flushing is skipped, content is what is tested."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    keystore = KeyStore.open(tmp_path / "secrets")
    folder = tmp_path / "templates"
    signer = load_or_create_signer(tmp_path / "secrets" / "signing.key", "test.example/log")
    with Archive.open(
        tmp_path / "archive", authority="chongqing", keystore=keystore, signer=signer
    ) as archive:
        templates = TemplateStore(folder, keystore, authority="chongqing")
        yield Desk(folder=folder, templates=templates, archive=archive)
    report = verify_archive(tmp_path / "archive", verifier=signer.verifier, keystore=keystore)
    assert report.ok, report.problems


def test_a_reference_that_two_live_frames_confirm_is_stored_as_returned(desk: Desk) -> None:
    enrolled = desk.enrol(ENROLLED, ALONE, ALONE)
    assert isinstance(enrolled, EnrolledTemplate)
    assert (enrolled.anchor, enrolled.enrolled_at) == (Anchor.OFFICER, NOW)
    assert enrolled.template.vector.tolist() == REFERENCE.vector.tolist()
    stored = desk.templates.load(LEARNER, contract_id=CONTRACT)
    assert stored.template.vector.tolist() == REFERENCE.vector.tolist()
    assert (stored.anchor, stored.enrolled_at) == (Anchor.OFFICER, NOW)


def test_an_enrolment_is_in_the_log_and_names_its_anchor_only(desk: Desk) -> None:
    desk.enrol(ENROLLED, ALONE, ALONE)
    entry = desk.archive.reader.entry(0, desk.archive.checkpoint.size)
    leaf = Leaf.parse(entry)
    assert (leaf.kind, dict(leaf.facts)) == ("enrolment", {"anchor": "officer"})
    assert LEARNER.encode() not in entry
    record = desk.archive.read_snapshot(0).record
    assert record["comparison_log10_lr"] == [2.0, 2.0]


def test_one_live_picture_sent_twice_is_one(desk: Desk) -> None:
    checker = FrameChecker(observer=ScriptedObserver([ENROLLED, ALONE]), calibration=CALIBRATION)
    refused = desk.enrol_portraits(checker, FRAME, [FRAME, FRAME])
    assert isinstance(refused, Refusal)
    assert refused.code is RefusalCode.TOO_FEW_LIVE_FRAMES
    assert desk.holds_nothing()


@pytest.mark.parametrize(
    ("script", "code", "picture"),
    [
        ([NOBODY, ALONE, ALONE], RefusalCode.NO_FACE, "reference"),
        ([TWO, ALONE, ALONE], RefusalCode.MULTIPLE_FACES, "reference"),
        ([BLURRED, ALONE, ALONE], RefusalCode.POOR_QUALITY, "reference"),
        ([ENROLLED, ALONE, NOBODY], RefusalCode.NO_FACE, "live"),
        ([ENROLLED, TWO, ALONE], RefusalCode.MULTIPLE_FACES, "live"),
        ([ENROLLED, ALONE, BLURRED], RefusalCode.POOR_QUALITY, "live"),
        ([ENROLLED, ALONE, frame(face(OTHER))], RefusalCode.NOT_THE_SAME_PERSON, "live"),
        ([ENROLLED, ALONE, frame(face(UNSURE))], RefusalCode.INCONCLUSIVE, "live"),
        ([ENROLLED, ALONE], RefusalCode.TOO_FEW_LIVE_FRAMES, "live"),
        ([ENROLLED], RefusalCode.TOO_FEW_LIVE_FRAMES, "live"),
    ],
)
def test_what_stands_in_the_way_is_said_and_nothing_is_stored(
    desk: Desk, script: list[FrameObservation], code: RefusalCode, picture: str
) -> None:
    refused = desk.enrol(*script)
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.picture) == (code, picture)
    assert desk.holds_nothing()


def test_live_frames_must_match_the_reference_not_each_other(desk: Desk) -> None:
    """Somebody else's face, twice, agrees with itself perfectly."""
    refused = desk.enrol(ENROLLED, frame(face(OTHER)), frame(face(OTHER)))
    assert isinstance(refused, Refusal)
    assert refused.code is RefusalCode.NOT_THE_SAME_PERSON


def test_a_refused_enrolment_leaves_an_earlier_one_as_it_was(desk: Desk) -> None:
    desk.enrol(ENROLLED, ALONE, ALONE)
    desk.enrol(frame(face(OTHER)), ALONE, ALONE)
    stored = desk.templates.load(LEARNER, contract_id=CONTRACT)
    assert stored.template.vector.tolist() == REFERENCE.vector.tolist()


def test_a_new_enrolment_replaces_an_earlier_one(desk: Desk) -> None:
    desk.enrol(ENROLLED, ALONE, ALONE)
    moved = vector_at(0.05)
    desk.enrol(frame(face(moved)), ALONE, ALONE)
    stored = desk.templates.load(LEARNER, contract_id=CONTRACT)
    assert stored.template.vector.tolist() == moved.tolist()


def test_a_picture_that_cannot_be_read_is_an_error_that_says_so(desk: Desk) -> None:
    checker = FrameChecker(observer=ScriptedObserver([ENROLLED]), calibration=CALIBRATION)
    with pytest.raises(UnreadableImageError, match="no picture"):
        desk.enrol_portraits(checker, b"no picture", [FRAME, FRAME])
    with pytest.raises(UnreadableImageError):
        desk.enrol_portraits(checker, FRAME, [FRAME[:-40]])
    assert desk.holds_nothing()


def test_a_calibration_for_other_networks_enrols_nobody(desk: Desk) -> None:
    checker = FrameChecker(
        observer=ScriptedObserver([ENROLLED, ALONE, ALONE]), calibration=DEFAULT_CALIBRATION
    )
    with pytest.raises(ContractMismatchError, match=CONTRACT):
        desk.enrol_portraits(checker, FRAME, [FRAME, FRAME])
    assert desk.holds_nothing()


@pytest.mark.models
@pytest.mark.demo_faces
class TestRealFaces:
    """The networks themselves, on the demo's portraits."""

    def test_another_photograph_of_the_person_confirms(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        reference = demo_faces["person1-a"].read_bytes()
        enrolled = desk.enrol_portraits(checker, reference, frames_of(demo_faces, "person1-b"))
        assert isinstance(enrolled, EnrolledTemplate)
        stored = desk.templates.load(LEARNER, contract_id=checker.observer.contract_id)
        assert stored.template.vector.tobytes() == enrolled.template.vector.tobytes()
        with pytest.raises(ContractMismatchError, match="enrol again"):
            desk.templates.load(LEARNER, contract_id="another-network@4567")

    def test_another_person_is_refused(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        reference = demo_faces["person1-a"].read_bytes()
        refused = desk.enrol_portraits(checker, reference, frames_of(demo_faces, "person2"))
        assert refused == Refusal(code=RefusalCode.NOT_THE_SAME_PERSON, picture="live")
        with pytest.raises(UnknownSubjectError):
            desk.templates.load(LEARNER, contract_id=checker.observer.contract_id)

    def test_two_people_in_the_reference_are_refused(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        live = frames_of(demo_faces, "person1-b")
        couple = side_by_side(live[0], frames_of(demo_faces, "person3")[0])
        refused = desk.enrol_portraits(checker, couple, live)
        assert refused == Refusal(code=RefusalCode.MULTIPLE_FACES, picture="reference")

    def test_an_empty_picture_is_refused(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        refused = desk.enrol_portraits(checker, FRAME, frames_of(demo_faces, "person1-b"))
        assert refused == Refusal(code=RefusalCode.NO_FACE, picture="reference")

    def test_a_face_too_small_is_refused_with_what_to_mend(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        frames = frames_of(demo_faces, "person1-b")
        far = shrunk(frames[0], 0.15)
        refused = desk.enrol_portraits(checker, far, frames)
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.picture) == (RefusalCode.POOR_QUALITY, "reference")
        assert QualityReason.FACE_TOO_SMALL in refused.quality
        assert desk.holds_nothing()
