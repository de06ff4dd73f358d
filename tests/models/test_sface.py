"""SFace's cut and contract, on a stand-in network of its shape; the cut against OpenCV's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.conversion import convert_weights
from models.embedder import network_input
from models.installation import install
from models.installed_pack import PackState, open_installed, status
from models.packs import SelfTest, UrlSource, find_pack
from models.self_test import pattern, run_self_test
from models.sessions import OnnxSession
from models.sface import TEMPLATE, FivePointAligner, SfaceEmbedder, picture_to_chip
from tests.generated_images import picture
from tests.models.sface_stand_in import stand_in_sface
from verifier.arrays import Float32Array
from verifier.detection import Detection
from verifier.errors import ModelUnavailableError
from verifier.observation import Box
from verifier.protocols import ProgressSink

MESH = np.zeros((468, 3), dtype=np.float32)


def face(points: Float32Array) -> Detection:
    return Detection(box_px=Box(x=0, y=0, w=1, h=1), keypoints_px=points, score=0.9)


def turned(scale: float, angle_deg: float, x: float, y: float) -> Float32Array:
    """Return the template's points, scaled, turned and moved, with a little noise."""
    noise = np.random.default_rng(1).normal(0, 1.5, TEMPLATE.shape)
    turn = np.exp(1j * np.radians(angle_deg)) * scale
    moved = (TEMPLATE + noise) @ (1, 1j) * turn + complex(x, y)
    return np.stack((moved.real, moved.imag), axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> cv2.FaceRecognizerSF:
    """OpenCV's own, over the stand-in."""
    path = tmp_path_factory.mktemp("sface") / "stand-in.onnx"
    path.write_bytes(stand_in_sface())
    return cv2.FaceRecognizerSF.create(str(path), "")


@pytest.fixture(scope="module")
def embedder() -> SfaceEmbedder:
    return SfaceEmbedder(OnnxSession(convert_weights("sface", stand_in_sface())), "sface@0")


def test_points_on_the_template_are_cut_as_they_lie() -> None:
    pixels = picture(112, 112)
    assert picture_to_chip(TEMPLATE) == pytest.approx(np.eye(2, 3), abs=1e-9)
    chip = FivePointAligner().cut(pixels, face(TEMPLATE.astype(np.float32)), MESH)
    assert np.abs(chip.astype(int) - pixels).max() <= 1


@given(
    scale=st.floats(0.1, 20),
    angle_deg=st.floats(-180, 180),
    x=st.floats(-500, 500),
    y=st.floats(0, 9),
)
def test_the_cut_undoes_any_similarity(scale: float, angle_deg: float, x: float, y: float) -> None:
    """Whatever the size, turn and place of the face, its points come to lie alike."""
    flat = turned(1, 0, 0, 0).astype(np.float64)
    points = turned(scale, angle_deg, x, y).astype(np.float64)
    wanted, seen = (picture_to_chip(p) @ np.vstack((p.T, np.ones(5))) for p in (flat, points))
    np.testing.assert_allclose(seen, wanted, atol=0.02)


def test_points_in_one_spot_are_survived() -> None:
    points = np.full((5, 2), 30, dtype=np.float32)
    assert FivePointAligner().cut(picture(), face(points), MESH).shape == (112, 112, 3)


@pytest.mark.parametrize(
    ("scale", "angle_deg", "x", "y"),
    [
        (1.0, 0, 40, 30),
        (0.4, 25, 100, 40),
        (2.7, -30, 60, 200),
        (1.3, 170, 300, 250),
        (1, 0, -50, 5),
    ],
)
def test_the_cut_agrees_with_opencv(
    reference: cv2.FaceRecognizerSF, scale: float, angle_deg: float, x: float, y: float
) -> None:
    """`cv2.FaceRecognizerSF.alignCrop`, small, large, upside down and half outside the picture.

    OpenCV fits in single precision, so a pixel on an edge may differ by a grey level or two.
    """
    pixels, points = picture(480, 400, seed=4), turned(scale, angle_deg, x, y)
    row = np.concatenate(([0, 0, 1, 1], points.ravel(), [0.9])).astype(np.float32)
    wanted = reference.alignCrop(np.ascontiguousarray(pixels[..., ::-1]), row)[..., ::-1]
    seen = FivePointAligner().cut(pixels, face(points), MESH)
    assert np.abs(seen.astype(int) - wanted.astype(int)).max() <= 2
    assert (seen != wanted).mean() < 0.02


def test_the_vector_is_the_stand_ins_as_opencv_reads_it(
    reference: cv2.FaceRecognizerSF, embedder: SfaceEmbedder
) -> None:
    """Channel order and scale are OpenCV's: RGB, 0 to 255; then length one."""
    chip = picture(112, 112, seed=2)
    wanted = reference.feature(np.ascontiguousarray(chip[..., ::-1]))[0]
    (seen,) = embedder.embed(network_input([chip]))
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, wanted / np.linalg.norm(wanted), atol=1e-5)


