"""Misses of a lesson made up for by another, over HTTP, and how the gate counts them."""

from datetime import timedelta
from typing import Any

from tests.service.http.footprint import footprint
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage
from tests.service.http.test_prompt_kinds import close, opening, prepare, type_in

MINUTES = 4


def attend(stage: ServiceStage, session_id: str, minutes: int = MINUTES) -> None:
    """Let time pass, typing every code soon enough."""
    for _ in range(4 * minutes):
        while prompt := stage.prompt(session_id):
            type_in(stage, prompt)
        stage.clock.advance(15)


def miss_one(stage: ServiceStage, session_id: str) -> None:
    """Answer the opening prompt, and not the one after it."""
    type_in(stage, stage.prompt(session_id))
    while stage.prompt(session_id) is None:
        stage.clock.advance(15)
    while stage.prompt(session_id) is not None:
        stage.clock.advance(30)


def budget(stage: ServiceStage, learner_id: str, class_id: str) -> Any:
    path = f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"
    rules = stage.get(path, by=stage.officer)["rules"]
    (rule,) = (each for each in rules if each["rule"] == "miss_budget@1")
    return rule["values"]


def refused_to_make_up(stage: ServiceStage, body: dict[str, Any]) -> str:
    """Return why a session may not be opened, which leaves nothing behind."""
    before = footprint(stage)
    response = stage.call("POST", "/v1/sessions", body)
    assert refused(response) == (409, "make_up_refused")
    assert footprint(stage) == before
    return str(response.json()["detail"])


def test_a_lesson_attended_throughout_makes_up_for_an_earlier_one(stage: ServiceStage) -> None:
    learner_id, class_id = prepare(stage)
    body = opening(learner_id, class_id, path="non_face", planned_minutes=MINUTES)
    missed = stage.post("/v1/sessions", body)["session_id"]
    again = {**body, "makes_up": missed}
    assert "has ended" in refused_to_make_up(stage, again)
    miss_one(stage, missed)
    assert close(stage, missed)["prompts"]["missed"] == 1
    before = budget(stage, learner_id, class_id)
    assert (before["missed"], before["made_up"]) == (1, 0)

    for named in ("0" * 32, another(stage)):
        assert "has ended" in refused_to_make_up(stage, {**body, "makes_up": named})
    later = stage.post("/v1/sessions", again)["session_id"]
    attend(stage, later)
    assert close(stage, later)["decision"] == "accept"
    after = budget(stage, learner_id, class_id)
    assert (after["missed"], after["made_up"], after["share"]) == (1, 1, 0)
    assert after["scheduled"] > before["scheduled"]
    assert "before" in refused_to_make_up(stage, again)
    assert "no scheduled prompt" in refused_to_make_up(stage, {**body, "makes_up": later})


def test_after_a_week_it_is_too_late(stage: ServiceStage) -> None:
    body = opening(*prepare(stage), path="non_face", planned_minutes=MINUTES)
    missed = stage.post("/v1/sessions", body)["session_id"]
    miss_one(stage, missed)
    close(stage, missed)
    stage.clock.advance(timedelta(days=8).total_seconds())
    assert "the last day" in refused_to_make_up(stage, {**body, "makes_up": missed})


def another(stage: ServiceStage) -> str:
    """Return a session of somebody else."""
    body = opening(*prepare(stage), path="non_face", planned_minutes=MINUTES)
    return str(stage.post("/v1/sessions", body)["session_id"])
