"""Pictures of comparison scores: the DET curve and the histograms, as PNG.

Drawn on figures of their own with the Agg canvas; `pyplot`, which keeps what it draws in global
state, is not imported. Matplotlib itself is imported with the first picture, since it then makes
folders and looks for fonts, which importing this module must not do. Texts are English letters
only: a server may have no Chinese font.
"""

import io
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.rate_texts import percent
from verifier.arrays import FloatArray
from verifier.error_rates import OperatingPoints
from verifier.measured_rate import RULE_OF_30

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATED_COLOUR: Final = "#2e6f9e"
NON_MATED_COLOUR: Final = "#c0562b"
INK: Final = "#1d2733"

_INCHES: Final = (5.2, 4.4)  # at 390 px a point is a pixel wide, so that 9 pt can still be read
_DPI: Final = 200
_RATE_TICKS: Final = (1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.4)
_MOST_CORNERS: Final = 2_000  # of a curve; more are not seen
BINS: Final = 60

_deviate = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])


def det_curve(points: OperatingPoints, eer: float | None) -> bytes:
    """Return the detection error trade-off as a PNG: FNMR over FMR, both on normal deviates.

    Normal distributions of scores give a straight line there (Martin et al., Eurospeech 1997).
    Rates of 0 and 1 lie at infinity and are not drawn. The line is solid where at least 30
    errors of each kind stand behind it, dashed where fewer do.
    """
    figure = new_figure(_INCHES)
    axes = bare(figure.add_subplot())
    fmr, fnmr = points.fmr, points.fnmr
    shown = _thinned(np.flatnonzero((fmr > 0) & (fmr < 1) & (fnmr > 0) & (fnmr < 1)))
    sure = (points.false_matches >= RULE_OF_30) & (points.false_non_matches >= RULE_OF_30)
    x, y = _deviate(fmr[shown]), _deviate(fnmr[shown])
    axes.plot(x, y, color=INK, lw=1.1, ls=(0, (3, 2)), label="fewer than 30 errors of a kind")
    solid = np.where(sure[shown], y, np.nan)
    axes.plot(x, solid, color=INK, lw=2.2, label="30 errors of each kind or more")
    if eer is not None and 0 < eer < 1:
        at = NormalDist().inv_cdf(eer)
        axes.plot([at], [at], "o", color=NON_MATED_COLOUR, ms=5, label=f"EER {percent(eer)}")
    _deviate_axes(axes, min(0.5 / points.non_mated, 1e-3), min(0.5 / points.mated, 1e-2))
    axes.set_xlabel("false match rate (FMR)")
    axes.set_ylabel("false non-match rate (FNMR)")
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    return png(figure)


def score_histograms(
    mated: FloatArray, non_mated: FloatArray, thresholds: Sequence[tuple[str, float]]
) -> bytes:
    """Return both kinds' scores as a PNG, each kind with area 1, and named thresholds."""
    figure = new_figure(_INCHES)
    axes = bare(figure.add_subplot())
    both = np.concatenate([mated, non_mated])
    edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), BINS + 1)
    draw_histograms(axes, mated, non_mated, edges=edges)
    for (name, threshold), style in zip(thresholds, ("-", "--", ":"), strict=False):
        axes.axvline(threshold, color=INK, lw=1, ls=style, label=name)
    axes.set_xlabel("comparison score (higher: more alike)")
    axes.set_ylabel("density")
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def draw_histograms(
    axes: "Axes", mated: FloatArray, non_mated: FloatArray, *, edges: FloatArray
) -> None:
    """Draw both kinds' scores in bins with these edges, each kind with area 1."""
    for scores, colour, name in (
        (non_mated, NON_MATED_COLOUR, "non-mated"),
        (mated, MATED_COLOUR, "mated"),
    ):
        label = f"{name}, {len(scores):,}"
        axes.hist(scores, bins=edges.tolist(), density=True, color=colour, alpha=0.6, label=label)


def new_figure(inches: tuple[float, float]) -> "Figure":
    """Return an empty figure of that width and height, which only its caller holds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # see above
    from matplotlib.figure import Figure  # noqa: PLC0415  # see above

    figure = Figure(figsize=inches, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: "Axes") -> "Axes":
    """Return axes with what all pictures here leave out taken off."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return axes


def png(figure: "Figure") -> bytes:
    """Return the figure as it is kept: the same scores give the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # whose name has a version
    return buffer.getvalue()


def _thinned(indices: NDArray[np.intp]) -> NDArray[np.intp]:
    """Keep the ends of a curve and some of what lies between, spread evenly."""
    if len(indices) <= _MOST_CORNERS:
        return indices
    return indices[np.linspace(0, len(indices) - 1, _MOST_CORNERS).astype(np.intp)]


def _deviate_axes(axes: "Axes", least_fmr: float, least_fnmr: float) -> None:
    """Mark rates on axes of normal deviates, from the least that the data could show to 40 %."""
    from matplotlib.ticker import FixedFormatter, FixedLocator  # noqa: PLC0415  # see above

    for axis, set_limits, least in (
        (axes.xaxis, axes.set_xlim, least_fmr),
        (axes.yaxis, axes.set_ylim, least_fnmr),
    ):
        ticks = [rate for rate in _RATE_TICKS if rate >= least]
        axis.set_major_locator(FixedLocator(_deviate(ticks).tolist()))
        axis.set_major_formatter(FixedFormatter([f"{100 * rate:g} %" for rate in ticks]))
        set_limits(NormalDist().inv_cdf(least), NormalDist().inv_cdf(0.5))
    axes.grid(visible=True, color="#000000", alpha=0.08)
