"""One session: what is allowed when, and that nothing is ever earned ahead of the clock."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from verifier import session as acts
from verifier.check import Check, Outcome, parse_session
from verifier.credit import Pause, SpanState, joined
from verifier.errors import ProtocolError, UnknownSubjectError
from verifier.policy import default_policy
from verifier.prompt import AddedBecause, Judgement, PromptKind, PromptOrigin, PromptStatus
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
from verifier.session_state import SessionPhase, SessionState

POLICY = default_policy()
START = datetime(2026, 3, 2, 1, tzinfo=UTC)
SEEN = Check(t=0, prompted=True, outcome=Outcome.CAPTURED, faces=1, comparison_log10_lr=2.0)
BLURRED = Check(t=0, prompted=True, outcome=Outcome.UNREADABLE)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def nonce(number: int) -> bytes:
    return number.to_bytes(16, "big")


def opened() -> SessionState:
    return acts.open_session(
        session_id="s1",
        learner_id="l1",
        class_id="c1",
        platform_id="p1",
        policy=POLICY,
        at=START,
    )


def asked(
    state: SessionState, second: float, origin: PromptOrigin = PromptOrigin.ADDED
) -> SessionState:
    """Issue the next prompt; its number is its id and its nonce."""
    number = len(state.prompts)
    planned = PlannedPrompt(index=number, offset_s=second, kind="silent_capture")
    return acts.issue_prompt(
        state,
        prompt_id=str(number),
        nonce=nonce(number),
        kind=PromptKind.SILENT_CAPTURE,
        origin=origin,
        at=at(second),
        planned=planned if origin is PromptOrigin.SCHEDULED else None,
        added_because=AddedBecause.SUPERVISOR if origin is PromptOrigin.ADDED else None,
    )


def answered(
    state: SessionState, second: float, judgement: Judgement = Judgement.PASS
) -> SessionState:
    prompt = state.open_prompt
    assert prompt is not None
    return acts.answer(
        state,
        prompt_id=prompt.prompt_id,
        nonce=prompt.nonce,
        at=at(second),
        judgement=judgement,
        check=SEEN if judgement is Judgement.PASS else BLURRED,
        retry_nonce=nonce(1000 + len(prompt.attempts)),
    )


def passed(
    state: SessionState, second: float, origin: PromptOrigin = PromptOrigin.ADDED
) -> SessionState:
    return answered(asked(state, second, origin), second)


def running() -> SessionState:
    return passed(opened(), 0, PromptOrigin.OPENING)


def code_of(error: "pytest.ExceptionInfo[ProtocolError]") -> str:
    return error.value.code


def test_the_worked_example_from_prompts_to_spans() -> None:
    """47 minutes, a miss at 21:00: 38:50 can be credited and 8:10 wait."""
    state = running()
    for second in (370, 870):
        state = passed(state, second, PromptOrigin.SCHEDULED)
    state = acts.expire(asked(state, 1260, PromptOrigin.SCHEDULED), at=at(1320))
    for second in (1360, 2345):
        state = passed(state, second, PromptOrigin.SCHEDULED)
    state = acts.announce_end(state, at=at(2820))
    state = acts.close(answered(asked(state, 2820, PromptOrigin.CLOSING), 2829), at=at(2830))
    assert [(s.start_s, s.end_s, s.state) for s in state.spans()] == [
        (0, 870, SpanState.CREDITABLE),
        (870, 1360, SpanState.PENDING),
        (1360, 2820, SpanState.CREDITABLE),
    ]
    counts = state.counts
    assert (counts.issued, counts.answered, counts.missed, counts.open) == (7, 6, 1, 0)


def test_nothing_runs_before_the_opening_prompt_is_passed() -> None:
    state = opened()
    for origin in (PromptOrigin.SCHEDULED, PromptOrigin.ADDED, PromptOrigin.CLOSING):
        with pytest.raises(ProtocolError) as caught:
            asked(state, 1, origin)
        assert code_of(caught) == "wrong_origin"
    with pytest.raises(ProtocolError) as caught:
        acts.announce_end(state, at=at(1))
    assert code_of(caught) == "not_running"


def test_a_failed_opening_may_be_asked_again() -> None:
    referred = answered(asked(opened(), 0, PromptOrigin.OPENING), 5, Judgement.REFER)
    assert referred.phase is SessionPhase.OPENING
    assert passed(referred, 30, PromptOrigin.OPENING).phase is SessionPhase.RUNNING


def test_a_referred_answer_ends_the_span_like_a_miss() -> None:
    state = answered(asked(running(), 100), 110, Judgement.REFER)
    state = passed(passed(state, 200), 300)
    assert [(s.start_s, s.end_s, s.state) for s in state.spans()] == [
        (0, 200, SpanState.PENDING),
        (200, 300, SpanState.CREDITABLE),
    ]


def test_a_slow_closing_answer_earns_no_lesson_time() -> None:
    state = acts.announce_end(running(), at=at(600))
    state = answered(asked(state, 650, PromptOrigin.CLOSING), 700)
    assert [span.end_s for span in acts.close(state, at=at(701)).spans()] == [600]


def test_an_answer_counts_once() -> None:
    state = asked(running(), 100)
    done = answered(state, 110)
    with pytest.raises(ProtocolError) as caught:
        acts.answer(
            done,
            prompt_id="1",
            nonce=nonce(1),
            at=at(111),
            judgement=Judgement.PASS,
            check=SEEN,
        )
    assert code_of(caught) == "prompt_already_resolved"


def test_another_sessions_prompt_is_unknown_here() -> None:
    with pytest.raises(UnknownSubjectError):
        acts.answer(
            asked(running(), 100),
            prompt_id="of another session",
            nonce=nonce(1),
            at=at(101),
            judgement=Judgement.PASS,
            check=SEEN,
        )


def test_the_servers_clock_places_a_finding() -> None:
    state = answered(asked(running(), 100), 117)
    assert [check.t for check in state.checks()] == [0, 117]


def test_an_answer_after_the_deadline_is_refused_and_the_prompt_missed() -> None:
    state = asked(running(), 100)
    with pytest.raises(ProtocolError) as caught:
        answered(state, 161)
    assert code_of(caught) == "deadline_passed"
    assert acts.expire(state, at=at(159)).open_prompt is not None
    missed = acts.expire(state, at=at(160))
    assert missed.prompts[-1].status is PromptStatus.MISSED
    assert missed.checks()[-1].outcome is Outcome.NO_RESPONSE
    assert missed.checks()[-1].t == 100


def test_an_upload_begun_in_time_may_finish() -> None:
    state = acts.begin_upload(asked(running(), 100), prompt_id="1", nonce=nonce(1), at=at(150))
    assert acts.expire(state, at=at(180)).open_prompt is not None
    assert answered(state, 210).prompts[-1].status is PromptStatus.PASSED


def test_extra_time_is_given_where_it_was_granted() -> None:
    state = acts.issue_prompt(
        running(),
        prompt_id="slow",
        nonce=nonce(9),
        kind=PromptKind.SILENT_CAPTURE,
        origin=PromptOrigin.ADDED,
        added_because=AddedBecause.SUPERVISOR,
        at=at(100),
        extra_time=True,
    )
    assert answered(state, 220).prompts[-1].status is PromptStatus.PASSED


def test_unclear_answers_are_findings_and_in_the_end_a_miss() -> None:
    state = asked(running(), 100)
    for second in (110, 120, 130):
        state = answered(state, second, Judgement.RETRY)
    assert state.prompts[-1].status is PromptStatus.MISSED
    outcomes = [check.outcome for check in state.checks()]
    assert outcomes == [Outcome.CAPTURED, *[Outcome.UNREADABLE] * 3]


def test_a_retry_may_not_reuse_a_nonce_of_the_session() -> None:
    state = asked(running(), 100)
    with pytest.raises(ProtocolError) as caught:
        acts.answer(
            state,
            prompt_id="1",
            nonce=nonce(1),
            at=at(101),
            judgement=Judgement.RETRY,
            check=BLURRED,
            retry_nonce=nonce(0),
        )
    assert code_of(caught) == "nonce_reused"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prompt_id": "0"}, "prompt_reused"),
        ({"nonce": nonce(0)}, "nonce_reused"),
        ({"nonce": b"short"}, "nonce_too_short"),
        ({"origin": PromptOrigin.OPENING}, "wrong_origin"),
        ({"origin": PromptOrigin.SCHEDULED}, "wrong_origin"),
        ({"at": at(-1)}, "time_went_back"),
        ({"at": at(5).replace(tzinfo=None)}, "naive_time"),
        (
            {
                "origin": PromptOrigin.SCHEDULED,
                "planned": PlannedPrompt(index=0, offset_s=101, kind="silent_capture"),
            },
            "not_due",
        ),
    ],
)
def test_a_prompt_that_may_not_go_out_does_not(changes: dict[str, object], code: str) -> None:
    arguments = {
        "prompt_id": "new",
        "nonce": nonce(77),
        "kind": PromptKind.SILENT_CAPTURE,
        "origin": PromptOrigin.ADDED,
        "added_because": AddedBecause.SUPERVISOR,
        "at": at(100),
        **changes,
    }
    if arguments["origin"] is not PromptOrigin.ADDED:
        arguments["added_because"] = None
    with pytest.raises(ProtocolError) as caught:
        acts.issue_prompt(running(), **arguments)  # type: ignore[arg-type]  # one is bad
    assert code_of(caught) == code


@pytest.mark.parametrize(
    ("kind", "code"), [(PromptKind.TYPED_CODE, None), (PromptKind.SILENT_CAPTURE, "123456")]
)
def test_a_code_goes_with_its_kind_only(kind: PromptKind, code: str | None) -> None:
    with pytest.raises(ProtocolError) as caught:
        acts.issue_prompt(
            running(),
            prompt_id="new",
            nonce=nonce(77),
            kind=kind,
            origin=PromptOrigin.ADDED,
            added_because=AddedBecause.POSTERIOR,
            code=code,
            at=at(100),
        )
    assert code_of(caught) == "wrong_kind"


def test_a_retry_shows_another_code() -> None:
    state = acts.issue_prompt(
        opened(),
        prompt_id="typed",
        nonce=nonce(1),
        kind=PromptKind.TYPED_CODE,
        origin=PromptOrigin.OPENING,
        code="111111",
        at=at(0),
    )

    def retried(code: str | None) -> SessionState:
        return acts.answer(
            state,
            prompt_id="typed",
            nonce=nonce(1),
            at=at(5),
            judgement=Judgement.RETRY,
            check=BLURRED,
            retry_nonce=nonce(2),
            retry_code=code,
        )

    assert retried("222222").prompts[-1].code == "222222"
    for code in (None, "111111"):
        with pytest.raises(ProtocolError) as caught:
            retried(code)
        assert code_of(caught) == "wrong_kind"


def test_an_added_prompt_has_a_reason_and_no_other_has() -> None:
    for origin, because in (
        (PromptOrigin.ADDED, None),
        (PromptOrigin.CLOSING, AddedBecause.SUPERVISOR),
    ):
        state = (
            running() if origin is PromptOrigin.ADDED else acts.announce_end(running(), at=at(9))
        )
        with pytest.raises(ProtocolError) as caught:
            acts.issue_prompt(
                state,
                prompt_id="new",
                nonce=nonce(77),
                kind=PromptKind.SILENT_CAPTURE,
                origin=origin,
                added_because=because,
                at=at(10),
            )
        assert code_of(caught) == "wrong_origin"


def test_a_planned_prompt_goes_out_once() -> None:
    state = passed(running(), 60, PromptOrigin.SCHEDULED)
    with pytest.raises(ProtocolError) as caught:
        acts.issue_prompt(
            state,
            prompt_id="again",
            nonce=nonce(77),
            kind=PromptKind.SILENT_CAPTURE,
            origin=PromptOrigin.SCHEDULED,
            at=at(70),
            planned=PlannedPrompt(index=1, offset_s=60, kind="silent_capture"),
        )
    assert code_of(caught) == "prompt_reused"


def test_only_one_prompt_is_open() -> None:
    with pytest.raises(ProtocolError) as caught:
        asked(asked(running(), 100), 101)
    assert code_of(caught) == "prompt_open"


def test_a_pause_earns_nothing_and_asks_nothing() -> None:
    state = acts.pause(running(), at=at(100))
    with pytest.raises(ProtocolError) as caught:
        asked(state, 120)
    assert code_of(caught) == "session_paused"
    state = passed(acts.resume(state, at=at(400)), 500)
    assert [span.credit_s for span in state.spans()] == [200]
    assert [(stop.start_s, stop.end_s) for stop in state.silences] == [(100, 400)]
    with pytest.raises(ProtocolError) as caught:
        acts.resume(state, at=at(501))
    assert code_of(caught) == "not_paused"


def test_while_a_prompt_is_open_the_clock_stands_still() -> None:
    """Issued at 100 and passed at 130, missed from 200 to 260: 90 s of the 500 earn nothing."""
    state = answered(asked(running(), 100), 130)
    assert [span.credit_s for span in state.spans()] == [100]
    state = acts.expire(asked(state, 200), at=at(260))
    state = passed(passed(state, 300), 500)
    assert [(stop.start_s, stop.end_s) for stop in state.answering] == [(100, 130), (200, 260)]
    assert [(span.credit_s, span.state) for span in state.spans()] == [
        (100, SpanState.CREDITABLE),
        (110, SpanState.PENDING),
        (200, SpanState.CREDITABLE),
    ]
    assert state.running_s(at(90), at(210)) == 80


def test_an_open_prompt_and_a_pause_take_a_second_off_once() -> None:
    state = interrupted(asked(running(), 100), 120, 150)
    state = passed(answered(state, 170), 300)
    assert [span.credit_s for span in state.spans()] == [230]
    # What is withheld for another reason counts once as well.
    assert [span.credit_s for span in state.spans([Pause(start_s=90, end_s=160)])] == [220]


def test_what_falls_due_while_a_prompt_is_open_is_no_silence() -> None:
    """It follows at once, so leaving it out would show."""
    state = answered(asked(running(), 100), 130)
    assert acts.abandon(passed(state, 200), at=at(210)).silences == ()


def test_too_many_failures_pause_out_of_a_prompt_too() -> None:
    state = acts.pause_after_failures(asked(running(), 100), at=at(110), until=at(1910))
    assert state.prompts[-1].status is PromptStatus.MISSED
    assert (state.paused_at, state.paused_until) == (at(110), at(1910))
    refusals: list[Callable[[], SessionState]] = [
        lambda: asked(state, 120),
        lambda: acts.pause(state, at=at(120)),
        lambda: acts.pause_after_failures(state, at=at(120), until=at(200)),
        lambda: acts.begin_upload(state, prompt_id="1", nonce=nonce(1), at=at(120)),
    ]
    for refused in refusals:
        with pytest.raises(ProtocolError) as caught:
            refused()
        assert code_of(caught) == "session_paused"
    state = acts.resume(state, at=at(1910))
    assert (state.paused_at, state.paused_until) == (None, None)
    assert [(stop.start_s, stop.end_s) for stop in state.pauses] == [(110, 1910)]
    with pytest.raises(ProtocolError) as caught:
        acts.begin_upload(state, prompt_id="1", nonce=nonce(1), at=at(1911))
    assert code_of(caught) == "prompt_already_resolved"


def test_an_end_announced_in_a_pause_is_checked_after_it() -> None:
    state = acts.pause_after_failures(passed(running(), 100), at=at(110), until=at(1910))
    state = acts.announce_end(state, at=at(200))
    with pytest.raises(ProtocolError) as caught:
        asked(state, 210, PromptOrigin.CLOSING)
    assert code_of(caught) == "session_paused"
    state = acts.resume(state, at=at(1910))
    state = answered(asked(state, 1970, PromptOrigin.CLOSING), 1980)
    state = acts.close(state, at=at(1981))
    # Up to the pause, and not a second of it.
    assert [(span.end_s, span.credit_s) for span in state.spans()] == [(200, 110)]


def test_a_session_that_asked_everything_closes_in_a_pause() -> None:
    state = asked(acts.announce_end(running(), at=at(100)), 100, PromptOrigin.CLOSING)
    state = acts.pause_after_failures(state, at=at(130), until=at(1930))
    state = acts.close(state, at=at(140))
    assert (state.phase, state.paused_at, state.paused_until) == (SessionPhase.CLOSED, None, None)


def test_a_lesson_that_ends_behind_its_schedule_has_a_silence_for_what_waited() -> None:
    """Three fall due at once and wait their turn; the end comes before the turn of the last."""
    state = running()
    for due_s, issued_s in ((100, 100), (110, 175)):
        state = acts.issue_prompt(
            state,
            prompt_id=f"due {due_s}",
            nonce=nonce(due_s),
            kind=PromptKind.SILENT_CAPTURE,
            origin=PromptOrigin.SCHEDULED,
            at=at(issued_s),
            planned=PlannedPrompt(index=due_s, offset_s=due_s, kind="silent_capture"),
        )
        state = acts.expire(state, at=at(issued_s + 60))
    ended = acts.announce_end(state, at=at(240))  # and the second one is waited for until 250
    # Back to when the last one that went out was due: what was due earlier went out earlier.
    assert [(stop.start_s, stop.end_s) for stop in ended.silences] == [(110, 240)]
    assert acts.announce_end(state, at=at(251)).silences == ()


def test_what_waited_when_a_pause_began_that_lasts_to_the_end_is_in_a_silence() -> None:
    """One is due at 120, while another is open; a pause follows at 130, and the end in it."""
    state = answered(asked(running(), 100, PromptOrigin.SCHEDULED), 130)
    state = acts.pause_after_failures(state, at=at(130), until=at(1930))
    ended = acts.abandon(state, at=at(500))
    assert [(stop.start_s, stop.end_s) for stop in ended.silences] == [(130, 500), (100, 500)]


def test_nobody_pauses_out_of_a_prompt() -> None:
    with pytest.raises(ProtocolError) as caught:
        acts.pause(asked(running(), 100), at=at(101))
    assert code_of(caught) == "prompt_open"


def interrupted(state: SessionState, since: float, until: float) -> SessionState:
    return acts.interrupt(state, since=at(since), until=at(until))


def test_while_the_engine_is_away_nothing_is_earned() -> None:
    state = passed(interrupted(passed(running(), 100), 200, 560), 600)
    assert [(span.start_s, span.end_s, span.credit_s) for span in state.spans()] == [(0, 600, 240)]
    assert [(stop.start_s, stop.end_s) for stop in state.silences] == [(200, 560)]
    with pytest.raises(ProtocolError) as caught:
        asked(interrupted(running(), 200, 560), 559)
    assert code_of(caught) == "time_went_back"


def test_an_event_shows_that_the_engine_was_there() -> None:
    state = interrupted(passed(running(), 100), 90, 400)
    assert [(stop.start_s, stop.end_s) for stop in state.pauses] == [(100, 400)]
    # A second start with the same sign of life takes out only what is new.
    state = interrupted(state, 90, 500)
    assert [(stop.start_s, stop.end_s) for stop in state.pauses] == [(100, 400), (400, 500)]
    assert interrupted(state, 90, 500) == state


def test_an_open_prompt_keeps_what_was_left_of_its_time() -> None:
    before = asked(running(), 100)
    state = interrupted(before, 130, 490)
    prompt = state.open_prompt
    assert prompt is not None
    assert (prompt.closes_at, prompt.issued_at) == (at(520), at(100))
    assert prompt.nonces == before.prompts[-1].nonces
    assert answered(state, 520).prompts[-1].status is PromptStatus.PASSED
    with pytest.raises(ProtocolError) as caught:
        answered(state, 521)
    assert code_of(caught) == "deadline_passed"
    # Nobody can have answered from before the interruption was over.
    assert acts.expire(state, at=at(519)).open_prompt is not None
    assert acts.expire(state, at=at(520)).open_prompt is None


@pytest.mark.parametrize("since", [160, 170])
def test_a_prompt_whose_time_was_up_is_missed_all_the_same(since: float) -> None:
    state = interrupted(asked(running(), 100), since, 500)
    with pytest.raises(ProtocolError) as caught:
        answered(state, 500)
    assert code_of(caught) == "deadline_passed"
    assert acts.expire(state, at=at(500)).prompts[-1].status is PromptStatus.MISSED


def test_a_miss_before_an_interruption_stays_one() -> None:
    missed = acts.expire(asked(running(), 100), at=at(160))
    state = passed(interrupted(missed, 170, 500), 600)
    assert state.counts.missed == 1
    assert [span.state for span in state.spans()] == [SpanState.PENDING]


def test_the_window_of_the_closing_prompt_waits_for_the_engine() -> None:
    ending = interrupted(acts.announce_end(running(), at=at(600)), 620, 980)
    with pytest.raises(ProtocolError) as caught:
        asked(ending, 1021, PromptOrigin.CLOSING)
    assert code_of(caught) == "closing_prompt_late"
    state = answered(asked(ending, 1020, PromptOrigin.CLOSING), 1030)
    assert [span.credit_s for span in acts.close(state, at=at(1031)).spans()] == [600]


def test_an_interruption_in_a_pause_counts_once() -> None:
    state = interrupted(acts.pause(running(), at=at(100)), 200, 300)
    assert state.pauses == ()
    state = passed(acts.resume(state, at=at(400)), 500)
    assert [span.credit_s for span in state.spans()] == [200]


def test_what_is_over_is_not_interrupted() -> None:
    with pytest.raises(ProtocolError) as caught:
        interrupted(acts.abandon(running(), at=at(10)), 20, 30)
    assert code_of(caught) == "session_over"
    with pytest.raises(ProtocolError) as caught:
        interrupted(passed(running(), 100), 20, 30)
    assert code_of(caught) == "time_went_back"


@given(
    secret=st.binary(min_size=32, max_size=32),
    # Seconds of presence, then of absence, of the engine.
    absences=st.lists(st.tuples(st.integers(0, 900), st.floats(0.001, 3600)), max_size=5),
    answer_s=st.integers(0, 59),
)
@settings(deadline=None, max_examples=60)
def test_the_schedule_of_an_interrupted_session_verifies(
    secret: bytes, absences: list[tuple[int, float]], answer_s: int
) -> None:
    """An engine that asks whenever it is there owes nobody an explanation."""
    promise = promise_of(secret)
    seeded = seed(secret, promise.committed, promise.checkpoint_root)
    planned = PlannedPrompts(seed=seeded, parameters=promise.header.parameters)
    state, now_s, away_s = running(), 0.0, 0.0
    for present_s, absent_s in [*absences, (600, 0.0)]:
        state = attended(state, planned, until_s=now_s + present_s, answer_s=answer_s)
        gone_s = max(now_s + present_s, state.offset_s(state.last_event_at))
        now_s, away_s = gone_s + absent_s, away_s + absent_s
        state = interrupted(state, gone_s, now_s) if absent_s else state
    end_s = max(now_s, state.offset_s(state.last_event_at))
    state = acts.announce_end(state, at=at(end_s))
    if state.open_prompt is None:
        state = asked(state, end_s, PromptOrigin.CLOSING)
    state, _ = answered_in_time(state, math.inf, answer_s)
    issued = [
        IssuedPrompt(index=p.planned_index, kind=p.kind, issued_s=state.offset_s(p.issued_at))
        for p in state.prompts
        if p.planned_index is not None
    ]
    verdict = verify_schedule(promise, issued, ended_s=end_s, silences=state.silences)
    assert verdict.ok, verdict
    assert state.counts.missed == 0
    (span,) = state.spans()
    # A prompt that was open when the engine went away stands in both, and counts once.
    stopped_s = sum(stop.end_s - stop.start_s for stop in joined(state.stopped))
    asked_s = sum(stop.end_s - stop.start_s for stop in state.answering)
    assert max(away_s, asked_s) <= stopped_s + 1e-4
    assert stopped_s <= away_s + asked_s + 1e-4
    assert span.credit_s == pytest.approx(end_s - stopped_s, abs=1e-4)


def promise_of(secret: bytes) -> SchedulePromise:
    header = ScheduleHeader(
        session_id="s1",
        learner_id="l1",
        class_id="c1",
        platform_id="p1",
        policy_digest=POLICY.digest,
        parameters=ScheduleParameters.of(POLICY.prompts),
        opened_at=START,
    )
    return SchedulePromise(
        secret=secret,
        header=header,
        committed=commitment(secret, header),
        checkpoint_root=bytes(32),
    )


def attended(
    state: SessionState, planned: PlannedPrompts, *, until_s: float, answer_s: float
) -> SessionState:
    """Ask what falls due outside every pause, and answer each after ``answer_s`` seconds.

    An answer that would come after ``until_s`` does not come: the engine is gone by then.
    """
    known = {prompt.planned_index for prompt in state.prompts}
    pauses = state.pauses
    for due in planned.until(until_s):
        held = any(stop.start_s <= due.offset_s < stop.end_s for stop in pauses)
        if due.index in known or held:
            continue
        state, free_s = answered_in_time(state, until_s, answer_s)
        if free_s > until_s:
            return state
        state = acts.issue_prompt(
            state,
            prompt_id=f"planned {due.index}",
            nonce=nonce(due.index + 10_000),
            kind=PromptKind(due.kind),
            origin=PromptOrigin.SCHEDULED,
            at=at(max(due.offset_s, free_s)),
            planned=due,
        )
    return answered_in_time(state, until_s, answer_s)[0]


def answered_in_time(
    state: SessionState, until_s: float, answer_s: float
) -> tuple[SessionState, float]:
    """Answer the open prompt if the engine is there for it; return from when it is free."""
    prompt = state.open_prompt
    last_s = state.offset_s(state.last_event_at)
    if prompt is None:
        return state, last_s
    answer_at_s = max(last_s, state.offset_s(prompt.asked_at) + answer_s)
    if answer_at_s > until_s:
        return state, answer_at_s
    return answered(state, answer_at_s), answer_at_s


def test_the_closing_prompt_must_follow_the_end_soon_and_once() -> None:
    ending = acts.announce_end(running(), at=at(600))
    with pytest.raises(ProtocolError) as caught:
        acts.close(ending, at=at(601))
    assert code_of(caught) == "closing_prompt_missing"
    with pytest.raises(ProtocolError) as caught:
        asked(ending, 661, PromptOrigin.CLOSING)
    assert code_of(caught) == "closing_prompt_late"
    closing = asked(ending, 660, PromptOrigin.CLOSING)
    with pytest.raises(ProtocolError) as caught:
        acts.close(closing, at=at(661))
    assert code_of(caught) == "prompt_open"
    with pytest.raises(ProtocolError) as caught:
        asked(answered(closing, 670), 671, PromptOrigin.CLOSING)
    assert code_of(caught) == "prompt_reused"


def test_a_prompt_open_at_the_end_is_resolved_first() -> None:
    state = acts.announce_end(asked(running(), 590), at=at(600))
    state = answered(state, 645)
    state = asked(state, 700, PromptOrigin.CLOSING)
    assert [(stop.start_s, stop.end_s) for stop in state.silences] == [(590, 600)]
    assert acts.close(answered(state, 710), at=at(711)).phase is SessionPhase.CLOSED


def test_leaving_with_a_prompt_open_is_a_miss() -> None:
    state = acts.abandon(asked(passed(running(), 50), 100), at=at(105))
    assert state.phase is SessionPhase.ABANDONED
    assert (state.counts.missed, state.counts.open) == (1, 0)
    assert [span.credit_s for span in state.spans()] == [50]
    with pytest.raises(ProtocolError) as caught:
        acts.pause(state, at=at(106))
    assert code_of(caught) == "session_over"


def test_leaving_in_a_pause_ends_the_pause() -> None:
    state = acts.abandon(acts.pause(running(), at=at(10)), at=at(30))
    assert [(stop.start_s, stop.end_s) for stop in state.pauses] == [(10, 30)]


def test_the_record_of_a_session_is_in_the_public_format() -> None:
    state = acts.abandon(acts.expire(asked(running(), 100), at=at(160)), at=at(200))
    evidence = acts.session_evidence(state, planned_minutes=45, policy=POLICY, model="m@1")
    assert parse_session(evidence.to_json()) == evidence
    assert (evidence.duration_s, evidence.policy) == (200, "default@2")
    assert [check.outcome for check in evidence.checks] == [Outcome.CAPTURED, Outcome.NO_RESPONSE]


def called(state: SessionState, second: float) -> SessionState:
    number = len(state.prompts)
    return acts.issue_prompt(
        state,
        prompt_id=str(number),
        nonce=nonce(number),
        kind=PromptKind.OFFICER_CALL,
        origin=PromptOrigin.ADDED,
        at=at(second),
        added_because=AddedBecause.SUPERVISOR,
        capture_s=600,
    )


def stretches(pauses: Sequence[Pause]) -> list[tuple[float, float]]:
    return [(pause.start_s, pause.end_s) for pause in pauses]


def test_a_call_bounds_no_span() -> None:
    """One officer's word raises no credit."""
    state = running()
    for second in (100, 200, 300):
        state = answered(called(state, second), second + 10)
    assert state.counts.answered == 4
    assert state.spans() == ()
    (span,) = passed(state, 400).spans()
    assert (span.start_s, span.end_s, span.credit_s) == (0, 400, 370)


