"""Quality of a face: numbers that mean the same from every camera, reasons a learner can act on."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.image_decoder import decode_image
from models.installation import open_pack
from models.observer import FaceObserver
from tests.generated_images import face_mesh, picture
from verifier.arrays import Float32Array, Pixels
from verifier.face_features import NO_FEATURES, FeatureMeasures
from verifier.head_pose import face_width_px
from verifier.observation import FaceObservation, HeadPose, QualityReason
from verifier.quality import (
    NOTHING_MEASURED,
    REASON_TEXT,
    STANDARD_FACE_WIDTH_PX,
    FaceMeasures,
    QualityRules,
    assess,
    measure_face,
)

FRONTAL = HeadPose(yaw_deg=0, pitch_deg=0, roll_deg=0)
SEEN = FeatureMeasures(eye_relief=0.25, eye_detail=0.15, mouth_relief=0.15, mouth_detail=0.1)
GOOD = FaceMeasures(
    sharpness=60.0, brightness=0.5, contrast=0.14, least_sharpness=15.0, features=SEEN
)


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


def test_motion_lowers_the_least_sharpness_in_any_direction() -> None:
    rng = np.random.default_rng(8)
    sharp = rng.integers(60, 200, (256, 256, 3), dtype=np.uint8)
    at_rest = measure_face(sharp, placed()).least_sharpness
    for kernel in (np.ones((1, 11)), np.ones((11, 1)), np.eye(11), np.eye(11)[::-1]):
        dragged = np.asarray(cv2.filter2D(sharp, -1, kernel / kernel.sum()), np.uint8)
        assert measure_face(dragged, placed()).least_sharpness < 0.03 * at_rest


def test_least_sharpness_of_known_waves() -> None:
    """Waves of period 8 across only: their second difference is (2 cos 45° - 2) times themselves.

    Along a diagonal one step goes as far across and the difference is halved; down it is none.
    """
    wave = 128 + 40 * np.cos(2 * np.pi * np.arange(256) / 8)
    both = np.clip((wave[None, :] + wave[:, None]) / 2, 0, 255)
    across = np.repeat(np.tile(wave, (256, 1))[..., None], 3, axis=2).round().astype(np.uint8)
    crossed = np.repeat(both[..., None], 3, axis=2).round().astype(np.uint8)
    assert measure_face(across, placed()).least_sharpness == pytest.approx(0, abs=0.01)
    expected = (2 * np.cos(np.pi / 4) - 2) ** 2 * 40**2 / 2 / 4
    measured = measure_face(crossed, placed()).least_sharpness
    assert measured == pytest.approx(expected / 2, rel=0.1)


def middles(mesh: Float32Array) -> list[tuple[int, int]]:
    """Return where the right eye, the left eye and the mouth lie."""
    pairs = ((33, 133), (263, 362), (61, 291))
    return [tuple(mesh[list(pair), :2].mean(axis=0).round().astype(int).tolist()) for pair in pairs]


def drawn(mesh: Float32Array) -> Pixels:
    """Draw a light face with dark brows, eyes and lips where an upright mesh has them."""
    pixels = np.full((256, 256, 3), 180, np.uint8)
    *eyes, (mouth_x, mouth_y) = middles(mesh)
    for x, y in eyes:
        cv2.ellipse(pixels, (x, y), (11, 4), 0, 0, 360, (50, 40, 40), -1)
        cv2.rectangle(pixels, (x - 14, y - 17), (x + 14, y - 13), (60, 40, 40), -1)
    cv2.ellipse(pixels, (mouth_x, mouth_y), (20, 6), 0, 0, 360, (120, 60, 60), -1)
    return pixels


def test_an_even_surface_has_no_features() -> None:
    features = measure_face(np.full((256, 256, 3), 102, np.uint8), placed()).features
    assert all(
        getattr(features, name) == pytest.approx(0, abs=1e-4) for name in FeatureMeasures.__slots__
    )


@pytest.mark.parametrize("angle_deg", [0, 30, 90, 180])
def test_covers_take_away_the_features_below_them(angle_deg: float) -> None:
    right_eye, left_eye, mouth = middles(placed())
    seen, upright = features_below(angle_deg), features_below(0)
    for name in FeatureMeasures.__slots__:
        assert getattr(seen, name) == pytest.approx(getattr(upright, name), rel=0.1)
    silent = features_below(angle_deg, mouth)
    assert silent.mouth_relief < 0.1 * seen.mouth_relief
    assert silent.mouth_detail < 0.1 * seen.mouth_detail
    assert silent.eye_relief == pytest.approx(seen.eye_relief, rel=0.01)
    for eye in (right_eye, left_eye):
        half = features_below(angle_deg, eye)
        assert half.eye_relief < 0.3 * seen.eye_relief
        assert half.eye_detail > 0.9 * seen.eye_detail
    blind = features_below(angle_deg, right_eye, left_eye)
    assert blind.eye_detail < 0.1 * seen.eye_detail
    assert blind.mouth_relief == pytest.approx(seen.mouth_relief, rel=0.01)


def features_below(angle_deg: float, *covered: tuple[int, int]) -> FeatureMeasures:
    """Measure a drawn face, turned as a whole, with plates in its own colour on it."""
    mesh = placed()
    pixels = drawn(mesh)
    for x, y in covered:
        cv2.rectangle(pixels, (x - 30, y - 30), (x + 30, y + 25), (180, 180, 180), -1)
    matrix = cv2.getRotationMatrix2D((128, 128), angle_deg, 1)
    turned = cv2.warpAffine(pixels, matrix, (256, 256), borderValue=(180, 180, 180))
    mesh[:, :2] = mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return measure_face(np.asarray(turned, np.uint8), mesh).features


def test_features_of_a_mesh_without_extent_are_none() -> None:
    points = np.full((468, 3), 128, np.float32)
    points[[127, 356], 0] = 20, 236
    points[[10, 152], 1] = 20, 236
    features = measure_face(picture(256, 256), points).features
    assert features.eye_detail == features.mouth_detail == 0
    assert features == NO_FEATURES


@pytest.mark.parametrize("shift", [(-400, 0), (0, 400), (1e6, 1e6)])
def test_a_face_outside_the_picture_measures_nothing(shift: tuple[float, float]) -> None:
    mesh = placed()
    mesh[:, :2] += np.array(shift, dtype=np.float32)
    assert measure_face(picture(256, 256), mesh) == NOTHING_MEASURED


def test_a_degenerate_mesh_does_not_ask_for_a_huge_picture() -> None:
    """A face without width between its sides, yet with an outline across the picture."""
    mesh = placed(200)
    mesh[454] = mesh[234]
    assert measure_face(picture(256, 256), mesh).brightness > 0


# --- reasons ------------------------------------------------------------------------------


def test_a_good_face_has_no_reason() -> None:
    assert reasons() == ()


DIM = replace(GOOD, sharpness=4.0, brightness=0.09, contrast=0.03, least_sharpness=1.0)
GLARE = replace(GOOD, brightness=0.95, contrast=0.1)
VEILED = replace(GOOD, brightness=0.7, contrast=0.03)
SOFT = replace(GOOD, sharpness=5.0)
DRAGGED = replace(GOOD, least_sharpness=1.0)


def test_each_reason_has_its_cause() -> None:
    assert reasons(DIM) == (QualityReason.TOO_DARK,)
    assert reasons(GLARE) == (QualityReason.TOO_BRIGHT,)
    assert reasons(VEILED) == (QualityReason.LOW_CONTRAST,)
    assert reasons(SOFT) == (QualityReason.BLURRED,)
    assert reasons(DRAGGED) == (QualityReason.BLURRED,)
    assert reasons(mesh=placed(47)) == (QualityReason.FACE_TOO_SMALL,)
    assert reasons(mesh=placed(400)) == (QualityReason.FACE_CUT_OFF,)
    assert reasons(score=0.5) == (QualityReason.UNCERTAIN_FACE,)
    for sign in (-1, 1):
        yaw = HeadPose(yaw_deg=sign * 46, pitch_deg=0, roll_deg=0)
        pitch = HeadPose(yaw_deg=0, pitch_deg=sign * 36, roll_deg=0)
        roll = HeadPose(yaw_deg=0, pitch_deg=0, roll_deg=sign * 46)
        assert reasons(pose=yaw) == reasons(pose=pitch) == (QualityReason.TURNED_AWAY,)
        assert reasons(pose=roll) == (QualityReason.TILTED,)


@pytest.mark.parametrize("feature", FeatureMeasures.__slots__)
def test_each_feature_that_cannot_be_seen_is_a_cover(feature: str) -> None:
    hidden = replace(GOOD, features=replace(SEEN, **{feature: 0.04}))
    assert reasons(hidden) == (QualityReason.FACE_COVERED,)


def test_a_veil_that_flattens_everything_is_no_cover() -> None:
    """A third of the contrast of an ordinary face, and a third of its relief."""
    flat = FeatureMeasures(eye_relief=0.05, eye_detail=0.03, mouth_relief=0.03, mouth_detail=0.03)
    assert reasons(replace(GOOD, contrast=0.035, sharpness=6.0, features=flat)) == ()
    assert reasons(replace(GOOD, features=flat)) == (QualityReason.FACE_COVERED,)


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
        measures = replace(
            GOOD,
            sharpness=GOOD.sharpness * light**2,
            least_sharpness=GOOD.least_sharpness * light**2,
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
    """Press pictures of five people, faces about 90 pixels wide, in every light.

    One of them is an actor in his part, behind black glasses.
    """
    observer = FaceObserver(open_pack("default", models_cache))
    files = sorted((shared_data / "faces" / "lfw5").glob("*/*.jpg"))
    assert len(files) == 50
    refused = {}
    for file in files:
        face = observer.observe(decode_image(file.read_bytes()).pixels, embed=False).faces[0]
        if face.quality:
            refused[file.name] = face.quality
    assert refused == {"Arnold_Schwarzenegger_0008.jpg": (QualityReason.FACE_COVERED,)}


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
        shake = np.full((1, round(0.15 * face_width_px(face.mesh_px))), 1.0)
        dragged = np.asarray(cv2.filter2D(pixels, -1, shake / shake.size), np.uint8)
        assert QualityReason.BLURRED in judged(face, dragged)


@pytest.mark.models
@pytest.mark.demo_faces
def test_the_demos_portraits_covered(models_cache: Path, demo_faces: dict[str, Path]) -> None:
    """Black glasses and a blue mask; the mesh is fitted anew, to what can be seen.

    One pair of glasses is missed: the mesh puts the eyes on its upper rim.
    """
    observer = FaceObserver(open_pack("default", models_cache))
    eyes, mouth = (70, 300, 105, 334, 118, 347, 33, 263), (197, 50, 280, 132, 361, 172, 397, 152)
    found = []
    for file in demo_faces.values():
        pixels = decode_image(file.read_bytes()).pixels
        mesh = observer.observe(pixels, embed=False).faces[0].mesh_px
        for indices, colour in ((eyes, (25, 25, 25)), (mouth, (120, 165, 205))):
            plate, points = pixels.copy(), mesh[list(indices), :2].astype(np.int32)
            cv2.fillConvexPoly(plate, cv2.convexHull(points), colour)
            found.append(observer.observe(plate, embed=False).faces[0].quality)
    assert len(found) == 10
    assert found.count((QualityReason.FACE_COVERED,)) >= 9


def judged(face: FaceObservation, pixels: Pixels) -> tuple[QualityReason, ...]:
    """Return the reasons of the same face on other pixels."""
    return reasons(measure_face(pixels, face.mesh_px))
