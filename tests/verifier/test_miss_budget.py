"""The miss budget: known tables, and the laws that no order and no good deed breaks."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.eligibility_samples import OPENED_AT, session
from verifier.eligibility_facts import SessionFact
from verifier.miss_budget import MissVerdict, in_time, is_made_up, last_day, miss_budget
from verifier.policy import default_policy
from verifier.session_score import Decision
from verifier.session_state import SessionPhase

RULES = default_policy().classes
WITHIN, SO_FAR, EXCEEDED = MissVerdict.WITHIN, MissVerdict.ABOVE_SO_FAR, MissVerdict.EXCEEDED
MOMENT = timedelta(microseconds=1)


def held(number: int, scheduled: int, missed: int, **changes: Any) -> SessionFact:
    """Return a session on day ``number`` in which all but ``missed`` prompts were passed."""
    counts = {"prompts_scheduled": scheduled, "prompts_missed": missed}
    return session(number, **counts, prompts_passed=scheduled - missed, **changes)


@pytest.mark.parametrize(
    ("scheduled", "missed", "verdict"),
    [
        (0, 0, WITHIN),
        (48, 9, WITHIN),  # 湖北: nine of 48
        (48, 10, EXCEEDED),
        (24, 4, WITHIN),
        (24, 5, EXCEEDED),  # 20.83 %: one source's other rule, which the share overrules
        (5, 1, EXCEEDED),
        (16, 3, WITHIN),  # 18.75 % to the digit
    ],
)
def test_known_shares(scheduled: int, missed: int, verdict: MissVerdict) -> None:
    assert miss_budget([held(0, scheduled, missed)], RULES, class_over=True).verdict is verdict


def test_the_share_is_of_the_class_and_a_verdict_only_at_its_end() -> None:
    first, second = held(0, 4, 3), held(1, 44, 7)
    assert miss_budget([first], RULES, class_over=False).verdict is SO_FAR
    whole = miss_budget([first, second], RULES, class_over=False)
    assert (whole.scheduled, whole.missed, whole.verdict) == (48, 10, SO_FAR)
    assert whole.share == 0.208333
    assert miss_budget([first, second], RULES, class_over=True).verdict is EXCEEDED


def test_a_share_is_compared_as_the_policy_writes_it() -> None:
    """0.29 x 100 is 28.999999999999996 in binary floating point."""
    rules = replace(RULES, miss_budget_share=0.29)
    assert miss_budget([held(0, 100, 29)], rules, class_over=True).verdict is WITHIN
    assert miss_budget([held(0, 100, 30)], rules, class_over=True).verdict is EXCEEDED


def test_abandoned_sessions_and_running_ones_count() -> None:
    abandoned = held(0, 2, 2, phase=SessionPhase.ABANDONED, decision=Decision.REVIEW, credited_s=0)
    unfinished = {"phase": SessionPhase.RUNNING, "decision": None, "ended_at": None}
    running = held(1, 2, 1, credited_s=0.0, **unfinished)
    budget = miss_budget([abandoned, running], RULES, class_over=True)
    assert (budget.scheduled, budget.missed) == (4, 3)


MISSED = held(0, 6, 3)  # on Monday, 2 March 2026; three working days: until Thursday
MADE_UP: dict[str, Any] = {"makes_up": "s0"}


@pytest.mark.parametrize(
    ("later", "made_up"),
    [
        (held(1, 3, 0, **MADE_UP), True),
        (held(3, 5, 0, **MADE_UP), True),
        (held(4, 5, 0, **MADE_UP), False),  # Friday
        (held(1, 2, 0, **MADE_UP), False),  # fewer than were missed
        (held(1, 5, 1, **MADE_UP), False),  # something was missed again
        (held(1, 5, 0), False),  # opened for nothing
        (held(1, 5, 0, makes_up="s7"), False),
        (held(1, 5, 0, **MADE_UP, decision=Decision.REVIEW, credited_s=0.0), False),
        (replace(held(1, 5, 0, **MADE_UP), prompts_passed=2), False),  # three were referred
    ],
)
def test_what_makes_up(later: SessionFact, made_up: bool) -> None:
    assert is_made_up(MISSED, [MISSED, later], RULES) is made_up
    budget = miss_budget([MISSED, later], RULES, class_over=True)
    assert (budget.missed - later.prompts_missed, budget.made_up) == (3, 3 if made_up else 0)


def test_once_is_enough_and_twice_is_no_more() -> None:
    twice = [held(1, 3, 0, **MADE_UP), held(2, 3, 0, **MADE_UP)]
    budget = miss_budget([MISSED, *twice], RULES, class_over=True)
    assert (budget.made_up, budget.share) == (3, 0.0)
    assert not is_made_up(twice[0], twice, RULES)  # nothing was missed in it


def test_in_time_from_its_end_to_the_end_of_the_last_day_in_china() -> None:
    assert MISSED.ended_at is not None
    last = last_day(MISSED, RULES)
    assert last is not None
    assert (last.day.isoformat(), last.official) == ("2026-03-05", True)
    over = OPENED_AT.replace(day=5, hour=16)  # midnight in China
    cases = [(MISSED.ended_at, True), (over - MOMENT, True), (over, False)]
    cases.append((MISSED.ended_at - MOMENT, False))
    assert [in_time(MISSED, at, RULES) for at, _ in cases] == [fits for _, fits in cases]


def test_before_the_national_holiday_the_window_is_longer() -> None:
    last = last_day(held(212, 6, 3), RULES)  # on 30 September
    assert last is not None
    assert last.day.isoformat() == "2026-10-10"


@st.composite
def sessions(draw: st.DrawFn) -> list[SessionFact]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        scheduled = draw(st.integers(0, 12))
        missed = draw(st.integers(0, scheduled))
        earlier = st.sampled_from([f"s{n}" for n in range(number)]) if number else st.none()
        found.append(held(number, scheduled, missed, makes_up=draw(st.none() | earlier)))
    return found


@settings(deadline=None)
@given(given_sessions=sessions(), data=st.data())
def test_the_order_of_sessions_is_no_matter(
    given_sessions: list[SessionFact], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(given_sessions))
    whole = miss_budget(given_sessions, RULES, class_over=True)
    assert miss_budget(shuffled, RULES, class_over=True) == whole
    assert 0 <= whole.made_up <= whole.missed <= whole.scheduled
    assert (whole.verdict is WITHIN) or whole.share >= RULES.miss_budget_share


@settings(deadline=None)
@given(given_sessions=sessions(), prompts=st.integers(0, 12), makes_up=st.integers(0, 6))
def test_a_session_attended_without_a_miss_never_worsens(
    given_sessions: list[SessionFact], prompts: int, makes_up: int
) -> None:
    before = miss_budget(given_sessions, RULES, class_over=True)
    more = held(6, prompts, 0, makes_up=f"s{makes_up}" if makes_up < 6 else None)
    after = miss_budget([*given_sessions, more], RULES, class_over=True)
    assert after.share <= before.share
    assert not (before.verdict is WITHIN and after.verdict is EXCEEDED)


@settings(deadline=None)
@given(given_sessions=sessions(), prompts=st.integers(1, 12))
def test_a_session_missed_altogether_never_betters(
    given_sessions: list[SessionFact], prompts: int
) -> None:
    before = miss_budget(given_sessions, RULES, class_over=True)
    after = miss_budget([*given_sessions, held(8, prompts, prompts)], RULES, class_over=True)
    assert after.share >= before.share
