"""The picture of a calibration: scores of both kinds, and the line fitted to them with its caps.

A PNG, drawn as those of `pipelines.score_plots` are.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.calibration import FittedCalibration
from pipelines.face_pairs import ScoredPairs
from pipelines.score_plots import (
    BINS,
    INK,
    MATED_COLOUR,
    NON_MATED_COLOUR,
    bare,
    draw_histograms,
    new_figure,
    png,
)
from verifier.arrays import FloatArray
from verifier.comparison import DEFAULT_RULES, OutcomeRules
from verifier.subject_bootstrap import interval_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES: Final = (5.2, 5.6)  # at 390 px a point is a pixel wide, so that 9 pt can still be read
_STEPS: Final = 400


def calibration_picture(
    scored: ScoredPairs, fitted: FittedCalibration, rules: OutcomeRules = DEFAULT_RULES
) -> bytes:
    """Return a PNG: above, how scores are distributed; below, what each score says."""
    figure = new_figure(_INCHES)
    above, below = (bare(axes) for axes in figure.subplots(2, 1, sharex=True, height_ratios=(2, 3)))
    low, high = float(scored.score.min()), float(scored.score.max())
    margin = max(0.02 * (high - low), 1e-4)
    scores = np.linspace(low - margin, high + margin, _STEPS)
    _draw_scores(above, scored, scores)
    _draw_line(below, fitted, scores, rules)
    return png(figure)


def _draw_scores(axes: "Axes", scored: ScoredPairs, scores: FloatArray) -> None:
    edges = np.linspace(scores[0], scores[-1], BINS + 1)
    draw_histograms(axes, scored.score[scored.mated], scored.score[~scored.mated], edges=edges)
    axes.set_ylabel("density", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def _draw_line(
    axes: "Axes", fitted: FittedCalibration, scores: FloatArray, rules: OutcomeRules
) -> None:
    calibration = fitted.calibration
    lines = fitted.draws[:, :1] * scores + fitted.draws[:, 1:]
    low, high = interval_edges(lines, calibration.data.mated_subjects)
    line = calibration.slope * scores + calibration.intercept
    axes.fill_between(scores, low, high, color=INK, alpha=0.12, lw=0, label="other people, 95 %")
    axes.plot(scores, line, color=INK, lw=1, ls=(0, (3, 2)), label="fitted line")
    capped = calibration.log10_lrs(scores)
    axes.plot(scores, capped, color=INK, lw=2.2, label="with caps: what counts")
    for limit, colour, name in (
        (rules.match_from_log10_lr, MATED_COLOUR, "match from"),
        (rules.no_match_to_log10_lr, NON_MATED_COLOUR, "no match to"),
    ):
        axes.axhline(limit, color=colour, lw=1, label=f"{name} {limit:g}")
    axes.axhline(0, color="#000000", alpha=0.15, lw=0.8)
    reach = max(3.0, calibration.max_log10_lr + 0.7, 0.7 - calibration.min_log10_lr)
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("comparison score (higher: more alike)", fontsize=9)
    axes.set_ylabel("log10 likelihood ratio", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
