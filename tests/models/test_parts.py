"""Packs opened by their parts: each joins what it names, and says what is missing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.conversion import ConverterName, convert_weights
from models.digests import digest_of
from models.face_search import fit_to_grid
from models.image_decoder import decode_image
from models.installed_pack import InstalledPack, PackFile, open_pack
from models.observer import open_observer
from models.packs import Parts, find_pack
from models.parts import open_parts
from tests.models.sface_stand_in import stand_in_sface
from verifier.arrays import Pixels
from verifier.errors import ModelUnavailableError
from verifier.observation import Box, FaceObservation


@pytest.fixture(scope="module")
def portraits(demo_faces: dict[str, Path]) -> list[Pixels]:
    return [decode_image(path.read_bytes()).pixels for path in demo_faces.values()]


def pack_of(name: str, files: dict[str, Path]) -> InstalledPack:
    """Return a shipped pack whose networks lie at these paths."""
    pack = find_pack(name)
    return InstalledPack(
        name=name,
        contract_id=pack.contract_id,
        parts=pack.parts,
        files={r: PackFile(path=p, sha256=digest_of(p.read_bytes())) for r, p in files.items()},
    )


def converted(folder: Path, converter: ConverterName, weights: bytes) -> Path:
    path = folder / f"{converter}.onnx"
    path.write_bytes(convert_weights(converter, weights))
    return path


def faces_of(pack: InstalledPack, portraits: list[Pixels]) -> list[FaceObservation]:
    observer = open_observer(pack)
    assert observer.contract_id == pack.contract_id
    return [observer.observe(pixels).faces[0] for pixels in portraits]


def assert_same_places(seen: list[FaceObservation], wanted: list[FaceObservation]) -> None:
    """Whichever detector found it, the mesh lies on the same face, within 3 % of its width."""
    for ours, theirs in zip(seen, wanted, strict=True):
        off = np.abs(ours.points_px - theirs.points_px).max()
        assert off < 0.03 * theirs.box_px.w


@pytest.mark.models
@pytest.mark.demo_faces
@pytest.mark.parametrize("form", ["short", "full"])
def test_another_form_of_the_detector_finds_the_same_faces(
    form: str,
    models_cache: Path,
    weights: Path,
    tmp_path: Path,
    portraits: list[Pixels],
) -> None:
    default = open_pack("default", models_cache)
    name: ConverterName = "blazeface-short" if form == "short" else "blazeface-full"
    detector = converted(tmp_path, name, (weights / form).read_bytes())
    files = {role: default.files[role].path for role in ("mesh", "embedder")}
    seen = faces_of(pack_of(name, {**files, "detector": detector}), portraits)
    wanted = faces_of(default, portraits)
    assert_same_places(seen, wanted)
    for ours, theirs in zip(seen, wanted, strict=True):
        assert ours.embedding is not None
        assert theirs.embedding is not None
        # Far below the 0.54 up to which two pictures match by default.
        assert np.linalg.norm(ours.embedding - theirs.embedding) < 0.25


@pytest.mark.models
@pytest.mark.demo_faces
@pytest.mark.shared_data
def test_yunet_and_a_stand_in_for_sface_observe(
    models_cache: Path, shared_data: Path, tmp_path: Path, portraits: list[Pixels]
) -> None:
    """The vectors mean nothing, but have the shape, the length and the contract of SFace's."""
    default = open_pack("default", models_cache)
    yunet = (shared_data / "models" / "face_detection_yunet_2023mar.onnx").read_bytes()
    files = {
        "mesh": default.files["mesh"].path,
        "detector": converted(tmp_path, "yunet", yunet),
        "embedder": converted(tmp_path, "sface", stand_in_sface()),
    }
    seen = faces_of(pack_of("opencv-zoo", files), portraits)
    assert_same_places(seen, faces_of(default, portraits))
    for face in seen:
        assert face.embedding is not None
        assert face.embedding.shape == (128,)
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)


class CountingBoxes:
    """An attack detector whose finding is the place of a box in the list."""

    contract_id = "counting@0"

    def judge(self, pixels: Pixels, boxes: Sequence[Box]) -> tuple[float | None, ...]:
        """Answer; see `AttackDetector.judge`."""
        assert pixels.ndim == 3
        return (None, *(float(index) for index in range(1, len(boxes))))[: len(boxes)]


@pytest.mark.models
@pytest.mark.demo_faces
def test_an_attack_detector_is_asked_for_every_face_once(
    models_cache: Path, portraits: list[Pixels]
) -> None:
    """In the order of the faces; what could not be told stays None. No faces, no question."""
    pack = open_pack("default", models_cache)
    observer = open_observer(pack, attack_detector=CountingBoxes())
    small = [fit_to_grid(pixels, 400, 400)[0] for pixels in portraits[:3]]
    frame = observer.observe(np.concatenate(small, axis=1))
    assert [face.attack_log10_lr for face in frame.faces] == [None, 1, 2]
    assert "attack" in frame.elapsed_ms
    assert observer.observe(np.zeros((200, 200, 3), np.uint8)).faces == ()
    alone = open_observer(pack).observe(small[0])
    assert "attack" not in alone.elapsed_ms
    assert alone.faces[0].attack_log10_lr is None


@pytest.mark.models
def test_a_pack_without_a_network_it_needs_is_named(models_cache: Path) -> None:
    default = open_pack("default", models_cache)
    files = {role: file for role, file in default.files.items() if role != "embedder"}
    with pytest.raises(ModelUnavailableError, match="pack default has no 'embedder'"):
        open_parts(replace(default, files=files))


def test_a_pack_that_observes_nothing_is_refused() -> None:
    pack = InstalledPack(
        name="eyes", contract_id="c", files={}, parts=Parts(attack_detector="minifasnet")
    )
    with pytest.raises(ModelUnavailableError, match="'eyes' does not observe faces"):
        open_observer(pack)


def test_parts_of_a_library_want_a_library() -> None:
    parts = find_pack("face-recognition").parts
    pack = InstalledPack(name="stock", contract_id="c", files={}, parts=parts)
    with pytest.raises(ModelUnavailableError, match="'stock' names no library"):
        open_parts(pack)
