"""From what a capture showed to what platform and learner are told: pass, retry or refer.

The first of these that applies answers for all of the frames; their order does not matter:

1. No frame could be read, or one shows several faces, or none shows any: asked for again.
2. No face is fit for comparison: *inconclusive*, asked for again, never held against anybody.
3. A face is fit and was compared with nothing: the template was asked too often (see
   `pipelines.comparison_budget`), and a person looks at it.
4. Of the comparisons the worst one counts: an answer that mixes faces must not pass on its best.

Platform and learner hear a coarse reason; scores stay in the console (GB/T 38671: a score that
is told is a hill to climb).

A typed code (:func:`judge_code`) and an officer's call (:func:`judge_call`) show no face: nothing
is compared, and a right code says that somebody is there, never who.
"""

import hmac
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from verifier.check import Challenge, Check, Outcome
from verifier.comparison import ComparisonOutcome, ComparisonResult
from verifier.observation import FaceObservation, FrameObservation, QualityReason
from verifier.prompt import Judgement, PromptKind


class AnswerReason(StrEnum):
    """Why an answer was judged as it was, coarse enough to be told to anybody."""

    CONFIRMED = "confirmed"
    NOBODY_SEEN = "nobody_seen"
    SEVERAL_PEOPLE = "several_people"
    PICTURE_UNREADABLE = "picture_unreadable"
    PICTURE_POOR = "picture_poor"
    NOT_SURE = "not_sure"
    UNDER_REVIEW = "under_review"
    WRONG_CODE = "wrong_code"
    NOT_REACHED = "not_reached"


ANSWER_TEXT: Final[Mapping[AnswerReason, tuple[str, str]]] = MappingProxyType(
    {
        AnswerReason.CONFIRMED: ("已确认", "Confirmed."),
        AnswerReason.NOBODY_SEEN: (
            "画面里没有看到人，请坐到镜头前",
            "Nobody is in the picture: please sit in front of the camera.",
        ),
        AnswerReason.SEVERAL_PEOPLE: (
            "画面里不止一个人，请让其他人离开画面",
            "More than one person is in the picture: please be alone in it.",
        ),
        AnswerReason.PICTURE_UNREADABLE: (
            "图片无法读取，请重新拍摄",
            "The picture could not be read: please take it again.",
        ),
        AnswerReason.PICTURE_POOR: (
            "画面不够清楚，请按提示调整后再试",
            "The picture is not clear enough: please adjust as the hints say and try again.",
        ),
        AnswerReason.NOT_SURE: (
            "还不能确认，请正对镜头再试一次",
            "Not sure yet: please face the camera and try again.",
        ),
        AnswerReason.UNDER_REVIEW: (
            "本次验证转人工复核，可以继续学习",
            "This check goes to a person for review; you can go on learning.",
        ),
        AnswerReason.WRONG_CODE: (
            "输入的数字不对，请按屏幕上的数字重新输入",
            "These are not the digits on the screen: please type them again.",
        ),
        AnswerReason.NOT_REACHED: (
            "工作人员未能联系到您，可以继续学习",
            "An officer could not reach you; you can go on learning.",
        ),
    }
)
"""What the learner reads, (Chinese, English). Never an accusation, and learning always goes on."""


class CallFinding(StrEnum):
    """What an officer found who called the learner."""

    SEEN = "seen"
    NOT_REACHED = "not_reached"
    SOMEBODY_ELSE = "somebody_else"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCapture:
    """What a capture showed and how it is answered.

    Attributes
    ----------
    check
        The public evidence; its time is 0 until the session places it.
    quality
        What to mend before the retry; empty unless ``reason`` is ``picture_poor``.
    frame_index
        Which frame the evidence stands on; None where no frame could be read.
    """

    check: Check
    judgement: Judgement
    reason: AnswerReason
    quality: tuple[QualityReason, ...] = ()
    frame_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFace:
    """The only face of one frame, and how it compares with the reference."""

    frame_index: int
    face: FaceObservation
    comparison: ComparisonResult


def judge_capture(
    observations: Sequence[FrameObservation | None], compared: Sequence[ComparedFace]
) -> JudgedCapture:
    """Judge the frames of one answer.

    Parameters
    ----------
    observations
        One for each frame sent, None where the frame could not be read.
    compared
        Every frame that shows exactly one face fit for comparison; none of them where nothing
        may be compared. Faces with reasons against them are not used.
    """
    seen = {i: frame for i, frame in enumerate(observations) if frame is not None}
    if not seen:
        return _nothing(Outcome.UNREADABLE, AnswerReason.PICTURE_UNREADABLE, None, faces=None)
    crowded = next((i for i, frame in seen.items() if len(frame.faces) > 1), None)
    if crowded is not None:
        count = len(seen[crowded].faces)
        return _nothing(Outcome.MULTIPLE_FACES, AnswerReason.SEVERAL_PEOPLE, crowded, faces=count)
    alone = [i for i, frame in seen.items() if frame.faces]
    if not alone:
        return _nothing(Outcome.NO_FACE, AnswerReason.NOBODY_SEEN, next(iter(seen)), faces=0)
    fit = [i for i in alone if not seen[i].faces[0].quality]
    if not fit:
        return _poor(alone[0], seen[alone[0]].faces[0].quality)
    # A second lock: whoever compared an unfit face after all has measured nothing.
    used = [each for each in compared if not each.face.quality]
    if not used:
        return _withheld(fit[0], seen[fit[0]].faces[0])
    return _compared(min(used, key=_log10_lr))


