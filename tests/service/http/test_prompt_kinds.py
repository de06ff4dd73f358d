"""Codes and calls beside pictures, by a grant and by officers; and the frame's sessions."""

import secrets
from datetime import timedelta
from typing import Any

import pytest

from service.http.prompts import PROMPT_TEXT
from service.sql.accommodations import approve_grant, propose_grant
from service.turns import BusyError
from tests.pipelines.lesson_stage import OTHER_FACE
from tests.service.http.footprint import footprint
from tests.service.http.refusals import refused
from tests.service.http.service_stage import POLL_EVERY_S, ServiceStage, reply
from verifier.accommodation import AccommodationKind, Grant
from verifier.assurance import Assurance
from verifier.prompt import PromptKind

NON_FACE, EXTRA_TIME = AccommodationKind.NON_FACE, AccommodationKind.EXTRA_TIME


def grant(stage: ServiceStage, learner_id: str, kind: AccommodationKind = NON_FACE) -> None:
    """Grant a learner an accommodation from now on."""
    now = stage.clock.now()
    proposal = Grant(
        grant_id=secrets.token_hex(8),
        learner_id=learner_id,
        kind=kind,
        reason="made up",
        valid_from=now,
        valid_to=now + timedelta(days=30),
        proposed_by="王芳",
        proposed_at=now,
    )
    with stage.application.database.writing() as tx:
        propose_grant(tx, proposal, longest_days=180)
        approve_grant(tx, grant_id=proposal.grant_id, approved_by="李强", at=now)


def prepare(stage: ServiceStage, *, granted: bool = True) -> tuple[str, str]:
    """Return a learner whose face nobody has or may look at, and an approved class."""
    learner_id, class_id = stage.register_learner(), stage.open_class()
    stage.approve(class_id)
    stage.roster(class_id, learner_id)
    if granted:
        grant(stage, learner_id)
    return learner_id, class_id


def opening(learner_id: str, class_id: str, **change: Any) -> dict[str, Any]:
    return {"learner_id": learner_id, "class_id": class_id, "planned_minutes": 12, **change}


def open_by_grant(stage: ServiceStage) -> str:
    body = opening(*prepare(stage), path="non_face")
    return str(stage.post("/v1/sessions", body)["session_id"])


def type_in(stage: ServiceStage, prompt: Any, typed: str | None = None) -> Any:
    """Type the prompt's code, or something else."""
    body = {"nonce": prompt["nonce"], "typed": prompt["code"] if typed is None else typed}
    return stage.post(f"/v1/prompts/{prompt['prompt_id']}/answer", body)


def attend(stage: ServiceStage, session_id: str, minutes: float) -> None:
    """Let time pass, typing every code."""
    for _ in range(round(60 * minutes / POLL_EVERY_S)):
        while prompt := stage.prompt(session_id):
            type_in(stage, prompt)
        stage.clock.advance(POLL_EVERY_S)


def close(stage: ServiceStage, session_id: str) -> Any:
    """End a lesson that is attended to the end."""
    while prompt := stage.prompt(session_id):
        type_in(stage, prompt)
    stage.post(f"/v1/sessions/{session_id}/end")
    while (prompt := stage.prompt(session_id)) is None:
        stage.clock.advance(1)
    type_in(stage, prompt)
    return stage.post(f"/v1/sessions/{session_id}/close")


def add(stage: ServiceStage, session_id: str, kind: str) -> Any:
    """Have the learner asked by an officer."""
    return stage.post(f"/v1/sessions/{session_id}/prompts", {"kind": kind}, by=stage.officer)


def record(stage: ServiceStage, prompt: Any, finding: str) -> Any:
    """Record a call as an officer."""
    path = f"/v1/prompts/{prompt['prompt_id']}/recording"
    return stage.post(path, {"finding": finding}, by=stage.officer)


