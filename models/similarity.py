"""Similarities of the plane, turned and scaled and moved, as complex numbers: ``q = a * p + b``."""

import numpy as np
from numpy.typing import NDArray

from verifier.arrays import FloatArray


def as_complex(points: FloatArray) -> NDArray[np.complex128]:
    """Return points, shape (..., 2), as x + iy, shape (...)."""
    return np.asarray(points[..., 0] + 1j * points[..., 1], np.complex128)


def fit_similarity(
    points: FloatArray, onto: FloatArray, *, least_spread: float = 0.0
) -> tuple[complex, complex]:
    """Return (a, b) of the least-squares similarity that lays points on others, both (n, 2).

    ``least_spread`` is the smallest sum of squared distances from the mean that ``points`` are
    taken to have: in one spot they have no size, and a division by it no result.
    """
    start, goal = as_complex(points), as_complex(onto)
    spread = start - start.mean()
    a = np.vdot(spread, goal - goal.mean()) / max(np.vdot(spread, spread).real, least_spread)
    return complex(a), complex(goal.mean() - a * start.mean())
