"""What the observer says of real photographs, and how it joins what its networks say."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.lfw_pairs import outcome_counts
from models.image_decoder import decode_image
from models.mesh import FaceMesh
from models.observer import FaceObserver, distinct_faces, face_box, five_points
from verifier.arrays import Float32Array, Pixels
from verifier.comparison import DEFAULT_CALIBRATION, ComparisonOutcome, Template, compare
from verifier.detection import Detection
from verifier.errors import InputError
from verifier.observation import Box, FaceObservation, QualityReason


def mesh(x: float, y: float, width: float, score: float = 0.99) -> FaceMesh:
    """Return a mesh whose points fill a square."""
    points = np.random.default_rng(3).uniform(0, 1, (468, 3)).astype(np.float32)
    points[:2] = (0, 0, 0), (1, 1, 0)
    return FaceMesh(
        points_px=points * np.float32(width) + np.array([x, y, 0], np.float32), score=score
    )


def detection(score: float) -> Detection:
    box = Box(x=0, y=0, w=1, h=1)
    return Detection(box_px=box, keypoints_px=np.zeros((6, 2), np.float32), score=score)


def test_what_the_mesh_takes_for_no_face_is_dropped() -> None:
    detections = [detection(0.9), detection(0.8)]
    kept = distinct_faces(detections, [mesh(0, 0, 50, score=0.49), mesh(100, 0, 50, score=0.5)])
    assert [each.score for each, _ in kept] == [0.8]


def test_of_two_meshes_on_one_face_the_surer_stays() -> None:
    detections = [detection(0.9), detection(0.8), detection(0.7)]
    meshes = [mesh(0, 0, 50), mesh(3, 2, 52), mesh(40, 0, 50)]
    assert [each.score for each, _ in distinct_faces(detections, meshes)] == [0.9, 0.7]


def test_a_box_is_clipped_to_the_picture() -> None:
    points = mesh(-10, 30, 100).points_px
    assert face_box(points, 80, 300) == Box(x=0, y=30, w=80, h=100)
    assert face_box(points - 500, 80, 300) == Box(x=0, y=0, w=0, h=0)


def test_five_points_are_means_of_the_mesh() -> None:
    points = np.zeros((468, 3), dtype=np.float32)
    points[[33, 133]] = (10, 20, 0), (30, 22, 5)
    points[[362, 263]] = (50, 22, 5), (70, 20, 0)
    points[[1, 61, 291]] = (40, 50, -9), (25, 70, 0), (55, 70, 0)
    expected = [(20, 21), (60, 21), (40, 50), (25, 70), (55, 70)]
    assert five_points(points).tolist() == [list(point) for point in expected]


@pytest.fixture(scope="module")
def portraits(demo_faces: dict[str, Path]) -> dict[str, Pixels]:
    return {name: decode_image(path.read_bytes()).pixels for name, path in demo_faces.items()}


def only_face(observer: FaceObserver, pixels: Pixels) -> FaceObservation:
    """Return the one face there must be."""
    (face,) = observer.observe(pixels).faces
    return face


def outcome(first: FaceObservation, second: FaceObservation) -> ComparisonOutcome:
    """Return what the default calibration says of two faces."""
    assert first.embedding is not None
    assert second.embedding is not None
    contract = DEFAULT_CALIBRATION.contract_id
    reference = Template(contract_id=contract, vector=first.embedding)
    probe = Template(contract_id=contract, vector=second.embedding)
    return compare(reference, probe, DEFAULT_CALIBRATION).outcome


def cut_out(pixels: Pixels, face: FaceObservation, margin: float) -> Pixels:
    """Return the picture around a face; what lies beyond the picture is grey."""
    box, side = face.box_px, face.box_px.h * (1 + 2 * margin)
    corner = np.array((box.x + box.w / 2, box.y + box.h / 2)) - side / 2
    size = (round(side), round(side))
    matrix = np.array([(1, 0, -corner[0]), (0, 1, -corner[1])])
    return np.asarray(cv2.warpAffine(pixels, matrix, size, borderValue=(90, 90, 90)), np.uint8)


def scaled(pixels: Pixels, side: int) -> Pixels:
    """Return a picture at another size."""
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.models
@pytest.mark.demo_faces
def test_one_person_matches_and_others_do_not(
    observer: FaceObserver, portraits: dict[str, Pixels]
) -> None:
    faces = {name: observer.observe(pixels).faces[0] for name, pixels in portraits.items()}
    assert outcome(faces["person1-a"], faces["person1-b"]) is ComparisonOutcome.MATCH
    assert outcome(faces["person1-a"], faces["person1-c"]) is ComparisonOutcome.MATCH
    assert outcome(faces["person1-a"], faces["person2"]) is ComparisonOutcome.NO_MATCH
    assert outcome(faces["person1-a"], faces["person3"]) is ComparisonOutcome.NO_MATCH


@pytest.mark.models
@pytest.mark.demo_faces
def test_a_frontal_portrait_in_detail(observer: FaceObserver, portraits: dict[str, Pixels]) -> None:
    pixels = portraits["person1-a"]
    observation = observer.observe(pixels)
    face = observation.faces[0]
    assert (observation.height_px, observation.width_px) == pixels.shape[:2]
    assert set(observation.elapsed_ms) == {"detect", "mesh", "embed"}
    assert face.quality == ()
    right_eye, left_eye, nose, right_mouth, left_mouth = face.points_px
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    box = face.box_px
    assert (
        (face.points_px > (box.x, box.y)) & (face.points_px < (box.x + box.w, box.y + box.h))
    ).all()
    assert face.embedding is not None
    assert 1.1 < np.linalg.norm(face.embedding) < 1.7


@pytest.mark.models
@pytest.mark.demo_faces
def test_without_embedding_nothing_else_changes(
    observer: FaceObserver, portraits: dict[str, Pixels]
) -> None:
    pixels = portraits["person2"]
    with_it, without = (observer.observe(pixels, embed=e).faces[0] for e in (True, False))
    assert without.embedding is None
    assert without.mesh_px == pytest.approx(with_it.mesh_px)
    assert replace(with_it, embedding=None).quality == without.quality


@pytest.mark.models
@pytest.mark.demo_faces
@pytest.mark.parametrize("angle_deg", [-30.0, 30.0])
def test_a_turned_picture_is_the_same_person_rolled(
    observer: FaceObserver, portraits: dict[str, Pixels], angle_deg: float
) -> None:
    whole = portraits["person1-a"]
    upright = observer.observe(whole).faces[0]
    picture = cut_out(whole, upright, margin=0.6)
    middle = (picture.shape[1] / 2, picture.shape[0] / 2)
    # OpenCV's angle counts the other way round.
    matrix = cv2.getRotationMatrix2D(middle, -angle_deg, 1)
    turned = np.asarray(cv2.warpAffine(picture, matrix, picture.shape[1::-1]), np.uint8)
    face = only_face(observer, turned)
    assert face.pose.roll_deg - upright.pose.roll_deg == pytest.approx(angle_deg, abs=6)
    assert outcome(upright, face) is ComparisonOutcome.MATCH


@pytest.mark.models
@pytest.mark.demo_faces
def test_grey_and_unordered_memory_are_no_obstacle(
    observer: FaceObserver, portraits: dict[str, Pixels]
) -> None:
    pixels = portraits["person1-a"]
    colour = observer.observe(pixels).faces[0]
    grey = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert outcome(colour, observer.observe(grey.astype(np.uint8)).faces[0]) is (
        ComparisonOutcome.MATCH
    )
    mirrored = observer.observe(pixels[:, ::-1]).faces[0]
    assert mirrored.pose.yaw_deg == pytest.approx(-colour.pose.yaw_deg, abs=5)
    assert outcome(colour, mirrored) is ComparisonOutcome.MATCH


@pytest.mark.models
@pytest.mark.demo_faces
def test_two_faces_come_the_largest_first(
    observer: FaceObserver, portraits: dict[str, Pixels]
) -> None:
    singles = [observer.observe(portraits[name]).faces[0] for name in ("person2", "person3")]
    small = scaled(cut_out(portraits["person2"], singles[0], margin=0.3), 200)
    large = scaled(cut_out(portraits["person3"], singles[1], margin=0.3), 320)
    frame = np.zeros((320, 520, 3), dtype=np.uint8)
    frame[:200, :200], frame[:, 200:] = small, large
    faces = observer.observe(frame).faces
    assert [face.points_px[2, 0] > 200 for face in faces] == [True, False]
    assert outcome(faces[0], singles[1]) is ComparisonOutcome.MATCH
    assert outcome(faces[1], singles[0]) is ComparisonOutcome.MATCH


@pytest.mark.models
@pytest.mark.demo_faces
def test_a_face_over_the_border_is_cut_off(
    observer: FaceObserver, portraits: dict[str, Pixels]
) -> None:
    pixels = portraits["person1-a"]
    box = observer.observe(pixels).faces[0].box_px
    face = observer.observe(pixels[:, int(box.x + box.w * 0.3) :]).faces[0]
    assert QualityReason.FACE_CUT_OFF in face.quality
    assert face.box_px.x == 0
    assert face.mesh_px[:, 0].min() < 0


@pytest.mark.models
@pytest.mark.demo_faces
def test_a_small_face_in_a_large_photograph_is_found(
    observer: FaceObserver, portraits: dict[str, Pixels]
) -> None:
    """Sixty pixels of 4000 are four at the detector's size."""
    whole = portraits["person1-a"]
    reference = observer.observe(whole).faces[0]
    photograph = np.full((2600, 4000, 3), 120, dtype=np.uint8)
    photograph[1900:2000, 2900:3000] = scaled(cut_out(whole, reference, margin=0.35), 100)
    face = only_face(observer, photograph)
    assert face.points_px[2] == pytest.approx((2950, 1955), abs=15)
    assert outcome(reference, face) is not ComparisonOutcome.NO_MATCH


