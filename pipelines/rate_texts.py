"""Rates as people read them, on pages and consoles alike."""

from typing import Final

from verifier.measured_rate import MeasuredRate

_NO_VALUE: Final = "未测得 not measured"


def percent(rate: float) -> str:
    """Return a rate in percent, with three digits that count: ``1.33 %``, ``0.0125 %``."""
    return f"{100 * rate:.3g} %"


def rate_text(rate: MeasuredRate) -> str:
    """Return a rate's value for people; what was not measured is said so."""
    return _NO_VALUE if rate.value is None else percent(rate.value)


def interval_text(rate: MeasuredRate) -> str:
    """Return a rate's interval for people, a bound alone where there is no more."""
    if rate.low is None or rate.high is None:
        return "—"
    if rate.value is None:
        return f"< {percent(rate.high)}"
    return f"{percent(rate.low)} – {percent(rate.high)}"
