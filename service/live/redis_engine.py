"""Live state in Redis 6.2 or later, shared by every process that serves."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.live.live_state import (
    Allowance,
    LiveStateUnavailableError,
    check_name,
    check_value,
    ttl_in_ms,
)
from service.live.rate import Rate
from verifier.errors import InputError

CONNECT_TIMEOUT_S = 1.0
OPERATION_TIMEOUT_S = 0.5

# Redis' own clock judges a rate, since several machines that serve share a key and their clocks
# differ; a monotonic clock means nothing beyond its own process. A step of that clock is bounded
# by the arithmetic.
_CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""
# `rate.take_one` in Lua. Its numbers are doubles: whole microseconds since 1970 are exact below
# 2^53, until the year 2255, but `tostring` would keep 14 digits, hence the explicit format.
TAKE_ONE = """
local interval, span = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = tonumber(redis.call('GET', KEYS[1]) or '0')
local due = math.min(math.max(arrival, now), now + span)
local wait = due + interval - span - now
if wait > 0 then
  return wait
end
arrival = due + interval
redis.call('SET', KEYS[1], string.format('%.0f', arrival),
           'PX', string.format('%.0f', math.ceil((arrival - now) / 1000)))
return 0
"""
# Between a GET and a DEL sent one by one the claim could expire and become another's.
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""


class RedisLiveState:
    """Live state behind a redis-py client, under keys that begin with ``namespace``.

    Commands are single or one script each, hence atomic. The client is made by
    ``connect`` and closed by whoever made it.
    """

    def __init__(self, client: redis.Redis, namespace: str, *, engine: str = "redis") -> None:
        self._client = client
        self._namespace = check_name(namespace)
        self._engine = engine
        self._take = client.register_script(_CLOCK + TAKE_ONE)
        self._release = client.register_script(_RELEASE)

    def take(self, key: str, *, limit: int, window_s: float) -> Allowance:
        """Take one unit of a rate, by the clock of the Redis server."""
        rate = Rate(limit=limit, window_s=window_s)
        name = self._name("rate", key)
        with _one_error("take"):
            wait_us = int(self._take(keys=[name], args=[rate.interval_us, rate.span_us]))
        return Allowance(allowed=wait_us == 0, retry_after_s=wait_us / 1_000_000)

    def claim(self, key: str, owner: str, ttl_s: float) -> bool:
        """Claim a key for an owner unless it is claimed."""
        name, ttl_ms = self._name("claim", key), ttl_in_ms(ttl_s)
        check_name(owner)
        with _one_error("claim"):
            return bool(self._client.set(name, owner, px=ttl_ms, nx=True))

    def release(self, key: str, owner: str) -> bool:
        """Give up a claim that this owner holds."""
        name = self._name("claim", key)
        check_name(owner)
        with _one_error("release"):
            return bool(self._release(keys=[name], args=[owner]))

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for a time."""
        name, ttl_ms = self._name("value", key), ttl_in_ms(ttl_s)
        check_value(value)
        with _one_error("put"):
            self._client.set(name, value, px=ttl_ms)

    def get(self, key: str) -> bytes | None:
        """Return a value or ``None``."""
        name = self._name("value", key)
        with _one_error("get"):
            return _bytes(self._client.get(name))

    def pop(self, key: str) -> bytes | None:
        """Return a value and remove it, in one command (GETDEL, Redis 6.2)."""
        name = self._name("value", key)
        with _one_error("pop"):
            return _bytes(self._client.getdel(name))

    def describe(self) -> str:
        """Return which kind of server answers: ``redis``, or the name of an embedded one."""
        return self._engine

    def _name(self, table: str, key: str) -> str:
        return f"{self._namespace}:{table}:{check_name(key)}"


def connect(url: str) -> redis.Redis:
    """Return a client for ``redis://``, ``rediss://`` or ``unix://``; it connects when first used.

    The time limits are ours and a URL may set others (``?socket_timeout=2``).

    Raises
    ------
    InputError
        If the URL is none; the message does not repeat it, since it may hold a password.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=OPERATION_TIMEOUT_S,
            # Not tried twice: a command that timed out may have been carried out, and the
            # breaker above this engine knows better what to do than another wait.
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # the newer protocol brings notices that nobody here reads
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # does not connect; refuses odd options
    except (ValueError, TypeError):
        wanted = "redis://, rediss:// or unix:// with options that redis-py knows"
        raise InputError(f"the Redis URL cannot be used; {wanted} was wanted") from None
    if client.connection_pool.connection_kwargs.get("decode_responses"):
        raise InputError("the Redis URL asks for decode_responses; values here are bytes")
    return client


@contextmanager
def _one_error(act: str) -> Iterator[None]:
    """Turn whatever redis-py raises into the one error callers know, without names or values."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise LiveStateUnavailableError(f"{act}: {type(error).__name__}") from error


def _bytes(reply: bytes | str | None) -> bytes | None:
    if isinstance(reply, str):
        raise TypeError("the client decodes replies to text; values here are bytes")
    return reply
