"""Merkle trees, inclusion and consistency proofs as in RFC 6962, with SHA-256.

Provers read the tree through a ``NodeReader``, so the same few lines serve a list in memory
and tiles on a disk. Verifiers are the iterative algorithms of RFC 9162, sections 2.1.3.2 and
2.1.4.2, and decide edge cases as the Go reference ``transparency-dev/merkle`` does.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

from verifier.errors import InputError, LedgerError

DIGEST_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""``(height, index)`` to the root of leaves ``[index << height, (index + 1) << height)``."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry; the prefix keeps leaves and nodes apart."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def nodes_of(leaf_hashes: Sequence[bytes]) -> NodeReader:
    """Return a reader over leaf hashes held in memory; every perfect subtree is hashed once."""
    levels: list[list[bytes]] = [list(leaf_hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(*below[i : i + 2]) for i in range(0, len(below) - 1, 2)])
    return lambda height, index: levels[height][index]


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over ``leaf_hashes``, in order."""
    return range_root(nodes_of(leaf_hashes), 0, len(leaf_hashes))


def range_root(nodes: NodeReader, start: int, end: int) -> bytes:
    """Return the root over leaves ``[start, end)``; ``start`` is aligned as RFC 6962 splits."""
    width = end - start
    if width == 0:
        return EMPTY_ROOT
    if width & (width - 1) == 0:
        height = width.bit_length() - 1
        return nodes(height, start >> height)
    split = start + _split(width)
    return node_hash(range_root(nodes, start, split), range_root(nodes, split, end))


def inclusion_proof(nodes: NodeReader, index: int, size: int) -> tuple[bytes, ...]:
    """Return the audit path of leaf ``index`` in the tree of ``size``, the sibling first.

    Raises
    ------
    InputError
        Unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise InputError(f"index {index} is not in a tree of size {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(range_root(nodes, split, end))
            end = split
        else:
            path.append(range_root(nodes, start, split))
            start = split
    return tuple(reversed(path))


def consistency_proof(nodes: NodeReader, size1: int, size2: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of ``size2`` extends the tree of ``size1``.

    Raises
    ------
    InputError
        Unless 0 <= size1 <= size2.
    """
    if not 0 <= size1 <= size2:
        raise InputError(f"no tree of size {size2} extends one of size {size1}")
    if size1 in (0, size2):
        return ()
    path: list[bytes] = []
    start, end = 0, size2
    while size1 != end:
        split = start + _split(end - start)
        if size1 <= split:
            path.append(range_root(nodes, split, end))
            end = split
        else:
            path.append(range_root(nodes, start, split))
            start = split
    # The verifier already holds the old root; only another subtree has to be told.
    if start != 0:
        path.append(range_root(nodes, start, end))
    return tuple(reversed(path))


def verify_inclusion(
    *, leaf_hash: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if ``proof`` shows that the leaf is entry ``index`` of the tree under ``root``.

    Raises
    ------
    LedgerError
        If it does not show that.
    InputError
        If a hash is not 32 bytes long, or a number is negative.

    References
    ----------
    RFC 9162 section 2.1.3.2.
    """
    _require_natural(index=index, size=size)
    if index >= size:
        raise LedgerError(f"index {index} is not in a tree of size {size}")
    _require_digests(leaf_hash, root, *proof)
    node, last, computed = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise LedgerError("the proof is too long")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise LedgerError("the proof is too short")
    if computed != root:
        raise LedgerError("the proof leads to another root")


def verify_consistency(
    *, size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Return if ``proof`` shows that the tree under ``root2`` extends the one under ``root1``.

    Nothing can be shown about an older tree without leaves: every tree extends it, so such a
    proof is refused, as the reference does, unless both trees are empty.

    Raises
    ------
    LedgerError
        If it does not show that.
    InputError
        If a hash that has to be hashed is not 32 bytes long, or a number is negative.

    References
    ----------
    RFC 9162 section 2.1.4.2.
    """
    _require_natural(size1=size1, size2=size2)
    if size1 > size2:
        raise LedgerError(f"size1 {size1} is larger than size2 {size2}")
    if size1 == size2:
        _verify_same_tree(root1, root2, proof)
        return
    if size1 == 0:
        raise LedgerError("a proof from the empty tree shows nothing")
    if not proof:
        raise LedgerError("the proof is empty")
    _require_digests(root1, root2, *proof)
    _verify_growth(size1, size2, root1, root2, proof)


def _verify_same_tree(root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    if proof:
        raise LedgerError("two trees of one size need no proof, but there is one")
    if root1 != root2:
        raise LedgerError("two trees of one size have different roots")


def _verify_growth(
    size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]
) -> None:
    # A tree whose size is a power of two is itself the first node of the path.
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    node, last = size1 - 1, size2 - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise LedgerError("the proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise LedgerError("the proof is too short")
    if old != root1:
        raise LedgerError("the proof leads to another root1")
    if new != root2:
        raise LedgerError("the proof leads to another root2")


def _split(width: int) -> int:
    """Return the largest power of two smaller than ``width`` (at least 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def _require_natural(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 0:
            raise InputError(f"{name} is {value}, wanted 0 or more")


def _require_digests(*digests: bytes) -> None:
    for digest in digests:
        if len(digest) != DIGEST_BYTES:
            raise InputError(f"a hash has {len(digest)} bytes, wanted {DIGEST_BYTES}")
