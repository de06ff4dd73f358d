"""From heartbeats to stretches: known tricks, and laws that hold for any heartbeats."""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.playback import Heartbeat, StretchState, counted_s, withheld_by_state
from verifier.playback_ledger import MOST_STRETCHES, PlaybackLedger
from verifier.policy_groups import PlaybackRules
from verifier.seen_video import SeenVideo

RULES = PlaybackRules(
    required_for=("frame",),
    longest_gap_s=15,
    max_rate=1.0,
    rate_tolerance=0.05,
    seek_tolerance_s=3.0,
)
EVERY_S = 5.0
LONG_S = 1e6
WATCHING = Heartbeat(at_s=0, visible=True, covered=False, position_s=0, rate=1, playing=True)


def ledger_of(beats: Iterable[Heartbeat], *, required: bool = False) -> PlaybackLedger:
    ledger = PlaybackLedger(RULES, required=required)
    for beat in beats:
        ledger.add(beat)
    return ledger


def outcome(beats: Iterable[Heartbeat], *, required: bool = False) -> dict[str, float]:
    """Return seconds by state, rounded."""
    found = ledger_of(beats, required=required).stretches
    lost = withheld_by_state(found, until_s=LONG_S, required=False)
    by_state = {StretchState.COUNTED: counted_s(found, until_s=LONG_S), **lost}
    return {state.value: round(seconds, 3) for state, seconds in by_state.items() if seconds}


def watching(seconds: int, *, speed: float = 1.0, **change: Any) -> list[Heartbeat]:
    """Return heartbeats of a player that runs from its start at ``speed``."""
    return [
        replace(WATCHING, **{"at_s": at_s, "position_s": at_s * speed, **change})
        for at_s in range(0, seconds + 1, int(EVERY_S))
    ]


