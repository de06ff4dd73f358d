"""Who calls: known by an API key or a learner's token, of which only the digest is looked up."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from sqlalchemy import Connection

from service.application import Application
from service.credentials import ApiKey, LearnerToken, Role
from service.http.problems import ProblemError
from service.sql import api_keys, learner_access
from service.sql.learner_access import LearnerAccess

TOKEN_OUTLIVES_SESSION: Final = timedelta(days=7)
"""A learner may look up what a lesson came to, and dispute it, for so long."""

_RATE_WINDOW_S: Final = 60.0

_bearer = HTTPBearer(
    auto_error=False,
    description="An API key of a platform or an officer, or a learner's token of one session.",
)


def _application(request: Request) -> Application:
    application: Application = request.app.state.application
    return application


ApplicationOf = Annotated[Application, Depends(_application)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls.

    Attributes
    ----------
    principal
        Whose requests these are, for repeated requests; no secret.
    role
        None for a learner.
    platform_id
        The platform itself, or the one at which a learner's session runs; None for officers.
    person
        Which officer; None for platforms and learners.
    access
        What a learner's token opens; None for API keys.
    """

    principal: str
    role: Role | None
    platform_id: str | None
    person: str | None = None
    access: LearnerAccess | None = None

    @property
    def budget(self) -> str:
        """Who is charged: one for a platform, all its keys and its learners' tokens together.

        Or else a platform would have as much as it opens sessions.
        """
        if self.platform_id is None:
            return self.principal
        # By its digest: live state takes no blanks and nothing but ASCII.
        return f"platform:{hashlib.sha256(self.platform_id.encode()).hexdigest()}"

    @property
    def is_officer(self) -> bool:
        """Whether the values behind a decision may be shown."""
        return self.role is Role.OFFICER

    @property
    def own_person(self) -> str:
        """The officer; ``forbidden`` for anybody else."""
        if self.person is None:
            raise ProblemError("forbidden", detail="an API key of an officer was wanted")
        return self.person

    @property
    def own_platform_id(self) -> str:
        """The platform's id; ``forbidden`` for anybody else."""
        if self.role is not Role.PLATFORM or self.platform_id is None:
            raise ProblemError("forbidden", detail="an API key of a platform was wanted")
        return self.platform_id


def caller(
    request: Request,
    application: ApplicationOf,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Return who calls.

    1. Something of a known form was shown.
    2. Its digest is on record, not revoked, and no token of a session long ended; of a request
       with a large body, when its headers came.
    3. Whoever is charged for that caller has not asked too often.
    """
    found: Caller | None = getattr(request.state, "caller", None)
    if found is None and shown is not None:
        found = known_caller(application, shown.credentials)
    if found is None:
        raise ProblemError("unauthenticated")
    require_allowance(
        application, f"calls:{found.budget}", application.settings.requests_per_minute
    )
    return found


def caller_by_header(application: Application, authorization: str | None) -> Caller | None:
    """Return whose an ``Authorization`` header is; None if it is nobody's."""
    scheme, shown = get_authorization_scheme_param(authorization)
    return known_caller(application, shown) if scheme.lower() == "bearer" else None


def known_caller(application: Application, shown: str) -> Caller | None:
    """Return whose key or token was shown; None if it is nobody's, or opens nothing any more."""
    with application.database.reading() as tx:
        return _caller_by_key(tx, shown) or _learner(tx, shown, application.clock.now())


def require_allowance(application: Application, key: str, per_minute: int) -> None:
    """Count one request; ``rate_limited`` where there were more than may be."""
    allowance = application.live.take(key, limit=per_minute, window_s=_RATE_WINDOW_S)
    if not allowance.allowed:
        raise ProblemError("rate_limited", retry_after_s=max(1, round(allowance.retry_after_s)))


def _caller_by_key(tx: Connection, text: str) -> Caller | None:
    key = ApiKey.parse(text)
    principal = None if key is None else api_keys.authenticate(tx, key.digest)
    if principal is None:
        return None
    return Caller(
        principal=f"key:{principal.key_id}",
        role=principal.role,
        platform_id=principal.platform_id,
        person=principal.person,
    )


def _learner(tx: Connection, text: str, now: datetime) -> Caller | None:
    token = LearnerToken.parse(text)
    access = None if token is None else learner_access.access_of(tx, token.digest)
    if access is None or _is_long_over(access, now):
        return None
    return Caller(
        principal=f"session:{access.session_id}",
        role=None,
        platform_id=access.platform_id,
        access=access,
    )


def _is_long_over(access: LearnerAccess, now: datetime) -> bool:
    return access.ended_at is not None and now >= access.ended_at + TOKEN_OUTLIVES_SESSION


AnyCaller = Annotated[Caller, Depends(caller)]


def _platform(found: AnyCaller) -> Caller:
    if found.role is not Role.PLATFORM:
        raise ProblemError("forbidden", detail="an API key of a platform was wanted")
    return found


def _officer(found: AnyCaller) -> Caller:
    if not found.is_officer:
        raise ProblemError("forbidden", detail="an API key of an officer was wanted")
    return found


def _staff(found: AnyCaller) -> Caller:
    if found.role is None:
        raise ProblemError("forbidden", detail="an API key was wanted, not a learner's token")
    return found


PlatformCaller = Annotated[Caller, Depends(_platform)]
OfficerCaller = Annotated[Caller, Depends(_officer)]
StaffCaller = Annotated[Caller, Depends(_staff)]


def may_see_session(found: Caller, session_id: str, platform_id: str) -> bool:
    """Say whether the caller may see a session that runs at a platform."""
    if found.access is not None:
        return found.access.session_id == session_id
    return found.is_officer or found.platform_id == platform_id
