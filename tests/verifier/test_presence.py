"""The presence model: its arithmetic, and what evidence may and may not do to it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.check import Check, Outcome, SessionEvidence
from verifier.evidence import STATES, Phase, State
from verifier.policy import default_policy
from verifier.presence import (
    dependence_weight,
    generator,
    presence,
    start,
    state_probabilities,
    transitions,
)

POLICY = default_policy()
RATES = POLICY.presence
LESSON_S = 1800.0


def check(t: float, outcome: Outcome = Outcome.CAPTURED, log10_lr: float | None = None) -> Check:
    return Check(t=t, prompted=True, outcome=outcome, comparison_log10_lr=log10_lr)


def lesson(*checks: Check, duration_s: float = LESSON_S) -> SessionEvidence:
    return SessionEvidence(
        session_id="s", planned_minutes=duration_s / 60, duration_s=duration_s, checks=checks
    )


def test_two_states_move_as_the_textbook_says() -> None:
    """For rates a and b: P(moved after h) = a / (a + b) (1 - exp(-(a + b) h))."""
    a, b, hours = 0.7, 0.2, np.array([0.1, 1.0, 50.0])
    moves = transitions(np.array([[-a, a], [b, -b]]), hours)
    expected = a / (a + b) * (1 - np.exp(-(a + b) * hours))
    np.testing.assert_allclose(moves[:, 0, 1], expected, rtol=1e-12)


@settings(deadline=None)
@given(first=st.floats(0, 1e5), second=st.floats(0, 1e5))
def test_moving_twice_is_moving_for_the_sum(first: float, second: float) -> None:
    q = generator(RATES)
    one, two, both = transitions(q, np.array([first, second, first + second]))
    np.testing.assert_allclose(one @ two, both, atol=1e-10)
    assert (both >= 0).all()
    np.testing.assert_allclose(both.sum(axis=1), 1, atol=1e-12)


def test_rates_and_start_are_proper_and_nobody_is_assumed_there() -> None:
    q, first = generator(RATES), start(RATES)
    np.testing.assert_allclose(q.sum(axis=1), 0, atol=1e-15)
    assert (q[~np.eye(len(q), dtype=bool)] >= 0).all()
    assert q[Phase.GENUINE, Phase.AWAY] * 3600 == pytest.approx(RATES.leave_per_h)
    assert first.sum() == pytest.approx(1)
    assert first[Phase.AWAY] == pytest.approx(1 - RATES.start_present)


def test_ten_alike_findings_count_as_fewer() -> None:
    assert dependence_weight(1, 0.3) == 1
    assert 10 * dependence_weight(10, 0.3) == pytest.approx(10 / 3.7)
    assert dependence_weight(10, 0) == 1
    assert 10 * dependence_weight(10, 1) == pytest.approx(1)


def test_the_posterior_at_one_check_is_bayes_rule() -> None:
    """A session of one moment: prior times likelihood, in five states."""
    found = presence(lesson(check(0, log10_lr=1.0), duration_s=1e-6), POLICY)
    pi, present, absent = RATES.pi_self, 0.92, 0.01
    shares = [RATES.start_impostor, RATES.start_presentation_attack, RATES.start_injection]
    attack = pi * 10 + (1 - pi)
    weights = {
        State.GENUINE: RATES.start_present * (1 - sum(shares)) * present * 10,
        State.ABSENT: (1 - RATES.start_present) * absent,
        State.IMPOSTOR: RATES.start_present * shares[0] * present,
        State.PRESENTATION_ATTACK: RATES.start_present * shares[1] * present * attack,
        State.INJECTION: RATES.start_present * shares[2] * present * attack,
    }
    total = sum(weights.values())
    for state in STATES:
        share = found.minutes[state] * 60 / 1e-6
        assert share == pytest.approx(weights[state] / total, rel=1e-4)


MATCHES = tuple(check(t, log10_lr=1.9) for t in (0, 200, 400, 600, 1200, 1400, 1600, 1800))


def test_who_is_known_to_be_away_in_a_pause_may_be() -> None:
    """Ten of thirty minutes: without the pause the learner was there for two thirds only."""
    gone = tuple(check(t, Outcome.NO_FACE) for t in (630, 800, 1000, 1170))
    asked = lesson(*MATCHES, *gone)
    paused = replace(asked, pauses=((600.0, 1200.0),))
    before, after = presence(asked, POLICY), presence(paused, POLICY)
    assert before.authenticity < 0.5
    assert after.authenticity > 0.95
    assert after.minutes == pytest.approx(before.minutes)
    assert after.lower95_minutes == pytest.approx(19, abs=1.5)


@settings(deadline=None, max_examples=15)
@given(
    ends=st.lists(st.floats(0, LESSON_S), min_size=2, max_size=2, unique=True).map(sorted),
    times=st.lists(st.floats(0, LESSON_S), max_size=4),
)
def test_in_a_pause_nothing_is_verified(ends: list[float], times: list[float]) -> None:
    paused = replace(lesson(*(check(t, log10_lr=1.9) for t in times)), pauses=((ends[0], ends[1]),))
    found = presence(paused, POLICY)
    assert sum(found.minutes.values()) == pytest.approx(LESSON_S / 60)
    assert 60 * found.lower95_minutes <= LESSON_S - (ends[1] - ends[0]) + 1e-6


def test_nothing_but_a_pause_is_worth_nothing() -> None:
    found = presence(replace(lesson(*MATCHES), pauses=((0.0, LESSON_S),)), POLICY)
    assert (found.authenticity, found.lower95_minutes) == (0, 0)


def test_without_evidence_there_is_next_to_nothing() -> None:
    for duration_s in (60.0, LESSON_S, 8 * 3600.0):
        found = presence(lesson(duration_s=duration_s), POLICY)
        assert found.lower95_minutes == 0
        assert found.minutes[State.GENUINE] < 0.06 * duration_s / 60


def test_without_a_comparison_nothing_is_bounded() -> None:
    seen = lesson(*(check(t) for t in range(0, 1801, 100)))
    assert presence(seen, POLICY).lower95_minutes == 0


def test_one_match_at_the_start_does_not_carry_a_lesson() -> None:
    found = presence(lesson(check(0, log10_lr=2), duration_s=5400), POLICY)
    assert found.minutes[State.GENUINE] < 20
    assert found.lower95_minutes < 3
    assert found.authenticity < 0.05


def test_a_photograph_of_the_learner_is_not_argued_away_by_more_matches() -> None:
    """Matches cannot tell a learner from the learner's photograph, however many there are."""
    few, many = (
        presence(lesson(*(check(t, log10_lr=3) for t in np.linspace(0, LESSON_S, n))), POLICY)
        for n in (5, 50)
    )
    presented = State.PRESENTATION_ATTACK
    assert many.minutes[presented] > 0.7 * few.minutes[presented]


