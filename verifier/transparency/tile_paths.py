"""Names and contents of the files that make up a log (c2sp.org/tlog-tiles)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from verifier.errors import InvalidRecordError

TILE_WIDTH = 256
TILE_HEIGHT = 8  # 2**8 = 256
LARGEST_ENTRY = 2**16 - 1  # bytes; the length prefix is a uint16

_TILE_NAME = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)"
    r"/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Tile:
    """One file: ``width`` hashes at ``level``, or as many entries when ``level`` is None."""

    level: int | None  # 0 to 63; None: a bundle of entries
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path relative to the log, for example ``tile/0/x001/x234/067.p/12``."""
        level = "entries" if self.level is None else str(self.level)
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_index_path(self.index)}{suffix}"

    @property
    def first(self) -> int:
        """Index of its first hash within the level, or of its first entry."""
        return self.index * TILE_WIDTH


def parse_tile_path(path: str) -> Tile:
    """Return the tile that ``path`` names; ``InvalidRecordError`` if it names none."""
    match = _TILE_NAME.fullmatch(path)
    if match is None:
        raise InvalidRecordError("not the path of a tile")
    level = None if match["level"] == "entries" else int(match["level"])
    index = int(match["index"].replace("x", "").replace("/", ""))
    tile = Tile(level=level, index=index, width=int(match["width"] or TILE_WIDTH))
    # One spelling for each tile: no needless x000, no .p/256, no level above 63.
    if tile.path != path or tile.width > TILE_WIDTH or (level or 0) > 63:
        raise InvalidRecordError("not the canonical path of a tile")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile of hashes that a tree of ``size`` needs, the lowest level first."""
    level, hashes = 0, size
    while hashes:
        full, rest = divmod(hashes, TILE_WIDTH)
        yield from (Tile(level=level, index=index) for index in range(full))
        if rest:
            yield Tile(level=level, index=full, width=rest)
        level, hashes = level + 1, full


def bundles_of(size: int) -> Iterator[Tile]:
    """Yield every bundle of entries that a tree of ``size`` needs."""
    full, rest = divmod(size, TILE_WIDTH)
    yield from (Tile(level=None, index=index) for index in range(full))
    if rest:
        yield Tile(level=None, index=full, width=rest)


def edge_of(level: int, size: int) -> Tile | None:
    """Return the partial tile at the right edge of ``level``, if there is one."""
    full, rest = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
    return Tile(level=level, index=full, width=rest) if rest else None


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries, each after its length as a big-endian uint16."""
    if any(len(entry) > LARGEST_ENTRY for entry in entries):
        raise InvalidRecordError(f"an entry is longer than {LARGEST_ENTRY} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    """Return the entries of a bundle; ``InvalidRecordError`` if it is cut short."""
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        entry = data[at + 2 : at + 2 + length]
        if at + 2 > len(data) or len(entry) != length:
            raise InvalidRecordError("a bundle of entries is cut short")
        entries.append(entry)
        at += 2 + length
    return entries


def _index_path(index: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
