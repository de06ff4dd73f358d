"""Signed notes: the published example, round trips, and everything malformed refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import InvalidRecordError, LedgerError
from verifier.transparency.note import NoteSigner, NoteVerifier, SignedNote

# The example of Go's sumdb/note, from which the specification was written.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
)
NOTE = f"{TEXT}\n{LINE}".encode()
SIGNER = NoteSigner("log.example/a", bytes(range(32)))


def test_the_published_example_verifies() -> None:
    note = SignedNote.parse(NOTE)
    NoteVerifier.from_vkey(VKEY).verify(note)
    assert note.text == TEXT
    assert note.serialize() == NOTE


def test_signing_gives_the_published_signature() -> None:
    signer = NoteSigner.from_text(PRIVATE)
    assert signer.sign(TEXT).serialize() == NOTE
    assert signer.verifier.vkey == VKEY
    assert signer.private_text() == PRIVATE


@given(body=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=40))
def test_what_is_signed_verifies_and_reads_back(body: str) -> None:
    note = SIGNER.sign(f"{body}\n\n{body}\n")
    SIGNER.verifier.verify(note)
    assert SignedNote.parse(note.serialize()) == note


def test_signatures_by_others_are_ignored() -> None:
    """A witness that we do not know may stand beside the log, and breaks nothing."""
    other = NoteSigner.generate("witness.example")
    both = SignedNote(
        text=TEXT, signatures=other.sign(TEXT).signatures + SIGNER.sign(TEXT).signatures
    )
    SIGNER.verifier.verify(SignedNote.parse(both.serialize()))
    with pytest.raises(LedgerError, match="no signature by"):
        NoteVerifier.from_vkey(VKEY).verify(both)


def test_a_wrong_signature_beside_a_right_one_by_the_same_key_is_refused() -> None:
    right, wrong = SIGNER.sign(TEXT).signatures, SIGNER.sign("other\n").signatures
    with pytest.raises(LedgerError, match="is wrong"):
        SIGNER.verifier.verify(SignedNote(text=TEXT, signatures=right + wrong))


def test_a_changed_text_is_refused() -> None:
    with pytest.raises(LedgerError, match="is wrong"):
        NoteVerifier.from_vkey(VKEY).verify(SignedNote.parse(NOTE.replace(b"know", b"knew")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TEXT.encode(),
        NOTE[:-1],  # no last newline
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace("—".encode(), b"-"),
        NOTE.replace(b"PeterNeumann", b"Peter Neumann"),
        NOTE.replace(b"PeterNeumann", b"Peter+Neumann"),
        NOTE.replace(b"nAM=", b"nAN="),  # same value, other spelling
        NOTE.replace(b"nAM=", b"nAM"),
        NOTE.replace(b"you", b"y\tu"),
        NOTE + b"\n",
        NOTE.replace(b"you", b"\xff"),
        TEXT.encode() + b"\n\xe2\x80\x94 a AAAA\n",  # shorter than a key id
    ],
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRecordError):
        SignedNote.parse(data)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        VKEY.replace("c74f20a3", "c74f20a4"),
        VKEY.replace("c74f20a3", "C74F20A3"),
        VKEY.replace("PeterNeumann", "PeterNeuman"),
        VKEY.replace("+ARpc", "+BRpc"),  # another signature type
        VKEY[:-4],
        VKEY + "\n",
    ],
)
def test_malformed_verifier_keys_are_refused(vkey: str) -> None:
    with pytest.raises(InvalidRecordError):
        NoteVerifier.from_vkey(vkey)


def test_a_signer_shows_no_key() -> None:
    assert repr(SIGNER) == "NoteSigner('log.example/a')"
    with pytest.raises(InvalidRecordError) as caught:
        NoteSigner.from_text(PRIVATE.replace("c74f20a3", "c74f20a4"))
    assert "AYEK" not in str(caught.value)
