"""What platform and learner are told about the frames of one answer."""

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ALONE, BLURRED, CALIBRATION, NOBODY, TWO, face, frame
from verifier.answer import (
    ANSWER_TEXT,
    AnswerReason,
    CallFinding,
    ComparedFace,
    JudgedCapture,
    judge_call,
    judge_capture,
    judge_code,
)
from verifier.check import Challenge, Outcome
from verifier.comparison import ComparisonResult, OutcomeRules
from verifier.errors import InvalidRecordError
from verifier.observation import FrameObservation, QualityReason
from verifier.prompt import Judgement


def comparison(log10_lr: float) -> ComparisonResult:
    """Return a comparison of that strength under the default rules."""
    return ComparisonResult(
        outcome=OutcomeRules().outcome(log10_lr),
        comparison_score=0.5,
        log10_lr=log10_lr,
        contract="c",
        calibration="made up",
    )


def judged(*log10_lrs: float, pad: float | None = None) -> JudgedCapture:
    """Judge frames that all show one fit face, with these comparisons."""
    return judge_capture(
        [ALONE] * len(log10_lrs),
        [
            ComparedFace(
                frame_index=i, face=face(attack_log10_lr=pad), comparison=comparison(ratio)
            )
            for i, ratio in enumerate(log10_lrs)
        ],
    )


@pytest.mark.parametrize(
    ("log10_lr", "judgement", "reason"),
    [
        (1.9, Judgement.PASS, AnswerReason.CONFIRMED),
        (0.0, Judgement.RETRY, AnswerReason.NOT_SURE),
        (-2.0, Judgement.REFER, AnswerReason.UNDER_REVIEW),
    ],
)
def test_each_outcome_has_its_answer(
    log10_lr: float, judgement: Judgement, reason: AnswerReason
) -> None:
    answer = judged(log10_lr)
    assert (answer.judgement, answer.reason) == (judgement, reason)
    assert answer.check.outcome is Outcome.CAPTURED
    assert answer.check.comparison_log10_lr == log10_lr
    assert (answer.check.faces, answer.check.prompted, answer.frame_index) == (1, True, 0)


@pytest.mark.parametrize(
    ("observations", "outcome", "reason", "faces", "frame_index"),
    [
        ([], Outcome.UNREADABLE, AnswerReason.PICTURE_UNREADABLE, None, None),
        ([None, None], Outcome.UNREADABLE, AnswerReason.PICTURE_UNREADABLE, None, None),
        ([None, NOBODY], Outcome.NO_FACE, AnswerReason.NOBODY_SEEN, 0, 1),
        ([None, NOBODY, TWO], Outcome.MULTIPLE_FACES, AnswerReason.SEVERAL_PEOPLE, 2, 2),
        ([NOBODY, BLURRED], Outcome.CAPTURED, AnswerReason.PICTURE_POOR, 1, 1),
    ],
)
def test_without_a_comparison_it_is_asked_again_and_nothing_is_measured(
    observations: Sequence[FrameObservation | None],
    outcome: Outcome,
    reason: AnswerReason,
    faces: int | None,
    frame_index: int | None,
) -> None:
    answer = judge_capture(observations, [])
    assert answer.judgement is Judgement.RETRY
    assert (answer.check.outcome, answer.reason) == (outcome, reason)
    assert (answer.check.faces, answer.frame_index) == (faces, frame_index)
    assert answer.check.comparison_log10_lr is None


def test_a_poor_picture_says_what_to_mend() -> None:
    assert judge_capture([BLURRED], []).quality == (QualityReason.BLURRED,)
    assert judged(1.9).quality == ()


def test_a_second_face_in_one_frame_outweighs_a_match_in_another() -> None:
    """Whoever sits beside the learner must leave; the match is not even recorded."""
    match = ComparedFace(frame_index=0, face=face(), comparison=comparison(1.9))
    answer = judge_capture([ALONE, TWO], [match])
    assert (answer.judgement, answer.reason) == (Judgement.RETRY, AnswerReason.SEVERAL_PEOPLE)
    assert answer.check.comparison_log10_lr is None


def test_what_was_not_measured_never_counts_for_the_learner() -> None:
    match = ComparedFace(frame_index=0, face=face(), comparison=comparison(1.9))
    unknown = ComparedFace(
        frame_index=1, face=face(), comparison=ComparisonResult.not_measured(CALIBRATION)
    )
    answer = judge_capture([ALONE, ALONE], [match, unknown])
    assert (answer.judgement, answer.frame_index) == (Judgement.RETRY, 1)
    assert answer.check.comparison_log10_lr is None


def test_a_comparison_of_an_unfit_face_is_not_used() -> None:
    """Neither for the learner nor against: not even by a caller that compared what it must not."""
    unfit = face(quality=(QualityReason.FACE_COVERED,))
    wrong = ComparedFace(frame_index=0, face=unfit, comparison=comparison(-2.0))
    right = ComparedFace(frame_index=1, face=face(), comparison=comparison(1.9))
    shown = [frame(unfit), ALONE]
    answer = judge_capture(shown, [wrong, right])
    assert (answer.reason, answer.frame_index) == (AnswerReason.CONFIRMED, 1)
    for log10_lr in (-2.0, 1.9):
        alone = ComparedFace(frame_index=0, face=unfit, comparison=comparison(log10_lr))
        withheld = judge_capture(shown, [alone])
        assert withheld.reason is AnswerReason.UNDER_REVIEW
        assert withheld.check.comparison_log10_lr is None


