"""Live state: rate limits, claims and short-lived values, none of which was promised to anybody.

Start at ``open_live_state``; ``LiveState`` is the port that callers see.
"""

from service.live.embedded import open_live_state
from service.live.live_state import Allowance, LiveState, LiveStateUnavailableError
from service.live.memory_engine import MemoryLiveState
from service.live.redis_engine import RedisLiveState
from service.live.resilient import ResilientLiveState

__all__ = [
    "Allowance",
    "LiveState",
    "LiveStateUnavailableError",
    "MemoryLiveState",
    "RedisLiveState",
    "ResilientLiveState",
    "open_live_state",
]
