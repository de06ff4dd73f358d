"""The stage, once on SQLite and this process's memory, once on PostgreSQL and a real Redis."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from tests.service.http.service_stage import ServiceStage, open_stage
from tests.service.live.redis_servers import TcpRedis, redis_server_on_path
from tests.service.sql.postgresql_server import postgresql_server

OpenStage = Callable[[Path], AbstractContextManager[ServiceStage]]

_numbers = count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a server that lives as long as the tests."""
    with postgresql_server() as url:
        _run(url, "ALTER SYSTEM SET fsync = off")  # no test cuts the power
        _run(url, "SELECT pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of ZHENXUE_TEST_REDIS_URL's server, or of one that the tests start."""
    named = os.environ.get("ZHENXUE_TEST_REDIS_URL")
    if named:
        yield named
        return
    server = TcpRedis(redis_server_on_path(), tmp_path_factory.mktemp("redis"))
    yield server.url
    server.kill()


@pytest.fixture(scope="session", params=["sqlite and memory", "postgresql and redis"])
def stage_opener(request: pytest.FixtureRequest) -> OpenStage:
    """Return a function that sets a stage in an empty folder, on one pair of engines."""
    if request.param == "sqlite and memory":
        return open_stage
    server: str = request.getfixturevalue("postgresql")
    redis: str = request.getfixturevalue("redis_url")
    return lambda folder: open_stage(folder, database_url=_new_database(server), redis_url=redis)


@pytest.fixture(scope="module")
def stage(
    stage_opener: OpenStage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceStage]:
    """Set one stage for a module's tests, each of which brings its own learners and classes.

    After the last of them the whole archive is verified, and so is that the OpenAPI document
    tells of every kind of answer that came.
    """
    with stage_opener(tmp_path_factory.mktemp("service")) as opened:
        yield opened
        assert not opened.undocumented


@pytest.fixture
def own_stage(stage_opener: OpenStage, tmp_path: Path) -> Iterator[ServiceStage]:
    """Set a stage that the test may treat badly."""
    with stage_opener(tmp_path) as opened:
        yield opened


def _new_database(server: str) -> str:
    name = f"http_{next(_numbers)}"
    _run(server, f"CREATE DATABASE {name}")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _run(url: str, statement: str) -> None:
    server = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
