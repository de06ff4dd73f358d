"""Networks that are published as ONNX already: given our names for their inputs and outputs.

What they compute stays as it is. YuNet's file was made for one picture of 640 x 640, but its
arithmetic holds for any size that is a multiple of 32, so that much of it is set free.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from onnx import TensorProto, helper, numpy_helper

from models.yunet import OUTPUTS as YUNET_OUTPUTS
from verifier.errors import ModelUnavailableError

_YUNET_VALUES: Final = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def convert_yunet(weights: bytes) -> bytes:
    """Return YuNet with input ``images`` (n, 3, h, w), h and w multiples of 32.

    Outputs as `models.yunet.decode` takes them, shape (n, cells, values).

    Raises
    ------
    ModelUnavailableError
        If the bytes are not a network with these outputs.
    """
    model = _read(weights, "yunet")
    _expect("yunet", [port.name for port in model.graph.output], YUNET_OUTPUTS)
    _free_the_batch(model)
    _rename(model, {_only_input(model, "yunet").name: "images"})
    ports = [_port(name, ("n", "a", _YUNET_VALUES[name.split("_")[0]])) for name in YUNET_OUTPUTS]
    _describe(model, _port("images", ("n", 3, "h", "w")), ports)
    return _serialise(model)


def convert_sface(weights: bytes) -> bytes:
    """Return SFace with input ``chips`` (1, 3, 112, 112) and output ``embeddings`` (1, 128).

    Raises
    ------
    ModelUnavailableError
        If the bytes are not a network of that shape.
    """
    model = _read(weights, "sface")
    source, outputs = _only_input(model, "sface"), list(model.graph.output)
    _expect("sface", [_sizes(port)[-1:] for port in outputs], [[128]])
    _expect("sface", _sizes(source), [1, 3, 112, 112])
    _rename(model, {source.name: "chips", outputs[0].name: "embeddings"})
    _describe(model, _port("chips", (1, 3, 112, 112)), [_port("embeddings", (1, 128))])
    return _serialise(model)


def _read(weights: bytes, name: str) -> Any:
    """Return the model; onnx publishes its types as ``Any``."""
    try:
        model = onnx.load_model_from_string(weights)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ModelUnavailableError(f"{name}: the bytes are no ONNX network") from error
    return model


def _only_input(model: Any, name: str) -> Any:
    # Before IR version 4 every constant had to be listed among the inputs as well.
    constants = {each.name for each in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in constants]
    if len(inputs) != 1:
        raise ModelUnavailableError(f"{name} has {len(inputs)} inputs, wanted 1")
    return inputs[0]


def _expect(name: str, seen: Sequence[Any], wanted: Sequence[Any]) -> None:
    if list(seen) != list(wanted):
        raise ModelUnavailableError(f"{name} has {list(seen)}, wanted {list(wanted)}")


def _sizes(port: Any) -> list[int]:
    return [dimension.dim_value for dimension in port.type.tensor_type.shape.dim]


def _port(name: str, shape: tuple[int | str, ...]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _free_the_batch(model: Any) -> None:
    """Let each ``Reshape`` to (1, -1, values) keep the batch it is given."""
    targets = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for constant in model.graph.initializer:
        if constant.name in targets:
            shape = numpy_helper.to_array(constant).copy()
            _expect("yunet", shape[:2].tolist(), [1, -1])
            shape[0] = 0  # the size that is there
            constant.CopyFrom(numpy_helper.from_array(shape, constant.name))


def _rename(model: Any, names: Mapping[str, str]) -> None:
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]


def _describe(model: Any, source: Any, outputs: Sequence[Any]) -> None:
    """Replace the description of inputs and outputs; sizes in between follow from them."""
    graph = model.graph
    for values in (graph.input, graph.output, graph.value_info):
        del values[:]
    graph.input.append(source)
    graph.output.extend(outputs)
    # With constants no longer among the inputs the file needs the version that allows it.
    model.ir_version = max(model.ir_version, 4)


def _serialise(model: Any) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
