"""Fitting: the true line is found, nothing becomes infinite, too few people are refused."""

import math
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.calibration import (
    FittedCalibration,
    fit_calibration,
    fit_pairs,
    people_for_match,
    people_for_no_match,
    scores_sha256,
)
from pipelines.embedded_pictures import EmbeddedPictures
from pipelines.face_pairs import ScoredPairs
from pipelines.picture_lists import FacePicture
from tests.fakes import CONTRACT
from tests.pipelines.score_sets import SPREAD, score_set
from verifier.calibration import parse_calibration
from verifier.comparison import OutcomeRules
from verifier.errors import InputError, TooFewTrialsError

TODAY = date(2026, 11, 23)


def fitted(scored: ScoredPairs, **options: Any) -> FittedCalibration:
    return fit_calibration(scored, name="site", made_on=TODAY, **{"rounds": 10, **options})


def test_the_line_of_two_normal_kinds_is_found() -> None:
    """Slope d'/sd in natural logarithms, 0 midway between the means (0.5 and 0.22)."""
    found = fitted(score_set(200, 3), rounds=100)
    slope = 4.0 / SPREAD / math.log(10)
    assert found.calibration.slope == pytest.approx(slope, rel=0.1)
    assert found.slope.low < slope < found.slope.high
    assert found.calibration.score_at(0) == pytest.approx(0.36, abs=0.01)


def test_both_kinds_weigh_the_same() -> None:
    """Nine in ten of the people without a mated pair: far more non-mated pairs, the same line."""
    scored = score_set(100, 2)
    alone = scored.mated & (scored.subject_a >= 60)
    fewer = scored.taken(~alone)
    assert fitted(fewer).calibration.score_at(0) == pytest.approx(0.36, abs=0.02)
    assert fitted(fewer).calibration.data.mated_subjects == 60
    assert fitted(fewer).calibration.data.subjects == 100


def test_somebody_with_many_pictures_counts_as_one_person() -> None:
    """Every comparison of one person repeated fifty times: nothing is known that was not."""
    scored = score_set(20, 3)
    of_one = (scored.subject_a == 0) | (scored.subject_b == 0)
    repeated = np.concatenate([np.arange(len(of_one)), np.repeat(np.flatnonzero(of_one), 49)])
    once, often = fitted(scored).calibration, fitted(scored.taken(repeated)).calibration
    assert often.slope == pytest.approx(once.slope, abs=1e-5)
    assert often.max_log10_lr == once.max_log10_lr


@pytest.mark.parametrize("d_prime", [9.0, 1e3])
def test_kinds_that_do_not_overlap_give_a_finite_line(d_prime: float) -> None:
    """Without a prior the slope would be infinite; it rises all the same, and the caps hold."""
    scored = score_set(30, 3, d_prime=d_prime)
    assert scored.score[scored.mated].min() > scored.score[~scored.mated].max()
    found = fitted(scored)
    calibration = found.calibration
    natural = calibration.slope * math.log(10) * SPREAD
    assert 0 < natural < d_prime  # more cautious than the truth
    assert calibration.log10_lr(0.5) == calibration.max_log10_lr
    assert calibration.log10_lr(0.5 - d_prime * SPREAD) == calibration.min_log10_lr


def test_the_line_is_the_best_under_its_prior() -> None:
    """Any line nearby costs more: log loss of 20 people of each kind, plus the prior's b²/200."""
    scored = score_set(20, 3, d_prime=5.0)
    kinds = scored.score[scored.mated], scored.score[~scored.mated]
    spread = math.sqrt((kinds[0].var() + kinds[1].var()) / 2)

    def cost(slope: float, intercept: float) -> float:
        odds = [math.log(10) * (slope * scores + intercept) for scores in kinds]
        loss = np.logaddexp(0, -odds[0]).mean() + np.logaddexp(0, odds[1]).mean()
        return float(20 * loss + (slope * math.log(10) * spread) ** 2 / 200)

    found = fitted(scored).calibration
    best = cost(found.slope, found.intercept)
    for slope, intercept in ((1.01, 1.0), (0.99, 1.0), (1.0, 1.01), (1.0, 0.99), (1.05, 1.05)):
        assert cost(found.slope * slope, found.intercept * intercept) > best
    # Along the line's own direction as well, in which overlapping little leaves it loose.
    assert cost(found.slope * 0.97, found.intercept * 0.97) > best


