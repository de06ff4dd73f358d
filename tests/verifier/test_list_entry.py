"""Black and white lists: two persons, and a time."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.eligibility_samples import DAY, OPENED_AT, entry, proposal
from verifier.errors import InvalidRecordError
from verifier.list_entry import (
    ListName,
    ListStanding,
    SubjectKind,
    check_subject,
    in_order,
    is_same_person,
)

AT = OPENED_AT


def standing(*entries: Any, at: datetime = AT, subject_id: str = "l-1") -> ListStanding:
    return check_subject(entries, SubjectKind.LEARNER, subject_id, at).standing


def test_an_entry_holds_from_its_first_moment_to_just_before_its_last() -> None:
    listed = entry(valid_from=AT, valid_to=AT + DAY)
    moment = timedelta(microseconds=1)
    assert not listed.in_force(AT - moment)
    assert listed.in_force(AT)
    assert listed.in_force(AT + DAY - moment)
    assert not listed.in_force(AT + DAY)
    assert entry(valid_from=AT).in_force(AT + 36_500 * DAY)


def test_a_proposal_is_not_in_force_and_is_shown_as_one() -> None:
    waiting = proposal()
    checked = check_subject([waiting], SubjectKind.LEARNER, "l-1", AT)
    assert not waiting.in_force(AT)
    assert (checked.standing, checked.proposed) == (ListStanding.UNLISTED, (waiting,))


def test_the_white_list_never_overrides_the_black_one() -> None:
    black, white = entry(), entry(entry_id="e-2", list_name=ListName.WHITE)
    assert standing(white) is ListStanding.WHITE
    assert standing(white, black) is standing(black, white) is ListStanding.BLACK


def test_a_white_list_proposal_is_nothing() -> None:
    waiting = proposal(list_name=ListName.WHITE)
    checked = check_subject([waiting], SubjectKind.LEARNER, "l-1", AT)
    assert (checked.white, checked.proposed) == ((), ())


def test_entries_about_others_are_passed_over() -> None:
    """Also where an institution bears a learner's id."""
    assert standing(entry(), subject_id="l-2") is ListStanding.UNLISTED
    assert standing(entry(subject_kind=SubjectKind.INSTITUTION)) is ListStanding.UNLISTED


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"approved_by": "officer-a"}, "one person"),
        ({"approved_by": None}, "go together"),
        ({"approved_at": None}, "go together"),
        ({"approved_by": " "}, "approved_by is empty"),
        ({"approved_at": OPENED_AT - 3 * DAY}, "before proposed_at"),
        ({"valid_to": OPENED_AT - DAY}, "not after valid_from"),
        ({"valid_from": datetime(2026, 1, 1)}, "valid_from has no time zone"),  # noqa: DTZ001 - meant
        ({"reason_code": ""}, "reason_code is empty"),
        ({"subject_id": " "}, "subject_id is empty"),
        ({"entry_id": ""}, "entry_id is empty"),
        ({"proposed_by": ""}, "proposed_by is empty"),
    ],
)
def test_an_entry_is_whole_from_birth(change: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        entry(**change)


offsets = st.integers(-5, 5).map(lambda days: days * DAY)


@given(starts=st.lists(offsets, max_size=5), at=offsets)
def test_a_subject_is_black_listed_exactly_while_an_entry_is_in_force(
    starts: list[timedelta], at: timedelta
) -> None:
    entries = [
        entry(entry_id=f"e{i}", valid_from=AT + start, valid_to=AT + start + 2 * DAY)
        for i, start in enumerate(starts)
    ]
    covered = any(start <= at < start + 2 * DAY for start in starts)
    assert (standing(*entries, at=AT + at) is ListStanding.BLACK) == covered
    assert in_order(entries) == in_order(reversed(entries))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("王芳", "王芳", True),
        ("Wang Fang", " wang  FANG", True),
        ("Ｗａｎｇ\u3000Ｆａｎｇ", "wang fang", True),
        ("Groß", "GROSS", True),
        ("王芳", "王\u3000芳", True),
        ("王芳", "王 芳 ", True),
        ("买买提·艾力", "买买提•艾力", True),
        ("买买提・艾力", "买买提 艾力", True),
        ("王芳", "王方", False),
        ("Wang Fang", "WangFang", False),
    ],
)
def test_one_person_is_one_however_the_name_is_typed(one: str, other: str, same: bool) -> None:
    assert is_same_person(one, other) is same
    assert is_same_person(other, one) is same
