"""Keys and proofs: what a browser signs, to the byte, and what passes for a key."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from service.device_keys import DeviceKey, Proof, signed_text
from verifier.errors import InputError
from verifier.transparency.base64_text import from_base64

# Made and signed by the frame's own scripts in Chromium 156, with its WebCrypto.
KEY = DeviceKey(
    from_base64(
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAErwrKi/LMiuI4bGdTEGe+fXMU12gPj6etfMHlnNp/xWz4bKLYtoQ78r0U"
        "KuO717+3qXV+ZcOrV7kNrqP6fCnjhw=="
    )
)
HEADER = (
    "1782950400.0dC+5LYTOKn8qJ478Meh76jchLUjJjS05Gpa8/MDeB0db34HHFODX19kS2GIxWXwPZ9CYPA2FboxqV9j"
    "950gXg=="
)
REQUEST = {
    "method": "POST",
    "target": "/v1/prompts/0a1b/answer?x=1",
    "secret": "zx_learner_known",
    "body": '{"typed":"你好"}'.encode(),
}


def proof() -> Proof:
    parsed = Proof.parse(HEADER)
    assert parsed is not None
    return parsed


def text(at_s: int = 1782950400, **change: str | bytes) -> bytes:
    return signed_text(at_s=at_s, **{**REQUEST, **change})  # type: ignore[arg-type]


def test_a_browsers_proof_is_understood() -> None:
    """The two sides agree to the byte; the id is SHA-256 of the key."""
    assert KEY.device_id == "be4efc397ba8dbd66ffce936f52a2b825d69023db615da3fb1b9326113dc88bc"
    assert proof().at_s == 1782950400
    assert proof().header == HEADER
    assert KEY.signed(text(), proof().signature)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"target": "/v1/prompts/0a1b/answer"},
        {"secret": "zx_learner_other"},
        {"body": b""},
        {"at_s": 1782950401},
    ],
)
def test_a_proof_is_of_the_whole_request(change: dict[str, str]) -> None:
    assert not KEY.signed(text(**change), proof().signature)  # type: ignore[arg-type]


@given(bit=st.integers(0, 8 * 64 - 1))
def test_no_other_signature_passes(bit: int) -> None:
    signature = bytearray(proof().signature)
    signature[bit // 8] ^= 1 << bit % 8
    assert not KEY.signed(text(), bytes(signature))


@pytest.mark.parametrize("signature", [b"", bytes(64), b"\xff" * 64, bytes(63), bytes(65)])
def test_what_is_no_signature_fails_quietly(signature: bytes) -> None:
    assert not KEY.signed(text(), signature)


@pytest.mark.parametrize(
    "header",
    ["", "1", HEADER[:-1], HEADER + "=", " " + HEADER, "-" + HEADER, HEADER[:-3] + "h=="],
)
def test_a_header_has_one_form(header: str) -> None:
    assert Proof.parse(header) is None


def test_only_p256_has_devices() -> None:
    """In one spelling: a compressed point would be the same key under another id."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert DeviceKey(spki).spki == spki
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    compressed = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point
    others: list[ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey] = [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    ]
    wrong = [each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in others]
    for bad in [*wrong, compressed, spki[:-1], spki + b"\0", spki[:-32] + bytes(32), b""]:
        with pytest.raises(InputError):
            DeviceKey(bad)
