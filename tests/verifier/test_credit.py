"""Credit: seconds between passed checks, and never one more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.credit import Pause, PendingReason, Span, SpanState, credit, credit_spans
from verifier.policy import default_policy
from verifier.session_score import Decision

RULES = default_policy().credit
END_S = 6000
times = st.integers(0, END_S)
lists = st.lists(times, max_size=12)
pauses = st.lists(
    st.tuples(times, times).map(lambda p: Pause(start_s=min(p), end_s=max(p))), max_size=4
)


def at(clock: str) -> int:
    """Return ``minutes:seconds`` in seconds."""
    minutes, seconds = clock.split(":")
    return 60 * int(minutes) + int(seconds)


PASSES = [at(clock) for clock in ("0:00", "6:10", "14:30", "22:40", "39:05", "47:00")]
MISSES = [at("21:00")]


def creditable_s(spans: tuple[Span, ...]) -> float:
    return sum(span.credit_s for span in spans if span.state is SpanState.CREDITABLE)


def test_the_worked_example() -> None:
    """47 minutes with a miss at 21:00: 0:00-14:30 and 22:40-47:00, together 38:50."""
    spans = credit_spans(passes_s=PASSES, breaks_s=MISSES, pauses=[])
    assert [(span.start_s, span.end_s, span.state) for span in spans] == [
        (at("0:00"), at("14:30"), SpanState.CREDITABLE),
        (at("14:30"), at("22:40"), SpanState.PENDING),
        (at("22:40"), at("47:00"), SpanState.CREDITABLE),
    ]
    earned = credit(spans, decision=Decision.ACCEPT, lower95_s=0.8 * at("38:50"), rules=RULES)
    assert (earned.credited_s, earned.pending_s) == (at("38:50"), at("8:10"))
    assert earned.credit_hours == pytest.approx(at("38:50") / 2700)
    assert [span.reason for span in earned.spans] == [None, PendingReason.MISS_WITHIN, None]


@pytest.mark.parametrize(
    ("decision", "share", "reason"),
    [
        (Decision.ACCEPT, 0.79, PendingReason.BOUND_TOO_LOW),
        (Decision.REVIEW, 1.0, PendingReason.SESSION_NOT_ACCEPTED),
        (Decision.REJECT, 1.0, PendingReason.SESSION_NOT_ACCEPTED),
    ],
)
def test_what_is_not_credited_is_pending_with_its_reason(
    decision: Decision, share: float, reason: PendingReason
) -> None:
    spans = credit_spans(passes_s=PASSES, breaks_s=MISSES, pauses=[])
    earned = credit(spans, decision=decision, lower95_s=share * at("38:50"), rules=RULES)
    assert (earned.credited_s, earned.pending_s) == (0, at("47:00"))
    assert earned.spans[0].reason is reason


def test_overlapping_pauses_are_taken_off_once() -> None:
    stops = [Pause(start_s=100, end_s=200), Pause(start_s=150, end_s=300)]
    (span,) = credit_spans(passes_s=[0, 250, 1000], breaks_s=[], pauses=stops)
    assert span.paused_s == 200
    assert span.credit_s == 800


def test_a_prompt_missed_right_after_a_pass_breaks_only_what_follows() -> None:
    spans = credit_spans(passes_s=[0, 100, 200], breaks_s=[100], pauses=[])
    assert [span.state for span in spans] == [SpanState.CREDITABLE, SpanState.PENDING]


@pytest.mark.parametrize("passes", [[], [30]])
def test_without_two_passes_there_is_no_span(passes: list[int]) -> None:
    assert credit_spans(passes_s=passes, breaks_s=[], pauses=[]) == ()


def test_seconds_are_told_without_the_noise_of_their_sums() -> None:
    """In binary floating point 900.3 less 0.1 is 900.1999999999999."""
    spans = credit_spans(passes_s=[0.1, 900.3], breaks_s=[], pauses=[])
    assert spans[0].credit_s != 900.2
    worth = credit(spans, decision=Decision.ACCEPT, lower95_s=900, rules=RULES)
    assert (worth.credited_s, worth.pending_s, worth.credit_hours) == (900.2, 0, 0.333407)


def test_time_does_not_run_backwards_in_a_pause() -> None:
    with pytest.raises(ValueError, match="start <= end"):
        Pause(start_s=2, end_s=1)


@given(passes=lists, misses=lists, missed=times, stops=pauses)
def test_adding_a_miss_never_adds_credit(
    passes: list[int], misses: list[int], missed: int, stops: list[Pause]
) -> None:
    before = credit_spans(passes_s=passes, breaks_s=misses, pauses=stops)
    after = credit_spans(passes_s=passes, breaks_s=[*misses, missed], pauses=stops)
    assert creditable_s(after) <= creditable_s(before)


@given(passes=lists, misses=lists, stops=pauses, data=st.data())
def test_order_does_not_matter(
    passes: list[int], misses: list[int], stops: list[Pause], data: st.DataObject
) -> None:
    shuffled = credit_spans(
        passes_s=data.draw(st.permutations(passes)),
        breaks_s=data.draw(st.permutations(misses)),
        pauses=data.draw(st.permutations(stops)),
    )
    assert shuffled == credit_spans(passes_s=passes, breaks_s=misses, pauses=stops)


@given(passes=lists, misses=lists, stops=pauses)
def test_credit_and_pending_never_exceed_server_time_less_pauses(
    passes: list[int], misses: list[int], stops: list[Pause]
) -> None:
    spans = credit_spans(passes_s=passes, breaks_s=misses, pauses=stops)
    earned = credit(spans, decision=Decision.ACCEPT, lower95_s=1e9, rules=RULES)
    stopped = {second for stop in stops for second in range(int(stop.start_s), int(stop.end_s))}
    running = sum(second not in stopped for second in range(END_S))
    assert earned.credited_s == creditable_s(spans)
    assert earned.credited_s + earned.pending_s <= running


@given(passes=st.lists(times, min_size=2, max_size=8), between=st.floats(0, 1), stops=pauses)
def test_a_further_pass_inside_changes_nothing(
    passes: list[int], between: float, stops: list[Pause]
) -> None:
    """Splitting a span and joining it agree."""
    inside = round(min(passes) + between * (max(passes) - min(passes)))
    one = credit_spans(passes_s=passes, breaks_s=[], pauses=stops)
    two = credit_spans(passes_s=[*passes, inside], breaks_s=[], pauses=stops)
    assert creditable_s(one) == pytest.approx(creditable_s(two))
