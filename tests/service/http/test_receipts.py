"""Receipts over HTTP: who gets one, when, and that it proves what it says without the service."""

from dataclasses import replace

import pytest

from tests.service.http.refusals import refused, told
from tests.service.http.service_stage import ServiceStage
from verifier.errors import LedgerError
from verifier.transparency.checkpoint import open_checkpoint
from verifier.transparency.merkle import leaf_hash
from verifier.transparency.note import NoteVerifier
from verifier.transparency.receipt import Receipt


def log_key(stage: ServiceStage) -> NoteVerifier:
    text = stage.call("GET", "/v1/log/key", by="").text
    return NoteVerifier.from_vkey(text.strip())


def answered(stage: ServiceStage) -> tuple[str, str]:
    """Return the evidence of an answer, and the token of the learner who gave it."""
    opened = stage.open_session(*stage.prepare())
    prompt = stage.prompt(opened["session_id"])
    return str(stage.answer(prompt)["evidence_id"]), stage.token(opened)


def test_a_receipt_proves_itself(stage: ServiceStage) -> None:
    evidence_id, _ = answered(stage)
    stage.publish()
    response = stage.call("GET", f"/v1/receipts/{evidence_id}")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    receipt = Receipt.parse(response.content)
    receipt.verify(log_key(stage))
    assert leaf_hash(receipt.entry).hex() == evidence_id
    assert receipt.opening is not None
    assert receipt.opening.record["answer"] == "pass"
    elsewhere = replace(receipt, index=receipt.index ^ 1)
    with pytest.raises(LedgerError):
        elsewhere.verify(log_key(stage))


def test_until_a_checkpoint_holds_it_there_is_none(stage: ServiceStage) -> None:
    evidence_id, token = answered(stage)
    for by in (stage.platform, token, stage.officer):
        pending = stage.call("GET", f"/v1/receipts/{evidence_id}", by=by)
        assert refused(pending) == (409, "evidence_pending")
        assert pending.headers["retry-after"] == "1"
    stage.publish()
    for by in (stage.platform, token, stage.officer):
        assert stage.call("GET", f"/v1/receipts/{evidence_id}", by=by).status_code == 200


def test_an_enrolments_receipt_is_for_the_learners_platforms(stage: ServiceStage) -> None:
    learner_id = stage.register_learner()
    stage.give_consent(learner_id)
    stage.publish()
    path = f"/v1/receipts/{stage.enrol(learner_id)['evidence_id']}"
    assert refused(stage.call("GET", path)) == (409, "evidence_pending")  # the very next entry
    stage.publish()
    assert stage.call("GET", path).status_code == 200
    assert stage.call("GET", path, by=stage.officer).status_code == 200
    assert refused(stage.call("GET", path, by=stage.other_platform)) == (404, "unknown_subject")
    _, token = answered(stage)
    assert refused(stage.call("GET", path, by=token)) == (404, "unknown_subject")


def test_anothers_evidence_is_told_as_nobodys(stage: ServiceStage) -> None:
    evidence_id, _ = answered(stage)
    _, other_token = answered(stage)
    nobodys = stage.call("GET", f"/v1/receipts/{'0' * 64}")
    assert refused(nobodys) == (404, "unknown_subject")
    for pending in (True, False):  # also while it is pending
        for by in (stage.other_platform, other_token):
            others = stage.call("GET", f"/v1/receipts/{evidence_id}", by=by)
            assert told(others) == told(nobodys)
        if pending:
            stage.publish()
    assert refused(stage.call("GET", f"/v1/receipts/{evidence_id}", by=""))[0] == 401


@pytest.mark.parametrize("evidence_id", ["0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_what_names_no_evidence(stage: ServiceStage, evidence_id: str) -> None:
    response = stage.call("GET", f"/v1/receipts/{evidence_id}")
    assert refused(response) == (422, "invalid_input")


def test_anybody_may_follow_the_log(stage: ServiceStage) -> None:
    answered(stage)
    stage.publish()
    response = stage.call("GET", "/v1/log/checkpoint", by="")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    checkpoint = open_checkpoint(response.content, log_key(stage))
    assert checkpoint == stage.application.archive.checkpoint
    assert checkpoint.size > 0
