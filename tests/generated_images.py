"""Pictures and a face mesh made from code: no test depends on a picture that somebody took."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from verifier.arrays import Float32Array, Pixels

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""PNG colour types."""


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Pixels:
    """Return a smooth colour picture, shape (height, width, 3), RGB, unlike its mirror images."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def jpeg(
    pixels: Pixels,
    *,
    quality: int = 90,
    progressive: bool = False,
    grey: bool = False,
    restart_interval: int = 0,
) -> bytes:
    """Encode RGB pixels as JPEG; a restart interval is counted in coded units."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval]
    return cv2.imencode(".jpg", bgr, options)[1].tobytes()


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """Return one marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """Return a JPEG with segments put in at its very beginning."""
    return data[:2] + b"".join(segments) + data[2:]


def without_jfif(data: bytes) -> bytes:
    """Return a JPEG as the encoder wrote it, less the 18 bytes of its JFIF segment."""
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + data[20:]


def jpeg_frame_header(
    width: int, height: int, *, components: int = 3, precision: int = 8, process: int = 0xC0
) -> bytes:
    """Return the beginning of a JPEG, up to and with its frame header."""
    named = b"".join(bytes((index + 1, 0x11, 0)) for index in range(components))
    body = struct.pack(">BHHB", precision, height, width, components) + named
    return b"\xff\xd8" + jpeg_segment(process, body)


def exif(orientation: int, *, order: str = ">") -> bytes:
    """Return an EXIF block with an orientation, a camera name and a place."""
    place = b"51.5074N"
    entries = (
        struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"Cam\x00"),
        struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0),
        struct.pack(f"{order}HHII", 0x8825, 4, 1, 50),
    )
    head = (b"MM\x00*" if order == ">" else b"II*\x00") + struct.pack(f"{order}IH", 8, len(entries))
    return head + b"".join(entries) + struct.pack(f"{order}I", 0) + place


def jpeg_exif(orientation: int, *, order: str = ">") -> bytes:
    """Return the APP1 segment of `exif`."""
    return jpeg_segment(0xE1, b"Exif\x00\x00" + exif(orientation, order=order))


def png(array: NDArray[Any]) -> bytes:
    """Encode as OpenCV does: grey, BGR or BGRA, 8 or 16 bit."""
    return cv2.imencode(".png", array)[1].tobytes()


def png_of_rgb(pixels: Pixels) -> bytes:
    """Encode RGB pixels as PNG."""
    return png(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Return one chunk with its checksum."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(
    width: int, height: int, *, depth: int = 8, colour: int = RGB, interlace: int = 0
) -> bytes:
    """Return the signature and the header chunk."""
    fields = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return PNG_SIGNATURE + png_chunk(b"IHDR", fields)


def png_of_rows(
    rows: Sequence[bytes], width: int, *, depth: int = 8, colour: int = RGB, before: bytes = b""
) -> bytes:
    """Return a PNG of unfiltered rows of packed samples, with chunks ``before`` its data."""
    stream = zlib.compress(b"".join(b"\x00" + row for row in rows))
    header = png_header(width, len(rows), depth=depth, colour=colour)
    return header + before + png_chunk(b"IDAT", stream) + png_chunk(b"IEND")


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """Return a PNG with chunks put in after its header."""
    after_header = len(PNG_SIGNATURE) + 25
    return data[:after_header] + b"".join(chunks) + data[after_header:]


# A face in millimetres or so: x to the subject's left, y down, z away from the camera, the origin
# inside the head. Index on the subject's right side: (index on the left, place on the left).
_SIDED: Final = {
    33: (263, (45, -30, -30)),  # outer and inner eye corners
    133: (362, (17, -30, -35)),
    159: (386, (31, -34, -36)),  # upper lids
    158: (385, (26, -34, -36)),
    160: (387, (36, -34, -36)),
    145: (374, (31, -26, -36)),  # lower lids
    153: (380, (26, -26, -36)),
    144: (373, (36, -26, -36)),
    127: (356, (68, -30, 25)),
    234: (454, (70, -10, 25)),
    93: (323, (68, 10, 22)),
    98: (327, (14, 18, -48)),
    129: (358, (17, 14, -45)),  # wings of the nose
    61: (291, (25, 42, -42)),
    82: (312, (6, 40, -52)),
    87: (317, (6, 44, -52)),
}
_MIDDLE: Final = {
    10: (0, -90, -40),
    151: (0, -70, -46),
    9: (0, -50, -50),
    168: (0, -32, -50),
    1: (0, 5, -70),
    2: (0, 20, -55),
    13: (0, 40, -54),
    14: (0, 44, -54),
    152: (0, 90, -40),
}


def face_mesh() -> Float32Array:
    """Return a level frontal face of 468 points about the origin, shape (468, 3).

    It is 140 wide and 180 high; the eyes are 28 wide and open by 8, the mouth by 4. Points
    without a role lie on the front half of an ellipsoid.
    """
    turn = np.arange(468) * np.pi * (3 - np.sqrt(5))
    out = np.sqrt(np.arange(468) / 467)
    depth = -60 * np.sqrt(1 - out**2)
    mesh = np.stack((70 * out * np.cos(turn), 95 * out * np.sin(turn), depth), axis=1)
    for right, (left, (x, y, z)) in _SIDED.items():
        mesh[left], mesh[right] = (x, y, z), (-x, y, z)
    for index, place in _MIDDLE.items():
        mesh[index] = place
    return mesh.astype(np.float32)


def mirrored_mesh(mesh: Float32Array) -> Float32Array:
    """Return the mesh of the mirrored picture: sides of the face change names, too."""
    mirror = mesh * np.array([-1, 1, 1], dtype=np.float32)
    for right, (left, _) in _SIDED.items():
        mirror[[right, left]] = mirror[[left, right]]
    return mirror
