"""An engine that was away: nobody is charged for it, nobody is spared what came before."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.pipelines.lesson_stage import LessonStage, stopped_s, verdict_of
from verifier.credit import Pause
from verifier.errors import ProtocolError
from verifier.prompt import PromptOrigin, PromptStatus
from verifier.session_score import Decision
from verifier.session_state import SessionPhase, SessionState
from verifier.transparency.leaf import Leaf

AWAY_S = 360.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    """Set a stage, and verify every byte of its archive afterwards."""
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def away(stage: LessonStage, seconds: float = AWAY_S, *, since: datetime | None = None) -> int:
    """Let the engine die, at ``since`` or now, and another one start ``seconds`` from now."""
    since = since or stage.clock.now()
    stage.clock.advance(seconds)
    stage.restart()
    return stage.engine.resume_after(since)


def state_of(stage: LessonStage, session_id: str) -> SessionState:
    with stage.store.reading() as unit:
        return unit.lesson(session_id).state


def expiry_of(stage: LessonStage, session_id: str) -> datetime:
    with stage.store.reading() as unit:
        return unit.lesson(session_id).expires_at


def test_downtime_in_an_attended_lesson_is_taken_out_and_held_against_nobody(
    stage: LessonStage,
) -> None:
    session_id = stage.open()
    stage.attend(session_id, minutes=20)
    went_s = state_of(stage, session_id).offset_s(stage.clock.now())
    assert away(stage) == 1
    stage.attend(session_id, minutes=19)
    result = stage.end(session_id)
    assert result.account.score.decision is Decision.ACCEPT
    assert result.state.counts.missed == 0
    assert result.evidence.pauses == tuple((p.start_s, p.end_s) for p in result.state.pauses)
    # Neither the engine's absence nor the time in which a prompt was open is lesson time.
    assert 6 * 60 < stopped_s(result.state) < 6 * 60 + result.state.counts.issued
    earned_s = 45 * 60 - stopped_s(result.state)
    assert result.account.credit.credited_s == pytest.approx(earned_s, abs=1e-6)
    assert result.account.credit.pending_s == 0
    assert verdict_of(result).ok
    size = stage.archive.publish().size
    closed = Leaf.parse(stage.archive.reader.entry(result.closed_index, size))
    silences = closed.facts["silences_ms"]
    assert isinstance(silences, list)
    assert [1000 * went_s, 1000 * (went_s + AWAY_S)] in silences


def test_without_it_everything_due_in_the_downtime_is_missed(stage: LessonStage) -> None:
    """What the act is for: the same lesson, and an engine that does not say it was away."""
    session_id = stage.open()
    stage.attend(session_id, minutes=20)
    stage.clock.advance(4 * AWAY_S)
    stage.restart()
    stage.attend(session_id, minutes=19)
    assert stage.end(session_id).state.counts.missed > 0


def test_an_open_prompt_is_the_same_and_has_the_time_that_was_left(stage: LessonStage) -> None:
    session_id = stage.open()
    opening = stage.prompt(session_id)
    stage.clock.advance(20)
    away(stage)
    again = stage.prompt(session_id)
    assert (again.prompt_id, again.nonce) == (opening.prompt_id, opening.nonce)
    assert (again.closes_at - stage.clock.now()).total_seconds() == 40
    stage.clock.advance(40)
    stage.answer(session_id, again)
    assert state_of(stage, session_id).phase is SessionPhase.RUNNING


def test_what_was_due_before_goes_out_before(stage: LessonStage) -> None:
    """Who did not poll in time is not better off because the engine died later."""
    session_id = stage.open()
    stage.answer(session_id, stage.prompt(session_id))
    stage.clock.advance(15 * 60)  # nobody polls
    away(stage)
    state = state_of(stage, session_id)
    before_s = 15 * 60
    assert all(state.offset_s(p.issued_at) < before_s for p in state.prompts)
    assert state.counts.missed >= 3
    stage.attend(session_id, minutes=5)
    result = stage.end(session_id)
    assert verdict_of(result).ok
    assert result.account.credit.credited_s == 0
    # One may have been open past its time, for an answer on its way; the others were answered.
    assert result.state.counts.missed - state.counts.missed <= 1


def test_a_deadline_that_had_passed_is_not_renewed(stage: LessonStage) -> None:
    session_id = stage.open()
    stage.answer(session_id, stage.prompt(session_id))
    while (prompt := stage.engine.poll(session_id)) is None:
        stage.clock.advance(1)
    stage.clock.advance(61)
    away(stage)
    with pytest.raises(ProtocolError) as caught:
        stage.answer(session_id, prompt)
    assert caught.value.code in {"deadline_passed", "prompt_already_resolved"}
    stage.engine.poll(session_id)
    missed = next(p for p in state_of(stage, session_id).prompts if p.prompt_id == prompt.prompt_id)
    assert missed.status is PromptStatus.MISSED


def test_an_event_after_the_last_sign_of_life_counts(stage: LessonStage) -> None:
    session_id = stage.open()
    beat_at = stage.clock.now()
    stage.clock.advance(4)
    stage.answer(session_id, stage.prompt(session_id))
    answered_at = stage.clock.now()
    expires_at = expiry_of(stage, session_id)
    away(stage, since=beat_at)
    assert expiry_of(stage, session_id) - expires_at == timedelta(seconds=AWAY_S)
    state = state_of(stage, session_id)
    (pause,) = state.pauses
    assert pause == Pause(start_s=state.offset_s(answered_at), end_s=4 + AWAY_S)


def test_an_end_announced_before_is_closed_after(stage: LessonStage) -> None:
    session_id = stage.open()
    stage.attend(session_id, minutes=10)
    while prompt := stage.engine.poll(session_id):
        stage.answer(session_id, prompt)
    stage.engine.announce_end(session_id)
    away(stage)
    closing = stage.prompt(session_id)
    stage.clock.advance(30)
    stage.answer(session_id, closing)
    result = stage.engine.close(session_id)
    assert result.state.phase is SessionPhase.CLOSED
    assert result.state.prompts[-1].origin is PromptOrigin.CLOSING
    asked_s = sum(p.end_s - p.start_s for p in result.state.answering)
    assert asked_s < result.state.counts.issued
    assert result.account.credit.credited_s == pytest.approx(10 * 60 - asked_s, abs=1e-6)
    assert verdict_of(result).ok


def test_a_lesson_ends_later_by_as_much(stage: LessonStage) -> None:
    session_id = stage.open(minutes=10)
    expires_at = expiry_of(stage, session_id)
    stage.clock.advance(5)
    away(stage, 3 * 3600)
    assert expiry_of(stage, session_id) - expires_at == timedelta(hours=3)
    assert stage.engine.abandon_expired() == 0
    stage.prompt(session_id)


def test_a_lesson_whose_time_was_up_is_not_brought_back(stage: LessonStage) -> None:
    session_id = stage.open(minutes=10)
    expires_at = expiry_of(stage, session_id)
    stage.clock.advance((expires_at - stage.clock.now()).total_seconds())
    assert away(stage) == 0
    assert stage.engine.abandon_expired() == 1
    result = stage.engine.result(session_id)
    assert result.state.ended_at == expires_at
    assert result.state.pauses == ()


def test_starting_twice_takes_out_no_second_twice(stage: LessonStage) -> None:
    session_id = stage.open()
    stage.attend(session_id, minutes=10)
    gone_at = stage.clock.now()
    away(stage, 200)
    away(stage, 160, since=gone_at)  # killed again before it wrote a sign of life
    pauses = state_of(stage, session_id).pauses
    assert sum(pause.end_s - pause.start_s for pause in pauses) == AWAY_S
    stage.attend(session_id, minutes=10)
    result = stage.end(session_id)
    earned_s = 20 * 60 + AWAY_S - stopped_s(result.state)
    assert result.account.credit.credited_s == pytest.approx(earned_s, abs=1e-6)
    assert verdict_of(result).ok


def test_nobody_is_there_and_nobody_is_interrupted(stage: LessonStage) -> None:
    session_id = stage.open()
    stage.engine.close(session_id)
    assert away(stage) == 0
