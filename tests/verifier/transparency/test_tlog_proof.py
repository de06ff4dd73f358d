"""Receipts in the specification's text form."""

import pytest

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.checkpoint import Checkpoint, sign_checkpoint
from verifier.transparency.merkle import inclusion_proof, leaf_hash, nodes_of, root_of
from verifier.transparency.note import NoteSigner
from verifier.transparency.tlog_proof import TlogProof

SIGNER = NoteSigner("log.example/a", bytes(32))
ENTRIES = [bytes([i]) for i in range(5)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
SIGNED = sign_checkpoint(
    Checkpoint(origin="log.example/a", size=5, root=root_of(LEAVES)), SIGNER
).serialize()
PROOF = TlogProof(
    index=3, path=inclusion_proof(nodes_of(LEAVES), 3, 5), checkpoint=SIGNED, extra=b"why"
)


def test_the_text_is_the_specifications() -> None:
    lines = PROOF.serialize().decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra d2h5", "index 3"]
    assert len(lines[3]) == 44
    assert lines[6:8] == ["", "log.example/a"]
    assert PROOF.serialize().endswith(SIGNED)


@pytest.mark.parametrize("extra", [None, b"", b"\x00\xff"])
@pytest.mark.parametrize("index", range(5))
def test_every_entry_is_proved(index: int, extra: bytes | None) -> None:
    path = inclusion_proof(nodes_of(LEAVES), index, 5)
    proof = TlogProof(index=index, path=path, checkpoint=SIGNED, extra=extra)
    again = TlogProof.parse(proof.serialize())
    assert again == proof
    assert again.verify(ENTRIES[index], SIGNER.verifier).size == 5
    with pytest.raises(LedgerError):
        again.verify(b"another entry", SIGNER.verifier)


def test_another_logs_key_is_refused() -> None:
    other = NoteSigner.generate("log.example/a")
    with pytest.raises(LedgerError, match="no signature"):
        PROOF.verify(ENTRIES[3], other.verifier)


def test_the_size_is_the_signed_one() -> None:
    """A root that reaches further than the signed size proves nothing beyond it."""
    short = Checkpoint(origin="log.example/a", size=4, root=root_of(LEAVES))
    signed = sign_checkpoint(short, SIGNER).serialize()
    path = inclusion_proof(nodes_of(LEAVES), 4, 5)
    with pytest.raises(LedgerError, match="not in a tree of size 4"):
        TlogProof(index=4, path=path, checkpoint=signed).verify(ENTRIES[4], SIGNER.verifier)


def test_every_changed_byte_is_found() -> None:
    """Of this receipt no byte is free: each change breaks the format or the proof."""
    data = TlogProof(index=3, path=PROOF.path, checkpoint=SIGNED).serialize()
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises((InvalidRecordError, LedgerError)):
            TlogProof.parse(changed).verify(ENTRIES[3], SIGNER.verifier)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("index 3", "index 03"),
        ("index 3\n", ""),
        ("extra d2h5\nindex 3", "index 3\nextra d2h5"),
        ("extra d2h5", "extra d2h"),
        ("\n\n", "\n"),
    ],
)
def test_malformed_receipts_are_refused(old: str, new: str) -> None:
    text = PROOF.serialize().decode().replace(old, new, 1)
    with pytest.raises((InvalidRecordError, LedgerError)):
        TlogProof.parse(text.encode()).verify(ENTRIES[3], SIGNER.verifier)