@pytest.mark.parametrize("end", [acts.expire, acts.abandon])
def test_a_call_that_nobody_made_is_held_against_nobody(end: Callable[..., SessionState]) -> None:
    state = end(called(running(), 100), at=at(700))
    assert state.prompts[-1].status is PromptStatus.MISSED
    assert (state.breaks_s, len(state.checks())) == ((), 1)
    assert stretches(state.calls) == [(100, 700)]
    assert Pause(start_s=100, end_s=700) in state.silences


def test_who_was_called_and_not_reached_missed_it() -> None:
    state = answered(called(running(), 100), 160, Judgement.RETRY)
    assert (state.breaks_s, len(state.checks())) == ((100,), 2)


def test_an_open_call_is_a_silence_up_to_the_end() -> None:
    state = acts.announce_end(called(running(), 100), at=at(300))
    assert stretches(answered(state, 500).calls) == [(100, 300)]


def test_pauses_are_in_the_record_once_somebody_is_back() -> None:
    """Whoever left in one left the lesson; how long one took to answer is none."""
    state = interrupted(asked(running(), 100), 120, 520)
    state = acts.resume(acts.pause(answered(state, 530), at=at(530)), at=at(600))

    def written(state: SessionState) -> tuple[tuple[float, float], ...]:
        return acts.session_evidence(state, planned_minutes=45, policy=POLICY).pauses

    assert written(state) == ((120, 520),)
    assert written(acts.abandon(state, at=at(700))) == ((120, 520),)
    assert written(answered(called(state, 650), 660)) == ((120, 520),)  # an officer was
    assert written(passed(state, 650)) == ((120, 520), (530, 600))
    assert written(passed(running(), 650)) == ()


