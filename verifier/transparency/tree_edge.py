"""The right edge of a growing tree: all that a log has to remember in order to go on."""

from collections.abc import Callable, Iterator

from verifier.errors import InvalidRecordError
from verifier.transparency.merkle import DIGEST_BYTES, EMPTY_ROOT, root_of
from verifier.transparency.tile_paths import TILE_WIDTH, Tile, edge_of


class TreeEdge:
    """The hashes of the partial tile at each level, for a tree of ``size`` leaves.

    Level ``n`` holds the roots of complete runs of ``256**n`` leaves that do not yet fill a
    tile. ``append`` costs a constant number of hashes on average, whatever the size.
    """

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[list[bytes]] = []
        self._touched: set[int] = set()

    @classmethod
    def load(cls, size: int, read_tile: Callable[[Tile], bytes]) -> "TreeEdge":
        """Rebuild the edge from the partial tiles of a log.

        Raises
        ------
        InvalidRecordError
            If a tile has not as many hashes as its name says.
        """
        edge = cls()
        edge.size = size
        level = 0
        while size >> (8 * level):
            tile = edge_of(level, size)
            edge._levels.append([] if tile is None else split_hashes(read_tile(tile), tile.width))
            level += 1
        return edge

    def append(self, leaf_hash: bytes) -> Iterator[tuple[Tile, bytes]]:
        """Add one leaf; yield each tile that it completed, lowest level first."""
        self.size += 1
        level, carried = 0, leaf_hash
        while True:
            if level == len(self._levels):
                self._levels.append([])
            hashes = self._levels[level]
            hashes.append(carried)
            self._touched.add(level)
            if len(hashes) < TILE_WIDTH:
                return
            index = (self.size >> (8 * (level + 1))) - 1
            yield Tile(level=level, index=index), b"".join(hashes)
            carried = root_of(hashes)
            hashes.clear()
            level += 1

    def partial_tiles(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield the partial tile of each level that changed since the edge was loaded."""
        for level in sorted(self._touched):
            tile = edge_of(level, self.size)
            if tile is not None:
                yield tile, b"".join(self._levels[level])

    def hashes_at(self, level: int) -> tuple[bytes, ...]:
        """Return the hashes of the partial tile at ``level``."""
        return tuple(self._levels[level]) if level < len(self._levels) else ()

    def root(self) -> bytes:
        """Return the root of the whole tree."""
        # A level's complete runs, followed by the smaller remainder to their right, split
        # exactly where RFC 6962 splits the leaves below them.
        remainder: bytes | None = None
        for hashes in self._levels:
            row = [*hashes, remainder] if remainder is not None else hashes
            remainder = root_of(row) if row else None
        return EMPTY_ROOT if remainder is None else remainder


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """Return the ``width`` hashes of a tile; ``InvalidRecordError`` if it has another number."""
    if len(data) != width * DIGEST_BYTES:
        raise InvalidRecordError(f"a tile has {len(data)} bytes, wanted {width * DIGEST_BYTES}")
    return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]
