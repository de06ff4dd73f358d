"""Sessions are built from the bytes that were checked, and specialise by size."""

from pathlib import Path

import numpy as np
import pytest

from models import sessions
from models.digests import digest_of
from models.installation import InstalledPack, open_pack
from models.installed_pack import PackFile
from models.onnx_graph import OnnxGraph, Port
from models.packs import SelfTest
from models.self_test import pattern, run_self_test, sample
from models.sessions import OnnxSession, open_session
from verifier.errors import ModelUnavailableError


def halving() -> bytes:
    """Return a network that halves pictures (n, 1, h, w) of any size."""
    graph = OnnxGraph()
    graph.node("Mul", "x", graph.constant(np.array(0.5, np.float32)), output="y")
    shape = ("n", 1, "h", "w")
    return graph.serialise("half", [Port(name="x", shape=shape)], [Port(name="y", shape=shape)])


def installed(path: Path, sha256: str) -> InstalledPack:
    file = PackFile(path=path, sha256=sha256)
    return InstalledPack(name="small", contract_id="c", files={"half": file})


def test_a_verified_file_runs(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(halving())
    session = open_session(installed(path, digest_of(halving())), "half")
    seen = session.run(["y"], {"x": np.full((1, 1, 2, 2), 3, np.float32)})
    assert seen[0].tolist() == [[[[1.5, 1.5], [1.5, 1.5]]]]


def test_a_file_changed_since_the_pack_was_opened_is_refused(tmp_path: Path) -> None:
    """The digest is taken of the very bytes that would run."""
    path = tmp_path / "half.onnx"
    path.write_bytes(halving() + b"\0")
    with pytest.raises(ModelUnavailableError, match=r"half\.onnx: sha256 \w{12}, wanted \w{12}"):
        open_session(installed(path, digest_of(halving())), "half")
    path.unlink()
    with pytest.raises(ModelUnavailableError, match="No such file"):
        open_session(installed(path, digest_of(halving())), "half")


def test_a_role_the_pack_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="'mesh'"):
        open_session(installed(tmp_path, "0" * 64), "mesh")


def test_every_size_gives_the_same_as_every_other() -> None:
    """More sizes than are kept, batches that change, and inputs that are not contiguous."""
    session = OnnxSession(halving())
    for side in range(1, 40):
        picture = pattern((1 + side % 3, 1, side, 2 * side)).transpose(0, 1, 3, 2)
        np.testing.assert_array_equal(session.run(["y"], {"x": picture})[0], picture / 2)


def test_sizes_are_built_once_and_batches_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more than 16 of them, whatever a stranger sends."""
    built: list[object] = []

    def counted(model: bytes, threads: int, sizes: tuple[tuple[str, int], ...]) -> object:
        built.append(sizes)
        return build(model, threads, sizes)

    build = sessions._build
    monkeypatch.setattr(sessions, "_build", counted)
    session = OnnxSession(halving())
    for batch in (1, 2, 3, 1):
        session.run(["y"], {"x": pattern((batch, 1, 4, 6))})
    assert built == [(), (("h", 4), ("w", 6))]
    for side in range(1, 40):
        session.run(["y"], {"x": pattern((1, 1, side, 1))})
    assert len(built) == 1 + 16


def test_the_pattern_is_noise_of_known_values() -> None:
    """Knuth's multiples: 0x9E3779B1 begins with 0x9E, twice it (mod 2**32) with 0x3C."""
    values = pattern((2, 50_000))
    assert values[0, :3].tolist() == [0, 0x9E, 0x3C]
    assert values.mean() == pytest.approx(127.5, abs=0.1)
    assert (values.min(), values.max()) == (0, 255)


def test_samples_are_evenly_spaced() -> None:
    assert sample(np.arange(10, dtype=np.float32).reshape(2, 5), 5).tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(("wanted", "passes"), [(79.0, True), (79.2, False), (float("nan"), False)])
def test_a_self_test_compares_within_its_tolerance(wanted: float, *, passes: bool) -> None:
    test = SelfTest(input="x", shape=(1, 1, 1, 2), tolerance=0.1, expected={"y": (0.0, wanted)})
    if passes:
        run_self_test("half", halving(), test)
        return
    with pytest.raises(ModelUnavailableError, match="half: self-test output 'y' is off by"):
        run_self_test("half", halving(), test)


@pytest.mark.models
@pytest.mark.parametrize("role", ["embedder", "mesh"])
def test_a_batch_gives_what_its_members_give_alone(role: str, models_cache: Path) -> None:
    names = {"embedder": ("chips", "embeddings", 150), "mesh": ("crops", "landmarks", 192)}
    source, result, side = names[role]
    session = open_session(open_pack("default", models_cache), role)
    pictures = pattern((3, 3, side, side)) / np.float32(1 if role == "embedder" else 255)
    together = session.run([result], {source: pictures})[0]
    alone = [session.run([result], {source: pictures[i : i + 1]})[0][0] for i in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-4, rtol=0)