class TestByAGrant:
    def test_no_face_is_asked_for_and_an_officer_vouches(self, stage: ServiceStage) -> None:
        """Neither an enrolment nor consent to look at a face."""
        told = stage.post("/v1/sessions", opening(*prepare(stage), path="non_face"))
        assert told["anchor"] == "officer"
        prompt = stage.prompt(told["session_id"])
        assert prompt["kind"] == "typed_code"
        assert prompt["code"].isdigit()
        assert prompt["text_zh"] == "请输入屏幕上的数字"
        assert stage.get(f"/v1/sessions/{told['session_id']}")["path"] == "non_face"

    def test_without_a_grant_it_is_not_opened(self, stage: ServiceStage) -> None:
        learner_id, class_id = prepare(stage, granted=False)
        body = opening(learner_id, class_id, path="non_face")
        for _ in range(2):
            before = footprint(stage)
            response = stage.call("POST", "/v1/sessions", body)
            assert refused(response) == (409, "accommodation_missing")
            assert footprint(stage) == before
            grant(stage, learner_id, EXTRA_TIME)  # another one
        grant(stage, learner_id)
        assert stage.post("/v1/sessions", body)["session_id"]

    def test_a_grant_opens_no_session_by_the_face(self, stage: ServiceStage) -> None:
        response = stage.call("POST", "/v1/sessions", opening(*prepare(stage)))
        assert refused(response) == (409, "consent_missing")

    def test_a_whole_lesson_earns_what_one_by_the_face_does(self, stage: ServiceStage) -> None:
        session_id = open_by_grant(stage)
        attend(stage, session_id, 12)
        outcome = close(stage, session_id)
        assert (outcome["decision"], outcome["path"]) == ("accept", "non_face")
        # The clock stands while a code waits for the next poll.
        waited_s = POLL_EVERY_S * outcome["prompts"]["issued"]
        assert 12 * 60 - waited_s <= outcome["credited_s"] <= 12 * 60

    def test_one_that_nobody_answers_earns_nothing(self, stage: ServiceStage) -> None:
        session_id = open_by_grant(stage)
        type_in(stage, stage.prompt(session_id))
        stage.clock.advance(12 * 60)
        stage.call("GET", f"/v1/sessions/{session_id}/prompt")
        outcome = stage.post(f"/v1/sessions/{session_id}/close")
        assert (outcome["decision"], outcome["credited_s"]) == ("under_review", 0)

    @pytest.mark.parametrize("typed", ["000000x", "1", "这不是数字"])
    def test_a_wrong_code_may_be_typed_again(self, stage: ServiceStage, typed: str) -> None:
        prompt = stage.prompt(open_by_grant(stage))
        told = type_in(stage, prompt, typed)
        assert (told["answer"], told["reason"]) == ("retry", "wrong_code")
        again = told["prompt"]
        assert again["nonce"] != prompt["nonce"]
        assert again["closes_at"] == prompt["closes_at"]
        assert type_in(stage, again)["answer"] == "pass"

    def test_more_time_is_given_where_it_was_granted(self, stage: ServiceStage) -> None:
        learner_id, class_id = prepare(stage)
        waits = []
        for _ in range(2):
            body = opening(learner_id, class_id, path="non_face")
            prompt = stage.prompt(stage.post("/v1/sessions", body)["session_id"])
            waits.append(stage.clock.now().fromisoformat(prompt["closes_at"]) - stage.clock.now())
            grant(stage, learner_id, EXTRA_TIME)
        assert waits == [timedelta(seconds=60), timedelta(seconds=120)]


