"""Counting errors at the limits, within groups, and how different groups are."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipelines.calibration_rates import (
    CalibrationRates,
    CountedRate,
    GroupNames,
    RateName,
    measure_rates,
)
from pipelines.face_pairs import ScoredPairs
from tests.fakes import CALIBRATION
from tests.pipelines.score_sets import score_set

# A match from a score of 0.6, no match up to 0.325 under CALIBRATION; its caps allow both.
MATCH, UNSURE, MISMATCH = 0.7, 0.5, 0.2
PEOPLE = 12
FMR, FNMR = RateName.FMR, RateName.FNMR


def people_who_differ(*, false_matches: Sequence[int], missed: Sequence[int]) -> ScoredPairs:
    """Return 12 people with two pictures; the n-th pairs of each kind that are listed err."""
    scored = score_set(PEOPLE, 2)
    score = np.where(scored.mated, MATCH, MISMATCH)
    score[np.flatnonzero(~scored.mated)[list(false_matches)]] = MATCH
    score[np.flatnonzero(scored.mated)[list(missed)]] = UNSURE
    return replace(scored, score=score)


def measured(scored: ScoredPairs, **groups: GroupNames) -> CalibrationRates:
    return measure_rates(scored, CALIBRATION, groups=groups)


def halves() -> list[str]:
    """Return the groups of 24 pictures: the first six people in one, the others in the other."""
    return ["first"] * PEOPLE + ["second"] * PEOPLE


def test_errors_at_the_two_limits_are_counted() -> None:
    """12 mated and 264 non-mated pairs; one missed is inconclusive, so no false mismatch."""
    match, no_match = measured(people_who_differ(false_matches=[0, 100], missed=[3])).limits
    assert match.score == pytest.approx(0.6)
    assert no_match.score == pytest.approx(0.325)
    counts = [(rate.errors, rate.trials, rate.people) for rate in match.rates.values()]
    assert counts == [(2, 264, 66), (1, 12, 12)]
    assert match.rates[FMR].measured.value == pytest.approx(2 / 264)
    assert no_match.rates[FNMR].errors == 0


def test_what_was_not_seen_is_a_bound_over_people_never_a_zero() -> None:
    no_errors = measured(people_who_differ(false_matches=[], missed=[])).limits[0].rates
    assert no_errors[FMR].measured.value is None
    assert no_errors[FMR].measured.high == pytest.approx(3 / 66)
    assert no_errors[FNMR].measured.high == pytest.approx(3 / 12)


def test_an_interval_holds_the_rate_and_where_all_failed_is_no_certainty() -> None:
    rate = measured(people_who_differ(false_matches=[], missed=[1, 2])).limits[0].rates[FNMR]
    assert rate.measured.low is not None
    assert rate.measured.high is not None
    assert rate.measured.low <= 2 / 12 <= rate.measured.high
    all_failed = people_who_differ(false_matches=[], missed=range(12))
    rate = measured(all_failed).limits[0].rates[FNMR]
    assert rate.measured.low == pytest.approx(1 - 3 / 12)
    assert rate.measured.high == 1.0


def test_limits_are_decided_as_in_a_comparison() -> None:
    """At the lower limit itself the outcome is no_match, at the upper one match."""
    exact = replace(CALIBRATION, slope=4.0, intercept=-2.0)  # match from 0.75, no match to 0.0625
    scored = people_who_differ(false_matches=[], missed=[])
    at_limits = replace(scored, score=np.where(scored.mated, 0.0625, 0.75))
    match, no_match = measure_rates(at_limits, exact).limits
    assert match.rates[FMR].errors == 264
    assert no_match.rates[FNMR].errors == 12


def test_a_cap_below_the_limit_is_out_of_reach() -> None:
    scored = people_who_differ(false_matches=[], missed=[])
    low = replace(CALIBRATION, max_log10_lr=0.9, min_log10_lr=-1.0)
    assert [limit.reached for limit in measure_rates(scored, CALIBRATION).limits] == [True, True]
    assert [limit.reached for limit in measure_rates(scored, low).limits] == [False, False]


def test_a_groups_impostors_are_of_the_same_group() -> None:
    """6 people in each half: 60 non-mated pairs within a half, 144 across, which count nowhere."""
    groups = measured(people_who_differ(false_matches=[0], missed=[11]), sex=halves()).groups
    assert [(group.attribute, group.group, group.people) for group in groups] == [
        ("sex", "first", 6),
        ("sex", "second", 6),
    ]
    assert [counted(group.rates[FMR]) for group in groups] == [(1, 60, 15), (0, 60, 15)]
    assert [counted(group.rates[FNMR]) for group in groups] == [(0, 6, 6), (1, 6, 6)]


def counted(rate: CountedRate | None) -> tuple[int, int, int]:
    assert rate is not None
    return rate.errors, rate.trials, rate.people


def test_a_group_of_few_people_has_no_rates() -> None:
    few: list[str | None] = ["few"] * 8 + ["many"] * 14 + [None] * 2
    groups = measured(people_who_differ(false_matches=[], missed=[]), light=few).groups
    assert [(group.group, group.people) for group in groups] == [("few", 4), ("many", 7)]
    assert groups[0].rates == {FMR: None, FNMR: None}
    assert counted(groups[1].rates[FNMR])[1] == 7


def test_pictures_of_one_person_may_be_in_two_groups() -> None:
    """Light is a matter of the picture: pairs across lights count in neither."""
    light = ["day", "night"] * PEOPLE
    groups = measured(people_who_differ(false_matches=[], missed=[]), light=light).groups
    assert [group.rates[FNMR] for group in groups] == [None, None]
    assert counted(groups[0].rates[FMR])[1] == 66


def test_the_worst_group_is_compared_with_the_geometric_mean() -> None:
    """12 of 60 against half a one of 60: the mean is 60**-1 * sqrt(6), the ratio sqrt(24)."""
    wronged = people_who_differ(false_matches=[], missed=[])
    inside = np.flatnonzero(~wronged.mated & (wronged.picture_b < PEOPLE))
    score = wronged.score.copy()
    score[inside[:12]] = MATCH
    (difference,) = measured(replace(wronged, score=score), sex=halves()).disparities
    assert (difference.attribute, difference.rate, difference.worst) == ("sex", FMR, "first")
    assert difference.ratio == pytest.approx(24**0.5)
    assert difference.is_warning
    assert difference.few  # 12 errors are not 30


def test_groups_that_err_alike_are_no_warning() -> None:
    (difference,) = measured(
        people_who_differ(false_matches=[], missed=[0, 11]), sex=halves()
    ).disparities
    assert difference.ratio == pytest.approx(1)
    assert not difference.is_warning


def test_groups_without_an_error_are_not_compared() -> None:
    scored = people_who_differ(false_matches=[], missed=[])
    assert measured(scored, sex=halves()).disparities == ()
