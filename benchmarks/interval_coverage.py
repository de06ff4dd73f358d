"""How often an interval of `verifier.measured_rate` holds the true rate: simulated people.

``python -m benchmarks.interval_coverage --rounds 400``: FNMR of 20, 40 and 100 people with 4 or 10
pictures each, all pairs of a person, at true rates of 0.5 to 5 %. Two ways to be unalike:
``normal``, scores with a part that belongs to the person and one that belongs to each picture;
``goats``, one person in twenty fails twenty times as often as the others. Four rules side by side.
Runs without an error count too: what is bounded there must hold the rate as well.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb, sqrt
from pathlib import Path
from statistics import NormalDist, median
from typing import Any, Final, TypeAlias

import numpy as np

from benchmarks.publication import publish
from verifier.arrays import Flags, IndexArray
from verifier.measured_rate import measured_rate, rule_of_three, upper_bound
from verifier.subject_bootstrap import Interval, interval_edges

PEOPLE: Final = (20, 40, 100)
PICTURES: Final = (4, 10)
RATES: Final = (0.005, 0.01, 0.02, 0.05)
# Shares of a score's variance that belong to the person and to each of the two pictures.
NORMAL: Final = {"normal .15/.25": (0.15, 0.25), "normal .6/.1": (0.6, 0.1)}
GOATS: Final = "goats"
GOAT_SHARE: Final = 0.05
GOAT_FACTOR: Final = 20.0
DRAWS: Final = 300

Bounds: TypeAlias = Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One crowd: how its people differ, how many there are, and how often they fail."""

    population: str
    people: int
    pictures: int
    rate: float

    @property
    def trials(self) -> int:
        """Mated comparisons of one person."""
        return comb(self.pictures, 2)

    def errors(self, generator: np.random.Generator) -> IndexArray:
        """Return how many comparisons of each person fail, shape (people,)."""
        if self.population == GOATS:
            sheep = self.rate / (1 + GOAT_SHARE * (GOAT_FACTOR - 1))
            is_goat = generator.random(self.people) < GOAT_SHARE
            chance = np.where(is_goat, GOAT_FACTOR * sheep, sheep)
            return generator.binomial(self.trials, chance).astype(np.int32)
        person, picture = NORMAL[self.population]
        own = generator.normal(0, sqrt(person), (self.people, 1))
        each = generator.normal(0, sqrt(picture), (self.people, self.pictures))
        first, second = np.array(list(combinations(range(self.pictures), 2))).T
        rest = generator.normal(0, sqrt(1 - person - 2 * picture), (self.people, self.trials))
        score = own + each[:, first] + each[:, second] + rest
        failed: Flags = score < NormalDist().inv_cdf(self.rate)
        return np.asarray(failed.sum(axis=1), np.int32)


def bounds(cell: Cell, errors: IndexArray, generator: np.random.Generator) -> Bounds:
    """Return the interval of each rule for the errors of each person."""
    trials = cell.people * cell.trials
    value, disjoint = float(errors.sum()) / trials, cell.people * (cell.pictures // 2)
    weight = generator.multinomial(cell.people, [1 / cell.people] * cell.people, size=DRAWS)
    low, high = (float(edge) for edge in interval_edges(weight @ errors / trials, cell.people))
    of_people = rule_of_three(cell.people)
    rate = measured_rate(
        value,
        (low, high),
        errors=int(errors.sum()),
        trials=trials,
        people=cell.people,
        kind="false non-matches",
        independent=disjoint,
    )
    return {
        "draws alone": (low, high if value else of_people),
        "3 / people": (low, max(high, of_people)),
        "Wilson, people": (low, max(high, upper_bound(value, cell.people))),
        "measured_rate": (rate.low or 0.0, rate.high or 0.0),
    }


def run(rounds: int, seed: int) -> dict[str, Any]:
    """Simulate every crowd so often; tell how often each rule held, and how far it reached."""
    generator = np.random.default_rng(seed)
    cells = [
        _covered(
            Cell(population=name, people=people, pictures=pictures, rate=rate), rounds, generator
        )
        for name in (*NORMAL, GOATS)
        for people in PEOPLE
        for pictures in PICTURES
        for rate in RATES
    ]
    return {"rounds": rounds, "seed": seed, "cells": cells}


def _covered(cell: Cell, rounds: int, generator: np.random.Generator) -> dict[str, Any]:
    found = [bounds(cell, cell.errors(generator), generator) for _ in range(rounds)]
    rules = {
        rule: {
            "held": sum(each[rule][0] <= cell.rate <= each[rule][1] for each in found),
            "median_high": median(each[rule][1] for each in found),
        }
        for rule in found[0]
    }
    named = {name: getattr(cell, name) for name in ("population", "people", "pictures", "rate")}
    return {**named, "rules": rules}


def table(report: dict[str, Any]) -> str:
    """Return for each population and rule: share held, in the worst crowd, and typical reach."""
    return "\n".join(_lines(report))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    rounds = report["rounds"]
    yield f"{'population':16}{'rule':16}{'held':>16}{'worst crowd':>13}{'median high':>13}"
    for population in (*NORMAL, GOATS):
        cells = [cell for cell in report["cells"] if cell["population"] == population]
        for rule in cells[0]["rules"]:
            held = [cell["rules"][rule]["held"] for cell in cells]
            high = sum(cell["rules"][rule]["median_high"] for cell in cells) / len(cells)
            total = f"{sum(held)} / {rounds * len(cells)}"
            worst = f"{100 * min(held) / rounds:.1f} %"
            yield f"{population:16}{rule:16}{total:>16}{worst:>13}{100 * high:>11.2f} %"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    report = run(options.rounds, options.seed)
    publish(report, table(report), options.json)


if __name__ == "__main__":
    main()
