"""The square around a face: cut out, and landmarks brought back from it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.mesh import (
    CROP_SIDE_PX,
    MESH_POINTS,
    FaceMesher,
    FaceRegion,
    RegionRule,
    crop_to_picture,
    cut,
    region_of,
    to_picture,
)
from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection
from verifier.observation import Box

regions = st.builds(
    FaceRegion,
    x=st.floats(-100, 700),
    y=st.floats(-100, 500),
    side_px=st.floats(2, 2000),
    angle_rad=st.floats(-3, 3),
)


class BrightestPoint:
    """A network that puts all its points on the brightest pixel of each crop."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Answer like the network; see `Network.run`."""
        assert list(outputs) == ["landmarks", "face_flag"]
        crops = inputs["crops"]
        self.batches.append(len(crops))
        points = np.zeros((len(crops), MESH_POINTS, 3), dtype=np.float32)
        for crop, landmarks in zip(crops, points, strict=True):
            y, x = np.unravel_index(crop.sum(axis=0).argmax(), crop.shape[1:])
            landmarks[:] = x + 0.5, y + 0.5, -10
        flags = crops.max(axis=(1, 2, 3)).reshape(-1, 1) * 8 - 4
        return [points.reshape(len(crops), -1), flags]


def detection(x: float, y: float, side: float, angle_deg: float = 0.0) -> Detection:
    """Return a detection about (x, y) whose eyes lie on a line of that angle."""
    angle = np.radians(angle_deg)
    keypoints = np.full((6, 2), (x, y), dtype=np.float32)
    keypoints[:2] += np.outer((-1, 1), (np.cos(angle), np.sin(angle))) * side / 4
    box = Box(x=x - side / 2, y=y - side / 3, w=side, h=side / 1.5)
    return Detection(box_px=box, keypoints_px=keypoints, score=0.9)


def dot(width: int, height: int, x: int, y: int, radius: int = 1) -> Pixels:
    """Return a black picture with a white dot."""
    rows, columns = np.mgrid[0:height, 0:width]
    inside = np.hypot(rows - y, columns - x) <= radius
    return np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def test_region_is_half_as_large_again_and_level_with_the_eyes() -> None:
    region = region_of(detection(100, 80, 60, angle_deg=30))
    assert (region.x, region.y) == pytest.approx((100, 80))
    assert region.side_px == pytest.approx(90)
    assert np.degrees(region.angle_rad) == pytest.approx(30, abs=1e-4)


def test_the_region_of_another_detector_lies_further_down_the_face() -> None:
    """Down is towards the chin: with the head turned by 30 degrees, to the left in the picture."""
    region = region_of(detection(100, 80, 60, angle_deg=30), RegionRule(per_box=1.2, down=0.1))
    assert (region.x, region.y) == pytest.approx((100 - 6 * 0.5, 80 + 6 * 0.75**0.5), abs=1e-4)
    assert region.side_px == pytest.approx(72)


def test_an_upright_region_at_its_own_scale_is_a_plain_copy() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    region = FaceRegion(x=149.5, y=139.5, side_px=192, angle_rad=0)
    assert (cut(pixels, region) == pixels[44:236, 54:246]).all()


def test_beyond_the_picture_it_is_black() -> None:
    white = np.full((100, 100, 3), 255, dtype=np.uint8)
    crop = cut(white, FaceRegion(x=0, y=50, side_px=96, angle_rad=0))
    assert not crop[:, :90].any()
    assert (crop[:, 102:] == 255).all()


def test_a_large_region_is_averaged() -> None:
    """A board of single pixels is grey when 1000 of them become 192, never black or white."""
    rows, columns = np.mgrid[0:1400, 0:1400]
    board = np.repeat((((rows + columns) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    crop = cut(board, FaceRegion(x=700, y=700, side_px=1000, angle_rad=0.3))
    assert crop.min() > 90
    assert crop.max() < 165


@given(region=regions, point=st.tuples(*[st.floats(0, 192)] * 3))
def test_landmarks_come_back_at_the_scale_of_the_region(
    region: FaceRegion, point: tuple[float, float, float]
) -> None:
    points = np.array([point, (96, 96, 0)], dtype=np.float32)
    moved = to_picture(points, region)
    step = region.side_px / CROP_SIDE_PX
    lengths = np.linalg.norm(points[0] - points[1]), np.linalg.norm(moved[0] - moved[1])
    assert moved[1, :2] == pytest.approx((region.x, region.y), abs=1e-3)
    assert lengths[1] == pytest.approx(lengths[0] * step, rel=1e-3, abs=1e-2)


@given(region=regions)
def test_the_middle_of_the_crop_is_the_middle_of_the_region(region: FaceRegion) -> None:
    middle = (CROP_SIDE_PX - 1) / 2
    assert crop_to_picture(region) @ (middle, middle, 1) == pytest.approx((region.x, region.y))


@settings(deadline=None, max_examples=40)
@given(
    x=st.integers(0, 639),
    y=st.integers(0, 479),
    side=st.floats(60, 900),
    angle_deg=st.floats(-179, 179),
)
def test_a_dot_is_found_where_it_lies(x: int, y: int, side: float, angle_deg: float) -> None:
    """Cutting and bringing back undo each other: at any size, turned, and over the border."""
    pixels = dot(640, 480, x, y, radius=max(1, round(side / 80)))
    near = detection(x + side * 0.2, y - side * 0.1, side, angle_deg)
    (mesh,) = FaceMesher(BrightestPoint()).fit(pixels, [near])
    pixel_of_crop = 1.5 * side / CROP_SIDE_PX
    # Anywhere on the dot, and what lies beyond the border of the picture is cut off.
    assert mesh.points_px[0, :2] == pytest.approx((x, y), abs=side / 60 + 2 * pixel_of_crop + 1)
    assert mesh.points_px[0, 2] == pytest.approx(-10 * pixel_of_crop)


def test_all_faces_go_through_the_network_at_once() -> None:
    network = BrightestPoint()
    pixels = dot(640, 480, 100, 100)
    meshes = FaceMesher(network).fit(pixels, [detection(100, 100, 80), detection(500, 300, 80)])
    assert network.batches == [2]
    assert [mesh.score > 0.5 for mesh in meshes] == [True, False]
    assert meshes[0].points_px.shape == (468, 3)
    assert meshes[0].points_px.dtype == np.float32


def test_no_detection_asks_the_network_nothing() -> None:
    network = BrightestPoint()
    assert FaceMesher(network).fit(dot(64, 48, 1, 1), []) == ()
    assert network.batches == []
