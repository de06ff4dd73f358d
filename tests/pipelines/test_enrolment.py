"""Enrolment: a reference that live frames confirm, and nothing stored otherwise."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, cast

import pytest

from pipelines.archive import Archive
from pipelines.archive_verification import verify_archive
from pipelines.check import FrameChecker
from pipelines.clock import ManualClock
from pipelines.comparison_budget import ComparisonBudget
from pipelines.duplicates import DuplicateSearch, same_time
from pipelines.enrolment import Enroller, Vouching
from pipelines.erasure import FaceEraser
from pipelines.gallery import Gallery, rebuild
from pipelines.keystore import RecordClass
from pipelines.lesson_store import ComparisonPurpose, LessonUnit, StoredEnrolment
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from tests.fakes import (
    ALONE,
    BLURRED,
    CALIBRATION,
    CONTRACT,
    FRAME,
    NOBODY,
    OTHER,
    REFERENCE,
    SAME,
    TWO,
    UNSURE,
    ScriptedObserver,
    face,
    frame,
    vector_at,
)
from tests.generated_images import jpeg, picture
from tests.memory_calibrations import MemoryCalibrations
from tests.memory_store import MemoryStore
from tests.pipelines.archive_samples import LEARNER, OPENED_AT, Folders, make_folders
from tests.portrait_pictures import frames_of, shrunk, side_by_side
from verifier.arrays import Float32Array
from verifier.calibration import DEFAULT_CALIBRATION, Calibration, Metric
from verifier.comparison import Template
from verifier.eligibility_facts import china_day
from verifier.enrolment import Anchor, EnrolmentPicture, Refusal, RefusalCode
from verifier.errors import (
    ContractMismatchError,
    LedgerError,
    ProtocolError,
    UncertainOutcomeError,
    UnknownSubjectError,
    UnreadableImageError,
)
from verifier.observation import FrameObservation, QualityReason
from verifier.policy import default_policy
from verifier.policy_groups import ComparisonRules
from verifier.review_case import CaseKind
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash
from verifier.transparency.receipt import Receipt

__all__ = ["make_folders"]  # a fixture

NOW = OPENED_AT
Also = Callable[[LessonUnit, StoredEnrolment], None]
ENROLLED = frame(face(REFERENCE.vector))
COMPARISONS = ComparisonRules(max_per_learner_day=1, max_enrolments_per_learner_day=2)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where learners enrol: a store, its archive, and a clock that stands still."""

    folders: Folders
    templates: TemplateSealer
    store: MemoryStore
    archive: Archive
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    galleries: dict[str, Gallery] = field(default_factory=dict)

    def gallery(self, contract: str = CONTRACT) -> Gallery:
        """Return the gallery of a contract, which is one for all enrolments."""
        return self.galleries.setdefault(contract, Gallery(contract, Metric.L2))

    def enroller(self, checker: FrameChecker, calibration: Calibration) -> Enroller:
        """Return an enroller that judges with ``checker`` by ``calibration``."""
        return Enroller(
            checker=checker,
            calibrations=MemoryCalibrations(calibration),
            templates=self.templates,
            store=self.store,
            evidence=self.archive.evidence,
            clock=self.clock,
            comparisons=ComparisonBudget(store=self.store, clock=self.clock, rules=COMPARISONS),
            duplicates=DuplicateSearch(
                gallery=self.gallery(calibration.contract_id),
                store=self.store,
                templates=self.templates,
                rules=default_policy().duplicates,
                same_time_s=0.0,
            ),
        )

    def enrol(
        self,
        *script: FrameObservation,
        learner_id: str = LEARNER,
        anchor: Anchor = Anchor.OFFICER,
        contract: str = CONTRACT,
        also: Also = lambda _unit, _stored: None,
    ) -> Refusal | StoredEnrolment:
        """Enrol from a reference and live frames that show what the script says."""
        checker = FrameChecker(observer=ScriptedObserver(script, contract_id=contract))
        return self.enroller(checker, replace(CALIBRATION, contract_id=contract)).enrol(
            learner_id,
            reference=FRAME,
            live=[jpeg(picture(seed=at)) for at in range(1, len(script))],
            vouching=Vouching(anchor=anchor, authority_reference="case 7"),
            also=also,
        )

    def enrol_portraits(
        self,
        checker: FrameChecker,
        reference: bytes,
        live: Sequence[bytes],
        calibration: Calibration = DEFAULT_CALIBRATION,
    ) -> Refusal | StoredEnrolment:
        """Enrol real faces."""
        return self.enroller(checker, calibration).enrol(
            LEARNER, reference=reference, live=live, vouching=Vouching(anchor=Anchor.OFFICER)
        )

    def erase(self, learner_id: str = LEARNER) -> bool:
        """Erase a learner's face."""
        eraser = FaceEraser(
            gallery=self.gallery(),
            keystore=self.templates.keystore,
            store=self.store,
            evidence=self.archive.evidence,
            clock=self.clock,
            end_sessions=lambda _work, _learner_id: None,  # nobody has any here
        )
        return eraser.erase_face(learner_id, erased_by="王芳")

    def stored(self) -> StoredEnrolment:
        """Return what the store holds of the learner."""
        with self.store.reading() as unit:
            return unit.enrolment(LEARNER)

    def comparisons(self) -> int:
        """Return how often the learner's template was compared with today."""
        with self.store.reading() as unit:
            day = china_day(self.clock.now())
            return unit.comparison_count(LEARNER, day, ComparisonPurpose.ENROLMENT)

    def template(self, contract: str = CONTRACT) -> EnrolledTemplate:
        """Open the learner's template."""
        return self.templates.open(LEARNER, self.stored().sealed_template, contract_id=contract)

    def leaves(self) -> list[Leaf]:
        """Publish, and return every leaf."""
        size = self.archive.publish().size
        return [Leaf.parse(self.archive.reader.entry(index, size)) for index in range(size)]

    def holds(self, count: int) -> bool:
        """Whether there are as many entries and objects, and nothing half-written."""
        objects, drafts = self.folders.objects(), self.folders.drafts()
        return (len(self.leaves()), len(objects), drafts) == (count, count, [])

    def holds_nothing(self) -> bool:
        """Whether nobody is enrolled, and archive and log know of nothing."""
        with pytest.raises(UnknownSubjectError):
            self.stored()
        return self.holds(0)


