"""What a leaf promises: the exact bytes under the MAC, and that nothing else opens it."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.commitment import Opening, commit, fresh_blinding, verify_commitment

OPENING = Opening(
    blinding=bytes(range(32)),
    record={"outcome": "match", "faces": 1},
    pixels_sha256=hashlib.sha256(b"pixels").hexdigest(),
    ciphertext_sha256=hashlib.sha256(b"ciphertext").hexdigest(),
)


def test_the_bytes_under_the_mac() -> None:
    lines = (
        "zhenxue/leaf/v1\n"
        '{"faces":1,"outcome":"match"}\n'
        f"{hashlib.sha256(b'pixels').hexdigest()}\n"
        f"{hashlib.sha256(b'ciphertext').hexdigest()}\n"
    )
    assert commit(OPENING) == hmac.digest(bytes(range(32)), lines.encode(), "sha256")


@pytest.mark.parametrize(
    "change",
    [
        {"blinding": bytes(32)},
        {"record": {"outcome": "match", "faces": 2}},
        {"pixels_sha256": "0" * 64},
        {"pixels_sha256": None},
        {"ciphertext_sha256": None},
        {"pixels_sha256": OPENING.ciphertext_sha256, "ciphertext_sha256": OPENING.pixels_sha256},
    ],
)
def test_nothing_else_opens_it(change: dict[str, Any]) -> None:
    verify_commitment(OPENING, commit(OPENING))
    with pytest.raises(LedgerError):
        verify_commitment(replace(OPENING, **change), commit(OPENING))


def test_a_record_cannot_reach_into_the_digests() -> None:
    """A newline in a text is escaped, so lines cannot be moved from one field to the next."""
    record = {"a": "\n" + "0" * 64}
    assert commit(replace(OPENING, record=record)) != commit(
        replace(OPENING, record={"a": ""}, pixels_sha256="0" * 64)
    )


def test_it_reads_back() -> None:
    assert Opening.from_json(OPENING.to_json()) == OPENING


@pytest.mark.parametrize(
    "change",
    [
        {"r": "AAAA"},
        {"r": 1},
        {"record": []},
        {"pixels_sha256": "0" * 63},
        {"pixels_sha256": "A" * 64},
        {"ciphertext_sha256": 7},
        {"more": None},
    ],
)
def test_malformed_openings_are_refused(change: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidRecordError):
        Opening.from_json({**OPENING.to_json(), **change})


def test_blinding_is_fresh() -> None:
    assert len({fresh_blinding() for _ in range(100)}) == 100
