"""Encryption that commits to its key, and the object file around it."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import sealing
from pipelines.sealed_object import SealedObject, seal_object
from pipelines.sealing import (
    SealContext,
    SealedPart,
    fresh_key,
    key_check,
    learner_reference,
    seal,
    unseal,
)
from verifier.errors import InvalidRecordError, LedgerError, WrongKeyError

KEY = bytes(range(32))
CONTEXT = SealContext(
    authority="cq",
    learner="ab" * 32,
    record_class="face-evidence",
    purpose="attendance",
    contract="model@1",
    key_id="cd" * 16,
)


@given(plaintext=st.binary(max_size=200))
def test_what_is_sealed_opens(plaintext: bytes) -> None:
    sealed = seal(KEY, plaintext, CONTEXT, "image")
    assert unseal(KEY, sealed, CONTEXT, "image", key_check(KEY, CONTEXT)) == plaintext
    assert len(sealed.ciphertext) == len(plaintext) + 16


def test_another_key_is_told_before_anything_is_decrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealed = seal(KEY, b"face", CONTEXT, "image")
    check = key_check(KEY, CONTEXT)
    monkeypatch.setattr(sealing, "AESGCM", None)  # would fail if it were reached
    with pytest.raises(WrongKeyError):
        unseal(fresh_key(), sealed, CONTEXT, "image", check)


@pytest.mark.parametrize(
    "field", ["authority", "learner", "record_class", "purpose", "contract", "key_id"]
)
def test_each_field_of_the_context_is_bound(field: str) -> None:
    sealed = seal(KEY, b"face", CONTEXT, "image")
    other = replace(CONTEXT, **{field: "other"})
    # Through the key check, and through the ciphertext even if the check is made to fit.
    with pytest.raises(WrongKeyError):
        unseal(KEY, sealed, other, "image", key_check(KEY, CONTEXT))
    with pytest.raises(LedgerError):
        unseal(KEY, sealed, other, "image", key_check(KEY, other))


def test_parts_cannot_be_exchanged() -> None:
    sealed = seal(KEY, b"face", CONTEXT, "image")
    with pytest.raises(LedgerError, match="changed"):
        unseal(KEY, sealed, CONTEXT, "opening", key_check(KEY, CONTEXT))


def test_every_changed_byte_of_a_ciphertext_is_found() -> None:
    sealed = seal(KEY, b"face", CONTEXT, "image")
    for at in range(len(sealed.ciphertext)):
        changed = bytearray(sealed.ciphertext)
        changed[at] ^= 1
        broken = SealedPart(nonce=sealed.nonce, ciphertext=bytes(changed))
        with pytest.raises(LedgerError):
            unseal(KEY, broken, CONTEXT, "image", key_check(KEY, CONTEXT))


def test_nonces_are_fresh() -> None:
    assert len({seal(KEY, b"", CONTEXT, "image").nonce for _ in range(100)}) == 100


def test_a_learners_reference_needs_the_key() -> None:
    assert learner_reference(KEY, "L1") == learner_reference(KEY, "L1")
    assert learner_reference(KEY, "L1") != learner_reference(KEY, "L2")
    assert learner_reference(KEY, "L1") != learner_reference(fresh_key(), "L1")


@pytest.mark.parametrize("image", [None, b"", b"picture"])
def test_an_object_reads_back_and_opens(image: bytes | None) -> None:
    pixels = None if image is None else hashlib.sha256(b"pixels").hexdigest()
    sealed, opening = seal_object(
        key=KEY,
        context=CONTEXT,
        record={"outcome": "match"},
        blinding=bytes(32),
        image=image,
        pixels_sha256=pixels,
    )
    again = SealedObject.parse(sealed.serialize())
    assert again == sealed
    assert again.open_image(KEY) == image
    assert again.open_opening(KEY) == opening
    assert opening.ciphertext_sha256 == again.ciphertext_sha256
    assert b"match" not in sealed.serialize()


def test_malformed_objects_are_refused() -> None:
    sealed, _ = seal_object(
        key=KEY, context=CONTEXT, record={}, blinding=bytes(32), image=b"x", pixels_sha256=None
    )
    data = sealed.serialize()
    header, _, body = data.partition(b"\n")
    for broken in (
        b"",
        data[:-1],
        data + b"\x00",
        b"x" + data,
        header,
        header.replace(b'"class"', b'"klass"') + b"\n" + body,
        header.replace(b'"bytes":17', b'"bytes":true') + b"\n" + body,
        header.replace(b'"bytes":17', b'"bytes":-17') + b"\n" + body,
        header.replace(b'"purpose":"attendance"', b'"purpose":1') + b"\n" + body,
        header.replace(b"{", b"{ ", 1) + b"\n" + body,
    ):
        with pytest.raises(InvalidRecordError):
            SealedObject.parse(broken)
