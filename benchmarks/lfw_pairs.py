"""Whether the vectors of this pipeline separate people as well as those of the stock steps.

``python -m benchmarks.lfw_pairs --folder FOLDER --json OUT``, where FOLDER/person/photograph:
all pairs of the photographs in one run, both pipelines on the same pixels, the largest face of
each photograph.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from platformdirs import user_cache_path

from benchmarks.frame_speed import PICTURES
from benchmarks.publication import publish
from benchmarks.stock_steps import StockSteps, stock_weights
from models.image_decoder import decode_image
from models.installation import install
from models.observer import open_observer
from models.packs import find_pack
from pipelines.face_pairs import comparison_scores
from verifier.arrays import Flags, Float32Array, FloatArray, IndexArray
from verifier.calibration import DEFAULT_CALIBRATION, Metric
from verifier.comparison import ComparisonOutcome, Template, compare
from verifier.error_rates import RankedTrials, rank_trials
from verifier.errors import InputError
from verifier.subject_bootstrap import Interval, drawn_weights, interval_edges

TOLERANCE: Final = 0.6  # the distance `face_recognition` made customary
BOOTSTRAP_ROUNDS: Final = 2000

Vectors: TypeAlias = Sequence[Float32Array | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All completed comparisons of one pipeline.

    ``first`` and ``second`` index the photographs; ``mated`` says whether a pair shows one
    person; ``trials`` has the scores, 1 - distance, in order. All have shape (n,).
    """

    first: IndexArray
    second: IndexArray
    score: FloatArray
    mated: Flags
    trials: RankedTrials


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well one pipeline separates the people of a folder; rates with their counts."""

    pipeline: str
    photographs: int
    failed_to_acquire: int
    mated: int
    non_mated: int
    eer: float
    false_non_matches: int  # mated pairs beyond the tolerance
    false_matches: int  # non-mated pairs within it
    d_prime: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def all_pairs(vectors: Vectors, people: Sequence[str]) -> Pairs:
    """Compare every photograph with every other; those without a face complete no comparison."""
    seen = np.array([index for index, vector in enumerate(vectors) if vector is not None], np.int32)
    low, high = np.triu_indices(len(seen), k=1)
    stacked = np.array([vector for vector in vectors if vector is not None], np.float32)
    score = comparison_scores(stacked[low], stacked[high], Metric.L2)
    names = np.array(people)
    first, second = seen[low], seen[high]
    mated = names[first] == names[second]
    return Pairs(
        first=first, second=second, score=score, mated=mated, trials=rank_trials(score, mated)
    )


def separation(pipeline: str, pairs: Pairs, vectors: Vectors) -> Separation:
    """Measure one pipeline; ``vectors`` are those of photographs or probes, None for no face."""
    mated, non_mated = pairs.score[pairs.mated], pairs.score[~pairs.mated]
    spread = np.sqrt((mated.var() + non_mated.var()) / 2)
    return Separation(
        pipeline=pipeline,
        photographs=len(vectors),
        failed_to_acquire=sum(vector is None for vector in vectors),
        mated=len(mated),
        non_mated=len(non_mated),
        eer=pairs.trials.operating_points().equal_error_rate(),
        false_non_matches=int((mated < 1 - TOLERANCE).sum()),
        false_matches=int((non_mated >= 1 - TOLERANCE).sum()),
        d_prime=float((mated.mean() - non_mated.mean()) / spread),
    )


def crossed_pairs(probes: Vectors, references: Vectors, people: Sequence[str]) -> Pairs:
    """Compare every probe with the reference of every other photograph."""
    first, second = np.array(
        [
            (i, j)
            for i, probe in enumerate(probes)
            for j, reference in enumerate(references)
            if i != j and probe is not None and reference is not None
        ],
        np.int32,
    ).T
    length = next(vector.size for vector in references if vector is not None)
    left, right = (
        np.array([np.zeros(length) if v is None else v for v in vectors], np.float32)
        for vectors in (probes, references)
    )
    names = np.array(people)
    score = comparison_scores(left[first], right[second], Metric.L2)
    mated = names[first] == names[second]
    return Pairs(
        first=first, second=second, score=score, mated=mated, trials=rank_trials(score, mated)
    )


def eer_difference(ours: Pairs, stock: Pairs, people: Sequence[str], seed: int = 0) -> Interval:
    """Return the 95 % bootstrap interval of our EER minus that of the stock steps.

    Whole people are drawn with replacement, because pairs of one person are not independent.
    With few people the interval is itself rough, and wider for it.
    """
    names, person = np.unique(np.array(people), return_inverse=True)
    # The pairs of both side by side, so that each draw is of the same people for both.
    sides = [(person[p.first], person[p.second], p.mated) for p in (ours, stock)]
    first, second, mated = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    weights = drawn_weights(first, second, mated, rounds=BOOTSTRAP_ROUNDS, seed=seed)
    split = len(ours.score)
    differences = [
        _equal_error_rate(ours, weight[:split]) - _equal_error_rate(stock, weight[split:])
        for weight in weights
    ]
    low, high = interval_edges(np.array(differences), len(names))
    return float(low), float(high)


def _equal_error_rate(pairs: Pairs, weight: FloatArray) -> float:
    """Return the EER when each pair counts so often."""
    return pairs.trials.operating_points(weight[pairs.trials.order]).equal_error_rate()


def outcome_counts(
    vectors: Vectors, people: Sequence[str], contract_id: str
) -> dict[str, dict[str, int]]:
    """Count what `verifier.comparison` says of mated and of non-mated pairs."""
    templates = {
        index: Template(contract_id=contract_id, vector=vector)
        for index, vector in enumerate(vectors)
        if vector is not None
    }
    kinds = ("mated", "non_mated")
    counts = {kind: {outcome.value: 0 for outcome in ComparisonOutcome} for kind in kinds}
    pairs = all_pairs(vectors, people)
    for first, second, mated in zip(pairs.first, pairs.second, pairs.mated, strict=True):
        result = compare(templates[int(first)], templates[int(second)], DEFAULT_CALIBRATION)
        counts["mated" if mated else "non_mated"][result.outcome.value] += 1
    return counts


def photographs_of(folder: Path) -> list[Path]:
    """Return every person/photograph of a folder; ``InputError`` below two people."""
    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in PICTURES)
    people = {path.parent for path in found}
    if len(people) < 2:
        raise InputError(f"{folder.name}: {len(people)} people, at least 2 wanted")
    return found


def run(folder: Path, cache_dir: Path) -> dict[str, Any]:
    """Measure both pipelines on the photographs of ``folder`` and return the figures."""
    photographs = photographs_of(folder)
    people = [path.parent.name for path in photographs]
    observer = open_observer(install(find_pack("default"), cache_dir))
    stock_steps = StockSteps(stock_weights(cache_dir))
    ours: list[Float32Array | None] = []
    stock: list[Float32Array | None] = []
    for path in photographs:
        pixels = decode_image(path.read_bytes()).pixels
        faces = observer.observe(pixels).faces
        ours.append(faces[0].embedding if faces else None)
        stock.append(stock_steps.embed_largest(pixels))
    our_pairs, stock_pairs = all_pairs(ours, people), all_pairs(stock, people)
    return {
        "folder": folder.name,
        "people": len(set(people)),
        "contract": observer.contract_id,
        "pipelines": [
            separation("zhenxue", our_pairs, ours).to_json(),
            separation("stock", stock_pairs, stock).to_json(),
        ],
        "eer_difference_95": list(eer_difference(our_pairs, stock_pairs, people)),
        "outcomes": outcome_counts(ours, people, observer.contract_id),
    }


def table(report: dict[str, Any]) -> str:
    """Return the figures as text."""
    low, high = (100 * edge for edge in report["eer_difference_95"])
    lines = [
        f"{report['people']} people of {report['folder']}, all pairs, L2 distance",
        f"{'pipeline':10} {'no face':>8} {'EER %':>6} {f'FNMR at {TOLERANCE}':>14} "
        f"{f'FMR at {TOLERANCE}':>14} {'d-prime':>8}",
    ]
    for row in report["pipelines"]:
        misses = f"{row['false_non_matches']}/{row['mated']}"
        false_matches = f"{row['false_matches']}/{row['non_mated']}"
        lines.append(
            f"{row['pipeline']:10} {row['failed_to_acquire']:>3}/{row['photographs']:<4} "
            f"{100 * row['eer']:>6.2f} {misses:>14} {false_matches:>14} {row['d_prime']:>8.2f}"
        )
    lines.append(
        f"EER of zhenxue minus stock, 95 % interval over people: {low:+.2f} to {high:+.2f} points"
    )
    for kind, counts in report["outcomes"].items():
        lines.append(f"{kind}: " + ", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="person/photograph")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    arguments = parser.parse_args()
    report = run(arguments.folder, arguments.cache_dir)
    publish(report, table(report), arguments.json)


if __name__ == "__main__":
    main()
