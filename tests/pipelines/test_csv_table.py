"""Tables as spreadsheets save them, and errors that name the line."""

from pathlib import Path

import pytest

from pipelines.csv_table import printable, read_csv_table
from verifier.errors import InputError


def table(folder: Path, data: str | bytes) -> Path:
    path = folder / "表.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        "A, b ,mated\n 张三/1.jpg,x.jpg, 1\n",
        "\ufeffa,b,mated\r\n张三/1.jpg,x.jpg,1\r\n",
        "\n,,\na,b,mated\n\n张三/1.jpg,x.jpg,1",
        'a,b,mated\n"张三/1.jpg","x.jpg",1\n',
    ],
)
def test_what_spreadsheets_do_to_a_table_changes_nothing(tmp_path: Path, data: str) -> None:
    """Blanks, a byte order mark, line ends, quotes, and empty rows wherever they stand."""
    read = read_csv_table(table(tmp_path, data))
    assert (read.name, read.header) == ("表.csv", ("a", "b", "mated"))
    (row,) = read.rows
    assert row.cells == ("张三/1.jpg", "x.jpg", "1")


def test_a_row_says_where_it_stands(tmp_path: Path) -> None:
    read = read_csv_table(table(tmp_path, "\na,b\n\n1,2\n3,4\n"))
    assert [row.where for row in read.rows] == ["表.csv, line 4", "表.csv, line 5"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [("张,三".encode("gbk"), "not UTF-8"), ('a,b\n"1,2\n', "line 2")],
)
def test_what_is_no_table_is_refused(tmp_path: Path, data: str | bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_csv_table(table(tmp_path, data))
    with pytest.raises(InputError, match="no such file"):
        read_csv_table(tmp_path)


def test_a_message_shows_chinese_and_moves_no_cursor() -> None:
    assert printable("张三\x1b[2J\n") == "张三\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"
