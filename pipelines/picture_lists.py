"""Which pictures show whom, and which are compared: a folder of people, or a CSV of pairs.

A folder is ``person/photograph``, every picture compared with every other. A CSV has a row for each
pair: columns ``a``, ``b`` (paths, relative to the CSV) and ``mated`` (0, 1, true or false), and
optionally ``subject_a`` and ``subject_b``. Start with `read_folder` and `read_pairs`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.csv_table import printable, read_csv_table
from verifier.arrays import IndexArray
from verifier.errors import InputError

PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".heic", ".heif", ".avif", ".bmp", ".gif"}
    | {".tif", ".tiff", ".jp2", ".jxl"}
)
"""What counts as a picture in a folder, also where the decoder will refuse it: a failure to
acquire is counted, never passed over."""

_MATED_WORDS: Final[Mapping[str, bool]] = {"1": True, "true": True, "0": False, "false": False}
_COLUMNS: Final = ("a", "b", "mated")
_SUBJECT_COLUMNS: Final = ("subject_a", "subject_b")


@dataclass(frozen=True, slots=True, kw_only=True)
class FacePicture:
    """One picture on disk, and whom it shows."""

    path: Path
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureList:
    """Pictures and the pairs to compare.

    Attributes
    ----------
    name
        Of the folder or file, for people to read; no path.
    pictures
        Each file once. Two pictures are mated where their subjects are equal.
    pairs
        Shape (n, 2), indices into ``pictures``, each pair once; None compares all with all.
    subjects_inferred
        Whether subjects follow from mated pairs alone: pictures joined by them are one subject,
        and a picture in no mated pair is a subject of its own, although two such pictures may
        in truth show one person.
    pair_rows
        Where the CSV has each of ``pairs``, for errors; empty where there are none.
    duplicate_pairs
        Rows that repeated a pair; counted once.
    ignored_files
        Files of the folder that are no pictures, or lie too high or too deep in it.
    """

    name: str
    pictures: tuple[FacePicture, ...]
    pairs: IndexArray | None
    subjects_inferred: bool = False
    pair_rows: tuple[str, ...] = ()
    duplicate_pairs: int = 0
    ignored_files: int = 0

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody's name, sorted, each once."""
        return tuple(sorted({picture.subject for picture in self.pictures}))


def read_folder(folder: Path) -> PictureList:
    """List the pictures of ``folder``, which has one folder for each person.

    Hidden files are no pictures and not counted.

    Raises
    ------
    InputError
        If it is no folder, or has no mated or no non-mated pair of pictures.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    pictures = [
        FacePicture(path=path, subject=person.name)
        for person in sorted(folder.iterdir())
        if person.is_dir() and not person.name.startswith(".")
        for path in sorted(person.iterdir())
        if _is_picture(path)
    ]
    files = sum(path.is_file() and not _is_hidden(path, folder) for path in folder.rglob("*"))
    _require_both_kinds(folder, Counter(picture.subject for picture in pictures))
    return PictureList(
        name=folder.resolve().name,
        pictures=tuple(pictures),
        pairs=None,
        ignored_files=files - len(pictures),
    )


def read_pairs(table: Path) -> PictureList:
    """Read a CSV of pairs; paths are relative to the folder it lies in.

    Raises
    ------
    InputError
        Naming the line: if a column is missing, a value is not among those above, a file does
        not exist, a picture is paired with itself, two rows contradict each other, or all pairs
        are of one kind.
    """
    rows = _rows(table)
    with_subjects = _SUBJECT_COLUMNS[0] in rows[0].cells
    book = _PairBook(folder=table.parent)
    for row in rows:
        book.add(row)
    kinds = set(book.mated.values())
    if len(kinds) < 2:
        present, missing = ("mated", "non-mated") if kinds == {True} else ("non-mated", "mated")
        raise InputError(f"{table.name}: only {present} pairs; some {missing} ones wanted as well")
    subjects = _given_subjects(rows, book) if with_subjects else _inferred_subjects(rows, book)
    return PictureList(
        name=table.name,
        pictures=tuple(
            FacePicture(path=path, subject=subjects[at]) for at, path in enumerate(book.paths)
        ),
        pairs=np.array(list(book.mated), np.int32),
        subjects_inferred=not with_subjects,
        pair_rows=tuple(book.where.values()),
        duplicate_pairs=len(rows) - len(book.mated),
    )


def _is_picture(path: Path) -> bool:
    return (
        path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _require_both_kinds(folder: Path, pictures: Counter[str]) -> None:
    wanted = "person/photograph, at least two people and two photographs of one of them, wanted"
    if len(pictures) < 2:
        raise InputError(f"{folder}: pictures of {len(pictures)} people; {wanted}")
    if max(pictures.values()) < 2:
        raise InputError(f"{folder}: one picture of each person, so no mated pair; {wanted}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of the CSV; ``where`` names file and line in errors."""

    where: str
    cells: Mapping[str, str]
    mated: bool


