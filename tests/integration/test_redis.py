"""A real Redis over TCP: ZHENXUE_TEST_REDIS_URL, or a redis-server that the tests start."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.live import (
    LiveState,
    LiveStateUnavailableError,
    MemoryLiveState,
    RedisLiveState,
    ResilientLiveState,
    open_live_state,
)
from service.live.redis_engine import connect
from tests.service.live.conformance import LiveStateConformance
from tests.service.live.model import HandClock
from tests.service.live.redis_servers import TcpRedis, redis_server_on_path


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[TcpRedis]:
    """Start a server that the test may treat badly."""
    server = TcpRedis(redis_server_on_path(), tmp_path)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    named = os.environ.get("ZHENXUE_TEST_REDIS_URL")
    if named:
        yield named
        return
    server = TcpRedis(redis_server_on_path(), tmp_path_factory.mktemp("redis"))
    yield server.url
    server.kill()


@pytest.fixture(scope="module")
def fresh_engine(redis_url: str) -> Iterator[Callable[[], LiveState]]:
    """Return a function that makes an engine in a namespace nobody has used.

    The server may be somebody's: nothing in it is flushed, and what tests leave ends by itself.
    """
    client = connect(redis_url)
    yield lambda: RedisLiveState(client, f"zhenxue-test-{uuid.uuid4().hex}")
    client.close()


@pytest.fixture
def engine(fresh_engine: Callable[[], LiveState]) -> LiveState:
    return fresh_engine()


class TestRealRedis(LiveStateConformance):
    """The suite over TCP."""


def test_two_processes_that_serve_share_one_redis(redis_url: str, tmp_path: Path) -> None:
    name = f"zhenxue-test-{uuid.uuid4().hex}"
    with (
        open_live_state(redis_url, tmp_path, namespace=name) as one,
        open_live_state(redis_url, tmp_path, namespace=name) as other,
    ):
        assert (one.describe(), other.describe()) == ("redis", "redis")
        assert one.claim("k", "one", 60)
        assert not other.claim("k", "other", 60)
        assert other.take("k", limit=1, window_s=60).allowed
        assert not one.take("k", limit=1, window_s=60).allowed


def test_a_killed_redis_is_done_without_and_taken_back(own_redis: TcpRedis) -> None:
    clock = HandClock()
    client = connect(own_redis.url)
    live = ResilientLiveState(
        RedisLiveState(client, "ns"), MemoryLiveState(clock), monotonic=clock, retry_after_s=3
    )
    assert live.claim("k", "one", 600)
    own_redis.kill()
    assert live.claim("k", "two", 600)  # the price: judged twice, and SQL keeps one verdict
    assert not live.claim("k", "three", 600)
    assert live.describe() == "in-process"
    own_redis.start()
    assert not live.claim("k", "three", 600)  # not tried yet
    clock.microseconds += 3_000_000
    assert live.take("k", limit=1, window_s=600).allowed  # its scripts are loaded anew
    assert live.describe() == "redis"
    assert live.claim("k", "three", 600)
    client.close()


def test_a_redis_that_hangs_is_given_up(own_redis: TcpRedis) -> None:
    client = connect(own_redis.url)
    engine = RedisLiveState(client, "ns")
    engine.put("k", b"v", 600)
    own_redis.hold()
    with pytest.raises(LiveStateUnavailableError, match=r"^get: TimeoutError$"):
        engine.get("k")
    own_redis.go_on()
    assert engine.get("k") == b"v"  # not the late answer to another question
    client.close()


def test_a_full_redis_that_evicts_nothing_counts_as_away(own_redis: TcpRedis) -> None:
    client = connect(own_redis.url)
    client.config_set("maxmemory", "1")
    client.config_set("maxmemory-policy", "noeviction")
    engine = RedisLiveState(client, "ns")
    with pytest.raises(LiveStateUnavailableError, match="put: OutOfMemoryError"):
        engine.put("k", b"v", 600)
    live = ResilientLiveState(engine, MemoryLiveState())
    live.put("k", b"v", 600)
    assert live.get("k") == b"v"
    client.close()


def test_the_pool_survives_a_restart_without_an_error(own_redis: TcpRedis) -> None:
    """A connection that the server closed in between is noticed before it is used."""
    client = connect(own_redis.url)
    engine = RedisLiveState(client, "ns")
    engine.put("k", b"v", 600)
    own_redis.kill()
    own_redis.start()
    assert engine.get("k") is None
    client.close()
