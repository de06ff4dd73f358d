"""Checkpoints (c2sp.org/tlog-checkpoint): a log's size and root as a signed note."""

import re
from dataclasses import dataclass

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.merkle import DIGEST_BYTES
from verifier.transparency.note import NoteSigner, NoteVerifier, SignedNote

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")  # as the specification writes sizes; below 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of one log's tree."""

    origin: str
    size: int
    root: bytes  # 32 bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise InvalidRecordError("a checkpoint's origin is empty or spans lines")
        if self.size < 0 or len(self.root) != DIGEST_BYTES:
            raise InvalidRecordError("a checkpoint's size or root is out of range")

    @classmethod
    def from_text(cls, text: str) -> "Checkpoint":
        """Read the text of a note; ``InvalidRecordError`` if it is no checkpoint."""
        lines = text.removesuffix("\n").split("\n")
        if not text.endswith("\n") or len(lines) < 3 or not all(lines):
            raise InvalidRecordError("a checkpoint has at least three lines, none empty")
        return cls(
            origin=lines[0],
            size=parse_decimal(lines[1]),
            root=from_base64(lines[2]),
            extensions=tuple(lines[3:]),
        )

    def text(self) -> str:
        """Return the text that gets signed."""
        lines = (self.origin, str(self.size), to_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_decimal(text: str) -> int:
    """Read a whole number without leading zeros; ``InvalidRecordError`` otherwise."""
    if not _DECIMAL.fullmatch(text):
        raise InvalidRecordError("a number is not plain decimal digits")
    return int(text)


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> SignedNote:
    """Sign ``checkpoint``; the key's name is the log's origin, so that a key speaks for one log."""
    if signer.verifier.name != checkpoint.origin:
        raise InvalidRecordError("the signing key is named after another log")
    return signer.sign(checkpoint.text())


def open_checkpoint(data: bytes, verifier: NoteVerifier) -> Checkpoint:
    """Return the checkpoint in ``data`` once ``verifier``'s signature has been checked.

    Raises
    ------
    InvalidRecordError
        If ``data`` is no signed checkpoint.
    LedgerError
        If the signature is missing or wrong, or the checkpoint is of another log.
    """
    note = SignedNote.parse(data)
    verifier.verify(note)
    checkpoint = Checkpoint.from_text(note.text)
    if checkpoint.origin != verifier.name:
        raise LedgerError("the checkpoint's origin is not the log that the key belongs to")
    return checkpoint
