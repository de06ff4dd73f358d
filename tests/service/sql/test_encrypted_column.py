"""Sealed columns, and times that are the same on every engine."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert, select, text, update

from service.sql.database import Database
from service.sql.encrypted_column import ColumnCipher, blind_index, cipher_of
from service.sql.tables import idempotency, learner, platform
from tests.service.sql.conftest import KEY
from verifier.errors import InputError, LedgerError

AT = datetime(2026, 3, 2, 1, 0, 0, 1, tzinfo=UTC)


def test_a_blind_index_is_the_same_for_the_same_text_under_the_same_key_only() -> None:
    cipher = ColumnCipher(KEY)
    index = cipher.blind_index("learner.id_index", "11010519491231002X")
    # HKDF-Expand and HMAC-SHA-256 by hand.
    assert index.hex() == "96adad88d0226540a5ef9a243eb464da0719f288a3f63fd577fadf91fd78c022"
    assert cipher.blind_index("learner.id_index", "110105194912310038") != index
    assert cipher.blind_index("another.column", "11010519491231002X") != index
    assert ColumnCipher(KEY[::-1]).blind_index("learner.id_index", "11010519491231002X") != index
    assert KEY.hex() not in repr(cipher)


@given(st.binary())
def test_what_is_sealed_opens_in_its_own_column_and_nowhere_else(plaintext: bytes) -> None:
    cipher = ColumnCipher(KEY)
    sealed = cipher.seal("a.b", plaintext)
    assert cipher.open("a.b", sealed) == plaintext
    assert cipher.seal("a.b", plaintext) != sealed
    for column, data in (("a.c", sealed), ("a.b", sealed[:-1]), ("a.b", sealed[:5])):
        with pytest.raises(LedgerError):
            cipher.open(column, data)


@pytest.mark.parametrize(
    "value", [{"name": "张三", "n": 0.1}, [1, None, True, 5e-324], "text", 0, False]
)
def test_a_sealed_value_comes_back_and_is_not_readable(tx: Connection, value: Any) -> None:
    tx.execute(insert(learner).values(learner_id="l", identity=value, registered_at=AT))
    assert tx.execute(select(learner.c.identity)).scalar_one() == value
    raw = bytes(tx.exec_driver_sql("SELECT identity FROM learner").scalar_one())
    assert "张三".encode() not in raw


def test_a_value_moved_to_another_column_is_refused(tx: Connection) -> None:
    tx.execute(insert(learner).values(learner_id="l", identity={"a": 1}, registered_at=AT))
    cipher = cipher_of(tx.dialect)
    moved = cipher.seal("idempotency.response", b"{}")
    tx.execute(text("UPDATE learner SET identity = :moved"), {"moved": moved})
    with pytest.raises(LedgerError, match="identity"):
        tx.execute(select(learner.c.identity)).scalar_one()


def test_two_databases_with_two_keys_may_be_open(tmp_path: Any) -> None:
    keys = (KEY, KEY[::-1])
    databases = [
        Database.open(f"sqlite:///{tmp_path}/{number}/z.db", key=key)
        for number, key in enumerate(keys)
    ]
    for database in databases:
        with database.writing() as tx:
            tx.execute(insert(learner).values(learner_id="l", identity="i", registered_at=AT))
    indexes = set()
    for database in databases:
        with database.reading() as tx:
            assert tx.execute(select(learner.c.identity)).scalar_one() == "i"
            indexes.add(blind_index(tx, "learner.id_index", "i"))
        database.close()
    assert len(indexes) == 2


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(LedgerError, match="without a database key"):
        cipher_of(create_engine("sqlite://").dialect)


def test_nothing_is_null_and_not_sealed(tx: Connection) -> None:
    tx.execute(insert(learner).values(learner_id="l", identity=None, registered_at=AT))
    assert tx.exec_driver_sql("SELECT identity FROM learner").scalar_one() is None
    assert tx.execute(select(learner.c.identity)).scalar_one() is None
    assert tx.execute(select(idempotency.c.response)).one_or_none() is None


@pytest.mark.parametrize(
    "at",
    [
        AT,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 2, 9, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=8))),
    ],
)
def test_a_time_comes_back_in_utc_to_the_microsecond(tx: Connection, at: datetime) -> None:
    tx.execute(insert(platform).values(platform_id="p", name="P", created_at=at))
    back = tx.execute(select(platform.c.created_at)).scalar_one()
    assert back == at
    assert back.utcoffset() == timedelta(0)
    same = select(platform.c.platform_id).where(platform.c.created_at == at)
    assert tx.execute(same).scalar_one() == "p"


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = AT.replace(tzinfo=None)
    with pytest.raises(InputError, match="zone"), database.writing() as tx:
        tx.execute(update(platform).values(created_at=naive))
