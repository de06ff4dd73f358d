"""Signed notes (c2sp.org/signed-note) with Ed25519: text that anyone can check by hand.

A *verifier key* (vkey) is ``name+hex id+base64(0x01 ‖ public key)``; the private form is
``PRIVATE+KEY+name+hex id+base64(0x01 ‖ seed)``, as Go's ``sumdb/note`` writes them.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.base64_text import from_base64, to_base64

ED25519 = b"\x01"
MOST_SIGNATURES = 64  # the specification asks for at least 16; more only costs time
_NAME = re.compile(r"[^\s+]+")
_HEX_ID = re.compile(r"[0-9a-f]{8}")
PRIVATE_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line: ``— name base64(key id ‖ signature)``."""

    name: str
    key_id: bytes  # 4 bytes
    signature: bytes

    def line(self) -> str:
        """Return the line with its newline."""
        return f"— {self.name} {to_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedNote:
    """A text and the signatures under it; nothing has been verified yet."""

    text: str  # ends with a newline
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> "SignedNote":
        """Read a signed note; ``InvalidRecordError`` if the format is broken anywhere."""
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidRecordError("a note is not UTF-8") from error
        if any(character < " " and character != "\n" for character in whole):
            raise InvalidRecordError("a note holds a control character")
        head, blank, tail = whole.rpartition("\n\n")
        if not blank or not tail.endswith("\n"):
            raise InvalidRecordError("a note has no blank line before its signatures")
        lines = tail[:-1].split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise InvalidRecordError(f"a note has {len(lines)} signatures")
        return cls(text=head + "\n", signatures=tuple(map(parse_signature_line, lines)))

    def serialize(self) -> bytes:
        """Return the bytes that ``parse`` read."""
        return (self.text + "\n" + "".join(s.line() for s in self.signatures)).encode("utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteVerifier:
    """The public half: whom we believe."""

    name: str
    public_key: bytes  # 32 bytes

    @classmethod
    def from_vkey(cls, vkey: str) -> "NoteVerifier":
        """Read ``name+hex id+base64``; ``InvalidRecordError`` if any part disagrees."""
        name, key_id, public_key = parse_key(vkey, ED25519)
        verifier = cls(name=name, public_key=public_key)
        if verifier.key_id != key_id:
            raise InvalidRecordError("a verifier key's id does not belong to its name and key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name ‖ newline ‖ 0x01 ‖ public key)."""
        return key_id_of(self.name, ED25519, self.public_key)

    @property
    def name_and_id(self) -> tuple[str, bytes]:
        """What a line by this key says of itself."""
        return self.name, self.key_id

    @property
    def vkey(self) -> str:
        """The text that is handed to those who verify."""
        return key_text(self.name, self.key_id, ED25519, self.public_key)

    def verify(self, note: SignedNote) -> None:
        """Return if this key signed ``note``; signatures of other keys are ignored.

        Raises
        ------
        LedgerError
            If this key's signature is missing or wrong.
        """
        own = [s for s in note.signatures if (s.name, s.key_id) == (self.name, self.key_id)]
        if not own:
            raise LedgerError(f"no signature by {self.name} {self.key_id.hex()}")
        key = Ed25519PublicKey.from_public_bytes(self.public_key)
        for signature in own:
            try:
                key.verify(signature.signature, note.text.encode("utf-8"))
            except InvalidSignature as error:
                raise LedgerError(f"the signature by {self.name} is wrong") from error


class PrivateKey:
    """The private half of a key of one algorithm; it never prints its seed."""

    algorithm: ClassVar[bytes]

    def __init__(self, name: str, seed: bytes) -> None:
        require_key_name(name)
        self.name = name
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self.key_id = key_id_of(name, self.algorithm, self.public_key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a fresh key."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what ``private_text`` wrote; the message of an error never quotes it."""
        if not text.startswith(PRIVATE_PREFIX):
            raise InvalidRecordError("not the text of a private key")
        name, key_id, seed = parse_key(text.removeprefix(PRIVATE_PREFIX), cls.algorithm)
        read = cls(name, seed)
        if read.key_id != key_id:
            raise InvalidRecordError("a private key's id does not belong to its name and key")
        return read

    def private_text(self) -> str:
        """Return the text for a file that only its owner may read."""
        return PRIVATE_PREFIX + key_text(self.name, self.key_id, self.algorithm, self._seed)


class NoteSigner(PrivateKey):
    """Signs notes; see `NoteVerifier` for the public half."""

    algorithm = ED25519

    @property
    def verifier(self) -> NoteVerifier:
        """The public half."""
        return NoteVerifier(name=self.name, public_key=self.public_key)

    def sign(self, text: str) -> SignedNote:
        """Sign ``text``, which ends with a newline."""
        if not text.endswith("\n"):
            raise InvalidRecordError("a note's text does not end with a newline")
        signature = NoteSignature(
            name=self.name,
            key_id=self.key_id,
            signature=self._key.sign(text.encode("utf-8")),
        )
        return SignedNote(text=text, signatures=(signature,))


def require_key_name(name: str) -> None:
    """Return if ``name`` may name a key; ``InvalidRecordError`` otherwise."""
    if not _NAME.fullmatch(name):
        raise InvalidRecordError("a key name is empty, or has a space or a plus sign")


def key_id_of(name: str, algorithm: bytes, public_key: bytes) -> bytes:
    """Return the first 4 bytes of SHA-256(name ‖ newline ‖ algorithm ‖ public key)."""
    return hashlib.sha256(name.encode() + b"\n" + algorithm + public_key).digest()[:4]


def key_text(name: str, key_id: bytes, algorithm: bytes, key: bytes) -> str:
    """Return ``name+hex id+base64(algorithm ‖ key)``; ``parse_key`` reads it."""
    return f"{name}+{key_id.hex()}+{to_base64(algorithm + key)}"


def parse_signature_line(line: str) -> NoteSignature:
    """Read a signature line without its newline; ``InvalidRecordError`` if it is none."""
    # Exactly three parts: a name holds no space, and base64 holds none either.
    dash, *rest = line.split(" ")
    if dash != "—" or len(rest) != 2 or not _NAME.fullmatch(rest[0]):
        raise InvalidRecordError("a signature line is not '— name base64'")
    data = from_base64(rest[1])
    if len(data) < 5:
        raise InvalidRecordError("a signature is shorter than its key id")
    return NoteSignature(name=rest[0], key_id=data[:4], signature=data[4:])


def parse_key(text: str, algorithm: bytes) -> tuple[str, bytes, bytes]:
    """Return name, key id (not checked yet) and the 32 bytes of an Ed25519 key of ``algorithm``."""
    # Base64 may itself hold plus signs, so only the first two separate.
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not _HEX_ID.fullmatch(parts[1]):
        raise InvalidRecordError("a key is not 'name+hex id+base64'")
    data = from_base64(parts[2])
    if len(data) != 33 or data[:1] != algorithm:
        raise InvalidRecordError(f"a key is not an Ed25519 key (0x{algorithm.hex()} and 32 bytes)")
    return parts[0], bytes.fromhex(parts[1]), data[1:]
