"""Enrolment: a reference picture, live frames that must match it, and a sealed template."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.image_decoder import FRAME_LIMITS, STILL_LIMITS, decode_image
from models.picture_structure import DecodeLimits
from pipelines.check import FrameChecker
from pipelines.template_store import EnrolledTemplate, TemplateStore
from verifier.comparison import Template, compare
from verifier.enrolment import Anchor, Refusal, comparison_refusal, picture_refusal
from verifier.protocols import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroller:
    """Enrols learners: every picture fit for comparison, every live frame a match."""

    checker: FrameChecker
    templates: TemplateStore
    clock: Clock

    def enrol(
        self, learner_id: str, *, reference: bytes, live: Sequence[bytes], anchor: Anchor
    ) -> Refusal | EnrolledTemplate:
        """Enrol a learner, or say why not; nothing is stored unless all of it holds.

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
        enrolled = self._template(reference, STILL_LIMITS, picture="reference")
        if isinstance(enrolled, Refusal):
            return enrolled
        probes = [self._template(frame, FRAME_LIMITS, picture="live") for frame in live]
        refused = next((probe for probe in probes if isinstance(probe, Refusal)), None)
        refused = refused or comparison_refusal(
            [
                compare(enrolled, probe, self.checker.calibration)
                for probe in probes
                if isinstance(probe, Template)
            ]
        )
        return refused or self._store(learner_id, enrolled, anchor)

    def _template(self, data: bytes, limits: DecodeLimits, *, picture: str) -> Template | Refusal:
        observation = self.checker.observer.observe(decode_image(data, limits).pixels)
        refusal = picture_refusal(observation, picture=picture)
        return refusal or self.checker.template(observation.faces[0])

    def _store(self, learner_id: str, template: Template, anchor: Anchor) -> EnrolledTemplate:
        enrolled = EnrolledTemplate(template=template, anchor=anchor, enrolled_at=self.clock.now())
        self.templates.store(learner_id, enrolled)
        return enrolled