def test_a_batch_is_its_pictures_one_by_one(embedder: SfaceEmbedder) -> None:
    chips = pattern((3, 3, 112, 112))
    seen = embedder.embed(chips)
    assert seen.shape == (3, 128)
    assert np.linalg.norm(seen, axis=1) == pytest.approx(1, abs=1e-6)
    for vector, chip in zip(seen, chips, strict=True):
        assert vector.tolist() == embedder.embed(chip[None])[0].tolist()
    assert embedder.embed(chips[:0]).shape == (0, 128)
    assert embedder.contract_id == "sface@0"


def test_the_score_of_opencv_is_the_product_of_our_vectors(
    reference: cv2.FaceRecognizerSF, embedder: SfaceEmbedder
) -> None:
    """`FaceRecognizerSF.match` by cosine: the metric of the contract."""
    chips = [picture(112, 112, seed=seed) for seed in (2, 3)]
    first, second = (reference.feature(np.ascontiguousarray(c[..., ::-1])).copy() for c in chips)
    wanted = reference.match(first, second, cv2.FaceRecognizerSF_FR_COSINE)
    ours = embedder.embed(network_input(chips))
    assert float(ours[0] @ ours[1]) == pytest.approx(wanted, abs=1e-5)


class Answering:
    """A network that always gives one vector."""

    def __init__(self, vector: Float32Array) -> None:
        self.vector = vector

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Answer; see `Network.run`."""
        assert (list(outputs), list(inputs)) == (["embeddings"], ["chips"])
        return [self.vector]


@pytest.mark.parametrize(
    "vector", [np.zeros((1, 128)), np.full((1, 128), np.nan), np.ones((1, 64)), np.ones((2, 128))]
)
def test_what_has_no_direction_is_no_vector(vector: Float32Array) -> None:
    chip = pattern((1, 3, 112, 112))
    with pytest.raises(ModelUnavailableError, match="SFace gave"):
        SfaceEmbedder(Answering(vector.astype(np.float32)), "c").embed(chip)


@pytest.mark.parametrize(
    "weights", [b"", b"no network", stand_in_sface(side=56), stand_in_sface(values=64)]
)
def test_another_network_is_refused(weights: bytes) -> None:
    with pytest.raises(ModelUnavailableError, match="sface"):
        convert_weights("sface", weights)


def test_a_self_test_without_known_numbers_wants_finite_ones() -> None:
    """What SFace answers to the pattern is not known here; that it answers is checked."""
    test = find_pack("opencv-zoo").files["embedder"].self_test
    run_self_test("embedder", convert_weights("sface", stand_in_sface()), test)
    wild = SelfTest(
        input="chips", shape=(1, 3, 112, 112), offset=3e38, tolerance=1, expected=test.expected
    )
    with pytest.raises(ModelUnavailableError, match="not finite"):
        run_self_test("embedder", convert_weights("sface", stand_in_sface()), wild)


class Bringing:
    """Brings the same bytes from every address."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def fetch(self, source: UrlSource, folder: Path, progress: ProgressSink) -> Path:
        """Lay the file into the folder, unchecked; see `UrlFetcher`."""
        progress.update(source.artefact, 0, 0)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / source.artefact
        path.write_bytes(self.data)
        return path


def test_a_file_that_is_not_the_pinned_sface_is_refused(tmp_path: Path) -> None:
    """Even where whoever fetched it did not look: of the pinned size, and of another."""
    pack = find_pack("opencv-zoo")
    only = {role: file for role, file in pack.files.items() if role == "embedder"}
    pack = replace(pack, files=only)
    right_size = stand_in_sface().ljust(only["embedder"].size_bytes, b"\0")
    for data, problem in (
        (stand_in_sface(), "not of the pinned size"),
        (right_size, "0ba9fbfa01b5"),
    ):
        with pytest.raises(ModelUnavailableError, match=problem):
            install(pack, tmp_path, url_fetcher=Bringing(data))
        assert status(pack, tmp_path).state is PackState.ABSENT
    with pytest.raises(ModelUnavailableError, match="absent"):
        open_installed(pack, tmp_path)


def test_without_a_fetcher_no_address_is_asked(tmp_path: Path) -> None:
    pack = find_pack("opencv-zoo")
    only = {"embedder": pack.files["embedder"]}
    pack = replace(pack, files=only)
    with pytest.raises(ModelUnavailableError, match="run `zhenxue models pull opencv-zoo`"):
        install(pack, tmp_path)
