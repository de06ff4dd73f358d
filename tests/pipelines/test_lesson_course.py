"""What time alone does to a lesson: how long an answer is waited for, and what an end leaves."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines.clock import ManualClock
from pipelines.lesson import Lesson
from pipelines.lesson_course import skip_until
from tests.pipelines.lesson_stage import LEARNER_FACE, STARTS, LessonStage, frame
from verifier.prompt import RECEIVING_S, Judgement, PromptStatus
from verifier.session_state import SessionPhase


class SteppedClock(ManualClock):
    """A clock that somebody may put back."""

    def put_back(self, seconds: float) -> None:
        self._now -= timedelta(seconds=seconds)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def lesson_of(stage: LessonStage, session_id: str) -> Lesson:
    with stage.store.reading() as unit:
        return unit.lesson(session_id)


def advance_to(stage: LessonStage, moment: datetime) -> None:
    stage.clock.advance((moment - stage.clock.now()).total_seconds())


@pytest.mark.parametrize("late_s", [1, 14, RECEIVING_S])
def test_an_answer_on_its_way_is_waited_for(stage: LessonStage, late_s: int) -> None:
    """It began to arrive at the last moment; others who ask meanwhile do not end the wait."""
    session_id = stage.open()
    prompt = stage.prompt(session_id)
    advance_to(stage, prompt.closes_at + timedelta(seconds=late_s))
    assert stage.engine.poll(session_id) is None  # nobody else is told of it any more
    view = stage.engine.answer(
        session_id,
        prompt_id=prompt.prompt_id,
        nonce=prompt.nonce,
        frames=[frame(LEARNER_FACE)],
        arrived_at=prompt.closes_at,
    )
    assert view.judgement is Judgement.PASS


def test_it_is_not_waited_for_any_longer(stage: LessonStage) -> None:
    session_id = stage.open()
    asked = stage.prompt(session_id)
    advance_to(stage, asked.closes_at + timedelta(seconds=RECEIVING_S, microseconds=1))
    again = stage.prompt(session_id)
    assert again.prompt_id != asked.prompt_id
    first, second = lesson_of(stage, session_id).state.prompts
    assert (first.status, second.is_open) == (PromptStatus.MISSED, True)


@pytest.mark.parametrize(("before_expiry_s", "leaves"), [(5, 1), (-5, 0)])
def test_a_prompt_due_just_before_the_time_runs_out_leaves_its_miss(
    stage: LessonStage, before_expiry_s: int, leaves: int
) -> None:
    """After the end nothing is waited for; one that was due later is missed by the end alone."""
    session_id = stage.open()
    expires_at = lesson_of(stage, session_id).expires_at
    advance_to(stage, expires_at - timedelta(seconds=60 + before_expiry_s))
    prompt = stage.prompt(session_id)
    assert prompt.closes_at == expires_at - timedelta(seconds=before_expiry_s)
    advance_to(stage, expires_at)
    assert stage.engine.abandon_expired() == 1
    assert [leaf.kind for leaf in stage.leaves()].count("prompt_missed") == leaves
    assert lesson_of(stage, session_id).state.counts.missed == 1


def test_a_clock_that_is_put_back_stops_a_lesson_and_breaks_none(stage: LessonStage) -> None:
    """A moment already on record is never dated before another; time goes on from there."""
    stage.clock = clock = SteppedClock(STARTS)
    stage.restart()
    session_id = stage.open()
    stage.answer(session_id, stage.prompt(session_id))
    latest = lesson_of(stage, session_id).state.last_event_at
    clock.put_back(100)
    assert stage.engine.poll(session_id) is None
    stage.engine.announce_end(session_id)
    prompt = stage.prompt(session_id)
    assert prompt.closes_at == latest + timedelta(seconds=60)
    clock.advance(100)
    stage.answer(session_id, prompt)
    result = stage.engine.close(session_id)
    assert result.state.phase is SessionPhase.CLOSED
    assert result.account.ended_at == latest


def test_what_is_due_in_the_very_moment_of_the_opening_is_asked(stage: LessonStage) -> None:
    lesson = lesson_of(stage, stage.open())
    first = lesson.planned
    assert skip_until(lesson, first.offset_s).next_planned == first.index
    assert skip_until(lesson, first.offset_s + 1e-6).next_planned == first.index + 1
