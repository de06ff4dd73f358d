"""The port to live state: rate limits, claims and short-lived values that may vanish at any time.

Nothing in here was promised to anybody. Truth lies in SQL; losing all live state makes a rate
limit start afresh and may have one answer judged twice, and SQL still lets only one verdict stand.
So a caller may use it to save work or to slow somebody down, never to decide an outcome.
"""

import math
import re
from dataclasses import dataclass
from typing import Protocol

from verifier.errors import VerifierError

MAX_NAME_LENGTH = 200
MAX_VALUE_BYTES = 64 * 1024
# What has to live longer than a day belongs in SQL.
MAX_TTL_S = 86_400.0

_NAME = re.compile(r"[!-~]+")  # printable ASCII without the blank


class LiveStateUnavailableError(VerifierError):
    """Live state cannot be reached, or refused the command; nothing is known of what it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a rate limit says to one request."""

    allowed: bool
    retry_after_s: float  # 0 if allowed; else the wait after which it would have been


class LiveState(Protocol):
    """Three small tables, each with keys of its own: rates, claims and values.

    Keys and owners are 1 to 200 printable ASCII characters without blanks. They appear in memory
    dumps and in the tools of whoever runs Redis, so nothing secret or personal may stand in them:
    pass a digest. A time to live (``ttl_s``) is > 0 and at most a day, and is kept to within a
    millisecond or so.

    Every method raises ``ValueError`` for an argument outside its range and
    ``LiveStateUnavailableError`` where the engine cannot be asked. After the latter the act may
    or may not have taken place.
    """

    def take(self, key: str, *, limit: int, window_s: float) -> Allowance:
        """Take one unit of the rate ``limit`` per ``window_s`` seconds; see ``service.live.rate``.

        A refused request takes nothing, so that asking in vain does not prolong the wait.
        """
        ...

    def claim(self, key: str, owner: str, ttl_s: float) -> bool:
        """Claim ``key`` for ``owner``; false while anybody, the same owner included, holds it."""
        ...

    def release(self, key: str, owner: str) -> bool:
        """Give the claim up; true only if ``owner`` held it. Another's claim is left alone."""
        ...

    def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep ``value`` (at most 64 KiB) in place of what was there."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the value, or ``None`` if it was never put, has expired or was lost."""
        ...

    def pop(self, key: str) -> bytes | None:
        """Return the value and remove it, in one step: of several callers one gets it."""
        ...

    def describe(self) -> str:
        """Return the name of the engine that answers at present, for start-up lines and health."""
        ...


def check_name(name: str) -> str:
    """Return ``name``, a key, an owner or a namespace, if it is one.

    Raises
    ------
    ValueError
        If it is not; the message never repeats the name.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise ValueError(f"a name has {len(name)} characters; 1 to {MAX_NAME_LENGTH} wanted")
    if _NAME.fullmatch(name) is None:
        raise ValueError("a name has other characters than printable ASCII without blanks")
    return name


def check_value(value: bytes) -> bytes:
    """Return ``value`` if it is short enough to be kept.

    Raises
    ------
    ValueError
        If it is longer than 64 KiB.
    """
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value has {len(value)} bytes; at most {MAX_VALUE_BYTES} wanted")
    return value


def ttl_in_ms(ttl_s: float) -> int:
    """Return a time to live in whole milliseconds, rounded up: never 0, which Redis refuses.

    Raises
    ------
    ValueError
        If it is not a number of seconds > 0 and at most a day.
    """
    if not 0 < ttl_s <= MAX_TTL_S:  # false for NaN too
        raise ValueError(f"ttl_s is {ttl_s}; more than 0 and at most {MAX_TTL_S:g} wanted")
    return math.ceil(ttl_s * 1_000)
