"""Too many failed answers: a pause of the learner's, in the log, that ends by itself."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines.lesson import Lesson
from tests.pipelines.lesson_stage import (
    BLURRED,
    LEARNER_FACE,
    NOBODY,
    OTHER_FACE,
    ColourObserver,
    LessonStage,
    frame,
    verdict_of,
)
from verifier.errors import ProtocolError
from verifier.prompt import Judgement, PromptKind, PromptOrigin, PromptStatus
from verifier.session_state import SessionPhase

PAUSE = timedelta(minutes=30)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def lesson_of(stage: LessonStage, session_id: str) -> Lesson:
    with stage.store.reading() as unit:
        return unit.lesson(session_id)


def next_prompt(stage: LessonStage, session_id: str) -> None:
    while stage.engine.poll(session_id) is None:
        stage.clock.advance(1)


def fail(stage: LessonStage, session_id: str, times: int, who: str = NOBODY) -> datetime:
    """Let answers fail, one after the other; return when the last one did."""
    for _ in range(times):
        next_prompt(stage, session_id)
        stage.answer(session_id, stage.prompt(session_id), who)
    return stage.clock.now()


def frames_seen(stage: LessonStage) -> int:
    observer = stage.engine.checker.observer
    assert isinstance(observer, ColourObserver)
    return observer.frames_seen


def running(stage: LessonStage, *, minutes: float = 45) -> str:
    session_id = stage.open(minutes=minutes)
    stage.answer(session_id, stage.prompt(session_id))
    return session_id


@pytest.mark.parametrize("who", [NOBODY, OTHER_FACE, BLURRED])
def test_the_fifth_failure_pauses_and_the_fourth_does_not(stage: LessonStage, who: str) -> None:
    """Opening prompts are asked at once, so that all of them fail within a second."""
    session_id = stage.open()
    fail(stage, session_id, 4, who)
    assert lesson_of(stage, session_id).state.paused_until is None
    at = fail(stage, session_id, 1, who)
    paused = lesson_of(stage, session_id).state
    assert (paused.paused_at, paused.paused_until) == (at, at + PAUSE)
    assert stage.engine.poll(session_id) is None
    assert paused.open_prompt is None


def test_the_answer_that_pauses_is_not_asked_again(stage: LessonStage) -> None:
    """It would have had a try left, with a nonce that nothing takes any more."""
    session_id = stage.open()
    fail(stage, session_id, 4)
    view = stage.answer(session_id, stage.prompt(session_id), NOBODY)
    assert (view.judgement, view.asked_again) == (Judgement.RETRY, None)


def test_failures_further_apart_pause_nobody(stage: LessonStage) -> None:
    session_id = stage.open()
    for _ in range(5):
        fail(stage, session_id, 1)
        stage.clock.advance(46)  # five of them span 184 s
    assert lesson_of(stage, session_id).state.paused_until is None


def test_what_passed_is_no_failure(stage: LessonStage) -> None:
    session_id = stage.open()
    fail(stage, session_id, 4)
    stage.answer(session_id, stage.prompt(session_id))
    assert lesson_of(stage, session_id).state.phase is SessionPhase.RUNNING
    assert lesson_of(stage, session_id).state.paused_until is None


def test_a_pause_asks_judges_and_earns_nothing_and_ends_by_itself(stage: LessonStage) -> None:
    session_id = paused_while_running(stage)
    paused = lesson_of(stage, session_id)
    last = paused.state.prompts[-1]
    # Three tries at one prompt, then two at the next, which is left with tries to go.
    assert (last.status, len(last.attempts)) == (PromptStatus.MISSED, 2)
    assert last.resolved_at == paused.state.paused_at == stage.clock.now()
    assert paused.expires_at == stage.clock.now() + timedelta(minutes=45 + 30) + PAUSE
    seen = frames_seen(stage)
    with pytest.raises(ProtocolError) as caught:
        stage.engine.answer(
            session_id, prompt_id=last.prompt_id, nonce=last.nonce, frames=[frame(LEARNER_FACE)]
        )
    assert (caught.value.code, frames_seen(stage)) == ("session_paused", seen)
    stage.clock.advance(29 * 60)
    assert stage.engine.poll(session_id) is None
    assert stage.engine.next_due(session_id) == paused.state.paused_until
    stage.attend(session_id, minutes=20)
    result = stage.end(session_id)
    state = result.state
    (pause,) = state.pauses
    assert pause.end_s - pause.start_s == PAUSE.total_seconds()
    asked_s = [state.offset_s(p.issued_at) for p in state.prompts]
    assert not [at_s for at_s in asked_s if pause.start_s < at_s < pause.end_s]
    due_s = [p.planned_offset_s for p in state.prompts if p.planned_offset_s is not None]
    assert not [at_s for at_s in due_s if pause.start_s <= at_s < pause.end_s]
    worth_s = result.account.credit.credited_s + result.account.credit.pending_s
    assert worth_s <= 19 * 60
    verdict = verdict_of(result)
    assert verdict.ok
    assert verdict.excused


def test_the_log_tells_of_the_pause_and_of_no_score(stage: LessonStage) -> None:
    session_id = stage.open()
    stage.clock.advance(7)
    fail(stage, session_id, 5)
    (leaf,) = (leaf for leaf in stage.leaves() if leaf.kind == "session_paused")
    assert leaf.facts == {
        "because": "failures",
        "from_ms": 7000,
        "path": "face",
        "until_ms": 7000 + 1000 * PAUSE.total_seconds(),
    }
    assert leaf.commitment is None
    own = [leaf for leaf in stage.leaves() if leaf.session_id == session_id]
    assert [each.sequence for each in own] == list(range(len(own)))


def test_a_new_session_waits_until_the_same_moment(stage: LessonStage) -> None:
    """Opening another one must not buy five more tries, and is never refused."""
    at = fail(stage, stage.open(), 5)
    stage.clock.advance(60)
    session_id = stage.open()
    begun = lesson_of(stage, session_id)
    assert begun.state.paused_until == at + PAUSE
    assert stage.engine.poll(session_id) is None
    assert begun.expires_at == at + PAUSE + timedelta(minutes=45 + 30)
    stage.clock.advance(29 * 60)
    prompt = stage.prompt(session_id)
    assert stage.answer(session_id, prompt).judgement is Judgement.PASS
    assert lesson_of(stage, session_id).state.phase is SessionPhase.RUNNING


def test_failures_of_two_sessions_add_up_and_those_of_two_learners_do_not(
    stage: LessonStage,
) -> None:
    fail(stage, stage.open("learner-2"), 4)
    fail(stage, stage.open(), 3)
    session_id = stage.open()
    fail(stage, session_id, 1)
    assert lesson_of(stage, session_id).state.paused_until is None
    fail(stage, session_id, 1)
    assert lesson_of(stage, session_id).state.paused_until == stage.clock.now() + PAUSE


def test_after_the_pause_the_old_failures_are_forgotten(stage: LessonStage) -> None:
    session_id = stage.open()
    fail(stage, session_id, 5)
    stage.clock.advance(PAUSE.total_seconds())
    fail(stage, session_id, 4)
    assert lesson_of(stage, session_id).state.paused_until is None


def paused_while_running(stage: LessonStage) -> str:
    """Return a session that ran and is paused; an officer's prompts make sure that it is."""
    session_id = running(stage)
    while lesson_of(stage, session_id).state.paused_until is None:
        if stage.engine.poll(session_id) is None:
            stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="officer-1")
        stage.answer(session_id, stage.prompt(session_id), NOBODY)
    return session_id


