"""Cosignatures of witnesses (c2sp.org/tlog-cosignature) with Ed25519, type 0x04.

A cosignature says: at this time, the largest consistent tree of this log that the witness had
seen was the one in this checkpoint. It is a line under the checkpoint, ``— name base64(key id ‖
time ‖ signature)``; time is a big-endian uint64 of POSIX seconds, and what is signed is the time
and the text of the checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.note import (
    NoteSignature,
    PrivateKey,
    SignedNote,
    key_id_of,
    key_text,
    parse_key,
)

COSIGNATURE_V1 = b"\x04"
LATEST_TIMESTAMP = 2**63 - 1
_BYTES = 8 + 64  # the time and the Ed25519 signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """When a witness signed, and its signature; nothing has been verified yet."""

    timestamp: int  # POSIX seconds, 0 to 2**63 - 1
    signature: bytes  # 64 bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> "Cosignature":
        """Read the 72 bytes that follow the key id; ``InvalidRecordError`` otherwise."""
        timestamp = int.from_bytes(data[:8], "big")
        if len(data) != _BYTES or timestamp > LATEST_TIMESTAMP:
            raise InvalidRecordError("a cosignature is not a time before 2**63 and 64 bytes")
        return cls(timestamp=timestamp, signature=data[8:])

    def to_bytes(self) -> bytes:
        """Return the 72 bytes, as a schedule's seed takes them."""
        return self.timestamp.to_bytes(8, "big") + self.signature


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignatureVerifier:
    """The public half of a witness's key."""

    name: str
    public_key: bytes  # 32 bytes

    @classmethod
    def from_vkey(cls, vkey: str) -> "CosignatureVerifier":
        """Read ``name+hex id+base64(0x04 ‖ key)``; ``InvalidRecordError`` if any part disagrees."""
        name, key_id, public_key = parse_key(vkey, COSIGNATURE_V1)
        verifier = cls(name=name, public_key=public_key)
        if verifier.key_id != key_id:
            raise InvalidRecordError("a verifier key's id does not belong to its name and key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name ‖ newline ‖ 0x04 ‖ public key)."""
        return key_id_of(self.name, COSIGNATURE_V1, self.public_key)

    @property
    def vkey(self) -> str:
        """The text that is handed to those who verify."""
        return key_text(self.name, self.key_id, COSIGNATURE_V1, self.public_key)

    def made(self, signature: NoteSignature) -> bool:
        """Whether a line claims to be by this key."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def verify(self, note: SignedNote) -> Cosignature:
        """Return this witness's cosignature under ``note``; lines by others are ignored.

        Raises
        ------
        LedgerError
            If there is none, or any line by this key is wrong.
        """
        own = [signature for signature in note.signatures if self.made(signature)]
        if not own:
            raise LedgerError(f"no cosignature by {self.name} {self.key_id.hex()}")
        found, *_ = [self.verify_line(note.text, signature) for signature in own]
        return found

    def verify_line(self, text: str, signature: NoteSignature) -> Cosignature:
        """Return what one line says once it is shown to be this key's over ``text``.

        Raises
        ------
        LedgerError
            If it is not.
        """
        try:
            found = Cosignature.from_bytes(signature.signature)
        except InvalidRecordError as error:
            raise LedgerError(f"the cosignature by {self.name} is malformed: {error}") from None
        self.verify_bytes(text, found)
        return found

    def verify_bytes(self, text: str, cosignature: Cosignature) -> None:
        """Return if ``cosignature`` is this key's over ``text``; ``LedgerError`` otherwise."""
        key = Ed25519PublicKey.from_public_bytes(self.public_key)
        try:
            key.verify(cosignature.signature, signed_message(text, cosignature.timestamp))
        except InvalidSignature:
            raise LedgerError(f"the cosignature by {self.name} is wrong") from None


class CosignatureSigner(PrivateKey):
    """Cosigns checkpoints; see `CosignatureVerifier` for the public half."""

    algorithm = COSIGNATURE_V1

    @property
    def verifier(self) -> CosignatureVerifier:
        """The public half."""
        return CosignatureVerifier(name=self.name, public_key=self.public_key)

    def cosign(self, text: str, timestamp: int) -> NoteSignature:
        """Return the line that goes under a checkpoint's ``text``."""
        signature = self._key.sign(signed_message(text, timestamp))
        return NoteSignature(
            name=self.name,
            key_id=self.key_id,
            signature=Cosignature(timestamp=timestamp, signature=signature).to_bytes(),
        )


def signed_message(text: str, timestamp: int) -> bytes:
    """Return what a witness signs: header, time, and the checkpoint's whole text."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def cosigners(note: SignedNote, log: str) -> Sequence[str]:
    """Return the names on lines of a cosignature's length that are not the log's; unverified."""
    lines = (s for s in note.signatures if len(s.signature) == _BYTES and s.name != log)
    return tuple(dict.fromkeys(signature.name for signature in lines))
