"""Pose and openings from a mesh: signs as a person would say them, laws of rotation."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.image_decoder import decode_image
from models.installation import open_pack
from models.observer import open_observer
from tests.generated_images import face_mesh, mirrored_mesh
from verifier.arrays import Float32Array, FloatArray
from verifier.head_pose import eye_openness, face_width_px, head_pose, mouth_openness
from verifier.observation import FaceObservation

NOSE_TIP, UNDER_NOSE, FOREHEAD = 1, 2, 10
LEVEL = head_pose(face_mesh()).pitch_deg

yaws = st.floats(-75, 75)
pitches = st.floats(-50, 50)
rolls = st.floats(-90, 90)


def rotation(*, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> FloatArray:
    """Return the matrix that nods, then turns, then leans; degrees, signs of `HeadPose`."""
    y, p, r = np.radians((yaw, pitch, roll))
    nod = [[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]]
    turn = [[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]]
    lean = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
    return np.array(lean) @ np.array(turn) @ np.array(nod)


def rotated(mesh: Float32Array, **angles: float) -> Float32Array:
    return (mesh @ rotation(**angles).T).astype(np.float32)


def test_a_level_face_looks_straight_ahead() -> None:
    pose = head_pose(face_mesh())
    assert pose.yaw_deg == pytest.approx(0, abs=1e-4)
    assert pose.roll_deg == pytest.approx(0, abs=1e-4)
    # The made face is rougher than a real one, whose line of the nose the constant was taken from.
    assert abs(pose.pitch_deg) < 8


def test_turning_to_the_own_left_is_towards_the_right_edge_and_positive() -> None:
    mesh = rotated(face_mesh(), yaw=30)
    assert mesh[NOSE_TIP, 0] > 20
    assert head_pose(mesh).yaw_deg == pytest.approx(30, abs=1e-3)


def test_looking_up_raises_the_nose_and_is_positive() -> None:
    mesh = rotated(face_mesh(), pitch=20)
    assert mesh[NOSE_TIP, 1] < -10
    assert head_pose(mesh).pitch_deg == pytest.approx(LEVEL + 20, abs=1e-3)


def test_leaning_to_the_own_left_shoulder_moves_the_forehead_right_and_is_positive() -> None:
    mesh = rotated(face_mesh(), roll=15)
    assert mesh[FOREHEAD, 0] > 20
    assert head_pose(mesh).roll_deg == pytest.approx(15, abs=1e-3)


@settings(deadline=None)
@given(
    yaw=yaws,
    pitch=pitches,
    roll=rolls,
    scale=st.floats(0.1, 20),
    place=st.tuples(*[st.floats(-2_000, 2_000)] * 3),
    bend=st.floats(-10, 10),
)
def test_any_rotation_is_recovered_at_any_size_and_place(
    *,
    yaw: float,
    pitch: float,
    roll: float,
    scale: float,
    place: tuple[float, float, float],
    bend: float,
) -> None:
    """Also where the nose is bent to one side: the axes stay at right angles."""
    face = face_mesh()
    face[UNDER_NOSE, 0] += bend
    turned = rotated(face, yaw=yaw, pitch=pitch, roll=roll)
    pose = head_pose(turned * np.float32(scale) + np.array(place, dtype=np.float32))
    assert pose.yaw_deg == pytest.approx(yaw, abs=0.1)
    assert pose.pitch_deg == pytest.approx(LEVEL + pitch, abs=0.1)
    assert pose.roll_deg == pytest.approx(roll, abs=0.1)


@settings(deadline=None)
@given(yaw=yaws, pitch=pitches, roll=rolls)
def test_a_mirror_flips_yaw_and_roll_and_changes_the_eyes(
    yaw: float, pitch: float, roll: float
) -> None:
    mesh = face_mesh()
    mesh[159, 1] += 4  # the subject's right eye is nearly shut, so that the eyes differ
    mesh = rotated(mesh, yaw=yaw, pitch=pitch, roll=roll)
    seen, mirror = head_pose(mesh), head_pose(mirrored_mesh(mesh))
    assert mirror.yaw_deg == pytest.approx(-seen.yaw_deg, abs=1e-3)
    assert mirror.roll_deg == pytest.approx(-seen.roll_deg, abs=1e-3)
    assert mirror.pitch_deg == pytest.approx(seen.pitch_deg, abs=1e-3)
    assert eye_openness(mirrored_mesh(mesh)) == pytest.approx(eye_openness(mesh)[::-1], rel=1e-4)


def test_openings_of_a_known_face() -> None:
    eye_width = np.hypot(28, 5)
    assert eye_openness(face_mesh()) == pytest.approx((8 / eye_width, 8 / eye_width))
    assert mouth_openness(face_mesh()) == pytest.approx(4 / 180)
    assert face_width_px(face_mesh()) == pytest.approx(140)


def test_each_eye_is_the_subjects_own() -> None:
    mesh = face_mesh()
    mesh[[145, 153, 144]] = mesh[[159, 158, 160]]  # the lids nearer the picture's left edge meet
    right, left = eye_openness(mesh)
    assert right == pytest.approx(0)
    assert left > 0.2


@settings(deadline=None)
@given(yaw=yaws, pitch=pitches, roll=rolls, scale=st.floats(0.1, 20))
def test_openings_do_not_change_with_pose_or_size(
    yaw: float, pitch: float, roll: float, scale: float
) -> None:
    mesh = rotated(face_mesh(), yaw=yaw, pitch=pitch, roll=roll) * np.float32(scale)
    assert eye_openness(mesh) == pytest.approx(eye_openness(face_mesh()), rel=1e-3)
    assert mouth_openness(mesh) == pytest.approx(mouth_openness(face_mesh()), rel=1e-3)


def test_a_mesh_without_extent_has_no_pose_and_no_openings() -> None:
    nothing = np.zeros((468, 3), dtype=np.float32)
    pose = head_pose(nothing)
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == (0, 0, 0)
    assert eye_openness(nothing) == (0, 0)
    assert mouth_openness(nothing) == 0


# --- real faces ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expressions(models_cache: Path, shared_data: Path) -> list[FaceObservation]:
    """Eight studio pictures of one woman, in the order of their numbers."""
    observer = open_observer(open_pack("default", models_cache))
    files = sorted((shared_data / "faces" / "expressions").glob("*.jpg"))
    pictures = [decode_image(file.read_bytes()).pixels for file in files]
    return [observer.observe(pixels, embed=False).faces[0] for pixels in pictures]


@pytest.mark.models
@pytest.mark.shared_data
def test_poses_of_real_faces_are_those_a_person_sees(expressions: list[FaceObservation]) -> None:
    """The second picture is turned to her own left; the first looks up, the seventh down."""
    yaws_seen = [face.pose.yaw_deg for face in expressions]
    assert 25 < yaws_seen.pop(1) < 50
    assert max(map(abs, yaws_seen)) < 10
    assert expressions[0].pose.pitch_deg > expressions[6].pose.pitch_deg + 10
    assert all(abs(face.pose.roll_deg) < 12 for face in expressions)


@pytest.mark.models
@pytest.mark.shared_data
def test_mouths_of_real_faces_are_open_as_a_person_sees(expressions: list[FaceObservation]) -> None:
    """The sixth shows her tongue, the fourth her teeth; the first, fifth and seventh are shut."""
    openings = [face.mouth_openness for face in expressions]
    assert max(openings) == openings[5]
    assert openings[5] > 0.1 > openings[3] > 0.05
    assert max(openings[index] for index in (0, 4, 6)) < 0.03
