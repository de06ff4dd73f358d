"""Learners over HTTP: registered, asked, enrolled; whose they are and what is told of them."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Semaphore
from typing import Any, Final

import httpx
import pytest

from pipelines.identity_authority import Confirmation
from pipelines.simulate.identity_authority import DemoIdentityAuthority, demo_identity
from service import turns
from service.sql.lesson_store import SqlLessonReader
from tests.pipelines.lesson_stage import (
    BLURRED,
    LEARNER_FACE,
    NOBODY,
    OTHER_FACE,
    TWO_PEOPLE,
    UNCLEAR,
    ColourObserver,
)
from tests.service.http.footprint import footprint
from tests.service.http.refusals import refused, told
from tests.service.http.service_stage import CONSENT, ServiceStage, faces, picture
from verifier.enrolment import EnrolmentPicture, Refusal, RefusalCode
from verifier.identity import Identity, check_character
from verifier.transparency.base64_text import to_base64

SOON_S: Final = 10.0
"""Nothing here takes as long; it only ends a test that hangs."""
NOBODYS_ID = "0" * 32
WRONG_CHECK = "999999197001010070"
NOT_BORN = "99999920271231000" + check_character("99999920271231000")
BORN_TOMORROW = "99999920260303000" + check_character("99999920260303000")


def identity(person: Identity, **change: str) -> dict[str, str]:
    return {"name": person.name, "id_number": person.id_number, **change}


def unconfirmed(stage: ServiceStage, name: str = "某人") -> dict[str, Any]:
    """Return the registration of somebody new whom the demo's authority does not know."""
    number = stage.fresh("").removeprefix("-")
    body = f"11010519491231{number:0>3}"
    person = {"name": name, "id_number": body + check_character(body)}
    return {"reference": stage.fresh("user"), "identity": person}


@pytest.fixture
def learner_id(stage: ServiceStage) -> str:
    """Return somebody who was registered and has consented."""
    registered = stage.register_learner()
    stage.give_consent(registered)
    return registered


