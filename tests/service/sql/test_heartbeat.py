"""Signs of life, and how far time has come on record."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from service.sql.heartbeat import beat, last_beat, latest_moment
from tests.service.sql.lesson_samples import register

AT = datetime(2030, 5, 1, 9, tzinfo=UTC)


def test_a_database_in_which_nothing_happened_has_no_time(tx: Connection) -> None:
    assert last_beat(tx) is None
    assert latest_moment(tx) is None


def test_only_the_last_sign_of_life_is_kept(tx: Connection) -> None:
    for seconds in (0, 5):
        beat(tx, at=AT + timedelta(seconds=seconds))
    assert last_beat(tx) == latest_moment(tx) == AT + timedelta(seconds=5)


def test_whatever_happened_says_how_far_time_has_come(tx: Connection) -> None:
    register(tx, learner_id="l", class_id="c", platform_id="p")
    earlier = latest_moment(tx)
    assert earlier is not None
    beat(tx, at=earlier - timedelta(days=1))
    assert latest_moment(tx) == earlier
    beat(tx, at=earlier + timedelta(days=1))
    assert latest_moment(tx) == earlier + timedelta(days=1)
