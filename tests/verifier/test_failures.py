"""Five failed answers in three minutes pause for thirty; the order they are told in is nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.failures import looked_back, paused_until
from verifier.policy import default_policy

RULES = default_policy().failures
START = datetime(2026, 3, 2, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


@pytest.mark.parametrize(
    ("failed_s", "until_s"),
    [
        ([], None),
        ([0, 1, 2, 3], None),
        ([0, 1, 2, 3, 180], 180 + 1800),
        ([0, 1, 2, 3, 181], None),
        ([0, 100, 150, 160, 170, 200], 200 + 1800),  # the last five of six
        ([0, 1, 2, 3, 4, 1000], 4 + 1800),  # one more much later moves nothing
    ],
)
def test_the_fifth_within_three_minutes_pauses(failed_s: list[int], until_s: int | None) -> None:
    wanted = None if until_s is None else at(until_s)
    assert paused_until(map(at, failed_s), RULES) == wanted


def test_what_may_still_pause_is_looked_at() -> None:
    """The first of five that pause until a second from now failed 33 minutes ago."""
    failed = [at(s) for s in (0, 1, 2, 3, 180)]
    now = at(180 + 1800 - 1)
    assert all(each >= now - looked_back(RULES) for each in failed)
    assert now - looked_back(RULES) == at(-1)


# Close together, or five would hardly ever meet within three minutes.
@given(failed_s=st.lists(st.sampled_from(range(0, 3000, 40)), max_size=20), data=st.data())
def test_order_and_what_is_long_past_change_nothing(
    failed_s: list[int], data: st.DataObject
) -> None:
    now = at(3000)
    until = paused_until(map(at, failed_s), RULES)
    assert paused_until(map(at, data.draw(st.permutations(failed_s))), RULES) == until
    recent = [at(s) for s in failed_s if at(s) >= now - looked_back(RULES)]
    seen = paused_until(recent, RULES)
    in_force = until if until is not None and until > now else None
    assert (seen if seen is not None and seen > now else None) == in_force
