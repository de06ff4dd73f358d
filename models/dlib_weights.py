"""Reads dlib's serialisation of a metric network, without dlib.

The file is a stack of nested templates. It starts with the loss, then holds one version number
per layer (outermost first), the input layer, and the layer bodies from the innermost outwards.
The template types themselves are not stored: what a layer is follows from the name that its body
starts with, and a place in the stack without body is a mark (``tag`` or ``skip``).

Layout of the primitives, as dlib's ``serialize.h`` and ``tensor.h`` write them:

- integer: one control byte (bit 7 sign, low nibble count of bytes), then little-endian bytes;
- real: mantissa then exponent, both integers, worth ``mantissa * 2**exponent``;
- Boolean: the character ``0`` or ``1``; string: its length, then its bytes;
- tensor: integer 2, four dimensions, raw little-endian float32.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, TypeAlias

import numpy as np

from verifier.arrays import Float32Array
from verifier.errors import ModelUnavailableError

Pair: TypeAlias = tuple[int, int]
"""(vertical, horizontal), as everywhere in dlib."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convolution:
    """Cross-correlation with ``kernel`` (out, in, height, width) and ``bias`` (out,)."""

    kernel: Float32Array
    bias: Float32Array
    stride: Pair
    padding: Pair


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Affine:
    """``gamma * x + beta`` per channel, shapes (channels,): a frozen batch normalisation."""

    gamma: Float32Array
    beta: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectifier:
    """``max(x, 0)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Maximum or mean over ``window``; a window of (0, 0) covers the whole plane."""

    kind: Literal["max", "avg"]
    window: Pair
    stride: Pair
    padding: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMarked:
    """Adds the output of a marked layer below; which mark is a template argument, not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A ``tag`` or a ``skip``: both leave only their version number in the file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dense:
    """``x @ weights``, shape (in, out), without bias."""

    weights: Float32Array


Layer: TypeAlias = Convolution | Affine | Rectifier | Pool | AddMarked | Mark | Dense


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DlibNetwork:
    """A metric network: ``layers`` in order of execution, ``means`` per RGB channel."""

    layers: tuple[Layer, ...]
    means: Float32Array  # (3,), grey levels 0-255
    input_size: Pair  # pixels
    distance_threshold: float  # the loss was trained to part identities at this L2 distance


def read_dlib_network(data: bytes) -> DlibNetwork:
    """Read a whole ``.dat`` file.

    Raises
    ------
    ModelUnavailableError
        If the bytes end early, go on after the network, or hold a layer this reader does not
        know; the message names the byte offset.
    """
    reader = _Reader(data)
    threshold = _read_loss(reader)
    versions = _read_versions(reader)
    means, size = _read_input(reader)
    layers = tuple(_read_layer(reader, version) for version in reversed(versions))
    if reader.offset != len(data):
        reader.fail(f"the network ends here, but the file has {len(data)} bytes")
    return DlibNetwork(layers=layers, means=means, input_size=size, distance_threshold=threshold)


# How a place in the stack is written: `add_tag_layer` and `add_skip_layer`, `add_layer`, and the
# one `add_layer` that sits directly on the input.
_MARK, _LAYER, _INNERMOST = 1, 2, 3

# A guard against nonsense only; the network of this pack has 130.
_MOST_LAYERS = 10_000


def _read_loss(reader: "_Reader") -> float:
    reader.expect_integer(1, "version of the loss layer")
    reader.expect_string("loss_metric_2")
    reader.real()  # the margin matters to training only
    return reader.real()


def _read_versions(reader: "_Reader") -> list[int]:
    versions: list[int] = []
    while not versions or versions[-1] != _INNERMOST:
        version = reader.integer()
        if version not in {_MARK, _LAYER, _INNERMOST} or len(versions) == _MOST_LAYERS:
            reader.fail(f"layer version {version} at depth {len(versions)}, wanted 1, 2 or 3")
        versions.append(version)
    return versions


def _read_input(reader: "_Reader") -> tuple[Float32Array, Pair]:
    reader.expect_string("input_rgb_image_sized")
    means = np.array([reader.real() for _ in range(3)], np.float32)
    return means, reader.pair()


def _read_layer(reader: "_Reader", version: int) -> Layer:
    if version == _MARK:
        return Mark()
    layer = _read_details(reader)
    for _ in range(3):  # set-up and staleness flags of training
        reader.boolean()
    # Gradients, cached output, gradients of the parameters: empty in a cleaned network.
    for _ in range(3):
        reader.tensor()
    if version == _INNERMOST:
        reader.integer()  # sample expansion factor
    return layer


def _read_details(reader: "_Reader") -> Layer:
    name = reader.string()
    if name not in _DETAILS:
        reader.fail(f"layer {name[:40]!r} is not one this reader knows")
    return _DETAILS[name](reader)


def _read_convolution(reader: "_Reader") -> Convolution:
    parameters = reader.tensor().ravel()
    filters = reader.integer()
    window, stride, padding = reader.pair(), reader.pair(), reader.pair()
    shape = reader.alias()
    reader.alias()  # of the biases: one per filter
    for _ in range(4):  # learning-rate and weight-decay multipliers
        reader.real()
    weights = int(np.prod(shape))
    if shape[0] != filters or shape[2:] != window or parameters.size != weights + filters:
        reader.fail(
            f"convolution of {filters} filters {window} has shape {shape} "
            f"and {parameters.size} parameters"
        )
    kernel, bias = parameters[:weights].reshape(shape), parameters[weights:]
    return Convolution(kernel=kernel, bias=bias, stride=stride, padding=padding)


def _read_affine(reader: "_Reader") -> Affine:
    parameters = reader.tensor().ravel()
    channels = reader.alias()[1]
    reader.alias()  # of beta: the same shape
    if reader.integer() != 0:
        reader.fail("an affine layer works per value, wanted per channel")
    if parameters.size != 2 * channels:
        reader.fail(f"affine layer of {channels} channels has {parameters.size} parameters")
    return Affine(gamma=parameters[:channels], beta=parameters[channels:])


def _read_pool(reader: "_Reader", kind: Literal["max", "avg"]) -> Pool:
    return Pool(kind=kind, window=reader.pair(), stride=reader.pair(), padding=reader.pair())


def _read_dense(reader: "_Reader") -> Dense:
    outputs, inputs = reader.integer(), reader.integer()
    parameters = reader.tensor().ravel()
    reader.alias()  # of the weights
    reader.alias()  # of the bias
    if reader.integer() != 1:
        reader.fail("a dense layer has a bias, wanted none")
    for _ in range(4):  # learning-rate and weight-decay multipliers
        reader.real()
    if parameters.size != inputs * outputs:
        reader.fail(f"dense layer {inputs}x{outputs} has {parameters.size} parameters")
    return Dense(weights=parameters.reshape(inputs, outputs))


_DETAILS: Final[Mapping[str, Callable[["_Reader"], Layer]]] = {
    "con_4": _read_convolution,
    "affine_": _read_affine,
    "relu_": lambda _: Rectifier(),
    "max_pool_2": lambda reader: _read_pool(reader, "max"),
    "avg_pool_2": lambda reader: _read_pool(reader, "avg"),
    "add_prev_": lambda _: AddMarked(),
    "fc_2": _read_dense,
}

# dlib writes what is not finite as an exponent no real number has.
_NOT_FINITE = {32000: float("inf"), 32001: float("-inf"), 32002: float("nan")}


class _Reader:
    """dlib's primitives, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def fail(self, problem: str) -> NoReturn:
        raise ModelUnavailableError(f"dlib network, byte {self.offset}: {problem}")

    def take(self, count: int) -> bytes:
        left = len(self._data) - self.offset
        if count > left:
            self.fail(f"wanted {count} more bytes, the file has {left}")
        self.offset += count
        return self._data[self.offset - count : self.offset]

    def integer(self) -> int:
        control = self.take(1)[0]
        count = control & 0x0F
        if not 1 <= count <= 8:
            self.fail(f"an integer of {count} bytes, wanted 1 to 8")
        magnitude = int.from_bytes(self.take(count), "little")
        return -magnitude if control & 0x80 else magnitude

    def real(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if exponent in _NOT_FINITE:
            return _NOT_FINITE[exponent]
        if exponent > 900:  # a mantissa has at most 64 bits, so ldexp below cannot overflow
            self.fail(f"a real number with exponent {exponent}")
        return math.ldexp(mantissa, exponent)

    def boolean(self) -> bool:
        character = self.take(1)
        if character not in {b"0", b"1"}:
            self.fail(f"a Boolean of {character!r}, wanted b'0' or b'1'")
        return character == b"1"

    def string(self) -> str:
        length = self.integer()
        if not 0 <= length <= 1000:
            self.fail(f"a name of {length} bytes, wanted 0 to 1000")
        return self.take(length).decode("ascii", "replace")

    def pair(self) -> Pair:
        return self.integer(), self.integer()

    def _dimensions(self) -> tuple[int, int, int, int]:
        samples, channels, rows, columns = (self.integer() for _ in range(4))
        shape = (samples, channels, rows, columns)
        # With only some of them zero the others could say anything: no bytes would be missed.
        if min(shape) < 0 or (0 in shape and any(shape)):
            self.fail(f"a tensor of shape {shape}")
        return samples, channels, rows, columns

    def tensor(self) -> Float32Array:
        self.expect_integer(2, "version of a tensor")
        shape = self._dimensions()
        values = np.frombuffer(self.take(4 * int(np.prod(shape, dtype=object))), "<f4")
        return values.reshape(shape).astype(np.float32)

    def alias(self) -> tuple[int, int, int, int]:
        self.expect_integer(1, "version of a tensor alias")
        return self._dimensions()

    def expect_integer(self, wanted: int, what: str) -> None:
        seen = self.integer()
        if seen != wanted:
            self.fail(f"{what} is {seen}, wanted {wanted}")

    def expect_string(self, wanted: str) -> None:
        seen = self.string()
        if seen != wanted:
            self.fail(f"found {seen[:40]!r}, wanted {wanted!r}")
