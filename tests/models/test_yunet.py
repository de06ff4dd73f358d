"""YuNet's answer: decoding by hand, and beside OpenCV's own detector on photographs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.conversion import convert_weights
from models.digests import digest_of
from models.face_search import keep_surest
from models.image_decoder import decode_image
from models.packs import find_pack
from models.self_test import pattern, run_self_test
from models.sessions import OnnxSession
from models.yunet import (
    INPUT_SIDE_PX,
    MIN_SCORE,
    OUTPUTS,
    STRIDES,
    YunetDetector,
    decode,
    network_input,
)
from tests.models.sface_stand_in import stand_in_sface
from verifier.arrays import Float32Array, Pixels
from verifier.errors import ModelUnavailableError


def silence(width: int, height: int) -> dict[str, Float32Array]:
    """Return the answer to a picture without faces."""
    values = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    return {
        f"{kind}_{stride}": np.zeros((1, width * height // stride**2, n), dtype=np.float32)
        for kind, n in values.items()
        for stride in STRIDES
    }


def test_one_cell_decoded_by_hand() -> None:
    """Row 1, column 2 at stride 16: centre (2.5, 1.25) cells, e cells wide, one high."""
    outputs = silence(96, 64)
    cell = 1 * 6 + 2
    outputs["cls_16"][0, cell], outputs["obj_16"][0, cell] = 1, 0.49
    outputs["bbox_16"][0, cell] = 0.5, 0.25, 1, 0
    outputs["kps_16"][0, cell] = [-1, 0, 1, 0, 0, 0.5, -1, 1, 1, 1]
    (row,) = decode(outputs, 96)
    assert row[0] == pytest.approx(0.7)  # the root of 1 * 0.49
    half = np.e / 2
    assert row[1:5] == pytest.approx(
        [(2.5 - half) * 16, (1.25 - 0.5) * 16, (2.5 + half) * 16, (1.25 + 0.5) * 16], rel=1e-5
    )
    assert row[5:].tolist() == [16, 16, 48, 16, 32, 24, 16, 32, 48, 32]


def test_a_wild_size_stays_finite() -> None:
    outputs = silence(64, 64)
    outputs["cls_32"][0, 3] = outputs["obj_32"][0, 3] = 1
    outputs["bbox_32"][0, 3] = 0, 0, 500, -500
    assert np.isfinite(decode(outputs, 64)).all()
    assert decode(silence(64, 64), 64).shape == (0, 15)


def test_a_frame_is_seen_as_it_is_in_bgr() -> None:
    pixels = np.zeros((480, 640, 3), dtype=np.uint8)
    pixels[..., 0] = 200  # red
    images, step = network_input(pixels)
    assert images.shape == (1, 3, 256, 320)
    assert images[0, :, 10, 10].tolist() == [0, 0, 200]
    assert images[0, :, 250, 10].tolist() == [0, 0, 0]  # 240 rows, padded to 256
    assert step == pytest.approx((2, 2))


class OneCell:
    """A network that sees a face 8 input pixels wide around the third cell of the first row."""

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Answer; see `Network.run`."""
        answer = silence(inputs["images"].shape[3], inputs["images"].shape[2])
        answer["cls_8"][0, 2] = answer["obj_8"][0, 2] = 1
        return [answer[name] for name in outputs]


def test_an_input_pixel_spans_two_of_a_frame() -> None:
    """Its centre 16 lies between the frame's pixels 32 and 33."""
    (found,) = YunetDetector(OneCell()).detect(np.zeros((480, 640, 3), dtype=np.uint8))
    assert found.keypoints_px.tolist() == [[32.5, 0.5]] * 5
    box = found.box_px
    assert (box.x, box.y, box.w, box.h) == (24.5, -7.5, 16, 16)
    assert found.score == 1


@pytest.fixture(scope="module")
def model_path(shared_data: Path) -> Path:
    path = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
    assert digest_of(path.read_bytes()) == find_pack("opencv-zoo").files["detector"].sha256
    return path


