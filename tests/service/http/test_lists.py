"""Lists over HTTP: two officers change them, whoever has a key may ask."""

from datetime import timedelta
from typing import Any

import pytest

from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage, issue_officer_key


def proposal(subject_id: str, kind: str = "institution", **change: Any) -> dict[str, Any]:
    said = {
        "list_name": "black",
        "subject_kind": kind,
        "subject_id": subject_id,
        "reason_code": "proxy_attendance",
    }
    return {**said, **change}


def propose(stage: ServiceStage, subject_id: str, kind: str = "institution", **change: Any) -> Any:
    return stage.post("/v1/lists/entries", proposal(subject_id, kind, **change), by=stage.officer)


def enlist(stage: ServiceStage, subject_id: str, kind: str = "institution", **change: Any) -> Any:
    entry_id = propose(stage, subject_id, kind, **change)["entry_id"]
    return stage.post(f"/v1/lists/entries/{entry_id}/approval", by=stage.second_officer)


def standing(
    stage: ServiceStage, subject_id: str, kind: str = "institution", *, by: str | None = None
) -> Any:
    question = {"subjects": [{"kind": kind, "id": subject_id}]}
    (result,) = stage.post("/v1/lists/check", question, by=by)["results"]
    return result


class TestEntries:
    def test_a_proposal_lists_nobody_until_another_officer_approves(
        self, stage: ServiceStage
    ) -> None:
        school = stage.fresh("school")
        proposed = propose(stage, school)
        assert (proposed["approved_by"], proposed["approved_at"]) == (None, None)
        assert standing(stage, school)["listed"] is None
        stage.clock.advance(60)
        path = f"/v1/lists/entries/{proposed['entry_id']}/approval"
        approved = stage.post(path, by=stage.second_officer)
        assert (approved["proposed_by"], approved["approved_by"]) == ("王芳", "李强")
        assert standing(stage, school)["listed"] == "black"
        again = stage.call("POST", path, {}, by=stage.second_officer)
        assert refused(again) == (409, "already_approved")

    def test_nobody_lists_alone(self, stage: ServiceStage) -> None:
        school = stage.fresh("school")
        path = f"/v1/lists/entries/{propose(stage, school)['entry_id']}/approval"
        response = stage.call("POST", path, {}, by=stage.officer)
        assert refused(response) == (409, "second_person_wanted")
        assert standing(stage, school)["listed"] is None

    @pytest.mark.parametrize("spelt", ["Zhao Min", " zhao min", "ＺＨＡＯ　ＭＩＮ"])
    def test_two_keys_of_one_person_are_one_person(self, stage: ServiceStage, spelt: str) -> None:
        one, other = (issue_officer_key(stage.application, name) for name in ("Zhao Min", spelt))
        school = stage.fresh("school")
        proposed = stage.post("/v1/lists/entries", proposal(school), by=one)
        path = f"/v1/lists/entries/{proposed['entry_id']}/approval"
        response = stage.call("POST", path, {}, by=other)
        assert refused(response) == (409, "second_person_wanted")
        assert standing(stage, school)["listed"] is None

    def test_a_repeated_request_proposes_once(self, stage: ServiceStage) -> None:
        body, key = proposal(stage.fresh("school")), {"Idempotency-Key": stage.fresh("key")}
        first, second = (
            stage.call("POST", "/v1/lists/entries", body, by=stage.officer, headers=key)
            for _ in range(2)
        )
        assert (first.status_code, first.content) == (201, second.content)

    def test_platforms_change_no_list(self, stage: ServiceStage) -> None:
        body = proposal(stage.fresh("school"))
        assert refused(stage.call("POST", "/v1/lists/entries", body)) == (403, "forbidden")
        entry_id = propose(stage, stage.fresh("school"))["entry_id"]
        path = f"/v1/lists/entries/{entry_id}/approval"
        assert refused(stage.call("POST", path, {})) == (403, "forbidden")

    def test_an_unknown_learner_or_entry(self, stage: ServiceStage) -> None:
        learner = stage.call(
            "POST", "/v1/lists/entries", proposal("0" * 32, "learner"), by=stage.officer
        )
        entry = stage.call("POST", "/v1/lists/entries/none/approval", {}, by=stage.officer)
        assert refused(learner) == refused(entry) == (404, "unknown_subject")

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"list_name": "grey"}, "invalid_input"),
            ({"subject_kind": "person"}, "invalid_input"),
            ({"subject_id": "free text"}, "invalid_input"),
            ({"reason_code": "A reason in words"}, "invalid_input"),
            ({"valid_from": 0}, "invalid_input"),
            ({"valid_from": "2026-01-01T00:00:00"}, "invalid_input"),
            ({"valid_to": "2020-01-01T00:00:00Z"}, "invalid_record"),
        ],
    )
    def test_what_is_no_entry(self, stage: ServiceStage, change: dict[str, Any], code: str) -> None:
        body = {**proposal(stage.fresh("school")), **change}
        response = stage.call("POST", "/v1/lists/entries", body, by=stage.officer)
        assert refused(response) == (422, code)
        assert next(iter(change)) in response.text


