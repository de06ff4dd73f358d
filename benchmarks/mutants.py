"""Damaged pictures, each made anew from its number: what strangers and broken networks send.

`mutant` takes one of a few sound pictures and damages it: bits, bytes, pieces cut out, doubled or
moved, header fields, PNG chunks with their checksum put right again (or no damage would get past
it), JPEG segments renamed or stretched, two pictures joined. The same number always gives the same
bytes, so that a finding can be looked at again.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import cv2
import numpy as np

from models import png_structure
from models.image_decoder import encode_frame
from verifier.arrays import Pixels

Chance: TypeAlias = np.random.Generator
Mutation: TypeAlias = Callable[[bytes, Chance], bytes]
T = TypeVar("T")

# Values at which arithmetic on sizes goes wrong.
_EDGE_SIZES: Final = (0, 1, 2, 255, 256, 4_000, 4_096, 9_999, 10_000, 32_767, 32_768, 65_535)
_JPEG_MARKERS: Final = (0xC0, 0xC1, 0xC2, 0xC4, 0xD0, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1, 0xEE)
_PNG_TYPES: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf", b"acTL", b"fdAT")


def sound_pictures(portraits: Sequence[Pixels], side_px: int = 160) -> list[bytes]:
    """Return each portrait as a small JPEG, progressive JPEG, grey JPEG, PNG and palette PNG."""
    return [data for pixels in portraits for data in _encodings(_shrunk(pixels, side_px))]


def mutant(number: int, sources: Sequence[bytes]) -> bytes:
    """Return damaged picture ``number``, 0 or more: one to four mutations of a source."""
    chance = np.random.default_rng((20_460, number))
    data = _any_of(sources, chance)
    for _ in range(min(4, chance.geometric(0.6))):
        data = _any_of(_mutations(data, sources), chance)(data, chance)
    return data


def _mutations(data: bytes, sources: Sequence[bytes]) -> Sequence[Mutation]:
    def joined(data: bytes, chance: Chance) -> bytes:
        other = _any_of(sources, chance)
        return _cut_short(data, chance) + other[chance.integers(len(other)) :]

    general = (_bits, _bytes, _cut_short, _cut_out, _doubled, _filled, _appended, joined)
    is_png = data.startswith(png_structure.SIGNATURE)
    return (*general, *((_png_chunk, _png_header) if is_png else (_jpeg_segment, _jpeg_size)))


def _any_of(items: Sequence[T], chance: Chance) -> T:
    return items[int(chance.integers(len(items)))]


def _bits(data: bytes, chance: Chance) -> bytes:
    changed = bytearray(data)
    for at in chance.integers(0, max(1, len(data)), size=chance.integers(1, 9)):
        if at < len(changed):
            changed[at] ^= 1 << chance.integers(8)
    return bytes(changed)


def _bytes(data: bytes, chance: Chance) -> bytes:
    # Headers decide most, so half of the changes fall on the first 700 bytes.
    within = min(len(data), 700) if chance.random() < 0.5 else len(data)
    changed = bytearray(data)
    for at in chance.integers(0, max(1, within), size=chance.integers(1, 5)):
        if at < len(changed):
            changed[at] = _any_of((0, 1, 0x7F, 0x80, 0xFF, int(chance.integers(256))), chance)
    return bytes(changed)


def _cut_short(data: bytes, chance: Chance) -> bytes:
    return data[: chance.integers(len(data) + 1)]


def _cut_out(data: bytes, chance: Chance) -> bytes:
    first, last = _piece(data, chance)
    return data[:first] + data[last:]


def _doubled(data: bytes, chance: Chance) -> bytes:
    first, last = _piece(data, chance)
    return data[:last] + data[first:last] * int(chance.integers(1, 20)) + data[last:]


def _filled(data: bytes, chance: Chance) -> bytes:
    first, last = _piece(data, chance)
    return data[:first] + bytes([_any_of((0, 0xFF, 0xD9), chance)]) * (last - first) + data[last:]


def _appended(data: bytes, chance: Chance) -> bytes:
    return data + chance.bytes(int(chance.integers(1, 5_000)))


def _piece(data: bytes, chance: Chance) -> tuple[int, int]:
    first = int(chance.integers(len(data) + 1))
    return first, min(len(data), first + int(chance.integers(1, 1_000)))


def _png_chunk(data: bytes, chance: Chance) -> bytes:
    """Change one chunk's body or name and put its checksum right; sometimes repeat it."""
    chunks = list(_png_chunks(data))
    if not chunks:
        return data
    at = int(chance.integers(len(chunks)))
    name, body = chunks[at]
    if chance.random() < 0.2:
        name = _any_of(_PNG_TYPES, chance)
    elif body:
        body = _bytes(body, chance)
    chunks[at] = (name, body)
    if chance.random() < 0.1:
        chunks.insert(at, chunks[at])
    return png_structure.SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _png_header(data: bytes, chance: Chance) -> bytes:
    """Change size, depth, colour or interlacing in IHDR and put its checksum right."""
    if len(data) < 33:
        return data
    header = bytearray(data[16:29])
    if chance.random() < 0.5:
        struct.pack_into(">I", header, 4 * int(chance.integers(2)), _edge_size(chance))
    else:
        header[8 + chance.integers(5)] = chance.integers(17)
    return data[:8] + _chunk(b"IHDR", bytes(header)) + data[33:]


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def _jpeg_segment(data: bytes, chance: Chance) -> bytes:
    """Rename a marker, or change the length that a segment claims."""
    places = [at for at in range(len(data) - 3) if data[at] == 0xFF and data[at + 1] >= 0xC0]
    if not places:
        return data
    at, changed = _any_of(places, chance), bytearray(data)
    if chance.random() < 0.5:
        changed[at + 1] = _any_of(_JPEG_MARKERS, chance)
    else:
        struct.pack_into(">H", changed, at + 2, _edge_size(chance))
    return bytes(changed)


def _jpeg_size(data: bytes, chance: Chance) -> bytes:
    """Change height, width, precision, sampling or the number of components in the frame header."""
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        at = data.find(marker)
        if 0 <= at <= len(data) - 20:
            changed = bytearray(data)
            if chance.random() < 0.6:
                place = at + 5 + 2 * int(chance.integers(2))
                struct.pack_into(">H", changed, place, _edge_size(chance))
            else:
                changed[at + 4 + chance.integers(14)] = chance.integers(256)
            return bytes(changed)
    return data


def _edge_size(chance: Chance) -> int:
    return _any_of(_EDGE_SIZES, chance) if chance.random() < 0.5 else int(chance.integers(2_000))


def _shrunk(pixels: Pixels, side_px: int) -> Pixels:
    scale = side_px / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _encodings(pixels: Pixels) -> list[bytes]:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4]
    return [
        encode_frame(pixels, 85),
        cv2.imencode(".jpg", bgr, progressive)[1].tobytes(),
        cv2.imencode(".jpg", grey)[1].tobytes(),
        cv2.imencode(".png", bgr)[1].tobytes(),
        _palette_png(np.asarray(grey, np.uint8)),
    ]


def _palette_png(grey: Pixels) -> bytes:
    """Return 16 colours, 4 bits each: OpenCV writes no palettes."""
    height, width = grey.shape
    levels = np.pad(grey >> 4, ((0, 0), (0, width % 2)))
    rows = (levels[:, ::2] << 4 | levels[:, 1::2]).astype(np.uint8)
    raw = b"".join(b"\x00" + row.tobytes() for row in rows)
    palette = bytes(17 * level for level in range(16) for _ in range(3))
    header = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return png_structure.SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)
