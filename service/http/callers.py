"""Who calls: known by an API key or a learner's token, of which only the digest is looked up.

A token of the engine's own frame is worth nothing by itself. Every request that shows one has to
be signed with the key of the device it is bound to, whatever the route: `caller` asks for that.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from sqlalchemy import Connection

from pipelines.lesson_input import SignedAnswer
from service.application import Application
from service.credentials import ApiKey, LearnerToken, OneTimeCode, Role
from service.device_keys import PROOF_HEADER, PROOF_LASTS_S, DeviceKey, Proof, signed_text
from service.http.problems import ProblemError
from service.sql import api_keys, devices, learner_access
from service.sql.devices import DeviceCode
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

ProofHeader = Annotated[
    str | None,
    Header(
        alias=PROOF_HEADER,
        max_length=200,
        description="Of a device's key; needed with whatever only the engine's frame is given.",
    ),
]


async def _body(request: Request) -> bytes:
    # Parts of an upload are read by their route as they come.
    if request.method == "PATCH":
        return b""
    # Any other was read to be understood; this gives the very same bytes again.
    return await request.body()


BodyBytes = Annotated[bytes, Depends(_body)]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSecret:
    """A request that shows a token or a code, and perhaps a proof that its sender has a key.

    Attributes
    ----------
    text
        The token or code; None if nothing of that form was shown.
    proof
        The header as it came.
    target
        Path, with ``?`` and the query where there is one.
    """

    text: str | None
    proof: str | None
    method: str
    target: str
    body: bytes
    now: datetime

    def signed_by(self, key: DeviceKey) -> SignedAnswer:
        """Return what the key signed of the request, and the signature.

        Raises
        ------
        ProblemError
            ``proof_missing``; ``proof_wrong`` if it is not of this request, this key and this
            minute.
        """
        if self.proof is None:
            raise ProblemError("proof_missing")
        proof = Proof.parse(self.proof)
        if proof is None or abs(self.now.timestamp() - proof.at_s) > PROOF_LASTS_S:
            raise ProblemError("proof_wrong")
        text = signed_text(
            method=self.method,
            target=self.target,
            at_s=proof.at_s,
            secret=self.text or "",
            body=self.body,
        )
        if not key.signed(text, proof.signature):
            raise ProblemError("proof_wrong")
        return SignedAnswer(device_id=key.device_id, signature=proof.signature, signed=text)


def shown_secret(
    request: Request,
    application: ApplicationOf,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    body: BodyBytes,
    proof: ProofHeader = None,
) -> ShownSecret:
    """Return what a request shows of its sender, nothing of it checked yet."""
    query = request.url.query
    return ShownSecret(
        text=None if shown is None else shown.credentials,
        proof=proof,
        method=request.method,
        target=request.url.path + (f"?{query}" if query else ""),
        body=body,
        now=application.clock.now(),
    )


SecretShown = Annotated[ShownSecret, Depends(shown_secret)]


def caller(request: Request, application: ApplicationOf, shown: SecretShown) -> Caller:
    """Return who calls.

    1. Something of a known form was shown.
    2. Its digest is on record, not revoked, and no token of a session long ended; of a request
       with a large body, when its headers came.
    3. A token that is bound to a device came with a signature of that device's key over the
       whole request.
    4. Whoever is charged for that caller has not asked too often.
    """
    found = getattr(request.state, "caller", None)
    if found is None and shown.text is not None:
        found = known_caller(application, shown.text)
    if not isinstance(found, Caller):  # a device code lets a body in, and opens nothing else
        raise ProblemError("unauthenticated")
    request.state.signed = _signed(found, shown)
    require_allowance(
        application, f"calls:{found.budget}", application.settings.requests_per_minute
    )
    return found


def proof_of(request: Request) -> SignedAnswer | None:
    """Return what a device signed of this request; None where the caller has no device."""
    signed: SignedAnswer | None = request.state.signed  # `caller` wanted it already
    return signed


def caller_by_header(
    application: Application, authorization: str | None
) -> Caller | DeviceCode | None:
    """Return whose an ``Authorization`` header is; None if it is nobody's.

    Who has a device code may send a body, to register a device, and is no `Caller`.
    """
    scheme, shown = get_authorization_scheme_param(authorization)
    if scheme.lower() != "bearer":
        return None
    return known_caller(application, shown) or known_device_code(application, shown)


def known_device_code(application: Application, shown: str) -> DeviceCode | None:
    """Return for whom a device code is; None if it is none, or too old."""
    code = OneTimeCode.parse(shown)
    if code is None:
        return None
    with application.database.reading() as tx:
        return devices.device_code_of(tx, code.digest, at=application.clock.now())


def known_caller(application: Application, shown: str) -> Caller | None:
    """Return whose key or token was shown; None if it is nobody's, or opens nothing any more."""
    with application.database.reading() as tx:
        return _caller_by_key(tx, shown) or _learner(tx, shown, application.clock.now())


def require_allowance(application: Application, key: str, per_minute: int) -> None:
    """Count one request; ``rate_limited`` where there were more than may be."""
    allowance = application.live.take(key, limit=per_minute, window_s=_RATE_WINDOW_S)
    if not allowance.allowed:
        raise ProblemError("rate_limited", retry_after_s=max(1, round(allowance.retry_after_s)))


def _signed(found: Caller, shown: ShownSecret) -> SignedAnswer | None:
    """Return the proof that a caller with a device owes; None for any other."""
    key = None if found.access is None else found.access.public_key
    return None if key is None else shown.signed_by(DeviceKey(key))


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
