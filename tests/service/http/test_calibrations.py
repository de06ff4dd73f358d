"""Calibrations over HTTP: two officers, sessions that keep theirs, enrolments of another model."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from service.application import open_application
from service.sql import tables
from tests.pipelines.lesson_stage import CALIBRATION, ColourObserver, dense_policy
from tests.service.http.refusals import refused
from tests.service.http.service_stage import (
    ServiceStage,
    issue_officer_key,
    open_stage,
    reopen_stage,
    reply,
)
from verifier.calibration import Calibration, Metric
from verifier.errors import InputError
from verifier.transparency.canonical_json import JSONValue
from verifier.transparency.leaf import Leaf

OURS = replace(CALIBRATION, name="綦江区 2026-03", slope=5.0)
# Under this one nobody is ever sure of anybody.
TIMID = replace(CALIBRATION, name="timid", slope=0.1, intercept=0.0)


def propose(stage: ServiceStage, what: Calibration, *, by: str | None = None) -> Any:
    return stage.call("POST", "/v1/calibrations", what.to_json(), by=by or stage.officer)


def activate(stage: ServiceStage, what: Calibration) -> Any:
    assert propose(stage, what).status_code == 201
    return approve(stage, what)


def approve(stage: ServiceStage, what: Calibration) -> Any:
    path = f"/v1/calibrations/{what.calibration_id}/approval"
    return stage.post(path, by=stage.second_officer)


def active(stage: ServiceStage) -> list[str]:
    listed = stage.get("/v1/calibrations", by=stage.officer)["calibrations"]
    return [each["label"] for each in listed if each["active"]]


def opened_under(stage: ServiceStage, session_id: str) -> JSONValue:
    """Return the id of the calibration that the session's first leaf names."""
    stage.publish()
    reader = stage.application.archive.reader
    size = stage.application.archive.checkpoint.size
    leaves = [Leaf.parse(reader.entry(index, size)) for index in range(size)]
    (facts,) = (
        leaf.facts
        for leaf in leaves
        if (leaf.kind, leaf.session_id) == ("session_opened", session_id)
    )
    return facts["calibration_id"]


def answer_records(stage: ServiceStage, session_id: str) -> list[Mapping[str, JSONValue]]:
    """Return what the evidence says of each answer in a session."""
    stage.publish()
    with stage.application.engine.store.reading() as unit:
        answers = unit.lesson(session_id).answers
    archive = stage.application.archive
    return [archive.read_snapshot(answer.index).record for answer in answers]


def enrolment(stage: ServiceStage, learner_id: str) -> Any:
    return stage.get(f"/v1/learners/{learner_id}")["enrolment"]


