"""Which of its own times the engine goes by: when an answer began, came, and a lesson began."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from pipelines.lesson import AnswerView, PromptView
from pipelines.witnessing import WitnessedCheckpoint
from tests.pipelines.lesson_stage import LEARNER_FACE, STARTS, ColourObserver, LessonStage, frame
from verifier.errors import InputError, ProtocolError
from verifier.prompt import Judgement


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def send(
    stage: LessonStage, session_id: str, prompt: PromptView, *, arrived_at: datetime
) -> AnswerView:
    return stage.engine.answer(
        session_id,
        prompt_id=prompt.prompt_id,
        nonce=prompt.nonce,
        frames=[frame(LEARNER_FACE)],
        arrived_at=arrived_at,
    )


def test_headers_sent_before_the_prompt_was_out_gain_nothing(stage: LessonStage) -> None:
    """A connection held open in wait for a prompt counts as begun when the prompt was asked."""
    session_id = stage.open()
    stage.clock.advance(30)
    prompt = stage.prompt(session_id)
    stage.clock.advance(5)
    view = send(stage, session_id, prompt, arrived_at=STARTS)
    assert view.judgement is Judgement.PASS
    (attempt,) = stage.engine.close(session_id).state.prompts[0].attempts
    assert attempt.check.t == 35


def test_nothing_arrives_in_the_future(stage: LessonStage) -> None:
    """Whoever measured the arrival may be ahead by a little; that must not be called late."""
    session_id = stage.open()
    prompt = stage.prompt(session_id)
    late = prompt.closes_at + timedelta(seconds=1)
    assert send(stage, session_id, prompt, arrived_at=late).judgement is Judgement.PASS


def test_what_began_too_late_is_late_however_fast_it_came(stage: LessonStage) -> None:
    session_id = stage.open()
    prompt = stage.prompt(session_id)
    stage.clock.advance(61)
    with pytest.raises(ProtocolError) as caught:
        send(stage, session_id, prompt, arrived_at=prompt.closes_at + timedelta(microseconds=1))
    assert caught.value.code == "deadline_passed"


def test_a_slow_upload_is_seen_when_it_is_there(stage: LessonStage) -> None:
    """Nobody is seen before the whole picture came: the seconds of sending prove nothing."""
    session_id = stage.open()
    prompt = stage.prompt(session_id)
    stage.clock.advance(60)
    began_at = stage.clock.now()
    stage.clock.advance(12)
    assert send(stage, session_id, prompt, arrived_at=began_at).judgement is Judgement.PASS
    result = stage.engine.close(session_id)
    assert [answer.at_s for answer in result.answers] == [72]
    assert result.state.passes_s == (72,)


def test_a_lessons_time_runs_from_its_beginning_not_from_the_request(
    stage: LessonStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing the commitment took three seconds: no learner loses them, nor earns by them."""
    first_checkpoint_with = stage.archive.first_checkpoint_with

    def slowly(index: int) -> WitnessedCheckpoint:
        stage.clock.advance(3)
        return first_checkpoint_with(index)

    with monkeypatch.context() as patched:
        patched.setattr(stage.archive, "first_checkpoint_with", slowly)
        session_id = stage.open(minutes=45)
    with stage.store.reading() as unit:
        lesson = unit.lesson(session_id)
    begins_at = STARTS + timedelta(seconds=3)
    slack = timedelta(seconds=stage.engine.policy.prompts.abandon_after_planned_s)
    assert lesson.header.opened_at == STARTS
    assert lesson.state.started_at == lesson.state.last_event_at == begins_at
    assert lesson.expires_at == begins_at + timedelta(minutes=45) + slack


@pytest.mark.parametrize("nonce", [None, "text", 7, [0] * 16])
def test_a_nonce_that_is_no_bytes(stage: LessonStage, nonce: object) -> None:
    session_id = stage.open()
    prompt = stage.prompt(session_id)
    with pytest.raises(InputError, match="the nonce is"):
        stage.engine.answer(
            session_id,
            prompt_id=prompt.prompt_id,
            nonce=cast("bytes", nonce),
            frames=[frame(LEARNER_FACE)],
        )
    observer = stage.engine.checker.observer
    assert isinstance(observer, ColourObserver)
    assert observer.frames_seen == 0
    assert stage.prompt(session_id) == prompt