def _rows(table: Path) -> list[_Row]:
    """Return the rows, every cell filled, at least one."""
    read = read_csv_table(table)
    _check_header(table, read.header)
    rows = [_row(row.where, read.header, row.cells) for row in read.rows]
    if not rows:
        raise InputError(f"{table.name}: no pairs below the column names")
    return rows


def _check_header(table: Path, header: Sequence[str]) -> None:
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise InputError(f"{table.name}: no column {', '.join(missing)}; a, b and mated wanted")
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise InputError(f"{table.name}: two columns {', '.join(twice)}")
    if len(set(_SUBJECT_COLUMNS) & set(header)) == 1:
        raise InputError(f"{table.name}: subject_a and subject_b wanted, or neither")


def _row(where: str, header: Sequence[str], cells: Sequence[str]) -> _Row:
    named = dict(zip(header, cells, strict=False))
    for name in (*_COLUMNS, *_SUBJECT_COLUMNS):
        if name in header and not named.get(name):
            raise InputError(f"{where}: nothing under {name}")
    mated = _MATED_WORDS.get(named["mated"].lower())
    if mated is None:
        raise InputError(
            f"{where}: mated is '{printable(named['mated'])}'; 0, 1, true or false wanted"
        )
    return _Row(where=where, cells=named, mated=mated)


@dataclass(slots=True, kw_only=True)
class _PairBook:
    """Pictures by the order they came in, and each pair of them once."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    mated: dict[tuple[int, int], bool] = field(default_factory=dict)
    where: dict[tuple[int, int], str] = field(default_factory=dict)
    _number: dict[Path, int] = field(default_factory=dict)  # by real path: a/../b.jpg is b.jpg
    _as_written: dict[str, int] = field(default_factory=dict)

    def add(self, row: _Row) -> None:
        """Note the pair of a row; raises ``InputError`` if it cannot be one."""
        first, second = self.pair(row)
        if first == second:
            raise InputError(f"{row.where}: a picture paired with itself")
        pair = min(first, second), max(first, second)
        if self.mated.setdefault(pair, row.mated) != row.mated:
            raise InputError(f"{row.where}: an earlier line says the opposite of this pair")
        self.where.setdefault(pair, row.where)

    def pair(self, row: _Row) -> tuple[int, int]:
        """Return the numbers of a row's pictures."""
        return self._numbered(row, "a"), self._numbered(row, "b")

    def _numbered(self, row: _Row, column: str) -> int:
        written = row.cells[column]
        if written not in self._as_written:
            self._as_written[written] = self._number_of(row.where, self.folder / written)
        return self._as_written[written]

    def _number_of(self, where: str, path: Path) -> int:
        # A name that no file can have (too long, a null byte) is one that does not exist.
        try:
            real, exists = path.resolve(), path.is_file()
        except (OSError, ValueError):
            exists = False
        if not exists:
            raise InputError(f"{where}: no file {printable(str(path))}")
        if real not in self._number:
            self._number[real] = len(self.paths)
            self.paths.append(path)
        return self._number[real]


def _given_subjects(rows: Sequence[_Row], book: _PairBook) -> dict[int, str]:
    """Return each picture's subject as the CSV names them."""
    subjects: dict[int, str] = {}
    for row in rows:
        named = [row.cells[column] for column in _SUBJECT_COLUMNS]
        if (named[0] == named[1]) != row.mated:
            raise InputError(f"{row.where}: mated contradicts subject_a and subject_b")
        for picture, subject in zip(book.pair(row), named, strict=True):
            if subjects.setdefault(picture, subject) != subject:
                raise InputError(f"{row.where}: an earlier line names another subject")
    return subjects


def _inferred_subjects(rows: Sequence[_Row], book: _PairBook) -> dict[int, str]:
    """Return subjects that follow from mated pairs: what they join is one person."""
    leader = list(range(len(book.paths)))

    def led(picture: int) -> int:
        while leader[picture] != picture:
            leader[picture] = leader[leader[picture]]
            picture = leader[picture]
        return picture

    for (first, second), mated in book.mated.items():
        if mated:
            leader[led(second)] = led(first)
    for row in rows:
        first, second = book.pair(row)
        if not row.mated and led(first) == led(second):
            raise InputError(f"{row.where}: not mated, but the mated pairs make them one person")
    return {picture: f"subject {led(picture) + 1}" for picture in range(len(leader))}
