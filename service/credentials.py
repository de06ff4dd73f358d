"""Secrets that callers show: API keys, one-time codes, learner tokens. Made here, kept as digests.

All are random, so a plain SHA-256 is enough at rest: the slow salted hashes of passwords defend
secrets that people choose. NIST SP 800-63B §5.1.2.2 asks for salt and a slow hash only below 112
bits; the shortest secret here has 128, and an API key 256.

    zx_platform_0a1b2c3d_<43 characters>   API key: role, key id (no secret), 256 bits
    zx_learner_<43 characters>             learner token: 256 bits
    zx_code_<22 characters>                one-time code: 128 bits

The prefix lets scanners for leaked secrets find them, and the digest covers the whole text, so
that a key with another role or id is another key.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Final, Self

from verifier.errors import InputError


class Role(StrEnum):
    """What the holder of an API key may see and do."""

    PLATFORM = "platform"  # its own learners, classes and sessions; never a score
    OFFICER = "officer"  # the values behind a decision


# Texts are never compared with each other, so there is no ==; digests are looked up.
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Credential:
    """A secret in the form in which its holder sends it; shown once, then only its digest stays."""

    text: str
    form: ClassVar[re.Pattern[str]]

    def __post_init__(self) -> None:
        if not self.form.fullmatch(self.text):
            raise InputError(f"a {type(self).__name__} of another form was wanted")

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what somebody presented, or None if it cannot be one."""
        return cls(text) if cls.form.fullmatch(text) else None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text, 32 bytes: all that is stored, and what is searched for."""
        return hashlib.sha256(self.text.encode("ascii")).digest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"


class ApiKey(Credential):
    """The key of a platform's server or of an officer's program."""

    __slots__ = ()
    form = re.compile("zx_(?:platform|officer)_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")

    @property
    def role(self) -> Role:
        """The role it was issued for; to be believed only once the digest matches."""
        return Role(self.text.split("_")[1])

    @property
    def key_id(self) -> str:
        """Eight hex digits that name the key in records and lists; no secret."""
        return self.text.split("_")[2]

    def __repr__(self) -> str:
        return f"ApiKey({self.role}, {self.key_id}, hidden)"


class LearnerToken(Credential):
    """Opens one session to the learner who answers its prompts."""

    __slots__ = ()
    form = re.compile("zx_learner_[A-Za-z0-9_-]{43}")


CODE_LIVES: Final = timedelta(minutes=10)
CODES_TRIED_PER_MINUTE: Final = 60
"""Of one session: guessing is slow, and nobody else is locked out by it."""


class OneTimeCode(Credential):
    """Handed to the learner by the platform and exchanged, once, for a learner token."""

    __slots__ = ()
    form = re.compile("zx_code_[A-Za-z0-9_-]{22}")


def issue_api_key(role: Role) -> ApiKey:
    """Make a key; store its ``key_id`` and ``digest``, show its ``text`` once.

    Key ids have 32 bits and may meet by chance; the caller asks again where one is taken.
    """
    return ApiKey(f"zx_{role}_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}")


def issue_learner_token() -> LearnerToken:
    """Make a token; store its ``digest``."""
    return LearnerToken(f"zx_learner_{secrets.token_urlsafe(32)}")


def issue_one_time_code() -> OneTimeCode:
    """Make a code; store its ``digest``, and forget that when the code is used."""
    return OneTimeCode(f"zx_code_{secrets.token_urlsafe(16)}")
