"""Rates as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rate_texts import interval_text, percent, rate_text
from verifier.measured_rate import MeasuredRate


def rate(value: float | None, low: float | None, high: float | None) -> MeasuredRate:
    return MeasuredRate(value=value, low=low, high=high, few=False, why=None)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (4e-5, "0.004 %"), (0.013333, "1.33 %"), (1, "100 %")]
)
def test_known_rates(share: float, text: str) -> None:
    assert percent(share) == text


@given(share=st.floats(1e-9, 1))
def test_no_rate_is_printed_as_none(share: float) -> None:
    assert float(percent(share).removesuffix(" %")) / 100 == pytest.approx(share, rel=0.006)


def test_what_was_not_measured_has_no_value() -> None:
    assert rate_text(rate(None, 0.0, 6e-6)) == "未测得 not measured"
    assert interval_text(rate(None, 0.0, 6e-6)) == "< 0.0006 %"
    assert interval_text(rate(0.1, None, None)) == "—"
    assert interval_text(rate(0.1, 0.05, 0.2)) == "5 % – 20 %"
