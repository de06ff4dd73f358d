"""Learners: registered by a platform, asked for their consent, enrolled with their face."""

import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Response
from pydantic import AfterValidator, FailFast, Field
from sqlalchemy import Connection

from pipelines.enrolment import Vouching
from pipelines.lesson_store import LessonUnit, StoredEnrolment
from service.application import Application
from service.consent import PURPOSE, require_consent
from service.http.callers import (
    ApplicationOf,
    Caller,
    OfficerCaller,
    PlatformCaller,
    StaffCaller,
    require_allowance,
)
from service.http.calls import Calls
from service.http.problem_responses import problems
from service.http.values import Base64Bytes, Message, OpaqueId, OwnReference
from service.sql import registry
from service.sql.errors import StorageBusyError
from service.sql.lesson_store import SqlLessonReader
from service.sql.registry import Registration
from verifier.eligibility_facts import china_day
from verifier.enrolment import (
    MIN_LIVE_FRAMES,
    Anchor,
    EnrolmentPicture,
    Refusal,
    RefusalCode,
)
from verifier.errors import InputError, ProtocolError, UnknownSubjectError
from verifier.identity import Identity, check_character, parse_identity
from verifier.observation import QualityReason
from verifier.prompt import Judgement

MOST_LIVE_FRAMES: Final = 8
ENROLMENTS_PER_MINUTE: Final = 10
"""Of one learner: nobody takes pictures faster, and each answer tells a searcher something."""

_EXAMPLE_PICTURE: Final = "/9j/4AAQSkZJRgABAQAAAQABAAD/2Q=="

router = APIRouter(tags=["learners"])


def _no_identity_number(reference: str) -> str:
    # References are kept and shown in the clear; platforms that use numbers as ids exist. Full
    # width, blanks and dashes make it no other number.
    folded = unicodedata.normalize("NFKC", reference).upper()
    number = "".join(character for character in folded if character.isalnum())
    body, check = number[:17], number[17:]
    if body.isascii() and body.isdigit() and len(body) == 17 and check_character(body) == check:
        raise InputError("reference: an identity number; an id of the platform's own was wanted")
    return reference


class IdentityIn(Message):
    """Who the learner is on paper; kept encrypted, and never shown again."""

    name: str = Field(max_length=200, repr=False, examples=["演示学员7"])
    id_number: str = Field(
        max_length=200,
        repr=False,
        description="公民身份号码, 18 characters.",
        examples=["999999197001010076"],
    )


class LearnerRegistration(Message):
    """A learner under the platform's own reference, which must not be an identity number."""

    reference: Annotated[OwnReference, AfterValidator(_no_identity_number)] = Field(
        examples=["user-20817"]
    )
    identity: IdentityIn | None = None


class LearnerRegistered(Message):
    """The engine's id of a learner; the same person has one, whichever platforms bring them."""

    learner_id: str
    reference: str
    registered_at: datetime


class ConsentIn(Message):
    """To which text the learner consented: 个人信息保护法 article 29 asks for it separately."""

    version: OpaqueId = Field(examples=["consent-2026-01"])


class ConsentOut(Message):
    """A consent that is in force."""

    version: str
    given_at: datetime


class EnrolmentOut(Message):
    """The face in use: who vouches for it, and since when."""

    anchor: Anchor
    enrolled_at: datetime
    outdated: bool = Field(
        description="Made with a model that is not in use any more: enrol again before a session."
    )


class IdentityOnRecord(Message):
    """Who the learner is on paper, for an officer who has the card in hand."""

    name: str
    id_number_ends: str = Field(description="The last four characters.")


class LearnerOut(Message):
    """A learner as a platform may know them; only officers are told a name."""

    learner_id: str
    registered_at: datetime
    consent: ConsentOut | None
    enrolment: EnrolmentOut | None
    identity: IdentityOnRecord | None = None


class EnrolmentIn(Message):
    """A reference picture, and live frames that must show the same person."""

    reference: Base64Bytes = Field(
        repr=False,
        description="JPEG or PNG, up to 16 MiB: the picture that is vouched for.",
        examples=[_EXAMPLE_PICTURE],
    )
    live: Annotated[
        list[Base64Bytes],
        FailFast(),
        Field(min_length=MIN_LIVE_FRAMES, max_length=MOST_LIVE_FRAMES),
    ] = Field(
        repr=False,
        description="JPEG or PNG, up to 1 MiB each: different ones, taken now.",
        examples=[[_EXAMPLE_PICTURE, _EXAMPLE_PICTURE]],
    )


class EnrolmentPassed(Message):
    """The learner is enrolled."""

    outcome: Literal[Judgement.PASS] = Judgement.PASS
    anchor: Anchor
    evidence_id: str = Field(description="Pending until a signed checkpoint holds it.")


