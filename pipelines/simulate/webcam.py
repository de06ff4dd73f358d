"""A webcam that films a photograph as if somebody sat there: the motion is the project's own.

A still photograph moved about says nothing about liveness; these frames show who sits there and
whether anybody does, and are used for nothing else.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from models.image_decoder import encode_frame
from verifier.arrays import FloatArray, Pixels

WIDTH_PX, HEIGHT_PX = 640, 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitter:
    """Somebody's photograph and the part of it that the webcam sees.

    ``crop_px`` is (x, y, width) of a 4:3 rectangle, which may reach beyond ``keep_px``
    (x0, y0, x1, y1); what lies beyond is filled with the colours at its edge.
    """

    pixels: Pixels
    crop_px: tuple[int, int, int]
    keep_px: tuple[int, int, int, int]


class Webcam:
    """Films sitters and the empty room at 640×480, each frame a little different.

    Parameters
    ----------
    rng
        Source of every variation, so that a seed repeats a lesson to the byte.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._room = _room(rng)
        self._gain = float(rng.uniform(0.85, 1.1))
        self._white_balance = rng.uniform(0.95, 1.05, size=3)

    def film(self, sitter: Sitter, frames: int = 2) -> list[bytes]:
        """Return ``frames`` JPEG frames of ``sitter``, moving slightly between them."""
        pose = self._posture()
        return [self._shoot(_view(sitter, pose + self._tremor())) for _ in range(frames)]

    def film_room(self, frames: int = 2) -> list[bytes]:
        """Return ``frames`` JPEG frames of the room with nobody in it."""
        return [self._shoot(self._room) for _ in range(frames)]

    def _posture(self) -> FloatArray:
        """Shift (two shares of the width), log scale and rotation in degrees."""
        return np.concatenate(
            [
                self._rng.normal(0, 0.03, 2),
                self._rng.normal(0, 0.06, 1),
                self._rng.normal(0, 3.0, 1),
            ]
        )

    def _tremor(self) -> FloatArray:
        """As `_posture`, smaller: what moves between two frames."""
        tremor: FloatArray = self._rng.normal(0, 1, 4) * np.array([0.004, 0.004, 0.005, 0.4])
        return tremor

    def _shoot(self, scene: Pixels) -> bytes:
        """Light, sensor noise, a little blur and JPEG."""
        light = self._gain * float(self._rng.uniform(0.93, 1.07))
        linear = scene.astype(np.float32) * (light * self._white_balance).astype(np.float32)
        noise = self._rng.normal(0, 2.5, scene.shape).astype(np.float32)
        picture = np.clip(linear + noise, 0, 255).astype(np.uint8)
        picture = cv2.GaussianBlur(picture, (0, 0), float(self._rng.uniform(0.4, 0.8)))
        return encode_frame(picture, quality=int(self._rng.integers(72, 90)))


def _view(sitter: Sitter, posture: FloatArray) -> Pixels:
    """Cut the sitter's crop, shifted, scaled and rotated by ``posture``, to the webcam's size."""
    x0, y0, x1, y1 = sitter.keep_px
    kept = sitter.pixels[y0:y1, x0:x1]
    x, y, width = sitter.crop_px
    scale = WIDTH_PX / width * float(np.exp(posture[2]))
    centre = np.array([x - x0 + width / 2, y - y0 + width * HEIGHT_PX / WIDTH_PX / 2])
    centre += posture[:2] * width
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), float(posture[3]), scale)
    matrix[:, 2] += np.array([WIDTH_PX / 2, HEIGHT_PX / 2]) - centre
    view = cv2.warpAffine(
        kept, matrix, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(view, dtype=np.uint8)


def _room(rng: np.random.Generator) -> Pixels:
    """Draw a wall with a shelf, a door and the back of an empty chair."""
    wall = rng.integers(120, 200, size=3).astype(np.float32)
    shade = np.linspace(1.05, 0.85, WIDTH_PX, dtype=np.float32)[None, :, None]
    room = np.clip(np.ones((HEIGHT_PX, WIDTH_PX, 3), np.float32) * wall * shade, 0, 255)
    picture: Pixels = room.astype(np.uint8)
    door, wood, cloth = (tuple(int(v) for v in rng.integers(40, 140, size=3)) for _ in range(3))
    cv2.rectangle(picture, (470, 60), (600, 480), door, thickness=-1)
    cv2.rectangle(picture, (40, 150), (260, 162), wood, thickness=-1)
    for book in range(8):
        spine = tuple(int(v) for v in rng.integers(30, 220, size=3))
        left = 48 + 24 * book
        cv2.rectangle(
            picture, (left, int(rng.integers(85, 115))), (left + 18, 150), spine, thickness=-1
        )
    cv2.ellipse(picture, (320, 480), (120, 150), 0, 180, 360, cloth, thickness=-1)
    return picture