class TestTwoOfficers:
    def test_one_proposes_and_another_approves(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        assert active(stage) == [CALIBRATION.label]
        proposed = propose(stage, OURS).json()
        assert proposed["document"] == json.loads(OURS.document())
        assert (proposed["proposed_by"], proposed["approved_by"]) == ("王芳", None)
        assert active(stage) == [CALIBRATION.label]
        approved = approve(stage, OURS)
        assert (approved["approved_by"], approved["active"]) == ("李强", True)
        assert active(stage) == [OURS.label]
        path = f"/v1/calibrations/{OURS.calibration_id}/approval"
        again = stage.call("POST", path, {}, by=stage.second_officer)
        assert refused(again) == (409, "already_approved")
        assert refused(propose(stage, OURS)) == (409, "already_approved")

    def test_who_approved_it_before_is_shown_when_it_is_proposed_again(
        self, own_stage: ServiceStage
    ) -> None:
        stage = own_stage
        activate(stage, OURS)
        activate(stage, replace(OURS, name="a later one"))
        again = propose(stage, OURS, by=stage.second_officer).json()
        assert (again["proposed_by"], again["approved_by"]) == ("李强", None)
        (before,) = again["earlier"]
        assert (before["proposed_by"], before["approved_by"]) == ("王芳", "李强")
        listed = stage.get("/v1/calibrations", by=stage.officer)["calibrations"]
        assert again["earlier"] in [each["earlier"] for each in listed]

    def test_nobody_does_both(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        propose(stage, OURS)
        path = f"/v1/calibrations/{OURS.calibration_id}/approval"
        second_key = issue_officer_key(stage.application, "王芳")
        for key in (stage.officer, second_key):
            response = stage.call("POST", path, {}, by=key)
            assert refused(response) == (409, "second_person_wanted")
        assert active(stage) == [CALIBRATION.label]

    def test_platforms_see_none_and_change_none(self, stage: ServiceStage) -> None:
        answers = [
            stage.call("GET", "/v1/calibrations"),
            propose(stage, OURS, by=stage.platform),
            stage.call("POST", f"/v1/calibrations/{OURS.calibration_id}/approval", {}),
        ]
        assert {refused(each) for each in answers} == {(403, "forbidden")}

    def test_a_repeated_request_proposes_once(self, own_stage: ServiceStage) -> None:
        key = {"Idempotency-Key": "once"}
        first, second = (
            own_stage.call(
                "POST", "/v1/calibrations", OURS.to_json(), by=own_stage.officer, headers=key
            )
            for _ in range(2)
        )
        assert (first.status_code, first.content) == (201, second.content)

    @pytest.mark.parametrize(
        ("what", "code", "told"),
        [
            (replace(OURS, contract_id="other@1"), "invalid_input", ("other@1", "colours@1")),
            (replace(OURS, metric=Metric.COSINE), "invalid_input", ("cosine", "l2")),
            (replace(OURS, max_log10_lr=5.0), "invalid_input", ("and 5;", "at most 4.175")),
            (replace(OURS, max_log10_lr=0.52), "invalid_input", ("0.52", "nobody would match")),
        ],
    )
    def test_what_does_not_fit_is_told_with_what_was_wanted(
        self, stage: ServiceStage, what: Calibration, code: str, told: tuple[str, ...]
    ) -> None:
        response = propose(stage, what)
        assert refused(response) == (422, code)
        assert all(each in response.json()["detail"] for each in told)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"slope": "steep"}, "slope is 'steep'; a number was wanted"),
            ({"format": "x"}, "format is 'x'; zhenxue/calibration/v1 was wanted"),
            ({"slope": -1.0}, "a rising one wanted"),
        ],
    )
    def test_what_is_malformed_is_named(
        self, stage: ServiceStage, change: dict[str, Any], told: str
    ) -> None:
        body = {**OURS.to_json(), **change}
        response = stage.call("POST", "/v1/calibrations", body, by=stage.officer)
        assert refused(response) == (422, "invalid_record")
        assert told in response.json()["detail"]

    def test_one_that_nobody_proposed(self, stage: ServiceStage) -> None:
        path = f"/v1/calibrations/{'0' * 64}/approval"
        response = stage.call("POST", path, {}, by=stage.officer)
        assert refused(response) == (404, "unknown_calibration")
        assert response.json()["title"] == "No such calibration"