class EnrolmentRefused(Message):
    """Why the learner was not enrolled, and what to do; nothing was kept."""

    outcome: Literal[Judgement.RETRY, Judgement.REFER]
    reason: RefusalCode
    picture: EnrolmentPicture = Field(description="Which picture it is about.")
    quality: Sequence[QualityReason] = Field(description="What to put right in a poor picture.")
    text_zh: str
    text_en: str

    @classmethod
    def of(cls, refusal: Refusal) -> "EnrolmentRefused":
        """Show a refusal."""
        chinese, english = refusal.text
        return cls.model_validate(
            {
                "outcome": refusal.judgement,
                "reason": refusal.code,
                "picture": refusal.picture,
                "quality": refusal.quality,
                "text_zh": chinese,
                "text_en": english,
            }
        )


class _RefusedError(Exception):
    """Leaves the unit of work, in which a refusal has nothing to keep."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


@router.post(
    "/v1/learners",
    status_code=201,
    response_model=LearnerRegistered,
    responses={
        200: {"model": LearnerRegistered, "description": "Known under this reference"},
        **problems("idempotency_conflict"),
    },
)
def register_learner(body: LearnerRegistration, found: PlatformCaller, call: Calls) -> Response:
    """Register a learner; the same reference again gives the same learner."""
    application, platform_id = call.application, found.own_platform_id
    now = application.clock.now()
    identity = _identity(body.identity, now)

    def register(tx: Connection) -> Registration:
        return registry.register_learner(
            tx, platform_id=platform_id, reference=body.reference, identity=identity, at=now
        )

    def render(done: Registration) -> LearnerRegistered:
        return LearnerRegistered(
            learner_id=done.learner_id, reference=body.reference, registered_at=done.registered_at
        )

    status = 200 if _is_known(application, platform_id, body.reference) else 201
    return call.once_in_sql(register, render, status=status)


@router.get("/v1/learners/{learner_id}", responses=problems("unknown_subject"))
def get_learner(learner_id: OpaqueId, found: StaffCaller, application: ApplicationOf) -> LearnerOut:
    """Return a learner's registration, consent and enrolment; to officers also the name."""
    with application.database.reading() as tx:
        _require_own(tx, found, learner_id)
        shown = _learner(application, tx, learner_id)
        identity = registry.identity_of(tx, learner_id) if found.is_officer else None
    if identity is None:
        return shown
    ends = identity.id_number[-4:]
    known = IdentityOnRecord(name=identity.name, id_number_ends=ends)
    return shown.model_copy(update={"identity": known})


@router.put("/v1/learners/{learner_id}/consent", responses=problems("unknown_subject"))
def give_consent(
    learner_id: OpaqueId, body: ConsentIn, found: PlatformCaller, application: ApplicationOf
) -> LearnerOut:
    """Record that the learner consents to face processing for attendance."""
    with application.database.writing() as tx:
        registry.give_consent(
            tx,
            platform_id=found.own_platform_id,
            learner_id=learner_id,
            purpose=PURPOSE,
            version=body.version,
            at=application.clock.now(),
        )
        return _learner(application, tx, learner_id)


@router.delete("/v1/learners/{learner_id}/consent", responses=problems("unknown_subject"))
def withdraw_consent(
    learner_id: OpaqueId, found: PlatformCaller, application: ApplicationOf
) -> LearnerOut:
    """Record that the learner withdrew their consent; without one it changes nothing."""
    with application.database.writing() as tx:
        _require_own(tx, found, learner_id)
        registry.withdraw_consent(
            tx, learner_id=learner_id, purpose=PURPOSE, at=application.clock.now()
        )
        return _learner(application, tx, learner_id)


