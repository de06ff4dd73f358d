"""How well faces are told apart, from scored pairs: rates with intervals, and what they rest on.

Start with `evaluate`. How each figure is computed is told in docs/evaluation.md.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.pip_download import Silent
from pipelines.evaluation_result import Evaluation, Note
from pipelines.face_pairs import EmbeddedPictures, ScoredPairs
from pipelines.picture_lists import PictureList
from verifier.arrays import FloatArray
from verifier.calibration import AnyCalibration, Calibration
from verifier.error_rates import RankedTrials, rank_trials
from verifier.likelihood_cost import mean_cost, min_cllr, trial_costs
from verifier.measured_rate import measured_eer, measured_fnmr
from verifier.protocols import ProgressSink
from verifier.subject_bootstrap import MIN_INTERVAL_SUBJECTS, Interval, subject_intervals

FMR_TARGETS: Final = (1e-2, 1e-3, 1e-4)
DEFAULT_ROUNDS: Final = 1000

# With fewer people the bootstrap itself is rough; a customary size for a cluster bootstrap.
_ENOUGH_SUBJECTS: Final = 30


def evaluate(
    listed: PictureList,
    embedded: EmbeddedPictures,
    scored: ScoredPairs,
    *,
    calibration: AnyCalibration | None = None,
    rounds: int = DEFAULT_ROUNDS,
    seed: int = 0,
    progress: ProgressSink | None = None,
) -> Evaluation:
    """Measure how well the scores tell people apart.

    Parameters
    ----------
    calibration
        Turns scores into ratios, whose cost is then told; None leaves that out.
    rounds
        Of the bootstrap over subjects; 0 gives no intervals.

    Raises
    ------
    ContractMismatchError
        If the calibration is for another contract or metric.
    """
    if calibration is not None:
        calibration.require_fits(scored.contract_id, scored.metric)
    fitted = calibration if isinstance(calibration, Calibration) else None
    trials = rank_trials(scored.score, scored.mated)
    costs = None if fitted is None else _costs(scored, trials, fitted)
    people = _People.of(scored)
    drawn = rounds if people.mated_subjects >= MIN_INTERVAL_SUBJECTS else 0
    intervals = (
        _intervals(scored, trials, costs, rounds=drawn, seed=seed, sink=progress or Silent())
        if drawn > 0
        else _Intervals()
    )
    points = trials.operating_points()
    return Evaluation(
        listed=listed,
        embedded=embedded,
        scored=scored,
        subjects=people.subjects,
        mated_subjects=people.mated_subjects,
        subject_pairs=people.pairs,
        points=points,
        eer=measured_eer(
            points, intervals.eer, people=people.mated_subjects, independent=people.disjoint_mated
        ),
        fnmr_at=tuple(
            measured_fnmr(
                points,
                target,
                interval,
                people=people.mated_subjects,
                independent=people.disjoint_mated,
            )
            for target, interval in zip(FMR_TARGETS, intervals.fnmr_at, strict=True)
        ),
        cllr=None if costs is None else mean_cost(costs, trials.mated),
        cllr_interval=intervals.cllr,
        min_cllr=min_cllr(trials),
        calibration=fitted,
        rounds=drawn,
        seed=seed,
        data_sha256=data_digest(listed, embedded),
        notes=tuple(_notes(listed, scored, people, fitted)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _People:
    """How many people stand behind the completed comparisons.

    ``disjoint_mated``: mated comparisons of which no two share a picture.
    """

    subjects: int
    mated_subjects: int
    pairs: int
    disjoint_mated: int

    @classmethod
    def of(cls, scored: ScoredPairs) -> "_People":
        return cls(
            subjects=len(np.union1d(scored.subject_a, scored.subject_b)),
            mated_subjects=len(np.unique(scored.subject_a[scored.mated])),
            pairs=len(np.unique(scored.subject_pair[~scored.mated])),
            disjoint_mated=_disjoint_mated(scored),
        )


def _disjoint_mated(scored: ScoredPairs) -> int:
    """Count mated comparisons that share no picture, each taken where the earlier ones let it.

    Of all pairs of n pictures that is n // 2.
    """
    taken: set[int] = set()
    first, second = scored.picture_a[scored.mated], scored.picture_b[scored.mated]
    for pair in zip(first.tolist(), second.tolist(), strict=True):
        if taken.isdisjoint(pair):
            taken.update(pair)
    return len(taken) // 2


def _costs(scored: ScoredPairs, trials: RankedTrials, calibration: Calibration) -> FloatArray:
    """Return the cost of each trial's ratio in bits, by rank."""
    return trial_costs(calibration.log10_lrs(scored.score), scored.mated)[trials.order]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intervals:
    """Intervals of EER, of FNMR at each target, and of Cllr; None where there is none."""

    eer: Interval | None = None
    fnmr_at: tuple[Interval | None, ...] = (None,) * len(FMR_TARGETS)
    cllr: Interval | None = None


