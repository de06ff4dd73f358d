"""The square picture of a face that dlib's network was trained on.

The network is sensitive to how faces are cut: half a pixel of shift moves a vector by a tenth
of the distance between two people. So the chip is dlib's to the grey level, whichever
landmarks it is cut by: the same rectangle, bilinear sampling cut off to whole grey levels,
black outside the picture, and dlib's image pyramid under large faces.

The geometry follows ``chip_details``, ``extract_image_chips`` and ``pyramid_down<2>`` of dlib
20.0. Points are canonical pixels with pixel centres at whole numbers. Start with `face_chip`.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from models.similarity import as_complex, fit_similarity
from verifier.arrays import Float32Array, FloatArray, Pixels
from verifier.detection import Detection

CHIP_SIDE_PX: Final = 150

# Where these FaceMesh points lie on an average chip cut by dlib's own landmarks (mesh index:
# x, y). Rigid parts: eye corners, bridge and wings of the nose, brows. Calibrated on 100 LFW and
# 25 other photographs, each set's own average 0.8 px from the mean of both; moved as a whole so
# that on 50 further LFW photographs the chips lie where dlib's lie (within 0.05 px on average).
MESH_TEMPLATE: Final[dict[int, tuple[float, float]]] = {
    33: (34.83, 45.20),
    133: (58.59, 46.69),
    362: (87.73, 46.70),
    263: (111.79, 45.15),
    2: (73.28, 86.33),
    168: (72.88, 42.29),
    6: (72.87, 49.25),
    197: (72.84, 55.71),
    195: (72.81, 61.65),
    5: (72.79, 68.03),
    4: (72.81, 75.68),
    1: (72.89, 81.34),
    98: (58.03, 83.86),
    327: (88.76, 83.86),
    97: (66.48, 86.12),
    326: (80.13, 86.13),
    164: (73.33, 90.12),
    70: (24.73, 33.02),
    300: (121.78, 32.92),
    105: (38.01, 25.64),
    334: (107.66, 25.65),
    7: (36.84, 46.46),
    249: (109.71, 46.42),
    155: (57.55, 47.07),
    382: (88.80, 47.07),
}
_MESH_INDICES: Final = list(MESH_TEMPLATE)
_MESH_POINTS: Final = np.array(list(MESH_TEMPLATE.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipSquare:
    """A turned square in a picture; its corner pixels become the corner pixels of the chip.

    ``centre`` is x + iy. ``side_px`` is measured between corner pixels, so a square that covers
    n pixels has a side of n - 1. ``turn`` has length one and points along the chip's x axis.
    """

    centre: complex
    side_px: float
    turn: complex

    def half(self) -> "ChipSquare":
        """Return the same square one pyramid level further up."""
        # dlib halves coordinates and shifts them unevenly, though its filter is symmetric. The
        # network was trained with that shift, so it stays.
        return ChipSquare(
            centre=self.centre / 2 - complex(1.25, 0.75), side_px=self.side_px / 2, turn=self.turn
        )

    def moved(self, by: complex) -> "ChipSquare":
        """Return this square, moved."""
        return ChipSquare(centre=self.centre + by, side_px=self.side_px, turn=self.turn)

    def at(self, chip_points: FloatArray) -> FloatArray:
        """Return where points of the chip, shape (n, 2), lie in the picture, same shape."""
        middle = (CHIP_SIDE_PX - 1) / 2
        spots = as_complex(chip_points) - complex(middle, middle)
        spots = self.centre + spots * self.turn * self.side_px / (CHIP_SIDE_PX - 1)
        return np.stack((spots.real, spots.imag), axis=-1)


class MeshAligner:
    """Cuts by 25 points of the mesh; a `verifier.protocols.FaceAligner`."""

    def cut(self, pixels: Pixels, detection: Detection, mesh_px: Float32Array) -> Pixels:
        """Return the chip, shape (150, 150, 3), black where it leaves the picture."""
        del detection  # the mesh is the steadier of the two
        return mesh_chip(pixels, mesh_px)


def mesh_chip(pixels: Pixels, mesh_px: Float32Array) -> Pixels:
    """Return the chip of the face whose FaceMesh points are ``mesh_px``, shape (468, 3)."""
    return face_chip(pixels, mesh_px[_MESH_INDICES, :2].astype(np.float64), _MESH_POINTS)


def face_chip(pixels: Pixels, points_px: FloatArray, template_px: FloatArray) -> Pixels:
    """Cut a face so that its points come to lie on the template.

    Parameters
    ----------
    pixels
        Canonical pixels, shape (height, width, 3).
    points_px
        Landmarks in the picture, shape (n, 2), n at least 2, not all the same.
    template_px
        Where they belong on the chip, shape (n, 2), 0 to 150.

    Returns
    -------
    Pixels
        Shape (150, 150, 3); black where the square leaves the picture.
    """
    square = fit_square(points_px, template_px)
    levels = pyramid_levels(square)
    left, top, right, bottom = _needed_part(square, levels, pixels.shape)
    part = pixels[top:bottom, left:right]
    square = square.moved(-complex(left, top))
    for _ in range(levels):
        part, square = _half_size(part), square.half()
    return _sample(part, square)


def fit_square(points_px: FloatArray, template_px: FloatArray) -> ChipSquare:
    """Return the square under the least-squares similarity from template to points."""
    a, b = fit_similarity(template_px, points_px)
    centre = a * complex(CHIP_SIDE_PX, CHIP_SIDE_PX) / 2 + b
    scale = abs(a)
    # dlib counts the pixels a rectangle covers, so the distance between corners is one less.
    return ChipSquare(centre=centre, side_px=CHIP_SIDE_PX * scale - 1, turn=a / scale)


def pyramid_levels(square: ChipSquare) -> int:
    """Return how often dlib halves the picture before it samples this square."""
    levels = 0
    while (square := square.half()).side_px + 1 > CHIP_SIDE_PX:
        levels += 1
    return levels


def _needed_part(
    square: ChipSquare, levels: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the part of the picture that dlib would look at.

    It decides which pixels are dropped on the way up the pyramid, so it is dlib's to the pixel.
    """
    end = CHIP_SIDE_PX - 1
    corners = square.at(np.array([(0, 0), (end, 0), (0, end), (end, end)], dtype=np.float64))
    margin = 4 * 2**levels - 2  # 2, then doubled plus 2 at each level
    height, width = shape[:2]
    low = np.maximum(corners.min(axis=0) - margin, 0)
    high = np.minimum(corners.max(axis=0) + margin, (width - 1, height - 1))
    left, top = (int(edge) for edge in np.floor(low + 0.5))
    right, bottom = (int(edge) + 1 for edge in np.floor(high + 0.5))
    return left, top, max(left, right), max(top, bottom)


