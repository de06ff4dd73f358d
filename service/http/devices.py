"""Learners' devices: registered in the engine's frame, shown a session's code, revoked."""

from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Response
from pydantic import FailFast, Field
from sqlalchemy import Connection

from pipelines.device_registration import DeviceDecision
from pipelines.lesson_store import LessonUnit
from pipelines.recording import recording
from service.application import Application
from service.consent import require_consent
from service.credentials import (
    CODE_LIVES,
    CODES_TRIED_PER_MINUTE,
    OneTimeCode,
    issue_learner_token,
    issue_one_time_code,
)
from service.device_keys import DeviceKey
from service.http.callers import (
    ApplicationOf,
    OfficerCaller,
    PlatformCaller,
    SecretShown,
    ShownSecret,
    known_device_code,
    require_allowance,
)
from service.http.calls import connection_of
from service.http.problem_responses import problems
from service.http.problems import ProblemError
from service.http.values import Base64Bytes, Message, OpaqueId
from service.sql import devices, learner_access, registry
from service.sql.accommodations import grant_in_force
from service.sql.devices import DeviceCode, StoredDevice
from verifier.accommodation import AccommodationKind
from verifier.answer import ANSWER_TEXT, AnswerReason, JudgedCapture
from verifier.observation import QualityReason
from verifier.prompt import Judgement

MOST_DEVICE_FRAMES: Final = 4
REGISTRATIONS_PER_MINUTE: Final = 10
"""Of one learner: each tells a searcher something, as an enrolment does."""

_EXAMPLE_KEY: Final = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/"
    "hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
)
_REFERRED: Final = (
    "这台设备暂时不能登记，请联系培训平台的工作人员",
    "This device cannot be registered now: please ask the platform's staff.",
)

router = APIRouter(tags=["devices"])

DeviceId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the device's public key.")
]


class DeviceCodeIssued(Message):
    """A one-time code with which the learner registers a device."""

    code: str = Field(description="Goes to the frame by postMessage, never in an address.")
    code_expires_at: datetime
    by_face: bool = Field(description="Whether the frame shows the learner to the engine first.")


class DeviceWay(Message):
    """How the learner of a device code registers a device."""

    by_face: bool = Field(description="False where an officer granted another way: no pictures.")


class DeviceRegistration(Message):
    """A key that was made in the engine's frame, and frames of who made it."""

    public_key: Base64Bytes = Field(
        description="SubjectPublicKeyInfo of an ECDSA key on P-256.", examples=[_EXAMPLE_KEY]
    )
    frames: Annotated[
        list[Base64Bytes],
        FailFast(),
        Field(max_length=MOST_DEVICE_FRAMES, examples=[["/9j/4AAQSkZJRg=="]]),
    ] = Field(
        repr=False,
        description="JPEG or PNG, taken now; none where an officer granted another way.",
    )


class DeviceRegistered(Message):
    """The device is the learner's."""

    outcome: Literal[Judgement.PASS] = Judgement.PASS
    device_id: str
    evidence_id: str = Field(description="Pending until a signed checkpoint holds it.")


class DeviceRefused(Message):
    """Why the device was not registered, and what to do; nothing was kept."""

    outcome: Literal[Judgement.RETRY, Judgement.REFER]
    reason: AnswerReason
    quality: tuple[QualityReason, ...] = Field(description="What to put right in a poor picture.")
    text_zh: str
    text_en: str

    @classmethod
    def of(cls, judged: JudgedCapture) -> "DeviceRefused":
        """Show a refusal."""
        referred = judged.judgement is Judgement.REFER
        chinese, english = _REFERRED if referred else ANSWER_TEXT[judged.reason]
        return cls.model_validate(
            {
                "outcome": judged.judgement,
                "reason": judged.reason,
                "quality": judged.quality,
                "text_zh": chinese,
                "text_en": english,
            }
        )


class DeviceShown(Message):
    """On which device a session's code is exchanged."""

    device_id: str = Field(pattern=r"^[0-9a-f]{64}$", examples=["5b" * 32])


class FrameTokenIssued(Message):
    """What lets the frame follow and answer one session, together with the device's key."""

    token: str
    session_id: str


