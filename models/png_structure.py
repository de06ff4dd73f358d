"""Walk the chunks of a PNG file and keep only those that carry pixels.

Every length, order and checksum is verified here, and the compressed rows are inflated once
(in bounded pieces, and thrown away) to prove that they are complete; what reaches the decoder
is IHDR, PLTE, one IDAT, IEND and, for a turned picture, an eXIf that says only that.

References
----------
Portable Network Graphics (PNG) Specification, Third Edition, W3C, 2025.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from models.exif import UPRIGHT, orientation_block, read_orientation
from models.picture_structure import DecodeLimits, PictureStructure
from verifier.errors import UnreadableImageError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE: Final = 3
_GREY_TYPES: Final = (0, 4)
_ALPHA_TYPES: Final = (4, 6)
_ANIMATION: Final = (b"acTL", b"fcTL", b"fdAT")
# An encoder that writes 16 MiB in pieces of 1 KiB stays below; a file of empty chunks does not.
_MAX_CHUNKS: Final = 20_000
_MAX_FILTER: Final = 4
_PIECE_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row: a filter number, then the samples."""
        return 1 + (self.width * self.depth * _CHANNELS[self.colour] + 7) // 8


def read_png(data: bytes, limits: DecodeLimits) -> PictureStructure:
    """Return the structure of a PNG file.

    Raises
    ------
    UnreadableImageError
        ``truncated``, ``corrupt``, ``multiple_frames``, ``transparent`` (by tRNS; an alpha
        channel is judged after decoding), ``unsupported_colour`` (16 bit),
        ``unsupported_format`` (interlaced), or a limit exceeded.
    """
    chunks = _chunks(data)
    header = _read_header(next(chunks), limits)
    palette, rows, orientation, rows_ended = b"", [], UPRIGHT, False
    for kind, body in chunks:
        if kind in _ANIMATION:
            raise UnreadableImageError("multiple_frames", "an animated PNG; wanted one picture")
        if kind == b"IDAT":
            _require(not rows_ended, "image data in two separate places")
            rows.append(body)
        else:
            rows_ended = bool(rows)
        if kind == b"PLTE":
            _require(not (palette or rows), "a second or a late palette")
            palette = _checked_palette(header, body)
        elif kind == b"tRNS":
            _check_transparency(header, body)
        elif kind == b"eXIf":
            orientation = read_orientation(body)
        elif kind[0] & 0x20 == 0 and kind not in (b"IDAT", b"IEND"):
            raise UnreadableImageError("corrupt", f"unknown critical chunk {kind!r}")
    _require(bool(palette) or header.colour != _PALETTE, "a palette picture without palette")
    stream = _checked_rows(header, b"".join(rows))
    return PictureStructure(
        width_px=header.width,
        height_px=header.height,
        orientation=orientation,
        has_alpha=header.colour in _ALPHA_TYPES,
        canonical_bytes=_canonical(header, palette, stream, orientation),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) up to and with IEND, each checksum verified."""
    at = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            raise UnreadableImageError("truncated", f"the file ends at byte {len(data)}, no IEND")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        _require(kind.isalpha(), f"no chunk name at byte {at + 4}")
        if end > len(data):
            raise UnreadableImageError(
                "truncated", f"a chunk should reach byte {end}, the file ends at {len(data)}"
            )
        body = data[at + 8 : end - 4]
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        _require(zlib.crc32(kind + body) == checksum, f"wrong checksum in chunk {kind!r}")
        yield kind, body
        if kind == b"IEND":
            return
        at = end
    raise UnreadableImageError("corrupt", f"more than {_MAX_CHUNKS} chunks")


def _read_header(chunk: tuple[bytes, bytes], limits: DecodeLimits) -> _Header:
    """Return the header after checking size, colour and methods, in that order."""
    kind, body = chunk
    _require(kind == b"IHDR" and len(body) == 13, "the file does not begin with a header")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", body
    )
    limits.check_dimensions(width, height)
    _require(depth in _DEPTHS.get(colour, ()), f"colour type {colour} with {depth} bits")
    if depth == 16:
        raise UnreadableImageError("unsupported_colour", "16 bits a sample; wanted at most 8")
    _require(compression == 0 and filtering == 0 and interlace <= 1, "an unknown method")
    if interlace:
        raise UnreadableImageError("unsupported_format", "an interlaced PNG; wanted a plain one")
    return _Header(width=width, height=height, depth=depth, colour=colour)


def _checked_palette(header: _Header, body: bytes) -> bytes:
    """Return the palette where the pixels use it, else nothing: it is a mere suggestion then."""
    _require(header.colour not in _GREY_TYPES, "a palette in a grey picture")
    _require(0 < len(body) <= 768 and len(body) % 3 == 0, f"a palette of {len(body)} bytes")
    if header.colour != _PALETTE:
        return b""
    _require(len(body) // 3 <= 1 << header.depth, "more colours than the pixels can name")
    # Filled up with black, so that no pixel can name a colour that is not there.
    return body.ljust(3 << header.depth, b"\x00")


def _check_transparency(header: _Header, body: bytes) -> None:
    """Refuse tRNS unless it is a palette's and says opaque throughout."""
    # A viewer shows what lies behind, a matcher what is hidden: two different pictures.
    if header.colour != _PALETTE or body.strip(b"\xff"):
        raise UnreadableImageError("transparent", "transparent pixels; wanted an opaque picture")


def _checked_rows(header: _Header, stream: bytes) -> bytes:
    """Return the zlib stream without what follows it, after inflating all rows once."""
    inflater, seen, wanted = zlib.decompressobj(), 0, header.row_bytes * header.height
    pending = stream
    try:
        while not inflater.eof and seen <= wanted:
            piece = inflater.decompress(pending, _PIECE_BYTES)
            pending = inflater.unconsumed_tail
            if not piece and not pending:
                break
            filters = piece[-seen % header.row_bytes :: header.row_bytes]
            _require(max(filters, default=0) <= _MAX_FILTER, "an unknown row filter")
            seen += len(piece)
    except zlib.error:
        raise UnreadableImageError("corrupt", "the compressed rows are damaged") from None
    if seen < wanted or not inflater.eof:
        _require(seen <= wanted, "more rows than the header says")
        raise UnreadableImageError("truncated", f"{seen} bytes of rows; the header says {wanted}")
    _require(seen == wanted, f"{seen} bytes of rows; the header says {wanted}")
    return stream[: len(stream) - len(inflater.unused_data)]


def _canonical(header: _Header, palette: bytes, stream: bytes, orientation: int) -> bytes:
    """Return the file that says the same pixels and nothing else."""
    fixed = struct.pack(
        ">IIBBBBB", header.width, header.height, header.depth, header.colour, 0, 0, 0
    )
    turned = orientation_block(orientation) if orientation != UPRIGHT else b""
    chunks = ((b"IHDR", fixed), (b"eXIf", turned), (b"PLTE", palette), (b"IDAT", stream))
    kept = b"".join(_chunk(kind, body) for kind, body in chunks if body)
    return SIGNATURE + kept + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def _require(condition: bool, problem: str) -> None:
    """Raise ``corrupt`` unless ``condition`` holds."""
    if not condition:
        raise UnreadableImageError("corrupt", f"not a sound PNG: {problem}")