class Sessions(RuleBasedStateMachine):
    """Any sequence of acts, allowed or not, by a hostile platform."""

    def __init__(self) -> None:
        super().__init__()
        self.state = opened()
        self.clock_s = 0.0
        self.fresh = count(1)
        self.resolved: dict[str, PromptStatus] = {}

    def do(self, act: object, **arguments: object) -> None:
        """Try one act; refused ones leave the state as it was."""
        try:
            self.state = act(self.state, at=at(self.clock_s), **arguments)  # type: ignore[operator]
        except (ProtocolError, UnknownSubjectError):
            return

    @initialize(is_running=st.booleans())
    def begin(self, is_running: bool) -> None:
        """Begin half of the sessions past their opening, where there is more to break."""
        if is_running:
            self.state = running()

    @rule(seconds=st.integers(0, 90))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock_s += seconds

    @rule(origin=st.sampled_from(PromptOrigin), kind=st.sampled_from(PromptKind))
    def issue(self, origin: PromptOrigin, kind: PromptKind) -> None:
        """Issue a prompt of any kind, due or not."""
        number = next(self.fresh)
        planned = PlannedPrompt(index=number, offset_s=self.clock_s / 2, kind="silent_capture")
        self.do(
            acts.issue_prompt,
            prompt_id=str(number),
            nonce=nonce(number),
            kind=kind,
            code=f"{number:06}" if kind is PromptKind.TYPED_CODE else None,
            origin=origin,
            planned=planned if origin is PromptOrigin.SCHEDULED else None,
            added_because=AddedBecause.SUPERVISOR if origin is PromptOrigin.ADDED else None,
        )

    @precondition(lambda self: self.state.prompts)
    @rule(data=st.data(), judgement=st.sampled_from(Judgement))
    def answer(self, data: st.DataObject, judgement: Judgement) -> None:
        """Answer any prompt of the session with any nonce it ever had."""
        prompt = data.draw(st.sampled_from(self.state.prompts))
        self.do(
            acts.answer,
            prompt_id=prompt.prompt_id,
            nonce=data.draw(st.sampled_from(prompt.nonces)),
            judgement=judgement,
            check=SEEN,
            retry_nonce=nonce(number := next(self.fresh)),
            retry_code=f"{number:06}" if prompt.kind is PromptKind.TYPED_CODE else None,
        )

    @rule(
        act=st.sampled_from(
            [acts.expire, acts.pause, acts.resume, acts.announce_end, acts.close, acts.expire]
        )
    )
    def act(self, act: object) -> None:
        """Do anything else."""
        self.do(act)

    @rule(pause_s=st.integers(0, 300))
    def fail_too_often(self, pause_s: int) -> None:
        """Pause until a moment that is known, whatever is open."""
        before, counts = self.state.open_prompt, self.state.counts
        self.do(acts.pause_after_failures, until=at(self.clock_s + pause_s))
        if before is not None and self.state.open_prompt is None:
            assert self.state.counts.missed == counts.missed + 1

    @rule(before_s=st.integers(0, 120), away_s=st.integers(0, 400))
    def go_away(self, before_s: int, away_s: int) -> None:
        """Let the engine be away, its last sign of life ``before_s`` seconds old."""
        missed = self.state.counts.missed
        since = at(self.clock_s - before_s)
        self.clock_s += away_s
        try:
            self.state = acts.interrupt(self.state, since=since, until=at(self.clock_s))
        except ProtocolError:
            return
        assert self.state.counts.missed == missed

    @rule(leave=st.integers(0, 9))
    def leave(self, leave: int) -> None:
        """Abandon the session, rarely."""
        if leave == 0:
            self.do(acts.abandon)

    @invariant()
    def counts_add_up(self) -> None:
        """Count every prompt as answered, missed or open."""
        counts = self.state.counts
        assert counts.issued == counts.answered + counts.missed + counts.open
        assert counts.open <= 1

    @invariant()
    def nothing_resolved_is_resolved_again(self) -> None:
        """Keep what became of a prompt."""
        for prompt in self.state.prompts:
            if not prompt.is_open:
                assert self.resolved.setdefault(prompt.prompt_id, prompt.status) is prompt.status

    @invariant()
    def credit_never_outruns_the_clock(self) -> None:
        """Earn no second that the server did not see pass outside pauses and open prompts."""
        state = self.state
        paused_s = sum(stop.end_s - stop.start_s for stop in state.pauses)
        asked_s = sum(stop.end_s - stop.start_s for stop in state.answering)
        stopped_s = sum(stop.end_s - stop.start_s for stop in joined(state.stopped))
        credits_s = [span.credit_s for span in state.spans()]
        assert min(credits_s, default=0) >= 0
        assert max(paused_s, asked_s) <= stopped_s + 1e-9
        assert sum(credits_s) <= state.offset_s(state.last_event_at) - stopped_s + 1e-9
        assert sum(credits_s) <= self.clock_s - stopped_s + 1e-9

    @invariant()
    def the_order_of_pauses_changes_nothing(self) -> None:
        """Take each second off once, in whatever order the stretches are kept."""
        turned = replace(self.state, pauses=self.state.pauses[::-1])
        assert turned.spans() == self.state.spans()

    @invariant()
    def a_pause_that_ends_by_itself_is_one(self) -> None:
        """Know until when only while paused, and ask nothing then."""
        if self.state.paused_until is not None:
            assert self.state.paused_at is not None
        if self.state.paused_at is not None:
            assert self.state.open_prompt is None
            assert self.state.ended_at is None

    @invariant()
    def a_code_goes_with_prompts_that_ask_for_one(self) -> None:
        """Show a code where one has to be typed, and another one with each retry."""
        for prompt in self.state.prompts:
            assert (prompt.code is not None) == (prompt.kind is PromptKind.TYPED_CODE)
        codes = [prompt.code for prompt in self.state.prompts if prompt.code is not None]
        assert len(codes) == len(set(codes))

    @invariant()
    def a_call_is_answered_once(self) -> None:
        """Ask nothing again of a call: whoever was not reached is called by another prompt."""
        for prompt in self.state.prompts:
            if prompt.kind is PromptKind.OFFICER_CALL and prompt.attempts:
                assert not prompt.is_open

    @invariant()
    def no_nonce_is_used_twice(self) -> None:
        """Use no nonce for two requests."""
        nonces = [used for prompt in self.state.prompts for used in prompt.nonces]
        assert len(nonces) == len(set(nonces))


Sessions.TestCase.settings = settings(deadline=None, max_examples=80, stateful_step_count=30)
TestSessions = Sessions.TestCase


def test_a_state_is_a_value() -> None:
    state = running()
    again = asked(state, 100)
    assert len(state.prompts) == 1
    assert replace(again, prompts=again.prompts[:1], last_event_at=state.last_event_at) == state