@router.post(
    "/v1/learners/{learner_id}/enrolment",
    status_code=201,
    response_model=EnrolmentPassed,
    responses={
        200: {"model": EnrolmentRefused, "description": "Not enrolled: try again, or ask a person"},
        **problems(
            "invalid_record",
            "unreadable_image",
            "unknown_subject",
            "consent_missing",
            "identity_missing",
            "body_too_large",
            "idempotency_conflict",
            "identity_authority_unavailable",
            "busy",
        ),
    },
)
def enrol(learner_id: OpaqueId, body: EnrolmentIn, found: StaffCaller, call: Calls) -> Response:
    """Enrol a learner's face: pass, retry or refer."""
    application = call.application
    with application.database.reading() as tx:
        _require_own(tx, found, learner_id)
    require_allowance(application, f"enrolments:{learner_id}", ENROLMENTS_PER_MINUTE)
    identity: Identity | None = None

    def judge(also: Callable[[LessonUnit, StoredEnrolment], None]) -> None:
        nonlocal identity
        with application.enrolling.of(found.budget):
            identity = _identity_on_record(application, found, learner_id)
            vouching = _vouching(application, found, identity, body.reference)
            with application.turns.take():
                done = application.enroller.enrol(
                    learner_id,
                    reference=body.reference,
                    live=body.live,
                    vouching=vouching,
                    also=also,
                )
        if isinstance(done, Refusal):
            raise _RefusedError(done)

    def render(tx: Connection, stored: StoredEnrolment) -> EnrolmentPassed:
        # Once more, in the unit of work: while the faces were judged consent may have been
        # withdrawn, or the name corrected, and nobody vouched for the new one.
        require_consent(tx, learner_id)
        if registry.identity_of(tx, learner_id) != identity:
            raise StorageBusyError("the identity on record changed meanwhile")
        return EnrolmentPassed(anchor=stored.anchor, evidence_id=stored.evidence_id)

    try:
        return call.once(judge, render, status=201)
    except _RefusedError as error:
        refused = EnrolmentRefused.of(error.refusal)
        return Response(refused.model_dump_json(), media_type="application/json")


@router.delete(
    "/v1/learners/{learner_id}/enrolment",
    status_code=204,
    responses=problems("unknown_subject", "ledger_unverified"),
)
def erase_enrolment(learner_id: OpaqueId, found: OfficerCaller, application: ApplicationOf) -> None:
    """Erase a learner's face, with all pictures of it, for good; what was earned stays."""
    application.eraser.erase_face(learner_id, erased_by=found.own_person)


def _identity_on_record(
    application: Application, found: Caller, learner_id: str
) -> Identity | None:
    """Return who the learner is on paper; nobody's face is looked at or shown without consent.

    Raises
    ------
    ProtocolError
        ``consent_missing``; ``identity_missing`` for an officer, who would have nothing to compare
        the card with.
    """
    with application.database.reading() as tx:
        require_consent(tx, learner_id)
        identity = registry.identity_of(tx, learner_id)
    if identity is None and found.is_officer:
        raise ProtocolError("identity_missing", "no identity is on record; register it first")
    return identity


def _vouching(
    application: Application, found: Caller, identity: Identity | None, reference: bytes
) -> Vouching:
    """Find out who vouches for the reference.

    An officer saw person and card. For a platform the identity authority is asked, where it is
    known whom to ask about; else only the institution says so.
    """
    if found.is_officer:
        return Vouching(anchor=Anchor.OFFICER)
    if identity is None:
        return Vouching(anchor=Anchor.INSTITUTION)
    # Outside of any transaction: it may take its time.
    confirmed = application.identity_authority.confirm(identity, reference)
    if confirmed is None:
        return Vouching(anchor=Anchor.INSTITUTION)
    return Vouching(anchor=confirmed.anchor, authority_reference=confirmed.reference)


def _identity(said: IdentityIn | None, now: datetime) -> Identity | None:
    if said is None:
        return None
    today = china_day(now)
    return parse_identity(said.name, said.id_number, today=today)


def _require_own(tx: Connection, found: Caller, learner_id: str) -> None:
    """Return if the learner is known and, for a platform, its own."""
    if found.is_officer:
        registry.registered_at(tx, learner_id)
    else:
        registry.require_own_learner(tx, platform_id=found.own_platform_id, learner_id=learner_id)


def _is_known(application: Application, platform_id: str, reference: str) -> bool:
    try:
        with application.database.reading() as tx:
            registry.learner_of(tx, platform_id=platform_id, reference=reference)
    except UnknownSubjectError:
        return False
    return True


def _learner(application: Application, tx: Connection, learner_id: str) -> LearnerOut:
    return LearnerOut(
        learner_id=learner_id,
        registered_at=registry.registered_at(tx, learner_id),
        consent=_consent(tx, learner_id),
        enrolment=_enrolment(application, tx, learner_id),
    )


def _consent(tx: Connection, learner_id: str) -> ConsentOut | None:
    given = registry.consents(tx, learner_id=learner_id, purpose=PURPOSE)
    in_force = [consent for consent in given if consent.withdrawn_at is None]
    if not in_force:
        return None
    return ConsentOut(version=in_force[-1].version, given_at=in_force[-1].given_at)


def _enrolment(application: Application, tx: Connection, learner_id: str) -> EnrolmentOut | None:
    try:
        stored = SqlLessonReader(tx).enrolment(learner_id)
    except UnknownSubjectError:
        return None
    return EnrolmentOut(
        anchor=stored.anchor,
        enrolled_at=stored.enrolled_at,
        outdated=stored.contract_id != application.calibrations.contract_id,
    )
