"""Whole sessions: what each kind of learner is worth, and what is said about it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from verifier.check import Challenge, Check, Outcome, SessionEvidence
from verifier.evidence import State
from verifier.policy import default_policy
from verifier.session_score import (
    REASON_TEXTS,
    Decision,
    ReasonCode,
    SessionScore,
    score_session,
)

POLICY = default_policy()
MINUTES = 90.0
TIMES = tuple(float(t) for t in np.linspace(0, 60 * MINUTES, 18))
HALF_S = 30 * MINUTES


def matched(t: float, log10_lr: float = 2.0, pad: float | None = None) -> Check:
    return Check(
        t=t,
        prompted=True,
        outcome=Outcome.CAPTURED,
        faces=1,
        comparison_log10_lr=log10_lr,
        pad_log10_lr=pad,
    )


def unanswered(t: float, outcome: Outcome = Outcome.NO_RESPONSE) -> Check:
    return Check(t=t, prompted=True, outcome=outcome)


def scored(*checks: Check) -> SessionScore:
    evidence = SessionEvidence(
        session_id="s", planned_minutes=MINUTES, duration_s=60 * MINUTES, checks=checks
    )
    return score_session(evidence, POLICY)


def overall(score: SessionScore) -> set[ReasonCode]:
    return {reason.code for reason in score.reasons if reason.at_s is None}


@pytest.mark.parametrize("strength", [1.0, 2.0, 3.0])
def test_an_honest_learner_is_accepted_with_most_minutes_in_the_bound(strength: float) -> None:
    score = scored(*(matched(t, strength) for t in TIMES))
    assert score.decision is Decision.ACCEPT
    assert score.authenticity > 0.95
    assert score.verified_lower95_minutes >= 0.8 * MINUTES
    assert overall(score) == set()


@pytest.mark.parametrize("strength", [-1.5, -3.0])
def test_a_learner_replaced_half_way_is_not_accepted(strength: float) -> None:
    score = scored(*(matched(t, 2.0 if t < HALF_S else strength) for t in TIMES))
    assert score.decision is not Decision.ACCEPT
    assert score.authenticity < 0.2
    assert score.verified_lower95_minutes < 0.6 * MINUTES
    assert ReasonCode.ATTACK_POSSIBLE in overall(score)


def test_somebody_else_throughout_is_proposed_for_rejection() -> None:
    score = scored(*(matched(t, -1.5) for t in TIMES))
    assert score.decision is Decision.REJECT
    assert score.verified_mean_minutes < 0.1 * MINUTES


@pytest.mark.parametrize("outcome", [Outcome.NO_RESPONSE, Outcome.NO_FACE])
def test_who_walks_away_half_way_is_reviewed_with_half_the_minutes(outcome: Outcome) -> None:
    score = scored(*(matched(t) if t < HALF_S else unanswered(t, outcome) for t in TIMES))
    # Review: an absence is no attack.
    assert score.decision is Decision.REVIEW
    assert score.verified_mean_minutes == pytest.approx(MINUTES / 2, abs=5)
    assert score.minutes[State.ABSENT] == pytest.approx(MINUTES / 2, abs=5)
    assert ReasonCode.TOO_LITTLE_VERIFIED in overall(score)


def test_hours_without_a_check_are_worth_nothing_and_accuse_nobody() -> None:
    score = scored()
    assert score.decision is Decision.REVIEW
    assert score.verified_lower95_minutes == 0
    assert score.verified_mean_minutes < 0.02 * MINUTES
    assert overall(score) == {ReasonCode.NO_EVIDENCE}


def test_prompts_that_nobody_answered_are_worth_nothing() -> None:
    score = scored(*(unanswered(t) for t in TIMES))
    assert score.decision is Decision.REVIEW
    assert score.verified_mean_minutes < 1
    assert ReasonCode.TOO_FEW_CHECKS in overall(score)


@pytest.mark.parametrize("missed", [1, 7, 17])
def test_one_miss_does_not_undo_an_honest_session(missed: int) -> None:
    score = scored(*(unanswered(t) if k == missed else matched(t) for k, t in enumerate(TIMES)))
    assert score.decision is Decision.ACCEPT
    assert score.verified_lower95_minutes >= 0.8 * (MINUTES - 10)


def test_one_false_non_match_does_not_undo_an_honest_session() -> None:
    score = scored(*(matched(t, -1.0 if k == 7 else 2.0) for k, t in enumerate(TIMES)))
    assert score.decision is Decision.ACCEPT


def test_a_photograph_seen_as_one_is_not_accepted() -> None:
    score = scored(*(matched(t, 2.0, pad=-1.0) for t in TIMES))
    assert score.decision is not Decision.ACCEPT
    assert score.minutes[State.PRESENTATION_ATTACK] > MINUTES / 2


def test_faces_nobody_compared_are_not_accepted() -> None:
    score = scored(*(unanswered(t, Outcome.CAPTURED) for t in TIMES))
    assert score.decision is Decision.REVIEW
    assert score.verified_lower95_minutes == 0
    assert {r.code for r in score.reasons if r.at_s is not None} == {ReasonCode.NOT_COMPARED}


def test_an_opening_and_a_closing_match_do_not_carry_the_time_between() -> None:
    score = scored(matched(0.0), matched(60 * MINUTES))
    assert score.decision is Decision.REVIEW
    assert score.verified_lower95_minutes < 0.5 * MINUTES


def test_one_match_alone_is_never_accepted_without_a_person() -> None:
    evidence = SessionEvidence(
        session_id="s", planned_minutes=0.5, duration_s=30.0, checks=(matched(15.0, 3.0),)
    )
    score = score_session(evidence, POLICY)
    assert score.authenticity > 0.95
    assert score.decision is Decision.REVIEW
    assert ReasonCode.TOO_FEW_CHECKS in overall(score)


def test_where_errors_cost_nothing_more_than_a_review_everything_is_reviewed() -> None:
    evidence = SessionEvidence(
        session_id="s",
        planned_minutes=MINUTES,
        duration_s=60 * MINUTES,
        checks=tuple(matched(t) for t in TIMES),
    )
    strict = replace(POLICY.decision, cost_false_accept=1e6)
    score = score_session(evidence, replace(POLICY, decision=strict))
    assert score.decision is Decision.REVIEW


def test_the_account_names_each_finding_with_its_strength_and_time() -> None:
    score = scored(
        matched(10.0, 2.2, pad=0.9),
        matched(20.0, -1.25, pad=-0.5),
        unanswered(30.0),
        Check(
            t=40.0,
            prompted=True,
            outcome=Outcome.UNREADABLE,
            near_duplicate=True,
            challenge=Challenge(kind="turn_left", passed=False),
        ),
    )
    account = [(r.code.value, r.log10_lr, r.at_s) for r in score.reasons if r.at_s is not None]
    assert account == [
        ("MATCHED", 2.2, 10.0),
        ("LOOKS_LIVE", 0.9, 10.0),
        ("NOT_MATCHED", -1.25, 20.0),
        ("LOOKS_PRESENTED", -0.5, 20.0),
        ("NO_RESPONSE", pytest.approx(np.log10(0.03 / 0.5), abs=1e-6), 30.0),
        ("UNREADABLE", pytest.approx(np.log10(0.02 / 0.03), abs=1e-6), 40.0),
        ("NEAR_DUPLICATE", None, 40.0),
        ("CHALLENGE_FAILED", None, 40.0),
    ]


def test_every_reason_has_a_text_in_both_languages() -> None:
    assert set(REASON_TEXTS) == set(ReasonCode)
    assert all(chinese and english for chinese, english in REASON_TEXTS.values())


def test_the_score_is_written_in_the_public_format() -> None:
    score = scored(*(matched(t) for t in TIMES))
    record = json.loads(score.to_json())
    assert list(record) == [
        "session_id",
        "authenticity",
        "verified_minutes",
        "minutes",
        "decision",
        "reasons",
        "policy",
    ]
    assert list(record["minutes"]) == [state.value for state in State]
    assert sum(record["minutes"].values()) == pytest.approx(MINUTES, abs=1e-5)
    assert record["verified_minutes"]["mean"] == record["minutes"]["genuine"]
    assert record["reasons"][0] == {"code": "MATCHED", "log10_lr": 2.0, "at_s": 0.0}
    numbers = [record["authenticity"], *record["minutes"].values()]
    assert all(number == round(number, 6) for number in numbers)


def test_scoring_again_gives_the_same_bytes() -> None:
    checks = [matched(t) if t < HALF_S else unanswered(t) for t in TIMES]
    assert scored(*checks).to_json() == scored(*checks).to_json()
