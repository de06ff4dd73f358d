"""Keys by their digest, and whose they are."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from service.credentials import Role
from service.sql.api_keys import (
    Principal,
    authenticate,
    create_key,
    create_platform,
    revoke_key,
    stored_keys,
)
from tests.service.sql.lesson_samples import STARTS
from verifier.errors import InputError, ProtocolError, UnknownSubjectError

PLATFORM = Principal(key_id="k1", role=Role.PLATFORM, platform_id="p")
OFFICER = Principal(key_id="k2", role=Role.OFFICER, platform_id=None, person="王芳")


def keep(tx: Connection, principal: Principal, digest: bytes, label: str | None = None) -> None:
    label = label or principal.person or "a label"
    create_key(tx, principal=principal, secret_sha256=digest, label=label, at=STARTS)


@pytest.fixture(autouse=True)
def platform(tx: Connection) -> None:
    create_platform(tx, platform_id="p", name="平台", at=STARTS)


def test_whoever_shows_a_key_is_known_by_it(tx: Connection) -> None:
    keep(tx, PLATFORM, b"1" * 32)
    keep(tx, OFFICER, b"2" * 32)
    assert authenticate(tx, b"1" * 32) == PLATFORM
    assert authenticate(tx, b"2" * 32) == OFFICER
    assert authenticate(tx, b"3" * 32) is None
    assert [key.principal for key in stored_keys(tx)] == [PLATFORM, OFFICER]
    assert [key.principal for key in stored_keys(tx, platform_id="p")] == [PLATFORM]


def test_a_revoked_key_opens_nothing_and_stays_on_record(tx: Connection) -> None:
    keep(tx, PLATFORM, b"1" * 32)
    revoke_key(tx, key_id="k1", at=STARTS)
    revoke_key(tx, key_id="k1", at=STARTS + timedelta(days=1))
    assert authenticate(tx, b"1" * 32) is None
    assert [key.revoked_at for key in stored_keys(tx)] == [STARTS]
    with pytest.raises(UnknownSubjectError):
        revoke_key(tx, key_id="k9", at=STARTS)


def test_a_key_of_an_unknown_platform_is_refused(tx: Connection) -> None:
    with pytest.raises(UnknownSubjectError):
        keep(tx, Principal(key_id="k", role=Role.PLATFORM, platform_id="q"), b"1" * 32)


@pytest.mark.parametrize(
    ("role", "platform_id", "person"),
    [
        (Role.PLATFORM, None, None),
        (Role.PLATFORM, "p", "王芳"),
        (Role.OFFICER, "p", "王芳"),
        (Role.OFFICER, None, None),
    ],
)
def test_role_platform_and_person_go_together(
    tx: Connection, role: Role, platform_id: str | None, person: str | None
) -> None:
    principal = Principal(key_id="k", role=role, platform_id=platform_id, person=person)
    with pytest.raises(InputError):
        keep(tx, principal, b"1" * 32, label="王芳")


@pytest.mark.parametrize("person", ["", " ", "x" * 65, "a\u200bb"])
def test_an_officers_key_names_a_person(tx: Connection, person: str) -> None:
    """As approvals keep it, in 64 characters that can be seen."""
    with pytest.raises(InputError):
        keep(tx, replace(OFFICER, person=person), b"1" * 32, label=person)


def test_a_platform_is_put_on_record_once(tx: Connection) -> None:
    with pytest.raises(ProtocolError) as refused:
        create_platform(tx, platform_id="p", name="Another", at=STARTS)
    assert refused.value.code == "platform_exists"


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x00b", "a\u202eb", "\ud800"])
def test_odd_names_are_refused(tx: Connection, name: str) -> None:
    with pytest.raises(InputError):
        create_platform(tx, platform_id="q", name=name, at=STARTS)
