"""How often a fitted calibration errs, over everybody and within each group of people.

Rates are counted at the scores where the calibration's line, caps aside, reaches the limits of
`OutcomeRules`. A group's FMR is that of impostors of the same group: those are the ones who sit
down in somebody's place. Start with `measure_rates`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.calibration import bootstrap
from pipelines.face_pairs import ScoredPairs
from verifier.arrays import Flags, FloatArray
from verifier.calibration import Calibration
from verifier.comparison import DEFAULT_RULES, OutcomeRules
from verifier.measured_rate import RULE_OF_30, MeasuredRate, measured_rate
from verifier.protocols import ProgressSink
from verifier.subject_bootstrap import MIN_INTERVAL_SUBJECTS, interval_edges

GroupNames: TypeAlias = Sequence[str | None]
"""For each picture the group it belongs to; None: not known."""

WORST_TO_MEAN: Final = 3.0
"""A warning is due where the worst group's rate is more than so many times the geometric mean over
groups, the measure of NIST IR 8429 (2022)."""


class RateName(StrEnum):
    """The two ways to err."""

    FMR = "fmr"
    FNMR = "fnmr"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRate:
    """Errors among comparisons of so many independent people, or pairs of people (FMR)."""

    errors: int
    trials: int
    people: int
    measured: MeasuredRate

    @property
    def smoothed(self) -> float:
        """The rate for ratios between groups; no error counts as half a one.

        A rate of 0 would make the geometric mean 0 and every ratio infinite.
        """
        return max(self.errors, 0.5) / self.trials


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRates:
    """Errors at one limit: who would match there, and who would not.

    ``reached`` says whether the calibration's caps let a comparison get that far.
    """

    limit: str
    log10_lr: float
    score: float
    reached: bool
    rates: Mapping[RateName, CountedRate]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRates:
    """Errors at the match limit within one group; a rate is None where its people are too few."""

    attribute: str
    group: str
    people: int
    rates: Mapping[RateName, CountedRate | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disparity:
    """How much more often the worst group of an attribute is wronged than the mean.

    ``few``: fewer than 30 errors stand behind the worst rate (rule of 30), so that chance alone
    may have made it the worst.
    """

    attribute: str
    rate: RateName
    worst: str
    ratio: float
    few: bool

    @property
    def is_warning(self) -> bool:
        """Whether somebody has to look into it before such a calibration is activated."""
        return self.ratio > WORST_TO_MEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRates:
    """Everything counted: at the two limits, by group, and what differs too much."""

    limits: tuple[LimitRates, ...]
    groups: tuple[GroupRates, ...]
    disparities: tuple[Disparity, ...]


def measure_rates(
    scored: ScoredPairs,
    calibration: Calibration,
    *,
    groups: Mapping[str, GroupNames] | None = None,
    rules: OutcomeRules = DEFAULT_RULES,
    seed: int = 0,
    progress: ProgressSink | None = None,
) -> CalibrationRates:
    """Count errors, with 95 % intervals over people drawn anew; limits stay where they are.

    Parameters
    ----------
    groups
        For each attribute, such as ``sex``, the group of every picture. A comparison counts in
        a group where both pictures belong to it.
    """
    match = calibration.score_at(rules.match_from_log10_lr)
    # The next score up: at the limit itself the comparison is still a mismatch.
    above = math.nextafter(calibration.score_at(rules.no_match_to_log10_lr), math.inf)
    everybody = [""] * (1 + int(max(scored.picture_a.max(), scored.picture_b.max())))
    tables = [
        _Table.of(scored, "", everybody, threshold=match),
        _Table.of(scored, "", everybody, threshold=above),
        *(_Table.of(scored, name, by, threshold=match) for name, by in (groups or {}).items()),
    ]
    draws = bootstrap(
        scored,
        lambda weight: np.concatenate([table.rates(weight) for table in tables]),
        seed=seed,
        progress=progress,
        stage="error rates of other people",
    )
    edges = np.split(draws, np.cumsum([table.cells for table in tables])[:-1], axis=1)
    counted = [table.counted(part) for table, part in zip(tables, edges, strict=True)]
    limits = (
        LimitRates(
            limit="match",
            log10_lr=rules.match_from_log10_lr,
            score=match,
            reached=calibration.max_log10_lr >= rules.match_from_log10_lr,
            rates=_known(counted[0][0]),
        ),
        LimitRates(
            limit="no_match",
            log10_lr=rules.no_match_to_log10_lr,
            score=calibration.score_at(rules.no_match_to_log10_lr),
            reached=calibration.min_log10_lr <= rules.no_match_to_log10_lr,
            rates=_known(counted[1][0]),
        ),
    )
    found = tuple(group for part in counted[2:] for group in part)
    return CalibrationRates(limits=limits, groups=found, disparities=_disparities(found))


def _known(group: GroupRates) -> dict[RateName, CountedRate]:
    """Return the rates of everybody, of whom there are enough for any contract."""
    return {name: rate for name, rate in group.rates.items() if rate is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The comparisons of one attribute in cells: group by group, non-mated before mated.

    ``cell`` and ``error`` have shape (n,); the last cell holds what belongs to no group.
    """

    attribute: str
    names: Sequence[str]
    cell: NDArray[np.int64]
    error: Flags
    scored: ScoredPairs

    @classmethod
    def of(
        cls, scored: ScoredPairs, attribute: str, by: GroupNames, *, threshold: float
    ) -> "_Table":
        names = sorted({name for name in by if name is not None})
        numbers = {name: number for number, name in enumerate(names)}
        group = np.array([-1 if name is None else numbers[name] for name in by], np.int64)
        first, second = group[scored.picture_a], group[scored.picture_b]
        inside = (first == second) & (first >= 0)
        matches = scored.score >= threshold
        return cls(
            attribute=attribute,
            names=names,
            cell=np.where(inside, 2 * first + scored.mated, 2 * len(names)),
            error=matches != scored.mated,
            scored=scored,
        )

    @property
    def cells(self) -> int:
        """How many cells belong to groups."""
        return 2 * len(self.names)

    def rates(self, weight: FloatArray) -> FloatArray:
        """Return the error rate of each cell; NaN where it is empty under these weights."""
        trials = np.bincount(self.cell, weight, self.cells + 1)[:-1]
        errors = np.bincount(self.cell, weight * self.error, self.cells + 1)[:-1]
        rates = np.full(self.cells, np.nan)
        np.divide(errors, trials, out=rates, where=trials > 0)
        return rates

    def counted(self, draws: FloatArray) -> list[GroupRates]:
        """Return the rates of each group; ``draws`` has shape (rounds, cells)."""
        return [
            GroupRates(
                attribute=self.attribute,
                group=name,
                people=self._people(number),
                rates={
                    RateName.FMR: self._counted(2 * number, draws),
                    RateName.FNMR: self._counted(2 * number + 1, draws),
                },
            )
            for number, name in enumerate(self.names)
        ]

    def _people(self, group: int) -> int:
        inside = self.cell // 2 == group
        return len(np.unique([self.scored.subject_a[inside], self.scored.subject_b[inside]]))

    def _counted(self, cell: int, draws: FloatArray) -> CountedRate | None:
        """Return the rate of a cell; None below five people, whose rate is nobody's business."""
        here = self.cell == cell
        people = len(np.unique([self.scored.subject_a[here], self.scored.subject_b[here]]))
        if people < MIN_INTERVAL_SUBJECTS and self.attribute:
            return None
        errors, trials = int(self.error[here].sum()), int(here.sum())
        mated = cell % 2 == 1
        # What is independent of each other: people, or pairs of people.
        units = people if mated else len(np.unique(self.scored.subject_pair[here]))
        low, high = (float(edge) for edge in interval_edges(draws[:, cell], max(people, 2)))
        return CountedRate(
            errors=errors,
            trials=trials,
            people=units,
            measured=measured_rate(
                errors / trials,
                (low, high),
                errors=errors,
                trials=trials,
                people=units,
                kind="false non-matches" if mated else "false matches",
            ),
        )


def _disparities(groups: Sequence[GroupRates]) -> tuple[Disparity, ...]:
    """Compare the groups of each attribute, rate by rate, where two of them have one."""
    found: list[Disparity] = []
    for attribute in dict.fromkeys(group.attribute for group in groups):
        for name in RateName:
            rates = {
                group.group: rate
                for group in groups
                if group.attribute == attribute and (rate := group.rates[name]) is not None
            }
            # Where nobody erred, there is nothing to compare.
            if len(rates) > 1 and any(rate.errors for rate in rates.values()):
                found.append(_disparity(attribute, name, rates))
    return tuple(found)


def _disparity(attribute: str, name: RateName, rates: Mapping[str, CountedRate]) -> Disparity:
    # Where no error was made, half a one stands in; of few trials it must not become the worst.
    worst = max(rates, key=lambda group: (rates[group].errors > 0, rates[group].smoothed))
    mean = math.exp(math.fsum(math.log(rate.smoothed) for rate in rates.values()) / len(rates))
    return Disparity(
        attribute=attribute,
        rate=name,
        worst=worst,
        ratio=rates[worst].smoothed / mean,
        few=rates[worst].errors < RULE_OF_30,
    )
