"""What detectors share: fitting a picture to a network, searching large ones, and merging.

A detector looks at a picture whose longer side is a few hundred pixels, so in a large photograph
it could miss a face that is fit for comparison. Where nobody was found in such a picture its
parts are searched as well. Start with `find_faces`.

*Candidates* are rows, shape (n, 5 + 2k): score, left, top, right, bottom, k points as x, y.
All coordinates are canonical pixels with pixel centres at whole numbers.
"""

from collections.abc import Callable
from itertools import product
from typing import Final, TypeAlias

import cv2
import numpy as np

from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection
from verifier.observation import Box

SAME_FACE_IOU: Final = 0.3

# In picture pixels per input pixel. At 5 a face 8 input pixels wide, which BlazeFace back still
# finds, is 40 px wide; beyond that a face fit for comparison could be missed.
SEARCH_PARTS_ABOVE: Final = 5
MIN_PART: Final = 3
MAX_PARTS_PER_SIDE: Final = 5
PART_OVERLAP: Final = 1 / 3  # so that a face cut by one part lies whole in the next

Look: TypeAlias = Callable[[Pixels], Float32Array]
"""Returns the candidates of one look at a picture."""

Merge: TypeAlias = Callable[[Float32Array], Float32Array]
"""Leaves one candidate per face, the surest first."""


def find_faces(
    pixels: Pixels, look: Look, merge: Merge, input_side_px: int
) -> tuple[Detection, ...]:
    """Look at the whole picture and, where nobody is found in a large one, at its parts.

    Parameters
    ----------
    pixels
        Canonical pixels, shape (height, width, 3).
    input_side_px
        Longer side of what the network looks at.
    """
    candidates = look(pixels)
    height, width = pixels.shape[:2]
    if not len(candidates) and max(height, width) > SEARCH_PARTS_ABOVE * input_side_px:
        parts = search_parts(width, height, MIN_PART * input_side_px)
        found = [_moved(look(pixels[y : y + h, x : x + w]), x, y) for x, y, w, h in parts]
        candidates = np.concatenate(found)
    return tuple(_as_detection(row) for row in merge(candidates))


def fit_to_grid(pixels: Pixels, side_px: int, grid_px: int) -> tuple[Pixels, Float32Array]:
    """Scale a picture to ``side_px`` on its longer side and pad it with black to the grid.

    Frames keep their shape: 640x480 is seen as 256x192, not as a padded square, which saves a
    quarter of the time.

    Returns
    -------
    tuple
        The picture, both sides multiples of ``grid_px``, and how many picture pixels one of its
        pixels spans along x and y, shape (2,).
    """
    factor = max(1, max(pixels.shape[:2]) // side_px)
    rows, columns = (min(factor, side) for side in pixels.shape[:2])
    height = pixels.shape[0] // rows * rows
    width = pixels.shape[1] // columns * columns
    # Averaged by whole numbers first: then nothing aliases, and it is five times faster than
    # averaging by 2.5. What it cuts off at the edge is less than one input pixel.
    small = cv2.resize(
        pixels[:height, :width], (width // columns, height // rows), interpolation=cv2.INTER_AREA
    )
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    below, beside = (-size[1]) % grid_px, (-size[0]) % grid_px
    if below or beside:
        small = cv2.copyMakeBorder(small, 0, below, 0, beside, cv2.BORDER_CONSTANT)
    step = np.array((width / size[0], height / size[1]), dtype=np.float32)
    return np.asarray(small, dtype=np.uint8), step


def average_same(candidates: Float32Array) -> Float32Array:
    """Average the candidates that mean the same face, weighted by their scores.

    MediaPipe's weighted non-maximum suppression: steadier from frame to frame than keeping
    only the best box. The score is the best of those merged.
    """
    rest = candidates[np.argsort(-candidates[:, 0], kind="stable")]
    merged = []
    while len(rest):
        same = _same_face(rest)
        group = rest[same]
        weights = group[:, :1] / group[:, 0].sum()
        merged.append(np.concatenate((rest[0, :1], (group[:, 1:] * weights).sum(axis=0))))
        rest = rest[~same]
    return np.array(merged, dtype=np.float32).reshape(-1, candidates.shape[1])


def keep_surest(candidates: Float32Array) -> Float32Array:
    """Keep the surest candidate of each face: plain non-maximum suppression."""
    rest = candidates[np.argsort(-candidates[:, 0], kind="stable")]
    kept = []
    while len(rest):
        kept.append(rest[0])
        rest = rest[~_same_face(rest)]
    return np.array(kept, dtype=np.float32).reshape(-1, candidates.shape[1])


def search_parts(width: int, height: int, min_side_px: int) -> list[tuple[int, int, int, int]]:
    """Return overlapping squares (left, top, width, height) that cover a large picture."""
    side = max(min_side_px, max(width, height) * 3 // (2 * MAX_PARTS_PER_SIDE))
    columns, rows = _starts(width, side), _starts(height, side)
    return [(x, y, min(side, width - x), min(side, height - y)) for y, x in product(rows, columns)]


def _starts(length: int, side: int) -> list[int]:
    """Return where along ``length`` parts of ``side`` start, overlapping by at least a third."""
    last = max(0, length - side)
    count = -(-last // int(side * (1 - PART_OVERLAP))) + 1
    return [round(start) for start in np.linspace(0, last, count)]


def _moved(candidates: Float32Array, left: int, top: int) -> Float32Array:
    """Return the candidates of a part in the picture, where its corner lies at ``left, top``."""
    moved = candidates.copy()
    moved[:, 1::2] += left
    moved[:, 2::2] += top
    return moved


def _same_face(candidates: Float32Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which candidates mean the same face as the first, shape (n,)."""
    same: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        _iou(candidates[0, 1:5], candidates[:, 1:5]) > SAME_FACE_IOU
    )
    same[0] = True  # a box without area overlaps nothing, not even itself
    return same


def _iou(box: Float32Array, boxes: Float32Array) -> Float32Array:
    """Return the overlap, 0 to 1, of one box with each of (n, 4); corners, not sizes."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    total = np.prod(box[2:] - box[:2]) + areas - shared
    overlap: Float32Array = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return overlap


def _as_detection(row: Float32Array) -> Detection:
    """Return one merged candidate as a value."""
    left, top, right, bottom = (float(edge) for edge in row[1:5])
    return Detection(
        box_px=Box(x=left, y=top, w=right - left, h=bottom - top),
        keypoints_px=row[5:].reshape(-1, 2),
        score=float(row[0]),
    )
