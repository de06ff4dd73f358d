"""Following a lesson: one reading tells all of it, and nothing shows what is still to come."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.memory_store import MemoryStore
from tests.pipelines.lesson_stage import LessonStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def running(stage: LessonStage) -> str:
    session_id = stage.open()
    stage.answer(session_id, stage.prompt(session_id))
    return session_id


def test_a_lesson_is_read_once_and_told_whole(
    stage: LessonStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, readings = running(stage), list[None]()
    real = MemoryStore.reading

    def reading(store: MemoryStore) -> object:
        readings.append(None)
        return real(store)

    monkeypatch.setattr(MemoryStore, "reading", reading)
    found = stage.engine.follow(session_id, streaming=True)
    assert len(readings) == 1
    assert found.prompt == stage.engine.poll(session_id) is None
    assert found.due == stage.engine.next_due(session_id)
    assert found.lesson.state.session_id == session_id


def test_no_repr_shows_when_a_prompt_is_due(stage: LessonStage) -> None:
    """Neither of what is followed, nor of what falls due, as scheduled or as added to that."""
    found = stage.engine.follow(running(stage))
    lesson, state = found.lesson, found.lesson.state
    agenda = vars(stage.engine)["_course"].agenda
    due = agenda.next_act(lesson, lesson.planned)
    assert due is not None
    assert due.planned is not None
    shown = f"{found!r} {due!r} {due.planned!r} {agenda!r} {stage.engine!r}"
    assert repr(found.due) not in shown
    assert repr(due.at) not in shown
    assert str(due.planned.offset_s) not in shown
    assert found.due > state.last_event_at
