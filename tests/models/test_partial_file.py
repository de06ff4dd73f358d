"""Whatever a file's transfer goes through, it ends as the pinned file or as none."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.partial_file import PartialFile
from verifier.errors import ModelUnavailableError

DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()


def test_a_file_written_in_two_turns(tmp_path: Path) -> None:
    first = PartialFile(tmp_path, "w", 10)
    with first.writing(0, "https://a/w", '"v1"') as write:
        assert write(DATA[:4])
    second = PartialFile(tmp_path, "w", 10)
    assert (second.size, second.version("https://a/w")) == (4, '"v1"')
    assert second.version("https://b/w") is None
    with second.writing(4, "https://a/w", None) as write:
        assert write(DATA[4:])
        assert not write(b"x")
    assert second.finish(SHA256).read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_what_was_written_survives_an_error(tmp_path: Path) -> None:
    partial = PartialFile(tmp_path, "w", 10)

    def break_off() -> None:
        with partial.writing(0, "a", None) as write:
            write(DATA[:4])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert partial.size == 4


def test_the_bytes_are_on_disk_as_soon_as_they_are_written(tmp_path: Path) -> None:
    """A killed process leaves what it had."""
    partial = PartialFile(tmp_path, "w", 10)
    with partial.writing(0, "a", None) as write:
        write(DATA[:4])
        assert partial.size == 4


turns = st.lists(
    st.tuples(st.booleans(), st.lists(st.binary(min_size=1, max_size=7), max_size=4)), max_size=6
)


@settings(deadline=None)
@given(turns)
def test_no_more_than_the_pinned_size_and_nothing_but_the_pinned_bytes(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[tuple[bool, list[bytes]]]
) -> None:
    folder = tmp_path_factory.mktemp("partial")
    partial, wanted = PartialFile(folder, "w", 10), b""
    for restarts, pieces in attempts:
        start = 0 if restarts else partial.size
        wanted = wanted[:start]
        with partial.writing(start, "a", None) as write:
            for piece in pieces:
                fits = len(wanted) + len(piece) <= 10
                assert write(piece) == fits
                wanted += piece if fits else b""
                assert partial.size == len(wanted)
    with partial.writing(partial.size, "a", None):
        pass
    if wanted == DATA:
        assert partial.finish(SHA256).read_bytes() == DATA
        return
    with pytest.raises(ModelUnavailableError, match="nothing was kept"):
        partial.finish(SHA256)
    assert list(folder.iterdir()) == []
