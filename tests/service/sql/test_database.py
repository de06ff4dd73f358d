"""Units of work: all of it or nothing, told in words that hold no statement and no value."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import OperationalError

from service.sql.database import Database, load_or_create_database_key
from service.sql.errors import (
    CommitUncertainError,
    StorageBusyError,
    StorageError,
    UnitOfWorkProgress,
    as_storage_errors,
)
from service.sql.lesson_store import SqlLessonStore
from service.sql.tables import log_entry, platform
from tests.service.sql.conftest import KEY
from tests.service.sql.lesson_samples import STARTS, add_opened, entry, register
from verifier.errors import InputError, LedgerError, WrongKeyError

ROOT = Path(__file__).parents[3]


def put(tx: Connection, platform_id: str = "p", name: str = "P") -> None:
    tx.execute(insert(platform).values(platform_id=platform_id, name=name, created_at=STARTS))


def kept(database: Database) -> int:
    with database.reading() as tx:
        return tx.execute(select(func.count()).select_from(platform)).scalar_one()


def test_a_unit_is_kept_when_its_block_ends(database: Database, database_url: str) -> None:
    with database.writing() as tx:
        put(tx)
    again = Database.open(database_url, key=KEY)
    assert kept(again) == 1
    again.close()


def test_a_unit_that_fails_keeps_nothing_and_its_error_passes_through(database: Database) -> None:
    class OddError(BaseException):
        pass

    def fail() -> None:
        with database.writing() as tx:
            put(tx)
            raise OddError

    with pytest.raises(OddError):
        fail()
    assert kept(database) == 0


def test_a_reading_unit_sees_one_moment(database: Database) -> None:
    with database.reading() as before:
        count = select(func.count()).select_from(platform)
        assert before.execute(count).scalar_one() == 0
        with database.writing() as tx:
            put(tx)
        assert before.execute(count).scalar_one() == 0
    assert kept(database) == 1


def test_a_reading_unit_writes_nothing(database: Database) -> None:
    with pytest.raises(StorageError), database.reading() as tx:
        put(tx)
    assert kept(database) == 0
    with database.writing() as tx:  # the same connection, perhaps; and it may write again
        put(tx)
    assert kept(database) == 1


def test_errors_hold_neither_statement_nor_value(database: Database) -> None:
    with database.writing() as tx:
        put(tx, "secret-id")
    with pytest.raises(StorageBusyError) as refused, database.writing() as tx:
        put(tx, "secret-id")
    assert (refused.value.__cause__, refused.value.__suppress_context__) == (None, True)
    assert "secret" not in str(refused.value)
    assert "INSERT" not in str(refused.value)
    assert "secret" not in repr(database)


def test_a_constraint_that_no_other_unit_can_have_broken_is_no_busy_database(
    database: Database,
) -> None:
    with pytest.raises(StorageError) as refused, database.writing() as tx:
        tx.execute(insert(platform).values(platform_id="p", created_at=STARTS))
    assert not isinstance(refused.value, StorageBusyError | CommitUncertainError)


def test_a_foreign_key_holds(database: Database) -> None:
    with pytest.raises(StorageError), database.writing() as tx:
        tx.exec_driver_sql(
            "INSERT INTO learner_alias (platform_id, reference, learner_id, created_at)"
            " VALUES ('nobody', 'r', 'nobody', '2026-01-01 00:00:00')"
        )


def test_who_waits_too_long_for_another_unit_is_told(database_url: str) -> None:
    first = Database.open(database_url, key=KEY)
    # Another process: nothing but the database itself stands between the two.
    second = Database.open(database_url, key=KEY, busy_timeout_s=0.1)
    with first.writing() as tx:
        put(tx)
    with first.writing() as tx:
        tx.execute(update(platform).values(name="Q"))
        with pytest.raises(StorageBusyError), second.writing() as other:
            other.execute(update(platform).values(name="R"))
        assert kept(second) == 1  # reading goes on meanwhile
    with second.writing() as other:
        other.execute(update(platform).values(name="R"))
    first.close()
    second.close()


def test_threads_of_one_process_wait_for_each_other_too(database_url: str) -> None:
    database = Database.open(database_url, key=KEY, busy_timeout_s=0.1)
    with database.writing() as tx:
        put(tx)
    holding, done = Event(), Event()

    def hold() -> None:
        with database.writing() as tx:
            tx.execute(update(platform).values(name="Q"))
            holding.set()
            done.wait()

    thread = Thread(target=hold)
    thread.start()
    holding.wait()
    with pytest.raises(StorageBusyError), database.writing() as tx:
        tx.execute(update(platform).values(name="R"))
    done.set()
    thread.join()
    with database.writing() as tx:
        tx.execute(update(platform).values(name="R"))
    database.close()


def test_more_units_at_once_than_connections_wait_and_are_told(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/d/z.db", key=KEY, busy_timeout_s=0.05)
    with _many_readers(database, 40), pytest.raises(StorageBusyError), database.reading():
        pass
    assert kept(database) == 0
    database.close()


@contextmanager
def _many_readers(database: Database, count: int) -> Iterator[None]:
    if count == 0:
        yield
        return
    with database.reading(), _many_readers(database, count - 1):
        yield


def _is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


# --- a full disk -------------------------------------------------------------------------------


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Database]:
    """Open a database whose file may not grow by more than a few pages."""
    database = Database.open(f"sqlite:///{tmp_path}/d/z.db", key=KEY)
    with database.writing() as tx:
        register(tx)
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        # For this connection only; the pool hands it out again.
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 3}")
    yield database
    database.close()


def test_a_full_disk_is_told_and_keeps_nothing_of_the_unit(full: Database) -> None:
    store = SqlLessonStore(full)

    def fill() -> None:
        with store.writing() as unit:
            add_opened(unit)
            for _ in range(200):
                unit.append(entry())

    with pytest.raises(StorageError, match="full") as refused:
        fill()
    assert not isinstance(refused.value, CommitUncertainError)
    with full.reading() as tx:
        assert tx.execute(select(func.count()).select_from(log_entry)).scalar_one() == 0
    assert store.unfinished() == []
    with store.writing() as unit:  # what fits is kept, and numbered from where it stood
        assert add_opened(unit).opened_index == 0


# --- a process that is killed ------------------------------------------------------------------

KILLED = """
import sys, time
from service.sql.database import Database
from service.sql.lesson_store import SqlLessonStore
from tests.service.sql.lesson_samples import add_opened, entry

