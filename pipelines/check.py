"""One check: frames in, a judged answer and the picture it stands on out."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.image_decoder import FRAME_LIMITS, DecodedImage, decode_image
from verifier.answer import ComparedFace, JudgedCapture, judge_capture
from verifier.calibration import AnyCalibration
from verifier.comparison import Template, compare
from verifier.errors import UnreadableImageError
from verifier.observation import FaceObservation, FrameObservation
from verifier.protocols import FaceObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFrames:
    """A judged answer; ``picture`` is what archive and reviewer see, None if none was readable.

    ``calibration`` is the one that it was judged by; ``compared``: a face was compared with the
    reference, so that the judgement says something about both.
    """

    judged: JudgedCapture
    picture: DecodedImage | None
    calibration: AnyCalibration
    compared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChecker:
    """Judges frames against a reference, as one observer sees them."""

    observer: FaceObserver

    def check(
        self, frames: Sequence[bytes], reference: Template | None, calibration: AnyCalibration
    ) -> CheckedFrames:
        """Judge the frames that answered one prompt, by the calibration of its session.

        A frame that cannot be decoded is passed over; with none left the answer is inconclusive.
        Without a reference the frames are looked at and compared with nothing: a face is referred.
        """
        pictures = [_decode(frame) for frame in frames]
        embed = reference is not None
        observations = [
            None if picture is None else self.observer.observe(picture.pixels, embed=embed)
            for picture in pictures
        ]
        compared = self._compare(observations, reference, calibration)
        judged = judge_capture(observations, compared)
        chosen = None if judged.frame_index is None else pictures[judged.frame_index]
        return CheckedFrames(
            judged=judged, picture=chosen, calibration=calibration, compared=bool(compared)
        )

    def template(self, face: FaceObservation) -> Template:
        """Return the template of an observed face, under this observer's contract."""
        if face.embedding is None:
            raise ValueError("the face was observed without a vector; one was wanted")
        return Template(contract_id=self.observer.contract_id, vector=face.embedding)

    def _compare(
        self,
        observations: Sequence[FrameObservation | None],
        reference: Template | None,
        calibration: AnyCalibration,
    ) -> list[ComparedFace]:
        if reference is None:
            return []
        return [
            ComparedFace(
                frame_index=index,
                face=frame.faces[0],
                comparison=compare(reference, self.template(frame.faces[0]), calibration),
            )
            for index, frame in enumerate(observations)
            if frame is not None and len(frame.faces) == 1 and not frame.faces[0].quality
        ]


def _decode(frame: bytes) -> DecodedImage | None:
    try:
        return decode_image(frame, FRAME_LIMITS)
    except UnreadableImageError:
        return None
