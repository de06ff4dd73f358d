"""Classes over HTTP: applied for, approved, withdrawn; rosters."""

from typing import Any

import pytest

from service.sql.training_classes import class_of
from tests.service.http.refusals import refused, told
from tests.service.http.service_stage import ServiceStage, class_application


def test_from_application_to_withdrawal(stage: ServiceStage) -> None:
    class_id = stage.open_class()
    applied = stage.get(f"/v1/classes/{class_id}")
    assert applied == {
        **class_application(class_id),
        "platform_id": "platform-1",
        "status": "applied",
        "applied_at": applied["applied_at"],
        "approved_at": None,
        "withdrawn_at": None,
    }
    stage.clock.advance(60)
    approved = stage.approve(class_id)
    assert (approved["status"], approved["approved_at"] > applied["applied_at"]) == (
        "approved",
        True,
    )
    stage.clock.advance(60)
    assert stage.approve(class_id) == approved  # the first approval stays
    withdrawn = stage.delete(f"/v1/classes/{class_id}/approval", by=stage.officer)
    assert withdrawn["status"] == "withdrawn"
    again = stage.call("POST", f"/v1/classes/{class_id}/approval", {}, by=stage.officer)
    assert refused(again) == (409, "class_withdrawn")
    assert stage.get(f"/v1/classes/{class_id}", by=stage.officer) == withdrawn


def test_the_same_application_again_changes_nothing(stage: ServiceStage) -> None:
    body = class_application(stage.fresh("class"))
    first = stage.post("/v1/classes", body)
    stage.clock.advance(60)
    assert stage.post("/v1/classes", body) == first


@pytest.mark.parametrize(
    "change", [{"title": "别的班"}, {"ends_on": "2026-12-30"}, {"required_credit_hours": 0.1}]
)
def test_an_id_stands_for_one_application(stage: ServiceStage, change: dict[str, Any]) -> None:
    class_id = stage.open_class()
    before = stage.get(f"/v1/classes/{class_id}")
    changed = stage.call("POST", "/v1/classes", {**class_application(class_id), **change})
    assert refused(changed) == (409, "class_exists")
    others = stage.call("POST", "/v1/classes", class_application(class_id), by=stage.other_platform)
    assert refused(others) == (409, "class_exists")
    assert stage.get(f"/v1/classes/{class_id}") == before


def test_a_repeated_request_gets_the_first_reply(stage: ServiceStage) -> None:
    class_id, key = stage.open_class(), {"Idempotency-Key": stage.fresh("key")}
    path = f"/v1/classes/{class_id}/approval"
    first = stage.call("POST", path, {}, by=stage.officer, headers=key)
    stage.delete(path, by=stage.officer)
    second = stage.call("POST", path, {}, by=stage.officer, headers=key)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert stage.get(f"/v1/classes/{class_id}")["status"] == "withdrawn"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("class_id", "free text"),
        ("institution_id", ""),
        ("title", "a\u0000b"),
        ("starts_on", 0),
        ("starts_on", "2026-3-1"),
        ("starts_on", "2026-02-30"),
        ("starts_on", "1999-12-31"),
        ("ends_on", "9999-12-31"),
        ("ends_on", None),
        ("required_credit_hours", 0),
        ("required_credit_hours", -1),
        ("required_credit_hours", 0.0099),
        ("required_credit_hours", "40"),
        ("required_credit_hours", True),
        ("required_credit_hours", 10_001),
    ],
)
def test_a_field_that_is_wrong_is_named(stage: ServiceStage, field: str, value: Any) -> None:
    body = {**class_application(stage.fresh("class")), field: value}
    response = stage.call("POST", "/v1/classes", body)
    assert refused(response) == (422, "invalid_input")
    assert field in response.text
    assert refused(stage.call("GET", f"/v1/classes/{stage.fresh('class')}"))[0] == 404


