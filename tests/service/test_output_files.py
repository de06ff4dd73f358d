"""Nothing is overwritten that was just read, and nothing is written twice."""

from pathlib import Path

import pytest

from service.output_files import require_writable, write_whole
from verifier.errors import InputError


def test_a_file_of_its_own_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("old")
    require_writable(tmp_path / "new.json", tmp_path / "there.html", None, inputs=(None,))


@pytest.mark.parametrize("name", ["", "absent/page.html", "pairs.csv", "./pairs.csv", "page.html"])
def test_what_would_cost_something_is_refused(tmp_path: Path, name: str) -> None:
    """A folder, a place that is not there, what is read, what is written already."""
    (tmp_path / "pairs.csv").write_text("a,b,mated\n")
    with pytest.raises(InputError, match="wanted"):
        require_writable(
            tmp_path / "page.html", tmp_path / name, inputs=(tmp_path / "pairs.csv", None)
        )


def test_what_is_written_is_there_whole_and_alone(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", b"1")
    write_whole(tmp_path / "a.json", b"2")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.json", b"2")]
