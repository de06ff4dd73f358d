"""Enrolment: a reference picture, live frames that must match it, and a sealed template."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.image_decoder import FRAME_LIMITS, STILL_LIMITS, DecodedImage, decode_image
from pipelines.archive import Archive
from pipelines.check import FrameChecker
from pipelines.keystore import RecordClass
from pipelines.template_store import EnrolledTemplate, TemplateStore
from verifier.comparison import ComparisonResult, Template, compare
from verifier.enrolment import Anchor, Refusal, comparison_refusal, picture_refusal
from verifier.protocols import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroller:
    """Enrols learners: every picture fit for comparison, every live frame a match."""

    checker: FrameChecker
    templates: TemplateStore
    archive: Archive
    clock: Clock

    def enrol(
        self, learner_id: str, *, reference: bytes, live: Sequence[bytes], anchor: Anchor
    ) -> Refusal | EnrolledTemplate:
        """Enrol a learner, or say why not; nothing is stored unless all of it holds.

        1. The reference shows one face fit for comparison.
        2. So does every live frame, and no two of them are one picture sent twice.
        3. Every live frame matches the reference.
        4. The enrolment is in the log; only then does the template exist.

        Parameters
        ----------
        reference
            The picture that the anchor vouches for; up to 16 MiB.
        live
            Frames from the learner's camera, taken now.
        anchor
            Who established that the reference shows the person of that name.

        Raises
        ------
        UnreadableImageError
            If a picture cannot be read.
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
        self._record(learner_id, anchor, [shown, *frames.values()], compared)
        return self._store(learner_id, enrolled, anchor)

    def _template(self, image: DecodedImage, *, picture: str) -> Template | Refusal:
        observation = self.checker.observer.observe(image.pixels)
        refusal = picture_refusal(observation, picture=picture)
        return refusal or self.checker.template(observation.faces[0])

    def _record(
        self,
        learner_id: str,
        anchor: Anchor,
        pictures: Sequence[DecodedImage],
        compared: Sequence[ComparisonResult],
    ) -> None:
        """Put into the log that the enrolment took place; what it rested on stays sealed."""
        self.archive.append_record(
            "enrolment",
            at=self.clock.now(),
            facts={"anchor": anchor.value},
            private={
                "pixels_sha256": [image.pixels_sha256.hex() for image in pictures],
                "comparison_log10_lr": [result.log10_lr for result in compared],
                "calibration": self.checker.calibration.name,
            },
            learner_id=learner_id,
            purpose="enrolment",
            contract=self.checker.observer.contract_id,
            record_class=RecordClass.FACE_EVIDENCE,
        )
        self.archive.publish()

    def _store(self, learner_id: str, template: Template, anchor: Anchor) -> EnrolledTemplate:
        enrolled = EnrolledTemplate(template=template, anchor=anchor, enrolled_at=self.clock.now())
        self.templates.store(learner_id, enrolled)
        return enrolled


def _decode(data: bytes) -> DecodedImage:
    return decode_image(data, FRAME_LIMITS)
