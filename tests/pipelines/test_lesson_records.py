"""What the leaves of a lesson say: which camera, whose word, and where the lesson began."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.lesson_stage import (
    LEARNER_FACE,
    NOT_A_PICTURE,
    ColourObserver,
    LessonStage,
)
from verifier.assurance import Assurance
from verifier.enrolment import Anchor
from verifier.prompt import RECEIVING_S
from verifier.transparency.leaf import Leaf

EVERY_KIND = {
    "session_opened",
    "prompt_issued",
    "answer_unreadable",
    "snapshot",
    "prompt_missed",
    "session_closed",
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def open_session(stage: LessonStage, assurance: Assurance) -> str:
    return stage.engine.open(
        learner_id="learner-1",
        class_id="class-1",
        platform_id="platform-1",
        planned_minutes=45,
        assurance=assurance,
    )


def hold_lesson(stage: LessonStage, session_id: str) -> list[Leaf]:
    """Hold a lesson in which everything happens that leaves a leaf; return its leaves."""
    stage.answer(session_id, stage.prompt(session_id), NOT_A_PICTURE)
    stage.answer(session_id, stage.prompt(session_id), LEARNER_FACE)
    while stage.engine.poll(session_id) is None:
        stage.clock.advance(1)
    stage.clock.advance(60 + RECEIVING_S + 1)  # the prompt is missed
    stage.engine.close(session_id)
    return [leaf for leaf in stage.leaves() if leaf.session_id == session_id]


@pytest.mark.parametrize("assurance", list(Assurance))
def test_every_leaf_says_who_held_the_camera(stage: LessonStage, assurance: Assurance) -> None:
    """Whether an answer may be paid on hangs on it; no leaf may leave it to another."""
    stage.enrol("learner-1")
    own = hold_lesson(stage, open_session(stage, assurance))
    assert {leaf.kind for leaf in own} == EVERY_KIND
    assert {(leaf.kind, leaf.facts["path"]) for leaf in own} == {
        (kind, "face") for kind in EVERY_KIND
    }
    assert {(leaf.kind, leaf.assurance) for leaf in own} == {
        (kind, assurance.value) for kind in EVERY_KIND
    }


@pytest.mark.parametrize("anchor", list(Anchor))
def test_the_opening_leaf_says_who_vouches_for_the_face(stage: LessonStage, anchor: Anchor) -> None:
    stage.enrol("learner-1", anchor=anchor)
    open_session(stage, Assurance.PLATFORM)
    (opened,) = (leaf for leaf in stage.leaves() if leaf.kind == "session_opened")
    assert opened.facts["anchor"] == anchor.value


def test_the_closing_leaf_says_where_its_own_session_begins_and_ends(stage: LessonStage) -> None:
    """Of a second session too, whose leaves do not begin at the log's."""
    for learner_id in ("learner-1", "learner-2"):
        session_id = stage.open(learner_id)
        stage.answer(session_id, stage.prompt(session_id))
        stage.engine.close(session_id)
    leaves = stage.leaves()
    places = [place for place, leaf in enumerate(leaves) if leaf.session_id == session_id]
    facts = leaves[places[-1]].facts
    assert places[0] > 0
    assert (facts["first_index"], facts["last_index"]) == (places[0], places[-2])


@pytest.mark.parametrize("attack_contract", [None, "minifasnet@0123+box-v1"])
def test_an_answer_says_what_judged_attacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack_contract: str | None
) -> None:
    """A ratio without its networks could not be weighed again."""
    monkeypatch.setattr(ColourObserver, "attack_contract_id", attack_contract)
    stage = LessonStage.build(tmp_path)
    try:
        stage.enrol("learner-1")
        session_id = open_session(stage, Assurance.PLATFORM)
        stage.answer(session_id, stage.prompt(session_id), LEARNER_FACE)
        stage.archive.publish()
        with stage.engine.store.reading() as unit:
            (answer,) = unit.lesson(session_id).answers
        record = stage.archive.read_snapshot(answer.index).record
        assert record["attack_contract"] == attack_contract
    finally:
        stage.finish()