@pytest.fixture(name="desk")
def make_desk(folders: Folders) -> Iterator[Desk]:
    """Give a test its own store, and verify every byte of its archive afterwards."""
    store = MemoryStore()
    store.learners.add(LEARNER)
    with folders.open(store) as archive:
        keystore = archive.evidence.keystore
        templates = TemplateSealer(keystore=keystore, authority="chongqing")
        yield Desk(folders=folders, templates=templates, store=store, archive=archive)
        archive.publish()
        report = verify_archive(folders.archive, verifier=archive.verifier, keystore=keystore)
    assert report.ok, report.problems


def refusal_code(refused: Refusal | StoredEnrolment) -> RefusalCode:
    assert isinstance(refused, Refusal)
    return refused.code


def test_a_reference_that_two_live_frames_confirm_is_stored_as_returned(desk: Desk) -> None:
    enrolled = desk.enrol(ENROLLED, ALONE, ALONE)
    assert isinstance(enrolled, StoredEnrolment)
    assert desk.stored() == enrolled
    assert (enrolled.anchor, enrolled.enrolled_at) == (Anchor.OFFICER, NOW)
    assert (enrolled.contract_id, enrolled.authority_reference) == (CONTRACT, "case 7")
    opened = desk.template()
    assert opened.template.vector.tolist() == REFERENCE.vector.tolist()
    assert (opened.anchor, opened.enrolled_at) == (Anchor.OFFICER, NOW)
    assert desk.holds(1)


def test_an_enrolment_is_in_the_log_and_names_its_anchor_only(desk: Desk) -> None:
    enrolled = desk.enrol(ENROLLED, ALONE, ALONE)
    assert isinstance(enrolled, StoredEnrolment)
    (leaf,) = desk.leaves()
    assert (leaf.kind, dict(leaf.facts)) == ("enrolment", {"anchor": "officer"})
    assert leaf_hash(leaf.serialize()).hex() == enrolled.evidence_id
    assert LEARNER.encode() not in leaf.serialize()
    assert b"case 7" not in leaf.serialize()


