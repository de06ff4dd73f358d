"""A receipt: what one leaf says, and proof that the log holds it. Needs nothing but a vkey.

The text is a ``c2sp.org/tlog-proof@v1``. Its ``extra`` is canonical JSON::

    {"entry":"<base64 of the leaf>","opening":{…}|null,"v":1}

``extra`` is not signed, but everything in it is checked against what is: the entry by the
Merkle path, the opening by the commitment inside the entry. ``opening`` is null where the leaf
has no commitment, and where the key that could disclose it was destroyed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.canonical_json import canonical_json, parse_canonical_object
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.commitment import Opening, verify_commitment
from verifier.transparency.leaf import Leaf
from verifier.transparency.note import NoteVerifier
from verifier.transparency.tlog_proof import TlogProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt as read; only ``verify`` says whether it holds."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes  # the signed note, verbatim
    entry: bytes
    opening: Opening | None

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """Read a receipt; ``InvalidRecordError`` if the format is broken anywhere."""
        proof = TlogProof.parse(data)
        extra = parse_canonical_object(proof.extra or b"")
        if set(extra) != {"entry", "opening", "v"} or extra["v"] != 1:
            raise InvalidRecordError("a receipt's extra data is not of version 1")
        entry, opening = extra["entry"], extra["opening"]
        if not isinstance(entry, str) or not isinstance(opening, Mapping | None):
            raise InvalidRecordError("a receipt's entry is not text, or its opening no object")
        return cls(
            index=proof.index,
            path=proof.path,
            checkpoint=proof.checkpoint,
            entry=from_base64(entry),
            opening=None if opening is None else Opening.from_json(opening),
        )

    def serialize(self) -> bytes:
        """Return the text that is handed out."""
        opening = None if self.opening is None else self.opening.to_json()
        extra = canonical_json({"entry": to_base64(self.entry), "opening": opening, "v": 1})
        return self._proof(extra).serialize()

    def verify(self, verifier: NoteVerifier) -> tuple[Checkpoint, Leaf]:
        """Return the checkpoint and the leaf once everything has been checked.

        Raises
        ------
        LedgerError
            If signature, path or commitment is wrong.
        InvalidRecordError
            If the checkpoint or the leaf is malformed.
        """
        # 1. signature and path; 2. the entry is a leaf; 3. the opening is what it committed to.
        checkpoint = self._proof(None).verify(self.entry, verifier)
        leaf = Leaf.parse(self.entry)
        if self.opening is not None:
            if leaf.commitment is None:
                raise LedgerError("the receipt opens a commitment that the leaf does not make")
            verify_commitment(self.opening, leaf.commitment)
        return checkpoint, leaf

    def _proof(self, extra: bytes | None) -> TlogProof:
        return TlogProof(index=self.index, path=self.path, checkpoint=self.checkpoint, extra=extra)