class DeviceOut(Message):
    """A device of a learner's, valid or not."""

    device_id: str
    platform_id: str
    registered_at: datetime
    revoked_at: datetime | None
    evidence_id: str | None

    @classmethod
    def of(cls, device: StoredDevice) -> "DeviceOut":
        """Show a device; its key is nobody's business."""
        return cls(
            device_id=device.device_id,
            platform_id=device.platform_id,
            registered_at=device.registered_at,
            revoked_at=device.revoked_at,
            evidence_id=device.evidence_id,
        )


class DevicesOut(Message):
    """A learner's devices, the newest first."""

    devices: tuple[DeviceOut, ...]


@router.post(
    "/v1/learners/{learner_id}/device-code",
    status_code=201,
    responses=problems("unknown_subject", "consent_missing"),
)
def issue_device_code(
    learner_id: OpaqueId, found: PlatformCaller, application: ApplicationOf
) -> DeviceCodeIssued:
    """Give out a one-time code for a learner's device; an earlier one opens nothing more."""
    code, now = issue_one_time_code(), application.clock.now()
    with application.database.writing() as tx:
        registry.require_own_learner(tx, platform_id=found.own_platform_id, learner_id=learner_id)
        by_face = _is_by_face(tx, learner_id, now)
        if by_face:
            require_consent(tx, learner_id)
        devices.keep_device_code(
            tx,
            learner_id=learner_id,
            platform_id=found.own_platform_id,
            code_sha256=code.digest,
            expires_at=now + CODE_LIVES,
        )
    return DeviceCodeIssued(code=code.text, code_expires_at=now + CODE_LIVES, by_face=by_face)


@router.get("/v1/frame/devices", responses=problems("rate_limited"))
def device_way(shown: SecretShown, application: ApplicationOf) -> DeviceWay:
    """Tell whoever shows a device code whether pictures are wanted; the code is not spent.

    The frame asks here, so that no page decides whether a learner is photographed.
    """
    _, whose = _device_code(application, shown)
    require_allowance(application, f"device-codes:{whose.learner_id}", CODES_TRIED_PER_MINUTE)
    with application.database.reading() as tx:
        return DeviceWay(by_face=_is_by_face(tx, whose.learner_id, application.clock.now()))


@router.post(
    "/v1/frame/devices",
    status_code=201,
    response_model=DeviceRegistered,
    responses={
        200: {"model": DeviceRefused, "description": "Not registered: try again, or ask a person"},
        **problems(
            "code_spent",
            "consent_missing",
            "device_taken",
            "unknown_subject",
            "enrolment_outdated",
            "body_too_large",
            "busy",
        ),
    },
)
def register_device(
    body: DeviceRegistration, shown: SecretShown, application: ApplicationOf
) -> DeviceRegistered | Response:
    """Register the device on which a key was made, if the learner's face is before it.

    ``Authorization`` shows the device code, and the new key signs the request.
    """
    # 1. The code is somebody's, and whoever sends it has the key.
    code, whose = _device_code(application, shown)
    key = DeviceKey(body.public_key)
    shown.signed_by(key)
    require_allowance(application, f"devices:{whose.learner_id}", REGISTRATIONS_PER_MINUTE)
    # 2. The reply to the same request was lost: it is given again.
    if (known := _registered_before(application, whose, key)) is not None:
        return known
    # 3. The face matches, or an officer granted another way; the code is spent with it.
    decision = _decide(application, code, whose, key, body.frames)
    if decision.judged is None or decision.evidence_id is not None:
        return DeviceRegistered(device_id=key.device_id, evidence_id=str(decision.evidence_id))
    refused = DeviceRefused.of(decision.judged)
    return Response(refused.model_dump_json(), media_type="application/json")


@router.post(
    "/v1/frame/sessions/{session_id}/token",
    responses=problems(
        "code_spent", "unknown_subject", "device_unknown", "session_over", "not_allowed_now"
    ),
)
def redeem_on_device(
    session_id: OpaqueId, body: DeviceShown, shown: SecretShown, application: ApplicationOf
) -> FrameTokenIssued:
    """Exchange a session's one-time code for a token that is bound to the learner's device.

    ``Authorization`` shows the code, and the device's key signs the request.
    """
    require_allowance(application, f"codes:{session_id}", CODES_TRIED_PER_MINUTE)
    code, token = _code(shown), issue_learner_token()
    with application.database.writing() as tx:
        learner_access.redeem_code_on_device(
            tx,
            session_id=session_id,
            code_sha256=code.digest,
            token_sha256=token.digest,
            device_id=body.device_id,
            # Before the code is spent: whoever has it and no key must not use it up.
            require=lambda device: shown.signed_by(DeviceKey(device.public_key)),
            at=application.clock.now(),
        )
    return FrameTokenIssued(token=token.text, session_id=session_id)


