"""Writes an ONNX graph node by node."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Opset 17 and IR 8 are what ONNX Runtime 1.14 and later read; nothing newer is needed here.
_OPSET, _IR_VERSION = 17, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A float32 input or output of the whole graph; a dimension given as a name is free."""

    name: str
    shape: tuple[int | str, ...]


class OnnxGraph:
    """A graph under construction: constants and nodes in order of execution."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an operator and return the name of its one output."""
        name = output or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def serialise(self, name: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
        """Return the checked model file.

        The same graph gives the same bytes, so that a converted file can be told by its digest.
        """
        graph = helper.make_graph(
            self._nodes,
            name,
            [_describe(port) for port in inputs],
            [_describe(port) for port in outputs],
            self._constants,
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="zhenxue"
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _describe(port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape)
