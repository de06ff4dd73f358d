"""Enrolment: whose face it is, and who vouches for that.

A face is only as good as its anchor: anybody can sit before a camera while somebody else's
name is typed in. So the anchor travels with the template into every leaf and gate trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from verifier.comparison import ComparisonOutcome, ComparisonResult
from verifier.observation import FrameObservation, QualityReason
from verifier.prompt import Judgement
from verifier.quality import DEFAULT_RULES, ENROLMENT_RULES, assess_observed, stands_behind


class Anchor(StrEnum):
    """Who established that the reference shows the person of that name."""

    AUTHORITY = "authority"  # 公安、电子社保卡 or the chip of the identity card
    OFFICER = "officer"  # a county officer saw person and card
    INSTITUTION = "institution"  # nobody independent: nothing is payable on it


STRENGTH: Final = (Anchor.INSTITUTION, Anchor.OFFICER, Anchor.AUTHORITY)
"""Anchors from the weakest to the strongest."""


class RefusalCode(StrEnum):
    """Why an enrolment was refused, in words a learner is told."""

    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    POOR_QUALITY = "poor_quality"
    NOT_THE_SAME_PERSON = "not_the_same_person"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW_LIVE_FRAMES = "too_few_live_frames"
    ANOTHER_FACE_ENROLLED = "another_face_enrolled"
    BETTER_ANCHORED_ALREADY = "better_anchored_already"
    TOO_OFTEN_TODAY = "too_often_today"


REFUSAL_TEXT: Final[Mapping[RefusalCode, tuple[str, str]]] = MappingProxyType(
    {
        RefusalCode.NO_FACE: (
            "照片里没有找到人脸，请正对镜头、光线均匀，再拍一次",
            "No face was found; please face the camera in even light and take it again.",
        ),
        RefusalCode.MULTIPLE_FACES: (
            "照片里不止一个人，请只留您本人，再拍一次",
            "There is more than one person in the picture; please take it again alone.",
        ),
        RefusalCode.POOR_QUALITY: (
            "照片不够清楚，请按提示调整后再拍一次",
            "The picture is not clear enough; please adjust as hinted and take it again.",
        ),
        RefusalCode.NOT_THE_SAME_PERSON: (
            "现场照片与登记照片对不上，请联系培训机构或经办人员核实，不会自动作出不利决定",
            "The live pictures and the reference differ; please have a person look at it."
            " Nothing is decided against you by a machine.",
        ),
        RefusalCode.INCONCLUSIVE: (
            "这次未能确认，请摘下口罩或墨镜、换个光线好的地方，再拍一次",
            "It could not be told this time; please uncover your face, find better light and take"
            " it again.",
        ),
        RefusalCode.TOO_FEW_LIVE_FRAMES: (
            "现场照片不够，请再拍至少两张不同的照片",
            "Too few live pictures; please take at least two different ones.",
        ),
        RefusalCode.ANOTHER_FACE_ENROLLED: (
            "该学员已登记过人脸，与这次的不同，请联系经办人员当面核实",
            "Another face is enrolled for this learner; please see an officer in person.",
        ),
        RefusalCode.BETTER_ANCHORED_ALREADY: (
            "该学员的人脸已由更权威的方式核实，无需再次登记；确需更换，请联系经办人员",
            "A better established face is enrolled already; nothing is to be done. To replace it,"
            " please see an officer.",
        ),
        RefusalCode.TOO_OFTEN_TODAY: (
            "该学员今天重新登记人脸的次数已达上限，请明天再试；原登记继续有效，不影响上课学习",
            "The face was tried to be enrolled again too often today; please try again tomorrow."
            " The earlier enrolment stays in force, and learning goes on.",
        ),
    }
)

_FOR_A_PERSON: Final = frozenset(
    {
        RefusalCode.NOT_THE_SAME_PERSON,
        RefusalCode.ANOTHER_FACE_ENROLLED,
        RefusalCode.BETTER_ANCHORED_ALREADY,
    }
)


class EnrolmentPicture(StrEnum):
    """Which of the pictures that an enrolment takes."""

    REFERENCE = "reference"  # every later check is compared with it
    LIVE = "live"  # taken now; confirms it


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What stood in the way, and in which picture."""

    code: RefusalCode
    picture: EnrolmentPicture
    quality: tuple[QualityReason, ...] = ()

    @property
    def judgement(self) -> Judgement:
        """``retry`` where another picture or another day helps, ``refer`` where a person must."""
        return Judgement.REFER if self.code in _FOR_A_PERSON else Judgement.RETRY

    @property
    def text(self) -> tuple[str, str]:
        """What to do, in Chinese and in English."""
        return REFUSAL_TEXT[self.code]


