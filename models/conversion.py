"""From the bytes of a weights file to an ONNX file, by the name of the converter."""

from dataclasses import replace
from typing import Final, Literal, Protocol, assert_never

from models.dlib_network import convert_dlib_network
from models.dlib_weights import read_dlib_network
from models.minifasnet import convert_minifasnet
from models.published_onnx import convert_sface, convert_yunet
from models.tflite_graph import read_tflite_graph
from models.tflite_network import NetworkPorts, convert_tflite_network

# Part of every contract: raise it when converted networks give other numbers than before.
CONVERTER_VERSION: Final = 1

ConverterName = Literal[
    "dlib-resnet",
    "blazeface-back",
    "blazeface-short",
    "blazeface-full",
    "facemesh",
    "yunet",
    "sface",
    "minifasnet",
]

_BLAZEFACE: Final = NetworkPorts(
    name="blazeface", input="images", outputs=("boxes", "scores"), free_size=True
)
_FACEMESH: Final = NetworkPorts(
    name="facemesh", input="crops", outputs=("landmarks", "face_flag"), free_size=False
)


class Converter(Protocol):
    """Turns weights into an ONNX file."""

    def __call__(self, name: ConverterName, weights: bytes) -> bytes:
        """Return the ONNX file; the same weights always give the same bytes."""
        ...


def convert_weights(name: ConverterName, weights: bytes) -> bytes:
    """Convert one network; see the converters for inputs and outputs.

    Raises
    ------
    ModelUnavailableError
        If the bytes are not a network that the converter knows.
    """
    match name:
        case "dlib-resnet":
            return convert_dlib_network(read_dlib_network(weights))
        case "blazeface-back" | "blazeface-short" | "blazeface-full":
            return convert_tflite_network(
                read_tflite_graph(weights), replace(_BLAZEFACE, name=name)
            )
        case "facemesh":
            return convert_tflite_network(read_tflite_graph(weights), _FACEMESH)
        case "yunet":
            return convert_yunet(weights)
        case "sface":
            return convert_sface(weights)
        case "minifasnet":
            return convert_minifasnet(weights)
        case _:
            assert_never(name)
