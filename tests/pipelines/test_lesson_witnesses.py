"""Witnesses in a lesson: they shape its schedule, and the log says who was asked and who signed."""

from pathlib import Path

from pipelines.clock import ManualClock
from pipelines.witness import Witness, add_log
from pipelines.witness_client import WitnessAnswer, WitnessClient, read_addresses
from pipelines.witnessing import Witnessing
from tests.pipelines.lesson_stage import STARTS, LessonStage
from tests.pipelines.witness_samples import LocalClient, make_witness
from verifier.transparency.base64_text import from_base64
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.cosignature import Cosignature
from verifier.transparency.leaf import Leaf
from verifier.transparency.witness_request import AddCheckpoint


def texts(leaf: Leaf, name: str) -> list[str]:
    found = leaf.facts[name]
    assert isinstance(found, list)
    return [str(text) for text in found]


def whole(leaf: Leaf, name: str) -> int:
    found = leaf.facts[name]
    assert isinstance(found, int)
    return found


def hold_session(stage: LessonStage) -> tuple[str, Leaf, Leaf]:
    """Return a session that was held, with its opening and closing leaves."""
    stage.enrol("learner-1")
    session_id = stage.open("learner-1")
    stage.answer(session_id, stage.prompt(session_id))
    stage.engine.close(session_id)
    found = {leaf.kind: leaf for leaf in stage.leaves() if leaf.session_id == session_id}
    return session_id, found["session_opened"], found["session_closed"]


def test_the_seed_holds_the_cosignature_of_the_first_checkpoint(tmp_path: Path) -> None:
    make_witness(tmp_path / "witness", logs=False)
    with LessonStage.build(tmp_path).archive as archive:
        add_log(tmp_path / "witness", archive.verifier)
    with Witness.open(tmp_path / "witness", clock=ManualClock(STARTS)) as witness:
        client = LocalClient(witness)
        with Witnessing([client], alarms=tmp_path / "alarms") as witnessing:
            stage = LessonStage.build(tmp_path, witnessing)
            session_id, opened, closed = hold_session(stage)
            with stage.store.reading() as unit:
                promise = unit.lesson(session_id).promise
            origin = stage.archive.verifier.name
            stage.finish()
    assert opened.facts["witnesses"] == [client.address.name]
    (told,) = map(from_base64, texts(closed, "schedule_cosignatures"))
    assert promise.cosignatures == (told,)
    head = Checkpoint(
        origin=origin, size=whole(closed, "schedule_checkpoint_size"), root=promise.checkpoint_root
    )
    witness.verifier.verify_bytes(head.text(), Cosignature.from_bytes(told))


class Down(WitnessClient):
    """A witness that cannot be reached."""

    def submit(self, request: AddCheckpoint) -> WitnessAnswer:
        return WitnessAnswer(failure=f"ConnectError {request.old_size}")


def test_a_witness_that_is_down_keeps_nobody_from_a_lesson(tmp_path: Path) -> None:
    verifier = make_witness(tmp_path / "witness", logs=False)
    (found,) = read_addresses(f"{verifier.vkey} http://127.0.0.1:1")
    with Witnessing([Down(found)], alarms=tmp_path / "alarms") as witnessing:
        stage = LessonStage.build(tmp_path, witnessing)
        _, opened, closed = hold_session(stage)
        stage.finish()
    assert opened.facts["witnesses"] == [found.name]  # asked, and missing below: that shows
    assert closed.facts["schedule_cosignatures"] == []


def test_without_witnesses_none_are_named(tmp_path: Path) -> None:
    stage = LessonStage.build(tmp_path)
    _, opened, closed = hold_session(stage)
    stage.finish()
    assert (opened.facts["witnesses"], closed.facts["schedule_cosignatures"]) == ([], [])
