"""What a witness is asked, and every decision it can come to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.witness_samples import ORIGIN, SIGNER, MadeUpLog
from verifier.errors import InvalidRecordError
from verifier.transparency.base64_text import to_base64
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.merkle import EMPTY_ROOT
from verifier.transparency.note import NoteSigner, SignedNote
from verifier.transparency.witness_request import (
    AddCheckpoint,
    Refusal,
    Suspicion,
    judge_growth,
    judge_signature,
)

LOG, FORK = MadeUpLog.of(16), MadeUpLog.of(16, salt=1)
HASH = to_base64(bytes(32))
NOTE = LOG.note(7).serialize().decode()
LOGS = {ORIGIN: (SIGNER.verifier,)}


@given(old=st.integers(0, 16), size=st.integers(0, 16))
def test_a_request_reads_back(old: int, size: int) -> None:
    body = LOG.request(old, size)
    assert AddCheckpoint.parse(body).serialize() == body


def test_a_request_looks_as_published() -> None:
    assert LOG.request(3, 7, proof=(bytes(32),)).decode() == f"old 3\n{HASH}\n\n{NOTE}"


@pytest.mark.parametrize(
    "body",
    [
        "",
        NOTE,
        f"old 0\n{NOTE}",
        f"old\n\n{NOTE}",
        f"old  0\n\n{NOTE}",
        f"old 00\n\n{NOTE}",
        f"old -1\n\n{NOTE}",
        f"old +1\n\n{NOTE}",
        f"old 0x1\n\n{NOTE}",
        f"old ٣\n\n{NOTE}",
        f"old 0 \n\n{NOTE}",
        f"old 0\r\n\r\n{NOTE}",
        f"Old 0\n\n{NOTE}",
        f"old 99999999999999999999\n\n{NOTE}",
        f"old 0\n{HASH[:-1]}\n\n{NOTE}",
        f"old 0\n{HASH[:-2]}B=\n\n{NOTE}",  # the same 32 bytes, spelled otherwise
        f"old 0\n{to_base64(bytes(31))}\n\n{NOTE}",
        f"old 0\n{to_base64(bytes(33))}\n\n{NOTE}",
        f"old 0\n{HASH} \n\n{NOTE}",
        "old 0\n" + f"{HASH}\n" * 64 + f"\n{NOTE}",
        "old 0\n\nno checkpoint\n\n— x AAAAAAA=\n",
        f"old 0\n\n{NOTE.removesuffix(chr(10))}",
        f"old 0\n\n\n{NOTE}",
    ],
)
def test_what_is_no_request_is_refused(body: str) -> None:
    with pytest.raises(InvalidRecordError):
        AddCheckpoint.parse(body.encode())


def test_a_proof_may_have_63_hashes() -> None:
    body = "old 1\n" + f"{HASH}\n" * 63 + f"\n{NOTE}"
    assert len(AddCheckpoint.parse(body.encode()).proof) == 63


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300) | st.text("0123456789abcdef+/=— \n", max_size=200).map(str.encode))
def test_garbage_is_refused_and_nothing_else_happens(body: bytes) -> None:
    for garbage in (body, b"old 0\n\n" + body, body + NOTE.encode()):
        with pytest.raises(InvalidRecordError):
            AddCheckpoint.parse(garbage)


def signed(*signers: NoteSigner, wrong: bool = False) -> AddCheckpoint:
    text = LOG.note(7).text
    lines = tuple(signer.sign("x\n" if wrong else text).signatures[0] for signer in signers)
    note = SignedNote(text=text, signatures=lines)
    return AddCheckpoint(old_size=0, proof=(), note=note, checkpoint=LOG.checkpoint(7))


class TestTheSignature:
    def test_by_the_logs_key_is_believed_whoever_else_signed(self) -> None:
        stranger = NoteSigner.generate("stranger.example")
        namesake = NoteSigner.generate(ORIGIN)
        assert judge_signature(signed(stranger, namesake, SIGNER), LOGS) is None

    def test_by_a_namesake_only_is_not(self) -> None:
        refused = judge_signature(signed(NoteSigner.generate(ORIGIN)), LOGS)
        assert refused is not None
        assert refused.refusal is Refusal.UNTRUSTED

    def test_that_names_the_key_and_is_wrong_spoils_the_note(self) -> None:
        right, wrong = signed(SIGNER), signed(SIGNER, wrong=True)
        lines = right.note.signatures + wrong.note.signatures
        note = SignedNote(text=right.note.text, signatures=lines)
        both = AddCheckpoint(old_size=0, proof=(), note=note, checkpoint=right.checkpoint)
        for request in (wrong, both):
            refused = judge_signature(request, LOGS)
            assert refused is not None
            assert refused.refusal is Refusal.UNTRUSTED

    def test_of_an_unknown_log_is_not_looked_at(self) -> None:
        refused = judge_signature(signed(SIGNER, wrong=True), {})
        assert refused is not None
        assert refused.refusal is Refusal.UNKNOWN_LOG

    def test_by_either_of_two_keys_of_a_log_will_do(self) -> None:
        second = NoteSigner.generate(ORIGIN)
        logs = {ORIGIN: (SIGNER.verifier, second.verifier)}
        assert judge_signature(signed(second), logs) is None


@pytest.mark.parametrize(
    ("latest", "body", "refusal", "suspicion"),
    [
        (None, LOG.request(0, 7), None, None),
        (None, LOG.request(0, 0), None, None),
        (7, LOG.request(7, 7), None, None),
        (7, LOG.request(7, 12), None, None),
        (0, LOG.request(0, 12), None, None),
        (7, LOG.request(8, 7), Refusal.MALFORMED, None),
        (7, LOG.request(7, 5), Refusal.MALFORMED, Suspicion.ROLLBACK),
        (None, LOG.request(3, 7), Refusal.STALE, None),
        (7, LOG.request(0, 12), Refusal.STALE, None),
        (7, LOG.request(5, 12), Refusal.STALE, None),
        (7, LOG.request(0, 5), Refusal.STALE, Suspicion.ROLLBACK),
        (7, FORK.request(0, 7), Refusal.STALE, Suspicion.FORK),
        (7, FORK.request(7, 7), Refusal.INCONSISTENT, Suspicion.FORK),
        (7, FORK.request(7, 12), Refusal.INCONSISTENT, Suspicion.UNPROVEN),
        (7, LOG.request(7, 12, proof=()), Refusal.INCONSISTENT, Suspicion.UNPROVEN),
        (None, LOG.request(0, 7, proof=(bytes(32),)), Refusal.INCONSISTENT, None),
        (7, LOG.request(7, 7, proof=(bytes(32),)), Refusal.INCONSISTENT, None),
    ],
)
def test_growth(
    latest: int | None, body: bytes, refusal: Refusal | None, suspicion: Suspicion | None
) -> None:
    last = None if latest is None else LOG.checkpoint(latest)
    refused = judge_growth(AddCheckpoint.parse(body), last)
    assert (refused and refused.refusal, refused and refused.suspicion) == (refusal, suspicion)


def test_a_tree_without_leaves_is_the_empty_one() -> None:
    false = Checkpoint(origin=ORIGIN, size=0, root=bytes(32))
    assert LOG.checkpoint(0).root == EMPTY_ROOT
    request = AddCheckpoint(old_size=0, proof=(), note=SIGNER.sign(false.text()), checkpoint=false)
    refused = judge_growth(request, None)
    assert refused is not None
    assert refused.refusal is Refusal.INCONSISTENT


def test_every_pair_of_sizes_grows_and_no_flipped_bit_of_a_proof_does() -> None:
    for old in range(1, 16):
        for size in range(old + 1, 17):
            request = AddCheckpoint.parse(LOG.request(old, size))
            assert judge_growth(request, LOG.checkpoint(old)) is None
            for place in range(len(request.proof)):
                changed = bytearray(request.proof[place])
                changed[(old * size) % 32] ^= 1 << size % 8
                proof = (*request.proof[:place], bytes(changed), *request.proof[place + 1 :])
                other = AddCheckpoint.parse(LOG.request(old, size, proof=proof))
                assert judge_growth(other, LOG.checkpoint(old)) is not None
