"""Tables that people keep in a spreadsheet and save as CSV."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from verifier.errors import InputError

MAX_CSV_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """One row; ``where`` names file and line in errors."""

    where: str
    cells: tuple[str, ...]  # without blanks around them


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTable:
    """Column names in small letters, and the rows that are not empty."""

    name: str
    header: tuple[str, ...]
    rows: tuple[CsvRow, ...]


def read_csv_table(path: Path) -> CsvTable:
    """Read a CSV in UTF-8, with or without a byte order mark.

    Raises
    ------
    InputError
        If there is no such file, or it is too large, in another encoding, or no CSV.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        filled = (cells for cells in reader if any(cell.strip() for cell in cells))
        header = tuple(name.strip().lower() for name in next(filled, []))
        rows = tuple(
            CsvRow(
                where=f"{path.name}, line {reader.line_num}",
                cells=tuple(cell.strip() for cell in cells),
            )
            for cells in filled
        )
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: {error}") from None
    return CsvTable(name=path.name, header=header, rows=rows)


def printable(text: str) -> str:
    """Return text for a message, Chinese as it is, without what could move the cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:300])


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size > MAX_CSV_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes, at most {MAX_CSV_BYTES} wanted")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; save it as a CSV in UTF-8") from None
