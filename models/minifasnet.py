"""Turns MiniFASNet's weights into ONNX: pictures of a face in, three logits out.

MiniFASNet is MobileNetV2 pruned: blocks that widen a plane (1x1), filter each channel on its own
(3x3) and narrow it again (1x1, no activation), and add their input unless they halve the plane.
The V1SE form also weighs the channels of the last block of each stage by what the whole plane
looks like. The widths are those of the weights. Batch normalisation is folded into the
convolution or matrix before it, in double precision. Start with `convert_minifasnet`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.onnx_graph import OnnxGraph, Port
from models.torch_pickle import read_torch_tensors
from verifier.arrays import Float32Array, FloatArray
from verifier.errors import ModelUnavailableError

SIDE_PX: Final = 80
CLASSES: Final = 3

_PREFIX: Final = "module."  # weights were saved from a wrapper for several graphics cards
_EPSILON: Final = 1e-5  # PyTorch's default, which batch normalisation was trained with
_INPUT, _OUTPUT = "crops", "logits"

# The trunk: (name, blocks that add their input); 0 for the one block that halves the plane.
_STAGES: Final = (
    ("conv_23", 0),
    ("conv_3", 4),
    ("conv_34", 0),
    ("conv_4", 6),
    ("conv_45", 0),
    ("conv_5", 2),
)


def convert_minifasnet(weights: bytes) -> bytes:
    """Return an ONNX file: ``crops`` (n, 3, 80, 80) BGR 0-255 to ``logits`` (n, 3).

    Softmax over the logits gives the classes; 1 is bona fide, 0 and 2 are attacks.

    Raises
    ------
    ModelUnavailableError
        If the bytes are no PyTorch weights, or not those of a MiniFASNet.
    """
    tensors = _Tensors(read_torch_tensors(weights))
    model = _Writer(tensors).write()
    if tensors.unused:
        raise _wrong(f"{len(tensors.unused)} tensors without a place, {min(tensors.unused)} first")
    return model


class _Tensors:
    """The weights by name; notes which were not asked for."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors = tensors
        # A counter of training steps beside each normalisation is of no use here.
        self.unused = {name for name in tensors if not name.endswith(".num_batches_tracked")}

    def __contains__(self, name: str) -> bool:
        return _PREFIX + name in self._tensors

    def take(self, name: str, *shape: int | None) -> FloatArray:
        """Return a tensor in double precision; ``None`` in its shape is any size."""
        name = _PREFIX + name
        if name not in self._tensors:
            raise _wrong(f"no tensor {name}")
        self.unused.discard(name)
        values = self._tensors[name]
        fits = len(shape) == values.ndim and all(
            wanted in (None, size) for wanted, size in zip(shape, values.shape, strict=True)
        )
        if not fits or values.dtype != np.float32:
            raise _wrong(f"{name} is {values.dtype} {values.shape}, wanted {shape}")
        return values.astype(np.float64)

    def scale_and_shift(self, name: str, channels: int) -> tuple[FloatArray, FloatArray]:
        """Return what a batch normalisation multiplies by and adds."""
        gamma, beta, mean, variance = (
            self.take(f"{name}.{part}", channels)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        if not (variance >= 0).all():
            raise _wrong(f"{name} has a negative variance")
        scale = gamma / np.sqrt(variance + _EPSILON)
        return scale, beta - mean * scale


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """A tensor in the graph: its name and channels."""

    name: str
    channels: int


class _Writer:
    """Writes the network from its input upwards."""

    def __init__(self, tensors: _Tensors) -> None:
        self._tensors = tensors
        self._graph = OnnxGraph()

    def write(self) -> bytes:
        plane = _Plane(name=_INPUT, channels=3)
        plane = self._activated(plane, "conv1", size=3, stride=2)
        plane = self._activated(plane, "conv2_dw", size=3, depthwise=True)
        for stage, blocks in _STAGES:
            if not blocks:
                plane = self._block(plane, stage, stride=2)
            for index in range(blocks):
                plane = self._added(plane, f"{stage}.model.{index}")
        self._head(plane)
        crops = Port(name=_INPUT, shape=("n", 3, SIDE_PX, SIDE_PX))
        logits = Port(name=_OUTPUT, shape=("n", CLASSES))
        return self._graph.serialise("minifasnet", [crops], [logits])

    def _head(self, plane: _Plane) -> None:
        plane = self._activated(plane, "conv_6_sep", size=1)
        # The window is as large as the plane, which becomes one pixel.
        plane = self._convolved(plane, "conv_6_dw", size=5, depthwise=True, padding=0)
        flat = self._graph.node("Flatten", plane.name)
        matrix = self._tensors.take("linear.weight", None, plane.channels)
        scale, shift = self._tensors.scale_and_shift("bn", len(matrix))
        hidden = self._graph.node(
            "Gemm", flat, self._constant(matrix * scale[:, None]), self._constant(shift), transB=1
        )
        prob = self._tensors.take("prob.weight", CLASSES, len(matrix))
        self._graph.node("MatMul", hidden, self._constant(prob.T), output=_OUTPUT)

    def _added(self, plane: _Plane, name: str) -> _Plane:
        """Write a block that keeps the plane's size and adds its input."""
        inner = self._block(plane, name, stride=1)
        if inner.channels != plane.channels:
            raise _wrong(f"{name} makes {inner.channels} channels of {plane.channels}")
        if f"{name}.se_module.fc1.weight" in self._tensors:
            inner = self._weighed(inner, f"{name}.se_module")
        total = self._graph.node("Add", plane.name, inner.name)
        return _Plane(name=total, channels=plane.channels)

    def _block(self, plane: _Plane, name: str, stride: int) -> _Plane:
        plane = self._activated(plane, f"{name}.conv", size=1)
        plane = self._activated(plane, f"{name}.conv_dw", size=3, stride=stride, depthwise=True)
        return self._convolved(plane, f"{name}.project", size=1)

    def _weighed(self, plane: _Plane, name: str) -> _Plane:
        """Write squeeze and excitation: channels weighed by what the whole plane holds."""
        mean = _Plane(
            name=self._graph.node("GlobalAveragePool", plane.name), channels=plane.channels
        )
        squeezed = self._folded(mean, f"{name}.fc1.weight", f"{name}.bn1", size=1)
        squeezed = _Plane(name=self._graph.node("Relu", squeezed.name), channels=squeezed.channels)
        excited = self._folded(squeezed, f"{name}.fc2.weight", f"{name}.bn2", size=1)
        gate = self._graph.node("Sigmoid", excited.name)
        product = self._graph.node("Mul", plane.name, gate)
        return _Plane(name=product, channels=plane.channels)

    def _activated(
        self, plane: _Plane, name: str, *, size: int, stride: int = 1, depthwise: bool = False
    ) -> _Plane:
        plane = self._convolved(plane, name, size=size, stride=stride, depthwise=depthwise)
        slope = self._tensors.take(f"{name}.prelu.weight", plane.channels)
        bent = self._graph.node("PRelu", plane.name, self._constant(slope[:, None, None]))
        return _Plane(name=bent, channels=plane.channels)

    def _convolved(
        self,
        plane: _Plane,
        name: str,
        *,
        size: int,
        stride: int = 1,
        depthwise: bool = False,
        padding: int | None = None,
    ) -> _Plane:
        return self._folded(
            plane,
            f"{name}.conv.weight",
            f"{name}.bn",
            size=size,
            stride=stride,
            depthwise=depthwise,
            padding=padding,
        )

    def _folded(
        self,
        plane: _Plane,
        kernel_name: str,
        normalisation: str,
        *,
        size: int,
        stride: int = 1,
        depthwise: bool = False,
        padding: int | None = None,
    ) -> _Plane:
        """Write a convolution with the normalisation after it folded in."""
        outputs = plane.channels if depthwise else None
        inputs = 1 if depthwise else plane.channels
        kernel = self._tensors.take(kernel_name, outputs, inputs, size, size)
        scale, shift = self._tensors.scale_and_shift(normalisation, len(kernel))
        around = size // 2 if padding is None else padding
        name = self._graph.node(
            "Conv",
            plane.name,
            self._constant(kernel * scale[:, None, None, None]),
            self._constant(shift),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[around] * 4,
            group=plane.channels if depthwise else 1,
        )
        return _Plane(name=name, channels=len(kernel))

    def _constant(self, values: FloatArray) -> str:
        single: Float32Array = values.astype(np.float32)
        if not np.isfinite(single).all():
            raise _wrong("weights that are not finite")
        return self._graph.constant(single)


def _wrong(what: str) -> ModelUnavailableError:
    return ModelUnavailableError(f"MiniFASNet: {what}")
