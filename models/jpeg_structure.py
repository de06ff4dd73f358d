"""Walk the segments of a JPEG file and keep only those that carry pixels.

A JPEG decoder is forgiving: it paints what it misses grey and says nothing. So the structure is
checked here first: one frame header, tables, scans whose restart markers are all there and in
order, and an end. What reaches the decoder is that and nothing else, plus a fixed JFIF or Adobe
segment that settles the colour space, and, for a turned picture, an EXIF block that says only
that.

What this cannot see is damage *inside* a scan that keeps its markers: only decoding shows it.

References
----------
ITU-T T.81 (1992), annexes B and F; T.871 (JFIF), section 10.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from models.exif import UPRIGHT, orientation_block, read_orientation
from models.picture_structure import DecodeLimits, PictureStructure
from verifier.errors import UnreadableImageError

SIGNATURE: Final = b"\xff\xd8"

_SOF_BASELINE, _SOF_EXTENDED, _SOF_PROGRESSIVE = 0xC0, 0xC1, 0xC2
_DHT, _JPG, _DAC, _DNL, _DQT, _DRI = 0xC4, 0xC8, 0xCC, 0xDC, 0xDB, 0xDD
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {_DHT, _JPG, _DAC}
_DROPPED: Final = frozenset(range(0xE0, 0xF0)) | {_COM}

_EXIF: Final = b"Exif\x00\x00"
_JFIF_BODY: Final = b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ADOBE_RGB_BODY: Final = b"Adobe\x00\x64\x00\x00\x00\x00\x00"
# Metadata may take hundreds of segments (a colour profile of 16 MiB has 255), never thousands.
_MAX_SEGMENTS: Final = 2_000
# Each scan of a progressive file is a pass over the whole picture: many empty ones cost minutes.
_MAX_SCANS: Final = 64
# 0xFF in a scan is data when 0x00 follows, a restart when 0xD0-0xD7 does, else it ends the scan.
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)
_RESTART: Final = re.compile(rb"\xff([\xd0-\xd7])")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Component:
    ident: int
    across: int  # sampling factors
    down: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    kind: int
    width: int
    height: int
    components: tuple[_Component, ...]

    def blocks(self, component: _Component) -> int:
        """Return how many blocks of 8 x 8 samples a component has (T.81, A.1.1)."""
        across, down = self._sampling()
        columns = _ceil(_ceil(self.width * component.across, across), 8)
        return columns * _ceil(_ceil(self.height * component.down, down), 8)

    def units(self, members: tuple[_Component, ...]) -> int:
        """Return how many coded units a scan of these components has (T.81, A.2)."""
        if len(members) == 1:
            return self.blocks(members[0])
        across, down = self._sampling()
        return _ceil(self.width, 8 * across) * _ceil(self.height, 8 * down)

    def _sampling(self) -> tuple[int, int]:
        return max(c.across for c in self.components), max(c.down for c in self.components)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """What has been seen so far."""

    limits: DecodeLimits
    frame: _Frame | None = None
    kept: list[bytes] = field(default_factory=list)
    jfif: bool = False
    adobe_transform: int | None = None
    orientation: int | None = None
    restart_interval: int = 0
    scans: int = 0
    scan_bytes: int = 0
    # By component and coefficient, how many of its low bits are still missing.
    missing_bits: dict[tuple[int, int], int] = field(default_factory=dict)


def read_jpeg(data: bytes, limits: DecodeLimits) -> PictureStructure:
    """Return the structure of a JPEG file.

    Raises
    ------
    UnreadableImageError
        ``truncated`` (no end, or less data than the picture needs), ``corrupt``,
        ``unsupported_colour`` (CMYK, 12 bit), ``unsupported_format`` (lossless, arithmetic),
        or a limit exceeded.
    """
    walk = _Walk(limits=limits)
    for marker, body, scan in _segments(data):
        _take(walk, marker, body)
        if marker == _SOS:
            _take_scan(walk, body, scan)
    frame = _finished(walk)
    orientation = walk.orientation or UPRIGHT
    return PictureStructure(
        width_px=frame.width,
        height_px=frame.height,
        orientation=orientation,
        has_alpha=False,
        canonical_bytes=_canonical(walk, frame, orientation),
    )


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (marker, body, entropy-coded scan) up to the end of image."""
    at = len(SIGNATURE)
    for _ in range(_MAX_SEGMENTS):
        marker, at = _next_marker(data, at)
        if marker == _EOI:
            return
        _require(marker not in {0x00, 0x01, _SOI} and not 0xD0 <= marker <= 0xD7, "a stray marker")
        _require_bytes(data, at + 2)
        (length,) = struct.unpack_from(">H", data, at)
        _require(length >= 2, f"a segment of length {length}")
        _require_bytes(data, at + length)
        body, at = data[at + 2 : at + length], at + length
        end = _scan_end(data, at) if marker == _SOS else at
        yield marker, body, data[at:end]
        at = end
    raise UnreadableImageError("corrupt", f"more than {_MAX_SEGMENTS} segments")


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the marker at ``at``, past any fill bytes, and where its segment begins."""
    _require_bytes(data, at + 2)
    _require(data[at] == 0xFF, f"no marker at byte {at}")
    while data[at] == 0xFF:
        at += 1
        _require_bytes(data, at + 1)
    return data[at], at + 1


def _scan_end(data: bytes, at: int) -> int:
    """Return where the marker after a scan begins, or the end of a file that has none."""
    found = _SCAN_END.search(data, at)
    return found.start() if found else len(data)


def _take(walk: _Walk, marker: int, body: bytes) -> None:
    """Note what one segment says, and keep it if decoding needs it."""
    if marker in _FRAME_HEADERS:
        _require(walk.frame is None, "two frame headers")
        walk.frame = _read_frame(marker, body, walk.limits)
    elif marker == _DRI:
        _require(len(body) == 2, "a restart interval of the wrong length")
        (walk.restart_interval,) = struct.unpack(">H", body)
    elif marker in _DROPPED:
        _note_application_data(walk, marker, body)
        return
    else:
        _require(marker in {_DQT, _DHT, _SOS}, f"unexpected marker 0x{marker:02x}")
    walk.kept.append(_segment(marker, body))


def _note_application_data(walk: _Walk, marker: int, body: bytes) -> None:
    if marker == _APP0 and body.startswith(b"JFIF\x00"):
        walk.jfif = True
    elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        walk.adobe_transform = body[11]
    elif marker == _APP1 and body.startswith(_EXIF) and walk.orientation is None:
        walk.orientation = read_orientation(body[len(_EXIF) :])


def _read_frame(marker: int, body: bytes, limits: DecodeLimits) -> _Frame:
    """Return the frame header after checking kind, size and colour, in that order."""
    if marker not in {_SOF_BASELINE, _SOF_EXTENDED, _SOF_PROGRESSIVE}:
        raise UnreadableImageError(
            "unsupported_format",
            f"JPEG process 0x{marker:02x} (lossless, arithmetic or hierarchical); "
            "wanted baseline or progressive",
        )
    _require(len(body) >= 6, "a short frame header")
    precision, height, width, count = struct.unpack_from(">BHHB", body)
    limits.check_dimensions(width, height)
    if precision != 8 or count not in {1, 3}:
        raise UnreadableImageError(
            "unsupported_colour",
            f"{count} components of {precision} bits; wanted grey or colour (1 or 3) of 8 bits",
        )
    _require(len(body) == 6 + 3 * count, "a frame header of the wrong length")
    components = tuple(
        _Component(ident=ident, across=sampling >> 4, down=sampling & 15)
        for ident, sampling, _ in struct.iter_unpack(">BBB", body[6:])
    )
    _require(len({c.ident for c in components}) == count, "two components of one name")
    sound = all(1 <= c.across <= 4 and 1 <= c.down <= 4 for c in components)
    _require(sound, "an impossible sampling factor")
    return _Frame(kind=marker, width=width, height=height, components=components)


def _take_scan(walk: _Walk, body: bytes, scan: bytes) -> None:
    """Check one scan against the frame and keep it."""
    frame = walk.frame
    if frame is None:
        raise UnreadableImageError("corrupt", "not a sound JPEG: a scan before the frame header")
    count = body[0] if body else 0
    _require(1 <= count <= 3 and len(body) == 4 + 2 * count, "a scan header of the wrong length")
    named = body[1 : 1 + 2 * count : 2]
    members = tuple(c for c in frame.components if c.ident in named)
    _require(len(members) == count, "a scan of components that the frame does not have")
    walk.scans += 1
    _require(walk.scans <= _MAX_SCANS, f"more than {_MAX_SCANS} scans")
    _check_restarts(scan, frame.units(members), walk.restart_interval)
    _note_coefficients(walk, frame, body)
    walk.scan_bytes += len(scan)
    walk.kept.append(scan)


def _note_coefficients(walk: _Walk, frame: _Frame, body: bytes) -> None:
    """Require that no scan repeats or skips what another one codes (T.81, B.2.3 and G.1.1.1).

    A decoder lets a repeated scan paint over the picture, or stops there and leaves the rest grey.
    """
    named, (first, last, precision) = body[1:-3:2], body[-3:]
    before, after = precision >> 4, precision & 15
    if frame.kind != _SOF_PROGRESSIVE:
        first, last, before, after = 0, 0, 0, 0  # all coefficients at once: one stands for them
    elif not (first == last == 0 or (0 < first <= last < 64 and len(named) == 1)):
        _require(False, f"a scan of coefficients {first} to {last} of {len(named)} components")
    for key in product(named, range(first, last + 1)):
        is_first = before == 0 and key not in walk.missing_bits
        refines = before > 0 and walk.missing_bits.get(key) == before == after + 1
        _require(is_first or refines, "a scan that does not follow from those before it")
        walk.missing_bits[key] = after


def _check_restarts(scan: bytes, units: int, interval: int) -> None:
    """Require each restart marker the interval calls for: a missing one is missing picture."""
    seen = b"".join(_RESTART.findall(scan))
    wanted = _ceil(units, interval) - 1 if interval else 0
    cycle = bytes(range(0xD0, 0xD8))
    expected = (cycle * (wanted // 8 + 1))[:wanted]
    if expected.startswith(seen) and len(seen) < wanted:
        raise UnreadableImageError("truncated", f"{len(seen)} restart markers; wanted {wanted}")
    _require(seen == expected, "restart markers out of order")


def _finished(walk: _Walk) -> _Frame:
    """Return the frame once everything it promises can be there."""
    frame = walk.frame
    bits_left = walk.missing_bits
    if (
        frame is None
        or any((component.ident, 0) not in bits_left for component in frame.components)
        or any(bits_left.values())
    ):
        raise UnreadableImageError("truncated", "the file ends before all of the picture is coded")
    # The shortest code is one bit: in a baseline file each block has at least two (its mean, and
    # "the rest is zero"), in a progressive one at least its mean. So a small
    # file cannot ask for a large picture either.
    bits = 1 if frame.kind == _SOF_PROGRESSIVE else 2
    wanted = _ceil(bits * sum(frame.blocks(c) for c in frame.components), 8)
    if walk.scan_bytes < wanted:
        raise UnreadableImageError(
            "truncated",
            f"{walk.scan_bytes} bytes of coded picture; its size needs {wanted} or more",
        )
    return frame


def _canonical(walk: _Walk, frame: _Frame, orientation: int) -> bytes:
    """Return the file that says the same pixels and nothing else."""
    colour = (_APP14, _ADOBE_RGB_BODY) if _is_rgb(walk, frame) else (_APP0, _JFIF_BODY)
    turned = _segment(_APP1, _EXIF + orientation_block(orientation))
    head = [SIGNATURE, _segment(*colour), turned if orientation != UPRIGHT else b""]
    return b"".join([*head, *walk.kept, b"\xff\xd9"])


def _is_rgb(walk: _Walk, frame: _Frame) -> bool:
    """Settle the colour space by the rules every common decoder follows (libjpeg's)."""
    if len(frame.components) == 1 or walk.jfif:
        return False
    if walk.adobe_transform is not None:
        return walk.adobe_transform == 0
    return bytes(c.ident for c in frame.components) == b"RGB"


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _ceil(value: int, by: int) -> int:
    return -(-value // by)


def _require_bytes(data: bytes, end: int) -> None:
    if end > len(data):
        raise _truncated(len(data))


def _truncated(size: int) -> UnreadableImageError:
    return UnreadableImageError("truncated", f"the file stops at byte {size}, before its end mark")


def _require(condition: bool, problem: str) -> None:
    """Raise ``corrupt`` unless ``condition`` holds."""
    if not condition:
        raise UnreadableImageError("corrupt", f"not a sound JPEG: {problem}")
