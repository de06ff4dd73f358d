"""Faces are followed from frame to frame, lost where they leave, and found again."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.image_decoder import decode_image
from models.installed_pack import open_pack
from models.mesh import BLAZEFACE_REGION, RegionRule, region_of
from models.observer import FaceObserver
from models.tracker import SEARCH_EVERY, FaceTracker, as_detection, open_tracker
from tests.generated_images import face_mesh
from verifier.arrays import Pixels
from verifier.detection import Detection
from verifier.head_pose import face_width_px
from verifier.protocols import FaceDetector

WIDTH, HEIGHT = 640, 480


class CountingDetector:
    """Counts how often it is asked."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self.calls = 0

    def detect(self, pixels: Pixels) -> tuple[Detection, ...]:
        self.calls += 1
        return self._detector.detect(pixels)


@pytest.fixture
def portrait(demo_faces: dict[str, Path]) -> Pixels:
    pixels = decode_image(demo_faces[min(demo_faces)].read_bytes()).pixels
    scale = 300 / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


@pytest.fixture
def tracker(models_cache: Path) -> FaceTracker:
    return open_tracker(open_pack("default", models_cache))


@pytest.fixture
def counted(tracker: FaceTracker) -> CountingDetector:
    counting = CountingDetector(tracker.detector._detector)
    tracker.detector._detector = counting
    return counting


def frame(portrait: Pixels, *places: tuple[int, int]) -> Pixels:
    """Return a grey frame with the portrait at each place, its upper left corner."""
    canvas = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    height, width = portrait.shape[:2]
    for x, y in places:
        canvas[y : y + height, x : x + width] = portrait
    return canvas


def moving(portrait: Pixels, count: int) -> Iterator[Pixels]:
    for step in range(count):
        yield frame(portrait, (20 + 3 * step, 60 + step))


def test_a_moving_face_is_followed_as_if_it_were_detected(
    tracker: FaceTracker, counted: CountingDetector, observer: FaceObserver, portrait: Pixels
) -> None:
    frames = list(moving(portrait, 3 * SEARCH_EVERY))
    for pixels in frames:
        (followed,) = tracker.observe(pixels).faces
        (detected,) = observer.observe(pixels, embed=False).faces
        off = np.linalg.norm((followed.mesh_px - detected.mesh_px)[:, :2], axis=1)
        assert off.mean() < 0.03 * face_width_px(detected.mesh_px)
        assert followed.pose.yaw_deg == pytest.approx(detected.pose.yaw_deg, abs=4)
        assert followed.embedding is None
    assert counted.calls == 3


def test_a_face_that_leaves_is_gone_at_once_and_found_where_it_comes_back(
    tracker: FaceTracker, portrait: Pixels
) -> None:
    assert len(tracker.observe(frame(portrait, (20, 60))).faces) == 1
    assert len(tracker.observe(frame(portrait)).faces) == 0
    assert len(tracker.observe(frame(portrait, (320, 100))).faces) == 1


def test_a_second_face_is_seen_by_the_next_search(tracker: FaceTracker, portrait: Pixels) -> None:
    tracker.observe(frame(portrait, (20, 60)))
    both = frame(portrait, (20, 60), (340, 60))
    seen = [len(tracker.observe(both).faces) for _ in range(SEARCH_EVERY)]
    assert seen[-1] == 2
    assert set(seen) == {1, 2}


def test_with_nobody_there_every_frame_is_searched(
    tracker: FaceTracker, counted: CountingDetector, portrait: Pixels
) -> None:
    for _ in range(5):
        tracker.observe(frame(portrait))
    assert counted.calls == 5


def test_a_picture_of_another_size_is_another_place(
    tracker: FaceTracker, counted: CountingDetector, portrait: Pixels
) -> None:
    tracker.observe(frame(portrait, (20, 60)))
    tracker.observe(np.ascontiguousarray(frame(portrait, (20, 60))[:, :-32]))
    assert counted.calls == 2


@given(
    roll_deg=st.floats(-60, 60),
    scale=st.floats(0.3, 8),
    per_box=st.floats(1.0, 2.0),
    down=st.floats(-0.2, 0.2),
)
def test_the_square_is_the_same_whatever_boxes_the_detector_draws(
    roll_deg: float, scale: float, per_box: float, down: float
) -> None:
    """A detector's rule is undone exactly, and the square turns and grows with the face."""
    turn = cv2.getRotationMatrix2D((0, 0), -roll_deg, scale)[:, :2]
    mesh = face_mesh().astype(np.float32)
    mesh[:, :2] = mesh[:, :2] @ turn.T + (300, 200)
    rule = RegionRule(per_box=per_box, down=down)
    usual = region_of(as_detection(mesh), BLAZEFACE_REGION)
    other = region_of(as_detection(mesh, rule), rule)
    assert (other.x, other.y, other.side_px) == pytest.approx((usual.x, usual.y, usual.side_px))
    level = region_of(as_detection(face_mesh().astype(np.float32)), BLAZEFACE_REGION)
    assert usual.side_px == pytest.approx(scale * level.side_px, rel=1e-3)
    assert np.degrees(usual.angle_rad - level.angle_rad) == pytest.approx(roll_deg, abs=0.1)
