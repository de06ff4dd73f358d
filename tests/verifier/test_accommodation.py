"""Grants: two persons, never before the second of them, and not a day too long."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.accommodation import AccommodationKind, Grant, first_in_force
from verifier.errors import InvalidRecordError

FROM = datetime(2026, 3, 2, 1, tzinfo=UTC)
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
NON_FACE, EXTRA_TIME = AccommodationKind.NON_FACE, AccommodationKind.EXTRA_TIME


def grant(**changes: Any) -> Grant:
    """Return a grant of ten days that was approved an hour before they begin."""
    given = Grant(
        grant_id="g-1",
        learner_id="l-1",
        kind=NON_FACE,
        reason="本人到场，核对身份证原件",
        valid_from=FROM,
        valid_to=FROM + 10 * DAY,
        proposed_by="王芳",
        proposed_at=FROM - DAY,
        approved_by="李强",
        approved_at=FROM - timedelta(hours=1),
    )
    return replace(given, **changes)


PROPOSAL: dict[str, Any] = {"approved_by": None, "approved_at": None}
LATE = FROM + DAY


@pytest.mark.parametrize(
    ("changes", "at", "holds"),
    [
        ({}, FROM, True),
        ({}, FROM - MOMENT, False),
        ({}, FROM + 10 * DAY - MOMENT, True),
        ({}, FROM + 10 * DAY, False),
        (PROPOSAL, FROM + DAY, False),
        # Approved late: what came before the approval stays uncovered, whatever was asked for.
        ({"approved_at": LATE}, LATE - MOMENT, False),
        ({"approved_at": LATE}, LATE, True),
        ({"revoked_by": "王芳", "revoked_at": LATE}, LATE - MOMENT, True),
        ({"revoked_by": "王芳", "revoked_at": LATE}, LATE, False),
    ],
)
def test_in_force_from_the_approval_on(changes: dict[str, Any], at: datetime, holds: bool) -> None:
    assert grant(**changes).in_force(at) is holds


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"grant_id": ""}, "grant_id is empty"),
        ({"reason": "  "}, "reason is empty"),
        ({"reason": "长" * 501}, "reason has 501 characters"),
        ({"valid_to": FROM}, "is not after valid_from"),
        ({"valid_from": FROM.replace(tzinfo=None)}, "valid_from has no time zone"),
        ({"approved_by": "王 芳"}, "one person"),
        ({"approved_by": None}, "go together"),
        ({"approved_at": FROM - 2 * DAY}, "lies before proposed_at"),
        ({"revoked_by": "王芳"}, "revoked_by and revoked_at go together"),
    ],
)
def test_what_is_no_grant(changes: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        grant(**changes)


def test_no_longer_than_policy_allows_from_when_it_can_count() -> None:
    grant().require_at_most(10)
    with pytest.raises(InvalidRecordError, match="at most 9"):
        grant().require_at_most(9)
    # A beginning in the past makes it no longer: it counts from the approval on.
    past = grant(valid_from=FROM - 400 * DAY, proposed_at=FROM, approved_at=FROM)
    past.require_at_most(10)


def test_neither_reason_nor_learner_is_in_its_repr() -> None:
    shown = repr(grant())
    assert "g-1" in shown
    assert not any(secret in shown for secret in ("身份证", "l-1", "王芳"))


def test_of_several_the_longest_of_the_kind_counts() -> None:
    short = grant(grant_id="g-2", valid_to=FROM + 5 * DAY)
    other = grant(grant_id="g-3", kind=EXTRA_TIME, valid_to=FROM + 20 * DAY)
    assert first_in_force([short, grant(), other], NON_FACE, FROM) == grant()
    assert first_in_force([grant(), other], EXTRA_TIME, FROM) == other
    assert first_in_force([grant(**PROPOSAL)], NON_FACE, FROM) is None


@given(
    approved_h=st.integers(-48, 300),
    revoked_h=st.none() | st.integers(0, 300),
    at_h=st.integers(-100, 400),
)
def test_never_before_approval_nor_after_revocation(
    approved_h: int, revoked_h: int | None, at_h: int
) -> None:
    hour = timedelta(hours=1)
    approved_at, at = max(FROM + approved_h * hour, FROM - DAY), FROM + at_h * hour
    revoked_at = None if revoked_h is None else approved_at + revoked_h * hour
    revoked = {"revoked_at": revoked_at, "revoked_by": None if revoked_at is None else "王芳"}
    if grant(approved_at=approved_at, **revoked).in_force(at):
        assert approved_at <= at < (revoked_at or at + hour)
