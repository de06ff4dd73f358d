"""Enrolment: a reference picture, live frames that must match it, and a sealed template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.image_decoder import FRAME_LIMITS, STILL_LIMITS, DecodedImage, decode_image
from pipelines.calibration_book import CalibrationBook
from pipelines.check import FrameChecker
from pipelines.comparison_budget import ComparisonBudget, Reservation
from pipelines.duplicates import DuplicateSearch, same_time
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.keystore import RecordClass
from pipelines.leaf_kinds import ENROLMENT
from pipelines.lesson_store import (
    ComparisonPurpose,
    FoundCase,
    LessonStore,
    LessonUnit,
    StoredEnrolment,
)
from pipelines.recording import recording
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from verifier.calibration import Calibration
from verifier.comparison import ComparisonResult, Template, compare
from verifier.enrolment import (
    Anchor,
    EnrolmentPicture,
    Refusal,
    comparison_refusal,
    picture_refusal,
    replacement_refusal,
)
from verifier.errors import (
    ContractMismatchError,
    UncertainOutcomeError,
    UnknownSubjectError,
    VerifierError,
)
from verifier.protocols import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouching:
    """Who established whose face the reference shows, and under which reference number."""

    anchor: Anchor
    authority_reference: str | None = None


def _nothing(_unit: LessonUnit, _stored: StoredEnrolment) -> None:
    """Add nothing to the unit of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confirmed:
    """A reference that its live frames confirm, and what that rests on."""

    learner_id: str
    enrolled: EnrolledTemplate
    vouching: Vouching
    pictures: Sequence[DecodedImage]
    compared: Sequence[ComparisonResult]
    calibration: Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroller:
    """Enrols learners: every picture fit for comparison, every live frame a match."""

    checker: FrameChecker
    calibrations: CalibrationBook
    templates: TemplateSealer
    store: LessonStore
    evidence: EvidenceStore
    clock: Clock
    comparisons: ComparisonBudget
    duplicates: DuplicateSearch

    def enrol(
        self,
        learner_id: str,
        *,
        reference: bytes,
        live: Sequence[bytes],
        vouching: Vouching,
        also: Callable[[LessonUnit, StoredEnrolment], None] = _nothing,
    ) -> Refusal | StoredEnrolment:
        """Enrol a learner, or say why not; nothing is stored unless all of it holds.

        1. The reference shows one face fit for comparison.
        2. So does every live frame, and no two of them are one picture sent twice.
        3. Every live frame matches the reference.
        4. The whole authority is searched for the same face under another id.
        5. An earlier enrolment was less well vouched for, or as well and shows the same face.
        6. Enrolment, log entry and a case for each face that was found become true together.
        7. From then on this face is found, too.

        What step 4 found changes neither what is returned nor when: nobody is locked out for
        looking like somebody, and nobody learns by enrolling whom a face belongs to.

        Parameters
        ----------
        reference
            The picture that the anchor vouches for; up to 16 MiB.
        live
            Frames from the learner's camera, taken now.
        also
            What else belongs to the unit of work.

        Raises
        ------
        UnreadableImageError
            If a picture cannot be read.
        UnknownSubjectError
            If the learner is not registered.
        LedgerError
            If it could not be kept.
        """
        confirmed = self._confirmed(learner_id, reference, live, vouching)
        if isinstance(confirmed, Refusal):
            return confirmed
        with same_time(self.duplicates.same_time_s):
            return self._enrol_alone(confirmed, also)

    def _confirmed(
        self, learner_id: str, reference: bytes, live: Sequence[bytes], vouching: Vouching
    ) -> _Confirmed | Refusal:
        """Compare the live frames with the reference."""
        shown = decode_image(reference, STILL_LIMITS)
        template = self._template(shown, picture=EnrolmentPicture.REFERENCE)
        if isinstance(template, Refusal):
            return template
        calibration = self.calibrations.current()
        frames = {frame.pixels_sha256: frame for frame in (_decode(data) for data in live)}
        compared: list[ComparisonResult] = []
        for frame in frames.values():
            probe = self._template(frame, picture=EnrolmentPicture.LIVE)
            if isinstance(probe, Refusal):
                return probe
            compared.append(compare(template, probe, calibration))
        if (refusal := comparison_refusal(compared)) is not None:
            return refusal
        return _Confirmed(
            learner_id=learner_id,
            enrolled=EnrolledTemplate(
                template=template, anchor=vouching.anchor, enrolled_at=self.clock.now()
            ),
            vouching=vouching,
            pictures=[shown, *frames.values()],
            compared=compared,
            calibration=calibration,
        )

    def _enrol_alone(
        self, confirmed: _Confirmed, also: Callable[[LessonUnit, StoredEnrolment], None]
    ) -> Refusal | StoredEnrolment:
        """Search, store and add while nobody else does: two at once would miss each other."""
        learner_id, template = confirmed.learner_id, confirmed.enrolled.template
        gallery = self.duplicates.gallery
        reserving = self.comparisons.reserve(learner_id, ComparisonPurpose.ENROLMENT)
        with gallery.alone(), reserving as reserved:
            cases = self.duplicates.cases(
                learner_id, template, confirmed.calibration, at=confirmed.enrolled.enrolled_at
            )
            try:
                done = self._store(confirmed, reserved, cases, also)
            except UncertainOutcomeError:
                gallery.add(learner_id, self._on_record(learner_id, unless=template))
                raise
            if isinstance(done, StoredEnrolment):
                gallery.add(learner_id, template)
            return done

    def _store(
        self,
        confirmed: _Confirmed,
        reserved: Reservation,
        cases: Sequence[FoundCase],
        also: Callable[[LessonUnit, StoredEnrolment], None],
    ) -> Refusal | StoredEnrolment:
        with recording(self.store, self.evidence) as work:
            work.unit.lock_learner(confirmed.learner_id)
            refusal = self._replacement_refusal(work.unit, confirmed, reserved)
            if refusal is not None:
                return refusal
            entry = self._entry(confirmed)
            work.append(entry)
            stored = self._sealed(confirmed, entry)
            work.unit.store_enrolment(stored)
            for case in cases:
                work.unit.open_case(case)
            also(work.unit, stored)
            return stored

    def _template(self, image: DecodedImage, *, picture: EnrolmentPicture) -> Template | Refusal:
        observation = self.checker.observer.observe(image.pixels)
        refusal = picture_refusal(observation, picture=picture)
        return refusal or self.checker.template(observation.faces[0])

    def _replacement_refusal(
        self, unit: LessonUnit, confirmed: _Confirmed, reserved: Reservation
    ) -> Refusal | None:
        try:
            before = unit.enrolment(confirmed.learner_id)
        except UnknownSubjectError:
            return None
        anchors = confirmed.enrolled.anchor, before.anchor
        new = confirmed.enrolled.template
        try:
            enrolled = self._opened(before)
        except (ContractMismatchError, UnknownSubjectError):  # another model, or forgotten
            return replacement_refusal(*anchors, None)
        if not reserved.granted:
            return replacement_refusal(*anchors, None, too_often=True)
        # Whether or not it is refused, that tells how alike they are.
        reserved.settle(unit, compared=True)
        comparison = compare(enrolled.template, new, confirmed.calibration)
        return replacement_refusal(*anchors, comparison)

    def _on_record(self, learner_id: str, *, unless: Template) -> Template:
        """Return the face that is on record; where nobody can say, ``unless``.

        If that is not on record, a search finds it out (`DuplicateSearch`).
        """
        try:
            with self.store.reading() as unit:
                return self._opened(unit.enrolment(learner_id)).template
        except VerifierError:
            return unless

    def _opened(self, stored: StoredEnrolment) -> EnrolledTemplate:
        contract_id = self.checker.observer.contract_id
        return self.templates.open(
            stored.learner_id, stored.sealed_template, contract_id=contract_id
        )

    def _entry(self, confirmed: _Confirmed) -> PreparedEntry:
        """Prepare the leaf that the enrolment took place; what it rested on stays sealed."""
        calibration = confirmed.calibration
        return self.evidence.prepare_record(
            ENROLMENT,
            at=confirmed.enrolled.enrolled_at,
            facts={"anchor": confirmed.enrolled.anchor.value},
            private={
                "pixels_sha256": [image.pixels_sha256.hex() for image in confirmed.pictures],
                "calibration": calibration.label,
                "calibration_id": calibration.calibration_id,
            },
            console={"comparison_log10_lr": [result.log10_lr for result in confirmed.compared]},
            learner_id=confirmed.learner_id,
            purpose="enrolment",
            contract=self.checker.observer.contract_id,
            record_class=RecordClass.FACE_EVIDENCE,
        )

    def _sealed(self, confirmed: _Confirmed, entry: PreparedEntry) -> StoredEnrolment:
        enrolled = confirmed.enrolled
        return StoredEnrolment(
            learner_id=confirmed.learner_id,
            contract_id=enrolled.template.contract_id,
            sealed_template=self.templates.seal(confirmed.learner_id, enrolled),
            anchor=enrolled.anchor,
            enrolled_at=enrolled.enrolled_at,
            evidence_id=entry.evidence_id,
            authority_reference=confirmed.vouching.authority_reference,
        )


def _decode(data: bytes) -> DecodedImage:
    return decode_image(data, FRAME_LIMITS)
