"""Cosignatures: the specification's example, known vectors, and every flipped bit refused."""

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.base64_text import to_base64
from verifier.transparency.cosignature import (
    Cosignature,
    CosignatureSigner,
    CosignatureVerifier,
    cosigners,
    signed_message,
)
from verifier.transparency.note import NoteSigner, SignedNote

# The example of c2sp.org/tlog-cosignature; the witness's public key is not published with it.
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
NOTE = (
    f"{TEXT}\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zh"
    "cyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJs"
    "X3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()
NAME, SEED = "witness.finance.example", bytes(range(32))
SIGNER = CosignatureSigner(NAME, SEED)


def cosigned(text: str = TEXT, at: int = 1_679_315_147) -> SignedNote:
    return SignedNote(text=text, signatures=(SIGNER.cosign(text, at),))


def test_the_published_example_has_the_published_time() -> None:
    note = SignedNote.parse(NOTE)
    found = Cosignature.from_bytes(note.signatures[1].signature)
    assert found.timestamp == 1_679_315_147
    assert found.to_bytes() == note.signatures[1].signature
    assert cosigners(note, "example.com/behind-the-sofa") == ("witness.example.com/w1",)


def test_the_published_message_is_what_gets_signed() -> None:
    assert signed_message(TEXT, 1_679_315_147) == (
        b"cosignature/v1\n"
        b"time 1679315147\n"
        b"example.com/behind-the-sofa\n"
        b"20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_a_line_follows_from_key_time_and_text_alone() -> None:
    """Put together here by hand, with nothing of ours but the seed."""
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    public = key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(NAME.encode() + b"\n\x04" + public).digest()[:4]
    message = b"cosignature/v1\ntime 7\n" + TEXT.encode()
    data = key_id + (7).to_bytes(8, "big") + key.sign(message)
    assert SIGNER.cosign(TEXT, 7).line() == f"— {NAME} {to_base64(data)}\n"
    assert SIGNER.verifier.vkey == f"{NAME}+{key_id.hex()}+{to_base64(bytes([4]) + public)}"


@given(at=st.integers(0, 2**63 - 1))
def test_what_is_cosigned_verifies_and_reads_back(at: int) -> None:
    note = SignedNote.parse(cosigned(at=at).serialize())
    assert SIGNER.verifier.verify(note).timestamp == at


def test_keys_read_back() -> None:
    assert CosignatureVerifier.from_vkey(SIGNER.verifier.vkey) == SIGNER.verifier
    again = CosignatureSigner.from_text(SIGNER.private_text())
    assert again.verifier == SIGNER.verifier
    assert SIGNER.private_text() not in repr(SIGNER)


def test_a_logs_key_is_no_witnesss_key() -> None:
    """The same 32 bytes in another role have another type, and another id."""
    log = NoteSigner(NAME, SEED)
    assert log.verifier.key_id != SIGNER.verifier.key_id
    with pytest.raises(InvalidRecordError, match="0x04"):
        CosignatureVerifier.from_vkey(log.verifier.vkey)
    with pytest.raises(InvalidRecordError):
        CosignatureSigner.from_text(log.private_text())


@pytest.mark.parametrize("text", [SIGNER.verifier.vkey, "", "PRIVATE+KEY+x"])
def test_a_text_that_is_no_private_key_is_not_read(text: str) -> None:
    with pytest.raises(InvalidRecordError):
        CosignatureSigner.from_text(text)


def test_an_id_of_another_key_is_refused() -> None:
    other = CosignatureSigner("witness.hr.example", SEED).verifier.key_id.hex()
    wrong = SIGNER.verifier.vkey.replace(SIGNER.verifier.key_id.hex(), other)
    with pytest.raises(InvalidRecordError, match="id does not belong"):
        CosignatureVerifier.from_vkey(wrong)


def test_every_flipped_bit_is_refused() -> None:
    (line,) = cosigned().signatures
    for bit in range(8 * len(line.signature)):
        changed = bytearray(line.signature)
        changed[bit // 8] ^= 1 << bit % 8
        note = SignedNote(text=TEXT, signatures=(replace(line, signature=bytes(changed)),))
        with pytest.raises(LedgerError):
            SIGNER.verifier.verify(note)


@pytest.mark.parametrize("length", [0, 71, 73])
def test_another_length_is_refused(length: int) -> None:
    (line,) = cosigned().signatures
    note = SignedNote(text=TEXT, signatures=(replace(line, signature=bytes(length)),))
    with pytest.raises(LedgerError, match="malformed"):
        SIGNER.verifier.verify(note)


def test_the_text_is_covered() -> None:
    other = TEXT.replace("20852163", "20852164")
    with pytest.raises(LedgerError, match="is wrong"):
        SIGNER.verifier.verify(replace(cosigned(), text=other))


def test_a_missing_cosignature_is_told_from_a_wrong_one() -> None:
    with pytest.raises(LedgerError, match="no cosignature by witness"):
        SIGNER.verifier.verify(SignedNote.parse(NOTE))


def test_a_wrong_line_beside_a_right_one_by_the_same_key_is_refused() -> None:
    right, wrong = cosigned().signatures, cosigned("other\n").signatures
    with pytest.raises(LedgerError, match="is wrong"):
        SIGNER.verifier.verify(SignedNote(text=TEXT, signatures=right + wrong))
