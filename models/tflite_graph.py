"""Reads a TensorFlow Lite file into plain values, without TensorFlow.

Weights stored as float16 behind ``DEQUANTIZE`` become float32 constants here, so what is left
are the operators that compute something. The schema package publishes no types: its objects
are ``Any`` inside this module and never leave it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import tflite
from numpy.typing import NDArray

from verifier.errors import ModelUnavailableError

Shape: TypeAlias = tuple[int, ...]

_IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every file


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One step; tensors are named by their index in the file."""

    kind: str  # as the schema writes it, for example "CONV_2D"
    inputs: tuple[int, ...]
    output: int
    stride: tuple[int, int] = (1, 1)  # vertical, horizontal
    window: tuple[int, int] = (1, 1)  # of a pool
    same_padding: bool = False  # "SAME"; otherwise "VALID", which is no padding
    axis: int = 0  # of a concatenation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TfliteGraph:
    """One subgraph; activations are (batch, height, width, channels)."""

    operators: tuple[Operator, ...]  # in order of execution
    input: int
    outputs: tuple[int, ...]
    shapes: tuple[Shape, ...]  # of every tensor
    constants: MappingProxyType[int, NDArray[Any]]


def read_tflite_graph(data: bytes) -> TfliteGraph:
    """Read a file that holds one graph with one input.

    Raises
    ------
    ModelUnavailableError
        If the bytes are not such a file, or if it has an operator with more than one output or
        with a fused activation: none of the networks in the packs has.
    """
    if data[4:8] != _IDENTIFIER:
        raise ModelUnavailableError(f"bytes 4-8 are {data[4:8]!r}, wanted {_IDENTIFIER!r}")
    model = tflite.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() != 1 or model.Subgraphs(0).InputsLength() != 1:
        raise ModelUnavailableError("wanted a TensorFlow Lite file of one graph with one input")
    graph = model.Subgraphs(0)
    constants = _read_constants(model, graph)
    operators = [_read_operator(model, graph.Operators(i)) for i in range(graph.OperatorsLength())]
    return TfliteGraph(
        operators=tuple(_fold_dequantize(operators, constants)),
        input=graph.Inputs(0),
        outputs=tuple(graph.Outputs(i) for i in range(graph.OutputsLength())),
        shapes=tuple(_shape(graph.Tensors(i)) for i in range(graph.TensorsLength())),
        constants=MappingProxyType(constants),
    )


_NUMBER_TYPES = {
    tflite.TensorType.FLOAT32: "<f4",
    tflite.TensorType.FLOAT16: "<f2",
    tflite.TensorType.INT32: "<i4",
}


def _shape(tensor: Any) -> Shape:
    return tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))


def _read_constants(model: Any, graph: Any) -> dict[int, NDArray[Any]]:
    constants: dict[int, NDArray[Any]] = {}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength() == 0:  # an activation
            continue
        number_type = _NUMBER_TYPES.get(tensor.Type())
        if number_type is None:
            raise ModelUnavailableError(f"tensor {index} has type {tensor.Type()}")
        values = np.frombuffer(buffer.DataAsNumpy().tobytes(), number_type)
        constants[index] = values.reshape(_shape(tensor))
    return constants


def _fold_dequantize(
    operators: list[Operator], constants: dict[int, NDArray[Any]]
) -> list[Operator]:
    left = []
    for operator in operators:
        if operator.kind == "DEQUANTIZE" and operator.inputs[0] in constants:
            constants[operator.output] = constants[operator.inputs[0]].astype(np.float32)
        else:
            left.append(operator)
    return left


_KINDS = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}


def _read_operator(model: Any, operator: Any) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Files before schema version 3a hold the code in the older, one-byte field only.
    kind = _KINDS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    if operator.OutputsLength() != 1:
        raise ModelUnavailableError(f"{kind} has {operator.OutputsLength()} outputs, wanted 1")
    return Operator(
        kind=kind,
        inputs=tuple(operator.Inputs(i) for i in range(operator.InputsLength())),
        output=operator.Outputs(0),
        **_OPTIONS.get(kind, lambda _: {})(operator.BuiltinOptions()),
    )


def _sliding_options(options: Any, table: Any) -> dict[str, Any]:
    options.Init(table.Bytes, table.Pos)
    _refuse_activation(options)
    return {
        "stride": (options.StrideH(), options.StrideW()),
        "same_padding": options.Padding() == tflite.Padding.SAME,
    }


def _convolution_options(table: Any) -> dict[str, Any]:
    options = tflite.Conv2DOptions()
    return _refuse_dilation(options, _sliding_options(options, table))


def _depthwise_options(table: Any) -> dict[str, Any]:
    options = tflite.DepthwiseConv2DOptions()
    return _refuse_dilation(options, _sliding_options(options, table))


def _pool_options(table: Any) -> dict[str, Any]:
    options = tflite.Pool2DOptions()
    values = _sliding_options(options, table)
    return {**values, "window": (options.FilterHeight(), options.FilterWidth())}


def _add_options(table: Any) -> dict[str, Any]:
    options = tflite.AddOptions()
    options.Init(table.Bytes, table.Pos)
    _refuse_activation(options)
    return {}


def _resize_options(table: Any) -> dict[str, Any]:
    options = tflite.ResizeBilinearOptions()
    options.Init(table.Bytes, table.Pos)
    if options.AlignCorners() or not options.HalfPixelCenters():
        raise ModelUnavailableError("a resize that does not count from pixel centres")
    return {}


def _concatenation_options(table: Any) -> dict[str, Any]:
    options = tflite.ConcatenationOptions()
    options.Init(table.Bytes, table.Pos)
    _refuse_activation(options)
    return {"axis": options.Axis()}


_OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "CONV_2D": _convolution_options,
    "DEPTHWISE_CONV_2D": _depthwise_options,
    "MAX_POOL_2D": _pool_options,
    "RESIZE_BILINEAR": _resize_options,
    "ADD": _add_options,
    "CONCATENATION": _concatenation_options,
}


def _refuse_activation(options: Any) -> None:
    if options.FusedActivationFunction() != tflite.ActivationFunctionType.NONE:
        raise ModelUnavailableError("a fused activation, wanted none")


def _refuse_dilation(options: Any, values: dict[str, Any]) -> dict[str, Any]:
    if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
        raise ModelUnavailableError("a dilated convolution, wanted none")
    return values