def replacement_refusal(
    anchor: Anchor,
    before: Anchor,
    comparison: ComparisonResult | None,
    *,
    too_often: bool = False,
) -> Refusal | None:
    """Return why a learner may not be enrolled again, or None where it may be done.

    Or else anybody who knows a learner's id could put another face in its place. Whoever is
    better vouched for may, whatever the face: the first to enrol an identity number may have come
    with a hired one, and would lock the person out. What was held under the weaker anchor keeps it.

    Parameters
    ----------
    anchor, before
        Of the new enrolment and of the one that it would replace.
    comparison
        Of the two references; None where they cannot be compared, after a change of model
        contract: then only the anchors speak.
    too_often
        Whether they could be compared, and were not: it was asked too often that day.
    """
    gained = STRENGTH.index(anchor) - STRENGTH.index(before)
    if gained > 0:
        return None
    if gained < 0:
        return Refusal(code=RefusalCode.BETTER_ANCHORED_ALREADY, picture=EnrolmentPicture.REFERENCE)
    if too_often:
        return Refusal(code=RefusalCode.TOO_OFTEN_TODAY, picture=EnrolmentPicture.REFERENCE)
    if comparison is not None and comparison.outcome is not ComparisonOutcome.MATCH:
        return Refusal(code=RefusalCode.ANOTHER_FACE_ENROLLED, picture=EnrolmentPicture.REFERENCE)
    return None


_RULES: Final = {
    EnrolmentPicture.REFERENCE: ENROLMENT_RULES,
    EnrolmentPicture.LIVE: DEFAULT_RULES,
}

MIN_LIVE_FRAMES = 2
"""One frame may be a slip of the shutter; two must agree."""


def picture_refusal(observation: FrameObservation, *, picture: EnrolmentPicture) -> Refusal | None:
    """Return why a picture cannot be enrolled from, or None where it can.

    The reference is held to the stricter rules: every later check is compared with it. The live
    frames only confirm it, by the same camera and light as in the lessons to come.
    """
    if not observation.faces:
        return Refusal(code=RefusalCode.NO_FACE, picture=picture)
    foremost, *others = observation.faces
    if not all(stands_behind(other, foremost) for other in others):
        return Refusal(code=RefusalCode.MULTIPLE_FACES, picture=picture)
    quality = assess_observed(foremost, observation, _RULES[picture])
    if others:
        quality = (*quality, QualityReason.BACKGROUND_FACE)
    if quality:
        return Refusal(code=RefusalCode.POOR_QUALITY, picture=picture, quality=quality)
    return None


def comparison_refusal(comparisons: Sequence[ComparisonResult]) -> Refusal | None:
    """Return why the live frames do not confirm the reference, or None where all of them do.

    Every frame must match: an enrolment may be repeated, and a wrong one is paid for ever.
    """
    if len(comparisons) < MIN_LIVE_FRAMES:
        return Refusal(code=RefusalCode.TOO_FEW_LIVE_FRAMES, picture=EnrolmentPicture.LIVE)
    outcomes = {comparison.outcome for comparison in comparisons}
    if ComparisonOutcome.NO_MATCH in outcomes:
        return Refusal(code=RefusalCode.NOT_THE_SAME_PERSON, picture=EnrolmentPicture.LIVE)
    if ComparisonOutcome.INCONCLUSIVE in outcomes:
        return Refusal(code=RefusalCode.INCONCLUSIVE, picture=EnrolmentPicture.LIVE)
    return None
