"""Database, archive, authority and log belong together from the first start on."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from pipelines.archive_id import ARCHIVE_ID_FILE, give_archive_id, read_archive_id
from service.sql import installation as module
from service.sql.database import Database
from service.sql.entry_log import append_entry
from service.sql.installation import Installation, require_installation
from service.sql.tables import installation
from tests.service.sql.lesson_samples import entry
from verifier.errors import InputError, LedgerError


def start(
    database: Database, folder: Path, *, authority: str = "bureau", log_origin: str = "log.example"
) -> Installation:
    """Start as the service does, and begin the archive."""
    found = require_installation(database, folder, authority=authority, log_origin=log_origin)
    for name in ("log", "objects"):
        (folder / name).mkdir(exist_ok=True)
    return found


def rows(database: Database) -> int:
    with database.reading() as tx:
        return tx.execute(select(func.count()).select_from(installation)).scalar_one()


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def keep_something(database: Database) -> None:
    with database.writing() as tx:
        append_entry(tx, entry("enrolment"))


def test_the_first_start_binds_and_every_later_one_agrees(
    database: Database, tmp_path: Path
) -> None:
    first = start(database, tmp_path / "archive")
    assert first.archive_id == read_archive_id(tmp_path / "archive")
    keep_something(database)
    assert start(database, tmp_path / "archive") == first
    assert rows(database) == 1


@pytest.mark.parametrize("change", [{"authority": "another"}, {"log_origin": "another.example"}])
def test_another_authority_or_log_is_refused(
    database: Database, tmp_path: Path, change: dict[str, str]
) -> None:
    start(database, tmp_path / "archive")
    (name,) = change
    with pytest.raises(InputError, match=f"ZHENXUE_{name.upper()} is another"):
        start(database, tmp_path / "archive", **change)


@pytest.mark.parametrize("used", [False, True])
def test_a_second_folder_is_refused_and_left_alone(
    database: Database, tmp_path: Path, used: bool
) -> None:
    start(database, tmp_path / "archive")
    if used:
        keep_something(database)
    with pytest.raises(LedgerError, match="is not at other"):
        start(database, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_archive_of_another_database_is_refused(database: Database, tmp_path: Path) -> None:
    start(database, tmp_path / "archive")
    theirs = give_archive_id(tmp_path / "other")
    before = contents(tmp_path)
    with pytest.raises(LedgerError, match=f"has id {theirs}"):
        start(database, tmp_path / "other")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("lost", [ARCHIVE_ID_FILE, "log", "objects"])
def test_an_archive_that_is_gone_is_not_begun_anew(
    database: Database, tmp_path: Path, lost: str
) -> None:
    folder = tmp_path / "archive"
    start(database, folder)
    keep_something(database)
    (folder / lost).rename(tmp_path / "gone")
    before = contents(tmp_path)
    with pytest.raises(LedgerError, match="bring the folder back"):
        start(database, folder)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("used", ["database", "archive"])
def test_what_was_used_without_the_other_is_refused(
    database: Database, tmp_path: Path, used: str
) -> None:
    folder = tmp_path / "archive"
    if used == "database":
        keep_something(database)
    else:
        give_archive_id(folder)
        (folder / "log").mkdir()
    before = contents(tmp_path)
    with pytest.raises(LedgerError, match="do not belong together"):
        start(database, folder)
    assert (rows(database), contents(tmp_path)) == (0, before)


def test_a_crash_in_the_first_start_is_made_good_by_the_next(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "archive"

    def crash(folder: Path) -> str:
        give_archive_id(folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "give_archive_id", crash)
        with pytest.raises(KeyboardInterrupt):
            start(database, folder)
    assert rows(database) == 0
    written = read_archive_id(folder)
    assert start(database, folder).archive_id == written


def test_a_crash_before_the_archive_was_begun_is_made_good(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    bound = require_installation(database, folder, authority="bureau", log_origin="log.example")
    assert not (folder / "log").exists()
    assert start(database, folder) == bound