def test_caps_are_what_so_many_people_support() -> None:
    """30 people: 435 pairs of people, 145 and 10 to one at most."""
    calibration = fitted(score_set(30, 3)).calibration
    assert calibration.max_log10_lr == pytest.approx(math.log10(435 / 3), abs=1e-6)
    assert calibration.min_log10_lr == pytest.approx(-1, abs=1e-6)
    assert not calibration.exceeds_its_data
    assert "435 pairs of people and 30 people" in calibration.cap_reason


def test_the_document_is_dated_counted_and_pinned_to_the_contract() -> None:
    scored = score_set(12, 3)
    calibration = fitted(scored).calibration
    assert calibration.made_on == TODAY
    assert (calibration.contract_id, calibration.metric) == (CONTRACT, scored.metric)
    assert calibration.data.mated == int(scored.mated.sum()) == 36
    assert calibration.data.subject_pairs == 66
    assert parse_calibration(calibration.document()) == calibration


def test_the_same_scores_give_the_same_document() -> None:
    scored = score_set(12, 3)
    mixed = scored.taken(np.random.default_rng(1).permutation(len(scored.score)))
    assert fitted(scored).calibration.data == fitted(mixed).calibration.data
    other = replace(scored, score=scored.score + np.eye(1, len(scored.score))[0] / 1000)
    assert scores_sha256(other) != scores_sha256(scored)


def test_digest_of_known_scores() -> None:
    r"""``printf '0 0.2000\n1 -0.5000\n' | sha256sum``."""
    scored = score_set(2, 2).taken(np.array([0, 1]))
    scored = replace(scored, score=np.array([-0.5, 0.2]), mated=np.array([True, False]))
    assert (
        scores_sha256(scored) == "771067259f855b411168184418201baaf91cc585e26f818f6e3aa8c94022d144"
    )


def test_five_people_are_refused_and_told_how_many_are_wanted() -> None:
    scored = score_set(5, 10)
    with pytest.raises(
        TooFewTrialsError, match=r"只有 5 人.*至少要 10 人.*at least 10 wanted, and 169"
    ):
        fitted(scored)
    calibration = fitted(scored, allow_few=True).calibration
    assert calibration.max_log10_lr == pytest.approx(math.log10(10 / 3), abs=1e-6)
    rules = OutcomeRules()
    outcomes = {rules.outcome(calibration.log10_lr(score)).value for score in (-1.0, 1.0)}
    assert outcomes == {"inconclusive"}


def test_three_people_are_refused_whatever_is_asked() -> None:
    with pytest.raises(TooFewTrialsError, match="below 4"):
        fitted(score_set(3, 10), allow_few=True)


def test_how_many_people_lift_the_caps_to_the_limits() -> None:
    """A match at 10 to one wants 30 pairs of people; 9 people are 36, 8 are 28."""
    rules = OutcomeRules()
    assert people_for_match(rules) == 9
    assert people_for_no_match(rules) == 169
    assert people_for_match(OutcomeRules(match_from_log10_lr=2.0)) == 25  # 300 pairs
    assert people_for_no_match(OutcomeRules(no_match_to_log10_lr=-1.0)) == 30


def test_scores_that_fall_are_refused() -> None:
    scored = score_set(20, 3)
    with pytest.raises(InputError, match="check whose pictures"):
        fitted(replace(scored, score=-scored.score))


def test_scores_that_never_vary_are_refused() -> None:
    scored = score_set(20, 3)
    with pytest.raises(InputError, match="no higher"):
        fitted(replace(scored, score=np.full(len(scored.score), 0.3)))


def test_the_interval_narrows_with_people_not_with_pictures() -> None:
    def width(scored: ScoredPairs) -> float:
        slope = fitted(scored, rounds=100).slope
        return slope.high - slope.low

    few, many = score_set(20, 3), score_set(100, 3)
    assert width(many) < 0.7 * width(few)
    repeated = few.taken(np.tile(np.arange(len(few.score)), 8))
    assert width(repeated) == pytest.approx(width(few), rel=1e-6)


def test_only_faces_fit_for_a_lesson_are_fitted() -> None:
    scored = score_set(12, 3)
    unfit = np.zeros(36, np.bool_)
    unfit[[0, 35]] = True
    embedded = EmbeddedPictures(
        pictures=tuple(FacePicture(path=Path("x"), subject="s") for _ in range(36)),
        vectors=np.zeros((36, 2), np.float32),
        acquired=np.ones(36, np.bool_),
        unfit=unfit,
        failures={},
        pixels_sha256=(None,) * 36,
        contract_id=CONTRACT,
    )
    left = fit_pairs(scored, embedded)
    assert len(left.score) == 34 * 33 // 2
    assert not {0, 35} & {*left.picture_a.tolist(), *left.picture_b.tolist()}