def test_the_attack_detectors_finding_is_kept_and_its_absence_too() -> None:
    assert judged(1.9, pad=-0.5).check.pad_log10_lr == -0.5
    assert judged(1.9).check.pad_log10_lr is None


ratios = st.lists(st.floats(-2, 2), min_size=1, max_size=5)
STRICTNESS = [Judgement.PASS, Judgement.RETRY, Judgement.REFER]


@given(log10_lrs=ratios)
def test_the_worst_comparison_is_the_evidence(log10_lrs: list[float]) -> None:
    answer = judged(*log10_lrs)
    assert answer.check.comparison_log10_lr == min(log10_lrs)
    assert answer.frame_index is not None
    assert log10_lrs[answer.frame_index] == min(log10_lrs)


@given(log10_lrs=ratios, further=st.floats(-2, 2))
def test_a_further_frame_never_makes_the_answer_better(
    log10_lrs: list[float], further: float
) -> None:
    before, after = judged(*log10_lrs), judged(*log10_lrs, further)
    assert STRICTNESS.index(after.judgement) >= STRICTNESS.index(before.judgement)


@given(st.permutations([None, NOBODY, BLURRED, ALONE]), st.booleans())
def test_the_order_of_frames_does_not_matter(
    frames: list[FrameObservation | None], crowded: bool
) -> None:
    shown = [*frames, TWO] if crowded else frames
    alone = next(i for i, each in enumerate(shown) if each is ALONE)
    match = ComparedFace(frame_index=alone, face=face(), comparison=comparison(1.9))
    answer = judge_capture(shown, [match])
    wanted = AnswerReason.SEVERAL_PEOPLE if crowded else AnswerReason.CONFIRMED
    assert answer.reason is wanted


def test_every_reason_has_a_text_in_both_languages_and_none_tells_a_number() -> None:
    assert set(ANSWER_TEXT) == set(AnswerReason)
    for texts in ANSWER_TEXT.values():
        assert all(texts)
        assert not any(character.isdigit() for text in texts for character in text)


class TestTypedCodes:
    def test_the_right_code_passes_and_compares_nothing(self) -> None:
        answer = judge_code("042917", "042917", latency_s=3.5)
        assert (answer.judgement, answer.reason) == (Judgement.PASS, AnswerReason.CONFIRMED)
        check = answer.check
        assert (check.outcome, check.faces, check.comparison_log10_lr) == (
            Outcome.CAPTURED,
            None,
            None,
        )
        assert check.challenge == Challenge(kind="typed_code", passed=True, latency_s=3.5)
        assert (answer.frame_index, answer.quality) == (None, ())

    @pytest.mark.parametrize(
        "typed", [" 042917\n", "０４２９１７", "042 917", "\u3000０４２\u3000９１７"]
    )
    def test_full_width_digits_and_spaces_are_forgiven(self, typed: str) -> None:
        assert judge_code("042917", typed, latency_s=3.5).judgement is Judgement.PASS

    @pytest.mark.parametrize(
        "typed", ["", "042918", "42917", "0429170", "042917x", "\ud800", "٠٤٢٩١٧", "9" * 5000]
    )
    def test_anything_else_is_asked_for_again(self, typed: str) -> None:
        answer = judge_code("042917", typed, latency_s=3.5)
        assert (answer.judgement, answer.reason) == (Judgement.RETRY, AnswerReason.WRONG_CODE)
        # Not a face that was seen: that would earn the retry new time.
        assert answer.check.outcome is Outcome.UNREADABLE
        assert answer.check.challenge == Challenge(kind="typed_code", passed=False, latency_s=3.5)

    @given(asked=st.text("0123456789", min_size=4, max_size=12), typed=st.text(max_size=12))
    def test_nothing_but_the_code_passes(self, asked: str, typed: str) -> None:
        passed = judge_code(asked, typed, latency_s=None).judgement is Judgement.PASS
        digits = "".join(unicodedata.normalize("NFKC", typed).split())
        assert passed == (digits == asked)
        assert judge_code(asked, asked, latency_s=None).judgement is Judgement.PASS


@pytest.mark.parametrize(
    ("finding", "judgement", "reason", "outcome"),
    [
        (CallFinding.SEEN, Judgement.PASS, AnswerReason.CONFIRMED, Outcome.CAPTURED),
        (
            CallFinding.NOT_REACHED,
            Judgement.RETRY,
            AnswerReason.NOT_REACHED,
            Outcome.NO_RESPONSE,
        ),
        (
            CallFinding.SOMEBODY_ELSE,
            Judgement.REFER,
            AnswerReason.UNDER_REVIEW,
            Outcome.CAPTURED,
        ),
    ],
)
def test_what_an_officer_recorded_of_a_call(
    finding: CallFinding, judgement: Judgement, reason: AnswerReason, outcome: Outcome
) -> None:
    answer = judge_call(finding, latency_s=95.0)
    assert (answer.judgement, answer.reason) == (judgement, reason)
    assert (answer.check.outcome, answer.check.faces) == (outcome, None)
    assert answer.check.comparison_log10_lr is None
    passed = judgement is Judgement.PASS
    assert answer.check.challenge == Challenge(kind="officer_call", passed=passed, latency_s=95.0)


@pytest.mark.parametrize("latency_s", [-0.1, float("nan"), float("inf")])
def test_a_latency_that_is_none_is_refused(latency_s: float) -> None:
    with pytest.raises(InvalidRecordError, match="latency_s"):
        judge_code("1", "1", latency_s=latency_s)
    with pytest.raises(InvalidRecordError, match="latency_s"):
        judge_call(CallFinding.SEEN, latency_s=latency_s)