class TestKnownCourses:
    def test_honest_watching_counts_whole(self) -> None:
        assert outcome(watching(600)) == {"counted": 600}

    def test_a_page_without_a_video_counts_while_it_is_seen(self) -> None:
        seen = watching(60, position_s=None, rate=None, playing=None)
        assert outcome(seen) == {"counted": 60}

    def test_the_worse_of_two_heartbeats_decides(self) -> None:
        beats = watching(60)
        beats[6] = replace(beats[6], visible=False)
        assert outcome(beats) == {"counted": 50, "hidden": 10}

    @pytest.mark.parametrize(
        ("change", "state"),
        [
            ({"visible": False}, "hidden"),
            ({"covered": True}, "covered"),
            ({"playing": False}, "idle"),
            ({"rate": 0.0}, "idle"),
            ({"rate": 1.5}, "too_fast"),
            ({"visible": False, "rate": 4.0, "covered": True}, "hidden"),
        ],
    )
    def test_each_reason_takes_all_of_it(self, change: dict[str, Any], state: str) -> None:
        assert outcome(watching(60, **change)) == {state: 60}

    @pytest.mark.parametrize("rate", [1.0, None])
    @pytest.mark.parametrize("speed", [4.0, 2.0, 1.5])
    def test_speed_earns_nothing_whatever_rate_is_claimed(
        self, speed: float, rate: float | None
    ) -> None:
        found = outcome(watching(600, speed=speed, rate=rate))
        assert found.get("counted", 0) <= EVERY_S
        assert found["sought"] >= 600 - EVERY_S

    def test_many_small_jumps_are_one_large_one(self) -> None:
        """Heartbeats every second: each jump alone would be within the tolerance."""
        beats = [replace(WATCHING, at_s=t, position_s=4.0 * t) for t in range(601)]
        assert outcome(beats)["sought"] >= 598

    def test_one_jump_costs_the_time_it_lies_in(self) -> None:
        beats = [replace(b, position_s=b.at_s + 900 * (b.at_s > 60)) for b in watching(120)]
        assert outcome(beats) == {"counted": 115, "sought": 5}

    def test_jumping_to_the_end_leaves_nothing_to_count(self) -> None:
        beats = [replace(b, position_s=2700) for b in watching(600)]
        assert outcome([WATCHING, *beats[1:]]) == {"sought": 5, "idle": 595}

    def test_a_frozen_video_is_idle(self) -> None:
        assert outcome(watching(600, position_s=42.0)) == {"idle": 600}

    def test_the_first_minute_again_and_again_counts_once(self) -> None:
        beats = [replace(b, position_s=b.at_s % 60) for b in watching(600)]
        found = outcome(beats)
        assert 55 <= found["counted"] <= 60 * 1.05 + 3
        assert found["repeated"] + found["sought"] == 600 - found["counted"]

    def test_a_second_pass_earns_not_one_second(self) -> None:
        again = [replace(b, at_s=b.at_s + 65) for b in watching(60)]
        found = outcome([*watching(60), *again])
        assert found == {"counted": 60, "sought": 5, "repeated": 60}

    def test_what_was_hidden_may_be_watched_again(self) -> None:
        hidden = watching(60, visible=False)
        again = [replace(b, at_s=b.at_s + 65) for b in watching(60)]
        assert outcome([*hidden, *again]) == {"hidden": 65, "counted": 60}

    def test_a_gap_is_not_covered(self) -> None:
        beats = [b for b in watching(60) if not 20 < b.at_s < 40]
        assert outcome(beats) == {"counted": 40, "uncovered": 20}
        assert outcome([b for b in watching(60) if not 20 < b.at_s < 35]) == {"counted": 60}

    def test_late_heartbeats_cost_nothing_if_the_video_went_on(self) -> None:
        delays = (0.0, 1.5, 0.2, 2.0, 0.0, 0.4, 1.0, 0.1)
        beats = [
            replace(b, at_s=b.at_s + delays[i % len(delays)]) for i, b in enumerate(watching(600))
        ]
        assert outcome(beats)["counted"] >= 570

    def test_the_next_video_goes_on_from_the_last(self) -> None:
        first = watching(60, video_id="one")
        then = [replace(b, at_s=b.at_s + 65, video_id="two") for b in watching(60)]
        assert outcome([*first, *then]) == {"counted": 123, "idle": 2}

    def test_a_video_may_go_on_where_it_was_left_another_day(self) -> None:
        first = watching(60, video_id="one")
        then = [replace(b, at_s=b.at_s + 65, video_id="two") for b in watching(60)]
        then = [replace(b, position_s=900 + b.at_s) for b in then]
        assert outcome([*first, *then]) == {"counted": 125}

    def test_slow_watching_earns_the_video_it_saw(self) -> None:
        found = outcome(watching(600, speed=0.5, rate=0.5))
        assert found["counted"] == pytest.approx(300 * 1.05 + 3, abs=0.01)

    def test_who_does_not_say_that_the_page_was_seen_covers_nothing_where_it_is_required(
        self,
    ) -> None:
        unseen = watching(60, visible=None)
        assert outcome(unseen) == {"counted": 60}
        assert outcome(unseen, required=True) == {"uncovered": 60}

    def test_a_heartbeat_alone_covers_nothing(self) -> None:
        assert outcome([WATCHING]) == {}


moments = st.floats(0, 300)
heartbeats = st.builds(
    Heartbeat,
    at_s=moments,
    visible=st.none() | st.booleans(),
    covered=st.none() | st.booleans(),
    position_s=st.none() | st.floats(0, 400),
    rate=st.none() | st.sampled_from([0.0, 0.5, 1.0, 1.04, 2.0]),
    playing=st.none() | st.booleans(),
    video_id=st.sampled_from([None, "one", "two"]),
)
players = st.builds(
    lambda at_s, position_s, video_id: replace(
        WATCHING, at_s=at_s, position_s=position_s, video_id=video_id
    ),
    moments,
    st.floats(0, 60),
    st.sampled_from([None, "one"]),
)
"""Heartbeats that are well but for their positions: most of their time may count."""
courses = st.lists(heartbeats | players, max_size=40)


