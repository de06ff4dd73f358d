"""Checkpoints: the specification's example and strictness."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from verifier.transparency.merkle import EMPTY_ROOT
from verifier.transparency.note import NoteSigner, SignedNote

# The example in c2sp.org/tlog-checkpoint and c2sp.org/tlog-cosignature.
EXAMPLE = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 \
jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ\
+qnA==
""".encode()
SIGNER = NoteSigner("log.example/a", bytes(32))


def test_the_specifications_example_reads() -> None:
    note = SignedNote.parse(EXAMPLE)
    checkpoint = Checkpoint.from_text(note.text)
    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.size == 20_852_163
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    assert checkpoint.text() == note.text
    assert note.serialize() == EXAMPLE
    assert [s.name for s in note.signatures] == [checkpoint.origin, "witness.example.com/w1"]


@given(size=st.integers(0, 2**63 - 1), root=st.binary(min_size=32, max_size=32))
def test_what_a_log_signs_opens(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin="log.example/a", size=size, root=root)
    signed = sign_checkpoint(checkpoint, SIGNER).serialize()
    assert open_checkpoint(signed, SIGNER.verifier) == checkpoint


def test_a_key_speaks_for_its_own_log_only() -> None:
    other = Checkpoint(origin="log.example/b", size=0, root=EMPTY_ROOT)
    with pytest.raises(InvalidRecordError, match="another log"):
        sign_checkpoint(other, SIGNER)
    with pytest.raises(LedgerError, match="origin"):
        open_checkpoint(SIGNER.sign(other.text()).serialize(), SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n1\n",
        "log\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "log\n-1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "log\n+1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "log\n１\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "log\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n",
        "log\n1\nAAAA\n",
        "\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "log\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\nx\n",
        "log\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(InvalidRecordError):
        Checkpoint.from_text(text)
