"""Pictures whose colour says what is seen in them, so that pairs are scored without weights."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from tests.fakes import CONTRACT, face, frame
from verifier.arrays import Pixels
from verifier.observation import Box, FaceObservation, FrameObservation, QualityReason

NOBODY, BESIDE, UNFIT = 251, 252, 253
"""Blue values: no face; a second face just as wide; a face unfit for comparison."""


def save_face(path: Path, red: int, green: int = 0, blue: int = 0) -> Path:
    """Save a picture of a face whose vector is (red, green, 0) / 100."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8, 3), (blue, green, red), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


class ColourObserver:
    """Sees what `save_face` painted; a `verifier.protocols.FaceObserver`."""

    contract_id = CONTRACT
    attack_contract_id = None

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:  # noqa: ARG002 - always
        red, green, blue = (int(value) for value in pixels[0, 0])
        if blue == NOBODY:
            return frame()
        quality = (QualityReason.BLURRED,) if blue == UNFIT else ()
        seen = face(np.array([red, green, 0], np.float32) / np.float32(100), quality=quality)
        return frame(seen, seen) if blue == BESIDE else frame(seen)


def face_of_width(width: float) -> FaceObservation:
    """Return a face of which only the width is of interest."""
    return replace(face(), box_px=Box(x=0.0, y=0.0, w=width, h=width))