database = Database.open(sys.argv[1], key=bytes(range(32)))
store = SqlLessonStore(database)
with store.writing() as unit:
    add_opened(unit)
with store.writing() as unit:
    for _ in range(50):
        unit.append(entry())
    print("half-way", flush=True)
    time.sleep(60)
"""


def test_killing_a_process_loses_nothing_acknowledged_and_keeps_nothing_half(
    database: Database, database_url: str
) -> None:
    with database.writing() as tx:
        register(tx)
    child = subprocess.Popen(
        [sys.executable, "-B", "-c", KILLED, database_url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "half-way\n"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    store = SqlLessonStore(database)
    (session_id,) = store.unfinished()
    with store.writing() as unit:
        assert unit.lesson(session_id).opened_index == 0
        assert unit.append(entry()) == 1


# --- opening -----------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "zhenxue.db"
    database = Database.open(f"sqlite:///{path}", key=KEY)
    with database.writing() as tx:
        put(tx)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert set(modes) >= {"zhenxue.db", "zhenxue.db-wal"}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    database.close()


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zhenxue.db"
    Database.open(f"sqlite:///{path}", key=KEY).close()
    path.chmod(0o640)
    with pytest.raises(InputError, match="0600"):
        Database.open(f"sqlite:///{path}", key=KEY)


def test_sqlite_flushes_what_it_acknowledges(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/d/z.db", key=KEY)
    with database.reading() as tx:
        settings = {
            name: tx.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()


def test_postgresql_flushes_what_it_acknowledges(postgresql: str) -> None:
    database = Database.open(postgresql, key=KEY)
    with database.writing() as tx:
        settings = {
            name: tx.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("synchronous_commit", "timezone", "transaction_isolation")
        }
    assert settings == {
        "synchronous_commit": "on",
        "timezone": "UTC",
        "transaction_isolation": "read committed",
    }
    database.close()


@pytest.mark.parametrize(
    "url", ["", "not a url", "mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "odd://x"]
)
def test_a_url_of_no_known_database_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(InputError) as refused:
        Database.open(url, key=KEY)
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(StorageError) as refused:
        Database.open("postgresql://u:secret@127.0.0.1:1/d", key=KEY, busy_timeout_s=1)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "zhenxue.db"
    path.write_bytes(b"no database " * 1000)
    path.chmod(0o600)
    with pytest.raises(StorageError, match="NOTADB"):
        Database.open(f"sqlite:///{path}", key=KEY)


def test_without_its_driver_postgresql_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[postgresql\]"'):
        Database.open("postgresql://u@h/d", key=KEY)


def test_another_key_is_refused(database: Database, database_url: str) -> None:
    with pytest.raises(WrongKeyError):
        Database.open(database_url, key=b"another key, of the same length!")
    with pytest.raises(InputError, match="3 bytes"):
        Database.open(database_url, key=b"key")
    assert kept(database) == 0


def test_a_database_of_a_newer_version_is_refused(database: Database, database_url: str) -> None:
    with database.writing() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match="revision 9999"):
        Database.open(database_url, key=KEY)


def test_processes_that_open_it_at_once_make_the_tables_once(database_url: str) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            Database.open(database_url, key=KEY, busy_timeout_s=10).close()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_database_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "database.key"
    key = load_or_create_database_key(path)
    assert len(key) == 32
    assert load_or_create_database_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "no base64!", "c2hvcnQ="])
def test_a_damaged_database_key_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "database.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(LedgerError, match=r"database\.key is damaged"):
        load_or_create_database_key(path)


# --- what is certain ---------------------------------------------------------------------------


def test_a_commit_that_breaks_is_said_to_be_uncertain(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_connection: object) -> None:
        raise _failure("SQLITE_IOERR_FSYNC")

    def lose() -> None:
        with database.writing() as tx:
            put(tx)
            monkeypatch.setattr(database.engine.dialect, "do_commit", fail)

    with pytest.raises(CommitUncertainError):
        lose()


def test_a_connection_that_is_lost_before_the_commit_keeps_nothing_for_certain(
    postgresql: str,
) -> None:
    database = Database.open(postgresql, key=KEY)

    def lose() -> None:
        with database.writing() as tx:
            put(tx, "lost")
            pid = tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with database.writing() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
            put(tx, "lost-too")

    with pytest.raises(StorageError) as told:
        lose()
    assert not isinstance(told.value, CommitUncertainError | StorageBusyError)
    assert kept(database) == 0
    database.close()


def test_a_connection_that_is_lost_by_the_time_of_the_commit_is_uncertain(
    postgresql: str,
) -> None:
    database = Database.open(postgresql, key=KEY)

    def lose() -> None:
        with database.writing() as tx:
            put(tx, "lost")
            pid = tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with database.writing() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

    with pytest.raises(CommitUncertainError):
        lose()
    assert kept(database) == 0
    database.close()


def _failure(name: str) -> OperationalError:
    error = sqlite3.OperationalError("table session, value secret")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return OperationalError("COMMIT", None, error)


@pytest.mark.parametrize(
    ("name", "committing", "wanted"),
    [
        ("SQLITE_IOERR", False, StorageError),
        ("SQLITE_IOERR", True, CommitUncertainError),
        ("SQLITE_FULL", True, StorageError),
        ("SQLITE_BUSY", True, StorageBusyError),
        ("SQLITE_BUSY_SNAPSHOT", True, StorageBusyError),
        ("SQLITE_LOCKED", False, StorageBusyError),
    ],
)
def test_only_a_broken_commit_is_uncertain(
    name: str, committing: bool, wanted: type[StorageError]
) -> None:
    progress = UnitOfWorkProgress()
    progress.committing = committing
    with pytest.raises(StorageError) as told, as_storage_errors(progress):
        raise _failure(name)
    assert type(told.value) is wanted
    assert "secret" not in str(told.value)