def _intervals(
    scored: ScoredPairs,
    trials: RankedTrials,
    costs: FloatArray | None,
    *,
    rounds: int,
    seed: int,
    sink: ProgressSink,
) -> _Intervals:
    """Draw people for the intervals; that of Cllr needs costs, by rank."""

    def statistics(weight: FloatArray) -> Sequence[float]:
        points = trials.operating_points(weight)
        missed = [points.false_non_matches[points.within_fmr(t)] for t in FMR_TARGETS]
        rates = [points.equal_error_rate(), *(each / points.mated for each in missed)]
        return rates if costs is None else [*rates, mean_cost(costs, trials.mated, weight)]

    eer, *others = subject_intervals(
        statistics,
        subject_a=scored.subject_a[trials.order],
        subject_b=scored.subject_b[trials.order],
        mated=trials.mated,
        rounds=rounds,
        seed=seed,
        on_round=_reporting(sink, rounds),
    )
    at = len(FMR_TARGETS)
    return _Intervals(
        eer=eer, fnmr_at=tuple(others[:at]), cllr=None if costs is None else others[at]
    )


def _reporting(sink: ProgressSink, rounds: int) -> Callable[[int], None]:
    return lambda done: sink.update("bootstrap", done, rounds)


def _notes(
    listed: PictureList, scored: ScoredPairs, people: _People, calibration: Calibration | None
) -> Iterator[Note]:
    """Say what would mislead a reader who looks at the figures alone."""
    few = people.mated_subjects
    if few < MIN_INTERVAL_SUBJECTS:
        yield Note(
            chinese=f"只有 {few} 人有同人比对，不给区间；至少要 {MIN_INTERVAL_SUBJECTS} 人",
            english=f"{few} people with mated pairs: no intervals, {MIN_INTERVAL_SUBJECTS} wanted",
        )
    elif few < _ENOUGH_SUBJECTS:
        yield Note(
            chinese=f"只有 {few} 人有同人比对，区间本身也粗略；最好有 {_ENOUGH_SUBJECTS} 人以上",
            english=f"{few} people with mated pairs: intervals from drawing so few are themselves"
            f" rough, {_ENOUGH_SUBJECTS} wanted",
        )
    if listed.subjects_inferred:
        yield Note(
            chinese="表中没有 subject_a、subject_b：由同人比对推断谁是谁，其余每张图片各算一人",
            english="no subject_a and subject_b: people follow from mated pairs, and a picture in"
            " none of them counts as a person of its own",
        )
    compared, available = int((~scored.mated).sum()), scored.non_mated_available
    if compared < available:
        yield Note(
            chinese=f"异人比对共 {available:,} 对，随机抽取 {compared:,} 对",
            english=f"{compared:,} non-mated comparisons, drawn at random of {available:,}",
        )
    if calibration is None:
        yield Note(
            chinese="此模板契约尚未校准：没有似然比，也没有 Cllr",
            english="no calibration for this contract: no likelihood ratios, no Cllr",
        )


def data_digest(listed: PictureList, embedded: EmbeddedPictures) -> str:
    """Return the SHA-256 that names what was evaluated, whatever the files are called.

    Of sorted lines: for each decoded picture ``PIXELS SUBJECT``, for each listed pair ``pair
    PIXELS PIXELS``. Pixels are named by their digest in hexadecimal, a subject by the smallest
    of its pictures' digests.
    """
    digests = ["" if each is None else each.hex() for each in embedded.pixels_sha256]
    subject: dict[str, str] = {}
    for picture, digest in zip(embedded.pictures, digests, strict=True):
        if digest:
            subject[picture.subject] = min(digest, subject.get(picture.subject, digest))
    lines = [
        f"{digest} {subject[picture.subject]}\n"
        for picture, digest in zip(embedded.pictures, digests, strict=True)
        if digest
    ]
    for pair in () if listed.pairs is None else listed.pairs:
        low, high = sorted(digests[at] for at in pair)
        lines.append(f"pair {low} {high}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