def test_a_receipt_of_an_enrolment_tells_no_score(desk: Desk) -> None:
    """Told to a platform, it would say how near a hired face came."""
    desk.enrol(ENROLLED, ALONE, ALONE)
    desk.archive.publish()
    disclosed = Receipt.parse(desk.archive.receipt(0)).opening
    assert disclosed is not None
    assert set(disclosed.record) == {"calibration", "calibration_id", "console", "pixels_sha256"}
    assert set(cast("dict[str, str]", disclosed.record["console"])) == {"ciphertext", "nonce"}
    found = desk.archive.read_snapshot(0)
    assert found.console == {"comparison_log10_lr": [2.0, 2.0]}
    assert len(cast("list[str]", found.record["pixels_sha256"])) == 3


def test_one_live_picture_sent_twice_is_one(desk: Desk) -> None:
    checker = FrameChecker(observer=ScriptedObserver([ENROLLED, ALONE]))
    refused = desk.enrol_portraits(checker, FRAME, [FRAME, FRAME], CALIBRATION)
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


class TestAgain:
    """Or else anybody who knows a learner's id could put another face in its place."""

    @pytest.fixture(autouse=True)
    def _enrolled(self, desk: Desk) -> None:
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)

    def require_unchanged(self, desk: Desk) -> None:
        assert desk.template().template.vector.tolist() == REFERENCE.vector.tolist()
        assert desk.stored().anchor is Anchor.OFFICER
        assert desk.holds(1)

    def test_live_frames_that_do_not_confirm_leave_it_as_it_was(self, desk: Desk) -> None:
        refused = desk.enrol(frame(face(OTHER)), ALONE, ALONE)
        assert refusal_code(refused) is RefusalCode.NOT_THE_SAME_PERSON
        self.require_unchanged(desk)

    @pytest.mark.parametrize("other", [OTHER, UNSURE], ids=["another", "perhaps another"])
    def test_another_face_is_refused_where_nobody_better_vouches(
        self, desk: Desk, other: Float32Array
    ) -> None:
        seen = frame(face(other))
        refused = desk.enrol(seen, seen, seen, anchor=Anchor.OFFICER)
        assert refused == Refusal(
            code=RefusalCode.ANOTHER_FACE_ENROLLED, picture=EnrolmentPicture.REFERENCE
        )
        self.require_unchanged(desk)

    @pytest.mark.parametrize("other", [OTHER, UNSURE], ids=["another", "perhaps another"])
    def test_another_face_that_somebody_better_vouches_for_replaces_it(
        self, desk: Desk, other: Float32Array
    ) -> None:
        """Or whoever enrolled a number first, with a hired face, would lock the person out."""
        seen = frame(face(other))
        enrolled = desk.enrol(seen, seen, seen, anchor=Anchor.AUTHORITY)
        assert desk.stored() == enrolled
        assert desk.template().template.vector.tolist() == other.tolist()
        assert [leaf.facts["anchor"] for leaf in desk.leaves()] == ["officer", "authority"]
        assert desk.holds(2)

    @pytest.mark.parametrize("face_shown", [SAME, OTHER], ids=["same", "another"])
    def test_a_weaker_anchor_is_refused_whose_face_it_may_be(
        self, desk: Desk, face_shown: Float32Array
    ) -> None:
        seen = frame(face(face_shown))
        refused = desk.enrol(seen, seen, seen, anchor=Anchor.INSTITUTION)
        assert refused == Refusal(
            code=RefusalCode.BETTER_ANCHORED_ALREADY, picture=EnrolmentPicture.REFERENCE
        )
        self.require_unchanged(desk)

    @pytest.mark.parametrize("anchor", [Anchor.OFFICER, Anchor.AUTHORITY], ids=["same", "stronger"])
    def test_the_same_face_with_no_weaker_anchor_replaces_it(
        self, desk: Desk, anchor: Anchor
    ) -> None:
        moved = vector_at(0.05)
        enrolled = desk.enrol(frame(face(moved)), ALONE, ALONE, anchor=anchor)
        assert desk.stored() == enrolled
        assert desk.template().template.vector.tolist() == moved.tolist()
        assert desk.template().anchor is anchor
        assert [leaf.facts["anchor"] for leaf in desk.leaves()] == ["officer", anchor.value]
        assert desk.holds(2)

    def test_what_got_a_better_anchor_keeps_it(self, desk: Desk) -> None:
        desk.enrol(ENROLLED, ALONE, ALONE, anchor=Anchor.AUTHORITY)
        refused = desk.enrol(ENROLLED, ALONE, ALONE)
        assert refusal_code(refused) is RefusalCode.BETTER_ANCHORED_ALREADY

    def test_after_a_change_of_contract_only_the_anchors_speak(self, desk: Desk) -> None:
        """Templates of two networks cannot be compared; who vouches still can."""
        again, seen = "another-network@4567", frame(face(OTHER))
        refused = desk.enrol(seen, seen, seen, contract=again, anchor=Anchor.INSTITUTION)
        assert refusal_code(refused) is RefusalCode.BETTER_ANCHORED_ALREADY
        self.require_unchanged(desk)
        assert isinstance(desk.enrol(seen, seen, seen, contract=again), StoredEnrolment)
        assert desk.stored().contract_id == again
        assert desk.template(again).template.vector.tolist() == OTHER.tolist()
        with pytest.raises(ContractMismatchError, match="enrol again"):
            desk.template()

    @pytest.mark.parametrize("consented_anew", [False, True])
    def test_after_the_key_was_destroyed_only_the_anchors_speak(
        self, desk: Desk, consented_anew: bool
    ) -> None:
        """A forgotten face can be compared with nothing, with or without a new key."""
        desk.templates.keystore.destroy(LEARNER, RecordClass.FACE_EVIDENCE)
        if consented_anew:
            desk.templates.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)
        refused = desk.enrol(ENROLLED, ALONE, ALONE, anchor=Anchor.INSTITUTION)
        assert refusal_code(refused) is RefusalCode.BETTER_ANCHORED_ALREADY
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)
        assert desk.template().template.vector.tolist() == REFERENCE.vector.tolist()

    def test_a_store_that_fails_after_the_key_was_destroyed_shuts_nobody_out(
        self, desk: Desk
    ) -> None:
        """The attempt left a new key, which does not open the old template."""
        desk.templates.keystore.destroy(LEARNER, RecordClass.FACE_EVIDENCE)
        desk.store.broken = True
        with pytest.raises(LedgerError):
            desk.enrol(ENROLLED, ALONE, ALONE)
        desk.store.broken = False
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)

    def test_a_damaged_template_is_not_replaced_unseen(self, desk: Desk) -> None:
        """Whoever can damage a row must not be able to exchange a face by it."""
        stored = desk.stored()
        damaged = stored.sealed_template.replace(b'"nonce":"', b'"nonce":"A', 1)
        with desk.store.writing() as unit:
            unit.store_enrolment(replace(stored, sealed_template=damaged))
        with pytest.raises(LedgerError):
            desk.enrol(ENROLLED, ALONE, ALONE)
        assert desk.holds(1)


