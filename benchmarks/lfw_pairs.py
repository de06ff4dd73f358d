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
from numpy.typing import NDArray
from platformdirs import user_cache_path

from benchmarks.publication import publish
from benchmarks.stock_steps import StockSteps, stock_weights
from models.image_decoder import decode_image
from models.installation import install
from models.observer import open_observer
from models.packs import find_pack
from verifier.arrays import Float32Array, FloatArray
from verifier.comparison import DEFAULT_CALIBRATION, ComparisonOutcome, Template, compare
from verifier.errors import InputError

TOLERANCE: Final = 0.6  # the distance `face_recognition` made customary
PICTURES: Final = (".jpg", ".jpeg", ".png")
BOOTSTRAP_ROUNDS: Final = 2000

Vectors: TypeAlias = Sequence[Float32Array | None]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All completed comparisons of one pipeline.

    ``first`` and ``second`` index the photographs; ``mated`` says whether a pair shows one
    person; all have shape (n,).
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    distance: FloatArray
    mated: Flags


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
    seen = np.array([index for index, vector in enumerate(vectors) if vector is not None])
    low, high = np.triu_indices(len(seen), k=1)
    first, second = seen[low], seen[high]
    stacked = np.array([vector for vector in vectors if vector is not None], dtype=np.float64)
    names = np.array(people)
    return Pairs(
        first=first,
        second=second,
        distance=np.linalg.norm(stacked[low] - stacked[high], axis=1),
        mated=names[first] == names[second],
    )


def equal_error_rate(pairs: Pairs, weight: FloatArray | None = None) -> float:
    """Return the rate at which false matches and false non-matches are equally frequent.

    Interpolated between the two neighbouring thresholds. ``weight``, shape (n,), counts each
    pair so often.
    """
    order = np.argsort(pairs.distance, kind="stable")
    counts = (np.ones(len(order)) if weight is None else weight)[order]
    mated = np.where(pairs.mated[order], counts, 0.0)
    non_mated = counts - mated
    fnmr = np.concatenate(([1.0], 1 - np.cumsum(mated) / mated.sum()))
    fmr = np.concatenate(([0.0], np.cumsum(non_mated) / non_mated.sum()))
    after = int(np.argmax(fmr >= fnmr))
    gap_before, gap_after = fnmr[after - 1] - fmr[after - 1], fmr[after] - fnmr[after]
    share = gap_before / (gap_before + gap_after)
    return float(fmr[after - 1] + share * (fmr[after] - fmr[after - 1]))


def separation(pipeline: str, vectors: Vectors, people: Sequence[str]) -> Separation:
    """Measure one pipeline."""
    pairs = all_pairs(vectors, people)
    mated, non_mated = pairs.distance[pairs.mated], pairs.distance[~pairs.mated]
    spread = np.sqrt((mated.var() + non_mated.var()) / 2)
    return Separation(
        pipeline=pipeline,
        photographs=len(people),
        failed_to_acquire=sum(vector is None for vector in vectors),
        mated=len(mated),
        non_mated=len(non_mated),
        eer=equal_error_rate(pairs),
        false_non_matches=int((mated > TOLERANCE).sum()),
        false_matches=int((non_mated <= TOLERANCE).sum()),
        d_prime=float((non_mated.mean() - mated.mean()) / spread),
    )


def eer_difference(
    ours: Vectors, stock: Vectors, people: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of our EER minus that of the stock steps.

    Whole people are drawn with replacement, because pairs of one person are not independent.
    With few people the interval is itself rough.
    """
    generator = np.random.default_rng(seed)
    names, person = np.unique(np.array(people), return_inverse=True)
    both = all_pairs(ours, people), all_pairs(stock, people)
    differences: list[float] = []
    while len(differences) < BOOTSTRAP_ROUNDS:
        drawn = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        if np.count_nonzero(drawn) < 2:
            continue  # one person alone has no non-mated pair
        eers = [equal_error_rate(pairs, _weights(pairs, person, drawn)) for pairs in both]
        differences.append(eers[0] - eers[1])
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), float(high)


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


def run(folder: Path, cache_dir: Path) -> dict[str, Any]:
    """Measure both pipelines on the photographs of ``folder`` and return the figures."""
    photographs = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in PICTURES)
    people = [path.parent.name for path in photographs]
    if len(set(people)) < 2:
        raise InputError(f"{folder.name}: {len(set(people))} people, at least 2 wanted")
    observer = open_observer(install(find_pack("default"), cache_dir))
    stock_steps = StockSteps(stock_weights(cache_dir))
    ours: list[Float32Array | None] = []
    stock: list[Float32Array | None] = []
    for path in photographs:
        pixels = decode_image(path.read_bytes()).pixels
        faces = observer.observe(pixels).faces
        ours.append(faces[0].embedding if faces else None)
        stock.append(stock_steps.embed_largest(pixels))
    return {
        "folder": folder.name,
        "people": len(set(people)),
        "contract": observer.contract_id,
        "pipelines": [
            separation("zhenxue", ours, people).to_json(),
            separation("stock", stock, people).to_json(),
        ],
        "eer_difference_95": list(eer_difference(ours, stock, people)),
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


def _weights(pairs: Pairs, person: NDArray[np.intp], drawn: NDArray[np.intp]) -> FloatArray:
    """Return how often each pair occurs when person i was drawn ``drawn[i]`` times.

    A person drawn twice is not compared with their own copy: those pairs would be neither.
    """
    first, second = drawn[person[pairs.first]], drawn[person[pairs.second]]
    return np.where(pairs.mated, first, first * second).astype(np.float64)


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