class TestRegistering:
    def test_the_same_reference_is_the_same_learner(self, stage: ServiceStage) -> None:
        body = {"reference": stage.fresh("user")}
        new = stage.call("POST", "/v1/learners", body)
        known = stage.call("POST", "/v1/learners", body)
        assert (new.status_code, known.status_code) == (201, 200)
        assert new.json() == known.json()
        assert new.json().keys() == {"learner_id", "reference", "registered_at"}

    def test_the_same_person_is_one_learner_for_two_platforms(self, stage: ServiceStage) -> None:
        body = {"reference": stage.fresh("user"), "identity": identity(demo_identity(5_000_001))}
        here = stage.post("/v1/learners", body)
        there = stage.post("/v1/learners", body, by=stage.other_platform)
        assert here["learner_id"] == there["learner_id"]

    def test_a_repeated_request_gets_the_first_reply(self, stage: ServiceStage) -> None:
        body, key = {"reference": stage.fresh("user")}, {"Idempotency-Key": stage.fresh("key")}
        first, second = (stage.call("POST", "/v1/learners", body, headers=key) for _ in range(2))
        assert (first.status_code, first.content) == (second.status_code, second.content)
        other = stage.call("POST", "/v1/learners", {"reference": "else"}, headers=key)
        assert refused(other) == (422, "idempotency_conflict")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"id_number": WRONG_CHECK}, "id_number"),
            ({"id_number": NOT_BORN}, "id_number"),
            ({"id_number": "12345"}, "id_number"),
            ({"id_number": "99999919700230001X"}, "id_number"),
            ({"name": "\u200b"}, "name"),
            ({"name": " "}, "name"),
        ],
    )
    def test_a_wrong_identity_is_named_by_its_field_and_never_repeated(
        self,
        stage: ServiceStage,
        caplog: pytest.LogCaptureFixture,
        change: dict[str, str],
        field: str,
    ) -> None:
        caplog.set_level("DEBUG")
        before = footprint(stage)
        said = identity(demo_identity(5_000_002), **change)
        body = {"reference": stage.fresh("user"), "identity": said}
        response = stage.call("POST", "/v1/learners", body)
        assert refused(response) == (422, "invalid_input")
        assert response.json()["detail"].startswith(field)
        assert said["id_number"] not in response.text + caplog.text
        assert said["name"].strip("\u200b ") == "" or said["name"] not in response.text
        assert footprint(stage) == before

    def test_a_birthday_begins_in_china(self, own_stage: ServiceStage) -> None:
        """At nine in the morning of March 2 nobody was born on March 3; after midnight somebody."""
        body = {"reference": "newborn", "identity": identity(demo_identity(1))}
        body["identity"]["id_number"] = BORN_TOMORROW  # type: ignore[index]
        assert refused(own_stage.call("POST", "/v1/learners", body)) == (422, "invalid_input")
        own_stage.clock.advance(15.5 * 3600)  # 16:30 UTC, 00:30 in China
        assert own_stage.call("POST", "/v1/learners", body).status_code == 201

    def test_an_identity_number_is_no_reference(self, stage: ServiceStage) -> None:
        number = demo_identity(5_000_003).id_number
        wide = "".join(chr(ord(character) + 0xFEE0) for character in number)
        spaced = f"{number[:6]} {number[6:14]}\u3000{number[14:]}"
        for reference in (number, number.lower(), wide, spaced, f"{number[:6]}-{number[6:]}"):
            response = stage.call("POST", "/v1/learners", {"reference": reference})
            assert refused(response) == (422, "invalid_input")
            assert number not in response.text
            assert reference not in response.text

    @pytest.mark.parametrize("reference", ["", " x", "a\x00b", "x" * 129, None, 7])
    def test_references_that_are_none(self, stage: ServiceStage, reference: Any) -> None:
        response = stage.call("POST", "/v1/learners", {"reference": reference})
        assert refused(response) == (422, "invalid_input")

    def test_only_platforms_register(self, stage: ServiceStage) -> None:
        body = {"reference": "x"}
        officer = stage.call("POST", "/v1/learners", body, by=stage.officer)
        nobody = stage.call("POST", "/v1/learners", body, by="")
        assert (refused(officer), refused(nobody)) == ((403, "forbidden"), (401, "unauthenticated"))


class TestWhose:
    def test_officers_and_the_own_platform_see_the_same(
        self, stage: ServiceStage, learner_id: str
    ) -> None:
        seen = stage.get(f"/v1/learners/{learner_id}")
        by_officer = stage.get(f"/v1/learners/{learner_id}", by=stage.officer)
        assert {**by_officer, "identity": None} == seen
        assert seen.keys() == {"learner_id", "registered_at", "consent", "enrolment", "identity"}
        assert seen["consent"]["version"] == CONSENT["version"]
        assert seen["enrolment"] is None

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/v1/learners/{}", None),
            ("PUT", "/v1/learners/{}/consent", CONSENT),
            ("DELETE", "/v1/learners/{}/consent", None),
            ("POST", "/v1/learners/{}/enrolment", faces()),
        ],
    )
    def test_another_platforms_learner_is_told_as_nobody(
        self, stage: ServiceStage, learner_id: str, method: str, path: str, body: Any
    ) -> None:
        before = footprint(stage), stage.get(f"/v1/learners/{learner_id}")
        others = stage.call(method, path.format(learner_id), body, by=stage.other_platform)
        nobodys = stage.call(method, path.format(NOBODYS_ID), body)
        assert refused(others) == (404, "unknown_subject")
        assert told(others) == told(nobodys)
        assert (footprint(stage), stage.get(f"/v1/learners/{learner_id}")) == before

    def test_an_officer_hears_of_an_unknown_learner(self, stage: ServiceStage) -> None:
        for method, path, body in (
            ("GET", f"/v1/learners/{NOBODYS_ID}", None),
            ("POST", f"/v1/learners/{NOBODYS_ID}/enrolment", faces()),
        ):
            response = stage.call(method, path, body, by=stage.officer)
            assert refused(response) == (404, "unknown_subject")

    @pytest.mark.parametrize("learner_id", ["a" * 65, "张三", "a b", "a%00"])
    def test_an_id_that_cannot_be_one(self, stage: ServiceStage, learner_id: str) -> None:
        assert refused(stage.call("GET", f"/v1/learners/{learner_id}"))[0] == 422


