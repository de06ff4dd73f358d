"""Sitters of one colour each: who was filmed can be told from the frame, and no face is needed."""

import numpy as np

from models.image_decoder import FRAME_LIMITS, decode_image
from pipelines.simulate.webcam import Sitter
from verifier.arrays import FloatArray, Pixels

RED, BLUE = (220, 40, 40), (40, 40, 220)


def plain(colour: tuple[int, int, int], width: int = 320, height: int = 240) -> Pixels:
    """Return a picture of one colour."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def sitter_of(colour: tuple[int, int, int]) -> Sitter:
    """Return somebody who is all of one colour."""
    return Sitter(pixels=plain(colour), crop_px=(0, 0, 320), keep_px=(0, 0, 320, 240))


def mean_colour(frame: bytes) -> FloatArray:
    """Return the mean of a frame, shape (3,), RGB."""
    mean: FloatArray = decode_image(frame, FRAME_LIMITS).pixels.mean(axis=(0, 1), dtype=np.float64)
    return mean


def shows(frame: bytes, colour: tuple[int, int, int]) -> bool:
    """Whether a frame shows the sitter of that colour: light and white balance vary a little."""
    return bool(np.abs(mean_colour(frame) - colour).max() < 60)
