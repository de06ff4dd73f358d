"""The one bounded image decoder: whatever comes in as a picture comes in here.

1. The file's kind is told by its first bytes; only JPEG and PNG are taken.
2. Its structure is walked (`jpeg_structure`, `png_structure`): size limits from the header,
   before anything is allocated; completeness; one frame; colour.
3. It is rewritten without metadata and without anything after its end.
4. *That rewriting* is decoded, once, and turned upright.

Matcher, archive and reviewer therefore share one picture: the archive stores
``canonical_bytes``, which decode to exactly the ``pixels`` the networks saw.

The codec libraries may print a line of their own ("Corrupt JPEG data") on stderr about damage
inside a scan. It is left alone: it says nothing about the picture, and the only ways to stop it,
OpenCV's log level and the file descriptor itself, belong to the whole process and not to us.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np

from models import jpeg_structure, png_structure
from models.picture_structure import DecodeLimits, PictureStructure
from verifier.arrays import Pixels
from verifier.errors import UnreadableImageError

PictureFormat: TypeAlias = Literal["jpeg", "png"]

FRAME_LIMITS: Final = DecodeLimits(max_bytes=1 << 20, max_pixels=4_000_000, max_side_px=4_096)
"""For the frames of a lesson."""

STILL_LIMITS: Final = DecodeLimits(max_bytes=16 << 20, max_pixels=32_000_000, max_side_px=10_000)
"""For enrolment pictures and the command line: what a phone's camera makes."""

_PIXELS_DOMAIN: Final = b"zhenxue/pixels/v1"

# (offset, bytes, name): kinds we know and refuse, so that the message can name them.
_REFUSED_KINDS: Final = (
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypmsf1", "HEIF"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyp", "MP4 video"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"<svg", "SVG"),
    (0, b"\x1aE\xdf\xa3", "WebM video"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """One picture, upright, and the bytes that say exactly it.

    Attributes
    ----------
    pixels
        Canonical pixels, shape (height, width, 3), RGB, contiguous and read-only.
    canonical_bytes
        The sanitised file: decoding it gives the same ``pixels`` and the same
        ``canonical_bytes``. No metadata, nothing after the picture's end.
    pixels_sha256
        SHA-256 over "zhenxue/pixels/v1", width and height (uint32, big-endian), RGB bytes.
    source_sha256
        SHA-256 of the bytes as they came in.
    """

    pixels: Pixels = field(repr=False, compare=False)  # pixels_sha256 stands for them
    width_px: int
    height_px: int
    format: PictureFormat
    canonical_bytes: bytes = field(repr=False)
    pixels_sha256: bytes
    source_sha256: bytes


def decode_image(data: bytes, limits: DecodeLimits = STILL_LIMITS) -> DecodedImage:
    """Decode a JPEG (baseline or progressive; grey or colour) or PNG (up to 8 bit, opaque).

    Raises
    ------
    UnreadableImageError
        With ``code`` one of ``empty``, ``too_many_bytes``, ``not_an_image``,
        ``unsupported_format``, ``unsupported_colour``, ``dimension_too_large``,
        ``too_many_pixels``, ``truncated``, ``corrupt``, ``multiple_frames``, ``transparent``.
        Nothing the size of the picture is allocated before its limits are checked.
    """
    limits.check_bytes(len(data))
    kind = _kind_of(data)
    read = jpeg_structure.read_jpeg if kind == "jpeg" else png_structure.read_png
    structure = read(data, limits)
    pixels = _upright(_decode_stored(structure), structure.orientation)
    pixels.flags.writeable = False
    height, width = pixels.shape[:2]
    return DecodedImage(
        pixels=pixels,
        width_px=width,
        height_px=height,
        format=kind,
        canonical_bytes=structure.canonical_bytes,
        pixels_sha256=hash_pixels(pixels),
        source_sha256=hashlib.sha256(data).digest(),
    )


def encode_frame(pixels: Pixels, quality: int = 90) -> bytes:
    """Encode canonical pixels as JPEG; the result is already in canonical form.

    Parameters
    ----------
    quality
        1 to 100, libjpeg's scale.
    """
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ValueError(f"no JPEG of an array of shape {pixels.shape}")
    return encoded.tobytes()


def hash_pixels(pixels: Pixels) -> bytes:
    """Return the digest that names these pixels whatever file they came in."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(_PIXELS_DOMAIN + struct.pack(">II", width, height))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _kind_of(data: bytes) -> PictureFormat:
    """Tell the kind by its first bytes; names and media types are claims, not facts."""
    if data.startswith(jpeg_structure.SIGNATURE):
        return "jpeg"
    if data.startswith(png_structure.SIGNATURE):
        return "png"
    for offset, magic, name in _REFUSED_KINDS:
        if data.startswith(magic, offset):
            raise UnreadableImageError(
                "unsupported_format", f"this looks like {name}; wanted JPEG or PNG"
            )
    raise UnreadableImageError("not_an_image", "these bytes are no picture; wanted JPEG or PNG")


def _decode_stored(structure: PictureStructure) -> Pixels:
    """Decode the canonical bytes as they lie, not yet turned."""
    coded = np.frombuffer(structure.canonical_bytes, dtype=np.uint8)
    # Unchanged keeps alpha, to be judged; orientation is ours to apply, once.
    mode = cv2.IMREAD_UNCHANGED if structure.has_alpha else cv2.IMREAD_COLOR_RGB
    try:
        decoded = cv2.imdecode(coded, mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        decoded = None
    if decoded is None or decoded.shape[:2] != (structure.height_px, structure.width_px):
        raise UnreadableImageError("corrupt", "the coded picture is damaged")
    stored = np.asarray(decoded, dtype=np.uint8)
    return _without_alpha(stored) if structure.has_alpha else stored


def _without_alpha(bgra: Pixels) -> Pixels:
    """Return RGB of a fully opaque picture."""
    # Hidden colour under alpha 0 would show the matcher a face where a reviewer sees none.
    if bgra[..., 3].min() < 255:
        raise UnreadableImageError("transparent", "transparent pixels; wanted an opaque picture")
    return np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), dtype=np.uint8)


def _upright(stored: Pixels, orientation: int) -> Pixels:
    """Return the picture as it was seen (Exif 2.32, 4.6.4: where row 0 and column 0 lie)."""
    if orientation >= 5:
        stored = np.asarray(cv2.transpose(stored), dtype=np.uint8)
    # After the transposition that 5 to 8 share, each of them is one of 1 to 4.
    mirror = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return stored if mirror is None else np.asarray(cv2.flip(stored, mirror), dtype=np.uint8)