class TestSessionsKeepTheirs:
    def test_an_activation_is_for_sessions_opened_afterwards(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        (one, one_class), (other, other_class) = stage.prepare(), stage.prepare()
        before = stage.open_session(one, one_class)["session_id"]
        activate(stage, TIMID)
        after = stage.open_session(other, other_class)["session_id"]
        assert stage.answer(stage.prompt(before))["answer"] == "pass"
        assert stage.answer(stage.prompt(after))["answer"] == "retry"

    def test_a_session_is_judged_by_its_own_to_its_end(self, tmp_path: Path) -> None:
        """Over several activations and a restart; the records name it."""
        with open_stage(tmp_path) as stage:
            learner_id, class_id = stage.prepare()
            activate(stage, OURS)
            session_id = stage.open_session(learner_id, class_id)["session_id"]
            stage.attend(session_id, 4)
            activate(stage, replace(OURS, name="a later one"))
            activate(stage, TIMID)
            stage.attend(session_id, 4)
        with reopen_stage(stage, away_s=1) as back:
            assert active(back) == [TIMID.label]
            replies = back.attend(session_id, 4)
            assert {reply["answer"] for reply in replies} == {"pass"}
            assert back.close(session_id)["decision"] == "accept"
            assert opened_under(back, session_id) == OURS.calibration_id
            records = answer_records(back, session_id)
            assert len(records) > 3
            assert {(r["calibration"], r["calibration_id"]) for r in records} == {
                (OURS.label, OURS.calibration_id)
            }

    def test_a_session_from_before_there_were_ids_is_judged_by_the_built_in_one(
        self, own_stage: ServiceStage
    ) -> None:
        stage = own_stage
        learner_id, class_id = stage.prepare()
        session_id = stage.open_session(learner_id, class_id)["session_id"]
        with stage.application.database.writing() as tx:
            tx.execute(update(tables.session).values(calibration_id=None))
        activate(stage, TIMID)
        assert {reply["answer"] for reply in stage.attend(session_id, 3)} == {"pass"}
        with stage.application.database.reading() as tx:
            assert tx.execute(select(tables.session.c.calibration_id)).scalar_one() is None

    def test_an_enrolment_is_judged_by_the_one_in_force(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        activate(stage, TIMID)
        learner_id = stage.register_learner()
        stage.give_consent(learner_id)
        assert stage.enrol(learner_id)["reason"] == "inconclusive"


class TestAnotherModel:
    def test_a_learner_enrols_again_and_learns_on(self, tmp_path: Path) -> None:
        with open_stage(tmp_path) as stage:
            learner_id, class_id = stage.prepare()
            assert enrolment(stage, learner_id)["outdated"] is False
        with reopen_stage(stage, away_s=1, contract_id="colours@2") as back:
            assert enrolment(back, learner_id)["outdated"] is True
            body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12}
            response = back.call("POST", "/v1/sessions", body)
            assert refused(response) == (409, "enrolment_outdated")
            problem = response.json()
            assert "enrol it again" in problem["title"]
            assert "重新登记" in problem["title_zh"]
            assert not back.undocumented
            back.enrol(learner_id)
            assert enrolment(back, learner_id)["outdated"] is False
            back.hold_lesson(learner_id, class_id)

    def test_a_session_in_progress_cannot_be_answered_and_says_what_helps(
        self, tmp_path: Path
    ) -> None:
        """Enrolling again does not: the session's calibration is for the earlier model."""
        with open_stage(tmp_path) as stage:
            learner_id, class_id = stage.prepare()
            session_id = stage.open_session(learner_id, class_id)["session_id"]
            stage.attend(session_id, 2)
        with reopen_stage(stage, away_s=1, contract_id="colours@2") as back:
            while (prompt := back.prompt(session_id)) is None:
                back.clock.advance(5)
            path = f"/v1/prompts/{prompt['prompt_id']}/answer"
            for enrols_again in (False, True):
                if enrols_again:
                    back.enrol(learner_id)
                response = back.call("POST", path, reply(prompt))
                assert refused(response) == (409, "session_outdated")
                assert "重新开始" in response.json()["title_zh"]
            closed = back.post(f"/v1/sessions/{session_id}/close")
            assert closed["phase"] == "abandoned"
            assert not back.undocumented
            back.hold_lesson(learner_id, class_id)

    def test_a_weaker_anchor_still_takes_nothing(self, tmp_path: Path) -> None:
        """Or a new model would be the day to enrol a hired face."""
        with open_stage(tmp_path) as stage:
            learner_id = stage.enrolled_learner()
            assert enrolment(stage, learner_id)["anchor"] == "authority"
        with reopen_stage(stage, away_s=1, contract_id="colours@2") as back:
            refused_one = back.enrol(learner_id, "blue", by=back.officer)
            assert refused_one["reason"] == "better_anchored_already"
            assert back.enrol(learner_id)["anchor"] == "authority"


def test_without_a_calibration_in_force_nothing_starts(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        settings, clock = stage.application.settings, stage.clock
    opening = open_application(
        settings,
        observer=ColourObserver(),
        metric=Metric.L2,
        calibration=None,
        policy=dense_policy(),
        clock=clock,
    )
    with pytest.raises(InputError, match="no calibration is in force for colours@1"), opening:
        pass
