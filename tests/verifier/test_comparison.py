"""Scores, ratios and outcomes, on known values and by law."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.packs import load_packs
from verifier.arrays import Float32Array
from verifier.comparison import (
    DEFAULT_CALIBRATION,
    DEFAULT_RULES,
    ComparisonOutcome,
    ComparisonResult,
    Metric,
    OutcomeRules,
    Template,
    Uncalibrated,
    compare,
    comparison_score,
)
from verifier.errors import ContractMismatchError, InvalidEvidenceError

CONTRACT = DEFAULT_CALIBRATION.contract_id
scores = st.floats(-3, 1)
vectors = st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4).map(
    lambda values: np.array(values, dtype=np.float32)
)


def template(*values: float, contract_id: str = CONTRACT) -> Template:
    """Return a template of these numbers."""
    return Template(contract_id=contract_id, vector=np.array(values, dtype=np.float32))


def at_distance(distance: float) -> tuple[Template, Template]:
    """Return two templates so far apart."""
    return template(1, 0, 0), template(1, 0, distance)


def test_score_is_one_minus_the_distance() -> None:
    assert comparison_score(
        template(3, 0).vector, template(0, 4).vector, Metric.L2
    ) == pytest.approx(-4)


@pytest.mark.parametrize(
    ("probe", "cosine"),
    [((2, 0), 1.0), ((0, 7), 0.0), ((-1, 0), -1.0), ((3, 3), math.sqrt(0.5))],
)
def test_a_cosine_score_is_the_direction_alone(probe: tuple[float, float], cosine: float) -> None:
    score = comparison_score(template(5, 0).vector, template(*probe).vector, Metric.COSINE)
    assert score == pytest.approx(cosine, abs=1e-7)


@given(first=vectors, second=vectors, factor=st.floats(0.5, 2, width=32))
def test_a_cosine_score_ignores_length(
    first: Float32Array, second: Float32Array, factor: float
) -> None:
    assume(np.linalg.norm(first) > 1e-3 and np.linalg.norm(second) > 1e-3)
    score = comparison_score(first, second, Metric.COSINE)
    assert score == comparison_score(second, first, Metric.COSINE)
    assert -1 <= score <= 1
    longer = np.float32(factor) * first
    assert comparison_score(longer, second, Metric.COSINE) == pytest.approx(score, abs=1e-6)


def test_a_vector_without_direction_has_no_cosine() -> None:
    with pytest.raises(InvalidEvidenceError, match="no direction"):
        comparison_score(template(0, 0).vector, template(1, 0).vector, Metric.COSINE)


def test_the_calibration_says_by_which_metric_is_compared() -> None:
    """Twice as long, the same direction: far apart by distance, the same by cosine."""
    pair = template(1, 0), template(2, 0)
    cosine = replace(DEFAULT_CALIBRATION, metric=Metric.COSINE)
    assert compare(*pair, DEFAULT_CALIBRATION).comparison_score == 0.0
    assert compare(*pair, cosine).comparison_score == 1.0


def test_without_a_calibration_a_comparison_is_inconclusive() -> None:
    """The score is there for whoever calibrates; it must not decide, and must not be neutral."""
    uncalibrated = Uncalibrated(contract_id=CONTRACT, metric=Metric.L2)
    result = compare(template(1, 0), template(1, 0), uncalibrated)
    assert result.to_json() == {
        "outcome": "inconclusive",
        "comparison_score": 1.0,
        "log10_lr": None,
        "contract": CONTRACT,
        "calibration": "uncalibrated",
        "calibration_id": None,
    }
    with pytest.raises(ContractMismatchError):
        compare(template(1), template(1), replace(uncalibrated, contract_id="other@0"))


@given(first=vectors, second=vectors)
def test_score_is_symmetric_and_best_for_the_same(
    first: Float32Array, second: Float32Array
) -> None:
    score = comparison_score(first, second, Metric.L2)
    assert score == comparison_score(second, first, Metric.L2)
    assert score <= 1 == comparison_score(first, first, Metric.L2)


@pytest.mark.parametrize(
    ("distance", "outcome"),
    [
        pytest.param(0.30, ComparisonOutcome.MATCH, id="one person on one day"),
        pytest.param(0.53, ComparisonOutcome.MATCH, id="last match"),
        pytest.param(0.55, ComparisonOutcome.INCONCLUSIVE, id="a similar impostor could be here"),
        pytest.param(0.60, ComparisonOutcome.INCONCLUSIVE, id="the customary tolerance"),
        pytest.param(0.63, ComparisonOutcome.INCONCLUSIVE, id="aged, or badly lit"),
        pytest.param(0.65, ComparisonOutcome.NO_MATCH, id="first no match"),
        pytest.param(0.80, ComparisonOutcome.NO_MATCH, id="two people"),
    ],
)
def test_outcomes_of_the_default_calibration(distance: float, outcome: ComparisonOutcome) -> None:
    result = compare(*at_distance(distance), DEFAULT_CALIBRATION)
    assert result.outcome is outcome
    assert result.comparison_score == pytest.approx(1 - distance)


def test_ratio_at_the_customary_tolerance() -> None:
    """Slightly against: 28 * 0.4 - 11.9."""
    assert DEFAULT_CALIBRATION.log10_lr(0.4) == pytest.approx(-0.7)


def test_default_caps_are_what_the_data_support() -> None:
    assert DEFAULT_CALIBRATION.log10_lr(1.0) == pytest.approx(math.log10(1000 / 11))
    assert DEFAULT_CALIBRATION.log10_lr(-3.0) == -2.0
    assert DEFAULT_CALIBRATION.max_log10_lr < 2.0
    # A cap inside the inconclusive zone would make match or no_match unreachable.
    assert DEFAULT_CALIBRATION.max_log10_lr > DEFAULT_RULES.match_from_log10_lr
    assert DEFAULT_CALIBRATION.min_log10_lr < DEFAULT_RULES.no_match_to_log10_lr


def test_default_calibration_belongs_to_the_default_pack() -> None:
    """A changed chip or converter changes scores; it then needs a calibration of its own."""
    assert load_packs()["default"].contract_id == CONTRACT


@given(low=scores, high=scores)
def test_more_alike_is_never_less_evidence(low: float, high: float) -> None:
    low, high = sorted((low, high))
    ratios = DEFAULT_CALIBRATION.log10_lr(low), DEFAULT_CALIBRATION.log10_lr(high)
    assert ratios[0] <= ratios[1]
    assert all(-2.0 <= ratio <= 2.0 for ratio in ratios)


@given(log10_lr=st.floats(allow_nan=False), other=st.floats(allow_nan=False))
def test_outcome_follows_the_order_of_ratios(log10_lr: float, other: float) -> None:
    order = [ComparisonOutcome.NO_MATCH, ComparisonOutcome.INCONCLUSIVE, ComparisonOutcome.MATCH]
    low, high = sorted((log10_lr, other))
    first, second = (order.index(DEFAULT_RULES.outcome(ratio)) for ratio in (low, high))
    assert first <= second


def test_limits_of_the_inconclusive_zone_are_decided() -> None:
    rules = OutcomeRules(match_from_log10_lr=1.0, no_match_to_log10_lr=-1.5)
    assert rules.outcome(1.0) is ComparisonOutcome.MATCH
    assert rules.outcome(math.nextafter(1.0, 0)) is ComparisonOutcome.INCONCLUSIVE
    assert rules.outcome(math.nextafter(-1.5, 0)) is ComparisonOutcome.INCONCLUSIVE
    assert rules.outcome(-1.5) is ComparisonOutcome.NO_MATCH


def test_templates_of_two_contracts_are_not_compared() -> None:
    other = template(1, 0, contract_id="other@0")
    with pytest.raises(ContractMismatchError, match="other@0"):
        compare(template(1, 0), other, DEFAULT_CALIBRATION)


def test_a_calibration_of_another_contract_is_not_used() -> None:
    other = replace(DEFAULT_CALIBRATION, contract_id="other@0")
    with pytest.raises(ContractMismatchError, match="calibration for other@0"):
        compare(template(1, 0), template(1, 0), other)


def test_vectors_of_two_lengths_are_an_error_not_a_score() -> None:
    with pytest.raises(InvalidEvidenceError, match=r"\(2,\) and \(1,\)"):
        compare(template(1, 0), template(1), DEFAULT_CALIBRATION)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_template_is_finite(value: float) -> None:
    with pytest.raises(InvalidEvidenceError, match="not finite"):
        template(0.1, value)


@pytest.mark.parametrize("shape", [(0,), (1, 128), ()])
def test_a_template_is_one_vector(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidEvidenceError, match="wanted"):
        Template(contract_id=CONTRACT, vector=np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"slope": 0.0},
        {"slope": math.nan},
        {"intercept": math.inf},
        {"min_log10_lr": 0.0},
        {"max_log10_lr": math.inf},
        {"min_log10_lr": math.nan},
        {"max_log10_lr": -1.0},
    ],
)
def test_a_calibration_is_a_rising_line_with_finite_caps(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvidenceError):
        replace(DEFAULT_CALIBRATION, **change)


@pytest.mark.parametrize(("match_from", "no_match_to"), [(0.0, -1.0), (1.0, 0.0), (-1.0, -2.0)])
def test_the_inconclusive_zone_holds_neutral_evidence(
    match_from: float, no_match_to: float
) -> None:
    with pytest.raises(InvalidEvidenceError):
        OutcomeRules(match_from_log10_lr=match_from, no_match_to_log10_lr=no_match_to)


def test_public_format() -> None:
    result = compare(*at_distance(0.29), DEFAULT_CALIBRATION)
    assert result.to_json() == {
        "outcome": "match",
        "comparison_score": 0.71,
        "log10_lr": 1.9586,
        "contract": CONTRACT,
        "calibration": "default, uncalibrated for this population",
        "calibration_id": DEFAULT_CALIBRATION.calibration_id,
    }


def test_what_was_not_measured_has_no_numbers_and_decides_nothing() -> None:
    result = ComparisonResult.not_measured(DEFAULT_CALIBRATION)
    assert result.outcome is ComparisonOutcome.INCONCLUSIVE
    assert result.to_json()["comparison_score"] is None
    assert result.to_json()["log10_lr"] is None


@pytest.mark.parametrize("outcome", list(ComparisonOutcome))
def test_an_unfit_face_decides_nothing(outcome: ComparisonOutcome) -> None:
    """Bad light turns every answer into a question; what was measured stays."""
    result = ComparisonResult(
        outcome=outcome, comparison_score=0.4, log10_lr=-2.0, contract="c", calibration="d"
    )
    unfit = result.of_unfit_face()
    assert unfit.outcome is ComparisonOutcome.INCONCLUSIVE
    assert (unfit.comparison_score, unfit.log10_lr) == (0.4, -2.0)
