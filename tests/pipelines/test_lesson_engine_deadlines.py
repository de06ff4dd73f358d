"""How long a prompt waits: the engine's delay is nobody else's, and nobody else's the engine's."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines.lesson import Lesson
from pipelines.lesson_course import LATEST_TOLD
from tests.pipelines.lesson_stage import BLURRED, LEARNER_FACE, LessonStage, frame
from verifier.errors import ProtocolError, UnknownSubjectError
from verifier.prompt import RECEIVING_S, Judgement, Prompt, PromptStatus

UNTIL = timedelta(seconds=60)


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


def running(stage: LessonStage) -> str:
    session_id = stage.open()
    stage.answer(session_id, stage.prompt(session_id))
    return session_id


def due_of(stage: LessonStage, session_id: str) -> datetime:
    due = stage.engine.next_due(session_id)
    assert due is not None
    return due


def open_prompt(stage: LessonStage, session_id: str) -> Prompt:
    prompt = lesson_of(stage, session_id).state.open_prompt
    assert prompt is not None
    return prompt


@pytest.mark.parametrize(
    ("late_s", "streaming", "given_s"),
    [(8, True, 8), (8, False, 0), (55, True, 30), (0, True, 0)],
)
def test_a_deadline_counts_from_when_the_engine_told(
    stage: LessonStage, late_s: float, streaming: bool, given_s: float
) -> None:
    """Whoever streams was waiting; the prompt was open all the same since it was due."""
    session_id = running(stage)
    due = due_of(stage, session_id)
    advance_to(stage, due + timedelta(seconds=late_s))
    view = stage.engine.poll(session_id, streaming=streaming)
    assert view is not None
    assert view.closes_at == due + UNTIL + timedelta(seconds=given_s)
    assert open_prompt(stage, session_id).issued_at == due
    assert timedelta(seconds=30) == LATEST_TOLD


def test_telling_again_moves_nothing(stage: LessonStage) -> None:
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    first = stage.engine.poll(session_id, streaming=True)
    stage.clock.advance(20)
    assert stage.engine.poll(session_id, streaming=True) == first


def test_an_upload_that_began_has_a_minute_more(stage: LessonStage) -> None:
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)
    advance_to(stage, prompt.closes_at)
    stage.engine.begin_upload(
        session_id,
        prompt_id=prompt.prompt_id,
        nonce=prompt.nonce,
        arrived_at=stage.clock.now(),
    )
    stage.restart()  # it is kept, so another process waits as well
    stage.clock.advance(60)
    assert stage.prompt(session_id).closes_at == prompt.closes_at + UNTIL
    assert stage.answer(session_id, prompt, announced=True).judgement is Judgement.PASS


def test_other_bytes_than_were_announced_have_none(stage: LessonStage) -> None:
    """Or announcing anything at all would buy a minute to come back in."""
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)

    def begin_upload() -> object:
        return stage.engine.begin_upload(
            session_id,
            prompt_id=prompt.prompt_id,
            nonce=prompt.nonce,
            arrived_at=stage.clock.now(),
        )

    advance_to(stage, prompt.closes_at - timedelta(seconds=2))
    begin_upload()
    stage.clock.advance(2.001)
    before = lesson_of(stage, session_id)
    for act in (lambda: stage.answer(session_id, prompt), begin_upload):
        with pytest.raises(ProtocolError) as caught:
            act()
        assert caught.value.code == "deadline_passed"
    assert lesson_of(stage, session_id) == before
    # What began to arrive in time may take longer to be here.
    at = prompt.closes_at
    assert stage.answer(session_id, prompt, arrived_at=at).judgement is Judgement.PASS


def test_beginning_again_and_again_gains_nothing(stage: LessonStage) -> None:
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)
    for _ in range(4):
        stage.clock.advance(20)
        stage.engine.begin_upload(
            session_id,
            prompt_id=prompt.prompt_id,
            nonce=prompt.nonce,
            arrived_at=stage.clock.now(),
            announced=True,
        )
    assert open_prompt(stage, session_id).closes_at == prompt.closes_at + UNTIL


def test_an_upload_that_began_too_late_or_for_nothing_is_refused(stage: LessonStage) -> None:
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)
    version = lesson_of(stage, session_id).version

    def refused(nonce: bytes) -> str:
        with pytest.raises(ProtocolError) as caught:
            stage.engine.begin_upload(
                session_id,
                prompt_id=prompt.prompt_id,
                nonce=nonce,
                arrived_at=stage.clock.now() + timedelta(hours=1),  # no later than now
            )
        return caught.value.code

    assert refused(bytes(16)) == "wrong_nonce"
    stage.clock.advance(61)
    assert refused(prompt.nonce) == "deadline_passed"
    assert lesson_of(stage, session_id).version == version


def test_a_busy_engine_costs_the_learner_nothing(stage: LessonStage) -> None:
    """It arrived in time and was refused as busy; sent again half a minute later, it counts."""
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)
    advance_to(stage, prompt.closes_at + timedelta(seconds=2))
    stage.engine.begin_upload(
        session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, arrived_at=prompt.closes_at
    )
    stage.clock.advance(30)
    assert stage.answer(session_id, prompt, announced=True).judgement is Judgement.PASS


def test_a_retry_begins_its_own_upload(stage: LessonStage) -> None:
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)
    stage.engine.begin_upload(
        session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, arrived_at=stage.clock.now()
    )
    again = stage.answer(session_id, prompt, BLURRED).asked_again
    assert again is not None
    assert again.closes_at == stage.clock.now() + UNTIL


def test_extra_time_is_for_every_prompt_of_the_session(stage: LessonStage) -> None:
    stage.enrol("learner-1")
    session_id = stage.engine.open(
        learner_id="learner-1",
        class_id="class-1",
        platform_id="platform-1",
        planned_minutes=45,
        extra_time=True,
    )
    prompt = stage.prompt(session_id)
    assert prompt.closes_at == stage.clock.now() + 2 * UNTIL
    stage.clock.advance(119)
    assert stage.answer(session_id, prompt).judgement is Judgement.PASS


class TestNextDue:
    def test_it_is_the_moment_at_which_something_happens(self, stage: LessonStage) -> None:
        """A microsecond before, nothing does; then it does, and the next moment is later."""
        session_id = running(stage)
        for _ in range(12):
            due, before = due_of(stage, session_id), lesson_of(stage, session_id)
            assert due > stage.clock.now()
            advance_to(stage, due - timedelta(microseconds=1))
            stage.engine.poll(session_id)
            assert lesson_of(stage, session_id) == before
            advance_to(stage, due)
            stage.engine.poll(session_id)
            assert lesson_of(stage, session_id) != before

    def test_it_follows_a_session_from_opening_to_end(self, stage: LessonStage) -> None:
        session_id = stage.open()
        assert due_of(stage, session_id) <= stage.clock.now()  # whoever asks is asked
        prompt = stage.prompt(session_id)
        slack = timedelta(seconds=RECEIVING_S, microseconds=1)
        assert due_of(stage, session_id) == prompt.closes_at + slack
        stage.answer(session_id, prompt)
        lesson = lesson_of(stage, session_id)
        assert due_of(stage, session_id) == lesson.state.started_at + timedelta(
            seconds=lesson.planned.offset_s
        )
        stage.engine.announce_end(session_id)
        assert due_of(stage, session_id) <= stage.clock.now()
        stage.answer(session_id, stage.prompt(session_id))
        assert due_of(stage, session_id) == lesson.expires_at
        stage.engine.close(session_id)
        assert stage.engine.next_due(session_id) is None
        with pytest.raises(UnknownSubjectError):
            stage.engine.next_due("nobody")

    def test_asking_reads_once_and_changes_nothing(
        self, stage: LessonStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session_id = running(stage)
        readings = 0
        reading = type(stage.store).reading

        def counted(store: object) -> object:
            nonlocal readings
            readings += 1
            return reading(store)  # type: ignore[arg-type]  # the store it is patched on

        with monkeypatch.context() as patched:
            patched.setattr(type(stage.store), "reading", counted)
            patched.setattr(type(stage.store), "writing", None)
            stage.engine.next_due(session_id)
        assert readings == 1


def test_a_miss_says_when_the_time_ran_out(stage: LessonStage) -> None:
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)
    advance_to(stage, prompt.closes_at + timedelta(minutes=5))
    stage.engine.poll(session_id)
    (leaf, *_) = (leaf for leaf in stage.leaves() if leaf.kind == "prompt_missed")
    lesson = lesson_of(stage, session_id)
    missed = next(p for p in lesson.state.prompts if p.prompt_id == prompt.prompt_id)
    assert missed.status is PromptStatus.MISSED
    assert leaf.facts["missed_ms"] == round(1000 * lesson.state.offset_s(prompt.closes_at))


def test_the_closing_leaf_says_how_long_prompts_were_open(stage: LessonStage) -> None:
    session_id = running(stage)
    advance_to(stage, due_of(stage, session_id))
    prompt = stage.prompt(session_id)
    stage.clock.advance(23)
    stage.engine.answer(
        session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, frames=[frame(LEARNER_FACE)]
    )
    result = stage.end(session_id)
    facts = stage.leaves()[result.closed_index].facts
    assert facts["prompts_open_ms"] == pytest.approx(23_000, abs=1)
    assert result.account.credit.credited_s + result.account.credit.pending_s == pytest.approx(
        result.state.offset_s(prompt.closes_at - UNTIL), abs=1e-3
    )
