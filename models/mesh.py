"""Lays MediaPipe's FaceMesh, 468 points in three dimensions, over detected faces.

A square around the face, turned so that the eyes are level, is cut out at 192 x 192; the
network answers in that crop's pixels. Start with `FaceMesher.fit`. All coordinates outside
this module are canonical pixels with pixel centres at whole numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from models.network import Network
from verifier.arrays import Float32Array, FloatArray, Pixels
from verifier.detection import Detection

CROP_SIDE_PX: Final = 192
MESH_POINTS: Final = 468
# A picture shrunk more than this by bilinear sampling alone would alias.
MAX_SAMPLING_STEP: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRegion:
    """A turned square in the picture; ``angle_rad`` > 0 is clockwise as seen."""

    x: float
    y: float
    side_px: float
    angle_rad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMesh:
    """One fitted mesh.

    ``points_px`` has shape (468, 3): canonical pixels, z in the same unit and smaller nearer
    the camera. ``score`` is the network's own probability, 0 to 1, that it sees a face.
    """

    points_px: Float32Array
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRule:
    """How large a square to cut around a detector's box, and where.

    The network was trained on squares half as large again as BlazeFace's box, brows to chin.
    Other detectors draw other boxes, so their squares are measured to lie where those would.
    """

    per_box: float = 1.5  # side of the square per longer side of the box
    down: float = 0.0  # how far its middle lies towards the chin, per longer side of the box


BLAZEFACE_REGION: Final = RegionRule()


class FaceMesher:
    """Fits meshes with the network ``mesh.onnx``."""

    def __init__(self, network: Network, rule: RegionRule = BLAZEFACE_REGION) -> None:
        self._network = network
        self.rule = rule

    def fit(self, pixels: Pixels, detections: Sequence[Detection]) -> tuple[FaceMesh, ...]:
        """Return one mesh per detection, in their order, all in one batch."""
        if not detections:
            return ()
        regions = [region_of(detection, self.rule) for detection in detections]
        crops = [cut(pixels, region) for region in regions]
        inputs = np.asarray(cv2.dnn.blobFromImages(crops, 1 / 255), dtype=np.float32)
        landmarks, flags = self._network.run(["landmarks", "face_flag"], {"crops": inputs})
        scores = 1 / (1 + np.exp(-np.clip(flags[:, 0], -80, 80)))
        meshes = [
            to_picture(points.reshape(MESH_POINTS, 3), region)
            for points, region in zip(landmarks, regions, strict=True)
        ]
        return tuple(
            FaceMesh(points_px=mesh, score=float(score))
            for mesh, score in zip(meshes, scores, strict=True)
        )


def region_of(detection: Detection, rule: RegionRule = BLAZEFACE_REGION) -> FaceRegion:
    """Return the square around a detected face, turned so that its eyes are level."""
    box, eyes = detection.box_px, detection.keypoints_px[:2]
    across = eyes[1] - eyes[0]
    angle_rad = float(np.arctan2(across[1], across[0]))
    side_px = max(box.w, box.h, 1.0)
    return FaceRegion(
        x=box.x + box.w / 2 - math.sin(angle_rad) * side_px * rule.down,
        y=box.y + box.h / 2 + math.cos(angle_rad) * side_px * rule.down,
        side_px=side_px * rule.per_box,
        angle_rad=angle_rad,
    )


def cut(pixels: Pixels, region: FaceRegion) -> Pixels:
    """Return the region as 192 x 192 pixels, black where it leaves the picture."""
    matrix = crop_to_picture(region)
    shrink = int(region.side_px / CROP_SIDE_PX / MAX_SAMPLING_STEP) + 1
    if shrink > 1:
        pixels, matrix = _shrunk(pixels, region, matrix, shrink)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(pixels, matrix, (CROP_SIDE_PX, CROP_SIDE_PX), flags=flags)
    return np.asarray(crop, dtype=np.uint8)


def crop_to_picture(region: FaceRegion) -> FloatArray:
    """Return the 2 x 3 matrix from pixel indices of the crop to those of the picture."""
    step = region.side_px / CROP_SIDE_PX
    cos, sin = np.cos(region.angle_rad) * step, np.sin(region.angle_rad) * step
    turn = np.array([(cos, -sin), (sin, cos)])
    middle = (CROP_SIDE_PX - 1) / 2
    offset = np.array((region.x, region.y)) - turn @ (middle, middle)
    return np.column_stack((turn, offset))


def to_picture(points: Float32Array, region: FaceRegion) -> Float32Array:
    """Move points, shape (n, 3), from the crop into the picture; depth grows as width does."""
    matrix = crop_to_picture(region)
    # The network measures from the crop's edge, where pixel indices start half a pixel inside.
    flat = (points[:, :2].astype(np.float64) - 0.5) @ matrix[:, :2].T + matrix[:, 2]
    depth = points[:, 2:] * (region.side_px / CROP_SIDE_PX)
    return np.concatenate((flat, depth), axis=1).astype(np.float32)


def _shrunk(
    pixels: Pixels, region: FaceRegion, matrix: FloatArray, factor: int
) -> tuple[Pixels, FloatArray]:
    """Return the surroundings of the region averaged down, and ``matrix`` into them."""
    height, width = pixels.shape[:2]
    reach = region.side_px * 0.75  # a little over half the diagonal
    left, right = _span(region.x, reach, width)
    top, bottom = _span(region.y, reach, height)
    size = (max(1, (right - left) // factor), max(1, (bottom - top) // factor))
    small = cv2.resize(pixels[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
    step = np.array(((right - left) / size[0], (bottom - top) / size[1]))
    into = matrix / step[:, None]
    # Averaging works from pixel edges, half a pixel before the centres that are counted here.
    into[:, 2] = (matrix[:, 2] - (left, top) + 0.5) / step - 0.5
    return np.asarray(small, dtype=np.uint8), into


def _span(centre: float, reach: float, length: int) -> tuple[int, int]:
    """Return the start and end of at least one pixel of ``length`` around ``centre``."""
    start = min(max(0, int(centre - reach)), length - 1)
    return start, max(start + 1, min(length, int(centre + reach) + 1))
