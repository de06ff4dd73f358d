"""Leaves: the text that lies in the log for ever."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from verifier.errors import InvalidRecordError
from verifier.transparency.leaf import Leaf

CHINA = timezone(timedelta(hours=8))
FIELDS: dict[str, Any] = {
    "kind": "snapshot",
    "time": datetime(2026, 5, 1, 17, 30, 0, 250, CHINA),
    "session_id": "s1",
    "sequence": 4,
    "assurance": "frame",
    "learner": "ab" * 32,
    "commitment": bytes(32),
    "object_sha256": "cd" * 32,
    "facts": {"prompts": 3},
}


def test_the_text_of_a_leaf() -> None:
    assert Leaf(**FIELDS).serialize().decode() == (
        '{"assurance":"frame","commitment":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",'
        '"facts":{"prompts":3},"kind":"snapshot","learner":"' + "ab" * 32 + '",'
        '"object":"' + "cd" * 32 + '","sequence":4,"session_id":"s1",'
        '"time":"2026-05-01T09:30:00.000250Z","v":1}'
    )


def test_a_leaf_reads_back() -> None:
    again = Leaf.parse(Leaf(**FIELDS).serialize())
    assert again.serialize() == Leaf(**FIELDS).serialize()
    assert again.time.tzinfo is UTC


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Snapshot"},
        {"time": datetime(2026, 5, 1)},  # noqa: DTZ001 - a naive time is what is refused
        {"sequence": -1},
        {"assurance": "trusted"},
        {"commitment": None},
        {"object_sha256": None},
        {"commitment": bytes(31)},
        {"learner": "Zhang San"},
    ],
)
def test_invalid_leaves_are_never_born(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecordError):
        Leaf(**{**FIELDS, **change})


def test_a_leaf_too_long_for_the_log_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="at most 65535"):
        Leaf(**{**FIELDS, "facts": {"x": "y" * 65_300}}).serialize()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"v":1', '"v":2'),
        ('"sequence":4', '"sequence":true'),
        (".000250Z", ".00025Z"),
        ('"facts":{"prompts":3},', ""),
        ('"kind":"snapshot"', '"kind":null'),
        ('"facts":{"prompts":3}', '"facts":[]'),
    ],
)
def test_entries_that_are_no_leaf_are_refused(old: str, new: str) -> None:
    with pytest.raises(InvalidRecordError):
        Leaf.parse(Leaf(**FIELDS).serialize().replace(old.encode(), new.encode()))
