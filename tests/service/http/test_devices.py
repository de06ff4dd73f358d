"""Devices: registered by a face, shown a session's code, worth nothing without their key."""

from typing import Any

import pytest

from service.sql.devices import MOST_DEVICES
from tests.pipelines.lesson_stage import (
    BLURRED,
    LEARNER_FACE,
    NOBODY,
    OTHER_FACE,
    UNCLEAR,
    ColourObserver,
)
from tests.service.http.frame_client import (
    FrameClient,
    device_code,
    entered,
    new_private_key,
    open_frame_session,
)
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage, reply
from tests.service.http.test_accommodations import grant
from verifier.transparency.base64_text import to_base64
from verifier.transparency.leaf import Leaf


def devices_of(stage: ServiceStage, learner_id: str) -> Any:
    return stage.get(f"/v1/learners/{learner_id}/devices", by=stage.officer)["devices"]


class TestRegistering:
    def test_a_face_that_matches_registers_the_device(self, stage: ServiceStage) -> None:
        learner_id, client = stage.enrolled_learner(), FrameClient(stage=stage)
        response = client.register(learner_id, LEARNER_FACE, LEARNER_FACE)
        assert (response.status_code, response.json()["outcome"]) == (201, "pass")
        (device,) = devices_of(stage, learner_id)
        assert device["device_id"] == response.json()["device_id"] == client.key.device_id
        assert (device["platform_id"], device["revoked_at"]) == ("platform-1", None)

    @pytest.mark.parametrize(
        ("who", "outcome", "reason"),
        [
            (OTHER_FACE, "refer", "under_review"),
            (UNCLEAR, "retry", "not_sure"),
            (NOBODY, "retry", "nobody_seen"),
            (BLURRED, "retry", "picture_poor"),
        ],
    )
    def test_any_other_face_registers_none(
        self, stage: ServiceStage, who: str, outcome: str, reason: str
    ) -> None:
        learner_id, client = stage.enrolled_learner(), FrameClient(stage=stage)
        response = client.register(learner_id, who, who)
        assert response.status_code == 200
        told = response.json()
        assert (told["outcome"], told["reason"]) == (outcome, reason)
        assert told["text_zh"]
        assert told["text_en"]
        assert devices_of(stage, learner_id) == []
        # Whoever was asked again may try again; whoever was referred needs a new code.
        again = client.register(learner_id, code=client.secret)
        assert again.status_code == (201 if outcome == "retry" else 401)

    def test_no_score_is_told(self, stage: ServiceStage) -> None:
        response = FrameClient(stage=stage).register(stage.enrolled_learner(), OTHER_FACE)
        assert "log10" not in response.text
        assert "score" not in response.text

    def test_a_lost_reply_is_given_again(self, stage: ServiceStage) -> None:
        learner_id, client = stage.enrolled_learner(), FrameClient(stage=stage)
        first = client.register(learner_id)
        assert client.register(learner_id, code=client.secret).json() == first.json()
        other = FrameClient(stage=stage).register(learner_id, code=client.secret)
        assert refused(other) == (401, "code_spent")
        assert len(devices_of(stage, learner_id)) == 1

    def test_a_code_lives_ten_minutes_and_ends_the_one_before(self, stage: ServiceStage) -> None:
        learner_id = stage.enrolled_learner()
        first, second = device_code(stage, learner_id), device_code(stage, learner_id)
        response = FrameClient(stage=stage).register(learner_id, code=first)
        assert refused(response) == (401, "unauthenticated")
        stage.clock.advance(600)
        late = FrameClient(stage=stage).register(learner_id, code=second)
        assert refused(late) == (401, "unauthenticated")

    def test_whoever_has_the_code_and_not_the_key_registers_nothing(
        self, stage: ServiceStage
    ) -> None:
        learner_id, client = stage.enrolled_learner(), FrameClient(stage=stage)
        thief = FrameClient(stage=stage)
        code = device_code(stage, learner_id)
        stolen = thief.proof("POST", "/v1/frame/devices", b"{}", secret=code)
        assert refused(client.register(learner_id, code=code, proof="")) == (401, "proof_missing")
        assert refused(client.register(learner_id, code=code, proof=stolen)) == (401, "proof_wrong")
        assert client.register(learner_id, code=code).status_code == 201

    def test_a_key_is_one_learners(self, stage: ServiceStage) -> None:
        client = FrameClient(stage=stage)
        assert client.register(stage.enrolled_learner()).status_code == 201
        response = client.register(stage.enrolled_learner())
        assert refused(response) == (409, "device_taken")

    def test_what_is_no_key_is_refused(self, stage: ServiceStage) -> None:
        client = FrameClient(stage=stage)
        client.secret = device_code(stage, stage.enrolled_learner())
        spki = client.key.spki
        for wrong in (b"", b"junk", spki[:-1], spki + b"\0", spki[:-32] + bytes(32)):
            body = {"public_key": to_base64(wrong), "frames": []}
            response = client.call("POST", "/v1/frame/devices", body)
            assert refused(response) == (422, "invalid_input")

    def test_no_face_is_looked_at_without_consent(self, stage: ServiceStage) -> None:
        learner_id, client = stage.enrolled_learner(), FrameClient(stage=stage)
        code = device_code(stage, learner_id)
        stage.delete(f"/v1/learners/{learner_id}/consent")
        observer = stage.application.engine.checker.observer
        assert isinstance(observer, ColourObserver)
        seen = observer.frames_seen
        assert refused(client.register(learner_id, code=code)) == (409, "consent_missing")
        assert observer.frames_seen == seen
        again = stage.call("POST", f"/v1/learners/{learner_id}/device-code")
        assert refused(again) == (409, "consent_missing")

    def test_frames_are_wanted_where_nobody_granted_another_way(self, stage: ServiceStage) -> None:
        learner_id, client = stage.enrolled_learner(), FrameClient(stage=stage)
        client.secret = device_code(stage, learner_id)
        body = {"public_key": to_base64(client.key.spki), "frames": []}
        response = client.call("POST", "/v1/frame/devices", body)
        assert refused(response) == (422, "invalid_input")

    def test_a_grant_stands_in_for_the_face(self, stage: ServiceStage) -> None:
        """Whoever has one is not enrolled, and nobody looks at a picture that was sent anyway."""
        learner_id, client = stage.register_learner(), FrameClient(stage=stage)
        grant(stage, learner_id)
        issued = stage.post(f"/v1/learners/{learner_id}/device-code")
        assert issued["by_face"] is False
        observer = stage.application.engine.checker.observer
        assert isinstance(observer, ColourObserver)
        seen = observer.frames_seen
        assert client.register(learner_id, OTHER_FACE, code=issued["code"]).status_code == 201
        assert observer.frames_seen == seen

    def test_whoever_has_the_code_is_told_whether_pictures_are_wanted(
        self, stage: ServiceStage
    ) -> None:
        """By the engine: no page decides it. As it is now, and the code is good for more."""
        learner_id, client = stage.enrolled_learner(), FrameClient(stage=stage)
        client.secret = device_code(stage, learner_id)
        path = "/v1/frame/devices"
        for _ in range(2):
            assert client.call("GET", path).json() == {"by_face": True}
        grant(stage, learner_id)
        assert client.call("GET", path).json() == {"by_face": False}
        assert client.register(learner_id, code=client.secret).status_code == 201
        for other in ("junk", "zx_code_" + "A" * 22, stage.platform):
            assert refused(stage.call("GET", path, by=other)) == (401, "unauthenticated")

    def test_an_enrolment_is_wanted(self, stage: ServiceStage) -> None:
        learner_id = stage.register_learner()
        stage.give_consent(learner_id)
        response = FrameClient(stage=stage).register(learner_id)
        assert refused(response) == (404, "unknown_subject")

    def test_a_code_is_for_own_learners(self, stage: ServiceStage) -> None:
        learner_id = stage.enrolled_learner()
        path = f"/v1/learners/{learner_id}/device-code"
        other = stage.call("POST", path, by=stage.other_platform)
        assert refused(other) == (404, "unknown_subject")
        assert refused(stage.call("POST", path, by=stage.officer)) == (403, "forbidden")

    def test_a_device_code_opens_nothing_else(self, stage: ServiceStage) -> None:
        """Not even where a large body is let in for it."""
        learner_id, class_id = stage.prepare()
        code = device_code(stage, learner_id)
        prompt = stage.prompt(stage.open_session(learner_id, class_id)["session_id"])
        path = f"/v1/prompts/{prompt['prompt_id']}/answer"
        assert refused(stage.call("POST", path, reply(prompt), by=code)) == (401, "unauthenticated")
        seen = stage.call("GET", f"/v1/learners/{learner_id}", by=code)
        assert refused(seen) == (401, "unauthenticated")

    def test_the_oldest_device_makes_room(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        learner_id = stage.enrolled_learner()
        registered = []
        for _ in range(MOST_DEVICES + 1):
            registered.append(FrameClient(stage=stage))
            assert registered[-1].register(learner_id).status_code == 201
            stage.clock.advance(1)
        stored = devices_of(stage, learner_id)
        newest_first = [client.key.device_id for client in reversed(registered)]
        assert [device["device_id"] for device in stored] == newest_first
        assert [device["revoked_at"] is None for device in stored] == [True] * MOST_DEVICES + [
            False
        ]

    def test_too_many_comparisons_in_a_day_are_referred(self, own_stage: ServiceStage) -> None:
        """As answers are: whoever may ask without end climbs the score."""
        stage = own_stage
        rules = stage.application.engine.comparisons.rules
        object.__setattr__(rules, "max_per_learner_day", 2)
        learner_id = stage.enrolled_learner()
        for expected in ("retry", "retry", "refer"):
            response = FrameClient(stage=stage).register(learner_id, UNCLEAR)
            assert response.json()["outcome"] == expected


class TestEntering:
    def test_a_code_is_exchanged_for_a_token_on_the_learners_device(
        self, stage: ServiceStage
    ) -> None:
        client, session_id = entered(stage)
        assert client.call("GET", f"/v1/sessions/{session_id}").is_success

    def test_an_unregistered_device_is_told_what_to_do(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        opened = open_frame_session(stage, learner_id, class_id)
        client = FrameClient(stage=stage)
        assert refused(client.enter(opened)) == (403, "device_unknown")
        assert client.register(learner_id).status_code == 201
        assert client.enter(opened).is_success  # the code was not used up

    def test_a_device_of_another_learner_is_unknown(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        client = FrameClient(stage=stage)
        client.register(stage.enrolled_learner())
        opened = open_frame_session(stage, learner_id, class_id)
        assert refused(client.enter(opened)) == (403, "device_unknown")

    def test_the_id_of_a_device_is_not_its_key(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        client = FrameClient(stage=stage)
        client.register(learner_id)
        opened = open_frame_session(stage, learner_id, class_id)
        path = f"/v1/frame/sessions/{opened['session_id']}/token"
        thief = FrameClient(stage=stage, secret=opened["code"])
        body = {"device_id": client.key.device_id}
        assert refused(thief.call("POST", path, body)) == (401, "proof_wrong")
        assert refused(thief.call("POST", path, body, proof="")) == (401, "proof_missing")
        assert client.enter(opened).is_success

    def test_a_session_of_the_platforms_pages_is_not_entered(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        client = FrameClient(stage=stage)
        client.register(learner_id)
        opened = stage.open_session(learner_id, class_id)
        assert refused(client.enter(opened)) == (409, "not_allowed_now")

    def test_a_code_is_exchanged_once(self, stage: ServiceStage) -> None:
        learner_id, class_id = stage.prepare()
        client = FrameClient(stage=stage)
        client.register(learner_id)
        opened = open_frame_session(stage, learner_id, class_id)
        assert client.enter(opened).is_success
        assert refused(client.enter(opened)) == (401, "code_spent")
        other = {**opened, "code": "zx_code_" + "A" * 22}
        assert refused(client.enter(other)) == (404, "unknown_subject")
        assert refused(client.enter({**opened, "code": "junk"})) == (401, "unauthenticated")


@pytest.fixture(scope="module")
def inside(stage: ServiceStage) -> tuple[FrameClient, str]:
    """Return a frame in its session, for tests that only look."""
    return entered(stage)


class TestProof:
    def test_a_stolen_token_alone_opens_nothing(
        self, stage: ServiceStage, inside: tuple[FrameClient, str]
    ) -> None:
        client, session_id = inside
        paths = [f"/v1/sessions/{session_id}", f"/v1/sessions/{session_id}/prompt"]
        for path in paths:
            assert refused(client.call("GET", path, proof="")) == (401, "proof_missing")
            thief = FrameClient(stage=stage, private_key=new_private_key(), secret=client.secret)
            assert refused(thief.call("GET", path)) == (401, "proof_wrong")

    def test_a_proof_is_of_one_request(self, inside: tuple[FrameClient, str]) -> None:
        client, session_id = inside
        path = f"/v1/sessions/{session_id}"
        others = [
            client.proof("POST", path, b""),
            client.proof("GET", f"{path}/prompt", b""),
            client.proof("GET", f"{path}?x=1", b""),
            client.proof("GET", path, b"{}"),
            client.proof("GET", path, b"", secret="zx_learner_" + "A" * 43),
            "1.junk",
            "junk",
        ]
        for other in others:
            assert refused(client.call("GET", path, proof=other)) == (401, "proof_wrong")
        assert client.call("GET", path).is_success

    @pytest.mark.parametrize(
        ("off_s", "passes"), [(60, True), (61, False), (-60, True), (-61, False)]
    )
    def test_a_proof_is_of_this_minute(
        self, inside: tuple[FrameClient, str], off_s: int, passes: bool
    ) -> None:
        client, session_id = inside
        path = f"/v1/sessions/{session_id}"
        response = client.call("GET", path, proof=client.proof("GET", path, b"", off_s=off_s))
        assert response.is_success is passes

    def test_replies_say_what_time_it_is(self, stage: ServiceStage) -> None:
        """Also refusals: a device whose clock is wrong finds out by the first."""
        told = stage.call("GET", "/v1/log/key", by="").headers["Zhenxue-Time"]
        assert int(told) == int(stage.clock.now().timestamp())
        late = stage.call("GET", "/v1/classes/x", by="zx_learner_junk")
        assert late.status_code == 401
        assert late.headers["Zhenxue-Time"] == told

    def test_a_signed_answer_is_judged_and_an_unsigned_one_is_not(
        self, stage: ServiceStage
    ) -> None:
        client, session_id = entered(stage)
        prompt = client.call("GET", f"/v1/sessions/{session_id}/prompt").json()["prompt"]
        path, body = f"/v1/prompts/{prompt['prompt_id']}/answer", reply(prompt)
        assert refused(client.call("POST", path, body, proof="")) == (401, "proof_missing")
        changed = {**body, "frames": body["frames"] * 2}
        proof = client.proof("POST", path, b"another body")
        assert refused(client.call("POST", path, changed, proof=proof)) == (401, "proof_wrong")
        by_platform = stage.call("POST", path, body)
        assert refused(by_platform) == (403, "forbidden")
        assert client.call("POST", path, body).json()["answer"] == "pass"


class TestRevoking:
    def test_a_revoked_device_and_its_tokens_open_nothing(self, stage: ServiceStage) -> None:
        client, session_id = entered(stage)
        learner_id = stage.get(f"/v1/sessions/{session_id}")["learner_id"]
        path = f"/v1/learners/{learner_id}/devices/{client.key.device_id}"
        for _ in range(2):
            assert stage.call("DELETE", path, by=stage.officer).status_code == 204
        seen = client.call("GET", f"/v1/sessions/{session_id}")
        assert refused(seen) == (401, "unauthenticated")
        (device,) = devices_of(stage, learner_id)
        assert device["revoked_at"] is not None
        kinds = [entry.kind for entry in log_of(stage)]
        assert "device_registered" in kinds
        fresh = stage.post(f"/v1/sessions/{session_id}/code")
        assert refused(client.enter(fresh)) == (403, "device_unknown")

    def test_only_officers_list_and_revoke(self, stage: ServiceStage) -> None:
        client, session_id = entered(stage)
        learner_id = stage.get(f"/v1/sessions/{session_id}")["learner_id"]
        path = f"/v1/learners/{learner_id}/devices"
        assert refused(stage.call("GET", path)) == (403, "forbidden")
        one = f"{path}/{client.key.device_id}"
        assert refused(stage.call("DELETE", one)) == (403, "forbidden")
        none = stage.call("DELETE", f"{path}/{'0' * 64}", by=stage.officer)
        assert refused(none) == (404, "unknown_subject")
        nobody = stage.call("GET", "/v1/learners/nobody/devices", by=stage.officer)
        assert refused(nobody) == (404, "unknown_subject")

    def test_the_log_names_keys_and_nobody(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        client, session_id = entered(stage)
        learner_id = stage.get(f"/v1/sessions/{session_id}")["learner_id"]
        device_id = client.key.device_id
        stage.call("DELETE", f"/v1/learners/{learner_id}/devices/{device_id}", by=stage.officer)
        found = [entry for entry in log_of(stage) if entry.kind.startswith("device")]
        assert [entry.kind for entry in found] == ["device_registered", "device_revoked"]
        assert all(entry.facts == {"device_id": device_id} for entry in found)
        assert all(learner_id.encode() not in entry.serialize() for entry in found)


def log_of(stage: ServiceStage) -> list[Leaf]:
    """Return the leaves of everything acknowledged so far."""
    stage.publish()
    reader = stage.application.archive.reader
    size = stage.application.archive.checkpoint.size
    return [Leaf.parse(reader.entry(index, size)) for index in range(size)]
