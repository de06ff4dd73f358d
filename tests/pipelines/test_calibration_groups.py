"""Reading who belongs to which group."""

from pathlib import Path

import pytest

from pipelines.calibration_groups import read_groups
from pipelines.picture_lists import FacePicture, PictureList
from verifier.errors import InputError

LISTED = PictureList(
    name="faces",
    pictures=tuple(
        FacePicture(path=Path("faces") / person / name, subject=person)
        for person in ("anna", "bo")
        for name in ("1.jpg", "2.jpg")
    ),
    pairs=None,
)


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    table = folder / "groups.csv"
    table.write_bytes(text.encode(encoding))
    return table


def test_people_have_groups_and_so_have_their_pictures(tmp_path: Path) -> None:
    text = "person,sex,district\nanna,女,涪陵\nbo,,渝中\ncy,男,渝中\n"
    groups = read_groups(write(tmp_path, text, "utf-8-sig"), LISTED)
    assert groups.by_attribute == {
        "sex": ("女", "女", None, None),
        "district": ("涪陵", "涪陵", "渝中", "渝中"),
    }
    assert groups.strangers == 1


def test_pictures_have_groups_of_their_own(tmp_path: Path) -> None:
    text = "Light, photo\nlamp,anna/1.jpg\nday,bo/2.jpg\n"
    groups = read_groups(write(tmp_path, text), LISTED)
    assert groups.by_attribute == {"light": ("lamp", None, None, "day")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "person or photo wanted"),
        ("person\nanna\n", "person or photo wanted"),
        ("person,photo,sex\nanna,anna/1.jpg,f\n", "person or photo wanted"),
        ("person,id_number\nanna,500\n", "person or photo wanted"),
        ("person,sex,sex\nanna,f,f\n", "each once"),
        ("person,sex\nanna,f\nanna,m\n", "line 3: person 'anna' is empty or there already"),
        ("person,sex\n,f\n", "line 2: person '' is empty"),
        ("person,sex\nanna\n", "line 2: 1 cells, 2 wanted"),
        ("person,sex\nanna,\x1b[31m\n", "line 2: up to 60 printable"),
        ("person,sex\nanna," + "f" * 61 + "\n", "line 2: up to 60 printable"),
        ("person,sex\ncy,f\n", "no person in it is one of faces"),
        ('person,sex\n"anna,f\n', "line 2: unexpected end"),
    ],
)
def test_a_table_that_says_something_else_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_groups(write(tmp_path, text), LISTED)


def test_a_table_must_be_there_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_groups(tmp_path / "none.csv", LISTED)
    with pytest.raises(InputError, match="not UTF-8"):
        read_groups(write(tmp_path, "person,district\nanna,渝中区\n", "gb18030"), LISTED)
