r"""The file that holds one piece of evidence: a header line, then ciphertext.

::

    zhenxue-object/v1 {"authority":…,"class":…,…}\n
    <ciphertext of the picture, if there is one><ciphertext of the opening>

The header is canonical JSON: what the parts are bound to (``SealContext``), the key check, and
length and nonce of each part. The *opening* is what recomputes the commitment in the leaf.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.sealing import NONCE_BYTES, TAG_BYTES, SealContext, SealedPart, seal, unseal
from pipelines.sealing import key_check as make_key_check
from verifier.errors import InvalidRecordError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.canonical_json import (
    JSONValue,
    canonical_json,
    parse_canonical_object,
)
from verifier.transparency.commitment import Opening

MAGIC = b"zhenxue-object/v1 "
LONGEST_HEADER = 16_384  # bytes
_CONTEXT_FIELDS = ("authority", "class", "contract", "key_id", "learner", "purpose")
_FIELDS = {*_CONTEXT_FIELDS, "image", "key_check", "opening"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedObject:
    """One object as stored; nothing has been decrypted."""

    context: SealContext
    key_check: bytes  # 32 bytes
    image: SealedPart | None
    opening: SealedPart

    @property
    def ciphertext_sha256(self) -> str | None:
        """Digest of the picture's ciphertext with its tag, lower-case hex."""
        return None if self.image is None else hashlib.sha256(self.image.ciphertext).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> "SealedObject":
        """Read an object; ``InvalidRecordError`` if the format is broken anywhere."""
        line, newline, body = data[:LONGEST_HEADER].partition(b"\n")
        if not newline or not line.startswith(MAGIC):
            raise InvalidRecordError("not an object: no header line")
        header = parse_canonical_object(line.removeprefix(MAGIC))
        if set(header) != _FIELDS:
            raise InvalidRecordError("an object's header has other fields than it should")
        body = data[len(line) + 1 :]
        image_bytes, image_nonce = _part_of(header["image"]) or (0, b"")
        opening = _part_of(header["opening"])
        if opening is None or image_bytes + opening[0] != len(body):
            raise InvalidRecordError("an object is longer or shorter than its header says")
        return cls(
            context=_context_of(header),
            key_check=from_base64(_text(header, "key_check")),
            image=SealedPart(nonce=image_nonce, ciphertext=body[:image_bytes])
            if image_bytes
            else None,
            opening=SealedPart(nonce=opening[1], ciphertext=body[image_bytes:]),
        )

    def serialize(self) -> bytes:
        """Return the bytes of the file."""
        header: dict[str, JSONValue] = {
            **self.context.to_json(),
            "image": None if self.image is None else _describe(self.image),
            "key_check": to_base64(self.key_check),
            "opening": _describe(self.opening),
        }
        image = b"" if self.image is None else self.image.ciphertext
        return MAGIC + canonical_json(header) + b"\n" + image + self.opening.ciphertext

    def open_image(self, key: bytes) -> bytes | None:
        """Decrypt the picture; errors as ``unseal``."""
        if self.image is None:
            return None
        return unseal(key, self.image, self.context, "image", self.key_check)

    def open_opening(self, key: bytes) -> Opening:
        """Decrypt what recomputes the commitment; errors as ``unseal``."""
        data = unseal(key, self.opening, self.context, "opening", self.key_check)
        return Opening.from_json(parse_canonical_object(data))


def seal_object(
    *,
    key: bytes,
    context: SealContext,
    record: Mapping[str, JSONValue],
    blinding: bytes,
    image: bytes | None,
    pixels_sha256: str | None,
) -> tuple[SealedObject, Opening]:
    """Encrypt a picture, if any, and the opening of the commitment to it."""
    sealed_image = None if image is None else seal(key, image, context, "image")
    digest = None if sealed_image is None else hashlib.sha256(sealed_image.ciphertext).hexdigest()
    opening = Opening(
        blinding=blinding, record=record, pixels_sha256=pixels_sha256, ciphertext_sha256=digest
    )
    sealed = SealedObject(
        context=context,
        key_check=make_key_check(key, context),
        image=sealed_image,
        opening=seal(key, canonical_json(opening.to_json()), context, "opening"),
    )
    return sealed, opening


def _describe(part: SealedPart) -> dict[str, JSONValue]:
    return {"bytes": len(part.ciphertext), "nonce": to_base64(part.nonce)}


def _part_of(value: JSONValue) -> tuple[int, bytes] | None:
    """Return length and nonce of a part, or None where the header says null."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or set(value) != {"bytes", "nonce"}:
        raise InvalidRecordError("a part of an object is not described by bytes and nonce")
    length, nonce = value["bytes"], from_base64(_text(value, "nonce"))
    if isinstance(length, bool) or not isinstance(length, int) or length < TAG_BYTES:
        raise InvalidRecordError("a part of an object has no length, or is shorter than its tag")
    if len(nonce) != NONCE_BYTES:
        raise InvalidRecordError(f"a nonce has {len(nonce)} bytes, wanted {NONCE_BYTES}")
    return length, nonce


def _context_of(header: Mapping[str, JSONValue]) -> SealContext:
    return SealContext(
        authority=_text(header, "authority"),
        learner=_text(header, "learner"),
        record_class=_text(header, "class"),
        purpose=_text(header, "purpose"),
        contract=_text(header, "contract"),
        key_id=_text(header, "key_id"),
    )


def _text(header: Mapping[str, JSONValue], name: str) -> str:
    value = header[name]
    if not isinstance(value, str):
        raise InvalidRecordError(f"{name} is not text")
    return value
