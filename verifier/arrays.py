"""The array types the core speaks in."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
"""Double precision: arithmetic on evidence."""

Float32Array: TypeAlias = NDArray[np.float32]
"""Single precision: what networks take and give."""

Flags: TypeAlias = NDArray[np.bool_]
"""One yes or no for each of several things."""

IndexArray: TypeAlias = NDArray[np.int32]
"""Numbers of things in a list, where there may be millions of them."""

Pixels: TypeAlias = NDArray[np.uint8]
"""Canonical pixels, shape (height, width, 3), RGB, upright (EXIF orientation already applied)."""
