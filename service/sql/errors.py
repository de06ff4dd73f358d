"""What a database may refuse, in words that hold no statement and no value.

LedgerError
└── StorageError             it could not be kept, or not be read
    ├── StorageBusyError         others are in the way; the same again may well succeed
    └── CommitUncertainError     nobody knows whether the unit of work was kept

Of a unit of work that ended in a ``StorageError`` nothing was kept, for certain, unless it was a
``CommitUncertainError``.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import exc

from verifier.errors import InputError, LedgerError, UncertainOutcomeError, VerifierError


class StorageError(LedgerError):
    """The database could not keep or read it: disk full, damaged, out of reach."""


class StorageBusyError(StorageError):
    """Others held what was needed for too long, or came first; nothing was kept."""


class CommitUncertainError(StorageError, UncertainOutcomeError):
    """The connection or the disk failed during the commit itself: kept, or not."""


class UnitOfWorkProgress:
    """Whether a unit of work has reached its commit."""

    committing = False


_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_UNIQUE: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}
)
# Of these SQLite knows that nothing was written.
_SQLITE_CERTAIN: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT})

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_BUSY: Final = {
    "40001": "another transaction changed the same",
    "40P01": "two transactions waited for each other",
    "55P03": "a lock was held by another transaction for too long",
    "57014": "the statement took too long",
    "53300": "too many connections",
    "23505": "another transaction wrote the same first",
}
_POSTGRESQL_FAILURES: Final = {
    "53100": "the disk is full",
    "25006": "a unit that only reads tried to write",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed and restarts",
    "57P03": "the server is starting or stopping",
}


@contextmanager
def as_storage_errors(progress: UnitOfWorkProgress | None = None) -> Iterator[None]:
    """Let what the database refuses leave as one of the errors above.

    Never chained: the driver's own message may hold the statement and the values in it.
    """
    try:
        yield
    except exc.TimeoutError:
        raise StorageBusyError("too many units of work at once; none became free") from None
    except exc.DBAPIError as error:
        raise _told(error.orig, progress) from None
    except exc.StatementError as error:
        # A value that its column refused before it reached the database.
        if isinstance(error.orig, VerifierError):
            raise error.orig from None
        raise
    except sqlite3.Error as error:
        raise _told(error, progress) from None


def _told(error: BaseException | None, progress: UnitOfWorkProgress | None) -> VerifierError:
    committing = progress is not None and progress.committing
    if isinstance(error, sqlite3.Error):
        return _told_by_sqlite(error, committing=committing)
    return _told_by_postgresql(error, committing=committing)


def _told_by_sqlite(error: sqlite3.Error, *, committing: bool) -> VerifierError:
    extended = getattr(error, "sqlite_errorcode", 0)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    code = extended & 0xFF  # the low byte is the primary code
    if code in _SQLITE_BUSY:
        return StorageBusyError("the database is locked by another unit of work")
    if extended in _SQLITE_UNIQUE:
        return StorageBusyError("another unit of work wrote the same first")
    if committing and code not in _SQLITE_CERTAIN:
        return CommitUncertainError(f"the database failed during a commit ({name})")
    if code == sqlite3.SQLITE_FULL:
        return StorageError("the disk is full")
    return StorageError(f"the database refused ({name})")


def _told_by_postgresql(error: BaseException | None, *, committing: bool) -> VerifierError:
    state = getattr(error, "sqlstate", None)
    if state in _POSTGRESQL_BUSY:
        return StorageBusyError(f"the database is busy: {_POSTGRESQL_BUSY[state]}")
    if type(error).__name__ == "DataError" or (state or "").startswith("22"):
        return InputError("a value is too long, too large, or holds a character without meaning")
    unreachable = state is None or state.startswith(("08", "57P"))
    if committing and unreachable:
        return CommitUncertainError("the connection to the database broke during a commit")
    if state is None:
        return StorageError("the database cannot be reached, or the connection broke")
    return StorageError(f"the database refused: {_POSTGRESQL_FAILURES.get(state, state)}")
