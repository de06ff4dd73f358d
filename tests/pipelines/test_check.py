"""One check: frames in, an answer and the picture it stands on out."""

from pathlib import Path

import pytest

from models.image_decoder import decode_image
from pipelines.check import FrameChecker
from tests.fakes import (
    ALONE,
    BLURRED,
    CALIBRATION,
    FRAME,
    NOBODY,
    OTHER,
    REFERENCE,
    SAME,
    TWO,
    UNSURE,
    ScriptedObserver,
    face,
    frame,
)
from tests.generated_images import jpeg, picture
from tests.portrait_pictures import frames_of, side_by_side
from verifier.answer import AnswerReason
from verifier.comparison import DEFAULT_CALIBRATION, Template
from verifier.errors import ContractMismatchError
from verifier.observation import FrameObservation
from verifier.prompt import Judgement

BROKEN = FRAME[: len(FRAME) // 2]


def checker_of(*script: FrameObservation) -> FrameChecker:
    return FrameChecker(observer=ScriptedObserver(script))


def reason_of(*script: FrameObservation) -> AnswerReason:
    return checker_of(*script).check([FRAME] * len(script), REFERENCE, CALIBRATION).judged.reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([ALONE, ALONE], AnswerReason.CONFIRMED),
        ([ALONE, frame(face(UNSURE))], AnswerReason.NOT_SURE),
        ([ALONE, frame(face(OTHER))], AnswerReason.UNDER_REVIEW),
        ([ALONE, TWO], AnswerReason.SEVERAL_PEOPLE),
        ([ALONE, NOBODY], AnswerReason.CONFIRMED),
        ([NOBODY, NOBODY], AnswerReason.NOBODY_SEEN),
        ([BLURRED, NOBODY], AnswerReason.PICTURE_POOR),
        ([ALONE, BLURRED], AnswerReason.CONFIRMED),
    ],
)
def test_what_frames_show_decides(script: list[FrameObservation], reason: AnswerReason) -> None:
    assert reason_of(*script) is reason


@pytest.mark.parametrize("reference", [REFERENCE, None])
def test_vectors_are_computed_where_something_is_compared(reference: Template | None) -> None:
    """They take half of the time."""
    checker = checker_of(ALONE, ALONE)
    checker.check([FRAME] * 2, reference, CALIBRATION)
    assert isinstance(checker.observer, ScriptedObserver)
    assert checker.observer.embedded == [reference is not None] * 2


def test_a_face_unfit_for_comparison_is_not_compared() -> None:
    """A blurred face of somebody else accuses nobody."""
    unfit = frame(face(OTHER, quality=BLURRED.faces[0].quality))
    assert reason_of(unfit) is AnswerReason.PICTURE_POOR


def test_a_frame_that_cannot_be_read_is_passed_over() -> None:
    observer = ScriptedObserver([ALONE])
    checked = FrameChecker(observer=observer).check([BROKEN, FRAME], REFERENCE, CALIBRATION)
    assert checked.judged.judgement is Judgement.PASS
    assert checked.judged.frame_index == 1
    assert len(observer.observed) == 1


@pytest.mark.parametrize("frames", [[], [BROKEN], [b"", b"no picture"]])
def test_without_a_readable_frame_there_is_no_picture_and_a_retry(frames: list[bytes]) -> None:
    checked = checker_of().check(frames, REFERENCE, CALIBRATION)
    assert checked.judged.reason is AnswerReason.PICTURE_UNREADABLE
    assert checked.judged.judgement is Judgement.RETRY
    assert checked.picture is None


def test_the_picture_kept_is_the_one_judged() -> None:
    """The worst comparison is in the second frame, so that is what a reviewer must see."""
    frames = [jpeg(picture(seed=seed)) for seed in (1, 2)]
    checked = checker_of(ALONE, frame(face(OTHER))).check(frames, REFERENCE, CALIBRATION)
    assert checked.picture == decode_image(frames[1])


def test_a_template_of_another_contract_is_never_compared() -> None:
    stranger = Template(contract_id="another-network@4567", vector=SAME)
    with pytest.raises(ContractMismatchError, match="another-network@4567"):
        checker_of(ALONE).check([FRAME], stranger, CALIBRATION)


def test_a_calibration_of_another_contract_is_never_used() -> None:
    checker = FrameChecker(observer=ScriptedObserver([ALONE]))
    with pytest.raises(ContractMismatchError, match="calibration for dlib"):
        checker.check([FRAME], REFERENCE, DEFAULT_CALIBRATION)


def test_a_face_without_a_vector_has_no_template() -> None:
    with pytest.raises(ValueError, match="without a vector"):
        checker_of().template(face(None))


@pytest.mark.models
@pytest.mark.demo_faces
class TestRealFaces:
    """The networks themselves, on the demo's portraits."""

    @pytest.fixture(name="reference")
    def reference_of_person_1(self, checker: FrameChecker, demo_faces: dict[str, Path]) -> Template:
        pixels = decode_image(demo_faces["person1-a"].read_bytes()).pixels
        return checker.template(checker.observer.observe(pixels).faces[0])

    @pytest.mark.parametrize("name", ["person1-b", "person1-c"])
    def test_other_photographs_of_the_person_pass(
        self, checker: FrameChecker, reference: Template, demo_faces: dict[str, Path], name: str
    ) -> None:
        judged = checker.check(frames_of(demo_faces, name), reference, DEFAULT_CALIBRATION).judged
        assert judged.judgement is Judgement.PASS
        assert judged.check.comparison_log10_lr is not None
        assert judged.check.comparison_log10_lr > 1

    @pytest.mark.parametrize("name", ["person2", "person3"])
    def test_other_people_are_referred(
        self, checker: FrameChecker, reference: Template, demo_faces: dict[str, Path], name: str
    ) -> None:
        judged = checker.check(frames_of(demo_faces, name), reference, DEFAULT_CALIBRATION).judged
        assert (judged.judgement, judged.reason) == (Judgement.REFER, AnswerReason.UNDER_REVIEW)

    def test_a_neighbour_in_the_picture_must_leave(
        self, checker: FrameChecker, reference: Template, demo_faces: dict[str, Path]
    ) -> None:
        (learner,), (neighbour,) = (
            frames_of(demo_faces, name, count=1) for name in ("person1-b", "person2")
        )
        judged = checker.check(
            [side_by_side(learner, neighbour)], reference, DEFAULT_CALIBRATION
        ).judged
        assert (judged.reason, judged.check.faces) == (AnswerReason.SEVERAL_PEOPLE, 2)
