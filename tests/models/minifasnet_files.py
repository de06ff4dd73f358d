"""MiniFASNet once more, in plain numpy as its authors draw it, and small made-up weights for it.

Nothing is folded here and everything is in double precision, so that what is compared with it
cannot share its mistakes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from verifier.arrays import Float32Array, FloatArray

Tensors = Mapping[str, NDArray[Any]]


def reference_logits(tensors: Tensors, crop: Float32Array) -> FloatArray:
    """Return the three logits for one crop, shape (3, 80, 80)."""
    t = {name.removeprefix("module."): v.astype(np.float64) for name, v in tensors.items()}
    x = activated(t, "conv1", crop.astype(np.float64), stride=2)
    x = activated(t, "conv2_dw", x)
    for halving, stage, count in (("23", "3", 4), ("34", "4", 6), ("45", "5", 2)):
        x = block(t, f"conv_{halving}", x, stride=2)
        for index in range(count):
            prefix = f"conv_{stage}.model.{index}"
            inner = block(t, prefix, x)
            if f"{prefix}.se_module.fc1.weight" in t:
                inner = inner * gate(t, f"{prefix}.se_module", inner)
            x = x + inner
    x = activated(t, "conv_6_sep", x)
    x = normalised(t, "conv_6_dw.bn", convolved(t["conv_6_dw.conv.weight"], x, padding=0))
    x = normalised(t, "bn", t["linear.weight"] @ x.ravel())
    return np.asarray(t["prob.weight"] @ x)


def block(t: Tensors, name: str, x: FloatArray, stride: int = 1) -> FloatArray:
    x = activated(t, f"{name}.conv", x)
    x = activated(t, f"{name}.conv_dw", x, stride=stride)
    return normalised(t, f"{name}.project.bn", convolved(t[f"{name}.project.conv.weight"], x))


def gate(t: Tensors, name: str, x: FloatArray) -> FloatArray:
    x = x.mean(axis=(1, 2), keepdims=True)
    x = np.maximum(normalised(t, f"{name}.bn1", convolved(t[f"{name}.fc1.weight"], x)), 0)
    x = normalised(t, f"{name}.bn2", convolved(t[f"{name}.fc2.weight"], x))
    return np.asarray(1 / (1 + np.exp(-x)))


def activated(t: Tensors, name: str, x: FloatArray, stride: int = 1) -> FloatArray:
    x = normalised(t, f"{name}.bn", convolved(t[f"{name}.conv.weight"], x, stride))
    return np.where(x > 0, x, x * t[f"{name}.prelu.weight"][:, None, None])


def normalised(t: Tensors, name: str, x: FloatArray) -> FloatArray:
    gamma, beta, mean, variance = (
        t[f"{name}.{part}"].reshape(-1, *[1] * (x.ndim - 1))
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return np.asarray((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta)


def convolved(
    kernel: FloatArray, x: FloatArray, stride: int = 1, padding: int | None = None
) -> FloatArray:
    size = kernel.shape[2]
    around = size // 2 if padding is None else padding
    x = np.pad(x, ((0, 0), (around, around), (around, around)))
    windows = sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    if kernel.shape[1] == 1 and x.shape[0] > 1:
        return np.asarray(np.einsum("ohwij,oij->ohw", windows, kernel[:, 0]))
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, kernel))


def made_up_tensors(*, excited: bool, seed: int = 7) -> dict[str, NDArray[Any]]:
    """Return random weights of a narrow MiniFASNet, V1SE where ``excited``."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = {}

    def add(name: str, *shape: int) -> None:
        spread = 1 / np.sqrt(np.prod(shape[1:]))
        tensors[f"module.{name}"] = generator.normal(0, spread, shape).astype(np.float32)

    def normalisation(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean"):
            add(f"{name}.{part}", channels)
        variance = generator.uniform(0.5, 2.0, channels).astype(np.float32)
        tensors[f"module.{name}.running_var"] = variance
        tensors[f"module.{name}.num_batches_tracked"] = np.array(3, np.int64)

    def convolution(name: str, outputs: int, inputs: int, size: int, *, bent: bool = True) -> None:
        add(f"{name}.conv.weight", outputs, inputs, size, size)
        normalisation(f"{name}.bn", outputs)
        if bent:
            add(f"{name}.prelu.weight", outputs)

    def bottleneck(name: str, inputs: int, middle: int, outputs: int) -> None:
        convolution(f"{name}.conv", middle, inputs, 1)
        convolution(f"{name}.conv_dw", middle, 1, 3)
        convolution(f"{name}.project", outputs, middle, 1, bent=False)

    convolution("conv1", 4, 3, 3)
    convolution("conv2_dw", 4, 1, 3)
    width = 4
    for halving, stage, count, wider in (("23", "3", 4, 6), ("34", "4", 6, 8), ("45", "5", 2, 8)):
        bottleneck(f"conv_{halving}", width, 7, wider)
        width = wider
        for index in range(count):
            bottleneck(f"conv_{stage}.model.{index}", width, 3 + index, width)
        if excited:
            module = f"conv_{stage}.model.{count - 1}.se_module"
            add(f"{module}.fc1.weight", 2, width, 1, 1)
            normalisation(f"{module}.bn1", 2)
            add(f"{module}.fc2.weight", width, 2, 1, 1)
            normalisation(f"{module}.bn2", width)
    convolution("conv_6_sep", 16, width, 1)
    convolution("conv_6_dw", 16, 1, 5, bent=False)
    add("linear.weight", 5, 16)
    normalisation("bn", 5)
    add("prob.weight", 3, 5)
    return tensors
