"""The schedule: the same for everyone who recomputes it, and predictable by nobody before."""

import contextlib
import hmac
import io
import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.arrays import FloatArray
from verifier.credit import Pause
from verifier.errors import InvalidRecordError
from verifier.schedule import (
    IssuedPrompt,
    PlannedPrompt,
    PlannedPrompts,
    ScheduleHeader,
    ScheduleParameters,
    SchedulePromise,
    commitment,
    seed,
    verify_schedule,
)

SECRET, ROOT = bytes([1]) * 32, bytes([2]) * 32
WITNESSES = (bytes([3]) * 76, bytes([4]) * 76)
PARAMETERS = ScheduleParameters(min_gap_s=30, mean_gap_s=300, kinds=("silent_capture",))
HEADER = ScheduleHeader(
    session_id="s1",
    learner_id="l1",
    class_id="c1",
    platform_id="p1",
    policy_digest="ab" * 32,
    parameters=PARAMETERS,
    opened_at=datetime(2026, 3, 2, 1, tzinfo=UTC),
)
# Written down from sha256sum, openssl and the page of Python in docs/prompts.md.
C = bytes.fromhex("baab237d3a18b7950a193f7c4ed7f3166e401bde379b738c98aabbeb8feca1c1")
SEED = bytes.fromhex("717082941a5ac8ef2a601d8241e885226127870b211563d943a21a64fc6315c1")
SEED_WITNESSED = bytes.fromhex("5618727785d0715547c4303191fed8950d4b24332ff2ca81b6e0998ab3aef0f9")
TIMES_S = [81.848, 213.515, 258.505, 979.144, 1330.251]

PROMISE = SchedulePromise(secret=SECRET, header=HEADER, committed=C, checkpoint_root=ROOT)
PLAN = PlannedPrompts(seed=SEED, parameters=PARAMETERS).until(1400)
LESSON_S = 1400.0


def issued(plan: tuple[PlannedPrompt, ...] = PLAN, delay_s: float = 0.5) -> list[IssuedPrompt]:
    return [IssuedPrompt(index=p.index, kind=p.kind, issued_s=p.offset_s + delay_s) for p in plan]


def test_commitment_and_seed_are_what_standard_tools_compute() -> None:
    assert commitment(SECRET, HEADER) == C
    assert seed(SECRET, C, ROOT) == SEED
    assert seed(SECRET, C, ROOT, WITNESSES) == SEED_WITNESSED


def test_times_are_what_the_page_of_python_computes() -> None:
    assert [prompt.offset_s for prompt in PLAN] == TIMES_S
    assert [prompt.index for prompt in PLAN] == [0, 1, 2, 3, 4]


def test_the_page_of_python_in_the_documentation_runs_and_agrees() -> None:
    page = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)  # noqa: S102 - the documented code is what is tested
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        names["prompts"](SEED, 30, 300, ["a", "b"], 90_000)
    two_kinds = replace(PARAMETERS, kinds=("a", "b"))
    plan = PlannedPrompts(seed=SEED, parameters=two_kinds).until(90_000)
    expected = [f"{p.index} {p.offset_s} {p.kind}" for p in plan]
    assert printed.getvalue().splitlines() == expected
    assert {prompt.kind for prompt in plan} == {"a", "b"}


def test_the_order_of_cosignatures_is_no_choice() -> None:
    assert seed(SECRET, C, ROOT, WITNESSES[::-1]) == SEED_WITNESSED
    with pytest.raises(InvalidRecordError, match="repeated"):
        seed(SECRET, C, ROOT, WITNESSES[:1] * 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"session_id": "s2"},
        {"learner_id": "l2"},
        {"class_id": "c2"},
        {"platform_id": "p2"},
        {"policy_digest": "cd" * 32},
        {"opened_at": HEADER.opened_at + timedelta(microseconds=1)},
        {"parameters": replace(PARAMETERS, mean_gap_s=301)},
        {"parameters": replace(PARAMETERS, min_gap_s=29)},
        {"parameters": replace(PARAMETERS, kinds=("silent_capture", "code"))},
    ],
)
def test_whatever_is_swapped_the_commitment_no_longer_fits(changes: dict[str, Any]) -> None:
    swapped = replace(PROMISE, header=replace(HEADER, **changes))
    assert commitment(SECRET, swapped.header) != C
    assert not verify_schedule(swapped, issued(), ended_s=LESSON_S).committed