class TestOneUnitOfWork:
    def test_a_broken_store_leaves_neither_object_nor_entry(self, desk: Desk) -> None:
        desk.store.broken = True
        with pytest.raises(LedgerError):
            desk.enrol(ENROLLED, ALONE, ALONE)
        assert desk.holds_nothing()
        desk.store.broken = False
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)
        assert desk.holds(1)

    def test_what_else_belongs_to_it_shares_its_fate(self, desk: Desk) -> None:
        heard: list[StoredEnrolment] = []

        def refuse(unit: LessonUnit, stored: StoredEnrolment) -> None:
            assert unit.enrolment(LEARNER) == stored
            heard.append(stored)
            raise ProtocolError("idempotency_key_reused", "the key was used for another request")

        with pytest.raises(ProtocolError):
            desk.enrol(ENROLLED, ALONE, ALONE, also=refuse)
        assert len(heard) == 1
        assert desk.holds_nothing()

    def test_nobody_who_is_not_registered_is_enrolled(self, desk: Desk) -> None:
        desk.store.learners.clear()
        with pytest.raises(UnknownSubjectError, match="no learner") as caught:
            desk.enrol(ENROLLED, ALONE, ALONE)
        assert LEARNER not in str(caught.value)
        assert desk.holds_nothing()

    def test_a_disk_that_refuses_the_object_enrols_nobody(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.templates.keystore.key_for(LEARNER, RecordClass.FACE_EVIDENCE)

        def refuse(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(LedgerError, match="object"):
                desk.enrol(ENROLLED, ALONE, ALONE)
        assert desk.holds_nothing()


TWIN = "learner-2"


class TestSameFaceUnderAnotherId:
    @pytest.fixture(autouse=True)
    def _two_learners(self, desk: Desk) -> None:
        desk.store.learners.add(TWIN)
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)

    def enrol_twin(self, desk: Desk, vector: Float32Array = SAME) -> Refusal | StoredEnrolment:
        seen = frame(face(vector))
        return desk.enrol(seen, seen, seen, learner_id=TWIN)

    def test_it_is_enrolled_and_a_case_is_opened(self, desk: Desk) -> None:
        """Nobody is locked out for looking like somebody."""
        enrolled = self.enrol_twin(desk)
        assert isinstance(enrolled, StoredEnrolment)
        (case,) = desk.store.cases
        assert case.kind is CaseKind.DUPLICATE_FACE
        assert (case.learner_id, case.other_learner_id, case.at) == (TWIN, LEARNER, NOW)
        # One other learner, 0.1 false cases: log10 LR from 1, a score from 0.6.
        assert case.details["comparison_score"] == pytest.approx(0.9)
        assert case.details["from_score"] == pytest.approx(0.6)
        assert case.details["calibration_id"] == CALIBRATION.calibration_id
        assert TWIN in desk.gallery()

    def test_what_is_returned_says_nothing_of_it(self, desk: Desk) -> None:
        desk.store.learners.add("learner-3")
        alike = self.enrol_twin(desk)
        seen = frame(face(vector_at(5.0)))
        unlike = desk.enrol(seen, seen, seen, learner_id="learner-3")
        assert isinstance(alike, StoredEnrolment)
        assert isinstance(unlike, StoredEnrolment)
        told = [
            (x.contract_id, x.anchor, x.enrolled_at, x.authority_reference) for x in (alike, unlike)
        ]
        assert told[0] == told[1]
        assert len(alike.sealed_template) == pytest.approx(len(unlike.sealed_template), abs=20)
        leaves = desk.leaves()
        assert leaves[1].facts == leaves[2].facts

    def test_a_face_that_is_not_alike_enough_opens_none(self, desk: Desk) -> None:
        assert isinstance(self.enrol_twin(desk, vector_at(0.41)), StoredEnrolment)
        assert desk.store.cases == []

    def test_nobody_is_their_own_double(self, desk: Desk) -> None:
        for _ in range(2):
            assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)
        assert (desk.store.cases, len(desk.gallery())) == ([], 1)

    def test_whom_another_enrolment_replaced_is_found_by_the_new_face_only(
        self, desk: Desk
    ) -> None:
        moved = frame(face(vector_at(5.0)))
        desk.enrol(moved, moved, moved, anchor=Anchor.AUTHORITY)
        self.enrol_twin(desk)
        assert desk.store.cases == []
        desk.store.learners.add("learner-3")
        desk.enrol(moved, moved, moved, learner_id="learner-3")
        assert [case.other_learner_id for case in desk.store.cases] == [LEARNER]

    def test_who_is_refused_opens_no_case_and_is_not_searched_for(self, desk: Desk) -> None:
        refused = desk.enrol(frame(face(SAME)), ALONE, frame(face(OTHER)), learner_id=TWIN)
        assert refusal_code(refused) is RefusalCode.NOT_THE_SAME_PERSON
        apart = frame(face(vector_at(5.0)))
        desk.enrol(apart, apart, apart, learner_id=TWIN)
        assert refusal_code(self.enrol_twin(desk)) is RefusalCode.ANOTHER_FACE_ENROLLED
        assert desk.store.cases == []

    def test_a_case_shares_the_fate_of_the_enrolment(self, desk: Desk) -> None:
        desk.store.broken = True
        with pytest.raises(LedgerError):
            self.enrol_twin(desk)
        desk.store.broken = False
        assert desk.store.cases == []
        assert TWIN not in desk.gallery()

    def test_a_face_whose_key_was_destroyed_elsewhere_is_no_hit_and_is_forgotten(
        self, desk: Desk
    ) -> None:
        desk.templates.keystore.destroy(LEARNER, RecordClass.FACE_EVIDENCE)
        self.enrol_twin(desk)
        assert desk.store.cases == []
        assert LEARNER not in desk.gallery()

    def test_a_commit_of_unknown_outcome_is_searched_as_if_it_had_been_kept(
        self, desk: Desk
    ) -> None:
        def lose(_unit: LessonUnit, _stored: StoredEnrolment) -> None:
            raise UncertainOutcomeError("the database went away while it committed")

        seen = frame(face(SAME))
        with pytest.raises(UncertainOutcomeError):
            desk.enrol(seen, seen, seen, learner_id=TWIN, also=lose)
        assert TWIN in desk.gallery()
        desk.store.learners.add("learner-3")
        desk.enrol(seen, seen, seen, learner_id="learner-3")
        # It had come to nothing: the search found that out.
        assert [case.other_learner_id for case in desk.store.cases] == [LEARNER]
        assert TWIN not in desk.gallery()

    def test_a_lost_commit_leaves_the_face_that_is_on_record(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Enrolled over an earlier one: which of the two it is, only the store knows."""

        def lose(_unit: LessonUnit, _stored: StoredEnrolment) -> None:
            raise UncertainOutcomeError("the database went away while it committed")

        earlier, later = frame(face(vector_at(5.0))), frame(face(vector_at(9.0)))
        desk.enrol(earlier, earlier, earlier, learner_id=TWIN, anchor=Anchor.INSTITUTION)

        def enrol_over() -> None:
            with pytest.raises(UncertainOutcomeError):
                desk.enrol(later, later, later, learner_id=TWIN, anchor=Anchor.AUTHORITY, also=lose)

        enrol_over()
        assert self.found_at(desk, 5.0) == [TWIN]
        assert self.found_at(desk, 9.0) == []

        def unreadable() -> Any:
            raise LedgerError("the database is gone")

        with monkeypatch.context() as patched:
            # Reserving reads once, the search nobody: then it is gone.
            readings = iter([desk.store.reading()])
            patched.setattr(desk.store, "reading", lambda: next(readings, None) or unreadable())
            enrol_over()
        assert self.found_at(desk, 9.0) == [TWIN]

    def found_at(self, desk: Desk, distance: float) -> list[str]:
        probe = Template(contract_id=CONTRACT, vector=vector_at(distance))
        hits = desk.gallery().search(probe, limit=9, from_score=0.9)
        return [hit.learner_id for hit in hits]

    def test_of_many_alike_only_the_most_alike_open_cases(self, desk: Desk) -> None:
        for number in range(6):
            learner_id = f"alike-{number}"
            desk.store.learners.add(learner_id)
            seen = frame(face(vector_at(0.01 * number)))
            desk.enrol(seen, seen, seen, learner_id=learner_id)
        before = len(desk.store.cases)
        assert isinstance(self.enrol_twin(desk, vector_at(0.05)), StoredEnrolment)
        found = [case.other_learner_id for case in desk.store.cases[before:]]
        # The learner stands at 0.0, as far away as alike-0.
        assert found[0] == "alike-5"
        assert found[1:] == ["alike-4", "alike-3", "alike-2", "alike-1"]

    def test_two_who_enrol_one_face_at_once_do_not_miss_each_other(self, desk: Desk) -> None:
        ids = [f"at-once-{number}" for number in range(6)]
        desk.store.learners.update(ids)
        far = frame(face(vector_at(7.0)))
        start = Barrier(len(ids))

        def enrol(learner_id: str) -> None:
            start.wait()
            desk.enrol(far, far, far, learner_id=learner_id)

        threads = [Thread(target=enrol, args=[learner_id]) for learner_id in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pairs = {frozenset((case.learner_id, case.other_learner_id)) for case in desk.store.cases}
        assert len(pairs) == len(desk.store.cases) == 15  # each of 6 with each other

    def test_after_a_start_the_gallery_is_what_it_was(self, desk: Desk) -> None:
        self.enrol_twin(desk)
        anew = Gallery(CONTRACT, Metric.L2)
        rebuilt = rebuild(anew, desk.store, desk.templates)
        assert (rebuilt.added, rebuilt.forgotten, rebuilt.outdated) == (2, 0, 0)
        probe = desk.template().template
        found = [g.search(probe, limit=9, from_score=0) for g in (anew, desk.gallery())]
        assert found[0] == found[1]
        assert len(found[0]) == 2

    def test_what_is_erased_is_gone_from_memory_key_and_store(self, desk: Desk) -> None:
        sealed = desk.stored().sealed_template
        assert desk.erase()
        assert LEARNER not in desk.gallery()
        with pytest.raises(UnknownSubjectError):
            desk.stored()
        with pytest.raises(UnknownSubjectError):
            desk.templates.open(LEARNER, sealed, contract_id=CONTRACT)
        assert not desk.erase()
        self.enrol_twin(desk)
        assert desk.store.cases == []

    def test_an_erasure_that_fails_half_way_is_finished_by_asking_again(self, desk: Desk) -> None:
        desk.store.broken = True
        with pytest.raises(LedgerError):
            desk.erase()
        assert desk.folders.drafts() == []
        desk.store.broken = False
        assert desk.erase()
        assert [leaf.kind for leaf in desk.leaves()] == ["enrolment", "face_erased"]
        with pytest.raises(UnknownSubjectError):
            desk.stored()

    def test_an_erasure_is_in_the_log_once_and_names_nobody(self, desk: Desk) -> None:
        for _ in range(2):
            desk.erase()
        enrolled, erased = desk.leaves()
        assert (erased.kind, dict(erased.facts), erased.time) == ("face_erased", {}, NOW)
        assert erased.learner not in {None, enrolled.learner}  # that name died with its key
        assert desk.archive.read_snapshot(1).record == {"erased_by": "王芳"}
        with pytest.raises(UnknownSubjectError):
            desk.archive.read_snapshot(0)
        assert Receipt.parse(desk.archive.receipt(0)).opening is None

    def test_what_is_erased_is_overwritten_in_its_place(self, desk: Desk) -> None:
        self.enrol_twin(desk, vector_at(5.0))
        (block,) = desk.gallery()._blocks
        assert block.rows.any()  # the learner's own are zero
        desk.erase(TWIN)
        assert not block.rows.any()

    def test_who_was_erased_enrols_as_if_for_the_first_time(self, desk: Desk) -> None:
        desk.erase()
        apart = frame(face(vector_at(5.0)))
        enrolled = desk.enrol(apart, apart, apart, anchor=Anchor.INSTITUTION)
        assert isinstance(enrolled, StoredEnrolment)

    def test_a_learner_nobody_registered(self, desk: Desk) -> None:
        with pytest.raises(UnknownSubjectError):
            desk.erase("nobody")
        assert len(desk.leaves()) == 1


class TestComparisonsOfOneDay:
    """Enrolling again tells how alike two faces are: it may not be asked without end."""

    @pytest.fixture(autouse=True)
    def _enrolled(self, desk: Desk) -> None:
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)

    def climb(self, desk: Desk) -> Refusal | StoredEnrolment:
        seen = frame(face(OTHER))
        return desk.enrol(seen, seen, seen)

    def test_the_first_enrolment_is_compared_with_nothing(self, desk: Desk) -> None:
        assert desk.comparisons() == 0

    def test_refused_or_not_what_is_compared_counts(self, desk: Desk) -> None:
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)
        assert refusal_code(self.climb(desk)) is RefusalCode.ANOTHER_FACE_ENROLLED
        assert desk.comparisons() == COMPARISONS.max_enrolments_per_learner_day == 2

    def test_beyond_the_limit_not_even_the_same_face_passes_until_tomorrow(
        self, desk: Desk
    ) -> None:
        for _ in range(2):
            self.climb(desk)
        for _ in range(2):
            refused = desk.enrol(ENROLLED, ALONE, ALONE)
            assert refusal_code(refused) is RefusalCode.TOO_OFTEN_TODAY
        assert desk.comparisons() == 2
        desk.clock.advance(timedelta(days=1).total_seconds())
        assert isinstance(desk.enrol(ENROLLED, ALONE, ALONE), StoredEnrolment)

    def test_whoever_tries_uses_up_no_answers_and_holds_no_payment(self, desk: Desk) -> None:
        """Any platform that knows name and number has the learner's id, and may enrol it."""
        for _ in range(5):
            self.climb(desk)
        assert desk.store.cases == []
        with desk.store.reading() as unit:
            day = china_day(desk.clock.now())
            assert unit.comparison_count(LEARNER, day, ComparisonPurpose.ANSWER) == 0

    def test_who_is_better_vouched_for_passes_all_the_same(self, desk: Desk) -> None:
        for _ in range(3):
            self.climb(desk)
        enrolled = desk.enrol(ENROLLED, ALONE, ALONE, anchor=Anchor.AUTHORITY)
        assert isinstance(enrolled, StoredEnrolment)


@pytest.mark.parametrize(("took_s", "slept_s"), [(0.0, 0.1), (0.03, 0.07), (0.1, 0.0), (3.0, 0.0)])
@pytest.mark.parametrize("fails", [False, True])
def test_whoever_was_found_it_takes_the_same_time(
    monkeypatch: pytest.MonkeyPatch, took_s: float, slept_s: float, fails: bool
) -> None:
    slept: list[float] = []
    times = iter([10.0, 10.0 + took_s])
    monkeypatch.setattr("pipelines.duplicates.time.monotonic", lambda: next(times))
    monkeypatch.setattr("pipelines.duplicates.time.sleep", slept.append)
    with suppress(LedgerError), same_time(0.1):
        if fails:
            raise LedgerError("not kept")
    monkeypatch.undo()
    assert slept == [pytest.approx(slept_s)]


def test_a_picture_that_cannot_be_read_is_an_error_that_says_so(desk: Desk) -> None:
    checker = FrameChecker(observer=ScriptedObserver([ENROLLED]))
    with pytest.raises(UnreadableImageError, match="no picture"):
        desk.enrol_portraits(checker, b"no picture", [FRAME, FRAME])
    with pytest.raises(UnreadableImageError):
        desk.enrol_portraits(checker, FRAME, [FRAME[:-40]])
    assert desk.holds_nothing()


def test_a_calibration_for_other_networks_enrols_nobody(desk: Desk) -> None:
    checker = FrameChecker(observer=ScriptedObserver([ENROLLED, ALONE, ALONE]))
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
        assert isinstance(enrolled, StoredEnrolment)
        opened = desk.template(checker.observer.contract_id)
        assert opened.template.vector.shape == (128,)
        with pytest.raises(ContractMismatchError, match="enrol again"):
            desk.template("another-network@4567")

    def test_another_person_is_refused(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        reference = demo_faces["person1-a"].read_bytes()
        refused = desk.enrol_portraits(checker, reference, frames_of(demo_faces, "person2"))
        assert refused == Refusal(
            code=RefusalCode.NOT_THE_SAME_PERSON, picture=EnrolmentPicture.LIVE
        )
        assert desk.holds_nothing()

    def test_two_people_in_the_reference_are_refused(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        live = frames_of(demo_faces, "person1-b")
        couple = side_by_side(live[0], frames_of(demo_faces, "person3")[0])
        refused = desk.enrol_portraits(checker, couple, live)
        assert refused == Refusal(
            code=RefusalCode.MULTIPLE_FACES, picture=EnrolmentPicture.REFERENCE
        )

    def test_an_empty_picture_is_refused(
        self, desk: Desk, checker: FrameChecker, demo_faces: dict[str, Path]
    ) -> None:
        refused = desk.enrol_portraits(checker, FRAME, frames_of(demo_faces, "person1-b"))
        assert refused == Refusal(code=RefusalCode.NO_FACE, picture=EnrolmentPicture.REFERENCE)

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
