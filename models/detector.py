"""Finds faces: MediaPipe's BlazeFace in its back-camera form.

The network looks at a picture whose longer side is 256 pixels and answers with 896 anchors or
fewer. Frames keep their shape: 640x480 is seen as 256x192, not as a padded square, which saves
a quarter of the time. In photographs too large for that, where nobody was found at 256, parts
of the picture are searched as well. Start with `FaceDetector.detect`.

All coordinates are canonical pixels with pixel centres at whole numbers.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

import cv2
import numpy as np

from models.network import Network
from verifier.arrays import Float32Array, Pixels
from verifier.observation import Box

INPUT_SIDE_PX: Final = 256
GRID_PX: Final = 32  # the coarsest stride: both input sides are multiples of it

# Strides of the network's outputs in their order, with anchors per cell: MediaPipe's layers
# 16, 32, 32, 32 have two each, and layers of one stride share their cells.
ANCHOR_LAYERS: Final = ((16, 2), (32, 6))

MIN_SCORE: Final = 0.5  # misses nobody in 125 photographs; the mesh flag removes false alarms
# Scores of black padding reach -36000, where exp overflows; nothing changes beyond 80.
MAX_LOGIT: Final = 80.0
SAME_FACE_IOU: Final = 0.3

# A face 8 px wide at 256 is still found, which is 40 px in a picture of 1280. In larger ones
# a face fit for comparison could be missed, so parts of it are looked at one by one.
SEARCH_PARTS_ABOVE_PX: Final = 1280
MIN_PART_PX: Final = 768
MAX_PARTS_PER_SIDE: Final = 5
PART_OVERLAP: Final = 1 / 3  # so that a face cut by one part lies whole in the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One face as the detector sees it.

    ``keypoints_px`` has shape (6, 2): the eyes left and right in the picture, nose tip, mouth,
    the ears left and right in the picture. ``score`` is 0.5 to 1.
    """

    box_px: Box
    keypoints_px: Float32Array
    score: float


