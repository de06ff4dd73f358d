"""Turns dlib's metric network into ONNX: face chips in, descriptors out.

What the file leaves out is derived from the order of the layers:

- a mark directly after a mark is ``skip1`` on ``tag2``: it goes back to the last ``tag1``, and
  what came before it waits for ``add_prev2``; every other mark is ``tag1``;
- ``add_prev`` zero-pads the smaller operand at the end of each axis. On a 150 pixel chip this
  happens in every block that halves the plane (channels of the pooled branch), and in the last
  two of them in the plane as well: the convolution gives 3x3 and 1x1 where the pool gives 4x4
  and 2x2.

The affine layers are folded into the convolution below each, and dlib's input normalisation
``(x - mean) / 256`` into the first convolution. That last step is exact only because this
convolution has no padding, which is checked.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.dlib_weights import (
    AddMarked,
    Affine,
    Convolution,
    Dense,
    DlibNetwork,
    Layer,
    Mark,
    Pair,
    Pool,
    Rectifier,
)
from models.onnx_graph import OnnxGraph, Port
from verifier.arrays import Float32Array
from verifier.errors import ModelUnavailableError

_INPUT, _OUTPUT = "chips", "embeddings"


def convert_dlib_network(network: DlibNetwork) -> bytes:
    """Return an ONNX file: ``chips`` (n, 3, 150, 150) RGB 0-255 to ``embeddings`` (n, 128).

    As in dlib, the vectors are not normalised to length 1 and are compared by plain L2 distance.

    Raises
    ------
    ModelUnavailableError
        If the layers are not in an order that these rules explain.
    """
    writer = _Writer(network)
    for layer in _fold_affine(_fold_normalisation(network)):
        writer.add(layer)
    return writer.finish()


def _fold_normalisation(network: DlibNetwork) -> list[Layer]:
    first, *rest = network.layers
    if not isinstance(first, Convolution) or first.padding != (0, 0):
        raise ModelUnavailableError("dlib network: wanted an unpadded convolution on the input")
    # In double precision, so that folding costs no more than one rounding per weight.
    kernel = first.kernel.astype(np.float64) / 256
    bias = first.bias - np.einsum("oihw,i->o", kernel, network.means.astype(np.float64))
    return [replace(first, kernel=_single(kernel), bias=_single(bias)), *rest]


def _fold_affine(layers: list[Layer]) -> list[Layer]:
    folded: list[Layer] = []
    for layer in layers:
        if not isinstance(layer, Affine):
            folded.append(layer)
            continue
        below = folded.pop()
        if not isinstance(below, Convolution):
            raise ModelUnavailableError(
                f"dlib network: an affine layer on {type(below).__name__}, wanted a convolution"
            )
        folded.append(_scale(below, layer))
    return folded


def _scale(convolution: Convolution, affine: Affine) -> Convolution:
    gamma = affine.gamma.astype(np.float64)
    kernel = convolution.kernel * gamma[:, None, None, None]
    bias = convolution.bias * gamma + affine.beta
    return replace(convolution, kernel=_single(kernel), bias=_single(bias))


def _single(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Float32Array:
    return values.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """A tensor in the graph: its name, channels and size."""

    name: str
    channels: int
    size: Pair


class _Writer:
    """Executes the stack symbolically, one layer at a time."""

    def __init__(self, network: DlibNetwork) -> None:
        self._graph = OnnxGraph()
        self._input = Port(name=_INPUT, shape=("n", 3, *network.input_size))
        self._current = _Plane(name=_INPUT, channels=3, size=network.input_size)
        self._tags: list[_Plane] = []  # of the block being read, at most tag1 and tag2
        self._last: Layer | None = None

    def add(self, layer: Layer) -> None:
        match layer:
            case Convolution():
                self._convolve(layer)
            case Rectifier():
                self._emit("Relu")
            case Pool():
                self._pool(layer)
            case Mark():
                self._mark()
            case AddMarked():
                self._add_marked()
            case Dense():
                self._multiply(layer)
            case Affine():
                raise AssertionError("affine layers were folded before")
        self._last = layer

    def finish(self) -> bytes:
        if not isinstance(self._last, Dense):
            raise ModelUnavailableError("dlib network: wanted a dense layer on top")
        output = Port(name=_OUTPUT, shape=("n", self._current.channels))
        return self._graph.serialise("dlib-resnet", [self._input], [output])

    def _emit(self, operator: str, *constants: str, **attributes: Any) -> None:
        name = self._graph.node(operator, self._current.name, *constants, **attributes)
        self._current = replace(self._current, name=name)

    def _convolve(self, layer: Convolution) -> None:
        outputs, inputs, *window = layer.kernel.shape
        if inputs != self._current.channels:
            raise ModelUnavailableError(
                f"dlib network: a convolution of {inputs} channels on {self._current.channels}"
            )
        self._emit(
            "Conv",
            self._graph.constant(layer.kernel),
            self._graph.constant(layer.bias),
            kernel_shape=window,
            strides=layer.stride,
            pads=layer.padding * 2,
        )
        size = _slide(self._current.size, (window[0], window[1]), layer.stride, layer.padding)
        self._current = replace(self._current, channels=outputs, size=size)

    def _pool(self, layer: Pool) -> None:
        if layer.window == (0, 0):
            self._emit("GlobalAveragePool")
            self._current = replace(self._current, size=(1, 1))
            return
        self._emit(
            "MaxPool" if layer.kind == "max" else "AveragePool",
            kernel_shape=layer.window,
            strides=layer.stride,
            pads=layer.padding * 2,
        )
        size = _slide(self._current.size, layer.window, layer.stride, layer.padding)
        self._current = replace(self._current, size=size)

    def _mark(self) -> None:
        if not isinstance(self._last, Mark):
            self._tags.append(self._current)
        elif len(self._tags) == 2:
            self._current = self._tags[0]
        else:
            raise ModelUnavailableError("dlib network: a skip without the tag it goes back to")

    def _add_marked(self) -> None:
        if not self._tags:
            raise ModelUnavailableError("dlib network: an addition without a tag below it")
        other = self._tags[-1]
        self._tags.clear()
        here = self._current
        channels = max(here.channels, other.channels)
        size = (max(here.size[0], other.size[0]), max(here.size[1], other.size[1]))
        terms = [self._pad(plane, channels, size) for plane in (here, other)]
        self._current = _Plane(name=self._graph.node("Add", *terms), channels=channels, size=size)

    def _pad(self, plane: _Plane, channels: int, size: Pair) -> str:
        more = [0, channels - plane.channels, size[0] - plane.size[0], size[1] - plane.size[1]]
        if not any(more):
            return plane.name
        pads = self._graph.constant(np.array([0, 0, 0, 0, *more], np.int64))
        return self._graph.node("Pad", plane.name, pads)

    def _multiply(self, layer: Dense) -> None:
        inputs, outputs = layer.weights.shape
        if (self._current.channels, self._current.size) != (inputs, (1, 1)):
            raise ModelUnavailableError(
                f"dlib network: a dense layer of {inputs} inputs on "
                f"{self._current.channels} channels of {self._current.size}"
            )
        flat = self._graph.node("Flatten", self._current.name)
        weights = self._graph.constant(layer.weights)
        name = self._graph.node("MatMul", flat, weights, output=_OUTPUT)
        self._current = replace(self._current, name=name, channels=outputs)


def _slide(size: Pair, window: Pair, stride: Pair, padding: Pair) -> Pair:
    """Return the size of a plane after a sliding window."""
    rows, columns = (
        (size[axis] + 2 * padding[axis] - window[axis]) // stride[axis] + 1 for axis in (0, 1)
    )
    return rows, columns
