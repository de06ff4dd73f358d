"""Reading a log from its folder: checkpoint, entries, proofs. Needs no key and takes no lock.

::

    checkpoint        the signed head (c2sp.org/tlog-checkpoint)
    witnessed         the last checkpoint that witnesses cosigned, with their lines; if any did
    log.vkey          the public key, for convenience: trust your own copy
    tile/…            hashes and bundles of entries (c2sp.org/tlog-tiles)
    pending           acknowledged entries that no checkpoint holds yet
    lock              held by the one writer
    drafts/           files being written
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pipelines.durable_files import as_ledger_error, read_ordinary
from pipelines.pending_journal import PendingEntries, parse_journal
from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint
from verifier.transparency.merkle import DIGEST_BYTES, NodeReader, inclusion_proof, root_of
from verifier.transparency.note import NoteVerifier
from verifier.transparency.tile_paths import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    decode_bundle,
    encode_bundle,
)
from verifier.transparency.tree_edge import split_hashes


class LogReader:
    """A log on a disk, as far as its checkpoint reaches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def checkpoint_bytes(self) -> bytes:
        """Return the signed note; ``LedgerError`` if there is none."""
        return self.read("checkpoint")

    def checkpoint(self, verifier: NoteVerifier) -> Checkpoint:
        """Return the checkpoint once ``verifier``'s signature has been checked."""
        return open_checkpoint(self.checkpoint_bytes(), verifier)

    def witnessed_bytes(self) -> bytes | None:
        """Return the last checkpoint that was cosigned; None if none was."""
        with as_ledger_error("the cosigned checkpoint cannot be read"):
            try:
                return read_ordinary(self.folder / "witnessed")
            except FileNotFoundError:
                return None

    def own_vkey(self) -> str:
        """Return what the log says its key is; ``InvalidRecordError`` if it is not one line."""
        text = self.read("log.vkey").decode("utf-8", "replace")
        if not text.endswith("\n") or "\n" in text[:-1]:
            raise InvalidRecordError("log.vkey is not one line")
        return text[:-1]

    def pending(self) -> PendingEntries:
        """Return the entries that no checkpoint holds yet."""
        return parse_journal(self.read("pending"))

    @as_ledger_error("a tile cannot be read")
    def tile(self, tile: Tile) -> bytes:
        """Return one file of hashes or entries; ``LedgerError`` if it is missing."""
        if tile.width == TILE_WIDTH or (self.folder / tile.path).exists():
            return self.read(tile.path)
        # Partial tiles go when they are full; whoever still holds an older checkpoint gets the
        # same bytes out of the full one.
        full = replace(tile, width=TILE_WIDTH)
        if not (self.folder / full.path).exists():
            raise LedgerError(f"{tile.path} is missing")
        data = self.read(full.path)
        if tile.level is None:
            return encode_bundle(decode_bundle(data)[: tile.width])
        return data[: tile.width * DIGEST_BYTES]

    def entry(self, index: int, size: int) -> bytes:
        """Return entry ``index`` of the tree of ``size``."""
        bundle, place = divmod(index, TILE_WIDTH)
        if not 0 <= index < size:
            raise LedgerError(f"entry {index} is not under the checkpoint of size {size}")
        width = min(TILE_WIDTH, size - bundle * TILE_WIDTH)
        entries = decode_bundle(self.tile(Tile(level=None, index=bundle, width=width)))
        if len(entries) != width:
            raise LedgerError(f"a bundle has {len(entries)} entries, wanted {width}")
        return entries[place]

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the path of entry ``index`` in the tree of ``size``."""
        return inclusion_proof(self.nodes(size), index, size)

    def nodes(self, size: int) -> NodeReader:
        """Return a reader of subtree roots that are complete in the tree of ``size``."""

        @lru_cache(maxsize=64)
        def hashes(level: int, index: int) -> list[bytes]:
            width = min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH)
            return split_hashes(self.tile(Tile(level=level, index=index, width=width)), width)

        def node(height: int, index: int) -> bytes:
            level, inside = divmod(height, TILE_HEIGHT)
            tile, place = divmod(index << inside, TILE_WIDTH)
            return root_of(hashes(level, tile)[place : place + (1 << inside)])

        return node

    def read(self, path: str) -> bytes:
        """Return one file of the log; ``LedgerError`` if it is missing or cannot be read."""
        with as_ledger_error(f"{path} cannot be read"):
            try:
                return read_ordinary(self.folder / path)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise LedgerError(f"{path} is missing") from error
