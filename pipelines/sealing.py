"""Encryption of evidence: AES-256-GCM that commits to its key.

AES-GCM alone lets one ciphertext open under two keys to two different pictures. So a data key
never encrypts by itself: HKDF derives from it

- an encryption key for AES-256-GCM,
- a *key-check* key: its HMAC over the context is stored beside the ciphertext and is checked
  before anything is decrypted,
- a reference key: names a learner in the log by an HMAC that means nothing once the data key
  is destroyed.
"""

import hmac
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from verifier.errors import LedgerError, WrongKeyError
from verifier.transparency.canonical_json import JSONValue, canonical_json

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SealContext:
    """What a ciphertext is bound to; opened in any other context it is refused."""

    authority: str
    learner: str  # the keyed reference, never the learner's id
    record_class: str
    purpose: str
    contract: str  # the model contract that the evidence was judged under
    key_id: str

    def to_json(self) -> dict[str, JSONValue]:
        """Return the fields under the names that an object's header uses."""
        return {
            "authority": self.authority,
            "class": self.record_class,
            "contract": self.contract,
            "key_id": self.key_id,
            "learner": self.learner,
            "purpose": self.purpose,
        }

    def associated_data(self, part: str) -> bytes:
        """Return what GCM authenticates beside part ``part`` of an object."""
        return f"zhenxue/sealed/v1\n{part}\n".encode() + canonical_json(self.to_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPart:
    """A nonce, and ciphertext followed by its 16-byte tag."""

    nonce: bytes  # 12 bytes, random: far below 2**32 parts are sealed under one key
    ciphertext: bytes


def fresh_key() -> bytes:
    """Return a new data key."""
    return secrets.token_bytes(KEY_BYTES)


def derive(key: bytes, label: str) -> bytes:
    """Return the 32-byte subkey of ``key`` for one use."""
    return HKDFExpand(SHA256(), KEY_BYTES, f"zhenxue/{label}/v1".encode()).derive(key)


def key_check(key: bytes, context: SealContext) -> bytes:
    """Return the 32-byte MAC by which ``key`` is recognised before it decrypts anything."""
    return hmac.digest(derive(key, "key-check"), context.associated_data("key-check"), "sha256")


def verify_key(key: bytes, context: SealContext, expected: bytes) -> None:
    """Return if ``key`` is the one that made ``expected``; ``WrongKeyError`` otherwise."""
    if not hmac.compare_digest(key_check(key, context), expected):
        raise WrongKeyError("the key offered is not the key this was sealed with")


def seal(key: bytes, plaintext: bytes, context: SealContext, part: str) -> SealedPart:
    """Encrypt one part of an object."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    cipher = AESGCM(derive(key, "encrypt"))
    ciphertext = cipher.encrypt(nonce, plaintext, context.associated_data(part))
    return SealedPart(nonce=nonce, ciphertext=ciphertext)


def unseal(
    key: bytes, sealed: SealedPart, context: SealContext, part: str, expected_check: bytes
) -> bytes:
    """Decrypt one part of an object.

    Raises
    ------
    WrongKeyError
        If ``key`` is not the key it was sealed with; nothing has been decrypted then.
    LedgerError
        If the key is right and the ciphertext or its context was changed.
    """
    # 1. the right key; 2. the right bytes in the right context.
    verify_key(key, context, expected_check)
    cipher = AESGCM(derive(key, "encrypt"))
    try:
        return cipher.decrypt(sealed.nonce, sealed.ciphertext, context.associated_data(part))
    except InvalidTag as error:
        raise LedgerError("a sealed part was changed, or belongs to another context") from error


def learner_reference(key: bytes, learner_id: str) -> str:
    """Return the name that the log knows a learner by: 64 hex digits.

    Whoever holds the data key can match it to an id; after the key is destroyed nobody can.
    """
    return hmac.digest(derive(key, "learner-reference"), learner_id.encode(), "sha256").hex()
