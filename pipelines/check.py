"""One check: frames in, a judged answer and the picture it stands on out."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.image_decoder import FRAME_LIMITS, DecodedImage, decode_image
from verifier.answer import ComparedFace, JudgedCapture, judge_capture
from verifier.comparison import Calibration, Template, compare
from verifier.errors import UnreadableImageError
from verifier.observation import FaceObservation, FrameObservation
from verifier.protocols import FaceObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFrames:
    """A judged answer; ``picture`` is what archive and reviewer see, None if none was readable."""

    judged: JudgedCapture
    picture: DecodedImage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChecker:
    """Judges frames against a reference, with one observer and one calibration."""

    observer: FaceObserver
    calibration: Calibration

    def check(self, frames: Sequence[bytes], reference: Template) -> CheckedFrames:
        """Judge the frames that answered one prompt.

        A frame that cannot be decoded is passed over; with none left the answer is inconclusive.
        """
        pictures = [_decode(frame) for frame in frames]
        observations = [
            None if picture is None else self.observer.observe(picture.pixels)
            for picture in pictures
        ]
        judged = judge_capture(observations, self._compare(observations, reference))
        chosen = None if judged.frame_index is None else pictures[judged.frame_index]
        return CheckedFrames(judged=judged, picture=chosen)

    def template(self, face: FaceObservation) -> Template:
        """Return the template of an observed face, under this observer's contract."""
        if face.embedding is None:
            raise ValueError("the face was observed without a vector; one was wanted")
        return Template(contract_id=self.observer.contract_id, vector=face.embedding)

    def _compare(
        self, observations: Sequence[FrameObservation | None], reference: Template
    ) -> list[ComparedFace]:
        return [
            ComparedFace(
                frame_index=index,
                face=frame.faces[0],
                comparison=compare(reference, self.template(frame.faces[0]), self.calibration),
            )
            for index, frame in enumerate(observations)
            if frame is not None and len(frame.faces) == 1 and not frame.faces[0].quality
        ]


def _decode(frame: bytes) -> DecodedImage | None:
    try:
        return decode_image(frame, FRAME_LIMITS)
    except UnreadableImageError:
        return None
