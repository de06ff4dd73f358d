import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.live.live_state import check_name, ttl_in_ms


@pytest.mark.parametrize(
    ("ttl_s", "ms"), [(0.000_1, 1), (0.001, 1), (1, 1_000), (86_400, 86_400_000)]
)
def test_milliseconds_of_known_times(ttl_s: float, ms: int) -> None:
    assert ttl_in_ms(ttl_s) == ms


@given(ttl_s=st.floats(0, 86_400, exclude_min=True))
def test_a_time_to_live_is_never_shortened_nor_zero(ttl_s: float) -> None:
    assert ttl_in_ms(ttl_s) >= max(1, ttl_s * 1_000)


@given(name=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200))
def test_printable_ascii_is_a_name(name: str) -> None:
    assert check_name(name) == name
