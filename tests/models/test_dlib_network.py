"""dlib's network in ONNX: against a plain numpy reading of the layers, and against dlib."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from models.conversion import convert_weights
from models.dlib_network import convert_dlib_network
from models.dlib_weights import Affine, Convolution, Dense, DlibNetwork, Pool
from models.self_test import pattern
from models.sessions import OnnxSession
from tests.models.dlib_files import small_network
from verifier.arrays import Float32Array, FloatArray
from verifier.errors import ModelUnavailableError


def slide(x: FloatArray, window: tuple[int, ...], stride: tuple[int, int]) -> FloatArray:
    """Return the windows over the last two axes of (channels, h, w), as (c, h', w', kh, kw)."""
    windows = sliding_window_view(x, window, axis=(1, 2))
    return windows[:, :: stride[0], :: stride[1]]


def convolve(x: FloatArray, layer: Convolution) -> FloatArray:
    (rows, columns) = layer.padding
    padded = np.pad(x, ((0, 0), (rows, rows), (columns, columns)))
    windows = slide(padded, layer.kernel.shape[2:], layer.stride)
    sums: FloatArray = np.einsum("ihwyx,oiyx->ohw", windows, layer.kernel.astype(np.float64))
    return sums + layer.bias[:, None, None]


def add_padded(a: FloatArray, b: FloatArray) -> FloatArray:
    shape = np.maximum(a.shape, b.shape)
    grown = [np.pad(x, [(0, s - n) for s, n in zip(shape, x.shape, strict=True)]) for x in (a, b)]
    return grown[0] + grown[1]


def pooled(x: FloatArray, layer: Pool) -> FloatArray:
    windows = slide(x, layer.window, layer.stride)
    if layer.kind == "max":
        return np.asarray(windows.max((-2, -1)), np.float64)
    return np.asarray(windows.mean((-2, -1)), np.float64)


def apply_small_network(network: DlibNetwork, chip: FloatArray) -> FloatArray:
    """Execute `small_network` in double precision, written out block by block."""
    convolutions = [layer for layer in network.layers if isinstance(layer, Convolution)]
    affines = [layer for layer in network.layers if isinstance(layer, Affine)]
    stem_pool, halving, _ = (layer for layer in network.layers if isinstance(layer, Pool))
    dense = network.layers[-1]
    assert isinstance(dense, Dense)

    def scaled(x: FloatArray, index: int) -> FloatArray:
        affine = affines[index]
        y = convolve(x, convolutions[index])
        return affine.gamma[:, None, None] * y + affine.beta[:, None, None]

    def branch(x: FloatArray, index: int) -> FloatArray:
        return scaled(np.maximum(scaled(x, index), 0), index + 1)

    x = (chip - network.means[:, None, None]) / 256
    x = pooled(np.maximum(scaled(x, 0), 0), stem_pool)
    x = np.maximum(add_padded(branch(x, 1), x), 0)
    x = np.maximum(add_padded(branch(x, 3), pooled(x, halving)), 0)
    result: FloatArray = x.mean((1, 2)) @ dense.weights
    return result


def run(model: bytes, chips: Float32Array) -> Float32Array:
    return OnnxSession(model).run(["embeddings"], {"chips": chips})[0]


@pytest.mark.parametrize("seed", range(3))
def test_small_networks_agree_with_numpy(seed: int) -> None:
    """Folding, residuals and zero-padding at the end of each axis, in a batch of two."""
    network = small_network(seed)
    chips = pattern((2, 3, 13, 13))
    seen = run(convert_dlib_network(network), chips)
    wanted = np.stack([apply_small_network(network, chip.astype(np.float64)) for chip in chips])
    assert seen.shape == (2, 5)
    np.testing.assert_allclose(seen, wanted, atol=1e-5 * float(np.abs(wanted).max()))


def test_the_same_network_gives_the_same_bytes() -> None:
    assert convert_dlib_network(small_network()) == convert_dlib_network(small_network())


@pytest.mark.parametrize(
    ("drop", "problem"),
    [
        (0, "unpadded convolution on the input"),
        (4, "addition without a tag"),
        (-1, "dense layer on top"),
        (-2, "dense layer of 6 inputs"),
    ],
)
def test_layers_in_an_unexplained_order_are_refused(drop: int, problem: str) -> None:
    network = small_network()
    layers = list(network.layers)
    del layers[drop]
    broken = dataclasses.replace(network, layers=tuple(layers))
    with pytest.raises(ModelUnavailableError, match=problem):
        convert_dlib_network(broken)


def test_the_mean_is_not_folded_into_a_padded_convolution() -> None:
    """Zeros around the picture are the mean in dlib and would be black here."""
    network = small_network()
    first = network.layers[0]
    assert isinstance(first, Convolution)
    padded = dataclasses.replace(first, padding=(1, 1))
    with pytest.raises(ModelUnavailableError, match="unpadded convolution on the input"):
        convert_dlib_network(dataclasses.replace(network, layers=(padded, *network.layers[1:])))


def smooth_chips(count: int) -> Float32Array:
    """Return made-up chips of slow waves, shape (count, 3, 150, 150), whole numbers 0-255."""
    rows, columns = np.mgrid[0:150, 0:150] / 150
    waves = [
        [np.sin((2 + i) * rows + c) * np.cos((1 + i) * columns - c) for c in range(3)]
        for i in range(count)
    ]
    return np.rint(127.5 + 127.5 * np.array(waves)).astype(np.float32)


@pytest.mark.models
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_descriptors_agree_with_dlib(kind: str, weights: Path) -> None:
    """At most 1e-5 from dlib itself, on noise and on smooth chips, alone and in a batch."""
    dlib = pytest.importorskip("dlib")
    chips = pattern((4, 3, 150, 150)) if kind == "noise" else smooth_chips(4)
    source = weights / "embedder"
    reference = dlib.face_recognition_model_v1(str(source))
    pixels = chips.transpose(0, 2, 3, 1).astype(np.uint8)
    wanted = [
        np.array(reference.compute_face_descriptor(np.ascontiguousarray(chip))) for chip in pixels
    ]
    session = OnnxSession(convert_weights("dlib-resnet", source.read_bytes()))
    seen = session.run(["embeddings"], {"chips": chips})[0]
    np.testing.assert_allclose(seen, wanted, atol=1e-5, rtol=0)
    single = session.run(["embeddings"], {"chips": chips[:1]})[0]
    np.testing.assert_allclose(single, seen[:1], atol=1e-6, rtol=0)
