"""Quality of a face: numbers that mean the same from every camera, reasons a learner can act on."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.image_decoder import decode_image
from models.installation import open_pack
from models.observer import FaceObserver
from tests.generated_images import face_mesh, picture
from verifier.arrays import Float32Array, Pixels
from verifier.head_pose import face_width_px
from verifier.observation import FaceObservation, HeadPose, QualityReason
from verifier.quality import (
    REASON_TEXT,
    STANDARD_FACE_WIDTH_PX,
    FaceMeasures,
    QualityRules,
    assess,
    measure_face,
)

FRONTAL = HeadPose(yaw_deg=0, pitch_deg=0, roll_deg=0)
GOOD = FaceMeasures(sharpness=60.0, brightness=0.5, contrast=0.14)


def placed(face_width: float = STANDARD_FACE_WIDTH_PX, side: int = 256) -> Float32Array:
    """Return a frontal mesh of this width in the middle of a square picture."""
    mesh = face_mesh()
    mesh *= np.float32(face_width / face_width_px(mesh))
    mesh[:, :2] += side / 2
    return mesh


def checkerboard(dark: int, light: int, side: int = 256) -> Pixels:
    board = np.where(np.indices((side, side)).sum(axis=0) % 2, light, dark)
    return np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)


def reasons(
    measures: FaceMeasures = GOOD,
    *,
    mesh: Float32Array | None = None,
    score: float = 1.0,
    pose: HeadPose = FRONTAL,
    eyes: tuple[float, float] = (0.3, 0.3),
    rules: QualityRules | None = None,
) -> tuple[QualityReason, ...]:
    return assess(
        measures=measures,
        mesh_px=placed() if mesh is None else mesh,
        mesh_score=score,
        pose=pose,
        eye_openness=eyes,
        width_px=256,
        height_px=256,
        rules=rules or QualityRules(),
    )


# --- numbers ------------------------------------------------------------------------------


def test_measures_of_an_even_grey() -> None:
    measures = measure_face(np.full((256, 256, 3), 102, np.uint8), placed())
    assert measures.sharpness == 0
    assert measures.brightness == pytest.approx(0.4)
    assert measures.contrast == pytest.approx(0, abs=1e-6)


def test_measures_of_a_checkerboard_at_the_standard_size() -> None:
    """Each pixel differs from all four neighbours by 10: Laplacian ±40, variance 1600."""
    measures = measure_face(checkerboard(110, 120), placed())
    assert measures.sharpness == pytest.approx(1600, rel=1e-3)
    assert measures.contrast == pytest.approx(5 / 255, rel=1e-3)


def test_only_the_face_is_measured() -> None:
    """A bright window behind a face says nothing about the face."""
    pixels = np.full((256, 256, 3), 255, np.uint8)
    outline = cv2.convexHull(placed()[:, :2].astype(np.int32))
    cv2.fillConvexPoly(pixels, outline, (51, 51, 51))
    measures = measure_face(pixels, placed())
    assert measures.brightness == pytest.approx(0.2)
    assert measures.sharpness == pytest.approx(0)


def test_brightness_follows_the_eye_for_colours() -> None:
    """Luma weighs green most; red and blue swapped would show here."""
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[..., 0] = 255
    assert measure_face(pixels, placed()).brightness == pytest.approx(0.299, abs=0.005)


def test_a_larger_picture_of_the_same_face_measures_the_same() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (768, 768, 3), dtype=np.uint8)
    soft = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 3)
    large = np.clip((soft - 128) * 5 + 128, 0, 255).astype(np.uint8)
    small = np.asarray(cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    at_standard = measure_face(small, placed())
    at_triple = measure_face(large, placed(3 * STANDARD_FACE_WIDTH_PX, side=768))
    assert at_triple.brightness == pytest.approx(at_standard.brightness, rel=0.01)
    assert at_triple.contrast == pytest.approx(at_standard.contrast, rel=0.01)
    assert at_triple.sharpness == pytest.approx(at_standard.sharpness, rel=0.1)


def test_blur_lowers_sharpness_and_nothing_else_much() -> None:
    rng = np.random.default_rng(3)
    sharp = rng.integers(60, 200, (256, 256, 3), dtype=np.uint8)
    series = [sharp, *(cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (0.5, 1, 2, 4))]
    measured = [measure_face(np.asarray(pixels, np.uint8), placed()) for pixels in series]
    sharpness = [measures.sharpness for measures in measured]
    assert sharpness == sorted(sharpness, reverse=True)
    assert measured[-1].brightness == pytest.approx(measured[0].brightness, abs=0.02)


@pytest.mark.parametrize("shift", [(-400, 0), (0, 400), (1e6, 1e6)])
def test_a_face_outside_the_picture_measures_nothing(shift: tuple[float, float]) -> None:
    mesh = placed()
    mesh[:, :2] += np.array(shift, dtype=np.float32)
    nothing = FaceMeasures(sharpness=0.0, brightness=0.0, contrast=0.0)
    assert measure_face(picture(256, 256), mesh) == nothing


def test_a_degenerate_mesh_does_not_ask_for_a_huge_picture() -> None:
    """A face without width between its sides, yet with an outline across the picture."""
    mesh = placed(200)
    mesh[454] = mesh[234]
    assert measure_face(picture(256, 256), mesh).brightness > 0


# --- reasons ------------------------------------------------------------------------------


def test_a_good_face_has_no_reason() -> None:
    assert reasons() == ()


DIM = FaceMeasures(sharpness=4.0, brightness=0.09, contrast=0.03)
GLARE = FaceMeasures(sharpness=60.0, brightness=0.95, contrast=0.1)
VEILED = FaceMeasures(sharpness=60.0, brightness=0.7, contrast=0.03)
SOFT = FaceMeasures(sharpness=5.0, brightness=0.5, contrast=0.14)


def test_each_reason_has_its_cause() -> None:
    assert reasons(DIM) == (QualityReason.TOO_DARK,)
    assert reasons(GLARE) == (QualityReason.TOO_BRIGHT,)
    assert reasons(VEILED) == (QualityReason.LOW_CONTRAST,)
    assert reasons(SOFT) == (QualityReason.BLURRED,)
    assert reasons(mesh=placed(47)) == (QualityReason.FACE_TOO_SMALL,)
    assert reasons(mesh=placed(400)) == (QualityReason.FACE_CUT_OFF,)
    assert reasons(score=0.5) == (QualityReason.UNCERTAIN_FACE,)
    for sign in (-1, 1):
        yaw = HeadPose(yaw_deg=sign * 46, pitch_deg=0, roll_deg=0)
        pitch = HeadPose(yaw_deg=0, pitch_deg=sign * 36, roll_deg=0)
        roll = HeadPose(yaw_deg=0, pitch_deg=0, roll_deg=sign * 46)
        assert reasons(pose=yaw) == reasons(pose=pitch) == (QualityReason.TURNED_AWAY,)
        assert reasons(pose=roll) == (QualityReason.TILTED,)


def test_one_closed_or_hidden_eye_is_no_reason() -> None:
    assert reasons(eyes=(0.02, 0.3)) == reasons(eyes=(0.3, 0.02)) == ()
    assert reasons(eyes=(0.02, 0.02)) == (QualityReason.EYES_CLOSED,)


def test_several_reasons_come_in_a_fixed_order() -> None:
    found = reasons(DIM, mesh=placed(40), eyes=(0, 0))
    assert found == (
        QualityReason.FACE_TOO_SMALL,
        QualityReason.TOO_DARK,
        QualityReason.EYES_CLOSED,
    )


def test_dim_light_alone_is_not_called_blur_or_veil() -> None:
    """Half the light is half the contrast and a quarter of the Laplacian's variance."""
    for light in (1.0, 0.5, 0.25):
        measures = FaceMeasures(
            sharpness=GOOD.sharpness * light**2,
            brightness=GOOD.brightness * light,
            contrast=GOOD.contrast * light,
        )
        assert reasons(measures) == ()


