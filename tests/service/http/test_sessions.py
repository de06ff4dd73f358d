"""Sessions over HTTP: opened, followed, ended; whose they are; what they are worth."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from service.credentials import CODES_TRIED_PER_MINUTE
from service.sql import idempotency
from tests.pipelines.lesson_stage import OTHER_FACE
from tests.service.http.asgi_client import call
from tests.service.http.footprint import footprint
from tests.service.http.refusals import refused
from tests.service.http.service_stage import POLL_EVERY_S, ServiceStage


@pytest.fixture
def opened(stage: ServiceStage) -> Any:
    return stage.open_session(*stage.prepare())


class TestOpening:
    def test_tells_the_assurance_and_the_anchor(self, stage: ServiceStage) -> None:
        told = stage.open_session(*stage.prepare())
        assert (told["assurance"], told["anchor"]) == ("platform", "authority")
        assert told["expires_at"] > told["opened_at"]

    def test_a_second_session_ends_the_first(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        first = stage.open_session(learner_id, class_id)["session_id"]
        stage.open_session(learner_id, class_id)
        assert stage.get(f"/v1/sessions/{first}")["phase"] == "abandoned"
        response = stage.call("GET", f"/v1/sessions/{first}/prompt")
        assert (response.status_code, response.json()["code"]) == (409, "session_over")

    def test_the_same_key_opens_one_session_and_gives_the_same_code(
        self, stage: ServiceStage
    ) -> None:
        learner_id, class_id = stage.prepare()
        body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12}
        key = {"Idempotency-Key": stage.fresh("key")}
        replies = [stage.call("POST", "/v1/sessions", body, headers=key) for _ in range(2)]
        assert [reply.status_code for reply in replies] == [201, 201]
        assert replies[0].content == replies[1].content
        assert stage.token(replies[1].json())

    def test_sent_again_while_the_first_is_under_way_opens_one_session(
        self, own_stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whose connection timed out asks again; the session that is told of must be alive."""
        stage = own_stage
        learner_id, class_id = stage.prepare()
        body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12}
        key = {"Idempotency-Key": stage.fresh("key")}
        replay, replies = idempotency.replay, list[Any]()

        def slow_replay(*args: Any) -> Any:
            """Find no reply for the second request; then let the first one come about."""
            found = replay(*args)
            if not replies:
                replies.append(None)
                replies[0] = stage.call("POST", "/v1/sessions", body, headers=key)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(idempotency, "replay", slow_replay)
            second = stage.call("POST", "/v1/sessions", body, headers=key)
        assert second.content == replies[0].content
        session_id = second.json()["session_id"]
        assert stage.get(f"/v1/sessions/{session_id}")["phase"] == "opening"
        assert footprint(stage).rows["session"] == 1

    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"learner_id": "0" * 32}, 404, "unknown_subject"),
            ({"class_id": "no-such-class"}, 404, "unknown_subject"),
            ({"class_id": "free text"}, 422, "invalid_input"),
            ({"planned_minutes": 0}, 422, "invalid_input"),
            ({"planned_minutes": -1}, 422, "invalid_input"),
            ({"planned_minutes": 1441}, 422, "invalid_input"),
            ({"planned_minutes": "a lot"}, 422, "invalid_input"),
            ({"planned_minutes": "12"}, 422, "invalid_input"),
            ({"planned_minutes": True}, 422, "invalid_input"),
            ({"planned_minutes": None}, 422, "invalid_input"),
            ({"path": "non_face"}, 409, "accommodation_missing"),
            ({"path": "voice"}, 422, "invalid_input"),
            ({"makes_up": "0" * 32}, 409, "make_up_refused"),
            ({"makes_up": "free text"}, 422, "invalid_input"),
            ({"assurance": "none"}, 422, "invalid_input"),
        ],
    )
    def test_what_cannot_be_opened(
        self, stage: ServiceStage, change: dict[str, Any], status: int, code: str
    ) -> None:
        learner_id, class_id = stage.prepare()
        before = footprint(stage)
        body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12, **change}
        response = stage.call("POST", "/v1/sessions", body)
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert footprint(stage) == before

    @pytest.mark.parametrize("minutes", ["NaN", "Infinity", "1e999", "9" * 5000])
    def test_numbers_that_json_should_not_have(self, stage: ServiceStage, minutes: str) -> None:
        learner_id, class_id = stage.prepare()
        before = footprint(stage)
        body = json.dumps({"learner_id": learner_id, "class_id": class_id})
        text = f'{body[:-1]}, "planned_minutes": {minutes}}}'
        headers = {
            "Authorization": f"Bearer {stage.platform}",
            "Content-Type": "application/json",
        }
        response = call(stage.app, "POST", "/v1/sessions", headers=headers, content=text)
        assert response.status_code in {400, 422}
        assert footprint(stage) == before

    def test_somebody_who_is_not_enrolled(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.register_learner(), stage.open_class()
        stage.give_consent(learner_id)
        body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12}
        response = stage.call("POST", "/v1/sessions", body)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_subject")

    def test_somebody_who_withdrew_consent(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        stage.delete(f"/v1/learners/{learner_id}/consent")
        body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12}
        response = stage.call("POST", "/v1/sessions", body)
        assert (response.status_code, response.json()["code"]) == (409, "consent_missing")


