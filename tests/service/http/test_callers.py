"""Who calls: one budget for a platform, however many keys and tokens it has."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.application import Application
from service.http import callers
from service.http.callers import Caller
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage, issue_officer_key, issue_platform_key

BUDGET = 8


@contextmanager
def budget(stage: ServiceStage) -> Iterator[None]:
    """Let everybody call so many times a minute, starting with nothing spent."""
    stage.clock.advance(3600)
    small = stage.application.settings.model_copy(update={"requests_per_minute": BUDGET})
    before = stage.application.settings
    object.__setattr__(stage.application, "settings", small)
    yield
    object.__setattr__(stage.application, "settings", before)


def test_keys_and_tokens_of_a_platform_share_one_budget(own_stage: ServiceStage) -> None:
    """Or whoever wants to ask more often opens more sessions."""
    stage = own_stage
    learner_id, class_id = stage.prepare()
    token = stage.token(stage.open_session(learner_id, class_id))
    second = issue_platform_key(stage.application, "platform-1")
    path = f"/v1/learners/{learner_id}", f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"
    with budget(stage):
        asked = [(path[0], stage.platform), (path[0], second), (path[1], token)] * BUDGET
        answers = [stage.call("GET", where, by=by) for where, by in asked]
        allowed = [answer.status_code for answer in answers].count(200)
        assert allowed < BUDGET + 3  # some are given back while others wait
        assert refused(answers[-1]) == (429, "rate_limited")
        others = stage.call("GET", "/v1/classes/none", by=stage.other_platform)
        assert refused(others) == (404, "unknown_subject")


@pytest.mark.parametrize("person", ["王芳", "Zhao Min"])
def test_an_officer_is_not_charged_for_another(own_stage: ServiceStage, person: str) -> None:
    stage = own_stage
    one, other = (issue_officer_key(stage.application, name) for name in (person, "Another"))
    with budget(stage):
        for _ in range(BUDGET + 3):
            last = stage.call("GET", "/v1/classes/none", by=one)
        assert refused(last) == (429, "rate_limited")
        assert refused(stage.call("GET", "/v1/classes/none", by=other)) == (404, "unknown_subject")


def test_whoever_sends_pictures_is_looked_up_once(
    stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the large body is read, and not again for the route."""
    learner_id, class_id = stage.prepare()
    prompt = stage.prompt(stage.open_session(learner_id, class_id)["session_id"])
    looked_up: list[str] = []
    known_caller = callers.known_caller

    def noted(application: Application, shown: str) -> Caller | None:
        looked_up.append(shown)
        return known_caller(application, shown)

    monkeypatch.setattr(callers, "known_caller", noted)
    assert stage.answer(prompt)["answer"] == "pass"
    assert looked_up == [stage.platform]
    stage.get(f"/v1/learners/{learner_id}")
    assert looked_up == [stage.platform] * 2
