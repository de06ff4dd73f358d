"""What may be enrolled from, and what confirms it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ALONE, BLURRED, NOBODY, TWO
from verifier.comparison import ComparisonOutcome, ComparisonResult
from verifier.enrolment import (
    MIN_LIVE_FRAMES,
    Refusal,
    RefusalCode,
    comparison_refusal,
    picture_refusal,
)
from verifier.observation import FrameObservation, QualityReason

MATCH, NO_MATCH, UNSURE = (
    ComparisonOutcome.MATCH,
    ComparisonOutcome.NO_MATCH,
    ComparisonOutcome.INCONCLUSIVE,
)


def refusal_of(*outcomes: ComparisonOutcome) -> RefusalCode | None:
    results = [
        ComparisonResult(
            outcome=each, comparison_score=0.5, log10_lr=0.0, contract="c", calibration="k"
        )
        for each in outcomes
    ]
    refused = comparison_refusal(results)
    assert refused is None or refused.picture == "live"
    return None if refused is None else refused.code


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (NOBODY, RefusalCode.NO_FACE),
        (TWO, RefusalCode.MULTIPLE_FACES),
        (BLURRED, RefusalCode.POOR_QUALITY),
    ],
)
def test_a_picture_that_cannot_be_enrolled_from(seen: FrameObservation, code: RefusalCode) -> None:
    refused = picture_refusal(seen, picture="reference")
    assert refused is not None
    assert (refused.code, refused.picture) == (code, "reference")


def test_one_fit_face_can_be_enrolled_from() -> None:
    assert picture_refusal(ALONE, picture="live") is None


def test_a_poor_picture_says_what_to_mend() -> None:
    assert picture_refusal(BLURRED, picture="live") == Refusal(
        code=RefusalCode.POOR_QUALITY, picture="live", quality=(QualityReason.BLURRED,)
    )


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([MATCH, MATCH], None),
        ([], RefusalCode.TOO_FEW_LIVE_FRAMES),
        ([MATCH], RefusalCode.TOO_FEW_LIVE_FRAMES),
        ([MATCH, UNSURE], RefusalCode.INCONCLUSIVE),
        ([MATCH, MATCH, NO_MATCH], RefusalCode.NOT_THE_SAME_PERSON),
        ([UNSURE, NO_MATCH], RefusalCode.NOT_THE_SAME_PERSON),
    ],
)
def test_every_live_frame_must_match(
    outcomes: list[ComparisonOutcome], code: RefusalCode | None
) -> None:
    assert refusal_of(*outcomes) is code


@given(st.lists(st.sampled_from(ComparisonOutcome), max_size=5))
def test_only_enough_frames_that_all_match_are_accepted(outcomes: list[ComparisonOutcome]) -> None:
    accepted = len(outcomes) >= MIN_LIVE_FRAMES and set(outcomes) == {MATCH}
    assert (refusal_of(*outcomes) is None) == accepted
