"""The gate and claims over HTTP: 凡补必进、不进不补."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.service.http.footprint import footprint
from tests.service.http.refusals import refused, told
from tests.service.http.service_stage import ServiceStage
from tests.service.http.test_lists import enlist, propose

RULE_KEYS = {"rule", "outcome", "code", "text_zh", "text_en"}


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lesson that was held, and how the learner asks about it."""

    learner_id: str
    class_id: str
    outcome: Any
    token: str


@pytest.fixture(scope="module")
def held(stage: ServiceStage) -> Held:
    """Hold one lesson that a learner with an authority's word attended."""
    learner_id, class_id = stage.prepare()
    opened = stage.open_session(learner_id, class_id)
    token = stage.token(opened)
    stage.attend(opened["session_id"], 12)
    outcome = stage.close(opened["session_id"])
    stage.publish()
    return Held(learner_id=learner_id, class_id=class_id, outcome=outcome, token=token)


def path(learner_id: str, class_id: str) -> str:
    return f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"


def gate(stage: ServiceStage, learner_id: str, class_id: str, *, by: str | None = None) -> Any:
    return stage.get(path(learner_id, class_id), by=by)


def codes(decided: Any) -> set[str]:
    return {rule["code"] for rule in decided["rules"]} - {None}


def rule_of(decided: Any, code: str) -> Any:
    (rule,) = (rule for rule in decided["rules"] if rule["code"] == code)
    return rule


def claim(stage: ServiceStage, learner_id: str, class_id: str, minutes: float = 45) -> Any:
    said = {"learner_id": learner_id, "class_id": class_id, "claimed_minutes": minutes}
    return stage.post("/v1/claims", said)


