"""Who belongs to which group, from a CSV: sex, age band, district, device or light.

One row for each person (column ``person``, the folder's name) or each picture (``photo``, its
path in the folder, as ``person/1.jpg``), then any of the attributes. An empty cell is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.csv_table import CsvRow, printable, read_csv_table
from pipelines.picture_lists import PictureList
from verifier.errors import InputError

ATTRIBUTES: Final[Mapping[str, str]] = {
    "sex": "性别",
    "age_band": "年龄段",
    "district": "区县",
    "device": "设备",
    "light": "光线",
}
"""What people and pictures may be grouped by, with its Chinese name. Nothing else is read: a column
of ID numbers has no business here."""

LONGEST_NAME: Final = 60
MOST_GROUPS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGroups:
    """The groups of each picture.

    Attributes
    ----------
    by_attribute
        For each attribute of the file the group of every picture, in the list's order; None
        where it is not known.
    strangers
        Rows about nobody in the folder.
    """

    by_attribute: Mapping[str, tuple[str | None, ...]]
    strangers: int


def read_groups(table: Path, listed: PictureList) -> PictureGroups:
    """Read the groups of the pictures of a folder.

    Raises
    ------
    InputError
        Naming the line: if the columns are not those above, a row is about something twice, a
        name is too long, an attribute has more than 100 groups, or no row fits the folder.
    """
    read = read_csv_table(table)
    key = _key(table, read.header)
    attributes = [name for name in read.header if name != key]
    groups: dict[str, Mapping[str, str]] = {}
    for row in read.rows:
        _check_row(row, read.header)
        named = dict(zip(read.header, row.cells, strict=True))
        if not named[key] or named[key] in groups:
            raise InputError(
                f"{row.where}: {key} '{printable(named[key])}' is empty or there already"
            )
        groups[named[key]] = named
    names = [_name(key, path, subject) for path, subject in _pictures(listed)]
    if not set(names) & set(groups):
        raise InputError(f"{table.name}: no {key} in it is one of {listed.name}")
    by_attribute = {
        attribute: tuple(groups.get(name, {}).get(attribute) or None for name in names)
        for attribute in attributes
    }
    for attribute, found in by_attribute.items():
        if len(set(found)) > MOST_GROUPS:
            raise InputError(f"{table.name}: more than {MOST_GROUPS} groups by {attribute}")
    return PictureGroups(by_attribute=by_attribute, strangers=len(set(groups) - set(names)))


def _pictures(listed: PictureList) -> list[tuple[Path, str]]:
    return [(picture.path, picture.subject) for picture in listed.pictures]


def _name(key: str, path: Path, subject: str) -> str:
    return subject if key == "person" else f"{subject}/{path.name}"


def _key(table: Path, header: Sequence[str]) -> str:
    keys = [name for name in ("person", "photo") if name in header]
    others = [name for name in header if name not in ATTRIBUTES and name not in keys]
    if len(keys) != 1 or others or len(header) < 2 or len(set(header)) < len(header):
        raise InputError(
            f"{table.name}: columns {printable(', '.join(header))}; person or photo wanted, then"
            f" any of {', '.join(ATTRIBUTES)}, each once"
        )
    return keys[0]


def _check_row(row: CsvRow, header: Sequence[str]) -> None:
    if len(row.cells) != len(header):
        raise InputError(f"{row.where}: {len(row.cells)} cells, {len(header)} wanted")
    if any(len(cell) > LONGEST_NAME or not cell.isprintable() for cell in row.cells[1:]):
        raise InputError(f"{row.where}: up to {LONGEST_NAME} printable characters wanted in a cell")