def test_rules_are_the_callers() -> None:
    assert reasons(rules=QualityRules(min_face_width_px=200)) == (QualityReason.FACE_TOO_SMALL,)


def test_every_reason_has_coaching_in_both_languages_and_no_number() -> None:
    """Numbers would teach an attacker where the limits lie."""
    assert set(REASON_TEXT) == set(QualityReason)
    for chinese, english in REASON_TEXT.values():
        assert re.search(r"[一-鿿]", chinese)
        assert english.isascii()
        assert not re.search(r"\d", chinese + english)


# --- real faces ---------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.shared_data
def test_ordinary_photographs_are_good_enough(models_cache: Path, shared_data: Path) -> None:
    """Press pictures of five people, faces about 90 pixels wide, in every light."""
    observer = FaceObserver(open_pack("default", models_cache))
    files = sorted((shared_data / "faces" / "lfw5").glob("*/*.jpg"))
    assert len(files) == 50
    refused = {}
    for file in files:
        face = observer.observe(decode_image(file.read_bytes()).pixels, embed=False).faces[0]
        if face.quality:
            refused[file.name] = face.quality
    assert refused == {}


@pytest.mark.models
@pytest.mark.demo_faces
def test_the_demos_portraits_are_good_and_lose_it_when_spoiled(
    models_cache: Path, demo_faces: dict[str, Path]
) -> None:
    observer = FaceObserver(open_pack("default", models_cache))
    for file in demo_faces.values():
        pixels = decode_image(file.read_bytes()).pixels
        face = observer.observe(pixels, embed=False).faces[0]
        assert face.quality == ()
        night = (pixels * 0.1).astype(np.uint8)
        assert QualityReason.TOO_DARK in judged(face, night)
        fog = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.05 * face_width_px(face.mesh_px)))
        assert QualityReason.BLURRED in judged(face, fog.astype(np.uint8))


def judged(face: FaceObservation, pixels: Pixels) -> tuple[QualityReason, ...]:
    """Return the reasons of the same face on other pixels."""
    return reasons(measure_face(pixels, face.mesh_px))
