"""One face under two ids over HTTP: enrolled as anybody is, and then a person looks at it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipelines.simulate.identity_authority import demo_identity
from tests.pipelines.lesson_stage import CALIBRATION, OTHER_FACE, dense_policy
from tests.service.http.conftest import OpenStage
from tests.service.http.service_stage import ServiceStage, open_stage, reopen_stage


@pytest.fixture(autouse=True)
def _with_duplicates() -> Iterator[None]:
    policy = dense_policy(with_duplicates=True)
    with patch("tests.service.http.service_stage.dense_policy", lambda: policy):
        yield


def register(stage: ServiceStage, *, by: str | None = None) -> str:
    learner_id = stage.register_learner(by=by)
    stage.give_consent(learner_id, by=by)
    return learner_id


def pairs(stage: ServiceStage) -> set[frozenset[str]]:
    cases = stage.get("/v1/cases", by=stage.officer)["cases"]
    assert {case["kind"] for case in cases} <= {"duplicate_face"}
    return {frozenset(case["learner_ids"]) for case in cases}


def told(enrolled: Any) -> Any:
    return {key: value for key, value in enrolled.items() if key != "evidence_id"}


def test_whom_a_face_belongs_to_is_told_to_officers_only(
    stage_opener: OpenStage, tmp_path: Path
) -> None:
    """Across platforms, since an authority is searched as a whole."""
    with stage_opener(tmp_path) as stage:
        first, other = register(stage), register(stage)
        twin = register(stage, by=stage.other_platform)
        seen = [stage.enrol(first), stage.enrol(other, OTHER_FACE)]
        assert pairs(stage) == set()
        seen.append(stage.enrol(twin, by=stage.other_platform))
        assert pairs(stage) == {frozenset({first, twin})}
        assert told(seen[0]) == told(seen[1]) == told(seen[2])
        (case,) = stage.get("/v1/cases", by=stage.officer)["cases"]
        assert case["details"].keys() == {
            *("calibration", "calibration_id", "comparison_score", "from_score"),
            *("gallery_size", "false_hits_expected", "false_hits_bound"),
        }


def test_after_a_start_everybody_is_found_again(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        first = stage.enrolled_learner()
    with reopen_stage(stage, away_s=60) as back:
        assert len(back.application.enroller.duplicates.gallery) == 1
        twin = register(back)
        back.enrol(twin)
        assert pairs(back) == {frozenset({first, twin})}


def test_after_a_change_of_model_nobody_is_found_until_they_enrol_again(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        first = stage.enrolled_learner()
    with reopen_stage(stage, away_s=60, contract_id="colours@2") as back:
        twin = register(back)
        back.enrol(twin)
        assert pairs(back) == set()
        back.enrol(first)
        assert pairs(back) == {frozenset({first, twin})}


def test_only_ciphertext_of_a_face_is_on_the_disk(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        learner_id = stage.enrolled_learner()
        duplicates = stage.application.enroller.duplicates
        with duplicates.store.reading() as unit:
            stored = unit.enrolment(learner_id)
        opened = duplicates.templates.open(
            learner_id, stored.sealed_template, contract_id=stored.contract_id
        )
        vector = opened.template.vector.astype("<f4").tobytes()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(stored.sealed_template in data for data in files)
    assert not any(vector in data for data in files)


def test_a_search_that_can_find_nobody_is_told_at_the_start_and_to_who_approves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Or nobody would wonder why there never is a case."""
    caplog.set_level("WARNING")
    blind = "the duplicate search can find nobody"
    with open_stage(tmp_path) as stage:
        assert blind not in caplog.text
        (built_in,) = stage.get("/v1/calibrations", by=stage.officer)["calibrations"]
        assert built_in["finds_duplicates"] is True
        # Of one picture twice the line says 0.5; 1 is wanted even of two people alone.
        gentle = replace(CALIBRATION, name="gentle", slope=2.0, intercept=-1.5)
        proposed = stage.call(
            "POST", "/v1/calibrations", json.loads(gentle.document()), by=stage.officer
        )
        assert proposed.json()["finds_duplicates"] is False
        assert blind not in caplog.text
        path = f"/v1/calibrations/{gentle.calibration_id}/approval"
        assert stage.post(path, by=stage.second_officer)["finds_duplicates"] is False
        assert blind in caplog.text
        caplog.clear()
    with reopen_stage(stage, away_s=60):
        assert blind in caplog.text
    with reopen_stage(stage, away_s=120, contract_id="colours@2") as back:
        shown = back.get("/v1/calibrations", by=back.officer)["calibrations"]
        assert [each["finds_duplicates"] for each in shown] == [True, None, None]


def test_another_platforms_wrong_enrolments_take_nothing_from_the_learner(tmp_path: Path) -> None:
    """Name and number give it the learner's id; neither answers nor payment may hang on that."""
    policy = dense_policy(with_duplicates=True)
    few = replace(policy.comparison, max_per_learner_day=3, max_enrolments_per_learner_day=2)
    policy = replace(policy, comparison=few)
    with (
        patch("tests.service.http.service_stage.dense_policy", lambda: policy),
        open_stage(tmp_path) as stage,
    ):
        learner_id, class_id = stage.prepare()
        person = demo_identity(1)
        body = {
            "reference": "not-mine",
            "identity": {"name": person.name, "id_number": person.id_number},
        }
        known = stage.post("/v1/learners", body, by=stage.other_platform)
        assert known["learner_id"] == learner_id
        reasons = []
        for _ in range(5):
            stage.clock.advance(7)
            refused = stage.enrol(learner_id, OTHER_FACE, by=stage.other_platform)
            reasons.append((refused["outcome"], refused["reason"]))
        assert reasons == [
            *[("refer", "another_face_enrolled")] * 2,
            *[("retry", "too_often_today")] * 3,
        ]
        session_id = stage.open_session(learner_id, class_id)["session_id"]
        assert stage.answer(stage.prompt(session_id))["answer"] == "pass"
        assert stage.get("/v1/cases", by=stage.officer)["cases"] == []