def _half_size(part: Pixels) -> Pixels:
    """Return dlib's next pyramid level: a 1-4-6-4-1 filter, cut off to whole grey levels."""
    height, width = part.shape[:2]
    if min(height, width) <= 8:
        return np.zeros((0, 0, 3), dtype=np.uint8)  # too small for dlib's filter as well
    # pyrDown rounds where dlib cuts off. At 256 times the grey level nothing is left to round.
    filtered = cv2.pyrDown(part.astype(np.uint16) << 8)
    inner = filtered[1 : 1 + (height - 3) // 2, 1 : 1 + (width - 3) // 2]
    return np.ascontiguousarray(np.right_shift(inner, 8), dtype=np.uint8)


def _sample(part: Pixels, square: ChipSquare) -> Pixels:
    """Return the chip by bilinear sampling, black where a neighbour would lie outside."""
    height, width = part.shape[:2]
    size = (CHIP_SIDE_PX, CHIP_SIDE_PX)
    if min(height, width) < 2:
        return np.zeros((*size, 3), dtype=np.uint8)
    origin, along_x, along_y = square.at(np.array([(0, 0), (1, 0), (0, 1)], dtype=np.float64))
    matrix = np.column_stack((along_x - origin, along_y - origin, origin))
    # In floating point, because uint8 would be rounded and at 1/32 of a pixel.
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(part.astype(np.float32), matrix, size, flags=flags)
    chip: Pixels = warped.astype(np.uint8)
    end = CHIP_SIDE_PX - 1
    corners = square.at(np.array([(0, 0), (end, 0), (0, end), (end, end)], dtype=np.float64))
    if corners.min() < 0 or not (corners < (width - 1, height - 1)).all():
        chip[~_has_neighbours(square, width, height)] = 0
    return chip


def _has_neighbours(
    square: ChipSquare, width: int, height: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
    """Return which chip pixels, shape (150, 150), have all four neighbours in the picture."""
    steps = np.arange(CHIP_SIDE_PX, dtype=np.float64)
    spots = square.at(np.stack(np.meshgrid(steps, steps), axis=-1))
    x, y = spots[..., 0], spots[..., 1]
    return (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
