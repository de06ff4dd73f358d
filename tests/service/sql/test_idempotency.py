"""The same request twice: one effect, one reply."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from service.sql.database import Database
from service.sql.idempotency import (
    IdempotentRequest,
    StoredReply,
    begin,
    finish,
    forget_before,
    replay,
)
from service.sql.lesson_store import SqlLessonStore
from service.sql.tables import log_entry
from tests.service.sql.lesson_samples import STARTS, entry
from verifier.errors import InputError, ProtocolError

REPLY = StoredReply(status=201, body='{"名":1}'.encode())


def request(
    *, principal: str = "a", key: str = "k", route: str = "POST /x", body: bytes = b"b" * 32
) -> IdempotentRequest:
    return IdempotentRequest(principal=principal, key=key, route=route, body_sha256=body)


def once(database: Database, asked: IdempotentRequest) -> StoredReply:
    """Append an entry, unless the same request did."""
    with SqlLessonStore(database).writing() as unit:
        earlier = begin(unit.tx, asked, at=STARTS)
        if earlier is not None:
            return earlier
        index = unit.append(entry())
        reply = StoredReply(status=201, body=str(index).encode())
        finish(unit.tx, asked, reply)
        return reply


def effects(database: Database) -> int:
    with database.reading() as tx:
        return tx.execute(select(func.count()).select_from(log_entry)).scalar_one()


def test_a_request_that_comes_again_gets_its_reply_again(database: Database) -> None:
    first = once(database, request())
    assert once(database, request()) == first
    with database.reading() as tx:
        assert replay(tx, request()) == first
        assert replay(tx, request(key="another")) is None
        assert replay(tx, request(principal="another")) is None
    assert effects(database) == 1


def test_the_same_key_of_somebody_else_is_another_key(database: Database) -> None:
    replies = [once(database, request(principal=principal)) for principal in ("a", "b")]
    assert replies[0] != replies[1]
    assert effects(database) == 2


@pytest.mark.parametrize("other", [request(body=b"c" * 32), request(route="POST /y")])
def test_the_same_key_with_another_request_is_refused(
    database: Database, other: IdempotentRequest
) -> None:
    once(database, request())
    with pytest.raises(ProtocolError) as refused:
        once(database, other)
    assert refused.value.code == "idempotency_conflict"
    assert effects(database) == 1


def test_a_request_that_failed_may_be_tried_again(database: Database) -> None:
    def fail() -> None:
        with database.writing() as tx:
            assert begin(tx, request(), at=STARTS) is None
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    once(database, request())
    assert effects(database) == 1


def test_of_two_at_once_one_acts_and_both_get_its_reply(database: Database) -> None:
    start, replies = Barrier(2), list[StoredReply]()

    def ask() -> None:
        start.wait()
        replies.append(once(database, request()))

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [StoredReply(status=201, body=b"0")] * 2
    assert effects(database) == 1


def test_a_key_that_was_taken_without_a_reply_is_a_mistake_of_ours(database: Database) -> None:
    with database.writing() as tx:
        begin(tx, request(), at=STARTS)
    with pytest.raises(ValueError, match="no reply kept"):
        once(database, request())


def test_a_reply_needs_its_key_and_comes_once(database: Database) -> None:
    with database.writing() as tx:
        with pytest.raises(ValueError, match="not taken"):
            finish(tx, request(), REPLY)
        begin(tx, request(), at=STARTS)
        finish(tx, request(), REPLY)
        with pytest.raises(ValueError, match="has its reply"):
            finish(tx, request(), REPLY)


def test_replies_are_not_readable_and_can_be_forgotten(database: Database) -> None:
    with database.writing() as tx:
        begin(tx, request(), at=STARTS)
        finish(tx, request(), REPLY)
        raw = tx.exec_driver_sql("SELECT response FROM idempotency").scalar_one()
        assert REPLY.body not in bytes(raw)
        assert forget_before(tx, STARTS) == 0
        assert forget_before(tx, STARTS + timedelta(microseconds=1)) == 1
        assert replay(tx, request()) is None


@pytest.mark.parametrize("key", ["", " ", "k" * 129, "a\nb"])
def test_odd_keys_are_refused(key: str) -> None:
    with pytest.raises(InputError):
        request(key=key)
