"""One database, SQLite or PostgreSQL, and its units of work.

A unit of work is one transaction: all of it is kept, durably, when its block ends, or nothing.
Writing units lock what they will change, so that they never find out at the end that somebody
else was faster: in SQLite the whole database (``BEGIN IMMEDIATE``), in PostgreSQL the rows that
they read for it (``FOR UPDATE``). Reading units see one moment and can write nothing.

Start with :meth:`Database.open`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any, Final, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from pipelines.durable_files import as_ledger_error, flush_folder, make_folder, write_new
from pipelines.private_files import load_or_create_secret
from pipelines.sealing import KEY_BYTES, fresh_key
from service.sql import tables
from service.sql.encrypted_column import ColumnCipher, give_cipher
from service.sql.errors import StorageBusyError, UnitOfWorkProgress, as_storage_errors
from service.sql.insertion import insert_new
from service.sql.migrations import upgrade
from verifier.errors import InputError, LedgerError, WrongKeyError
from verifier.transparency.base64_text import from_base64, to_base64

BUSY_TIMEOUT_S: Final = 5.0
"""How long a unit waits for others before it gives up; a caller's patience is hardly longer."""
_STATEMENT_TIMEOUT_S: Final = 30.0
_IDLE_TIMEOUT_S: Final = 60.0
_RETRY_S: Final = 0.02
_CONNECTIONS_KEPT: Final = 10
_CONNECTIONS_MORE: Final = 30
"""Together as many as the service has threads for requests."""

_WRITING: Final = "zhenxue_writing"


class Database:
    """An open database; safe for threads."""

    def __init__(self, engine: Engine, cipher: ColumnCipher, *, busy_timeout_s: float) -> None:
        """Use ``open``."""
        self.engine = engine
        self._cipher = cipher
        self._busy_timeout_s = busy_timeout_s
        self._reader, self._writer = _units(engine)
        # SQLite has one writer; threads that queue here wake at once, in SQLite they would poll.
        self._turns = Lock() if engine.dialect.name == "sqlite" else None

    def __repr__(self) -> str:
        return f"Database({self.engine.dialect.name})"

    @classmethod
    def open(cls, url: str, *, key: bytes, busy_timeout_s: float = BUSY_TIMEOUT_S) -> "Database":
        """Open a database, creating the file of an SQLite one, and bring it up to date.

        Parameters
        ----------
        url
            ``sqlite:///path`` or ``postgresql://user:password@host/name``.
        key
            32 bytes that encrypted columns are sealed under; see `load_or_create_database_key`.
        busy_timeout_s
            How long a unit of work waits for others.

        Raises
        ------
        InputError
            If the URL names no such database, its file may be read by others, psycopg is missing,
            or a newer version of this program has been there.
        WrongKeyError
            If the database was begun with another key.
        StorageError
            If it cannot be reached, read or written.
        """
        parsed = _parse(url)
        cipher = ColumnCipher(key)
        if parsed.get_backend_name() == "sqlite":
            engine = _sqlite_engine(parsed, busy_timeout_s)
        else:
            engine = _postgresql_engine(parsed, busy_timeout_s)
        give_cipher(engine, cipher)
        database = cls(engine, cipher, busy_timeout_s=busy_timeout_s)
        try:
            database.migrate()
        except BaseException:
            database.close()
            raise
        return database

    def migrate(self) -> None:
        """Bring the tables up to date and check the key; ``open`` has done it already.

        Processes that start at the same time do it one after another.
        """
        with self.writing() as tx:
            upgrade(tx)
            self._require_own_key(tx)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run a unit of work that is committed when its block ends without an exception.

        Raises
        ------
        StorageBusyError
            If others held what it needed for too long.
        StorageError
            If the database refused; see :mod:`service.sql.errors` for what is certain then.
        """
        progress = UnitOfWorkProgress()
        with as_storage_errors(progress), self._turn(), self._writer.begin() as tx:
            yield tx
            progress.committing = True

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a unit that only reads, all of it as of one moment; errors as ``writing``."""
        with as_storage_errors(), self._reader.begin() as tx:
            yield tx

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def _turn(self) -> Any:
        return nullcontext() if self._turns is None else _taken(self._turns, self._busy_timeout_s)

    def _require_own_key(self, tx: Connection) -> None:
        seen = tables.database_key
        insert_new(tx, seen, id=1, key_check=self._cipher.key_check)
        if tx.execute(select(seen.c.key_check)).scalar_one() != self._cipher.key_check:
            raise WrongKeyError("the database was begun with another database key")


