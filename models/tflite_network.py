"""Turns MediaPipe's face networks from TensorFlow Lite into ONNX.

The arithmetic is the same; the shape of the graph is chosen for ONNX Runtime, which is fastest
while tensors stay in its blocked layout of 16 channels:

- channel counts are padded with zeros to multiples of 16, so that no operator leaves the layout;
  the zero channels stay zero through every operator used, and most ``PAD`` operators vanish;
- ``PRELU`` becomes ``a*x + (1-a)*relu(x)`` in two 1x1 depthwise convolutions, because the runtime
  has no blocked PRelu (``max(x, a*x)`` would be wrong: slopes go from -1.14 to 1.54);
- inputs are (n, 3, h, w); tensors turn back to (n, h, w, c) only before a ``RESHAPE``, since that
  order of values is what the anchors are numbered by.

Anchor order of a detector, here BlazeFace back for an input of h x w pixels: first the cells of
stride 16, row by row (h/16 rows of w/16 columns), two anchors per cell; then the cells of stride
32 likewise, six per cell. Anchor centre is the cell centre ((column + 0.5) / (w/stride), (row +
0.5) / (h/stride)) as a share of width and height. On 256 x 256 that is 512 + 384 = 896 anchors.
``boxes`` are offsets in *pixels of a 256 pixel input*, at every input size: the network was trained
at one scale, so an offset counts pixels whatever the input measures. `models.blazeface` has the
strides of the other forms.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.onnx_graph import OnnxGraph, Port
from models.tflite_graph import Operator, TfliteGraph
from verifier.arrays import Float32Array
from verifier.errors import ModelUnavailableError

_BLOCK = 16  # channels: one AVX-512 register of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPorts:
    """The names a converted network is called by, and which input dimensions are free."""

    name: str
    input: str
    outputs: tuple[str, ...]  # in the order of the file
    free_size: bool  # height and width: any multiple of 32


def convert_tflite_network(graph: TfliteGraph, ports: NetworkPorts) -> bytes:
    """Return an ONNX file with a free batch dimension.

    Raises
    ------
    ModelUnavailableError
        If the graph has an operator, or a use of one, that the packs' networks do not have.
    """
    if len(graph.outputs) != len(ports.outputs):
        raise ModelUnavailableError(
            f"{ports.name} has {len(graph.outputs)} outputs, wanted {len(ports.outputs)}"
        )
    writer = _Writer(graph, ports)
    for operator in graph.operators:
        writer.add(operator)
    return writer.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """An activation in the ONNX graph: (n, channels, h, w), zeros after the real channels."""

    name: str
    channels: int  # zero channels included


class _Writer:
    """Writes one ONNX node or two for every TensorFlow Lite operator."""

    def __init__(self, graph: TfliteGraph, ports: NetworkPorts) -> None:
        self._source = graph
        self._ports = ports
        self._graph = OnnxGraph()
        self._names = dict(zip(graph.outputs, ports.outputs, strict=True))
        self._planes = {graph.input: _Plane(name=ports.input, channels=3)}
        reshaped = {op.inputs[0] for op in graph.operators if op.kind == "RESHAPE"}
        # These leave the blocked layout anyway, and zero channels would have to be cut off.
        self._unpadded = reshaped | set(graph.outputs)

    def add(self, operator: Operator) -> None:
        match operator.kind:
            case "CONV_2D":
                plane = self._convolve(operator)
            case "DEPTHWISE_CONV_2D":
                plane = self._convolve_depthwise(operator)
            case "PRELU":
                plane = self._prelu(operator)
            case "RELU":
                plane = self._same_channels(operator, "Relu")
            case "ADD":
                plane = self._same_channels(operator, "Add")
            case "MAX_POOL_2D":
                plane = self._pool(operator)
            case "RESIZE_BILINEAR":
                plane = self._double(operator)
            case "PAD":
                plane = self._pad_channels(operator)
            case "RESHAPE":
                plane = self._reshape(operator)
            case "CONCATENATION":
                plane = self._same_channels(operator, "Concat", axis=operator.axis)
            case kind:
                raise ModelUnavailableError(f"{self._ports.name}: operator {kind} is not known")
        self._planes[operator.output] = plane

    def finish(self) -> bytes:
        _, height, width, channels = self._source.shapes[self._source.input]
        size: tuple[int | str, int | str] = (height, width)
        if self._ports.free_size:
            size = ("h", "w")
        inputs = [Port(name=self._ports.input, shape=("n", channels, *size))]
        outputs = [self._output(tensor) for tensor in self._source.outputs]
        return self._graph.serialise(self._ports.name, inputs, outputs)

    def _output(self, tensor: int) -> Port:
        name, shape = self._names[tensor], self._source.shapes[tensor]
        if len(shape) == 4:  # (1, 1, 1, values): a vector in the shape of an image
            self._graph.node("Flatten", self._planes[tensor].name, output=name)
            return Port(name=name, shape=("n", shape[3]))
        rows: int | str = "a" if self._ports.free_size else shape[1]
        return Port(name=name, shape=("n", rows, *shape[2:]))

    def _constant(self, tensor: int) -> NDArray[Any]:
        if tensor not in self._source.constants:
            raise ModelUnavailableError(f"{self._ports.name}: tensor {tensor} is not a constant")
        return self._source.constants[tensor]

    def _aligned(self, operator: Operator) -> int:
        channels = self._source.shapes[operator.output][-1]
        return channels if operator.output in self._unpadded else -(-channels // _BLOCK) * _BLOCK

    def _convolve(self, operator: Operator) -> _Plane:
        plane, channels = self._planes[operator.inputs[0]], self._aligned(operator)
        kernel = self._constant(operator.inputs[1]).transpose(0, 3, 1, 2)
        kernel = _grow(_grow(kernel, 0, channels), 1, plane.channels)
        return self._emit_convolution(operator, plane, kernel)

    def _convolve_depthwise(self, operator: Operator) -> _Plane:
        plane = self._planes[operator.inputs[0]]
        kernel = self._constant(operator.inputs[1]).transpose(3, 0, 1, 2)
        if self._source.shapes[operator.inputs[0]][-1] != kernel.shape[0]:
            raise ModelUnavailableError(f"{self._ports.name}: wanted a depth multiplier of 1")
        return self._emit_convolution(operator, plane, _grow(kernel, 0, plane.channels))

    def _emit_convolution(self, operator: Operator, plane: _Plane, kernel: Float32Array) -> _Plane:
        bias = _grow(self._constant(operator.inputs[2]), 0, kernel.shape[0])
        window = (kernel.shape[2], kernel.shape[3])
        name = self._graph.node(
            "Conv",
            plane.name,
            self._graph.constant(kernel),
            self._graph.constant(bias),
            group=plane.channels // kernel.shape[1],
            kernel_shape=window,
            strides=operator.stride,
            pads=self._pads(operator, window),
        )
        return _Plane(name=name, channels=kernel.shape[0])

    def _pads(self, operator: Operator, window: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return zeros before (rows, columns) and after; where they are uneven, more come after."""
        if not operator.same_padding:
            return (0, 0, 0, 0)
        _, *size, _ = self._source.shapes[operator.inputs[0]]
        if self._ports.free_size and any(n % s for n, s in zip(size, operator.stride, strict=True)):
            raise ModelUnavailableError(f"{self._ports.name}: padding would depend on the size")
        total = [
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, s, k in zip(size, operator.stride, window, strict=True)
        ]
        before = [amount // 2 for amount in total]
        after = [amount - head for amount, head in zip(total, before, strict=True)]
        # One more zero behind an even size is never read at stride 2, but only with it (window
        # minus one in all) does the runtime see that the two branches of a block halve a size
        # unknown to it alike, and keep their sum in the blocked layout.
        if self._ports.free_size:
            after = [k - 1 - head for head, k in zip(before, window, strict=True)]
        return (before[0], before[1], after[0], after[1])

    def _prelu(self, operator: Operator) -> _Plane:
        plane = self._planes[operator.inputs[0]]
        slope = self._constant(operator.inputs[1]).reshape(-1, 1, 1, 1)
        slope = _grow(slope, 0, plane.channels)
        positive = self._graph.node("Relu", plane.name)
        terms = [
            self._graph.node("Conv", source, self._graph.constant(kernel), group=plane.channels)
            for source, kernel in ((plane.name, slope), (positive, 1 - slope))
        ]
        return _Plane(name=self._graph.node("Add", *terms), channels=plane.channels)

    def _same_channels(self, operator: Operator, kind: str, **attributes: Any) -> _Plane:
        planes = [self._planes[tensor] for tensor in operator.inputs]
        if len({plane.channels for plane in planes}) != 1:
            raise ModelUnavailableError(f"{self._ports.name}: {operator.kind} of unlike tensors")
        name = self._graph.node(
            kind,
            *(plane.name for plane in planes),
            output=self._names.get(operator.output, ""),
            **attributes,
        )
        return _Plane(name=name, channels=planes[0].channels)

    def _pool(self, operator: Operator) -> _Plane:
        plane = self._planes[operator.inputs[0]]
        name = self._graph.node(
            "MaxPool",
            plane.name,
            kernel_shape=operator.window,
            strides=operator.stride,
            pads=self._pads(operator, operator.window),
        )
        return _Plane(name=name, channels=plane.channels)

    def _double(self, operator: Operator) -> _Plane:
        """Emit a resize to twice the size; named as a factor it holds for a free size too."""
        plane = self._planes[operator.inputs[0]]
        _, *before, _ = self._source.shapes[operator.inputs[0]]
        _, *after, _ = self._source.shapes[operator.output]
        if after != [2 * side for side in before]:
            raise ModelUnavailableError(f"{self._ports.name}: a resize from {before} to {after}")
        factors = self._graph.constant(np.array([1, 1, 2, 2], np.float32))
        mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        name = self._graph.node("Resize", plane.name, "", factors, **mode)
        return _Plane(name=name, channels=plane.channels)

    def _pad_channels(self, operator: Operator) -> _Plane:
        plane, channels = self._planes[operator.inputs[0]], self._aligned(operator)
        amounts = self._constant(operator.inputs[1])
        if amounts[:3].any() or amounts[3, 0]:
            raise ModelUnavailableError(f"{self._ports.name}: wanted zeros after the channels only")
        if channels == plane.channels:  # the zeros are there already
            return plane
        # An identity convolution: exact, and in the blocked layout, which a Pad would end for the
        # whole chain of residual additions behind it.
        identity = np.eye(channels, plane.channels, dtype=np.float32)[:, :, None, None]
        name = self._graph.node("Conv", plane.name, self._graph.constant(identity))
        return _Plane(name=name, channels=channels)

    def _reshape(self, operator: Operator) -> _Plane:
        shape = self._source.shapes[operator.output]
        if len(shape) != 3:
            raise ModelUnavailableError(f"{self._ports.name}: a reshape to {shape}")
        plane = self._planes[operator.inputs[0]]
        last = self._graph.node("Transpose", plane.name, perm=(0, 2, 3, 1))
        target = self._graph.constant(np.array([0, -1, shape[2]], np.int64))
        output = self._names.get(operator.output, "")
        name = self._graph.node("Reshape", last, target, output=output)
        return _Plane(name=name, channels=shape[2])


def _grow(values: NDArray[Any], axis: int, size: int) -> Float32Array:
    """Append zeros on one axis."""
    amounts = [(0, 0)] * values.ndim
    amounts[axis] = (0, size - values.shape[axis])
    return np.pad(values, amounts).astype(np.float32)
