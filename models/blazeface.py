"""Finds faces: MediaPipe's BlazeFace in its three forms.

- *back* (input side 256): finds faces down to 20 px in a 640 px frame, the default;
- *full* (192): down to 50 px, at two thirds of the time;
- *short* (128): down to 80 px, at a fifth of the time; for a learner close to the camera.

(`python -m benchmarks.detectors`; the figures are in docs/packs.md.)

Its box reaches from the brows to the chin; its six points are the eyes, nose tip, mouth and
ears. Start with `BlazeFaceDetector.detect`; `models.face_search` has what all detectors share.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from models.face_search import average_same, find_faces, fit_to_grid
from models.network import Network
from verifier.arrays import Float32Array, Pixels
from verifier.detection import Detection

MIN_SCORE: Final = 0.5  # misses nobody in 125 photographs; the mesh flag removes false alarms
# Scores of black padding reach -36000, where exp overflows; nothing changes beyond 80.
MAX_LOGIT: Final = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlazeFaceForm:
    """What differs between the forms of the network.

    ``anchor_layers`` are the strides of the outputs in their order, with anchors per cell;
    layers of one stride share their cells. Both input sides are multiples of ``grid_px``.
    """

    input_side_px: int
    grid_px: int
    anchor_layers: tuple[tuple[int, int], ...]


# MediaPipe's layers 16, 32, 32, 32 (back) and 8, 16, 16, 16 (short) have two anchors each.
BACK: Final = BlazeFaceForm(input_side_px=256, grid_px=32, anchor_layers=((16, 2), (32, 6)))
SHORT: Final = BlazeFaceForm(input_side_px=128, grid_px=16, anchor_layers=((8, 2), (16, 6)))
# One anchor per cell of 4 px; the grid is that of its coarsest inner layer.
FULL: Final = BlazeFaceForm(input_side_px=192, grid_px=32, anchor_layers=((4, 1),))


class BlazeFaceDetector:
    """Finds faces with the network ``detector.onnx``; a `verifier.protocols.FaceDetector`."""

    def __init__(self, network: Network, form: BlazeFaceForm = BACK) -> None:
        self._network = network
        self._form = form

    def detect(self, pixels: Pixels) -> tuple[Detection, ...]:
        """Return the faces in canonical pixels, shape (height, width, 3), the surest first."""
        return find_faces(pixels, self._look, average_same, self._form.input_side_px)

    def _look(self, pixels: Pixels) -> Float32Array:
        """Return the candidates of one look at a picture."""
        images, step = network_input(pixels, self._form)
        boxes, scores = self._network.run(["boxes", "scores"], {"images": images})
        height, width = images.shape[2:]
        centres = anchors(width, height, self._form)
        candidates = decode(boxes[0], scores[0, :, 0], centres)
        # Anchors count from the edge of a picture, canonical pixels from their first centre.
        points = candidates[:, 1:].reshape(-1, 8, 2) * step - 0.5
        candidates[:, 1:] = points.reshape(-1, 16)
        return candidates


def network_input(pixels: Pixels, form: BlazeFaceForm = BACK) -> tuple[Float32Array, Float32Array]:
    """Lay a picture out as the network takes it.

    Returns
    -------
    tuple
        The images, shape (1, 3, h, w), -1 to 1, and how many picture pixels one input pixel
        spans along x and y, shape (2,).
    """
    small, step = fit_to_grid(pixels, form.input_side_px, form.grid_px)
    images = cv2.dnn.blobFromImage(small, 1 / 127.5, mean=(127.5, 127.5, 127.5))
    return np.asarray(images, dtype=np.float32), step


@lru_cache(maxsize=32)
def anchors(width: int, height: int, form: BlazeFaceForm = BACK) -> Float32Array:
    """Return the anchor centres, shape (a, 2), in input pixels, in the order of the outputs."""
    layers = []
    for stride, per_cell in form.anchor_layers:
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
