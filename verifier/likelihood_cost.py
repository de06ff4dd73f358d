"""What likelihood ratios cost whoever acts on them: Cllr, and the part that calibration wastes.

Both in bits a trial: 0 perfect, 1 what a ratio of 1 for everything costs, more is misleading.
Brümmer & du Preez, Computer Speech & Language 20 (2006) 230-275.
"""

import math

import numpy as np

from verifier.arrays import Flags, FloatArray
from verifier.error_rates import RankedTrials
from verifier.errors import TooFewTrialsError


def trial_costs(log10_lr: FloatArray, mated: Flags) -> FloatArray:
    """Return the cost of each trial in bits, shape (n,): log2(1 + 1/LR) mated, log2(1 + LR) not."""
    against_truth = np.where(mated, -log10_lr, log10_lr)
    # logaddexp, because log(1 + exp(x)) overflows on strong evidence.
    return np.asarray(np.logaddexp(0, against_truth * math.log(10)) / math.log(2), np.float64)


def cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """Return the log-likelihood-ratio cost in bits.

    Parameters
    ----------
    mated, non_mated
        log10 likelihood ratios, shapes (n,) and (m,), one per completed trial.

    Raises
    ------
    TooFewTrialsError
        If either is empty: the cost is then undefined, not zero.
    """
    is_mated = np.repeat([True, False], [mated.size, non_mated.size])
    return mean_cost(trial_costs(np.concatenate([mated, non_mated]), is_mated), is_mated)


def mean_cost(costs: FloatArray, mated: Flags, weight: FloatArray | None = None) -> float:
    """Return the Cllr of trials whose costs are known: half of either kind's mean.

    Under many weightings of the same trials only this has to be done again.

    Parameters
    ----------
    costs
        What `trial_costs` returned, shape (n,).
    weight
        Counts each trial so often, shape (n,).

    Raises
    ------
    TooFewTrialsError
        If no mated or no non-mated trial has any weight.
    """
    counts = np.ones(len(costs)) if weight is None else weight
    sizes = float(counts[mated].sum()), float(counts[~mated].sum())
    if min(sizes) <= 0:
        raise TooFewTrialsError(f"{sizes[0]:g} mated, {sizes[1]:g} non-mated trials")
    sums = counts[mated] @ costs[mated], counts[~mated] @ costs[~mated]
    return float(sums[0] / sizes[0] + sums[1] / sizes[1]) / 2


def min_cllr(trials: RankedTrials) -> float:
    """Return the Cllr left when scores become ratios by the best rising function of them.

    That function is found on the very same trials by pooling adjacent violators, so it is
    optimistic, the more so the fewer the trials: 0 says that they are separable, not that
    others will be.

    Raises
    ------
    TooFewTrialsError
        If there is no mated or no non-mated trial.
    """
    points = trials.operating_points()
    # Per group of equal score, the most alike first: which share of each kind lies in it.
    mated = -np.diff(points.false_non_matches)
    non_mated = np.diff(points.false_matches)
    mated, non_mated = pool_adjacent_violators(mated[::-1], non_mated[::-1])
    u, v = mated / points.mated, non_mated / points.non_mated
    # In a pool LR = u / v, so its mated trials cost log2(1 + v/u) each and the others
    # log2(1 + u/v). An empty kind costs nothing: the limit of u log u at 0.
    return float((_share_cost(u, v) + _share_cost(v, u)).sum() / 2)


def pool_adjacent_violators(
    mated: FloatArray, non_mated: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Merge neighbours until the share of mated trials rises from group to group.

    Parameters
    ----------
    mated, non_mated
        Counts, shape (k,), per group of equal score, rising; no group may be empty.

    Returns
    -------
    tuple
        Counts per pool, shapes (j,) with j <= k: the isotonic regression of the labels has
        ``mated / (mated + non_mated)`` in each (Ayer et al., Ann. Math. Stat. 26 (1955) 641-647).
    """
    pools: list[tuple[float, float]] = []
    for group in zip(*_runs(mated, non_mated), strict=True):
        k, m = group
        # Not above the pool before it, cross-multiplied: k / (k + m) <= k0 / (k0 + m0).
        while pools and k * pools[-1][1] <= pools[-1][0] * m:
            k0, m0 = pools.pop()
            k, m = k + k0, m + m0
        pools.append((k, m))
    pooled = np.array(pools, np.float64)
    return pooled[:, 0], pooled[:, 1]


def _runs(mated: FloatArray, non_mated: FloatArray) -> tuple[list[float], list[float]]:
    """Merge neighbours that hold one kind only, which end in one pool anyway; most do."""
    kind = np.select([non_mated == 0, mated == 0], [1, -1], 0)
    starts = np.flatnonzero(np.append(True, (kind[1:] != kind[:-1]) | (kind[1:] == 0)))
    return np.add.reduceat(mated, starts).tolist(), np.add.reduceat(non_mated, starts).tolist()


def _share_cost(share: FloatArray, other: FloatArray) -> FloatArray:
    """Return ``share * log2(1 + other / share)``, 0 where the share is 0."""
    held = share > 0
    ratio = np.divide(other, share, out=np.zeros_like(share), where=held)
    return np.asarray(share * np.log2(1 + ratio), np.float64)