def test_nobody_adds_a_prompt_to_a_pause(stage: LessonStage) -> None:
    session_id = paused_while_running(stage)
    with pytest.raises(ProtocolError) as caught:
        stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="officer-1")
    assert caught.value.code == "session_paused"


def test_an_end_announced_in_a_pause_is_checked_after_it(stage: LessonStage) -> None:
    """The lesson earned up to the pause at most, and the learner is not locked in."""
    session_id = paused_while_running(stage)
    stage.clock.advance(60)
    stage.engine.announce_end(session_id)
    assert stage.engine.poll(session_id) is None
    stage.clock.advance(29 * 60)
    closing = stage.prompt(session_id)
    state = lesson_of(stage, session_id).state
    assert state.prompts[-1].origin is PromptOrigin.CLOSING
    assert state.end_announced_at == stage.clock.now() - timedelta(minutes=29)
    stage.answer(session_id, closing)
    result = stage.engine.close(session_id)
    assert result.state.phase is SessionPhase.CLOSED
    (pause,) = result.state.pauses
    worth_s = result.account.credit.credited_s + result.account.credit.pending_s
    assert worth_s <= pause.start_s


def test_closing_in_a_pause_abandons_and_asks_nobody(stage: LessonStage) -> None:
    session_id = paused_while_running(stage)
    issued = lesson_of(stage, session_id).state.counts.issued
    stage.clock.advance(60)
    result = stage.engine.close(session_id)
    assert result.state.phase is SessionPhase.ABANDONED
    assert (result.state.counts.issued, result.account.credit.credited_s) == (issued, 0)
    assert (result.state.paused_at, result.state.paused_until) == (None, None)
    assert stage.open()  # and the next one waits for what is left of the pause


def test_a_closing_prompt_that_failed_too_often_can_be_closed_at_once(stage: LessonStage) -> None:
    session_id = running(stage)
    stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="officer-1")
    fail(stage, session_id, 3)
    stage.engine.announce_end(session_id)
    fail(stage, session_id, 2)
    assert lesson_of(stage, session_id).state.paused_until is not None
    result = stage.engine.close(session_id)
    assert result.state.phase is SessionPhase.CLOSED
    assert result.state.paused_until is None


def test_an_engine_that_was_away_in_a_pause_moves_the_end_once(stage: LessonStage) -> None:
    session_id = paused_while_running(stage)
    until = lesson_of(stage, session_id).state.paused_until
    assert until is not None
    expires_at = lesson_of(stage, session_id).expires_at
    gone_at = stage.clock.now()
    stage.clock.advance(40 * 60)
    stage.restart()
    assert stage.engine.resume_after(gone_at) == 1
    back_at = stage.clock.now()
    assert lesson_of(stage, session_id).expires_at == expires_at + (back_at - until)
    stage.engine.poll(session_id)
    (pause,) = lesson_of(stage, session_id).state.pauses
    started = lesson_of(stage, session_id).state.started_at
    assert started + timedelta(seconds=pause.end_s) == back_at


def test_nobody_is_locked_out_for_ever(stage: LessonStage) -> None:
    session_id = paused_while_running(stage)
    stage.clock.advance(24 * 3600)
    assert stage.engine.abandon_expired() == 1
    assert stage.engine.result(session_id).state.phase is SessionPhase.ABANDONED
    again = stage.open()
    assert stage.prompt(again)
