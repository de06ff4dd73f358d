"""What a leaf promises about evidence it does not show.

commitment = HMAC-SHA-256(r, four lines), each ended by a newline:

1. ``zhenxue/leaf/v1``
2. the canonical JSON of the record (it never holds a raw newline)
3. hex SHA-256 of the canonical pixels, or ``-`` where there is no picture
4. hex SHA-256 of the picture's ciphertext, or ``-``

Nobody can try guesses against a commitment without ``r``: 32 fresh bytes for each record,
stored encrypted. Destroying the key that encrypts ``r`` leaves the log provable and the
commitment meaningless. A proof discloses the ``r`` of one record and of no other.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.canonical_json import JSONValue, canonical_json

DOMAIN = "zhenxue/leaf/v1"
BLINDING_BYTES = 32


def fresh_blinding() -> bytes:
    """Return a new ``r``."""
    return secrets.token_bytes(BLINDING_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Everything that recomputes one commitment."""

    blinding: bytes = field(repr=False)  # r, 32 bytes
    record: Mapping[str, JSONValue]
    pixels_sha256: str | None = None  # lower-case hex
    ciphertext_sha256: str | None = None  # lower-case hex

    def __post_init__(self) -> None:
        if len(self.blinding) != BLINDING_BYTES:
            raise InvalidRecordError(f"r has {len(self.blinding)} bytes, wanted {BLINDING_BYTES}")
        for digest in (self.pixels_sha256, self.ciphertext_sha256):
            if digest is not None and not _is_hex_digest(digest):
                raise InvalidRecordError("a digest is not 64 lower-case hex digits")

    @classmethod
    def from_json(cls, value: Mapping[str, JSONValue]) -> "Opening":
        """Read what ``to_json`` wrote; ``InvalidRecordError`` if it is anything else."""
        if set(value) != {"ciphertext_sha256", "pixels_sha256", "r", "record"}:
            raise InvalidRecordError("an opening has other fields than r, record, two digests")
        r, record = value["r"], value["record"]
        pixels, ciphertext = value["pixels_sha256"], value["ciphertext_sha256"]
        if not isinstance(r, str) or not isinstance(record, Mapping):
            raise InvalidRecordError("an opening's r is not text, or its record no object")
        if not isinstance(pixels, str | None) or not isinstance(ciphertext, str | None):
            raise InvalidRecordError("an opening's digest is not text")
        return cls(
            blinding=from_base64(r),
            record=record,
            pixels_sha256=pixels,
            ciphertext_sha256=ciphertext,
        )

    def to_json(self) -> dict[str, JSONValue]:
        """Return the form that is sealed with an object and disclosed in a receipt."""
        return {
            "ciphertext_sha256": self.ciphertext_sha256,
            "pixels_sha256": self.pixels_sha256,
            "r": to_base64(self.blinding),
            "record": self.record,
        }


def commit(opening: Opening) -> bytes:
    """Return the 32 bytes that a leaf carries for ``opening``."""
    lines = (
        DOMAIN.encode("ascii"),
        canonical_json(opening.record),
        (opening.pixels_sha256 or "-").encode("ascii"),
        (opening.ciphertext_sha256 or "-").encode("ascii"),
    )
    return hmac.digest(opening.blinding, b"".join(line + b"\n" for line in lines), "sha256")


def verify_commitment(opening: Opening, commitment: bytes) -> None:
    """Return if ``opening`` is what ``commitment`` was made of; ``LedgerError`` otherwise."""
    if not hmac.compare_digest(commit(opening), commitment):
        raise LedgerError("the opening does not belong to the commitment")


def _is_hex_digest(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)