def test_a_class_does_not_end_before_it_starts(stage: ServiceStage) -> None:
    body = {**class_application(stage.fresh("class")), "ends_on": "2026-02-28"}
    response = stage.call("POST", "/v1/classes", body)
    assert refused(response) == (422, "invalid_record")
    assert "ends_on" in response.json()["detail"]


def test_an_approval_names_the_person(stage: ServiceStage) -> None:
    class_id = stage.open_class()
    stage.approve(class_id)
    with stage.application.database.reading() as tx:
        assert class_of(tx, class_id).approved_by == "王芳"


def test_only_officers_approve_and_withdraw(stage: ServiceStage) -> None:
    class_id = stage.open_class()
    path = f"/v1/classes/{class_id}/approval"
    assert refused(stage.call("POST", path, {})) == (403, "forbidden")
    assert refused(stage.call("DELETE", path)) == (403, "forbidden")
    assert stage.get(f"/v1/classes/{class_id}")["status"] == "applied"
    officer = stage.call("POST", "/v1/classes", class_application("c"), by=stage.officer)
    assert refused(officer) == (403, "forbidden")


class TestRoster:
    def test_on_and_off_and_on_again(self, stage: ServiceStage) -> None:
        class_id, learner_id = stage.open_class(), stage.register_learner()
        added = stage.roster(class_id, learner_id)
        assert (added["class_id"], added["learner_id"]) == (class_id, learner_id)
        stage.clock.advance(60)
        assert stage.roster(class_id, learner_id) == added  # since then
        path = f"/v1/classes/{class_id}/roster/{learner_id}"
        removed = stage.delete(path)
        assert removed["added_at"] == added["added_at"] < removed["removed_at"]
        assert refused(stage.call("DELETE", path)) == (404, "unknown_subject")
        stage.clock.advance(60)
        assert stage.roster(class_id, learner_id)["removed_at"] is None

    def test_nobody_joins_a_withdrawn_class(self, stage: ServiceStage) -> None:
        class_id, learner_id = stage.open_class(), stage.register_learner()
        stage.delete(f"/v1/classes/{class_id}/approval", by=stage.officer)
        response = stage.call("PUT", f"/v1/classes/{class_id}/roster/{learner_id}", {})
        assert refused(response) == (409, "class_withdrawn")

    def test_an_officer_keeps_no_roster(self, stage: ServiceStage) -> None:
        path = f"/v1/classes/{stage.open_class()}/roster/{stage.register_learner()}"
        assert refused(stage.call("PUT", path, {}, by=stage.officer)) == (403, "forbidden")


class TestWhose:
    def test_another_platforms_class_is_told_as_nobodys(self, stage: ServiceStage) -> None:
        class_id = stage.open_class()
        learner_id = stage.register_learner(by=stage.other_platform)
        for method, rest in (("GET", ""), ("PUT", f"/roster/{learner_id}")):
            others = stage.call(
                method, f"/v1/classes/{class_id}{rest}", {}, by=stage.other_platform
            )
            nobodys = stage.call(
                method, f"/v1/classes/no-such-class{rest}", {}, by=stage.other_platform
            )
            assert refused(others) == (404, "unknown_subject")
            assert told(others) == told(nobodys)

    def test_another_platforms_learner_is_told_as_nobody(self, stage: ServiceStage) -> None:
        class_id = stage.open_class()
        learner_id = stage.register_learner(by=stage.other_platform)
        for method in ("PUT", "DELETE"):
            others = stage.call(method, f"/v1/classes/{class_id}/roster/{learner_id}", {})
            nobodys = stage.call(method, f"/v1/classes/{class_id}/roster/{'0' * 32}", {})
            assert refused(others) == (404, "unknown_subject")
            assert told(others) == told(nobodys)

    def test_an_officer_hears_of_an_unknown_class(self, stage: ServiceStage) -> None:
        for method, rest in (("GET", ""), ("POST", "/approval"), ("DELETE", "/approval")):
            response = stage.call(method, f"/v1/classes/none{rest}", {}, by=stage.officer)
            assert refused(response) == (404, "unknown_subject")
