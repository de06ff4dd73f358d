"""A fresh database for each test, once as SQLite and once as PostgreSQL."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url

from service.sql.database import Database
from tests.service.sql.postgresql_server import postgresql_server

KEY = bytes(range(32))
_numbers = count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a server that lives as long as the tests."""
    with postgresql_server() as url:
        _run(url, "ALTER SYSTEM SET fsync = off")  # no test cuts the power
        _run(url, "SELECT pg_reload_conf()")
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database in which nothing is yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sql' / 'zhenxue.db'}"
    server: str = request.getfixturevalue("postgresql")
    # A schema of its own is as good as a database, and made in a hundredth of the time.
    name = f"test_{next(_numbers)}"
    _run(server, f"CREATE SCHEMA {name}")
    own = make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
    return own.render_as_string(hide_password=False)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Open a database that is up to date and empty."""
    opened = Database.open(database_url, key=KEY, busy_timeout_s=2)
    yield opened
    opened.close()


def _run(url: str, statement: str) -> None:
    server = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture
def tx(database: Database) -> Iterator[Connection]:
    """Give one unit of work on an empty database."""
    with database.writing() as unit:
        yield unit