def by_time(beats: list[Heartbeat]) -> list[Heartbeat]:
    return sorted(beats, key=lambda b: b.at_s)


class TestLaws:
    @given(beats=courses)
    def test_each_second_of_server_time_is_in_one_stretch(self, beats: list[Heartbeat]) -> None:
        found = ledger_of(by_time(beats)).stretches
        for before, after in pairwise(found):
            assert before.end_s == after.start_s
            assert before.state is not after.state
        times = [b.at_s for b in beats]
        length_s = math.fsum(s.end_s - s.start_s for s in found)
        assert length_s == pytest.approx(max(times, default=0) - min(times, default=0), abs=1e-6)

    @given(beats=st.lists(players, max_size=60))
    @settings(max_examples=200)
    def test_counted_seconds_never_exceed_the_video_that_was_new(
        self, beats: list[Heartbeat]
    ) -> None:
        ledger = ledger_of(by_time(beats))
        pieces = ledger.memory.seen.pieces.values()
        distinct_s = math.fsum(end_s - start_s for video in pieces for start_s, end_s in video)
        counted = counted_s(ledger.stretches, until_s=LONG_S)
        assert counted <= 1.05 * distinct_s + 3 + 1e-6

    @given(beats=courses, again=st.lists(st.integers(0, 39), max_size=20))
    def test_late_and_repeated_heartbeats_tell_nothing_new(
        self, beats: list[Heartbeat], again: list[int]
    ) -> None:
        in_order = by_time(beats)
        arrived = [*in_order]
        for place in sorted(again, reverse=True):
            if place < len(in_order):
                arrived.insert(place + 1, in_order[place // 2])
        assert ledger_of(arrived).stretches == ledger_of(in_order).stretches

    @given(beats=courses, cut=st.integers(0, 40), required=st.booleans())
    def test_another_ledger_goes_on_where_this_one_is(
        self, beats: list[Heartbeat], cut: int, required: bool
    ) -> None:
        in_order = by_time(beats)
        first = ledger_of(in_order[:cut], required=required)
        second = PlaybackLedger(
            RULES, required=required, stretches=first.stretches, memory=first.memory
        )
        for beat in in_order[cut:]:
            second.add(beat)
        whole = ledger_of(in_order, required=required)
        assert (second.stretches, second.memory) == (whole.stretches, whole.memory)

    @given(beats=courses, worse=st.integers(0, 39))
    def test_one_heartbeat_that_is_hidden_adds_nothing(
        self, beats: list[Heartbeat], worse: int
    ) -> None:
        """But for its position, so that only seeing less is compared."""
        plain = [replace(b, position_s=None) for b in by_time(beats)]
        hidden = [replace(b, visible=False) if i == worse else b for i, b in enumerate(plain)]
        assert counted_s(ledger_of(hidden).stretches, until_s=LONG_S) <= counted_s(
            ledger_of(plain).stretches, until_s=LONG_S
        )


def test_stretches_are_bounded_and_the_last_one_is_not_counted() -> None:
    flickering = [
        replace(WATCHING, at_s=2.0 * i, position_s=None, visible=i % 4 < 2)
        for i in range(4 * MOST_STRETCHES)
    ]
    found = ledger_of(flickering).stretches
    assert len(found) == MOST_STRETCHES
    assert found[-1].state is StretchState.UNCOVERED
    assert found[-1].end_s == flickering[-1].at_s


def test_what_is_remembered_of_videos_is_bounded() -> None:
    beats = [
        replace(WATCHING, at_s=2.0 * i, position_s=10.0 * i % 997, video_id=f"v{i % 500}")
        for i in range(3000)
    ]
    seen = ledger_of(beats).memory.seen
    assert isinstance(seen, SeenVideo)
    assert len(seen.pieces) <= 100