@pytest.fixture(scope="module")
def session(model_path: Path) -> OnnxSession:
    return OnnxSession(convert_weights("yunet", model_path.read_bytes()))


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> list[Pixels]:
    paths = sorted((shared_data / "faces").rglob("*.jpg"))
    return [decode_image(path.read_bytes()).pixels for path in paths]


@pytest.mark.shared_data
def test_the_converted_network_passes_its_self_test(model_path: Path) -> None:
    """The expected numbers are those of OpenCV's own inference."""
    pinned = find_pack("opencv-zoo").files["detector"]
    run_self_test("detector", convert_weights("yunet", model_path.read_bytes()), pinned.self_test)


@pytest.mark.shared_data
def test_any_size_and_batch_agree_with_opencv(model_path: Path, session: OnnxSession) -> None:
    """The file was made for one picture of 640 x 640; the worst difference seen was 7e-6."""
    images = pattern((2, 3, 160, 320))
    seen = session.run(OUTPUTS, {"images": images})
    net = cv2.dnn.readNetFromONNX(str(model_path))
    for index in range(2):
        net.setInput(images[index : index + 1])
        for ours, theirs in zip(seen, net.forward(OUTPUTS), strict=True):
            np.testing.assert_allclose(ours[index : index + 1], theirs, atol=5e-5)


@pytest.mark.shared_data
def test_faces_are_those_of_opencvs_detector(
    model_path: Path, session: OnnxSession, photographs: list[Pixels]
) -> None:
    """Same pictures, same faces, boxes and points, to a hundredth of a pixel."""
    found = 0
    for pixels in photographs:
        images, _ = network_input(pixels)
        small = np.ascontiguousarray(images[0].transpose(1, 2, 0).astype(np.uint8))
        size = (small.shape[1], small.shape[0])
        theirs = cv2.FaceDetectorYN.create(str(model_path), "", size, MIN_SCORE, 0.3)
        wanted = theirs.detect(small)[1]
        wanted = np.empty((0, 15), np.float32) if wanted is None else wanted
        outputs = dict(zip(OUTPUTS, session.run(OUTPUTS, {"images": images}), strict=True))
        ours = keep_surest(decode(outputs, size[0]))
        seen = np.column_stack((ours[:, 1:3], ours[:, 3:5] - ours[:, 1:3], ours[:, 5:], ours[:, 0]))
        assert seen.shape == wanted.shape
        np.testing.assert_allclose(seen, wanted[np.argsort(-wanted[:, 14])], atol=0.01)
        found += len(seen)
    assert found >= len(photographs)


@pytest.mark.shared_data
def test_points_lie_on_the_face_in_the_pictures_own_pixels(
    session: OnnxSession, photographs: list[Pixels]
) -> None:
    """Enlarged pixel by pixel, a picture shows the same faces at the same places."""
    detector = YunetDetector(session)
    for pixels in photographs[:5]:
        large = np.ascontiguousarray(pixels.repeat(4, axis=0).repeat(4, axis=1))
        (first, *_), (second, *_) = detector.detect(pixels), detector.detect(large)
        # Pixel i becomes 4i to 4i + 3, so its centre i becomes 4i + 1.5.
        wanted = first.keypoints_px * 4 + 1.5
        assert second.keypoints_px == pytest.approx(wanted, abs=4 * max(pixels.shape) / 100)
        left, right = first.keypoints_px[:2]
        assert left[0] < right[0]


@pytest.mark.parametrize("weights", [b"no network", stand_in_sface()])
def test_another_network_is_refused(weights: bytes) -> None:
    with pytest.raises(ModelUnavailableError, match="yunet"):
        convert_weights("yunet", weights)


def test_the_side_is_on_the_grid() -> None:
    assert INPUT_SIDE_PX % max(STRIDES) == 0
