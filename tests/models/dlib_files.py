"""Writes small networks in dlib's serialisation, so that tests need no weights."""

import math
from collections.abc import Sequence

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
from verifier.arrays import Float32Array


def integer(value: int) -> bytes:
    """Encode an integer: control byte with sign and length, then little-endian bytes."""
    count = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([count | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(count, "little")


def real(value: float) -> bytes:
    """Encode a real number as mantissa, then exponent."""
    if math.isinf(value):
        return integer(0) + integer(32000 if value > 0 else 32001)
    mantissa, exponent = math.frexp(value)
    return integer(int(mantissa * 2**53)) + integer(exponent - 53)


def network_file(network: DlibNetwork) -> bytes:
    """Encode a network whose first layer is no mark."""
    versions = [1 if isinstance(layer, Mark) else 2 for layer in reversed(network.layers)]
    versions[-1] = 3
    head = [integer(1), _string("loss_metric_2"), real(0.04), real(network.distance_threshold)]
    size = [integer(side) for side in network.input_size]
    means = [real(float(mean)) for mean in network.means]
    source = [_string("input_rgb_image_sized"), *means, *size]
    bodies = [_body(layer, innermost=i == 0) for i, layer in enumerate(network.layers)]
    return b"".join([*head, *map(integer, versions), *source, *bodies])


def small_network(seed: int = 0) -> DlibNetwork:
    """Return a network with a stem, a plain block, a halving block and a dense top.

    On 13x13 pixels the halving block's convolution gives 1x1 where its pool gives 2x2.
    """
    random = np.random.default_rng(seed)

    def convolution(outputs: int, inputs: int, stride: int, padding: int) -> list[Layer]:
        kernel = random.normal(0, 0.3, (outputs, inputs, 3, 3)).astype(np.float32)
        bias, gamma, beta = random.normal(0, 0.5, (3, outputs)).astype(np.float32)
        strides, paddings = (stride, stride), (padding, padding)
        return [
            Convolution(kernel=kernel, bias=bias, stride=strides, padding=paddings),
            Affine(gamma=gamma + 1, beta=beta),
        ]

    def block(channels: int, inputs: int, stride: int) -> list[Layer]:
        first = convolution(channels, inputs, stride, 1 if stride == 1 else 0)
        return [Mark(), *first, Rectifier(), *convolution(channels, channels, 1, 1)]

    halving = Pool(kind="avg", window=(2, 2), stride=(2, 2), padding=(0, 0))
    everything = Pool(kind="avg", window=(0, 0), stride=(1, 1), padding=(0, 0))
    stem = Pool(kind="max", window=(3, 3), stride=(1, 1), padding=(0, 0))
    layers: list[Layer] = [
        *[*convolution(4, 3, 2, 0), Rectifier(), stem],
        *[*block(4, 4, 1), AddMarked(), Rectifier()],
        *[*block(6, 4, 2), Mark(), Mark(), halving, AddMarked(), Rectifier()],
        everything,
        Dense(weights=random.normal(0, 1, (6, 5)).astype(np.float32)),
    ]
    means = np.array([122.5, 117.0, 104.25], np.float32)
    return DlibNetwork(
        layers=tuple(layers), means=means, input_size=(13, 13), distance_threshold=0.6
    )


def _string(text: str) -> bytes:
    return integer(len(text)) + text.encode()


def _dimensions(shape: Sequence[int]) -> bytes:
    return b"".join(integer(side) for side in (*shape, *[1] * (4 - len(shape))))


def _tensor(values: Float32Array) -> bytes:
    return integer(2) + _dimensions(values.shape) + values.astype("<f4").tobytes()


def _alias(*shape: int) -> bytes:
    return integer(1) + _dimensions(shape)


def _integers(*values: int) -> bytes:
    return b"".join(map(integer, values))


def _pairs(*pairs: Pair) -> bytes:
    return b"".join(_integers(*pair) for pair in pairs)


def _body(layer: Layer, *, innermost: bool) -> bytes:
    if isinstance(layer, Mark):
        return b""
    empty = _tensor(np.zeros((0, 0, 0, 0), np.float32))
    return _details(layer) + b"101" + 3 * empty + (integer(1) if innermost else b"")


def _details(layer: Layer) -> bytes:
    match layer:
        case Convolution():
            return _convolution(layer)
        case Affine():
            channels = layer.gamma.size
            parameters = _tensor(np.concatenate([layer.gamma, layer.beta]))
            aliases = 2 * _alias(1, channels, 1, 1)
            return _string("affine_") + parameters + aliases + integer(0)
        case Pool():
            numbers = _pairs(layer.window, layer.stride, layer.padding)
            return _string(f"{layer.kind}_pool_2") + numbers
        case Dense():
            inputs, outputs = layer.weights.shape
            parameters = _tensor(layer.weights) + _alias(inputs, outputs) + _alias(0, 0, 0, 0)
            numbers = _integers(outputs, inputs)
            return _string("fc_2") + numbers + parameters + integer(1) + 4 * real(1.0)
        case Rectifier():
            return _string("relu_")
        case _:
            return _string("add_prev_")


def _convolution(layer: Convolution) -> bytes:
    filters, window = layer.kernel.shape[0], layer.kernel.shape[2:]
    parameters = _tensor(np.concatenate([layer.kernel.ravel(), layer.bias]))
    numbers = _integers(filters, *window) + _pairs(layer.stride, layer.padding)
    aliases = _alias(*layer.kernel.shape) + _alias(1, filters)
    return _string("con_4") + parameters + numbers + aliases + 4 * real(1.0)