def judge_code(asked: str, typed: str, *, latency_s: float | None) -> JudgedCapture:
    """Judge what was typed where ``asked`` was to be; full-width digits and spaces are forgiven.

    Parameters
    ----------
    latency_s
        From when the code was shown to when the answer began to arrive, 0 or more.

    Raises
    ------
    InvalidRecordError
        If ``latency_s`` is negative or not finite.
    """
    # Constant time: how far a guess was right must not show.
    right = hmac.compare_digest(_folded(asked), _folded(typed))
    return JudgedCapture(
        # Anything can type something wrong: that says next to nothing about who is there, and
        # must not earn the new time that a face which was seen earns.
        check=_faceless(
            Outcome.CAPTURED if right else Outcome.UNREADABLE,
            PromptKind.TYPED_CODE,
            passed=right,
            latency_s=latency_s,
        ),
        judgement=Judgement.PASS if right else Judgement.RETRY,
        reason=AnswerReason.CONFIRMED if right else AnswerReason.WRONG_CODE,
    )


def judge_call(finding: CallFinding, *, latency_s: float | None) -> JudgedCapture:
    """Judge what an officer recorded of a call.

    Whoever was not reached is not asked again by this prompt: its judgement is ``retry`` because
    nothing was decided, and the session makes a miss of it.

    Parameters
    ----------
    latency_s
        From when the call was asked for to its recording, 0 or more.

    Raises
    ------
    InvalidRecordError
        If ``latency_s`` is negative or not finite.
    """
    outcome, judgement, reason = _CALLS[finding]
    check = _faceless(
        outcome,
        PromptKind.OFFICER_CALL,
        passed=finding is CallFinding.SEEN,
        latency_s=latency_s,
    )
    return JudgedCapture(check=check, judgement=judgement, reason=reason)


_CALLS: Final = {
    CallFinding.SEEN: (Outcome.CAPTURED, Judgement.PASS, AnswerReason.CONFIRMED),
    CallFinding.NOT_REACHED: (Outcome.NO_RESPONSE, Judgement.RETRY, AnswerReason.NOT_REACHED),
    CallFinding.SOMEBODY_ELSE: (Outcome.CAPTURED, Judgement.REFER, AnswerReason.UNDER_REVIEW),
}


def _folded(text: str) -> bytes:
    # Input methods type full-width digits, and people the spaces they see.
    return "".join(unicodedata.normalize("NFKC", text).split()).encode("utf-8", "surrogatepass")


def _faceless(
    outcome: Outcome, kind: PromptKind, *, passed: bool, latency_s: float | None
) -> Check:
    challenge = Challenge(kind=kind.value, passed=passed, latency_s=latency_s)
    return Check(t=0.0, prompted=True, outcome=outcome, challenge=challenge)


_ANSWERS: Final = {
    ComparisonOutcome.MATCH: (Judgement.PASS, AnswerReason.CONFIRMED),
    ComparisonOutcome.INCONCLUSIVE: (Judgement.RETRY, AnswerReason.NOT_SURE),
    ComparisonOutcome.NO_MATCH: (Judgement.REFER, AnswerReason.UNDER_REVIEW),
}


def _compared(worst: ComparedFace) -> JudgedCapture:
    judgement, reason = _ANSWERS[worst.comparison.outcome]
    check = Check(
        t=0.0,
        prompted=True,
        outcome=Outcome.CAPTURED,
        faces=1,
        comparison_log10_lr=worst.comparison.log10_lr,
        pad_log10_lr=worst.face.attack_log10_lr,
    )
    return JudgedCapture(
        check=check, judgement=judgement, reason=reason, frame_index=worst.frame_index
    )


def _poor(frame_index: int, quality: tuple[QualityReason, ...]) -> JudgedCapture:
    return JudgedCapture(
        check=Check(t=0.0, prompted=True, outcome=Outcome.CAPTURED, faces=1),
        judgement=Judgement.RETRY,
        reason=AnswerReason.PICTURE_POOR,
        quality=quality,
        frame_index=frame_index,
    )


def _withheld(frame_index: int, face: FaceObservation) -> JudgedCapture:
    """Judge a face that nobody was compared with: said is what says nothing about it."""
    return JudgedCapture(
        check=Check(
            t=0.0,
            prompted=True,
            outcome=Outcome.CAPTURED,
            faces=1,
            pad_log10_lr=face.attack_log10_lr,
        ),
        judgement=Judgement.REFER,
        reason=AnswerReason.UNDER_REVIEW,
        frame_index=frame_index,
    )


def _nothing(
    outcome: Outcome, reason: AnswerReason, frame_index: int | None, *, faces: int | None
) -> JudgedCapture:
    return JudgedCapture(
        check=Check(t=0.0, prompted=True, outcome=outcome, faces=faces),
        judgement=Judgement.RETRY,
        reason=reason,
        frame_index=frame_index,
    )


def _log10_lr(compared: ComparedFace) -> float:
    # What was not measured never counts for the learner.
    measured = compared.comparison.log10_lr
    return -float("inf") if measured is None else measured