def test_the_same_moment_in_another_zone_is_the_same_header() -> None:
    chongqing = HEADER.opened_at.astimezone(timezone(timedelta(hours=8)))
    assert commitment(SECRET, replace(HEADER, opened_at=chongqing)) == C
    with pytest.raises(InvalidRecordError, match="zone"):
        replace(HEADER, opened_at=HEADER.opened_at.replace(tzinfo=None)).canonical()


def test_an_honest_record_fits() -> None:
    verdict = verify_schedule(PROMISE, issued(), ended_s=LESSON_S)
    assert verdict.ok
    assert verdict.late == ()


def test_another_checkpoint_gives_another_schedule() -> None:
    moved = replace(PROMISE, checkpoint_root=bytes(32))
    verdict = verify_schedule(moved, issued(), ended_s=LESSON_S)
    assert verdict.committed
    assert not verdict.ok


def test_a_prompt_that_was_kept_back_shows() -> None:
    record = issued()
    del record[2]
    verdict = verify_schedule(PROMISE, record, ended_s=LESSON_S)
    assert verdict.missing == (2,)
    assert not verdict.ok


def test_a_prompt_due_in_a_silence_is_excused() -> None:
    record = issued()
    del record[2]
    stop = Pause(start_s=250, end_s=260)
    verdict = verify_schedule(PROMISE, record, ended_s=LESSON_S, silences=[stop])
    assert (verdict.missing, verdict.excused, verdict.ok) == ((), (2,), True)


@pytest.mark.parametrize(
    "change",
    [{"issued_s": TIMES_S[1] - 0.001}, {"kind": "code"}, {"index": 7}, {"index": 0}],
)
def test_a_prompt_the_seed_does_not_give_is_foreign(change: dict[str, Any]) -> None:
    record = issued()
    record[1] = replace(record[1], **change)
    verdict = verify_schedule(PROMISE, record, ended_s=LESSON_S)
    assert verdict.foreign == (record[1].index,)
    assert not verdict.ok


def test_a_late_prompt_is_told_and_not_held_against_anyone() -> None:
    verdict = verify_schedule(PROMISE, issued(delay_s=20), ended_s=LESSON_S)
    assert verdict.late == (0, 1, 2, 3, 4)
    assert verdict.ok


SESSIONS, GAPS_EACH = 5_000, 24
BIN_S = 30


@pytest.fixture(scope="module", name="gaps_s")
def gaps_of_many_sessions() -> FloatArray:
    """Gaps between prompts of 5,000 sessions, the same in each run; the policy's own numbers."""
    parameters = ScheduleParameters(min_gap_s=30, mean_gap_s=180, kinds=("silent_capture",))
    gaps = []
    for number in range(SESSIONS):
        plan = PlannedPrompts(seed=sha256(b"%d" % number).digest(), parameters=parameters)
        due_ms = [0, *(due for due, _ in islice(plan.draws(), GAPS_EACH))]
        gaps.append(np.diff(due_ms) / 1000)
    return np.concatenate(gaps)


def test_the_hazard_is_flat_past_the_floor(gaps_s: FloatArray) -> None:
    """However long one has waited, the next 30 s are as likely to bring a prompt: within 10 %.

    The standard error of a rate from n events is 1/sqrt(n) of it; every bin has events enough for
    three of them to stay below the 10 %.
    """
    assert gaps_s.size == 120_000
    assert gaps_s.min() >= 30
    rate = 1 / (180 - 30)
    for waited in range(30, 360, BIN_S):
        waiting = gaps_s[gaps_s >= waited]
        events = (waiting < waited + BIN_S).sum()
        exposure_s = np.minimum(waiting - waited, BIN_S).sum()
        assert 3 / np.sqrt(events) < 0.1
        assert events / exposure_s == pytest.approx(rate, rel=0.1), waited


