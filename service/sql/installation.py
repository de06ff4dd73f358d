"""What belongs together: this database, one archive folder, one authority, one log.

All of them are bound at the very first start and checked at every later one, before anything is
written. Evidence of one database must never be split over two folders, and a folder that is gone
must not be replaced by an empty one in silence.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select

from pipelines.archive_id import give_archive_id, read_archive_id
from service.sql.database import Database
from service.sql.tables import installation, log_head
from verifier.errors import InputError, LedgerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Whose evidence a database holds, and which archive goes with it."""

    archive_id: str
    authority: str
    log_origin: str


def require_installation(
    database: Database, archive_folder: Path, *, authority: str, log_origin: str
) -> Installation:
    """Return the installation, binding its parts at the first start.

    The archive gets its id first, then the database names it: a crash in between leaves an
    archive that was not begun, and the next start takes its id.

    Raises
    ------
    InputError
        If authority or log are not those that the database was begun with.
    LedgerError
        If the archive is not the one that belongs to the database, or not there.
    """
    with database.reading() as tx:
        found, entries = _installation(tx), _entries(tx)
    if found is None:
        found = _bind(database, archive_folder, authority=authority, log_origin=log_origin)
    _require_setting("AUTHORITY", authority, found.authority)
    _require_setting("LOG_ORIGIN", log_origin, found.log_origin)
    _require_archive(archive_folder, found.archive_id, begun=entries > 0)
    return found


def _bind(
    database: Database, archive_folder: Path, *, authority: str, log_origin: str
) -> Installation:
    with database.writing() as tx:
        # Locked, so that of two first starts the second one sees what the first one bound.
        tx.execute(select(log_head).with_for_update())
        if (found := _installation(tx)) is not None:
            return found
        if _entries(tx) or (archive_folder / "log").exists():
            raise LedgerError(
                f"the archive folder {archive_folder.name} and the database do not belong "
                "together: one has been used without the other; use the database and the archive "
                "that were begun together, or begin with a new one of each"
            )
        fresh = Installation(
            archive_id=give_archive_id(archive_folder), authority=authority, log_origin=log_origin
        )
        tx.execute(
            insert(installation).values(
                id=1,
                archive_id=fresh.archive_id,
                authority=fresh.authority,
                log_origin=fresh.log_origin,
            )
        )
        return fresh


def _installation(tx: Connection) -> Installation | None:
    row = tx.execute(select(installation)).one_or_none()
    if row is None:
        return None
    return Installation(
        archive_id=row.archive_id, authority=row.authority, log_origin=row.log_origin
    )


def _entries(tx: Connection) -> int:
    count: int = tx.execute(select(log_head.c.next_index)).scalar_one()
    return count


def _require_setting(name: str, given: str, wanted: str) -> None:
    if given != wanted:
        raise InputError(
            f"ZHENXUE_{name} is {given}, but this database was begun with {wanted}; "
            "it cannot be changed afterwards"
        )


def _require_archive(folder: Path, wanted: str, *, begun: bool) -> None:
    found = read_archive_id(folder)
    if found not in {None, wanted}:
        raise LedgerError(
            f"the archive at {folder.name} has id {found}, this database belongs to {wanted}: "
            "correct ZHENXUE_DATA_DIR or ZHENXUE_DATABASE_URL"
        )
    # Begun anew, a log would look whole, and every picture would be gone.
    gone = begun and not all((folder / name).is_dir() for name in ("log", "objects"))
    if found is None or gone:
        raise LedgerError(
            f"the archive that belongs to this database, id {wanted}, is not at {folder.name}: "
            "correct ZHENXUE_DATA_DIR, or bring the folder back"
        )
