"""Accommodations over HTTP: two officers grant, one revokes; ghosts without a grant get nowhere."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.archive_verification import verify_receipt
from service.sql.entry_log import SqlEntrySource
from tests.service.http.footprint import footprint
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage, issue_officer_key, open_stage
from tests.service.http.test_make_up import attend
from tests.service.http.test_prompt_kinds import close, opening
from verifier.transparency.leaf import Leaf

REASON = "本人到场，核对身份证原件，眼疾，不便拍照"
SECRETS = ("眼疾", "王芳", "李强")


def path_of(learner_id: str) -> str:
    return f"/v1/learners/{learner_id}/accommodations"


def proposal(stage: ServiceStage, **change: Any) -> dict[str, Any]:
    valid_to = stage.clock.now() + timedelta(days=90)
    return {"kind": "non_face", "reason": REASON, "valid_to": valid_to.isoformat(), **change}


def propose(stage: ServiceStage, learner_id: str, **change: Any) -> Any:
    return stage.post(path_of(learner_id), proposal(stage, **change), by=stage.officer)


def approve(stage: ServiceStage, proposed: Any) -> Any:
    path = f"/v1/accommodations/{proposed['grant_id']}/approval"
    return stage.post(path, by=stage.second_officer)


def grant(stage: ServiceStage, learner_id: str, **change: Any) -> Any:
    return approve(stage, propose(stage, learner_id, **change))


def in_force(stage: ServiceStage, learner_id: str) -> list[str]:
    """Return the kinds that the platform is told of."""
    told = stage.get(path_of(learner_id))
    assert set(told) == {"in_force"}
    assert all(set(each) == {"kind", "valid_to"} for each in told["in_force"])
    return [each["kind"] for each in told["in_force"]]


def leaves(stage: ServiceStage) -> list[Leaf]:
    source = SqlEntrySource(stage.application.database)
    return [Leaf.parse(entry) for entry in source.entries(0, limit=source.entry_count())]


def place(stage: ServiceStage, count: int) -> tuple[list[str], str]:
    """Return learners whose faces nobody has, on the roster of an approved class."""
    class_id = stage.open_class(required_credit_hours=0.02)  # 54 seconds
    stage.approve(class_id)
    learner_ids = [stage.register_learner() for _ in range(count)]
    for learner_id in learner_ids:
        stage.roster(class_id, learner_id)
    return learner_ids, class_id


def gate(stage: ServiceStage, learner_id: str, class_id: str, *, by: str | None = None) -> Any:
    path = f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"
    return stage.get(path, by=by or stage.officer)


class TestGranting:
    def test_takes_two_and_holds_from_then_on(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        proposed = propose(stage, learner_id)
        assert (proposed["proposed_by"], proposed["approved_by"]) == ("王芳", None)
        assert in_force(stage, learner_id) == []
        stage.clock.advance(60)
        granted = approve(stage, proposed)
        assert (granted["approved_by"], granted["reason"]) == ("李强", REASON)
        assert in_force(stage, learner_id) == ["non_face"]
        (shown,) = stage.get(path_of(learner_id), by=stage.officer)["grants"]
        assert shown == granted
        path = f"/v1/accommodations/{proposed['grant_id']}/approval"
        again = stage.call("POST", path, {}, by=stage.second_officer)
        assert refused(again) == (409, "already_approved")

    def test_nobody_grants_alone_whatever_the_label(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        path = f"/v1/accommodations/{propose(stage, learner_id)['grant_id']}/approval"
        before = footprint(stage)
        for key in (stage.officer, issue_officer_key(stage.application, "王 芳")):
            response = stage.call("POST", path, {}, by=key)
            assert refused(response) == (409, "second_person_wanted")
        assert footprint(stage) == before
        assert in_force(stage, learner_id) == []

    def test_one_revokes_and_sessions_under_it_go_on(self, stage: ServiceStage) -> None:
        (learner_id,), class_id = place(stage, 1)
        granted = grant(stage, learner_id)
        body = opening(learner_id, class_id, path="non_face")
        session_id = stage.post("/v1/sessions", body)["session_id"]
        stage.clock.advance(1)
        path = f"/v1/accommodations/{granted['grant_id']}"
        revoked = stage.delete(path, by=stage.officer)
        assert revoked["revoked_by"] == "王芳"
        assert stage.delete(path, by=stage.second_officer) == revoked
        assert in_force(stage, learner_id) == []
        attend(stage, session_id)
        assert close(stage, session_id)["credited_s"] > 0
        response = stage.call("POST", "/v1/sessions", body)
        assert refused(response) == (409, "accommodation_missing")

    def test_a_proposal_can_be_taken_back(self, stage: ServiceStage) -> None:
        proposed = propose(stage, stage.register_learner())
        count = len(leaves(stage))
        stage.delete(f"/v1/accommodations/{proposed['grant_id']}", by=stage.second_officer)
        assert len(leaves(stage)) == count  # it had never opened anything
        path = f"/v1/accommodations/{proposed['grant_id']}/approval"
        response = stage.call("POST", path, {}, by=stage.second_officer)
        assert refused(response) == (409, "grant_revoked")

    def test_a_grant_made_after_the_opening_covers_nothing_before(
        self, stage: ServiceStage
    ) -> None:
        (learner_id,), class_id = place(stage, 1)
        body = opening(learner_id, class_id, path="non_face")
        earlier = (stage.clock.now() - timedelta(days=30)).isoformat()
        proposed = propose(stage, learner_id, valid_from=earlier)
        assert refused(stage.call("POST", "/v1/sessions", body)) == (409, "accommodation_missing")
        stage.clock.advance(60)
        approve(stage, proposed)
        assert stage.post("/v1/sessions", body)["anchor"] == "officer"

    def test_proposals_wait_where_another_officer_finds_them(self, stage: ServiceStage) -> None:
        proposed = propose(stage, stage.register_learner())
        waiting = stage.get("/v1/accommodations", by=stage.second_officer)
        assert proposed in waiting["grants"]
        assert waiting["waiting"] >= 1
        few = stage.get("/v1/accommodations?limit=1", by=stage.second_officer)
        assert (len(few["grants"]), few["waiting"]) == (1, waiting["waiting"])
        approve(stage, proposed)
        assert proposed not in stage.get("/v1/accommodations", by=stage.officer)["grants"]

    def test_the_same_request_again_changes_nothing(self, stage: ServiceStage) -> None:
        path, body = path_of(stage.register_learner()), proposal(stage)
        key = {"Idempotency-Key": "twice-accommodated"}
        first, second = (
            stage.call("POST", path, body, by=stage.officer, headers=key) for _ in range(2)
        )
        assert first.json() == second.json()
        approval = f"/v1/accommodations/{first.json()['grant_id']}/approval"
        key = {"Idempotency-Key": "approved-once"}
        first = stage.call("POST", approval, {}, by=stage.second_officer, headers=key)
        before = footprint(stage)
        second = stage.call("POST", approval, {}, by=stage.second_officer, headers=key)
        assert (first.json(), footprint(stage)) == (second.json(), before)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"kind": "voice"}, "invalid_input"),
            ({"reason": ""}, "invalid_input"),
            ({"reason": "长" * 501}, "invalid_input"),
            ({"valid_to": None}, "invalid_input"),
            ({"valid_to": "2020-01-01T00:00:00Z"}, "invalid_record"),
            ({"valid_to": "2126-01-01T00:00:00Z"}, "invalid_record"),
        ],
    )
    def test_what_is_no_accommodation(
        self, stage: ServiceStage, change: dict[str, Any], code: str
    ) -> None:
        path, before = path_of(stage.register_learner()), footprint(stage)
        response = stage.call("POST", path, proposal(stage, **change), by=stage.officer)
        assert refused(response) == (422, code)
        assert next(iter(change)) in response.text
        assert "眼疾" not in response.text
        assert footprint(stage).rows["accommodation"] == before.rows["accommodation"]

    def test_only_officers_grant_and_see_why(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        grant_id = propose(stage, learner_id)["grant_id"]
        before = footprint(stage)
        for method, path in (
            ("POST", path_of(learner_id)),
            ("POST", f"/v1/accommodations/{grant_id}/approval"),
            ("DELETE", f"/v1/accommodations/{grant_id}"),
            ("GET", "/v1/accommodations"),
        ):
            body = proposal(stage) if method == "POST" else None
            assert refused(stage.call(method, path, body)) == (403, "forbidden")
        assert footprint(stage) == before

    def test_of_nobody_and_of_another_platforms_learners(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        unknown = (404, "unknown_subject")
        response = stage.call("GET", path_of(learner_id), by=stage.other_platform)
        assert refused(response) == unknown
        assert refused(stage.call("GET", path_of("nobody"), by=stage.officer)) == unknown
        response = stage.call("POST", path_of("nobody"), proposal(stage), by=stage.officer)
        assert refused(response) == unknown
        for method, path in (("POST", "none/approval"), ("DELETE", "none")):
            response = stage.call(method, f"/v1/accommodations/{path}", by=stage.officer)
            assert refused(response) == (404, "unknown_grant")

    def test_one_whose_time_has_passed_is_not_approved(self, stage: ServiceStage) -> None:
        soon = (stage.clock.now() + timedelta(seconds=30)).isoformat()
        proposed = propose(stage, stage.register_learner(), valid_to=soon)
        stage.clock.advance(30)
        path = f"/v1/accommodations/{proposed['grant_id']}/approval"
        response = stage.call("POST", path, {}, by=stage.second_officer)
        assert refused(response) == (409, "grant_over")


class TestTheLog:
    def test_says_that_and_until_when_but_neither_whose_nor_why(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        granted = grant(stage, learner_id)
        stage.delete(f"/v1/accommodations/{granted['grant_id']}", by=stage.officer)
        opened, ended = leaves(stage)[-2:]
        assert (opened.kind, ended.kind) == ("accommodation_granted", "accommodation_revoked")
        until = (stage.clock.now() + timedelta(days=90, hours=8)).date().isoformat()
        for leaf in (opened, ended):
            assert dict(leaf.facts) == {"kind": "non_face", "valid_to": until}
            assert leaf.learner is not None
            assert leaf.commitment is not None
            entry = leaf.serialize().decode()
            assert not any(secret in entry for secret in (learner_id, *SECRETS))

    def test_a_receipt_names_the_two_and_not_the_reason(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        grant(stage, learner_id)
        stage.publish()
        archive = stage.application.archive
        receipt = archive.receipt(len(leaves(stage)) - 1)
        verified = verify_receipt(receipt, archive.verifier)
        opening = verified.receipt.opening
        assert opening is not None
        assert "李强" in str(opening)
        assert "眼疾" not in str(opening)

    def test_no_reason_in_the_programs_own_log(
        self, stage: ServiceStage, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        learner_id = stage.register_learner()
        grant(stage, learner_id)
        stage.call("POST", path_of(learner_id), proposal(stage, kind="voice"), by=stage.officer)
        assert not any(secret in caplog.text for secret in SECRETS)


class TestWhatChangesWhileASessionIsOpened:
    """A session names the grant that is in force when it is recorded, or there is none."""

    @pytest.mark.parametrize("kind", ["non_face", "extra_time"])
    def test_a_grant_that_is_revoked_just_then_does_not_count(
        self, stage: ServiceStage, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        (learner_id,), class_id = place(stage, 1)
        granted = [grant(stage, learner_id), grant(stage, learner_id, kind="extra_time")]
        revoked = granted[kind == "extra_time"]["grant_id"]
        engine = stage.application.engine
        real = engine.open

        def open_late(**given: Any) -> str:
            stage.call("DELETE", f"/v1/accommodations/{revoked}", by=stage.officer)
            grant(stage, learner_id, kind=kind)  # another one is not the one that was asked about
            return real(**given)

        monkeypatch.setattr(engine, "open", open_late)
        before = len(leaves(stage))
        response = stage.call(
            "POST", "/v1/sessions", opening(learner_id, class_id, path="non_face")
        )
        assert refused(response) == (409, "accommodation_missing")
        assert [leaf for leaf in leaves(stage)[before:] if leaf.kind == "session_opened"] == []
        monkeypatch.undo()
        again = stage.call("POST", "/v1/sessions", opening(learner_id, class_id, path="non_face"))
        assert again.status_code == 201


@pytest.fixture
def sqlite_stage(tmp_path: Path) -> Iterator[ServiceStage]:
    with open_stage(tmp_path) as opened:
        yield opened


class TestGhosts:
    def test_forty_who_ask_without_a_grant_earn_nothing(self, stage: ServiceStage) -> None:
        ghosts, class_id = place(stage, 40)
        before = footprint(stage)
        for ghost in ghosts:
            response = stage.call("POST", "/v1/sessions", opening(ghost, class_id, path="non_face"))
            assert refused(response) == (409, "accommodation_missing")
        assert footprint(stage) == before
        for ghost in ghosts[:3]:
            answer = gate(stage, ghost, class_id)
            assert (answer["outcome"], answer["credited_s"]) == ("not_yet", 0)

    # On one database only: it takes long, and no database would do it otherwise.
    def test_forty_with_favours_are_forty_cases_and_no_money(
        self, sqlite_stage: ServiceStage
    ) -> None:
        """And each of them takes two officers more."""
        stage = sqlite_stage
        ghosts, class_id = place(stage, 40)
        for ghost in ghosts:
            grant(stage, ghost)
        sessions = [
            stage.post("/v1/sessions", opening(ghost, class_id, path="non_face"))["session_id"]
            for ghost in ghosts
        ]
        attend(stage, sessions[-1])
        assert close(stage, sessions[-1])["decision"] == "accept"
        stage.publish()
        cases = _cases(stage, class_id)
        assert sorted(case["learner_ids"][0] for case in cases) == sorted(ghosts)
        assert {case["kind"] for case in cases} == {"non_face_share"}
        answer = gate(stage, ghosts[-1], class_id)
        assert (answer["outcome"], _code(answer)) == ("refer", "NON_FACE_SHARE")
        told = gate(stage, ghosts[-1], class_id, by=stage.platform)
        assert (told["outcome"], _code(told)) == ("refer", None)
        own = next(case for case in cases if case["learner_ids"] == [ghosts[-1]])
        for key, verb in ((stage.officer, "resolution"), (stage.second_officer, "approval")):
            stage.post(f"/v1/cases/{own['case_id']}/{verb}", {"resolution": "explained"}, by=key)
        # What a platform's own app shows and types is looked at again all the same.
        answer = gate(stage, ghosts[-1], class_id)
        codes = {rule["code"] for rule in answer["rules"]} - {None}
        assert (answer["outcome"], codes) == ("refer", {"ASSURANCE_NOT_ACCEPTED"})
        assert len(_cases(stage, class_id)) == 39


def _cases(stage: ServiceStage, class_id: str) -> list[Any]:
    """Return the cases that stand and speak of a class."""
    found = stage.get("/v1/cases", by=stage.officer)["cases"]
    spoken = [case for case in found if case["stands"] and "classes" in case["details"]]
    return [c for c in spoken if c["details"]["classes"][0]["class_id"] == class_id]


def _code(answer: Any) -> Any:
    (rule,) = (each for each in answer["rules"] if each["rule"] == "no_open_case@1")
    return rule["code"]
