"""MediaPipe's networks in ONNX: small graphs against numpy, the real ones against LiteRT."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import pytest
import tflite
from numpy.typing import NDArray

from models.conversion import ConverterName, convert_weights
from models.self_test import pattern
from models.sessions import OnnxSession
from models.tflite_graph import Operator, TfliteGraph, read_tflite_graph
from models.tflite_network import NetworkPorts, convert_tflite_network
from verifier.arrays import Float32Array
from verifier.errors import ModelUnavailableError

PORTS = NetworkPorts(name="small", input="images", outputs=("rows",), free_size=False)


def graph_of(
    operators: Sequence[Operator],
    shapes: Sequence[tuple[int, ...]],
    constants: dict[int, NDArray[Any]],
) -> TfliteGraph:
    """Tensor 0 is the input, the last operator's the output."""
    return TfliteGraph(
        operators=tuple(operators),
        input=0,
        outputs=(operators[-1].output,),
        shapes=tuple(shapes),
        constants=MappingProxyType(constants),
    )


def small_graph() -> tuple[TfliteGraph, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Convolution of stride 2 with SAME padding, PRELU, more channels, rows of two values.

    Tensors: 0 input, 1 kernel, 2 bias, 3 convolved, 4 slopes, 5 PRELU, 6 pads, 7 padded, 8 rows.
    """
    random = np.random.default_rng(5)
    kernel = random.normal(0, 1, (5, 3, 3, 3)).astype(np.float32)
    bias = random.normal(0, 1, 5).astype(np.float32)
    slopes = np.array([-1.1, -0.2, 0.0, 0.6, 1.5], np.float32)
    operators = [
        Operator(kind="CONV_2D", inputs=(0, 1, 2), output=3, stride=(2, 2), same_padding=True),
        Operator(kind="PRELU", inputs=(3, 4), output=5),
        Operator(kind="PAD", inputs=(5, 6), output=7),
        Operator(kind="RESHAPE", inputs=(7,), output=8),
    ]
    shapes = [(1, 6, 4, 3), (5, 3, 3, 3), (5,), (1, 3, 2, 5), (1, 1, 5), (1, 3, 2, 5)]
    shapes += [(4, 2), (1, 3, 2, 6), (1, 18, 2)]
    pads = np.array([[0, 0], [0, 0], [0, 0], [0, 1]], np.int32)
    constants = {1: kernel, 2: bias, 4: slopes.reshape(1, 1, 5), 6: pads}
    return graph_of(operators, shapes, constants), kernel, bias, slopes


@pytest.mark.parametrize("free_size", [False, True])
def test_a_small_graph_agrees_with_numpy(*, free_size: bool) -> None:
    """Padding after an even size only, slopes beyond [0, 1], and rows in (h, w, c) order."""
    graph, kernel, bias, slopes = small_graph()
    image = pattern((1, 3, 6, 4)) / np.float32(255)
    ports = dataclasses.replace(PORTS, free_size=free_size)
    model = OnnxSession(convert_tflite_network(graph, ports))
    seen = model.run(["rows"], {"images": image})[0]

    padded = np.pad(image[0].transpose(1, 2, 0), ((0, 1), (0, 1), (0, 0)))
    wanted = np.zeros((3, 2, 6))
    for row, column in np.ndindex(3, 2):
        window = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        value = np.einsum("hwi,ohwi->o", window, kernel) + bias
        wanted[row, column, :5] = np.where(value > 0, value, slopes * value)
    np.testing.assert_allclose(seen[0], wanted.reshape(18, 2), atol=1e-5)


def test_an_odd_size_at_stride_2_cannot_be_free() -> None:
    """SAME pads an odd size on both sides, an even one after it: not one graph for both."""
    graph, *_ = small_graph()
    odd = dataclasses.replace(graph, shapes=((1, 7, 4, 3), *graph.shapes[1:]))
    with pytest.raises(ModelUnavailableError, match="padding would depend on the size"):
        convert_tflite_network(odd, dataclasses.replace(PORTS, free_size=True))


def test_an_unknown_operator_is_named() -> None:
    graph, *_ = small_graph()
    strange = dataclasses.replace(graph.operators[1], kind="HARD_SWISH")
    broken = dataclasses.replace(graph, operators=(graph.operators[0], strange))
    with pytest.raises(ModelUnavailableError, match="operator HARD_SWISH is not known"):
        convert_tflite_network(broken, PORTS)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x1c\0\0\0TFL2" + bytes(100)])
def test_other_bytes_are_no_graph(data: bytes) -> None:
    with pytest.raises(ModelUnavailableError, match="TFL3"):
        read_tflite_graph(data)


def interpret(data: bytes, image: Float32Array) -> list[Float32Array]:
    """Run LiteRT on an input of shape (1, 3, h, w); outputs in the file's order."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_content=data, num_threads=1)
    port = interpreter.get_input_details()[0]["index"]
    nhwc = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    interpreter.resize_tensor_input(port, nhwc.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(port, nhwc)
    interpreter.invoke()
    ports = interpreter.get_output_details()
    return [interpreter.get_tensor(output["index"]).copy() for output in ports]


def for_size(data: bytes, height: int, width: int, side: int = 256) -> bytes:
    """Change a detector file for ``side`` x ``side`` to another size.

    The row counts of its reshapes and, in the full form, the sizes it is scaled up to.
    """
    changed = bytearray(data)
    model = tflite.Model.GetRootAs(changed, 0)
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if operator.BuiltinOptionsType() == tflite.BuiltinOptions.ReshapeOptions:
            table, options = operator.BuiltinOptions(), tflite.ReshapeOptions()
            options.Init(table.Bytes, table.Pos)
            # Both are views of the file's own bytes.
            shapes = (options.NewShapeAsNumpy(), graph.Tensors(operator.Outputs(0)).ShapeAsNumpy())
            for shape in shapes:
                shape[1] = shape[1] * height * width // side**2
        if operator.BuiltinOptionsType() == tflite.BuiltinOptions.ResizeBilinearOptions:
            target = model.Buffers(graph.Tensors(operator.Inputs(1)).Buffer()).DataAsNumpy()
            sizes = target.view(np.int32)
            sizes[:] = sizes * (height, width) // side
    return bytes(changed)


def portrait(path: Path, height: int, width: int) -> Float32Array:
    """Return a photograph as (1, 3, height, width), RGB, 0-255."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return resized.transpose(2, 0, 1)[None].astype(np.float32)


def assert_same_detections(seen: Sequence[Float32Array], wanted: Sequence[Float32Array]) -> None:
    """Compare scores and boxes wherever a face is thinkable, that is, a raw score above -10.

    The bounds are twice what LiteRT's own two sets of kernels differ by on real pictures, 2.3e-4
    pixels and 5e-4 in the score. Elsewhere raw scores reach -36000, so only their order of
    magnitude is compared.
    """
    thinkable = wanted[1][0, :, 0] > -10
    assert thinkable.any()
    for ours, theirs, bound in zip(seen, wanted, (5e-4, 1e-3), strict=True):
        np.testing.assert_allclose(ours[:, thinkable], theirs[:, thinkable], atol=bound, rtol=0)
    np.testing.assert_allclose(seen[1], wanted[1], atol=1e-3, rtol=1e-3)


@pytest.mark.models
@pytest.mark.parametrize("size", [(256, 256), (192, 256), (256, 192), (160, 256), (32, 64)])
def test_the_detector_agrees_with_litert(size: tuple[int, int], weights: Path) -> None:
    """On made-up pictures of square and other shapes; the latter LiteRT was not built for."""
    source = (weights / "detector").read_bytes()
    data = for_size(source, *size)
    image = pattern((1, 3, *size)) / np.float32(127.5) - np.float32(1)
    session = OnnxSession(convert_weights("blazeface-back", source))
    seen = session.run(["boxes", "scores"], {"images": image})
    assert seen[0].shape == (1, size[0] * size[1] * 896 // 256**2, 16)
    assert_same_detections(seen, interpret(data, image))


@pytest.mark.models
@pytest.mark.demo_faces
@pytest.mark.parametrize("size", [(256, 256), (256, 192)])
def test_the_detector_agrees_with_litert_on_faces(
    size: tuple[int, int], weights: Path, demo_faces: dict[str, Path]
) -> None:
    source = (weights / "detector").read_bytes()
    data = for_size(source, *size)
    session = OnnxSession(convert_weights("blazeface-back", source))
    for path in demo_faces.values():
        image = portrait(path, *size) / np.float32(127.5) - np.float32(1)
        seen = session.run(["boxes", "scores"], {"images": image})
        assert_same_detections(seen, interpret(data, image))


@pytest.mark.models
@pytest.mark.demo_faces
@pytest.mark.parametrize(
    ("form", "sizes"), [("short", [(128, 128), (96, 128)]), ("full", [(192, 192), (160, 192)])]
)
def test_the_other_forms_agree_with_litert(
    form: str,
    sizes: Sequence[tuple[int, int]],
    weights: Path,
    demo_faces: dict[str, Path],
) -> None:
    """On a made-up picture and on faces, in the trained shape and in that of a frame."""
    source, side = (weights / form).read_bytes(), sizes[0][0]
    name: ConverterName = "blazeface-short" if form == "short" else "blazeface-full"
    session = OnnxSession(convert_weights(name, source))
    for size in sizes:
        data = for_size(source, *size, side)
        pictures = [
            pattern((1, 3, *size)),
            *(portrait(path, *size) for path in demo_faces.values()),
        ]
        for picture in pictures:
            image = picture / np.float32(127.5) - np.float32(1)
            seen = session.run(["boxes", "scores"], {"images": image})
            assert_same_detections(seen, interpret(data, image))


@pytest.mark.models
def test_a_resize_that_counts_otherwise_is_refused(weights: Path) -> None:
    """The full form, its flag ``half_pixel_centers`` taken away."""
    data = bytearray((weights / "full").read_bytes())
    graph = tflite.Model.GetRootAs(data, 0).Subgraphs(0)
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    kind = tflite.BuiltinOptions.ResizeBilinearOptions
    table = next(o.BuiltinOptions() for o in operators if o.BuiltinOptionsType() == kind)
    data[table.Pos + table.Offset(10)] = 0  # the flag's slot in the schema
    with pytest.raises(ModelUnavailableError, match="pixel centres"):
        read_tflite_graph(bytes(data))


def test_a_resize_is_to_twice_the_size() -> None:
    """Values between two pixels, counted from their centres; other factors are refused."""
    resize = Operator(kind="RESIZE_BILINEAR", inputs=(0, 1), output=2)
    rows = Operator(kind="RESHAPE", inputs=(2,), output=3)
    sizes = {1: np.array([2, 4], np.int32)}
    graph = graph_of([resize, rows], [(1, 1, 2, 3), (2,), (1, 2, 4, 3), (1, 8, 3)], sizes)
    image = np.array([0, 8], np.float32).reshape(1, 1, 1, 2).repeat(3, axis=1)
    model = OnnxSession(convert_tflite_network(graph, PORTS))
    (seen,) = model.run(["rows"], {"images": image})
    assert seen[0, :, 0].tolist() == [0, 2, 6, 8, 0, 2, 6, 8]
    threefold = dataclasses.replace(graph, shapes=((1, 1, 2, 3), (2,), (1, 3, 6, 3), (1, 18, 3)))
    with pytest.raises(ModelUnavailableError, match="a resize from"):
        convert_tflite_network(threefold, PORTS)


@pytest.mark.models
@pytest.mark.demo_faces
def test_the_mesh_agrees_with_litert(weights: Path, demo_faces: dict[str, Path]) -> None:
    """On noise and on photographs, alone and in a batch; the facts' worst was 2e-4 pixels."""
    data = (weights / "mesh").read_bytes()
    pictures = [pattern((1, 3, 192, 192))]
    pictures += [portrait(path, 192, 192) for path in demo_faces.values()]
    crops = np.concatenate(pictures) / np.float32(255)
    session = OnnxSession(convert_weights("facemesh", data))
    landmarks, flags = session.run(["landmarks", "face_flag"], {"crops": crops})
    for i, crop in enumerate(crops):
        wanted = interpret(data, crop[None])
        np.testing.assert_allclose(landmarks[i], wanted[0].ravel(), atol=5e-4, rtol=0)
        np.testing.assert_allclose(flags[i], wanted[1].ravel(), atol=1e-4, rtol=0)
