"""Whether spoilt pictures cost this pipeline more than the stock steps.

``python -m benchmarks.degraded_pairs --folder PERSON/PHOTOGRAPH``: every photograph is spoilt in
one way and compared with every other, clear photograph, by both pipelines on the same pixels in
one run, the largest face of each. Error rates are those of the probes in which both found a face.
Beside them stands what `compare` would say, quality looked at: match / inconclusive / no match.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from platformdirs import user_cache_path

from benchmarks.degradations import Degrade, blurred, jpeg, noise, scaled, side_light, turned
from benchmarks.lfw_pairs import (
    Pairs,
    crossed_pairs,
    eer_difference,
    photographs_of,
    separation,
)
from benchmarks.publication import publish
from benchmarks.stock_steps import StockSteps, stock_weights
from models.image_decoder import decode_image
from models.installation import install
from models.observer import FaceObserver, open_observer
from models.packs import find_pack
from verifier.arrays import Float32Array, Pixels
from verifier.calibration import DEFAULT_CALIBRATION
from verifier.comparison import DEFAULT_RULES, ComparisonOutcome
from verifier.errors import InputError
from verifier.observation import FaceObservation

TARGET_FMR: Final = 0.01

DEGRADATIONS: Final[Mapping[str, Degrade]] = {
    "clear": lambda pixels, _: pixels,
    "turned 20": turned(20.0),
    "turned -30": turned(-30.0),
    "light x 0.35, noise 12": noise(0.35, 12.0),
    "blur 2.3 %": blurred(0.023),  # sigma 2.5 px on a face of 110
    "a third of the size": scaled(1 / 3),
    "JPEG quality 12": jpeg(12),
    "side light 1 : 5": side_light(0.2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What both pipelines make of one picture; vectors are None where no face was found."""

    face: FaceObservation | None
    stock: Float32Array | None

    @property
    def vector(self) -> Float32Array | None:
        """The vector of this pipeline."""
        return None if self.face is None else self.face.embedding


def run(folder: Path, cache_dir: Path) -> dict[str, Any]:
    """Measure every degradation and return the figures."""
    paths = photographs_of(folder)
    people = [path.parent.name for path in paths]
    observer = open_observer(install(find_pack("default"), cache_dir))
    stock = StockSteps(stock_weights(cache_dir))
    pictures = [decode_image(path.read_bytes()).pixels for path in paths]
    clear = [_see(pixels, observer, stock) for pixels in pictures]
    rows = {}
    for name, degrade in DEGRADATIONS.items():
        spoilt = map(partial(_spoilt, degrade), pictures, clear)
        rows[name] = _row([_see(pixels, observer, stock) for pixels in spoilt], clear, people)
    return {
        "folder": folder.name,
        "people": len(set(people)),
        "photographs": len(paths),
        "contract": observer.contract_id,
        "rows": rows,
    }


def _spoilt(degrade: Degrade, pixels: Pixels, seen: Seen) -> Pixels:
    if seen.face is None:
        raise InputError("a photograph without a face; spoiling follows the face")
    return degrade(pixels, seen.face)


def _see(pixels: Pixels, observer: FaceObserver, stock: StockSteps) -> Seen:
    faces = observer.observe(pixels).faces
    return Seen(face=faces[0] if faces else None, stock=stock.embed_largest(pixels))


def _row(probes: Sequence[Seen], clear: Sequence[Seen], people: Sequence[str]) -> dict[str, Any]:
    found = [seen.vector for seen in probes], [seen.stock for seen in probes]
    # Rates over the probes that both found, or whoever misses the worst pictures looks best.
    by_both = [seen.face is not None and seen.stock is not None for seen in probes]
    vectors = [
        [v if both else None for v, both in zip(each, by_both, strict=True)] for each in found
    ]
    ours = crossed_pairs(vectors[0], [seen.vector for seen in clear], people)
    stock = crossed_pairs(vectors[1], [seen.stock for seen in clear], people)
    everybody = crossed_pairs(found[0], [seen.vector for seen in clear], people)
    return {
        "zhenxue": separation("zhenxue", ours, found[0]).to_json() | _fnmr(ours),
        "stock": separation("stock", stock, found[1]).to_json() | _fnmr(stock),
        "eer_difference_95": list(eer_difference(ours, stock, people)),
        "outcomes": _outcomes(everybody, probes, clear),
    }


def _fnmr(pairs: Pairs) -> dict[str, float]:
    points = pairs.trials.operating_points()
    return {"fnmr_at_fmr_0.01": float(points.fnmr[points.within_fmr(TARGET_FMR)])}


def _outcomes(
    pairs: Pairs, probes: Sequence[Seen], clear: Sequence[Seen]
) -> dict[str, dict[str, int]]:
    """Count what `compare` says; an unfit face decides nothing."""
    counts = {"mated": Counter[str](), "non_mated": Counter[str]()}
    for i, j, score, mated in zip(pairs.first, pairs.second, pairs.score, pairs.mated, strict=True):
        faces = probes[i].face, clear[j].face
        unfit = any(face is None or face.quality for face in faces)
        outcome = DEFAULT_RULES.outcome(DEFAULT_CALIBRATION.log10_lr(float(score)))
        said = ComparisonOutcome.INCONCLUSIVE if unfit else outcome
        counts["mated" if mated else "non_mated"][said.value] += 1
    return {kind: dict(found) for kind, found in counts.items()}


def table(report: Mapping[str, Any]) -> str:
    """Return the figures as text: this pipeline / the stock steps."""
    lines = [
        f"{report['people']} people, {report['photographs']} photographs; zhenxue / stock",
        f"{'probe':22}  {'no face':>7}  {'EER %':>11}  {'FNMR % at FMR 1 %':>17}"
        f"  {'EER difference':>16}  {'mated':>14}  {'non-mated':>14}",
    ]
    for name, row in report["rows"].items():
        ours, stock = row["zhenxue"], row["stock"]
        low, high = (100 * edge for edge in row["eer_difference_95"])
        eers = f"{100 * ours['eer']:.2f} / {100 * stock['eer']:.2f}"
        misses = " / ".join(f"{100 * each['fnmr_at_fmr_0.01']:.1f}" for each in (ours, stock))
        missed = f"{ours['failed_to_acquire']} / {stock['failed_to_acquire']}"
        mated, non_mated = (_told(row["outcomes"][kind]) for kind in ("mated", "non_mated"))
        lines.append(
            f"{name:22}  {missed:>7}  {eers:>11}  {misses:>17}"
            f"  {f'{low:+.2f} to {high:+.2f}':>16}  {mated:>14}  {non_mated:>14}"
        )
    return "\n".join(lines)


def _told(counts: Mapping[str, int]) -> str:
    order = (ComparisonOutcome.MATCH, ComparisonOutcome.INCONCLUSIVE, ComparisonOutcome.NO_MATCH)
    return " / ".join(str(counts.get(outcome.value, 0)) for outcome in order)


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