class TestChecking:
    def test_officers_hear_why_and_platforms_that(self, stage: ServiceStage) -> None:
        school = stage.fresh("school")
        entry = enlist(stage, school)
        assert standing(stage, school) == {"kind": "institution", "id": school, "listed": "black"}
        assert standing(stage, school, by=stage.officer) == {
            "kind": "institution",
            "id": school,
            "listed": "black",
            "reason_code": "proxy_attendance",
            "since": entry["valid_from"],
        }

    def test_no_white_entry_lifts_a_block(self, stage: ServiceStage) -> None:
        school = stage.fresh("school")
        enlist(stage, school, list_name="white", reason_code="model_school")
        assert standing(stage, school)["listed"] == "white"
        stage.clock.advance(60)
        enlist(stage, school)
        found = standing(stage, school, by=stage.officer)
        assert (found["listed"], found["reason_code"]) == ("black", "proxy_attendance")

    def test_an_entry_holds_for_its_time(self, stage: ServiceStage) -> None:
        school, now = stage.fresh("school"), stage.clock.now()
        enlist(
            stage,
            school,
            valid_from=(now + timedelta(minutes=1)).isoformat(),
            valid_to=(now + timedelta(minutes=2)).isoformat(),
        )
        seen = []
        for _ in range(3):
            seen.append(standing(stage, school)["listed"])
            stage.clock.advance(60)
        assert seen == [None, "black", None]

    def test_the_kind_is_part_of_who_it_is(self, stage: ServiceStage) -> None:
        school = stage.fresh("school")
        enlist(stage, school)
        assert standing(stage, school, "enterprise")["listed"] is None

    def test_a_platform_asks_about_its_own_learners(self, stage: ServiceStage) -> None:
        """Of another's it hears what it hears of nobody."""
        learner_id = stage.register_learner()
        enlist(stage, learner_id, "learner")
        assert standing(stage, learner_id, "learner")["listed"] == "black"
        assert standing(stage, learner_id, "learner", by=stage.officer)["listed"] == "black"
        others = standing(stage, learner_id, "learner", by=stage.other_platform)
        nobodys = standing(stage, "0" * 32, "learner", by=stage.other_platform)
        assert others == {**nobodys, "id": learner_id}

    def test_a_thousand_at_once_in_their_order(self, stage: ServiceStage) -> None:
        school = stage.fresh("school")
        enlist(stage, school)
        subjects = [{"kind": "institution", "id": f"{school}-{n}"} for n in range(998)]
        subjects[500:500] = [{"kind": "institution", "id": school}]
        subjects.append({"kind": "institution", "id": school})  # asked twice, told twice
        results = stage.post("/v1/lists/check", {"subjects": subjects})["results"]
        assert [{"kind": each["kind"], "id": each["id"]} for each in results] == subjects
        assert [n for n, each in enumerate(results) if each["listed"]] == [500, 999]

    def test_a_thousand_of_the_longest_ids(self, stage: ServiceStage) -> None:
        subjects = [{"kind": "institution", "id": f"{n:064}"} for n in range(1000)]
        response = stage.call("POST", "/v1/lists/check", {"subjects": subjects})
        assert response.status_code == 200

    def test_a_thousand_wrong_ones_are_read_to_the_first(self, stage: ServiceStage) -> None:
        response = stage.call("POST", "/v1/lists/check", {"subjects": [{"kind": "x"}] * 1000})
        fields = {error["field"] for error in response.json()["errors"]}
        assert fields == {"body.subjects.0.kind", "body.subjects.0.id"}

    @pytest.mark.parametrize("count", [0, 1001])
    def test_none_and_too_many(self, stage: ServiceStage, count: int) -> None:
        subjects = [{"kind": "institution", "id": "school"}] * count
        response = stage.call("POST", "/v1/lists/check", {"subjects": subjects})
        assert refused(response) == (422, "invalid_input")

    def test_whoever_has_no_key_hears_nothing(self, stage: ServiceStage) -> None:
        question = {"subjects": [{"kind": "institution", "id": "school"}]}
        response = stage.call("POST", "/v1/lists/check", question, by="")
        assert refused(response) == (401, "unauthenticated")
