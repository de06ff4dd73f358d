"""Names of tiles and contents of bundles, with the specification's numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import InvalidRecordError
from verifier.transparency.tile_paths import (
    Tile,
    bundles_of,
    decode_bundle,
    edge_of,
    encode_bundle,
    parse_tile_path,
    tiles_of,
)

tiles = st.builds(
    Tile,
    level=st.none() | st.integers(0, 63),
    index=st.integers(0, 10**12),
    width=st.integers(1, 256),
)


def test_the_specifications_path() -> None:
    assert Tile(level=0, index=1_234_067).path == "tile/0/x001/x234/067"
    assert Tile(level=None, index=5, width=7).path == "tile/entries/005.p/7"


def test_the_specifications_tree_of_70000() -> None:
    """273 full tiles and one of 112 below, one full and one of 17 above, one of width 1."""
    found = list(tiles_of(70_000))
    assert [t.width for t in found if t.level == 0] == [256] * 273 + [112]
    assert [t.width for t in found if t.level == 1] == [256, 17]
    assert [t.width for t in found if t.level == 2] == [1]
    assert [t.width for t in bundles_of(70_000)] == [256] * 273 + [112]


def test_a_tree_of_256_has_a_full_tile_and_its_root_above() -> None:
    assert list(tiles_of(256)) == [Tile(level=0, index=0), Tile(level=1, index=0, width=1)]
    assert edge_of(0, 256) is None


@given(tile=tiles)
def test_a_path_reads_back(tile: Tile) -> None:
    assert parse_tile_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/001",
        "tile/0/1234",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/entries/x001",
        "tile/0/000/",
        "checkpoint",
    ],
)
def test_other_spellings_are_refused(path: str) -> None:
    with pytest.raises(InvalidRecordError):
        parse_tile_path(path)


@given(entries=st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_reads_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


def test_a_bundle_has_big_endian_lengths() -> None:
    assert encode_bundle([b"ab", b""]) == b"\x00\x02ab\x00\x00"
    assert len(encode_bundle([bytes(65_535)])) == 65_537
    with pytest.raises(InvalidRecordError):
        encode_bundle([bytes(65_536)])


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01a\x00"])
def test_a_bundle_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRecordError):
        decode_bundle(data)