class TestWhatAnAnswerHolds:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"frames": None}, "body"),
            ({"typed": "123456"}, "body"),
            ({"frames": None, "typed": ""}, "body.typed"),
            ({"frames": None, "typed": "1" * 65}, "body.typed"),
            ({"frames": None, "typed": 123456}, "body.typed"),
            ({"frames": None, "typed": "123456", "captured_ms": [0]}, "body"),
            ({"captured_ms": []}, "body.captured_ms"),
            ({"captured_ms": [-1]}, "body.captured_ms.0"),
            ({"captured_ms": [0.5]}, "body.captured_ms.0"),
        ],
    )
    def test_is_of_one_kind(self, stage: ServiceStage, change: dict[str, Any], field: str) -> None:
        prompt = stage.prompt(stage.open_session(*stage.prepare())["session_id"])
        before = footprint(stage)
        path = f"/v1/prompts/{prompt['prompt_id']}/answer"
        response = stage.call("POST", path, {**reply(prompt), **change})
        assert refused(response) == (422, "invalid_input")
        assert field in [error["field"] for error in response.json()["errors"]]
        assert "123456" not in response.text
        assert footprint(stage) == before

    def test_is_of_the_kind_that_was_asked_for(self, stage: ServiceStage) -> None:
        by_face = stage.prompt(stage.open_session(*stage.prepare())["session_id"])
        by_code = stage.prompt(open_by_grant(stage))
        before = footprint(stage)
        for prompt, body in (
            (by_face, {"nonce": by_face["nonce"], "typed": "123456"}),
            (by_code, reply(by_code)),
        ):
            response = stage.call("POST", f"/v1/prompts/{prompt['prompt_id']}/answer", body)
            assert refused(response) == (422, "invalid_input")
        assert footprint(stage) == before
        assert stage.answer(by_face)["answer"] == type_in(stage, by_code)["answer"] == "pass"


