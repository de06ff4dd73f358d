"""Enrolment: a reference picture, live frames that must match it, and a sealed template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.image_decoder import FRAME_LIMITS, STILL_LIMITS, DecodedImage, decode_image
from pipelines.check import FrameChecker
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.keystore import RecordClass
from pipelines.lesson_store import LessonStore, LessonUnit, StoredEnrolment
from pipelines.recording import recording
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from verifier.comparison import ComparisonResult, Template, compare
from verifier.enrolment import (
    Anchor,
    Refusal,
    comparison_refusal,
    picture_refusal,
    replacement_refusal,
)
from verifier.errors import ContractMismatchError, UnknownSubjectError
from verifier.protocols import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouching:
    """Who established whose face the reference shows, and under which reference number."""

    anchor: Anchor
    authority_reference: str | None = None


def _nothing(_unit: LessonUnit, _stored: StoredEnrolment) -> None:
    """Add nothing to the unit of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroller:
    """Enrols learners: every picture fit for comparison, every live frame a match."""

    checker: FrameChecker
    templates: TemplateSealer
    store: LessonStore
    evidence: EvidenceStore
    clock: Clock

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
        4. An earlier enrolment was less well vouched for, or as well and shows the same face.
        5. Enrolment and log entry become true together.

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
        shown = decode_image(reference, STILL_LIMITS)
        enrolled = self._template(shown, picture="reference")
        if isinstance(enrolled, Refusal):
            return enrolled
        frames = {frame.pixels_sha256: frame for frame in (_decode(data) for data in live)}
        compared: list[ComparisonResult] = []
        for frame in frames.values():
            probe = self._template(frame, picture="live")
            if isinstance(probe, Refusal):
                return probe
            compared.append(compare(enrolled, probe, self.checker.calibration))
        if (refusal := comparison_refusal(compared)) is not None:
            return refusal
        prepared = EnrolledTemplate(
            template=enrolled, anchor=vouching.anchor, enrolled_at=self.clock.now()
        )
        with recording(self.store, self.evidence) as work:
            work.unit.lock_learner(learner_id)
            if (refusal := self._replacement_refusal(work.unit, learner_id, prepared)) is not None:
                return refusal
            entry = self._entry(learner_id, prepared, [shown, *frames.values()], compared)
            work.append(entry)
            stored = self._sealed(learner_id, prepared, vouching, entry)
            work.unit.store_enrolment(stored)
            also(work.unit, stored)
            return stored

    def _template(self, image: DecodedImage, *, picture: str) -> Template | Refusal:
        observation = self.checker.observer.observe(image.pixels)
        refusal = picture_refusal(observation, picture=picture)
        return refusal or self.checker.template(observation.faces[0])

    def _replacement_refusal(
        self, unit: LessonUnit, learner_id: str, new: EnrolledTemplate
    ) -> Refusal | None:
        try:
            before = unit.enrolment(learner_id)
        except UnknownSubjectError:
            return None
        comparison = self._compare_with(before, new)
        return replacement_refusal(new.anchor, before.anchor, comparison)

    def _compare_with(
        self, before: StoredEnrolment, new: EnrolledTemplate
    ) -> ComparisonResult | None:
        """Compare with the face that is enrolled; None where it cannot be compared any more."""
        try:
            enrolled = self.templates.open(
                before.learner_id, before.sealed_template, contract_id=new.template.contract_id
            )
        except (ContractMismatchError, UnknownSubjectError):  # another model, or forgotten
            return None
        return compare(enrolled.template, new.template, self.checker.calibration)

    def _entry(
        self,
        learner_id: str,
        enrolled: EnrolledTemplate,
        pictures: Sequence[DecodedImage],
        compared: Sequence[ComparisonResult],
    ) -> PreparedEntry:
        """Prepare the leaf that the enrolment took place; what it rested on stays sealed."""
        return self.evidence.prepare_record(
            "enrolment",
            at=enrolled.enrolled_at,
            facts={"anchor": enrolled.anchor.value},
            private={
                "pixels_sha256": [image.pixels_sha256.hex() for image in pictures],
                "calibration": self.checker.calibration.name,
            },
            console={"comparison_log10_lr": [result.log10_lr for result in compared]},
            learner_id=learner_id,
            purpose="enrolment",
            contract=self.checker.observer.contract_id,
            record_class=RecordClass.FACE_EVIDENCE,
        )

    def _sealed(
        self,
        learner_id: str,
        enrolled: EnrolledTemplate,
        vouching: Vouching,
        entry: PreparedEntry,
    ) -> StoredEnrolment:
        return StoredEnrolment(
            learner_id=learner_id,
            contract_id=enrolled.template.contract_id,
            sealed_template=self.templates.seal(learner_id, enrolled),
            anchor=enrolled.anchor,
            enrolled_at=enrolled.enrolled_at,
            evidence_id=entry.evidence_id,
            authority_reference=vouching.authority_reference,
        )


def _decode(data: bytes) -> DecodedImage:
    return decode_image(data, FRAME_LIMITS)
