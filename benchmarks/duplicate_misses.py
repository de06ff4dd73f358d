"""What a search for duplicates misses, and what it may promise, by the size of the gallery.

``python -m benchmarks.duplicate_misses --folder FOLDER``, FOLDER/person/photograph.
The points are those at which the service opens a case, with the default calibration and, unless
``--false-cases`` says otherwise, policy; misses are mated pairs of the photographs that lie below,
false hits non-mated pairs above.
"""

import argparse
from pathlib import Path
from typing import Any, Final

from platformdirs import user_cache_path

from benchmarks.publication import publish
from models.installation import install
from models.observer import open_observer
from models.packs import find_pack
from pipelines.face_pairs import ScoredPairs, embed_pictures, score_pairs
from pipelines.picture_lists import read_folder
from verifier.calibration import DEFAULT_CALIBRATION, Metric
from verifier.identification import misses, operating_point, pairs_wanted
from verifier.policy import default_policy

SIZES: Final = (1, 100, 10_000, 100_000, 1_000_000)


def run(folder: Path, cache: Path, wanted: float) -> dict[str, Any]:
    """Measure every size on the same pairs."""
    observer = open_observer(install(find_pack("default"), cache))
    listed = read_folder(folder)
    embedded = embed_pictures(listed.pictures, observer)
    scored = score_pairs(embedded, listed, metric=Metric.L2)
    return {
        "folder": folder.name,
        "people": len(scored.subjects),
        "calibration": DEFAULT_CALIBRATION.label,
        "false_cases_per_enrolment": wanted,
        "points": [_point(size, scored, wanted) for size in SIZES],
    }


def _point(size: int, scored: ScoredPairs, wanted: float) -> dict[str, Any]:
    point = operating_point(DEFAULT_CALIBRATION, gallery_size=size, false_hits=wanted)
    missed = misses(scored.score[scored.mated], point.comparison_score)
    non_mated = scored.score[~scored.mated]
    return {
        "gallery_size": size,
        "log10_lr": point.log10_lr,
        "comparison_score": point.comparison_score,
        "misses": missed.misses,
        "mated": missed.searches,
        "false_hits": int((non_mated >= point.comparison_score).sum()),
        "non_mated": int(non_mated.size),
        "expected_false": point.false_hits,
        "false_bound": point.false_hits_bound,
        "fpir_bound": point.fpir_bound,
        "pairs_for_fpir_5_percent": pairs_wanted(0.05, size),
    }


def table(report: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [
        f"{report['people']} people of {report['folder']}; {report['calibration']}",
        f"{'people':>9} {'log10 LR':>8} {'distance':>8} {'misses':>9} {'false hits':>10}"
        f" {'expected':>9} {'claimable':>11} {'pairs for 5 %':>14}",
    ]
    for row in report["points"]:
        missed = f"{row['misses']}/{row['mated']}"
        wrong = f"{row['false_hits']}/{row['non_mated']}"
        lines.append(
            f"{row['gallery_size']:>9,} {row['log10_lr']:>8.1f}"
            f" {1 - row['comparison_score']:>8.3f} {missed:>9} {wrong:>10}"
            f" {row['expected_false']:>9.2g} {row['false_bound']:>11,.2f}"
            f" {row['pairs_for_fpir_5_percent']:>14,}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="person/photograph")
    policy = default_policy().duplicates.false_cases_per_enrolment
    parser.add_argument("--false-cases", type=float, default=policy, help="per enrolment")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--cache-dir", type=Path, default=user_cache_path("zhenxue"))
    arguments = parser.parse_args()
    report = run(arguments.folder, arguments.cache_dir, arguments.false_cases)
    publish(report, table(report), arguments.json)


if __name__ == "__main__":
    main()