class TestOfficers:
    def test_have_a_learner_asked_without_learning_what_to_answer(
        self, stage: ServiceStage
    ) -> None:
        session_id = open_by_grant(stage)
        type_in(stage, stage.prompt(session_id))
        added = add(stage, session_id, "typed_code")
        assert added.keys() == {"prompt_id", "kind", "closes_at"}
        prompt = stage.prompt(session_id)
        assert prompt["prompt_id"] == added["prompt_id"]
        assert stage.get(f"/v1/sessions/{session_id}")["prompts"]["added"] == 1
        assert type_in(stage, prompt)["answer"] == "pass"

    def test_have_a_face_shown(self, stage: ServiceStage) -> None:
        session_id = stage.open_session(*stage.prepare())["session_id"]
        stage.answer(stage.prompt(session_id))
        add(stage, session_id, "silent_capture")
        assert stage.answer(stage.prompt(session_id))["answer"] == "pass"

    @pytest.mark.parametrize(
        ("finding", "answer", "reason"),
        [
            ("seen", "pass", "confirmed"),
            ("somebody_else", "refer", "under_review"),
            ("not_reached", "retry", "not_reached"),
        ],
    )
    def test_record_what_a_call_found(
        self, stage: ServiceStage, finding: str, answer: str, reason: str
    ) -> None:
        session_id = open_by_grant(stage)
        type_in(stage, stage.prompt(session_id))
        called = add(stage, session_id, "officer_call")
        prompt = stage.prompt(session_id)
        assert (prompt["kind"], prompt["code"]) == ("officer_call", None)
        assert stage.get(f"/v1/sessions/{session_id}")["clock"] == "paused"
        told = record(stage, called, finding)
        assert (told["answer"], told["reason"], told["prompt"]) == (answer, reason, None)
        assert stage.prompt(session_id) is None

    def test_who_found_somebody_else_keeps_a_lesson_from_being_accepted(
        self, stage: ServiceStage
    ) -> None:
        session_id = open_by_grant(stage)
        attend(stage, session_id, 6)
        while prompt := stage.prompt(session_id):
            type_in(stage, prompt)
        record(stage, add(stage, session_id, "officer_call"), "somebody_else")
        attend(stage, session_id, 6)
        outcome = close(stage, session_id)
        assert (outcome["decision"], outcome["credited_s"]) == ("under_review", 0)

    def test_alone_do_either(self, stage: ServiceStage) -> None:
        opened = stage.post("/v1/sessions", opening(*prepare(stage), path="non_face"))
        session_id, token = opened["session_id"], stage.token(opened)
        type_in(stage, stage.prompt(session_id))
        path = f"/v1/sessions/{session_id}/prompts"
        for by in (stage.platform, token):
            response = stage.call("POST", path, {"kind": "officer_call"}, by=by)
            assert refused(response) == (403, "forbidden")
        called = add(stage, session_id, "officer_call")
        before = footprint(stage)
        path = f"/v1/prompts/{called['prompt_id']}/recording"
        for by in (stage.platform, token):
            response = stage.call("POST", path, {"finding": "seen"}, by=by)
            assert refused(response) == (403, "forbidden")
        assert footprint(stage) == before

    def test_ask_one_thing_at_a_time(self, stage: ServiceStage) -> None:
        session_id = open_by_grant(stage)
        type_in(stage, stage.prompt(session_id))
        add(stage, session_id, "typed_code")
        before = footprint(stage)
        path = f"/v1/sessions/{session_id}/prompts"
        response = stage.call("POST", path, {"kind": "typed_code"}, by=stage.officer)
        assert refused(response) == (409, "prompt_open")
        assert footprint(stage) == before

    def test_do_so_once_for_one_key(self, stage: ServiceStage) -> None:
        session_id = open_by_grant(stage)
        type_in(stage, stage.prompt(session_id))
        key, path = {"Idempotency-Key": "ask"}, f"/v1/sessions/{session_id}/prompts"
        asked = [
            stage.call("POST", path, {"kind": "officer_call"}, by=stage.officer, headers=key)
            for _ in range(2)
        ]
        assert asked[0].content == asked[1].content
        path = f"/v1/prompts/{asked[0].json()['prompt_id']}/recording"
        told = [
            stage.call("POST", path, {"finding": "seen"}, by=stage.officer, headers=key)
            for key in ({"Idempotency-Key": "tell"},) * 2
        ]
        assert told[0].content == told[1].content
        assert stage.get(f"/v1/sessions/{session_id}")["prompts"]["answered"] == 2

    @pytest.mark.parametrize(
        ("kind", "wanted"),
        [
            ("silent_capture", (409, "wrong_kind")),
            ("turn_left", (422, "invalid_input")),
            (None, (422, "invalid_input")),
        ],
    )
    def test_ask_for_nothing_that_the_session_has_not(
        self, stage: ServiceStage, kind: str | None, wanted: tuple[int, str]
    ) -> None:
        """Whose face nobody has is not asked to show it."""
        session_id = open_by_grant(stage)
        type_in(stage, stage.prompt(session_id))
        before = footprint(stage)
        path = f"/v1/sessions/{session_id}/prompts"
        response = stage.call("POST", path, {"kind": kind}, by=stage.officer)
        assert refused(response) == wanted
        assert footprint(stage) == before

    def test_never_have_a_code_stand_in_for_a_face(self, stage: ServiceStage) -> None:
        session_id = stage.open_session(*stage.prepare())["session_id"]
        stage.answer(stage.prompt(session_id))
        path = f"/v1/sessions/{session_id}/prompts"
        response = stage.call("POST", path, {"kind": "typed_code"}, by=stage.officer)
        assert refused(response) == (409, "wrong_kind")

    def test_record_nothing_of_what_is_no_call(self, stage: ServiceStage) -> None:
        prompt = stage.prompt(open_by_grant(stage))
        before = footprint(stage)
        for prompt_id, wanted in (
            (prompt["prompt_id"], (409, "wrong_kind")),
            ("0" * 32, (404, "unknown_subject")),
        ):
            path = f"/v1/prompts/{prompt_id}/recording"
            response = stage.call("POST", path, {"finding": "seen"}, by=stage.officer)
            assert refused(response) == wanted
        assert footprint(stage) == before

    def test_nor_twice(self, stage: ServiceStage) -> None:
        session_id = open_by_grant(stage)
        type_in(stage, stage.prompt(session_id))
        called = add(stage, session_id, "officer_call")
        record(stage, called, "seen")
        path = f"/v1/prompts/{called['prompt_id']}/recording"
        response = stage.call("POST", path, {"finding": "somebody_else"}, by=stage.officer)
        assert refused(response) == (409, "prompt_already_resolved")