def load_or_create_database_key(path: Path) -> bytes:
    """Return the 32-byte key in the file ``path``, making one where there is none.

    It belongs beside the key store, never into the folder of the database.

    Raises
    ------
    InputError
        If others than the owner may read the file.
    LedgerError
        If it is damaged, or the disk refused.
    """
    text = load_or_create_secret(path, to_base64(fresh_key()))
    try:
        key = from_base64(text)
    except InputError:
        raise LedgerError(f"{path.name} is damaged: it is not base64") from None
    if len(key) != KEY_BYTES:
        raise LedgerError(f"{path.name} is damaged: {len(key)} bytes, {KEY_BYTES} were wanted")
    return key


@contextmanager
def _taken(lock: Lock, timeout_s: float) -> Iterator[None]:
    if not lock.acquire(timeout=timeout_s):
        raise StorageBusyError("the database is locked by another unit of work")
    try:
        yield
    finally:
        lock.release()


def _units(engine: Engine) -> tuple[Engine, Engine]:
    """Return the engine as reading and as writing units use it, over the same connections."""
    if engine.dialect.name == "sqlite":
        return engine, engine.execution_options(**{_WRITING: True})
    return (
        engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
        # A unit locks the rows that it decides on; each statement then sees the latest commit.
        engine.execution_options(isolation_level="READ COMMITTED"),
    )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError):  # not chained: a password may stand in it
        backend = None
    if backend not in {"sqlite", "postgresql"}:
        wanted = "sqlite:///path or postgresql://user:password@host/name"
        raise InputError(f"the database's URL is not one that is known; {wanted} was wanted")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise InputError("a database in memory forgets what it acknowledged; name a file")
    return parsed


def _sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    _make_private_file(Path(url.database or ""))
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        hide_parameters=True,
        pool_size=_CONNECTIONS_KEPT,
        max_overflow=_CONNECTIONS_MORE,
        pool_timeout=busy_timeout_s,
    )
    pragmas = (
        f"PRAGMA busy_timeout={round(1000 * busy_timeout_s)}",
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA foreign_keys=ON",
        "PRAGMA trusted_schema=OFF",
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        try:
            # The driver shall begin nothing by itself: not every statement would be in the unit.
            connection.isolation_level = None
            for pragma in pragmas:
                _execute_patiently(connection, pragma, busy_timeout_s)
        except BaseException:
            connection.close()
            raise

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(_WRITING, False)
        # On the driver's own connection: five units a request make SQLAlchemy's way noticeable.
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        driver.execute(f"PRAGMA query_only={'OFF' if writing else 'ON'}")
        _execute_patiently(driver, "BEGIN IMMEDIATE" if writing else "BEGIN", busy_timeout_s)

    return engine


def _execute_patiently(connection: sqlite3.Connection, statement: str, patience_s: float) -> None:
    """Execute a statement, again and again while others hold the database.

    Whatever the busy timeout, SQLite refuses at once while another process changes to WAL for the
    first time, recovers it, or closes its last connection (https://www.sqlite.org/wal.html §9).
    """
    until = monotonic() + patience_s
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or monotonic() > until:
                raise
            sleep(_RETRY_S)
        else:
            return


@as_ledger_error("the database's file could not be made")
def _make_private_file(path: Path) -> None:
    """Create the file before SQLite does, for its owner only; the files beside it follow it."""
    make_folder(path.parent, mode=0o700)
    # Only if it is absent: to close a file that is open in SQLite would drop SQLite's locks.
    with suppress(FileExistsError):
        write_new(path, b"", mode=0o600)
        flush_folder(path.parent)
    if path.stat().st_mode & 0o077:
        raise InputError(f"{path.name} may be read by others; it must have mode 0600")


def _postgresql_engine(url: URL, busy_timeout_s: float) -> Engine:
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            pool_size=_CONNECTIONS_KEPT,
            max_overflow=_CONNECTIONS_MORE,
            pool_timeout=busy_timeout_s,
            pool_pre_ping=True,
            connect_args={"connect_timeout": max(2, round(busy_timeout_s))},
        )
    except ModuleNotFoundError as error:
        raise InputError(
            'PostgreSQL needs a driver: pip install -e ".[postgresql]" in the source folder'
        ) from error
    settings = (
        "SET timezone = 'UTC'",
        "SET synchronous_commit = on",  # a server may be set up to acknowledge what it could lose
        f"SET lock_timeout = {round(1000 * busy_timeout_s)}",
        f"SET statement_timeout = {round(1000 * _STATEMENT_TIMEOUT_S)}",
        f"SET idle_in_transaction_session_timeout = {round(1000 * _IDLE_TIMEOUT_S)}",
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        for setting in settings:
            connection.execute(setting)
        connection.commit()

    return engine
