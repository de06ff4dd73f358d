"""Cases over HTTP: officers only, two of them close one, and meanwhile the gate refers."""

from typing import Any

import pytest

from service.sql.cases import open_case
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage
from verifier.review_case import CaseKind


def open_duplicate(stage: ServiceStage, one: str, other: str) -> str:
    with stage.application.database.writing() as tx:
        return open_case(
            tx,
            kind=CaseKind.DUPLICATE_FACE,
            learner_id=one,
            other_learner_id=other,
            at=stage.clock.now(),
            details={"comparison_log10_lr": 1.7},
        )


def open_crowded(stage: ServiceStage, learner_id: str) -> str:
    with stage.application.database.writing() as tx:
        return open_case(
            tx,
            kind=CaseKind.TOO_MANY_COMPARISONS,
            learner_id=learner_id,
            at=stage.clock.now(),
            details={"comparisons": 501},
        )


def propose(stage: ServiceStage, case_id: str, resolution: str, *, by: str | None = None) -> Any:
    path = f"/v1/cases/{case_id}/resolution"
    return stage.call("POST", path, {"resolution": resolution}, by=by or stage.officer)


def approve(stage: ServiceStage, case_id: str, resolution: str, *, by: str | None = None) -> Any:
    path = f"/v1/cases/{case_id}/approval"
    return stage.call("POST", path, {"resolution": resolution}, by=by or stage.second_officer)


def listed(stage: ServiceStage, case_id: str) -> Any:
    found = stage.get("/v1/cases", by=stage.officer)["cases"]
    return next(case for case in found if case["case_id"] == case_id)


def gate(stage: ServiceStage, learner_id: str, class_id: str, *, by: str | None = None) -> Any:
    path = f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"
    answer = stage.get(path, by=by)
    (rule,) = (each for each in answer["rules"] if each["rule"] == "no_open_case@1")
    return answer["outcome"], rule


class TestOfficers:
    def test_two_of_them_close_a_case(self, stage: ServiceStage) -> None:
        one, other = sorted(stage.register_learner() for _ in range(2))
        case_id = open_duplicate(stage, other, one)
        opened = listed(stage, case_id)
        assert opened["learner_ids"] == [one, other]
        assert (opened["stands"], opened["resolution"]) == (True, None)
        assert propose(stage, case_id, "different_people").json()["proposed_by"] == "王芳"
        response = approve(stage, case_id, "different_people", by=stage.officer)
        assert refused(response) == (409, "second_person_wanted")
        response = approve(stage, case_id, "same_person")
        assert refused(response) == (409, "not_proposed")
        closed = approve(stage, case_id, "different_people").json()
        assert (closed["closed_by"], closed["stands"]) == ("李强", False)
        for act in (propose, approve):
            response = act(stage, case_id, "different_people")
            assert refused(response) == (409, "case_closed")
        assert open_duplicate(stage, one, other) == case_id
        assert not listed(stage, case_id)["stands"]

    def test_those_that_stand_are_counted_and_come_first(self, stage: ServiceStage) -> None:
        closed, standing = (open_crowded(stage, stage.register_learner()) for _ in range(2))
        propose(stage, closed, "explained")
        approve(stage, closed, "explained")
        answer = stage.get("/v1/cases", by=stage.officer)
        stands = [case["stands"] for case in answer["cases"]]
        assert stands == sorted(stands, reverse=True)
        assert answer["standing"] == sum(stands) >= 1
        ids = [case["case_id"] for case in answer["cases"]]
        assert ids.index(standing) < ids.index(closed)
        few = stage.get("/v1/cases?limit=1", by=stage.officer)
        assert (len(few["cases"]), few["standing"]) == (1, answer["standing"])

    def test_what_such_a_case_does_not_come_to(self, stage: ServiceStage) -> None:
        case_id = open_crowded(stage, stage.register_learner())
        response = propose(stage, case_id, "same_person")
        assert refused(response) == (422, "invalid_input")
        assert "too_many_comparisons does not come to same_person" in response.json()["detail"]
        assert refused(propose(stage, case_id, "nonsense")) == (422, "invalid_input")
        for act in (propose, approve):
            response = act(stage, "none", "explained")
            assert refused(response) == (404, "unknown_case")
            assert response.json()["title"] == "No such case"

    @pytest.mark.parametrize(
        "path", ["/v1/cases", "/v1/cases/x/resolution", "/v1/cases/x/approval"]
    )
    def test_nobody_else(self, stage: ServiceStage, path: str) -> None:
        """A case says whose faces are alike."""
        if path == "/v1/cases":
            response = stage.call("GET", path)
        else:
            response = stage.call("POST", path, {"resolution": "explained"})
        assert refused(response) == (403, "forbidden")


class TestTheGate:
    def test_refers_on_either_side_until_it_is_closed(self, stage: ServiceStage) -> None:
        (one, one_class), (other, other_class) = stage.prepare(), stage.prepare()
        for learner_id, class_id in ((one, one_class), (other, other_class)):
            stage.hold_lesson(learner_id, class_id)
        stage.publish()
        case_id = open_duplicate(stage, one, other)
        for learner_id, class_id in ((one, one_class), (other, other_class)):
            outcome, rule = gate(stage, learner_id, class_id, by=stage.officer)
            assert (outcome, rule["code"]) == ("refer", "DUPLICATE_FACE_UNDER_REVIEW")
        propose(stage, case_id, "same_person")
        approve(stage, case_id, "same_person")
        outcome, rule = gate(stage, one, one_class, by=stage.officer)
        assert (outcome, rule["code"]) == ("refer", "DUPLICATE_FACE_FOUND")
        propose(stage, case_id, "different_people")
        shown = listed(stage, case_id)
        assert (shown["finding"], shown["resolution"]) == ("same_person", "different_people")
        outcome, rule = gate(stage, one, one_class, by=stage.officer)
        assert (outcome, rule["code"]) == ("refer", "DUPLICATE_FACE_FOUND")
        propose(stage, case_id, "explained")
        approve(stage, case_id, "explained")
        for learner_id, class_id in ((one, one_class), (other, other_class)):
            outcome, rule = gate(stage, learner_id, class_id, by=stage.officer)
            assert (outcome, rule["code"]) == ("payable", None)

    def test_platform_and_learner_are_not_told_of_whom_a_face_reminds(
        self, stage: ServiceStage
    ) -> None:
        """Or whoever enrols faces one by one would learn whose are known."""
        (one, class_id), other = stage.prepare(), stage.register_learner()
        token = stage.token(stage.open_session(one, class_id))
        before = [gate(stage, one, class_id, by=key) for key in (stage.platform, token)]
        open_duplicate(stage, one, other)
        assert [gate(stage, one, class_id, by=key) for key in (stage.platform, token)] == before
        _, rule = gate(stage, one, class_id, by=stage.officer)
        assert rule["code"] == "DUPLICATE_FACE_UNDER_REVIEW"

    def test_where_all_else_is_well_it_is_told_that_a_person_has_to_look(
        self, stage: ServiceStage
    ) -> None:
        learner_id, class_id = stage.prepare()
        session_id = stage.open_session(learner_id, class_id)["session_id"]
        stage.attend(session_id, 12)
        stage.close(session_id)
        stage.publish()
        open_duplicate(stage, learner_id, stage.register_learner())
        outcome, rule = gate(stage, learner_id, class_id, by=stage.platform)
        assert (outcome, rule["outcome"], rule["code"]) == ("refer", "refer", None)
        assert rule["text_zh"] == "须人工核实"
        assert "values" not in rule