class TestTheFrame:
    @pytest.fixture
    def opened(self, stage: ServiceStage) -> Any:
        return stage.post("/v1/sessions", opening(*stage.prepare(), assurance="frame"))

    def test_is_opened_by_the_platform_and_followed(self, stage: ServiceStage, opened: Any) -> None:
        assert opened["assurance"] == Assurance.FRAME
        assert stage.get(f"/v1/sessions/{opened['session_id']}")["phase"] == "opening"

    def test_tells_the_platform_no_prompt(self, stage: ServiceStage, opened: Any) -> None:
        before = footprint(stage)
        for by in (stage.platform, stage.officer):
            path = f"/v1/sessions/{opened['session_id']}/prompt"
            assert refused(stage.call("GET", path, by=by)) == (403, "forbidden")
        path = f"/v1/sessions/{opened['session_id']}/prompt"
        assert stage.call("GET", path, by=stage.other_platform).status_code == 404
        assert footprint(stage) == before

    def test_gives_no_token_without_a_device_and_keeps_the_code(
        self, stage: ServiceStage, opened: Any
    ) -> None:
        path = f"/v1/sessions/{opened['session_id']}/token"
        for _ in range(2):
            response = stage.call("POST", path, {"code": opened["code"]}, by="")
            assert refused(response) == (403, "forbidden")
        guess = stage.call("POST", path, {"code": "zx_code_" + "A" * 22}, by="")
        assert refused(guess) == (404, "unknown_subject")

    def test_takes_no_answer_of_the_platforms(self, stage: ServiceStage, opened: Any) -> None:
        view = stage.application.engine.poll(opened["session_id"])
        assert view is not None
        prompt = {"prompt_id": view.prompt_id, "nonce": "A" * 22 + "=="}
        before = footprint(stage)
        path = f"/v1/prompts/{view.prompt_id}/answer"
        assert refused(stage.call("POST", path, reply(prompt))) == (403, "forbidden")
        assert footprint(stage) == before


def test_the_clock_stands_still_while_a_prompt_waits(stage: ServiceStage) -> None:
    session_id = open_by_grant(stage)
    clocks = [stage.get(f"/v1/sessions/{session_id}")["clock"]]
    prompt = stage.prompt(session_id)
    clocks.append(stage.get(f"/v1/sessions/{session_id}")["clock"])
    type_in(stage, prompt)
    clocks.append(stage.get(f"/v1/sessions/{session_id}")["clock"])
    assert clocks == ["paused", "paused", "running"]


def test_after_too_many_failures_the_session_says_until_when_it_pauses(
    stage: ServiceStage,
) -> None:
    session_id = open_by_grant(stage)
    type_in(stage, stage.prompt(session_id))
    for _ in range(2):
        prompt: Any = add(stage, session_id, "typed_code") and stage.prompt(session_id)
        while prompt is not None:
            prompt = type_in(stage, prompt, "x")["prompt"]
        if stage.get(f"/v1/sessions/{session_id}")["paused_until"]:
            break
    told = stage.get(f"/v1/sessions/{session_id}")
    assert told["clock"] == "paused"
    until = stage.clock.now().fromisoformat(told["paused_until"])
    assert until - stage.clock.now() == timedelta(minutes=30)


def test_an_answer_that_found_the_engine_busy_may_be_sent_again_past_the_deadline(
    own_stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's delay costs the learner nothing; whoever sent nothing in time gains nothing."""
    stage = own_stage
    prompt = stage.prompt(stage.open_session(*stage.prepare())["session_id"])
    path = f"/v1/prompts/{prompt['prompt_id']}/answer"

    def busy(*_: object, **__: object) -> None:
        raise BusyError("too many")

    with monkeypatch.context() as patched:
        patched.setattr(type(stage.application.engine.checker), "check", busy)
        before = footprint(stage)
        assert refused(stage.call("POST", path, reply(prompt))) == (503, "busy")
        after = footprint(stage)
    # Noted, and nothing else.
    assert after.versions == before.versions + 1
    assert (after.rows, after.objects, after.waiting) == (
        before.rows,
        before.objects,
        before.waiting,
    )
    stage.clock.advance(61)
    other = stage.call("POST", path, reply(prompt, OTHER_FACE))
    assert refused(other) == (410, "deadline_passed")
    assert stage.answer(prompt)["answer"] == "pass"


def test_there_are_words_for_every_kind_in_both_languages() -> None:
    assert set(PROMPT_TEXT) == set(PromptKind)
    for chinese, english in PROMPT_TEXT.values():
        assert chinese
        assert not chinese.isascii()
        assert english.isascii()
