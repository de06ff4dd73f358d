"""The likelihood table: what a finding may separate, and nothing else."""

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.check import Check, Outcome
from verifier.errors import InvalidEvidenceError
from verifier.evidence import (
    STATES,
    Evidence,
    EvidenceKind,
    Proposition,
    State,
    log_likelihoods,
)
from verifier.policy import default_policy

POLICY = default_policy()
LN10 = math.log(10)
ratios = st.none() | st.floats(-1e6, 1e6)


def check(outcome: Outcome = Outcome.CAPTURED, **findings: float | None) -> Check:
    return Check(t=1.0, prompted=True, outcome=outcome, **findings)  # type: ignore[arg-type]  # floats only


def against(found: Check, one: State, other: State) -> float:
    """Return the log10 ratio of two states given one check."""
    logs = log_likelihoods(found, POLICY)
    return float(logs[STATES.index(one)] - logs[STATES.index(other)]) / LN10


def test_a_match_of_a_hundred_speaks_a_hundredfold_against_an_impostor() -> None:
    assert against(check(comparison_log10_lr=2.0), State.GENUINE, State.IMPOSTOR) == pytest.approx(
        2
    )


def test_half_the_attacks_show_the_enrolled_face_so_a_match_at_most_doubles_the_ratio() -> None:
    matched = check(comparison_log10_lr=2.0)
    assert against(matched, State.GENUINE, State.PRESENTATION_ATTACK) == pytest.approx(
        math.log10(100 / 50.5)
    )
    assert against(matched, State.GENUINE, State.INJECTION) < math.log10(2)


def test_attack_detection_says_nothing_about_injection() -> None:
    found = check(pad_log10_lr=-1.5)
    assert against(found, State.GENUINE, State.PRESENTATION_ATTACK) == pytest.approx(-1.5)
    assert against(found, State.GENUINE, State.INJECTION) == 0


def test_silence_speaks_for_absence_and_for_nothing_among_those_present() -> None:
    silent = check(Outcome.NO_RESPONSE)
    assert against(silent, State.ABSENT, State.GENUINE) == pytest.approx(math.log10(0.5 / 0.03))
    assert against(silent, State.GENUINE, State.IMPOSTOR) == 0


@pytest.mark.parametrize("outcome", [Outcome.UNREADABLE, Outcome.MULTIPLE_FACES])
def test_an_unclear_picture_is_weak(outcome: Outcome) -> None:
    assert abs(against(check(outcome), State.ABSENT, State.GENUINE)) < 0.5


def test_a_ratio_is_bounded_by_the_people_behind_its_calibration() -> None:
    huge = against(check(comparison_log10_lr=1e6), State.GENUINE, State.IMPOSTOR)
    assert huge == pytest.approx(POLICY.presence.max_abs_log10_lr)


@given(outcome=st.sampled_from(Outcome), comparison=ratios, pad=ratios)
def test_no_finding_moves_states_it_cannot_tell_apart(
    outcome: Outcome, comparison: float | None, pad: float | None
) -> None:
    """Adding one finding moves only the ratios that its proposition separates."""
    compared = check(outcome, comparison_log10_lr=comparison)
    both = check(outcome, comparison_log10_lr=comparison, pad_log10_lr=pad)
    bare = check(outcome)
    for one, other in itertools.combinations(State, 2):
        steps = {
            Proposition.SAME_PERSON: against(compared, one, other) - against(bare, one, other),
            Proposition.BONA_FIDE: against(both, one, other) - against(compared, one, other),
            Proposition.SOMEBODY_THERE: against(bare, one, other),
        }
        for proposition, moved in steps.items():
            assert proposition.separates(one, other) or abs(moved) < 1e-9


@given(outcome=st.sampled_from(Outcome), comparison=ratios, pad=ratios)
def test_likelihoods_are_finite(
    outcome: Outcome, comparison: float | None, pad: float | None
) -> None:
    logs = log_likelihoods(check(outcome, comparison_log10_lr=comparison, pad_log10_lr=pad), POLICY)
    assert logs.shape == (5,)
    assert np.isfinite(logs).all()


def finding(**changes: object) -> Evidence:
    base = Evidence(
        kind=EvidenceKind.FACE_COMPARISON,
        proposition=Proposition.SAME_PERSON,
        log10_lr=2.0,
        model_sha256="ab" * 32,
        observed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # each test names a bad value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("log10_lr", math.inf),
        ("log10_lr", math.nan),
        ("log10_lr", 6.5),
        ("model_sha256", "AB" * 32),
        ("model_sha256", "ab"),
        ("observed_at", datetime(2026, 1, 1)),  # noqa: DTZ001 - a time without zone is the point
    ],
)
def test_evidence_that_breaks_an_invariant_is_never_born(field: str, value: object) -> None:
    assert finding().log10_lr == 2.0
    with pytest.raises(InvalidEvidenceError):
        finding(**{field: value})
