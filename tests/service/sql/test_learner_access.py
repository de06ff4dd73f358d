"""A code opens one session once; its token opens that session and no other."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from service.sql.learner_access import access_of, keep_code, redeem_code
from service.sql.lesson_store import SqlLessonUnit
from tests.service.sql.lesson_samples import STARTS, add_opened, register
from verifier import session as acts
from verifier.errors import ProtocolError, UnknownSubjectError

CODE, TOKEN = b"c" * 32, b"t" * 32
EXPIRES = STARTS + timedelta(minutes=5)


@pytest.fixture
def session_id(tx: Connection) -> str:
    register(tx)
    session_id = add_opened(SqlLessonUnit(tx)).state.session_id
    keep_code(tx, session_id=session_id, code_sha256=CODE, expires_at=EXPIRES)
    return session_id


def redeem(tx: Connection, session_id: str, token: bytes = TOKEN, minutes: float = 0) -> None:
    redeem_code(
        tx,
        session_id=session_id,
        code_sha256=CODE,
        token_sha256=token,
        at=STARTS + timedelta(minutes=minutes),
    )


def test_a_code_is_exchanged_for_a_token_that_opens_its_session(
    tx: Connection, session_id: str
) -> None:
    assert access_of(tx, TOKEN) is None
    redeem(tx, session_id)
    access = access_of(tx, TOKEN)
    assert access is not None
    assert (access.session_id, access.learner_id, access.platform_id) == (session_id, "l", "p")
    assert access_of(tx, b"?" * 32) is None


def test_a_code_is_exchanged_once(tx: Connection, session_id: str) -> None:
    redeem(tx, session_id)
    with pytest.raises(ProtocolError) as refused:
        redeem(tx, session_id, token=b"u" * 32)
    assert refused.value.code == "code_spent"
    assert access_of(tx, b"u" * 32) is None


def test_a_code_lasts_until_just_before_it_expires(tx: Connection, session_id: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        redeem(tx, session_id, minutes=5)
    assert refused.value.code == "code_spent"
    redeem(tx, session_id, minutes=4.999)


@pytest.mark.usefixtures("session_id")
def test_a_code_of_another_session_is_unknown(tx: Connection) -> None:
    for wrong in ("nothing", ""):
        with pytest.raises(UnknownSubjectError):
            redeem(tx, wrong)
    with pytest.raises(UnknownSubjectError):
        keep_code(tx, session_id="nothing", code_sha256=b"d" * 32, expires_at=EXPIRES)


def test_a_new_code_ends_the_old_one_and_its_token(tx: Connection, session_id: str) -> None:
    redeem(tx, session_id)
    keep_code(tx, session_id=session_id, code_sha256=b"d" * 32, expires_at=EXPIRES)
    assert access_of(tx, TOKEN) is None
    with pytest.raises(UnknownSubjectError):
        redeem(tx, session_id)


def test_a_session_that_ended_is_seen_and_not_entered(tx: Connection, session_id: str) -> None:
    unit = SqlLessonUnit(tx)
    lesson = unit.lesson(session_id)
    unit.save(replace(lesson, state=acts.abandon(lesson.state, at=STARTS)))
    with pytest.raises(ProtocolError) as refused:
        redeem(tx, session_id)
    assert refused.value.code == "session_over"


def test_saving_a_lesson_leaves_its_code_alone(tx: Connection, session_id: str) -> None:
    unit = SqlLessonUnit(tx)
    unit.save(unit.lesson(session_id))
    redeem(tx, session_id)
    unit.save(unit.lesson(session_id))
    assert access_of(tx, TOKEN) is not None
