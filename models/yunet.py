"""Finds faces: OpenCV Zoo's YuNet, whose five points are those SFace is aligned by.

The network answers at strides 8, 16 and 32 with one anchor per cell, at the cell's upper left
corner. Decoded here rather than by `cv2.FaceDetectorYN`, which holds one size of picture at a
time and cannot be shared by threads. Its box reaches from the forehead to the chin. Start with
`YunetDetector.detect`.
"""

from typing import Final

import cv2
import numpy as np

from models.face_search import find_faces, fit_to_grid, keep_surest
from models.network import Network
from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection

# Faces of 10 to 300 px are found. At 320 that holds for a learner near the camera, whose face
# at 640 could be larger, and down to 40 px of a 640 px frame, at a third of the time.
INPUT_SIDE_PX: Final = 320
STRIDES: Final = (8, 16, 32)
GRID_PX: Final = 32
POINTS: Final = 5

# Lower than the 0.9 that OpenCV proposes, which misses turned faces; of 50 photographs the surest
# face had at least 0.92. The mesh flag removes false alarms, as behind BlazeFace.
MIN_SCORE: Final = 0.6

OUTPUTS: Final = tuple(f"{kind}_{s}" for kind in ("cls", "obj", "bbox", "kps") for s in STRIDES)


class YunetDetector:
    """Finds faces with the network ``detector.onnx``; a `verifier.protocols.FaceDetector`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def detect(self, pixels: Pixels) -> tuple[Detection, ...]:
        """Return the faces in canonical pixels, shape (height, width, 3), the surest first."""
        return find_faces(pixels, self._look, keep_surest, INPUT_SIDE_PX)

    def _look(self, pixels: Pixels) -> Float32Array:
        """Return the candidates of one look at a picture."""
        images, step = network_input(pixels)
        outputs = self._network.run(OUTPUTS, {"images": images})
        candidates = decode(dict(zip(OUTPUTS, outputs, strict=True)), images.shape[3])
        points = (candidates[:, 1:].reshape(-1, 2 + POINTS, 2) + 0.5) * step - 0.5
        candidates[:, 1:] = points.reshape(-1, 2 * (2 + POINTS))
        return candidates


def network_input(pixels: Pixels) -> tuple[Float32Array, Float32Array]:
    """Return images, shape (1, 3, h, w), BGR, 0 to 255, and the step of `fit_to_grid`."""
    small, step = fit_to_grid(pixels, INPUT_SIDE_PX, GRID_PX)
    return np.asarray(cv2.dnn.blobFromImage(small, swapRB=True), dtype=np.float32), step


def decode(outputs: dict[str, Float32Array], width: int) -> Float32Array:
    """Turn the network's answer to one image into candidates.

    Parameters
    ----------
    outputs
        By name, for each stride s: ``cls_s`` and ``obj_s``, shape (1, a, 1), 0 to 1; ``bbox_s``,
        shape (1, a, 4), centre and logarithm of the size; ``kps_s``, shape (1, a, 10); all in
        cells, relative to the anchor.
    width
        Of the image, in pixels: how many cells a row has.

    Returns
    -------
    Float32Array
        One row per anchor of at least `MIN_SCORE`, shape (n, 15): score, left, top, right,
        bottom, five points; in the image's pixels.
    """
    return np.concatenate([_decode_stride(outputs, stride, width) for stride in STRIDES])


def _decode_stride(outputs: dict[str, Float32Array], stride: int, width: int) -> Float32Array:
    classes, objects = (outputs[f"{kind}_{stride}"][0, :, 0] for kind in ("cls", "obj"))
    scores = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))
    (kept,) = np.nonzero(scores >= MIN_SCORE)
    cells = np.stack((kept % (width // stride), kept // (width // stride)), axis=1)[:, None]
    boxes = outputs[f"bbox_{stride}"][0, kept].reshape(-1, 2, 2)
    # Clipped, because exp of a wild logit is infinite, and an infinite box has no overlap.
    half = np.exp(np.clip(boxes[:, 1:], -10, 10)) / 2
    centre = boxes[:, :1] + cells
    points = outputs[f"kps_{stride}"][0, kept].reshape(-1, POINTS, 2) + cells
    pairs = np.concatenate((centre - half, centre + half, points), axis=1) * stride
    rows = np.concatenate((scores[kept, None], pairs.reshape(-1, 2 * (2 + POINTS))), axis=1)
    return np.asarray(rows, dtype=np.float32)
