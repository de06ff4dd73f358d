"""Asks a freshly converted network a question whose answer is known.

A digest proves that the weights are the pinned ones. This proves that the conversion and the
ONNX Runtime at hand turn them into the numbers that the reference implementation gave.
"""

import math
from typing import Final, Protocol

import numpy as np

from models.packs import SelfTest
from models.sessions import OnnxSession
from verifier.arrays import Float32Array
from verifier.errors import ModelUnavailableError

# Knuth's multiplier for hashing, floor(2**32 / golden ratio): its multiples look like noise.
_MULTIPLIER: Final = 2654435761


class SelfTester(Protocol):
    """Checks a converted network."""

    def __call__(self, role: str, model: bytes, test: SelfTest) -> None:
        """Raise `ModelUnavailableError` if the network gives other numbers than expected."""
        ...


def pattern(shape: tuple[int, ...]) -> Float32Array:
    """Return whole numbers 0 to 255 of this shape: integer arithmetic, the same everywhere."""
    positions = np.arange(math.prod(shape), dtype=np.uint64)
    noise = (positions * np.uint64(_MULTIPLIER) % np.uint64(1 << 32)) >> np.uint64(24)
    return noise.reshape(shape).astype(np.float32)


def question(test: SelfTest) -> Float32Array:
    """Return the input of a self-test."""
    values: Float32Array = pattern(test.shape) / np.float32(test.divisor) + np.float32(test.offset)
    return values


def sample(output: Float32Array, count: int) -> Float32Array:
    """Return ``count`` values evenly spaced over a flattened output."""
    flat = output.ravel()
    return flat[np.arange(count) * flat.size // count]


def run_self_test(role: str, model: bytes, test: SelfTest) -> None:
    """Run a network on the pattern and compare.

    Raises
    ------
    ModelUnavailableError
        If it does not run, or an output is further from the expected numbers than the
        tolerance, or not finite.
    """
    names = list(test.expected)
    outputs = OnnxSession(model).run(names, {test.input: question(test)})
    for name, output in zip(names, outputs, strict=True):
        wanted = np.array(test.expected[name], dtype=np.float32)
        if not np.isfinite(output).all():
            raise ModelUnavailableError(f"{role}: self-test output {name!r} is not finite")
        if wanted.size == 0:  # nobody ran the reference: that it runs is all that is known
            continue
        off = float(np.abs(sample(output, wanted.size) - wanted).max())
        if not off <= test.tolerance:  # written so that NaN fails
            raise ModelUnavailableError(
                f"{role}: self-test output {name!r} is off by {off:.2g}, "
                f"wanted at most {test.tolerance:g}"
            )
