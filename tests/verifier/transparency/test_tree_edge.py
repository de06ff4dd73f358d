"""The edge of a growing tree against the whole tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import InvalidRecordError
from verifier.transparency.merkle import EMPTY_ROOT, leaf_hash, root_of
from verifier.transparency.tile_paths import Tile, tiles_of
from verifier.transparency.tree_edge import TreeEdge

LEAVES = [leaf_hash(index.to_bytes(4, "big")) for index in range(66_000)]


def grown(size: int) -> tuple[TreeEdge, dict[Tile, bytes]]:
    edge = TreeEdge()
    files: dict[Tile, bytes] = {}
    for leaf in LEAVES[:size]:
        files.update(edge.append(leaf))
    files.update(edge.partial_tiles())
    return edge, files


def test_an_empty_edge_is_an_empty_tree() -> None:
    assert TreeEdge().root() == EMPTY_ROOT


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 700, 65_535, 65_536, 65_800])
def test_root_and_tiles_at_the_places_where_tiles_fill(size: int) -> None:
    edge, files = grown(size)
    assert edge.root() == root_of(LEAVES[:size])
    assert set(tiles_of(size)) == set(files)
    assert files[Tile(level=0, index=0, width=min(size, 256))][:32] == LEAVES[0]


@given(size=st.integers(0, 1_000), more=st.integers(0, 600))
@settings(deadline=None, max_examples=40)
def test_an_edge_loaded_from_tiles_goes_on_as_if_it_had_never_stopped(size: int, more: int) -> None:
    _, files = grown(size)
    loaded = TreeEdge.load(size, files.__getitem__)
    for leaf in LEAVES[size : size + more]:
        for _ in loaded.append(leaf):
            pass
    assert loaded.root() == root_of(LEAVES[: size + more])


def test_a_tile_of_another_width_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="wanted 96"):
        TreeEdge.load(3, lambda _: bytes(64))
