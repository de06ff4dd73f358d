"""Base 64 (RFC 4648 section 4) with exactly one accepted spelling for each value."""

import base64
import binascii

from verifier.errors import InvalidRecordError


def to_base64(data: bytes) -> str:
    """Return the standard alphabet with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Return the bytes of ``text``.

    Raises
    ------
    InvalidRecordError
        If ``text`` is anything but what ``to_base64`` would have written.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRecordError(f"not base64: {len(text)} characters") from error
    # Unused bits in the last character would let one value be written in several ways, and
    # then a changed byte of a file could go unseen.
    if to_base64(data) != text:
        raise InvalidRecordError("base64 is not in its one canonical spelling")
    return data
