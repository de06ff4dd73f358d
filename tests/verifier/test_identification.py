"""Searching N people: how often it finds the wrong one, and what can be promised about that."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.fakes import CALIBRATION
from verifier.calibration import DEFAULT_CALIBRATION
from verifier.comparison import DEFAULT_RULES
from verifier.errors import TooFewTrialsError
from verifier.identification import (
    FalseMatches,
    Misses,
    fmr_for,
    fpir,
    misses,
    operating_point,
    pairs_wanted,
)

rates = st.floats(1e-12, 1)
sizes = st.integers(1, 10_000_000)


class TestFpir:
    def test_of_a_known_gallery(self) -> None:
        """Wrong once in a thousand is wrong in 63 of 100 searches of a thousand people."""
        assert fpir(1e-3, 1000) == pytest.approx(0.6323, abs=1e-4)
        assert fpir(0.5, 2) == 0.75
        assert fpir(1e-9, 1_000_000) == pytest.approx(1e-3, rel=1e-3)

    def test_of_nobody_is_nothing(self) -> None:
        assert (fpir(1.0, 0), fpir(0.0, 10), fpir(1.0, 1)) == (0, 0, 1)

    @given(fmr=st.floats(0, 1), first=st.integers(0, 10_000), second=st.integers(0, 10_000))
    def test_who_is_in_neither_half_is_not_in_the_whole(
        self, fmr: float, first: int, second: int
    ) -> None:
        neither = (1 - fpir(fmr, first)) * (1 - fpir(fmr, second))
        assert 1 - fpir(fmr, first + second) == pytest.approx(neither, abs=1e-12)

    @given(wanted=st.floats(1e-9, 0.999), size=sizes)
    def test_the_rate_for_it_is_its_inverse(self, wanted: float, size: int) -> None:
        assert fpir(fmr_for(wanted, size), size) == pytest.approx(wanted, rel=1e-6)

    @given(fmr=st.floats(1e-12, 1), size=sizes)
    def test_it_is_no_more_than_the_expected_number(self, fmr: float, size: int) -> None:
        assert fpir(fmr, size) <= fmr * size * (1 + 1e-9)

    @pytest.mark.parametrize(("fmr", "size"), [(-0.1, 1), (1.1, 1), (math.nan, 1), (0.5, -1)])
    def test_what_is_no_rate_or_number_is_refused(self, fmr: float, size: int) -> None:
        with pytest.raises(ValueError, match="was wanted"):
            fpir(fmr, size)


class TestFalseMatches:
    def test_none_in_few_promises_little(self) -> None:
        """No false match in 3,000 pairs: below 0.1 %, and of 1,000 people below 63 %."""
        seen = FalseMatches(matches=0, pairs=3000)
        assert (seen.fmr, seen.fmr_bound) == (0, 0.001)
        assert seen.fpir_bound(1000) == pytest.approx(0.6323, abs=1e-4)
        assert FalseMatches(matches=0, pairs=2).fmr_bound == 1

    def test_some_are_bounded_by_wilson(self) -> None:
        """30 of 1,000: one-sided 95 % upper limit 4.03 % (Wilson)."""
        assert FalseMatches(matches=30, pairs=1000).fmr_bound == pytest.approx(0.0403, abs=2e-4)

    @given(pairs=st.integers(1, 10_000), data=st.data())
    def test_the_bound_is_above_what_was_seen_and_grows_with_it(
        self, pairs: int, data: st.DataObject
    ) -> None:
        matches = data.draw(st.integers(0, pairs))
        seen = FalseMatches(matches=matches, pairs=pairs)
        assert seen.fmr <= seen.fmr_bound <= 1
        if matches < pairs:
            assert FalseMatches(matches=matches + 1, pairs=pairs).fmr_bound >= seen.fmr_bound

    @pytest.mark.parametrize(("matches", "pairs"), [(0, 0), (2, 1), (-1, 5)])
    def test_of_no_pairs_there_is_no_rate(self, matches: int, pairs: int) -> None:
        with pytest.raises(TooFewTrialsError):
            FalseMatches(matches=matches, pairs=pairs)


class TestPairsWanted:
    def test_for_a_million_people(self) -> None:
        """5 % at a million people takes 58 million pairs: of some 11,000 people."""
        assert pairs_wanted(0.05, 1_000_000) == pytest.approx(58_487_000, rel=1e-4)

    @given(wanted=st.floats(1e-6, 0.99), size=st.integers(1, 1_000_000))
    def test_so_many_are_enough_and_one_less_is_not(self, wanted: float, size: int) -> None:
        pairs = pairs_wanted(wanted, size)
        assume(3 < pairs < 10**12)
        assert FalseMatches(matches=0, pairs=pairs).fpir_bound(size) <= wanted * (1 + 1e-9)
        assert 3 / (pairs - 1) > fmr_for(wanted, size)

    def test_nothing_shows_that_it_never_happens(self) -> None:
        with pytest.raises(ValueError, match="no amount of data"):
            pairs_wanted(0.0, 10)


class TestMisses:
    def test_known_scores(self) -> None:
        """A hit is a score of at least the limit."""
        found = misses(np.array([0.1, 0.5, 0.7, 0.9]), 0.7)
        assert (found, found.fnir) == (Misses(misses=2, searches=4), 0.5)

    def test_of_nobody_there_is_no_rate(self) -> None:
        with pytest.raises(TooFewTrialsError):
            misses(np.array([]), 0.5)

    @given(
        scores=st.lists(st.floats(-1, 1), min_size=1), low=st.floats(-1, 1), high=st.floats(-1, 1)
    )
    def test_who_asks_for_more_misses_more(
        self, scores: list[float], low: float, high: float
    ) -> None:
        assume(low <= high)
        array = np.array(scores)
        assert misses(array, low).misses <= misses(array, high).misses


class TestOperatingPoint:
    def test_of_the_default_calibration_and_a_million_people(self) -> None:
        """log10(1,000,000 / 0.01) = 8: a distance of at most 0.289, far beyond any data."""
        point = operating_point(DEFAULT_CALIBRATION, gallery_size=1_000_000, false_hits=0.01)
        assert [point.log10_lr, point.false_hits] == pytest.approx([8, 0.01])
        assert 1 - point.comparison_score == pytest.approx(0.289, abs=5e-4)
        assert point.is_reachable
        # What the data support is another matter: 11 times 3 in 3,000 pairs.
        assert point.is_extrapolated
        assert point.fmr_bound == pytest.approx(0.011)
        assert point.false_hits_bound == pytest.approx(11_000)
        assert point.fpir_bound == pytest.approx(1.0)

    def test_of_a_small_gallery_the_data_carry_it(self) -> None:
        """Caps of 2: of one other person 0.01 false hits can be promised."""
        point = operating_point(CALIBRATION, gallery_size=1, false_hits=0.01)
        assert [point.log10_lr, point.comparison_score] == pytest.approx([2, 0.7])
        assert not point.is_extrapolated
        assert point.false_hits_bound == pytest.approx(0.01)

    def test_it_is_never_laxer_than_a_match_of_two(self) -> None:
        point = operating_point(CALIBRATION, gallery_size=0, false_hits=5.0)
        assert point.gallery_size == 1
        assert point.log10_lr == DEFAULT_RULES.match_from_log10_lr
        assert point.false_hits == pytest.approx(0.1)

    def test_where_no_score_is_enough_it_says_so(self) -> None:
        """A gentle line: log10 LR 5 at most, and 8 wanted."""
        point = operating_point(CALIBRATION, gallery_size=1_000_000, false_hits=0.01)
        assert not point.is_reachable

    @given(size=sizes, false_hits=st.floats(1e-6, 1), cap=st.floats(0.1, 6))
    def test_the_larger_the_gallery_the_higher_the_score_and_the_less_can_be_promised(
        self, size: int, false_hits: float, cap: float
    ) -> None:
        calibration = replace(CALIBRATION, max_log10_lr=cap)
        point, larger = (
            operating_point(calibration, gallery_size=n, false_hits=false_hits)
            for n in (size, 2 * size)
        )
        assert larger.comparison_score >= point.comparison_score
        assert larger.false_hits_bound >= point.false_hits_bound * (1 - 1e-9)
        assert point.false_hits <= false_hits * (1 + 1e-9)
        assert point.false_hits <= point.false_hits_bound * (1 + 1e-9)

    @given(ratios=st.lists(st.floats(0.01, 100), min_size=2, max_size=20), limit=st.floats(1, 50))
    def test_of_a_calibrated_ratio_few_others_exceed_a_limit(
        self, ratios: list[float], limit: float
    ) -> None:
        """The inequality it rests on: P(ratio >= t | others) <= 1/t, for any two distributions."""
        others = np.array(ratios) / sum(ratios)
        same = others * np.array(ratios)
        same /= same.sum()
        exceeding = same / others >= limit
        assert others[exceeding].sum() <= 1 / limit + 1e-12

    @pytest.mark.parametrize("false_hits", [0.0, -1.0, math.inf, math.nan])
    def test_no_number_of_false_hits_is_refused(self, false_hits: float) -> None:
        with pytest.raises(ValueError, match="false_hits"):
            operating_point(CALIBRATION, gallery_size=1, false_hits=false_hits)
