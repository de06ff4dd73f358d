"""The demo's portraits as frames and side by side; made when a test runs, never kept."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from models.image_decoder import STILL_LIMITS, decode_image, encode_frame
from pipelines.portraits import portraits
from pipelines.simulate.webcam import Sitter, Webcam


def sitter(faces: Mapping[str, Path], name: str) -> Sitter:
    """Return the person of a portrait, to sit before a webcam."""
    portrait = portraits()[name]
    pixels = decode_image(faces[name].read_bytes(), STILL_LIMITS).pixels
    return Sitter(pixels=pixels, crop_px=portrait.crop_px, keep_px=portrait.keep_px)


def frames_of(faces: Mapping[str, Path], name: str, *, count: int = 2) -> list[bytes]:
    """Return webcam frames of a portrait; always the same ones."""
    return Webcam(np.random.default_rng(7)).film(sitter(faces, name), count)


def side_by_side(left: bytes, right: bytes) -> bytes:
    """Return one frame that shows two."""
    pictures = [decode_image(each, STILL_LIMITS).pixels for each in (left, right)]
    return encode_frame(np.concatenate(pictures, axis=1))


def shrunk(frame: bytes, share: float) -> bytes:
    """Return a frame in which what it showed fills only ``share`` of width and height."""
    pixels = decode_image(frame, STILL_LIMITS).pixels
    small = cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    room = np.full_like(pixels, 150)
    room[: small.shape[0], : small.shape[1]] = small
    return encode_frame(room)
