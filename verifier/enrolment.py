"""Enrolment: whose face it is, and who vouches for that.

A face is only as good as its anchor: anybody can sit before a camera while somebody else's
name is typed in. So the anchor travels with the template into every leaf and gate trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from verifier.comparison import ComparisonOutcome, ComparisonResult
from verifier.observation import FrameObservation, QualityReason


class Anchor(StrEnum):
    """Who established that the reference shows the person of that name."""

    AUTHORITY = "authority"  # 公安、电子社保卡 or the chip of the identity card
    OFFICER = "officer"  # a county officer saw person and card
    INSTITUTION = "institution"  # nobody independent: nothing is payable on it


class RefusalCode(StrEnum):
    """Why an enrolment was refused, in words a learner is told."""

    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    POOR_QUALITY = "poor_quality"
    NOT_THE_SAME_PERSON = "not_the_same_person"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW_LIVE_FRAMES = "too_few_live_frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What stood in the way; ``picture`` is ``reference`` or ``live``."""

    code: RefusalCode
    picture: str
    quality: tuple[QualityReason, ...] = ()


MIN_LIVE_FRAMES = 2
"""One frame may be a slip of the shutter; two must agree."""


def picture_refusal(observation: FrameObservation, *, picture: str) -> Refusal | None:
    """Return why a picture cannot be enrolled from, or None where it can."""
    if not observation.faces:
        return Refusal(code=RefusalCode.NO_FACE, picture=picture)
    if len(observation.faces) > 1:
        return Refusal(code=RefusalCode.MULTIPLE_FACES, picture=picture)
    quality = observation.faces[0].quality
    if quality:
        return Refusal(code=RefusalCode.POOR_QUALITY, picture=picture, quality=quality)
    return None


def comparison_refusal(comparisons: Sequence[ComparisonResult]) -> Refusal | None:
    """Return why the live frames do not confirm the reference, or None where all of them do.

    Every frame must match: an enrolment may be repeated, and a wrong one is paid for ever.
    """
    if len(comparisons) < MIN_LIVE_FRAMES:
        return Refusal(code=RefusalCode.TOO_FEW_LIVE_FRAMES, picture="live")
    outcomes = {comparison.outcome for comparison in comparisons}
    if ComparisonOutcome.NO_MATCH in outcomes:
        return Refusal(code=RefusalCode.NOT_THE_SAME_PERSON, picture="live")
    if ComparisonOutcome.INCONCLUSIVE in outcomes:
        return Refusal(code=RefusalCode.INCONCLUSIVE, picture="live")
    return None
