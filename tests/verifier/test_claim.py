"""Claims beside what was seen: 凡补必进、不进不补."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.claim import (
    SETTLEMENT_TEXT,
    Claim,
    SessionAccount,
    SettlementReason,
    settle,
)
from verifier.credit import Credit
from verifier.errors import InvalidRecordError
from verifier.evidence import State
from verifier.session_score import Decision, SessionScore


def claimed(minutes: float) -> Claim:
    return Claim(learner_id="l", class_id="c", claimed_s=60 * minutes)


OPENED_AT = datetime(2026, 3, 2, 1, tzinfo=UTC)


def account(session_id: str, *, credited: float, pending: float = 0.0) -> SessionAccount:
    """Return a session in minutes, verified a little more than credited.

    Its id is a letter; each letter has an hour of its own.
    """
    started_at = OPENED_AT + timedelta(hours=ord(session_id[0]))
    return SessionAccount(
        session_id=session_id,
        learner_id="l",
        class_id="c",
        started_at=started_at,
        ended_at=started_at + timedelta(hours=1),
        score=SessionScore(
            session_id=session_id,
            authenticity=0.9,
            verified_mean_minutes=credited + 1,
            verified_lower95_minutes=credited * 0.9,
            minutes=dict.fromkeys(State, 0.0),
            decision=Decision.ACCEPT,
            reasons=(),
            policy="p@1",
        ),
        credit=Credit(
            credited_s=60 * credited, pending_s=60 * pending, credit_hours=credited / 45, spans=()
        ),
    )


def test_hours_that_nobody_saw_are_credited_with_nothing() -> None:
    settled = settle(claimed(90), [])
    assert (settled.credited_s, settled.pending_s) == (0, 0)
    assert (settled.verified_mean_s, settled.verified_lower95_s) == (0, 0)
    assert settled.reasons == (SettlementReason.NO_SESSION,)


def test_sessions_add_up_in_seconds() -> None:
    sessions = [account("a", credited=40), account("b", credited=50, pending=10)]
    settled = settle(claimed(100), sessions)
    assert (settled.credited_s, settled.pending_s) == (5400, 600)
    assert settled.verified_mean_s == pytest.approx(60 * 92)
    assert settled.verified_lower95_s == pytest.approx(60 * 81)
    assert settled.reasons == (SettlementReason.UNDER_REVIEW,)


@pytest.mark.parametrize(
    ("claim_minutes", "pending", "reasons"),
    [
        (90, 0, [SettlementReason.SETTLED]),
        (91, 0, [SettlementReason.SETTLED]),  # platforms report whole minutes
        (91.1, 0, [SettlementReason.CLAIM_EXCEEDS_VERIFIED]),
        (90, 5, [SettlementReason.UNDER_REVIEW]),
        (120, 5, [SettlementReason.CLAIM_EXCEEDS_VERIFIED, SettlementReason.UNDER_REVIEW]),
        (10, 0, [SettlementReason.SETTLED]),
    ],
)
def test_reasons(claim_minutes: float, pending: float, reasons: list[SettlementReason]) -> None:
    settled = settle(claimed(claim_minutes), [account("a", credited=90 - pending, pending=pending)])
    assert list(settled.reasons) == reasons


@given(
    minutes=st.floats(0, 1e5),
    credited=st.lists(st.floats(0, 600), max_size=4),
)
def test_a_claim_moves_nothing_but_the_reasons(minutes: float, credited: list[float]) -> None:
    sessions = [account(str(i), credited=each) for i, each in enumerate(credited)]
    settled, modest = settle(claimed(minutes), sessions), settle(claimed(0), sessions)
    assert settled.credited_s == modest.credited_s
    assert settled.pending_s == modest.pending_s
    assert settled.verified_mean_s == modest.verified_mean_s


def test_a_session_given_twice_is_refused() -> None:
    """Its minutes would be paid twice."""
    with pytest.raises(InvalidRecordError, match="twice"):
        settle(claimed(90), [account("a", credited=45), account("a", credited=45)])


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_claim_is_a_time(seconds: float) -> None:
    with pytest.raises(InvalidRecordError, match="finite number >= 0"):
        Claim(learner_id="l", class_id="c", claimed_s=seconds)


def test_every_reason_has_a_text_in_both_languages() -> None:
    assert set(SETTLEMENT_TEXT) == set(SettlementReason)
    assert all(chinese and english for chinese, english in SETTLEMENT_TEXT.values())


@pytest.mark.parametrize(
    "foreign",
    [
        replace(account("a", credited=40), learner_id="somebody else"),
        replace(account("a", credited=40), class_id="another class"),
    ],
)
def test_another_learners_or_classs_session_settles_nothing(foreign: SessionAccount) -> None:
    with pytest.raises(InvalidRecordError, match="another learner or class"):
        settle(claimed(45), [foreign])


def test_nobody_attends_two_lessons_at_once() -> None:
    """Sessions that only touch are two lessons, one after the other."""
    first, second = account("a", credited=60), account("b", credited=60)
    assert settle(claimed(120), [second, first]).credited_s == 7200
    earlier = replace(second, started_at=second.started_at - timedelta(seconds=1))
    with pytest.raises(InvalidRecordError, match="overlap"):
        settle(claimed(120), [earlier, first])


def test_a_session_without_length_overlaps_nothing() -> None:
    """One opened and left at once starts where the next one does; order does not matter."""
    whole = account("a", credited=60)
    empty = replace(
        account("b", credited=0), started_at=whole.started_at, ended_at=whole.started_at
    )
    for sessions in ([whole, empty], [empty, whole]):
        assert settle(claimed(60), sessions).credited_s == 3600
