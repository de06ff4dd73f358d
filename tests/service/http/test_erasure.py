"""A face erased at an officer's hands: what is gone, what stays, and what still verifies."""

from pathlib import Path

import pytest

from pipelines.archive_verification import verify_receipt
from pipelines.keystore import RecordClass
from service.sql.entry_log import SqlEntrySource
from tests.pipelines.lesson_stage import OTHER_FACE
from tests.service.http.conftest import OpenStage
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage
from verifier.errors import UnknownSubjectError
from verifier.transparency.leaf import Leaf


def erase(stage: ServiceStage, learner_id: str, *, by: str | None = None) -> int:
    path = f"/v1/learners/{learner_id}/enrolment"
    response = stage.call("DELETE", path, by=by or stage.officer)
    assert response.content == b""
    return response.status_code


def outcome(stage: ServiceStage, learner_id: str, class_id: str) -> str:
    path = f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"
    return str(stage.get(path, by=stage.officer)["outcome"])


def kinds(stage: ServiceStage) -> list[str]:
    """Return the kinds of all leaves, in order."""
    source = SqlEntrySource(stage.application.database)
    entries = source.entries(0, limit=source.entry_count())
    return [Leaf.parse(entry).kind for entry in entries]


def test_row_key_and_enrolment_are_gone_and_nobody_finds_them(stage: ServiceStage) -> None:
    learner_id = stage.enrolled_learner()
    application = stage.application
    gallery = application.eraser.gallery
    assert learner_id in gallery
    assert erase(stage, learner_id) == 204
    assert learner_id not in gallery
    with pytest.raises(UnknownSubjectError):
        application.keystore.find(learner_id, RecordClass.FACE_EVIDENCE)
    assert stage.get(f"/v1/learners/{learner_id}")["enrolment"] is None


def test_a_session_is_refused_until_the_learner_enrols_again(stage: ServiceStage) -> None:
    """As anew, with whatever face: whose it was is known to nobody any more."""
    learner_id, class_id = stage.prepare()
    erase(stage, learner_id)
    said = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12}
    response = stage.call("POST", "/v1/sessions", said)
    assert refused(response) == (404, "unknown_subject")
    assert "not enrolled" in response.json()["detail"]
    assert stage.enrol(learner_id, OTHER_FACE)["outcome"] == "pass"
    stage.open_session(learner_id, class_id)


def test_what_was_earned_stays_payable_and_proven(stage: ServiceStage) -> None:
    learner_id, class_id = stage.prepare()
    held = stage.hold_lesson(learner_id, class_id)
    stage.publish()
    assert outcome(stage, learner_id, class_id) == "payable"
    evidence_id = held["evidence"][0]["evidence_id"]
    assert erase(stage, learner_id) == 204
    stage.publish()
    assert outcome(stage, learner_id, class_id) == "payable"
    assert stage.get(f"/v1/sessions/{held['session_id']}")["credited_s"] == held["credited_s"] > 0
    receipt = stage.call("GET", f"/v1/receipts/{evidence_id}").content
    verified = verify_receipt(receipt, stage.application.archive.verifier)
    assert verified.receipt.opening is None  # the picture, and what was found in it, are gone
    with pytest.raises(UnknownSubjectError):
        stage.application.archive.read_snapshot(verified.receipt.index)


def test_a_session_in_progress_ends_with_what_it_earned(stage: ServiceStage) -> None:
    learner_id, class_id = stage.prepare()
    session_id = stage.open_session(learner_id, class_id)["session_id"]
    stage.attend(session_id, 10)
    assert erase(stage, learner_id) == 204
    ended = stage.get(f"/v1/sessions/{session_id}")
    assert ended["phase"] == "abandoned"
    assert ended["credited_s"] + ended["pending_s"] > 0
    path = f"/v1/sessions/{session_id}/prompt"
    assert refused(stage.call("GET", path)) == (409, "session_over")


def test_twice_is_once(stage: ServiceStage) -> None:
    learner_id = stage.enrolled_learner()
    assert erase(stage, learner_id) == 204
    before = kinds(stage)
    assert before[-1] == "face_erased"
    assert erase(stage, learner_id) == 204
    never = stage.register_learner()
    assert erase(stage, never) == 204
    assert kinds(stage) == before


def test_nobody_else_erases(stage: ServiceStage) -> None:
    """A platform could have a better vouched for face erased and enrol another in its place."""
    learner_id = stage.enrolled_learner()
    path = f"/v1/learners/{learner_id}/enrolment"
    assert refused(stage.call("DELETE", path)) == (403, "forbidden")
    assert stage.get(f"/v1/learners/{learner_id}")["enrolment"] is not None
    nobodys = f"/v1/learners/{'0' * 32}/enrolment"
    response = stage.call("DELETE", nobodys, by=stage.officer)
    assert refused(response) == (404, "unknown_subject")


def test_after_a_start_nothing_of_it_is_back(stage_opener: OpenStage, tmp_path: Path) -> None:
    """And, as after every stage, the whole archive verifies."""
    with stage_opener(tmp_path) as stage:
        kept, erased = (stage.enrolled_learner() for _ in range(2))
        erase(stage, erased)
        gallery = stage.application.eraser.gallery
        assert (kept in gallery, erased in gallery, len(gallery)) == (True, False, 1)