class TestConsent:
    def test_given_changed_and_withdrawn(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        path = f"/v1/learners/{learner_id}"
        assert stage.get(path)["consent"] is None
        given = stage.give_consent(learner_id)["consent"]
        stage.clock.advance(60)
        assert stage.give_consent(learner_id)["consent"] == given  # the first one stays
        changed = stage.put(f"{path}/consent", {"version": "consent-2026-02"})["consent"]
        assert changed["version"] == "consent-2026-02"
        assert changed["given_at"] > given["given_at"]
        assert stage.delete(f"{path}/consent")["consent"] is None
        assert stage.delete(f"{path}/consent")["consent"] is None

    def test_no_face_is_looked_at_without_it(
        self, stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def look(*_: object, **__: object) -> None:
            raise AssertionError("somebody looked")

        monkeypatch.setattr(ColourObserver, "observe", look)
        monkeypatch.setattr(DemoIdentityAuthority, "confirm", look)
        learner_id = stage.register_learner()
        before = footprint(stage)
        path = f"/v1/learners/{learner_id}/enrolment"
        for by in (stage.platform, stage.officer):
            assert refused(stage.call("POST", path, faces(), by=by)) == (409, "consent_missing")
        assert footprint(stage) == before

    @pytest.mark.parametrize("version", ["", "two words", None])
    def test_a_version_that_is_none(
        self, stage: ServiceStage, learner_id: str, version: Any
    ) -> None:
        response = stage.call("PUT", f"/v1/learners/{learner_id}/consent", {"version": version})
        assert refused(response) == (422, "invalid_input")


class TestEnrolling:
    def test_an_authority_vouches_for_whom_it_knows(
        self, stage: ServiceStage, learner_id: str
    ) -> None:
        done = stage.call("POST", f"/v1/learners/{learner_id}/enrolment", faces())
        assert done.status_code == 201
        assert done.json().keys() == {"outcome", "anchor", "evidence_id"}
        assert (done.json()["outcome"], done.json()["anchor"]) == ("pass", "authority")
        assert stage.get(f"/v1/learners/{learner_id}")["enrolment"]["anchor"] == "authority"
        with stage.application.database.reading() as tx:
            stored = SqlLessonReader(tx).enrolment(learner_id)
        assert (stored.authority_reference or "").startswith("demo-")
        assert stored.evidence_id == done.json()["evidence_id"]

    def test_without_an_identity_only_the_institution_does(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner(identified=False)
        stage.give_consent(learner_id)
        assert stage.enrol(learner_id)["anchor"] == "institution"

    def test_whom_the_authority_does_not_confirm_too(self, stage: ServiceStage) -> None:
        registered = stage.post("/v1/learners", unconfirmed(stage))
        stage.give_consent(registered["learner_id"])
        assert stage.enrol(registered["learner_id"])["anchor"] == "institution"

    def test_an_officer_saw_person_and_card(self, stage: ServiceStage, learner_id: str) -> None:
        assert stage.enrol(learner_id, by=stage.officer)["anchor"] == "officer"

    @pytest.mark.parametrize(
        ("shown", "said"),
        [
            (faces(NOBODY), ("retry", "no_face", "reference", [])),
            (faces(TWO_PEOPLE), ("retry", "multiple_faces", "reference", [])),
            (faces(BLURRED), ("retry", "poor_quality", "reference", ["blurred"])),
            (faces(live=NOBODY), ("retry", "no_face", "live", [])),
            (faces(live=UNCLEAR), ("retry", "inconclusive", "live", [])),
            (faces(live=OTHER_FACE), ("refer", "not_the_same_person", "live", [])),
            (
                {**faces(), "live": [to_base64(picture(LEARNER_FACE))] * 2},
                ("retry", "too_few_live_frames", "live", []),
            ),
        ],
    )
    def test_a_refusal_is_a_result_and_keeps_nothing(
        self, stage: ServiceStage, learner_id: str, shown: dict[str, Any], said: tuple[Any, ...]
    ) -> None:
        before = footprint(stage)
        key = {"Idempotency-Key": stage.fresh("key")}
        response = stage.call("POST", f"/v1/learners/{learner_id}/enrolment", shown, headers=key)
        assert response.status_code == 200
        heard = response.json()
        assert heard.pop("text_zh")
        assert heard.pop("text_en")
        # These and no more: no score.
        assert heard == dict(zip(("outcome", "reason", "picture", "quality"), said, strict=True))
        assert footprint(stage) == before

    @pytest.mark.parametrize("code", RefusalCode)
    def test_every_refusal_has_its_words(self, code: RefusalCode) -> None:
        chinese, english = Refusal(code=code, picture=EnrolmentPicture.LIVE).text
        assert re.search("[\u4e00-\u9fff]", chinese)
        assert english.isascii()

    def test_another_face_is_for_a_person(self, stage: ServiceStage, learner_id: str) -> None:
        stage.enrol(learner_id)
        said = stage.enrol(learner_id, OTHER_FACE)
        assert (said["outcome"], said["reason"]) == ("refer", "another_face_enrolled")
        assert stage.enrol(learner_id)["outcome"] == "pass"

    def test_an_officer_needs_a_name_to_compare_the_card_with(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner(identified=False)
        stage.give_consent(learner_id)
        before = footprint(stage)
        path = f"/v1/learners/{learner_id}/enrolment"
        response = stage.call("POST", path, faces(), by=stage.officer)
        assert refused(response) == (409, "identity_missing")
        assert footprint(stage) == before

    def test_a_name_changed_meanwhile_is_vouched_for_by_nobody(
        self, stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The authority confirmed the one before; the same request again asks it anew."""
        person, reference = demo_identity(5_000_004), stage.fresh("user")
        body = {"reference": reference, "identity": identity(person)}
        learner_id = stage.post("/v1/learners", body)["learner_id"]
        stage.give_consent(learner_id)
        ask = DemoIdentityAuthority.confirm

        def renamed_while_asked(
            authority: DemoIdentityAuthority, asked: Identity, portrait: bytes
        ) -> Confirmation | None:
            renamed = {**body, "identity": identity(person, name="别人")}
            stage.post("/v1/learners", renamed, by=stage.other_platform)
            return ask(authority, asked, portrait)

        path = f"/v1/learners/{learner_id}/enrolment"
        with monkeypatch.context() as patched:
            patched.setattr(DemoIdentityAuthority, "confirm", renamed_while_asked)
            response = stage.call("POST", path, faces())
        assert refused(response) == (503, "storage_busy")
        assert stage.get(f"/v1/learners/{learner_id}")["enrolment"] is None
        assert stage.enrol(learner_id)["anchor"] == "authority"

    def test_a_platform_does_not_replace_what_an_officer_saw(self, stage: ServiceStage) -> None:
        learner_id = stage.post("/v1/learners", unconfirmed(stage))["learner_id"]
        stage.give_consent(learner_id)
        stage.enrol(learner_id, by=stage.officer)
        said = stage.enrol(learner_id)
        assert (said["outcome"], said["reason"]) == ("refer", "better_anchored_already")

    def test_a_repeated_request_enrols_once(self, stage: ServiceStage, learner_id: str) -> None:
        path, key = f"/v1/learners/{learner_id}/enrolment", {"Idempotency-Key": stage.fresh("key")}
        first = stage.call("POST", path, faces(), headers=key)
        before = footprint(stage)
        stage.delete(f"/v1/learners/{learner_id}/consent")
        second = stage.call("POST", path, faces(), headers=key)
        assert (first.status_code, first.content) == (second.status_code, second.content)
        other = stage.call("POST", path, faces(OTHER_FACE), headers=key)
        assert refused(other) == (422, "idempotency_conflict")
        assert footprint(stage) == before

    def test_consent_withdrawn_meanwhile_keeps_nothing(
        self, stage: ServiceStage, learner_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask = DemoIdentityAuthority.confirm

        def withdrawn_while_asked(
            authority: DemoIdentityAuthority, person: Identity, portrait: bytes
        ) -> Confirmation | None:
            stage.delete(f"/v1/learners/{learner_id}/consent")
            return ask(authority, person, portrait)

        monkeypatch.setattr(DemoIdentityAuthority, "confirm", withdrawn_while_asked)
        before = footprint(stage)
        response = stage.call("POST", f"/v1/learners/{learner_id}/enrolment", faces())
        assert refused(response) == (409, "consent_missing")
        assert footprint(stage) == before

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"reference": to_base64(b"no picture")}, "unreadable_image"),
            ({"live": [to_base64(b"no picture")] * 2}, "unreadable_image"),
            ({"reference": "no base64!"}, "invalid_input"),
            ({"reference": None}, "invalid_input"),
            ({"live": []}, "invalid_input"),
            ({"live": [to_base64(picture(LEARNER_FACE))]}, "invalid_input"),
            ({"live": [to_base64(picture(LEARNER_FACE, n)) for n in range(9)]}, "invalid_input"),
        ],
    )
    def test_what_cannot_be_judged(
        self, stage: ServiceStage, learner_id: str, change: dict[str, Any], code: str
    ) -> None:
        before = footprint(stage)
        path = f"/v1/learners/{learner_id}/enrolment"
        response = stage.call("POST", path, {**faces(), **change})
        assert refused(response) == (422, code)
        assert footprint(stage) == before

    def test_many_wrong_pictures_are_read_to_the_first(
        self, stage: ServiceStage, learner_id: str
    ) -> None:
        path = f"/v1/learners/{learner_id}/enrolment"
        errors = stage.call("POST", path, {**faces(), "live": ["!"] * 8}).json()["errors"]
        assert [error["field"] for error in errors] == ["body.live.0"]

    def test_a_platform_enrols_two_at_a_time(
        self, own_stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or one that enrols a whole school at once would keep everybody else waiting."""
        stage, entered, go_on = own_stage, Semaphore(0), Event()
        observe = ColourObserver.observe

        def stop_and_look(observer: ColourObserver, *args: Any, **options: Any) -> Any:
            entered.release()
            assert go_on.wait(SOON_S)
            return observe(observer, *args, **options)

        def enrol(learner_id: str) -> httpx.Response:
            return stage.call("POST", f"/v1/learners/{learner_id}/enrolment", faces())

        learner_ids = [stage.register_learner() for _ in range(3)]
        for learner_id in learner_ids:
            stage.give_consent(learner_id)
        monkeypatch.setattr(ColourObserver, "observe", stop_and_look)
        with ThreadPoolExecutor(2) as threads:
            both = [threads.submit(enrol, learner_id) for learner_id in learner_ids[:2]]
            assert all(entered.acquire(timeout=SOON_S) for _ in both)
            assert refused(enrol(learner_ids[2])) == (503, "busy")
            go_on.set()
            assert [each.result(SOON_S).status_code for each in both] == [201, 201]
        assert enrol(learner_ids[2]).status_code == 201

    def test_an_enrolment_waits_for_its_turn(
        self, stage: ServiceStage, learner_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With all of its pictures, and before any of them is decoded."""
        monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.0)
        path = f"/v1/learners/{learner_id}/enrolment"
        junk = {**faces(), "reference": to_base64(b"no picture")}
        with ExitStack() as all_turns:
            for _ in range(stage.application.settings.judges):
                all_turns.enter_context(stage.application.turns.take())
            assert refused(stage.call("POST", path, junk)) == (503, "busy")
        assert refused(stage.call("POST", path, junk)) == (422, "unreadable_image")

    def test_nobody_tries_faces_without_end(self, stage: ServiceStage, learner_id: str) -> None:
        path = f"/v1/learners/{learner_id}/enrolment"
        codes = [stage.call("POST", path, faces(live=OTHER_FACE)).status_code for _ in range(12)]
        assert codes[0] == 200
        assert codes[-1] == 429


class TestSquatting:
    """Who enrols somebody's number first, with a hired face, must not lock them out."""

    @pytest.fixture
    def squatted(self, stage: ServiceStage) -> tuple[str, dict[str, Any]]:
        """Return a learner under a name made up and another's face, and who it really is."""
        real = unconfirmed(stage)
        made_up = {**real, "identity": {**real["identity"], "name": "假名"}}
        learner_id = stage.post("/v1/learners", made_up, by=stage.other_platform)["learner_id"]
        stage.give_consent(learner_id, by=stage.other_platform)
        assert (
            stage.enrol(learner_id, OTHER_FACE, by=stage.other_platform)["anchor"] == "institution"
        )
        return learner_id, real

    def test_an_officer_undoes_it(
        self, stage: ServiceStage, squatted: tuple[str, dict[str, Any]]
    ) -> None:
        learner_id, real = squatted
        assert stage.post("/v1/learners", real)["learner_id"] == learner_id
        said = stage.enrol(learner_id)
        assert (said["outcome"], said["reason"]) == ("refer", "another_face_enrolled")
        assert stage.enrol(learner_id, by=stage.officer)["anchor"] == "officer"
        # And nobody redoes it: neither the name nor the face.
        again = {**real, "identity": {**real["identity"], "name": "假名"}}
        response = stage.call("POST", "/v1/learners", again, by=stage.other_platform)
        assert refused(response) == (422, "invalid_input")
        said = stage.enrol(learner_id, OTHER_FACE, by=stage.other_platform)
        assert (said["outcome"], said["reason"]) == ("refer", "better_anchored_already")

    def test_what_was_attended_under_a_hired_face_is_never_paid(
        self, stage: ServiceStage, squatted: tuple[str, dict[str, Any]]
    ) -> None:
        learner_id, real = squatted
        class_id = stage.open_class(by=stage.other_platform)
        stage.approve(class_id)
        stage.roster(class_id, learner_id, by=stage.other_platform)
        opened = stage.open_session(learner_id, class_id, by=stage.other_platform)
        stage.attend(opened["session_id"], 12, OTHER_FACE, by=stage.other_platform)
        closed = stage.close(opened["session_id"], OTHER_FACE, by=stage.other_platform)
        assert closed["credited_s"] > 0
        stage.post("/v1/learners", real)
        stage.enrol(learner_id, by=stage.officer)
        stage.publish()
        path = f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"
        decided = stage.get(path, by=stage.officer)
        codes = {rule["code"] for rule in decided["rules"]} - {None}
        assert (decided["outcome"], codes) == ("not_yet", {"IDENTITY_NOT_ANCHORED"})


def test_only_an_officer_is_told_who_it_is_on_paper(stage: ServiceStage) -> None:
    """With the card in hand they have to see whom they vouch for; nobody else needs it."""
    person = demo_identity(4_711)
    body = {
        "reference": stage.fresh("reference"),
        "identity": {"name": person.name, "id_number": person.id_number},
    }
    path = f"/v1/learners/{stage.post('/v1/learners', body)['learner_id']}"
    told = stage.get(path, by=stage.officer)["identity"]
    assert told == {"name": person.name, "id_number_ends": person.id_number[-4:]}
    assert stage.get(path)["identity"] is None
    assert person.name not in stage.call("GET", path).text