def test_a_gap_says_nothing_about_the_next(gaps_s: FloatArray) -> None:
    """Correlation of neighbours: 0 within three standard errors, 1/sqrt(115,000) each."""
    sessions = gaps_s.reshape(SESSIONS, GAPS_EACH)
    found = np.corrcoef(sessions[:, :-1].ravel(), sessions[:, 1:].ravel())[0, 1]
    assert abs(found) < 3 / np.sqrt(SESSIONS * (GAPS_EACH - 1))


def test_every_kind_is_equally_likely() -> None:
    """Of 60,000 prompts each of three kinds has a third, within three standard errors: 1.7 %."""
    parameters = replace(PARAMETERS, kinds=("a", "b", "c"))
    drawn = islice(PlannedPrompts(seed=SEED, parameters=parameters), 60_000)
    counts = np.bincount([parameters.kinds.index(prompt.kind) for prompt in drawn])
    assert counts == pytest.approx([20_000] * 3, abs=3 * np.sqrt(60_000 * 2 / 9))


def test_one_by_one_and_many_at_once_are_the_same_schedule() -> None:
    planned = PlannedPrompts(seed=SEED, parameters=replace(PARAMETERS, kinds=("a", "b")))
    one_by_one = [(round(1000 * p.offset_s), "ab".index(p.kind)) for p in islice(planned, 500)]
    assert list(islice(planned.draws(), 500)) == one_by_one


@settings(deadline=None)
@given(key=st.binary(min_size=32, max_size=32), index=st.integers(0, 2**63))
def test_draws_are_hmacs_as_everybody_computes_them(key: bytes, index: int) -> None:
    """The blocks of the key are hashed once; the result is that of the standard library."""
    rules = {"min_gap_s": 0, "mean_gap_s": 1000}
    planned = PlannedPrompts(seed=key, parameters=PARAMETERS)
    digest = hmac.digest(key, b"added" + index.to_bytes(8, "big"), "sha256")
    uniform = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    assert planned.added_gap_ms(index, **rules) == round(-1_000_000 * math.log1p(-uniform))


def test_an_added_prompt_has_a_moment_of_its_own() -> None:
    """The value in docs/prompts.md; another prompt, and the schedule itself, draw another."""
    planned = PlannedPrompts(seed=SEED, parameters=PARAMETERS)
    assert planned.added_gap_ms(2, min_gap_s=10, mean_gap_s=45) == 55_745
    assert planned.added_gap_ms(3, min_gap_s=10, mean_gap_s=45) != 55_745
    # As if it were scheduled: the label keeps the two apart.
    assert planned.added_gap_ms(0, min_gap_s=30, mean_gap_s=300) != 81_848


@settings(deadline=None, max_examples=30)
@given(secret=st.binary(min_size=32, max_size=32), end_s=st.floats(0, 20_000))
def test_two_derivations_agree_and_times_rise(secret: bytes, end_s: float) -> None:
    first = PlannedPrompts(seed=secret, parameters=PARAMETERS).until(end_s)
    again = PlannedPrompts(seed=bytes(secret), parameters=PARAMETERS).until(end_s)
    offsets = [0.0, *(prompt.offset_s for prompt in first)]
    assert first == again
    assert all(b - a > 29.999 for a, b in pairwise(offsets))
    assert offsets[-1] < end_s or len(offsets) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"min_gap_s": 31},
        {"min_gap_s": -1},
        {"mean_gap_s": 30},
        {"kinds": ()},
        {"kinds": ("code", "code")},
    ],
)
def test_parameters_that_could_be_predicted_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecordError, match="wanted"):
        replace(PARAMETERS, **bad)


def test_parts_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(InvalidRecordError, match="32"):
        commitment(SECRET[:31], HEADER)
    with pytest.raises(InvalidRecordError, match="32"):
        seed(SECRET, C, ROOT + b"\0")
    with pytest.raises(InvalidRecordError, match="32"):
        PlannedPrompts(seed=b"", parameters=PARAMETERS)


def test_a_plan_does_not_show_its_seed_when_printed() -> None:
    assert "seed=…" in repr(PlannedPrompts(seed=SEED, parameters=PARAMETERS))