@pytest.mark.models
@pytest.mark.parametrize("size", [(1, 1), (20, 20), (3, 3000), (3000, 3), (480, 640)])
def test_where_there_is_nobody_there_is_no_face(
    observer: FaceObserver, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (*size, 3), dtype=np.uint8)
    observation = observer.observe(pixels)
    assert observation.faces == ()
    assert (observation.height_px, observation.width_px) == size


@pytest.mark.models
@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((48, 64), dtype=np.uint8),
        np.zeros((48, 64, 4), dtype=np.uint8),
        np.zeros((0, 64, 3), dtype=np.uint8),
        np.zeros((48, 64, 3), dtype=np.float32),
    ],
    ids=["grey", "alpha", "empty", "float"],
)
def test_other_pixels_are_refused(observer: FaceObserver, pixels: Pixels) -> None:
    with pytest.raises(InputError, match="wanted"):
        observer.observe(pixels)


@pytest.mark.models
@pytest.mark.shared_data
def test_five_people_are_told_apart(observer: FaceObserver, shared_data: Path) -> None:
    """The counts that `verifier.comparison` states for its default calibration."""
    paths = sorted((shared_data / "faces" / "lfw5").glob("*/*.jpg"))
    vectors: list[Float32Array | None] = [
        observer.observe(decode_image(path.read_bytes()).pixels).faces[0].embedding
        for path in paths
    ]
    counts = outcome_counts(vectors, [path.parent.name for path in paths], observer.contract_id)
    assert sum(counts["mated"].values()) == 225
    assert sum(counts["non_mated"].values()) == 1000
    assert counts["non_mated"]["match"] == 0
    assert counts["non_mated"]["inconclusive"] <= 32
    assert counts["mated"]["match"] >= 203
    assert counts["mated"]["no_match"] <= 2