def test_the_bound_never_lies_above_the_mean() -> None:
    """Nearly every path may be full, and a few empty ones still lower the mean."""
    short = lesson(*(check(t, log10_lr=2) for t in (0, 300, 600, 900)), duration_s=900)
    found = presence(short, POLICY)
    assert found.lower95_minutes == found.minutes[State.GENUINE] < 15


def test_the_same_evidence_gives_the_same_figures() -> None:
    checks = [check(t, log10_lr=1.5) for t in (0.0, 500.0, 1200.0, 1800.0)]
    assert presence(lesson(*checks), POLICY) == presence(lesson(*checks[::-1]), POLICY)


def test_a_match_more_raises_and_a_miss_lowers_the_genuine_minutes() -> None:
    base = [check(t, log10_lr=2) for t in (0.0, 600.0, 1800.0)]
    without = presence(lesson(*base), POLICY).minutes[State.GENUINE]
    matched = presence(lesson(*base, check(1200, log10_lr=2)), POLICY).minutes[State.GENUINE]
    missed = presence(lesson(*base, check(1200, Outcome.NO_RESPONSE)), POLICY)
    assert missed.minutes[State.GENUINE] < without < matched


def test_the_states_over_time_follow_the_checks_and_add_up_to_the_minutes() -> None:
    evidence = lesson(*(check(t, log10_lr=2) for t in (0.0, 600.0)), check(1500, Outcome.NO_FACE))
    moments, chances = state_probabilities(evidence, POLICY)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    genuine, absent = (STATES.index(state) for state in (State.GENUINE, State.ABSENT))
    assert chances[np.searchsorted(moments, 300), genuine] > 0.9
    assert chances[np.searchsorted(moments, 1500), absent] > 0.9
    minutes = np.trapezoid(chances, moments, axis=0) / 60
    expected = [presence(evidence, POLICY).minutes[state] for state in STATES]
    np.testing.assert_allclose(minutes, expected)


def test_attack_free_is_exact_where_it_can_be_computed_by_hand() -> None:
    """With no check, never attacked means: nobody came as an attack, and nobody turned into one."""
    quiet = replace(
        RATES,
        return_per_h=1e-6,
        impostor_per_h=1e-6,
        presentation_attack_per_h=1e-6,
        injection_per_h=1e-6,
    )
    found = presence(lesson(), replace(POLICY, presence=quiet))
    shares = RATES.start_impostor + RATES.start_presentation_attack + RATES.start_injection
    assert found.attack_free == pytest.approx(1 - RATES.start_present * shares, abs=1e-5)


def test_a_lesson_of_no_length_is_worth_nothing() -> None:
    found = presence(lesson(check(0, log10_lr=3), duration_s=0), POLICY)
    assert (found.authenticity, found.lower95_minutes) == (0, 0)
    assert set(found.minutes.values()) == {0}


def test_an_absurd_duration_is_survived() -> None:
    found = presence(lesson(check(0, log10_lr=3), duration_s=1e12), POLICY)
    assert math.isfinite(found.minutes[State.GENUINE])


checks = st.builds(
    Check,
    t=st.floats(0, LESSON_S),
    prompted=st.just(True),
    outcome=st.sampled_from(Outcome),
    comparison_log10_lr=st.none() | st.floats(-1e3, 1e3),
    pad_log10_lr=st.none() | st.floats(-1e3, 1e3),
)


@settings(deadline=None, max_examples=25)
@given(found=st.lists(checks, max_size=30))
def test_figures_are_finite_and_add_up(found: list[Check]) -> None:
    result = presence(lesson(*found), POLICY)
    assert sum(result.minutes.values()) == pytest.approx(LESSON_S / 60)
    assert all(minutes >= 0 for minutes in result.minutes.values())
    assert 0 <= result.lower95_minutes <= result.minutes[State.GENUINE]
    assert 0 <= result.authenticity <= result.attack_free <= 1


def test_a_thousand_checks_at_one_moment_do_not_overflow() -> None:
    independent = replace(RATES, comparison_rho=0.0, outcome_rho=0.0)
    crowd = lesson(*(check(900, log10_lr=-3) for _ in range(1000)))
    found = presence(crowd, replace(POLICY, presence=independent))
    assert math.isfinite(found.attack_free)
    assert sum(found.minutes.values()) == pytest.approx(LESSON_S / 60)
