"""What may be enrolled from, and what confirms it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ALONE, BLURRED, NOBODY, TWO, face
from tests.generated_images import face_mesh
from verifier.comparison import ComparisonOutcome, ComparisonResult
from verifier.enrolment import (
    MIN_LIVE_FRAMES,
    STRENGTH,
    Anchor,
    EnrolmentPicture,
    Refusal,
    RefusalCode,
    comparison_refusal,
    picture_refusal,
    replacement_refusal,
)
from verifier.face_features import FeatureMeasures
from verifier.face_light import LightMeasures
from verifier.observation import FrameObservation, QualityReason
from verifier.prompt import Judgement
from verifier.quality_measures import FaceMeasures
from verifier.quality_texts import REASON_TEXT

MATCH, NO_MATCH, UNSURE = (
    ComparisonOutcome.MATCH,
    ComparisonOutcome.NO_MATCH,
    ComparisonOutcome.INCONCLUSIVE,
)


def compared(outcome: ComparisonOutcome) -> ComparisonResult:
    return ComparisonResult(
        outcome=outcome, comparison_score=0.5, log10_lr=0.0, contract="c", calibration="k"
    )


def refusal_of(*outcomes: ComparisonOutcome) -> RefusalCode | None:
    refused = comparison_refusal([compared(each) for each in outcomes])
    assert refused is None or refused.picture is EnrolmentPicture.LIVE
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
    refused = picture_refusal(seen, picture=EnrolmentPicture.REFERENCE)
    assert refused is not None
    assert (refused.code, refused.picture) == (code, EnrolmentPicture.REFERENCE)


def test_one_fit_face_can_be_enrolled_from() -> None:
    assert picture_refusal(ALONE, picture=EnrolmentPicture.LIVE) is None


def test_a_poor_picture_says_what_to_mend() -> None:
    assert picture_refusal(BLURRED, picture=EnrolmentPicture.LIVE) == Refusal(
        code=RefusalCode.POOR_QUALITY,
        picture=EnrolmentPicture.LIVE,
        quality=(QualityReason.BLURRED,),
    )


def measured(*, brightness: float = 0.5, behind: float = 0.0) -> FrameObservation:
    """Return what was seen of a good face as bright as this, and of one so much smaller behind."""
    features = FeatureMeasures(
        eye_relief=0.25, eye_detail=0.15, nose_detail=0.08, mouth_relief=0.15, mouth_detail=0.1
    )
    measures = FaceMeasures(
        sharpness=60.0,
        least_sharpness=15.0,
        grain=0.002,
        brightness=brightness,
        contrast=0.1,
        shading=0.1,
        light=LightMeasures(underexposed=0.0, overexposed=0.0, evenness=0.9),
        features=features,
    )
    mesh = face_mesh() + np.float32(128)
    foremost = replace(face(), mesh_px=mesh, measures=measures)
    box = foremost.box_px
    small = replace(foremost, box_px=replace(box, w=box.w * behind, h=box.h * behind))
    faces = (foremost, small) if behind else (foremost,)
    return FrameObservation(width_px=256, height_px=256, faces=faces)


def test_the_reference_is_held_to_stricter_rules_than_live_frames() -> None:
    dim = measured(brightness=0.12)
    assert picture_refusal(measured(), picture=EnrolmentPicture.REFERENCE) is None
    assert picture_refusal(dim, picture=EnrolmentPicture.LIVE) is None
    refused = picture_refusal(dim, picture=EnrolmentPicture.REFERENCE)
    assert refused is not None
    assert (refused.code, refused.quality) == (
        RefusalCode.POOR_QUALITY,
        (QualityReason.TOO_DARK,),
    )
    assert [REASON_TEXT[reason][0] for reason in refused.quality] == [
        "光线太暗，请面向窗户或打开灯"
    ]


@pytest.mark.parametrize("picture", list(EnrolmentPicture))
def test_a_poster_behind_is_a_matter_of_quality_and_a_neighbour_is_not(
    picture: EnrolmentPicture,
) -> None:
    poster, neighbour = measured(behind=0.4), measured(behind=0.8)
    assert picture_refusal(poster, picture=picture) == Refusal(
        code=RefusalCode.POOR_QUALITY,
        picture=picture,
        quality=(QualityReason.BACKGROUND_FACE,),
    )
    refused = picture_refusal(neighbour, picture=picture)
    assert refused is not None
    assert refused.code is RefusalCode.MULTIPLE_FACES


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


def replaced(
    anchor: Anchor, before: Anchor, outcome: ComparisonOutcome | None
) -> RefusalCode | None:
    refused = replacement_refusal(anchor, before, None if outcome is None else compared(outcome))
    assert refused is None or refused.judgement is Judgement.REFER
    return None if refused is None else refused.code


INSTITUTION, OFFICER, AUTHORITY = STRENGTH
OTHER, BETTER = RefusalCode.ANOTHER_FACE_ENROLLED, RefusalCode.BETTER_ANCHORED_ALREADY


@pytest.mark.parametrize(
    ("anchor", "before", "outcome", "code"),
    [
        # Who hired a face under somebody's number must not lock them out.
        (OFFICER, INSTITUTION, NO_MATCH, None),
        (AUTHORITY, INSTITUTION, UNSURE, None),
        (AUTHORITY, OFFICER, NO_MATCH, None),
        # Of two words of one weight the first stands, but for the same face.
        (INSTITUTION, INSTITUTION, MATCH, None),
        (INSTITUTION, INSTITUTION, NO_MATCH, OTHER),
        (OFFICER, OFFICER, UNSURE, OTHER),
        (AUTHORITY, AUTHORITY, NO_MATCH, OTHER),
        (INSTITUTION, INSTITUTION, None, None),
        (INSTITUTION, OFFICER, MATCH, BETTER),
        (OFFICER, AUTHORITY, NO_MATCH, BETTER),
        (INSTITUTION, AUTHORITY, None, BETTER),
    ],
)
def test_who_may_take_an_enrolments_place(
    anchor: Anchor,
    before: Anchor,
    outcome: ComparisonOutcome | None,
    code: RefusalCode | None,
) -> None:
    assert replaced(anchor, before, outcome) is code


@given(
    st.sampled_from(Anchor), st.sampled_from(Anchor), st.sampled_from([None, *ComparisonOutcome])
)
def test_an_anchor_never_gets_weaker_and_a_face_changes_only_for_a_stronger_one(
    anchor: Anchor, before: Anchor, outcome: ComparisonOutcome | None
) -> None:
    gained = STRENGTH.index(anchor) - STRENGTH.index(before)
    if replaced(anchor, before, outcome) is None:
        assert gained > 0 or (gained == 0 and outcome in {MATCH, None})
    else:
        assert gained <= 0


@pytest.mark.parametrize("anchor", STRENGTH)
@pytest.mark.parametrize("before", STRENGTH)
def test_who_asked_too_often_is_told_to_come_tomorrow_where_the_face_would_decide(
    anchor: Anchor, before: Anchor
) -> None:
    refused = replacement_refusal(anchor, before, None, too_often=True)
    if anchor is not before:
        assert refused == replacement_refusal(anchor, before, None)
        return
    assert refused is not None
    assert (refused.code, refused.judgement) == (RefusalCode.TOO_OFTEN_TODAY, Judgement.RETRY)
    assert "明天" in refused.text[0]