class TestWhoseItIs:
    @pytest.mark.parametrize("act", ["", "/prompt", "/end", "/close", "/code"])
    def test_another_platforms_session_looks_like_nobodys(
        self, stage: ServiceStage, opened: Any, act: str
    ) -> None:
        method = "GET" if act in {"", "/prompt"} else "POST"
        body: dict[str, Any] | None = None if method == "GET" else {}
        problems = []
        for session_id in (opened["session_id"], "0" * 32):
            path = f"/v1/sessions/{session_id}{act}"
            response = stage.call(method, path, body, by=stage.other_platform)
            assert response.status_code == 404
            problems.append({**response.json(), "request_id": None})
        assert problems[0] == problems[1]

    def test_a_token_opens_its_own_session_only(self, stage: ServiceStage, opened: Any) -> None:
        token = stage.token(opened)
        other = stage.open_session(*stage.prepare())["session_id"]
        assert stage.get(f"/v1/sessions/{opened['session_id']}", by=token)
        assert stage.call("GET", f"/v1/sessions/{other}", by=token).status_code == 404

    def test_an_officer_does_not_poll(self, stage: ServiceStage, opened: Any) -> None:
        """Asking is what sends a prompt out; an officer's look must not."""
        before = footprint(stage)
        path = f"/v1/sessions/{opened['session_id']}/prompt"
        response = stage.call("GET", path, by=stage.officer)
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
        assert footprint(stage) == before

    @pytest.mark.parametrize("act", ["end", "close", "code"])
    def test_a_learner_does_not_end_a_session(
        self, stage: ServiceStage, opened: Any, act: str
    ) -> None:
        path = f"/v1/sessions/{opened['session_id']}/{act}"
        response = stage.call("POST", path, {}, by=stage.token(opened))
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")

    def test_a_code_works_once(self, stage: ServiceStage, opened: Any) -> None:
        stage.token(opened)
        path = f"/v1/sessions/{opened['session_id']}/token"
        response = stage.call("POST", path, {"code": opened["code"]}, by="")
        assert (response.status_code, response.json()["code"]) == (401, "code_spent")

    def test_another_code_ends_the_first_one_and_its_token(
        self, stage: ServiceStage, opened: Any
    ) -> None:
        path = f"/v1/sessions/{opened['session_id']}"
        first = stage.token(opened)
        stage.clock.advance(11 * 60)
        fresh = stage.post(f"{path}/code")
        assert fresh.keys() == {"session_id", "code", "code_expires_at"}
        assert stage.call("GET", path, by=first).status_code == 401
        spent = stage.call("POST", f"{path}/token", {"code": opened["code"]}, by="")
        assert (spent.status_code, spent.json()["code"]) == (404, "unknown_subject")
        assert stage.get(path, by=stage.token(fresh))

    def test_a_repeated_request_gives_one_code(self, stage: ServiceStage, opened: Any) -> None:
        path, key = f"/v1/sessions/{opened['session_id']}/code", {"Idempotency-Key": "k"}
        first, second = (stage.call("POST", path, {}, headers=key) for _ in range(2))
        assert first.content == second.content
        assert stage.token(second.json())

    def test_a_session_that_is_over_gets_no_code(self, stage: ServiceStage) -> None:
        outcome = stage.hold_lesson(*stage.prepare(), minutes=6)
        response = stage.call("POST", f"/v1/sessions/{outcome['session_id']}/code", {})
        assert (response.status_code, response.json()["code"]) == (409, "session_over")

    def test_a_token_outlives_its_session_by_a_week(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        opened = stage.open_session(*stage.prepare())
        token, path = stage.token(opened), f"/v1/sessions/{opened['session_id']}"
        stage.attend(opened["session_id"], 6)
        ended_at = datetime.fromisoformat(stage.close(opened["session_id"])["ended_at"])
        last = ended_at + timedelta(days=7)
        stage.clock.advance((last - stage.clock.now()).total_seconds() - 1)
        assert stage.get(path, by=token)
        stage.clock.advance(1)
        assert stage.call("GET", path, by=token).status_code == 401

    def test_a_code_is_soon_too_old(self, stage: ServiceStage, opened: Any) -> None:
        stage.clock.advance(10 * 60)
        path = f"/v1/sessions/{opened['session_id']}/token"
        response = stage.call("POST", path, {"code": opened["code"]}, by="")
        assert (response.status_code, response.json()["code"]) == (401, "code_spent")

    @pytest.mark.parametrize("code", ["zx_code_" + "A" * 22, "nonsense", "x" * 300, "", None])
    def test_a_code_nobody_gave_out(self, stage: ServiceStage, opened: Any, code: Any) -> None:
        path = f"/v1/sessions/{opened['session_id']}/token"
        response = stage.call("POST", path, {"code": code}, by="")
        assert response.status_code in {401, 404, 422}
        assert stage.token(opened)

    def test_guessing_codes_is_slow_and_locks_nobody_else_out(self, stage: ServiceStage) -> None:
        guessed, other = (stage.open_session(*stage.prepare()) for _ in range(2))
        path = f"/v1/sessions/{guessed['session_id']}/token"
        guess = {"code": "zx_code_" + "A" * 22}
        # A real Redis lets one more through each second, so it may take some more than the limit.
        answers = [stage.call("POST", path, guess, by="")]
        while answers[-1].status_code != 429 and len(answers) < 10 * CODES_TRIED_PER_MINUTE:
            answers.append(stage.call("POST", path, guess, by=""))
        assert refused(answers[-1]) == (429, "rate_limited")
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert len(answers) > CODES_TRIED_PER_MINUTE
        assert stage.token(other)

    def test_a_code_of_another_session(self, stage: ServiceStage, opened: Any) -> None:
        other = stage.open_session(*stage.prepare())
        path = f"/v1/sessions/{other['session_id']}/token"
        assert not stage.call("POST", path, {"code": opened["code"]}, by="").is_success
        assert stage.token(opened)
        assert stage.token(other)


class TestALesson:
    def test_attended_to_the_end_is_accepted_and_credited(self, stage: ServiceStage) -> None:
        outcome = stage.hold_lesson(*stage.prepare(), minutes=12)
        assert (outcome["phase"], outcome["decision"]) == ("closed", "accept")
        counts = outcome["prompts"]
        # The clock stands while a prompt waits for the next poll.
        waited_s = POLL_EVERY_S * counts["issued"]
        assert 12 * 60 - waited_s <= outcome["credited_s"] <= 12 * 60
        assert counts["issued"] == counts["answered"] == len(outcome["evidence"])

    def test_by_somebody_else_is_under_review_and_no_second_is_credited(
        self, stage: ServiceStage
    ) -> None:
        """That a machine proposes to reject is for a person's eyes, not the platform's."""
        opened = stage.open_session(*stage.prepare())
        session_id = opened["session_id"]
        stage.answer(stage.prompt(session_id))
        stage.attend(session_id, 12, OTHER_FACE)
        outcome = stage.close(session_id, OTHER_FACE)
        assert (outcome["decision"], outcome["credited_s"]) == ("under_review", 0)

    def test_closing_again_tells_the_same(self, stage: ServiceStage) -> None:
        outcome = stage.hold_lesson(*stage.prepare(), minutes=6)
        before = footprint(stage)
        path = f"/v1/sessions/{outcome['session_id']}"
        stage.publish()
        again = stage.post(f"{path}/close")
        assert {**again, "evidence": []} == {**outcome, "evidence": []}
        assert stage.get(path) == again
        assert footprint(stage) == before

    def test_evidence_is_proven_once_a_checkpoint_holds_it(
        self, stage: ServiceStage, opened: Any
    ) -> None:
        session_id = opened["session_id"]
        stage.answer(stage.prompt(session_id))
        stage.publish()
        shown = stage.get(f"/v1/sessions/{session_id}")["evidence"]
        assert [each["proven"] for each in shown] == [True]

    def test_left_without_an_end_is_abandoned(self, stage: ServiceStage, opened: Any) -> None:
        session_id = opened["session_id"]
        stage.answer(stage.prompt(session_id))
        stage.clock.advance(3600 * 24)
        stage.application.engine.abandon_expired()
        shown = stage.get(f"/v1/sessions/{session_id}")
        assert (shown["phase"], shown["decision"]) == ("abandoned", "under_review")

    @pytest.mark.parametrize("by", ["platform", "token"])
    def test_no_score_is_in_it(self, stage: ServiceStage, by: str) -> None:
        opened = stage.open_session(*stage.prepare())
        token = stage.token(opened)
        stage.attend(opened["session_id"], 6)
        stage.close(opened["session_id"])
        path = f"/v1/sessions/{opened['session_id']}"
        shown = stage.call("GET", path, by=token if by == "token" else None).text
        for secret in ("authenticity", "log10", "lower95", "verified", "reject"):
            assert secret not in shown

    def test_an_idempotency_key_of_another_sessions_end_ends_nothing(
        self, stage: ServiceStage
    ) -> None:
        """A repeated key must not tell of an end that never was: its session would lapse."""
        key = {"Idempotency-Key": stage.fresh("key")}
        first, second = (stage.open_session(*stage.prepare())["session_id"] for _ in range(2))
        for session_id in (first, second):
            stage.answer(stage.prompt(session_id))
        assert stage.call("POST", f"/v1/sessions/{first}/end", {}, headers=key).is_success
        response = stage.call("POST", f"/v1/sessions/{second}/end", {}, headers=key)
        assert refused(response) == (422, "idempotency_conflict")
        phases = [stage.get(f"/v1/sessions/{each}")["phase"] for each in (first, second)]
        assert phases == ["ending", "running"]

    def test_an_end_before_the_lesson_began(self, stage: ServiceStage, opened: Any) -> None:
        response = stage.call("POST", f"/v1/sessions/{opened['session_id']}/end", {})
        assert (response.status_code, response.json()["code"]) == (409, "not_running")


def test_nothing_told_by_polling_is_about_the_future(stage: ServiceStage, opened: Any) -> None:
    """Between prompts a poll says null, whenever the next one comes."""
    session_id = opened["session_id"]
    stage.answer(stage.prompt(session_id))
    path = f"/v1/sessions/{session_id}/prompt"
    first = stage.call("GET", path).content
    stage.clock.advance(1)
    assert first == stage.call("GET", path).content == b'{"prompt":null}'


def test_replies_are_forgotten_after_a_week(own_stage: ServiceStage) -> None:
    """And not before: whoever lost a connection may ask again for days."""
    stage = own_stage
    learner_id, class_id = stage.prepare()
    body = {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12}
    key = {"Idempotency-Key": "once"}
    first = stage.call("POST", "/v1/sessions", body, headers=key).content
    stage.clock.advance(6 * 24 * 3600)
    stage.application.sweeping.act()
    assert stage.call("POST", "/v1/sessions", body, headers=key).content == first
    stage.clock.advance(2 * 24 * 3600)
    stage.application.sweeping.act()
    assert stage.call("POST", "/v1/sessions", body, headers=key).content != first