class TestGate:
    def test_what_was_attended_and_proven_is_payable(self, stage: ServiceStage, held: Held) -> None:
        decided = gate(stage, held.learner_id, held.class_id)
        assert (decided["outcome"], codes(decided)) == ("payable", set())
        assert decided["credited_s"] == round(held.outcome["credited_s"], 6) >= 600
        assert decided["credit_hours"] == pytest.approx(decided["credited_s"] / 2700, abs=1e-6)
        assert len(decided["rules"]) == 12

    def test_platforms_read_rules_without_values(self, stage: ServiceStage, held: Held) -> None:
        decided = gate(stage, held.learner_id, held.class_id)
        assert all(rule.keys() == RULE_KEYS for rule in decided["rules"])

    def test_officers_read_the_values(self, stage: ServiceStage, held: Held) -> None:
        officers = gate(stage, held.learner_id, held.class_id, by=stage.officer)
        assert all(rule.keys() == RULE_KEYS | {"values"} for rule in officers["rules"])
        seen = {name: value for rule in officers["rules"] for name, value in rule["values"].items()}
        assert seen["weakest_session_anchor"] == "authority"
        assert seen["proven_s"] == round(held.outcome["credited_s"], 6)

    def test_a_learners_token_sees_no_more_than_the_platform(
        self, stage: ServiceStage, held: Held
    ) -> None:
        """The platform may have exchanged the code itself."""
        learners = gate(stage, held.learner_id, held.class_id, by=held.token)
        assert learners == gate(stage, held.learner_id, held.class_id)

    def test_nothing_pending_is_payable(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        stage.hold_lesson(learner_id, class_id)
        waiting = gate(stage, learner_id, class_id)
        assert (waiting["outcome"], codes(waiting)) == ("not_yet", {"PENDING_PROOF"})
        stage.publish()
        assert gate(stage, learner_id, class_id)["outcome"] == "payable"

    def test_everything_that_is_missing_is_told_at_once(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.register_learner(), stage.open_class()
        decided = gate(stage, learner_id, class_id)
        assert codes(decided) == {
            "CONSENT_MISSING",
            "CLASS_NOT_APPROVED",
            "NOT_ON_ROSTER",
            "NO_SESSION_YET",
            "IDENTITY_NOT_ANCHORED",
            "REGISTERED_AFTER_EVENT",
        }
        for rule in decided["rules"]:
            assert (rule["text_zh"] is None) == (rule["text_en"] is None) == (rule["code"] is None)

    def test_a_face_that_only_the_institution_vouches_for(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner(identified=False)
        stage.give_consent(learner_id)
        stage.enrol(learner_id)
        class_id = stage.open_class()
        stage.approve(class_id)
        stage.roster(class_id, learner_id)
        stage.hold_lesson(learner_id, class_id)
        stage.publish()
        decided = gate(stage, learner_id, class_id)
        assert (decided["outcome"], codes(decided)) == ("not_yet", {"IDENTITY_NOT_ANCHORED"})

    def test_running_sessions_are_among_the_facts(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        stage.open_session(learner_id, class_id)
        decided = gate(stage, learner_id, class_id, by=stage.officer)
        assert rule_of(decided, "HOURS_SHORT")["values"]["sessions_running"] == 1


class TestRoster:
    def test_leaving_and_coming_back_costs_nothing(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        stage.hold_lesson(learner_id, class_id)
        stage.publish()
        stage.delete(f"/v1/classes/{class_id}/roster/{learner_id}")
        assert gate(stage, learner_id, class_id)["outcome"] == "payable"
        stage.clock.advance(60)
        stage.roster(class_id, learner_id)
        assert gate(stage, learner_id, class_id)["outcome"] == "payable"

    def test_a_lesson_in_between_goes_to_a_person(self, stage: ServiceStage) -> None:
        """Also where it was the first one; coming back does not make it unseen."""
        learner_id, class_id = stage.prepare()
        stage.delete(f"/v1/classes/{class_id}/roster/{learner_id}")
        stage.clock.advance(60)
        stage.hold_lesson(learner_id, class_id)
        stage.publish()
        stage.roster(class_id, learner_id)
        decided = gate(stage, learner_id, class_id, by=stage.officer)
        assert (decided["outcome"], codes(decided)) == ("refer", {"SESSION_AFTER_REMOVAL"})
        assert rule_of(decided, "SESSION_AFTER_REMOVAL")["values"]["sessions_off_roster"] == 1


class TestLists:
    def test_a_listed_institution_is_told_without_details(self, stage: ServiceStage) -> None:
        """Why a school is on a list is between it and the officers."""
        learner_id = stage.enrolled_learner()
        school = stage.fresh("school")
        class_id = stage.open_class(institution_id=school)
        enlist(stage, school)
        token = stage.token(stage.open_session(learner_id, class_id))
        seen = {
            who: rule_of(gate(stage, learner_id, class_id, by=key), "BLACK_LISTED")
            for who, key in (
                ("platform", stage.platform),
                ("learner", token),
                ("officer", stage.officer),
            )
        }
        assert {rule["outcome"] for rule in seen.values()} == {"not_payable"}
        assert "values" not in seen["platform"]
        assert seen["learner"] == seen["platform"]
        assert seen["officer"]["values"]["reason_code"] == "proxy_attendance"

    def test_a_proposal_asks_for_a_person(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        propose(stage, learner_id, "learner")
        assert "BLACK_LIST_PROPOSED" in codes(gate(stage, learner_id, class_id, by=stage.officer))

    def test_nobody_is_warned_by_a_proposal(self, stage: ServiceStage) -> None:
        """While anything else is missing it changes nothing that those it is about are told."""
        learner_id, class_id = stage.prepare()
        token = stage.token(stage.open_session(learner_id, class_id))
        asked = [(path(learner_id, class_id), by) for by in (stage.platform, token)]
        before = [stage.call("GET", where, by=by).json() for where, by in asked]
        propose(stage, learner_id, "learner")
        assert [stage.call("GET", where, by=by).json() for where, by in asked] == before


class TestWhose:
    def test_anothers_learner_or_class_is_told_as_nobodys(
        self, stage: ServiceStage, held: Held
    ) -> None:
        own_learner = stage.register_learner(by=stage.other_platform)
        own_class = stage.open_class(by=stage.other_platform)
        for others, nobodys in (
            (path(own_learner, held.class_id), path(own_learner, "none")),
            (path(held.learner_id, own_class), path("0" * 32, own_class)),
        ):
            refusals = [
                stage.call("GET", each, by=stage.other_platform) for each in (others, nobodys)
            ]
            assert refused(refusals[0]) == (404, "unknown_subject")
            assert told(refusals[0]) == told(refusals[1])

    def test_a_learners_token_opens_one_class_of_one_learner(
        self, stage: ServiceStage, held: Held
    ) -> None:
        other_class = stage.open_class()
        for asked in (
            path(held.learner_id, other_class),
            path(stage.register_learner(), held.class_id),
            path(held.learner_id, "none"),
        ):
            response = stage.call("GET", asked, by=held.token)
            assert refused(response) == (404, "unknown_subject")

    def test_officers_hear_of_what_is_unknown(self, stage: ServiceStage, held: Held) -> None:
        for asked in (path("0" * 32, held.class_id), path(held.learner_id, "none")):
            response = stage.call("GET", asked, by=stage.officer)
            assert refused(response) == (404, "unknown_subject")


class TestClaims:
    def test_uploaded_hours_are_worth_nothing(self, stage: ServiceStage) -> None:
        """Everything was in order before the class began; only nobody was ever seen in it."""
        learner_id = stage.enrolled_learner()
        class_id = stage.open_class(starts_on="2026-06-01")
        stage.approve(class_id)
        stage.roster(class_id, learner_id)
        settled = claim(stage, learner_id, class_id)
        assert {**settled, "reasons": [reason["code"] for reason in settled["reasons"]]} == {
            "claimed_s": 2700.0,
            "credited_s": 0.0,
            "pending_s": 0.0,
            "reasons": ["NO_SESSION"],
        }
        assert "不进不补" in settled["reasons"][0]["text_zh"]
        decided = gate(stage, learner_id, class_id)
        assert decided["outcome"] == "not_payable"
        assert (decided["credited_s"], decided["claimed_s"]) == (0.0, 2700.0)
        assert codes(decided) == {"NO_SESSION_SEEN"}

    def test_a_claim_moves_no_second(self, stage: ServiceStage, held: Held) -> None:
        for minutes, reason in ((12, "SETTLED"), (45, "CLAIM_EXCEEDS_VERIFIED"), (0, "SETTLED")):
            settled = claim(stage, held.learner_id, held.class_id, minutes)
            assert settled["credited_s"] == held.outcome["credited_s"]
            assert [each["code"] for each in settled["reasons"]] == [reason]
            decided = gate(stage, held.learner_id, held.class_id)
            assert (decided["outcome"], decided["claimed_s"]) == ("payable", 60.0 * minutes)

    def test_a_repeated_request_claims_once(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        key = {"Idempotency-Key": stage.fresh("key")}
        said = {"learner_id": learner_id, "class_id": class_id, "claimed_minutes": 45}
        first = stage.call("POST", "/v1/claims", said, headers=key)
        claim(stage, learner_id, class_id, 90)
        second = stage.call("POST", "/v1/claims", said, headers=key)
        assert first.content == second.content
        assert gate(stage, learner_id, class_id)["claimed_s"] == 5400.0  # the latest word counts

    @pytest.mark.parametrize("minutes", [-1, "45", True, None, 1_000_001])
    def test_minutes_that_are_none(self, stage: ServiceStage, held: Held, minutes: Any) -> None:
        said = {"learner_id": held.learner_id, "class_id": held.class_id}
        response = stage.call("POST", "/v1/claims", {**said, "claimed_minutes": minutes})
        assert refused(response) == (422, "invalid_input")

    def test_nobody_claims_for_others(self, stage: ServiceStage, held: Held) -> None:
        before = footprint(stage)
        own_class = stage.open_class(by=stage.other_platform)
        own_learner = stage.register_learner(by=stage.other_platform)
        before = footprint(stage)
        for learner_id, class_id in (
            (held.learner_id, held.class_id),
            (held.learner_id, own_class),
            (own_learner, held.class_id),
        ):
            said = {"learner_id": learner_id, "class_id": class_id, "claimed_minutes": 45}
            response = stage.call("POST", "/v1/claims", said, by=stage.other_platform)
            assert refused(response) == (404, "unknown_subject")
        said = {"learner_id": held.learner_id, "class_id": held.class_id, "claimed_minutes": 45}
        for by in (stage.officer, held.token):
            response = stage.call("POST", "/v1/claims", said, by=by)
            assert refused(response) == (403, "forbidden")
        assert footprint(stage) == before
