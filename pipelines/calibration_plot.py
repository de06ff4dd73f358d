"""The picture of a calibration: scores of both kinds, and the line fitted to them with its caps.

A PNG drawn without `pyplot`, which keeps global state, and in English letters only: a server may
have no Chinese font. Matplotlib is imported with the first picture, since it then makes folders
and looks for fonts, which importing this module must not do.
"""

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.calibration import FittedCalibration
from pipelines.face_pairs import ScoredPairs
from pipelines.score_plots import MATED_COLOUR, NON_MATED_COLOUR
from verifier.arrays import FloatArray
from verifier.comparison import DEFAULT_RULES, OutcomeRules
from verifier.subject_bootstrap import tail_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK: Final = "#1d2733"
_INCHES: Final = (5.2, 5.6)  # at 390 px a point is a pixel wide, so that 9 pt can still be read
_DPI: Final = 200
_BINS: Final = 60
_STEPS: Final = 400


def calibration_picture(
    scored: ScoredPairs, fitted: FittedCalibration, rules: OutcomeRules = DEFAULT_RULES
) -> bytes:
    """Return a PNG: above, how scores are distributed; below, what each score says."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # see above
    from matplotlib.figure import Figure  # noqa: PLC0415  # see above

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    low, high = float(scored.score.min()), float(scored.score.max())
    margin = max(0.02 * (high - low), 1e-4)
    scores = np.linspace(low - margin, high + margin, _STEPS)
    _draw_scores(above, scored, scores)
    _draw_line(below, fitted, scores, rules)
    buffer = io.BytesIO()
    # Without the name of the software, so that the same scores give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_scores(axes: "Axes", scored: ScoredPairs, scores: FloatArray) -> None:
    edges = np.linspace(scores[0], scores[-1], _BINS + 1).tolist()
    for kind, colour, name in (
        (~scored.mated, NON_MATED_COLOUR, "non-mated"),
        (scored.mated, MATED_COLOUR, "mated"),
    ):
        label = f"{name}, {int(kind.sum()):,}"
        axes.hist(
            scored.score[kind], bins=edges, density=True, color=colour, alpha=0.6, label=label
        )
    axes.set_ylabel("density", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def _draw_line(
    axes: "Axes", fitted: FittedCalibration, scores: FloatArray, rules: OutcomeRules
) -> None:
    calibration = fitted.calibration
    lines = fitted.draws[:, :1] * scores + fitted.draws[:, 1:]
    tail = tail_share(calibration.data.mated_subjects)
    low, high = np.quantile(lines, (tail, 1 - tail), axis=0)
    line = calibration.slope * scores + calibration.intercept
    capped = np.clip(line, calibration.min_log10_lr, calibration.max_log10_lr)
    axes.fill_between(scores, low, high, color=_INK, alpha=0.12, lw=0, label="other people, 95 %")
    axes.plot(scores, line, color=_INK, lw=1, ls=(0, (3, 2)), label="fitted line")
    axes.plot(scores, capped, color=_INK, lw=2.2, label="with caps: what counts")
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
