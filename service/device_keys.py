"""Keys that learners' browsers keep, and the proofs they sign: who shows a token also has a key.

A key is ECDSA on P-256: what WebCrypto can make in every browser without ever letting it out. A
proof goes with each request of the frame, in the header ``Zhenxue-Proof``:

    <seconds>.<base64 of the signature, r and s, 32 bytes each>

Signed, with SHA-256, are these lines in UTF-8, each ended by a newline:

    zhenxue/proof/v1
    POST                                  the method
    /v1/prompts/0a1b…/answer              the path, with "?" and the query where there is one
    1782950400                            seconds since 1970 by the engine's clock
    <hex>                                 SHA-256 of the token, or of the one-time code
    <hex>                                 SHA-256 of the body; of a PATCH, which comes in parts
                                          that may break off, that of nothing
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from verifier.errors import InputError, InvalidRecordError
from verifier.transparency.base64_text import from_base64, to_base64

DOMAIN: Final = "zhenxue/proof/v1"
PROOF_HEADER: Final = "Zhenxue-Proof"
PROOF_LASTS_S: Final = 60
"""How far the seconds of a proof may be from the engine's clock, either way."""

_SPKI_BYTES: Final = 91  # of an uncompressed point on P-256
_NUMBER_BYTES: Final = 32  # of r, and of s
_HEADER: Final = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9+/]{86}==)")


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The public half of a browser's key, as SubjectPublicKeyInfo.

    Raises
    ------
    InputError
        If it is no point on P-256 in its one canonical spelling.
    """

    spki: bytes

    def __post_init__(self) -> None:
        # One spelling: or else one key would be several devices.
        if len(self.spki) != _SPKI_BYTES or _serialize(_load(self.spki)) != self.spki:
            raise InputError("public_key is no uncompressed P-256 key as SubjectPublicKeyInfo")

    @property
    def device_id(self) -> str:
        """SHA-256 of the key, 64 hex digits; no secret."""
        return hashlib.sha256(self.spki).hexdigest()

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Say whether a signature, r and s of 32 bytes each, is this key's of ``text``."""
        if len(signature) != 2 * _NUMBER_BYTES:
            return False
        r, s = (
            int.from_bytes(part, "big")
            for part in (signature[:_NUMBER_BYTES], signature[_NUMBER_BYTES:])
        )
        try:
            _load(self.spki).verify(encode_dss_signature(r, s), text, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a proof header says: when it was signed, and the signature."""

    at_s: int
    signature: bytes

    @classmethod
    def parse(cls, header: str) -> Self | None:
        """Return what a header says; None if it cannot be one."""
        found = _HEADER.fullmatch(header)
        if found is None:
            return None
        try:
            signature = from_base64(found[2])
        except InvalidRecordError:
            return None
        return cls(at_s=int(found[1]), signature=signature)

    @property
    def header(self) -> str:
        """What is sent."""
        return f"{self.at_s}.{to_base64(self.signature)}"


def signed_text(*, method: str, target: str, at_s: int, secret: str, body: bytes) -> bytes:
    """Return what a proof signs of a request.

    Parameters
    ----------
    target
        The path, with ``?`` and the query where there is one.
    secret
        What ``Authorization`` shows: the token, or a one-time code before there is any.
    """
    digests = (hashlib.sha256(each).hexdigest() for each in (secret.encode(), body))
    lines = (DOMAIN, method, target, str(at_s), *digests)
    return "".join(f"{line}\n" for line in lines).encode()


def _load(spki: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("public_key is no SubjectPublicKeyInfo") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InputError("public_key is of another curve; P-256 was wanted")
    return key


def _serialize(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