class FaceDetector:
    """Finds faces with the network ``detector.onnx``."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def detect(self, pixels: Pixels) -> tuple[Detection, ...]:
        """Return the faces in canonical pixels, shape (height, width, 3), the surest first."""
        candidates = self._search(pixels, 0, 0)
        height, width = pixels.shape[:2]
        if not len(candidates) and max(height, width) > SEARCH_PARTS_ABOVE_PX:
            parts = search_parts(width, height)
            found = [self._search(pixels[y : y + h, x : x + w], x, y) for x, y, w, h in parts]
            candidates = np.concatenate(found)
        return tuple(_as_detection(row) for row in merge(candidates))

    def _search(self, pixels: Pixels, left: int, top: int) -> Float32Array:
        """Return candidates (see `decode`) in one part whose corner lies at ``left, top``."""
        images, step = network_input(pixels)
        boxes, scores = self._network.run(["boxes", "scores"], {"images": images})
        height, width = images.shape[2:]
        candidates = decode(boxes[0], scores[0, :, 0], anchors(width, height))
        # Anchors count from the edge of a picture, canonical pixels from their first centre.
        points = candidates[:, 1:].reshape(-1, 8, 2) * step + (left - 0.5, top - 0.5)
        candidates[:, 1:] = points.reshape(-1, 16)
        return candidates


def network_input(pixels: Pixels) -> tuple[Float32Array, Float32Array]:
    """Shrink a picture to 256 on its longer side and pad it with black to the network's grid.

    Returns
    -------
    tuple
        The images, shape (1, 3, h, w), -1 to 1, and how many picture pixels one input pixel
        spans along x and y, shape (2,).
    """
    factor = max(1, max(pixels.shape[:2]) // INPUT_SIDE_PX)
    rows, columns = (min(factor, side) for side in pixels.shape[:2])
    height = pixels.shape[0] // rows * rows
    width = pixels.shape[1] // columns * columns
    # Averaged by whole numbers first: then nothing aliases, and it is five times faster than
    # averaging by 2.5. What it cuts off at the edge is less than one input pixel.
    small = cv2.resize(
        pixels[:height, :width], (width // columns, height // rows), interpolation=cv2.INTER_AREA
    )
    scale = INPUT_SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    below, beside = (-size[1]) % GRID_PX, (-size[0]) % GRID_PX
    if below or beside:
        small = cv2.copyMakeBorder(small, 0, below, 0, beside, cv2.BORDER_CONSTANT)
    images = cv2.dnn.blobFromImage(small, 1 / 127.5, mean=(127.5, 127.5, 127.5))
    step = np.array((width / size[0], height / size[1]), dtype=np.float32)
    return np.asarray(images, dtype=np.float32), step


@lru_cache(maxsize=32)
def anchors(width: int, height: int) -> Float32Array:
    """Return the anchor centres, shape (a, 2), in input pixels, in the order of the outputs."""
    layers = []
    for stride, per_cell in ANCHOR_LAYERS:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        centres = (np.stack((columns, rows), axis=-1).reshape(-1, 2) + 0.5) * stride
        layers.append(np.repeat(centres, per_cell, axis=0))
    centres_px: Float32Array = np.concatenate(layers).astype(np.float32)
    centres_px.flags.writeable = False  # shared by every caller
    return centres_px


def decode(boxes: Float32Array, logits: Float32Array, centres: Float32Array) -> Float32Array:
    """Turn the network's answer into candidates.

    Parameters
    ----------
    boxes
        Shape (a, 16): centre, size and six keypoints as x, y pairs in input pixels, all but
        the size relative to the anchor.
    logits
        Shape (a,).
    centres
        Anchor centres, shape (a, 2).

    Returns
    -------
    Float32Array
        One row per anchor of at least `MIN_SCORE`, shape (n, 17): score, left, top, right,
        bottom, six keypoints.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -MAX_LOGIT, MAX_LOGIT)))
    kept = scores >= MIN_SCORE
    pairs = boxes[kept].reshape(-1, 8, 2)
    centre, half = pairs[:, :1] + centres[kept, None], pairs[:, 1:2] / 2
    points = pairs[:, 2:] + centres[kept, None]
    corners = np.concatenate((centre - half, centre + half, points), axis=1).reshape(-1, 16)
    return np.concatenate((scores[kept, None], corners), axis=1)


def merge(candidates: Float32Array) -> Float32Array:
    """Average the candidates that mean the same face, weighted by their scores.

    MediaPipe's weighted non-maximum suppression: steadier from frame to frame than keeping
    only the best box. Rows as `decode` gives them; the score is the best of those merged.
    """
    rest = candidates[np.argsort(-candidates[:, 0], kind="stable")]
    merged = []
    while len(rest):
        same = _iou(rest[0, 1:5], rest[:, 1:5]) > SAME_FACE_IOU
        same[0] = True  # a box without area overlaps nothing, not even itself
        group = rest[same]
        weights = group[:, :1] / group[:, 0].sum()
        merged.append(np.concatenate((rest[0, :1], (group[:, 1:] * weights).sum(axis=0))))
        rest = rest[~same]
    return np.array(merged, dtype=np.float32).reshape(-1, 17)


def search_parts(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Return overlapping squares (left, top, width, height) that cover a large picture."""
    side = max(MIN_PART_PX, max(width, height) * 3 // (2 * MAX_PARTS_PER_SIDE))
    columns, rows = _starts(width, side), _starts(height, side)
    return [(x, y, min(side, width - x), min(side, height - y)) for y, x in product(rows, columns)]


def _starts(length: int, side: int) -> list[int]:
    """Return where along ``length`` parts of ``side`` start, overlapping by at least a third."""
    last = max(0, length - side)
    count = -(-last // int(side * (1 - PART_OVERLAP))) + 1
    return [round(start) for start in np.linspace(0, last, count)]


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
        keypoints_px=row[5:].reshape(6, 2),
        score=float(row[0]),
    )