@router.get("/v1/learners/{learner_id}/devices", responses=problems("unknown_subject"))
def list_devices(learner_id: OpaqueId, _: OfficerCaller, application: ApplicationOf) -> DevicesOut:
    """Return the devices that a learner ever registered, for officers."""
    with application.database.reading() as tx:
        registry.registered_at(tx, learner_id)
        stored = devices.devices_of(tx, learner_id)
    return DevicesOut(devices=tuple(DeviceOut.of(device) for device in stored))


@router.delete(
    "/v1/learners/{learner_id}/devices/{device_id}",
    status_code=204,
    responses=problems("unknown_subject"),
)
def revoke_device(
    learner_id: OpaqueId, device_id: DeviceId, found: OfficerCaller, application: ApplicationOf
) -> None:
    """Let a device, and every token bound to it, open nothing more; again changes nothing."""
    engine, registrar = application.engine, application.registrar
    with recording(engine.store, application.archive.evidence) as work:
        work.unit.lock_learner(learner_id)
        tx = connection_of(work.unit)
        at = application.clock.now()
        if devices.revoke_device(tx, learner_id=learner_id, device_id=device_id, at=at):
            registrar.record_revocation(
                work, learner_id, device_id=device_id, revoked_by=found.own_person
            )


def _decide(
    application: Application,
    code: OneTimeCode,
    whose: DeviceCode,
    key: DeviceKey,
    frames: list[bytes],
) -> DeviceDecision:
    """Compare the frames, unless a grant stands in for them, and keep what follows."""

    def keep(unit: LessonUnit, decision: DeviceDecision) -> None:
        tx, at = connection_of(unit), application.clock.now()
        if decision.judged is not None:
            # Once more, in the unit of work: it may have been withdrawn meanwhile.
            require_consent(tx, whose.learner_id)
        if decision.judgement is not Judgement.RETRY:
            devices.spend_device_code(tx, code.digest, at=at)
        if decision.evidence_id is not None:
            devices.add_device(
                tx,
                StoredDevice(
                    device_id=key.device_id,
                    learner_id=whose.learner_id,
                    platform_id=whose.platform_id,
                    public_key=key.spki,
                    registered_at=at,
                    evidence_id=decision.evidence_id,
                ),
            )

    with application.database.reading() as tx:
        by_face = _is_by_face(tx, whose.learner_id, application.clock.now())
        if by_face:
            require_consent(tx, whose.learner_id)
    registrar, device_id = application.registrar, key.device_id
    if not by_face:
        return registrar.register_by_grant(
            whose.learner_id, device_id=device_id, platform_id=whose.platform_id, also=keep
        )
    return registrar.register_by_face(
        whose.learner_id,
        device_id=device_id,
        platform_id=whose.platform_id,
        frames=frames,
        also=keep,
    )


def _device_code(application: Application, shown: ShownSecret) -> tuple[OneTimeCode, DeviceCode]:
    whose = known_device_code(application, shown.text or "")
    if whose is None:
        raise ProblemError("unauthenticated")
    return _code(shown), whose


def _code(shown: ShownSecret) -> OneTimeCode:
    code = OneTimeCode.parse(shown.text or "")
    if code is None:
        raise ProblemError("unauthenticated")
    return code


def _registered_before(
    application: Application, whose: DeviceCode, key: DeviceKey
) -> DeviceRegistered | None:
    """Return the reply that the very same request had; None if it is the first."""
    if whose.used_at is None:
        return None
    with application.database.reading() as tx:
        device = devices.valid_device(
            tx, key.device_id, learner_id=whose.learner_id, platform_id=whose.platform_id
        )
    if device is None or device.registered_at != whose.used_at:
        raise ProblemError("code_spent")
    return DeviceRegistered(device_id=device.device_id, evidence_id=str(device.evidence_id))


def _is_by_face(tx: Connection, learner_id: str, at: datetime) -> bool:
    grant = grant_in_force(tx, learner_id=learner_id, kind=AccommodationKind.NON_FACE, at=at)
    return grant is None
