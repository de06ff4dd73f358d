"""RFC 6962 trees: known roots, every small proof, and nothing else accepted."""

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import InputError, LedgerError
from verifier.transparency.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_of,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and roots that implementations of RFC 6962 have shared since the first one.
REFERENCE_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
REFERENCE_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = 64
LEAVES = [leaf_hash(bytes([i])) for i in range(SIZES)]
ROOTS = [root_of(LEAVES[:size]) for size in range(SIZES + 1)]
NODES = nodes_of(LEAVES)


def mth(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 6962 section 2.1 defines it."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(mth(leaves[:split]), mth(leaves[split:]))


def flips(digest: bytes, step: int = 37) -> Iterator[bytes]:
    """Single-bit changes of a digest: bits 0, 37, 74 … so that every byte position comes up."""
    for bit in range(0, 256, step):
        changed = bytearray(digest)
        changed[bit // 8] ^= 1 << (bit % 8)
        yield bytes(changed)


@pytest.mark.parametrize("size", range(9))
def test_reference_roots(size: int) -> None:
    leaves = [leaf_hash(leaf) for leaf in REFERENCE_LEAVES[:size]]
    assert root_of(leaves).hex() == REFERENCE_ROOTS[size]


def test_the_empty_tree_is_the_hash_of_nothing() -> None:
    assert hashlib.sha256().digest() == EMPTY_ROOT


@pytest.mark.parametrize("size", range(SIZES + 1))
def test_roots_follow_the_definition(size: int) -> None:
    assert ROOTS[size] == mth(LEAVES[:size])


def test_a_known_inclusion_proof() -> None:
    """Entry 5 of the eight reference leaves, as the reference implementation's tests list it."""
    leaves = [leaf_hash(leaf) for leaf in REFERENCE_LEAVES]
    assert [h.hex() for h in inclusion_proof(nodes_of(leaves), 5, 8)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_a_known_consistency_proof() -> None:
    leaves = [leaf_hash(leaf) for leaf in REFERENCE_LEAVES]
    assert [h.hex() for h in consistency_proof(nodes_of(leaves), 6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def misfits(proof: tuple[bytes, ...], extra: bytes) -> list[tuple[bytes, ...]]:
    """Return the path with one hash too few or too many, at either end."""
    wrong = [(*proof, extra), (extra, *proof)]
    return [proof[:-1], proof[1:], *wrong] if proof else wrong


def test_every_inclusion_up_to_64_is_proved_by_paths_of_one_length_only() -> None:
    for size in range(1, SIZES + 1):
        for index in range(size):
            verify = partial(
                verify_inclusion,
                leaf_hash=LEAVES[index],
                index=index,
                size=size,
                root=ROOTS[size],
            )
            proof = inclusion_proof(NODES, index, size)
            verify(proof=proof)
            for wrong in misfits(proof, ROOTS[size]):
                with pytest.raises(LedgerError):
                    verify(proof=wrong)


def test_every_consistency_up_to_64_is_proved_by_paths_of_one_length_only() -> None:
    for size2 in range(1, SIZES + 1):
        for size1 in range(1, size2 + 1):
            verify = partial(
                verify_consistency,
                size1=size1,
                size2=size2,
                root1=ROOTS[size1],
                root2=ROOTS[size2],
            )
            proof = consistency_proof(NODES, size1, size2)
            verify(proof=proof)
            for wrong in misfits(proof, ROOTS[size2]):
                with pytest.raises(LedgerError):
                    verify(proof=wrong)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13])
def test_a_flipped_bit_anywhere_breaks_an_inclusion_proof(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(NODES, index, size)
        fields = [LEAVES[index], ROOTS[size], *proof]
        for place, digest in enumerate(fields):
            for changed in flips(digest):
                mutated = [*fields[:place], changed, *fields[place + 1 :]]
                leaf, root, *path = mutated
                with pytest.raises(LedgerError):
                    verify_inclusion(leaf_hash=leaf, index=index, size=size, root=root, proof=path)


@pytest.mark.parametrize("size2", [1, 2, 3, 5, 7, 8, 13])
def test_a_flipped_bit_anywhere_breaks_a_consistency_proof(size2: int) -> None:
    for size1 in range(1, size2 + 1):
        proof = consistency_proof(NODES, size1, size2)
        fields = [ROOTS[size1], ROOTS[size2], *proof]
        for place, digest in enumerate(fields):
            for changed in flips(digest):
                mutated = [*fields[:place], changed, *fields[place + 1 :]]
                root1, root2, *path = mutated
                with pytest.raises(LedgerError):
                    verify_consistency(
                        size1=size1, size2=size2, root1=root1, root2=root2, proof=path
                    )


@given(size=st.integers(1, SIZES), data=st.data())
@settings(deadline=None)
def test_an_inclusion_proof_holds_for_no_other_place_or_size(
    size: int, data: st.DataObject
) -> None:
    """Unless the other place means the same path: then the proof is the same statement."""
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
    with pytest.raises(LedgerError):
        verify_inclusion(
            leaf_hash=LEAVES[index],
            index=other,
            size=size,
            root=ROOTS[size],
            proof=inclusion_proof(NODES, index, size),
        )


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (1, 1), (2, 1), (2**64 - 1, 2**64 - 1), (7, 3)]
)
def test_an_index_beyond_the_tree_is_not_in_it(index: int, size: int) -> None:
    with pytest.raises(LedgerError, match="not in a tree"):
        verify_inclusion(leaf_hash=LEAVES[0], index=index, size=size, root=EMPTY_ROOT, proof=())


@pytest.mark.parametrize(
    ("size1", "size2", "root1", "root2", "proof", "holds"),
    [
        (0, 0, EMPTY_ROOT, EMPTY_ROOT, (), True),
        (0, 0, b"any", b"any", (), True),  # equal sizes are compared, never hashed
        (0, 0, EMPTY_ROOT, ROOTS[1], (), False),
        (0, 0, EMPTY_ROOT, EMPTY_ROOT, (ROOTS[1],), False),
        (1, 1, ROOTS[1], ROOTS[1], (), True),
        (1, 1, ROOTS[1], ROOTS[2], (), False),
        (1, 1, ROOTS[1], ROOTS[1], (ROOTS[1],), False),
        (0, 1, EMPTY_ROOT, ROOTS[1], (), False),  # shows nothing
        (0, 1, EMPTY_ROOT, ROOTS[1], (ROOTS[1],), False),
        (2, 1, ROOTS[2], ROOTS[1], (), False),
        (1, 2, ROOTS[1], ROOTS[2], (), False),
    ],
)
def test_edges_are_decided_as_the_reference_decides_them(  # noqa: PLR0917 - a table's columns
    size1: int, size2: int, root1: bytes, root2: bytes, proof: tuple[bytes, ...], holds: bool
) -> None:
    expectation = nullcontext() if holds else pytest.raises(LedgerError)
    with expectation:
        verify_consistency(size1=size1, size2=size2, root1=root1, root2=root2, proof=proof)


def test_what_is_no_hash_is_bad_input() -> None:
    with pytest.raises(InputError, match="31 bytes"):
        verify_inclusion(leaf_hash=bytes(31), index=0, size=1, root=bytes(32), proof=())
    with pytest.raises(InputError, match="-1"):
        verify_inclusion(leaf_hash=bytes(32), index=-1, size=1, root=bytes(32), proof=())
    with pytest.raises(InputError):
        inclusion_proof(NODES, 5, 5)
    with pytest.raises(InputError):
        consistency_proof(NODES, 6, 5)
