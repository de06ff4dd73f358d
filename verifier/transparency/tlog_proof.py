"""Offline receipts (c2sp.org/tlog-proof@v1): one entry, its path, the signed checkpoint."""

from dataclasses import dataclass

from verifier.errors import InvalidRecordError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint, parse_decimal
from verifier.transparency.merkle import DIGEST_BYTES, leaf_hash, verify_inclusion
from verifier.transparency.note import NoteVerifier

HEADER = "c2sp.org/tlog-proof@v1"
LONGEST_PATH = 63  # hashes; enough for any size below 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """A receipt as read; only ``verify`` says whether it holds."""

    index: int
    path: tuple[bytes, ...]  # 32 bytes each, the leaf's sibling first
    checkpoint: bytes  # the signed note, verbatim
    extra: bytes | None = None  # not authenticated by itself

    @classmethod
    def parse(cls, data: bytes) -> "TlogProof":
        """Read a receipt; ``InvalidRecordError`` if the format is broken anywhere."""
        try:
            head, blank, note = data.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError as error:
            raise InvalidRecordError("a receipt is not UTF-8") from error
        header, *lines = head.split("\n")
        if not blank or header != HEADER:
            raise InvalidRecordError(f"a receipt does not start with {HEADER}")
        extra = _take(lines, "extra ")
        index = _take(lines, "index ")
        if index is None or len(lines) > LONGEST_PATH:
            raise InvalidRecordError("a receipt has no index, or too long a path")
        return cls(
            index=parse_decimal(index),
            path=tuple(map(_parse_hash, lines)),
            checkpoint=note.encode("utf-8"),
            extra=None if extra is None else from_base64(extra),
        )

    def serialize(self) -> bytes:
        """Return the text of the receipt."""
        extra = [] if self.extra is None else [f"extra {to_base64(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(to_base64, self.path), "", ""]
        return "\n".join(lines).encode("utf-8") + self.checkpoint

    def verify(self, entry: bytes, verifier: NoteVerifier) -> Checkpoint:
        """Return the checkpoint once it is shown that it holds ``entry`` at ``index``.

        Raises
        ------
        LedgerError
            If the signature or the path is wrong.
        InvalidRecordError
            If the checkpoint is malformed.
        """
        # 1. whose log it is; 2. that the log holds this entry at this place. Size and root
        # come from the signed text, never from anything unsigned beside it.
        checkpoint = open_checkpoint(self.checkpoint, verifier)
        verify_inclusion(
            leaf_hash=leaf_hash(entry),
            index=self.index,
            size=checkpoint.size,
            root=checkpoint.root,
            proof=self.path,
        )
        return checkpoint


def _take(lines: list[str], prefix: str) -> str | None:
    if lines and lines[0].startswith(prefix):
        return lines.pop(0).removeprefix(prefix)
    return None


def _parse_hash(line: str) -> bytes:
    digest = from_base64(line)
    if len(digest) != DIGEST_BYTES:
        raise InvalidRecordError(f"a hash has {len(digest)} bytes, wanted {DIGEST_BYTES}")
    return digest
