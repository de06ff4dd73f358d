"""Killed between any two calls, and in the midst of many: nothing acknowledged is lost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import numpy as np
import pytest

from models.image_decoder import STILL_LIMITS, decode_image
from pipelines.portraits import portraits
from pipelines.simulate.identity_authority import demo_identity
from pipelines.simulate.platform import in_base64
from pipelines.simulate.webcam import Sitter, Webcam
from tests.integration.running_service import RunningService

CLASS = {
    "class_id": "class-1",
    "institution_id": "school-1",
    "title": "中式烹调师（初级）",
    "starts_on": "2020-01-01",
    "ends_on": "2099-12-31",
    "required_credit_hours": 1,
}


class Camera:
    """Films one person of the demo's portraits."""

    def __init__(self, faces: dict[str, Path], name: str) -> None:
        portrait = portraits()[name]
        self.reference = faces[name].read_bytes()
        pixels = decode_image(self.reference, STILL_LIMITS).pixels
        self._sitter = Sitter(pixels=pixels, crop_px=portrait.crop_px, keep_px=portrait.keep_px)
        self._webcam = Webcam(np.random.default_rng(5))

    def film(self, frames: int = 1) -> list[str]:
        """Return frames in base64."""
        return [in_base64(frame) for frame in self._webcam.film(self._sitter, frames=frames)]

    def enrolment(self) -> dict[str, Any]:
        """Return the body of an enrolment."""
        return {"reference": in_base64(self.reference), "live": self.film(3)}


@pytest.fixture
def camera(demo_faces: dict[str, Path]) -> Camera:
    return Camera(demo_faces, "person1-a")


@pytest.fixture
def service(tmp_path: Path, models_cache: Path) -> Iterator[RunningService]:
    assert models_cache.is_dir()
    with RunningService(tmp_path / "data") as running:
        yield running


def success(response: httpx.Response) -> Any:
    assert response.is_success, response.text
    return response.json()


class Steps:
    """Calls one after another, each acknowledged before the service is killed."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        self.platform = service.command("keys", "platform", "platform-1")
        self.officer = service.command("keys", "officer", "officer 1")

    def do(self, method: str, path: str, body: Any = None, *, by: str | None = None) -> Any:
        """Call, kill the service, start it again; return what was acknowledged."""
        key = self.platform if by is None else by
        told = success(self._service.call(method, path, key, body))
        self._service.kill_and_start()
        return told

    def look(self, path: str, *, by: str | None = None) -> Any:
        """Return what the service says now."""
        key = self.platform if by is None else by
        return success(self._service.call("GET", path, key))


def test_killed_between_any_two_calls(service: RunningService, camera: Camera) -> None:
    """Enrol, session, answer, outcome, gate: every step stands on what a dead server said."""
    steps = Steps(service)
    learner = registered(steps)
    enrolled = steps.do("POST", f"/v1/learners/{learner}/enrolment", camera.enrolment())
    assert (enrolled["outcome"], enrolled["anchor"]) == ("pass", "authority")
    opening = {"learner_id": learner, "class_id": "class-1", "planned_minutes": 10}
    opened = steps.do("POST", "/v1/sessions", opening)
    session = f"/v1/sessions/{opened['session_id']}"
    token = steps.do("POST", f"{session}/token", {"code": opened["code"]}, by="")["token"]

    answered = [answer(steps, session, camera)]
    steps.do("POST", f"{session}/end", {})
    answered.append(answer(steps, session, camera))
    closed = steps.do("POST", f"{session}/close", {})
    steps.do("POST", "/v1/claims", {**opening, "claimed_minutes": 600})

    shown = steps.look(session, by=token)
    assert {**shown, "evidence": []} == {**closed, "evidence": []}
    assert shown["phase"] == "closed"
    assert shown["credited_s"] + shown["pending_s"] > 0
    assert [each["evidence_id"] for each in shown["evidence"]] == answered
    gate = steps.look(f"/v1/classes/class-1/learners/{learner}/eligibility", by=steps.officer)
    assert gate["outcome"] in {"not_yet", "refer"}
    assert gate["claimed_s"] == 600 * 60
    sleep(2)  # whatever is pending gets its checkpoint
    for evidence_id in answered:
        receipt = service.call("GET", f"/v1/receipts/{evidence_id}", steps.platform)
        assert receipt.is_success
    verify(service)


def registered(steps: Steps) -> str:
    """Put a learner and an approved class on record, the learner on its roster."""
    person = demo_identity(1)
    identity = {"name": person.name, "id_number": person.id_number}
    body = {"reference": "learner 1", "identity": identity}
    learner: str = steps.do("POST", "/v1/learners", body)["learner_id"]
    steps.do("PUT", f"/v1/learners/{learner}/consent", {"version": "2026-01"})
    steps.do("POST", "/v1/classes", CLASS)
    steps.do("POST", "/v1/classes/class-1/approval", {}, by=steps.officer)
    steps.do("PUT", f"/v1/classes/class-1/roster/{learner}", {})
    return learner


def answer(steps: Steps, session: str, camera: Camera) -> str:
    """Poll, kill, answer, kill; return the evidence's id."""
    prompt = steps.do("GET", f"{session}/prompt")["prompt"]
    # A poll after the restart shows the very same prompt, with no less time.
    again = steps.look(f"{session}/prompt")["prompt"]
    assert {**again, "closes_at": ""} == {**prompt, "closes_at": ""}
    assert again["closes_at"] >= prompt["closes_at"]
    body = {"nonce": prompt["nonce"], "frames": camera.film()}
    told = steps.do("POST", f"/v1/prompts/{prompt['prompt_id']}/answer", body)
    assert told["answer"] == "pass"
    return str(told["evidence_id"])


def verify(service: RunningService) -> None:
    """Verify every byte of the archive that the dead services left."""
    archive, keys = service.folder / "archive", service.folder / "keys"
    key = service.call("GET", "/v1/log/key", "").text.strip()
    service.kill()
    service.command("archive", "verify", str(archive), "--vkey", key, "--keys", str(keys))


def test_killed_in_the_midst_of_many_answers(service: RunningService, camera: Camera) -> None:
    steps = Steps(service)
    success(service.call("POST", "/v1/classes", steps.platform, CLASS))
    sessions = [opened_session(service, steps, camera, number) for number in range(6)]

    def attend(session: str) -> list[str]:
        """Answer until the service dies; return what was acknowledged."""
        try:
            prompt = success(service.call("GET", f"{session}/prompt", steps.platform))["prompt"]
            path = f"/v1/prompts/{prompt['prompt_id']}/answer"
            body = {"nonce": prompt["nonce"], "frames": camera.film()}
            told = success(service.call("POST", path, steps.platform, body))
        except httpx.TransportError:
            return []
        return [told["evidence_id"]]

    with ThreadPoolExecutor(len(sessions)) as threads:
        going_on = [threads.submit(attend, session) for session in sessions]
        wait_for_first(going_on)
        service.kill()
        acknowledged = [future.result() for future in going_on]
    service.start()
    assert any(acknowledged)
    for session, evidence_ids in zip(sessions, acknowledged, strict=True):
        shown = steps.look(session)["evidence"]
        # What was acknowledged is there; what was not is there whole, or not at all.
        assert [each["evidence_id"] for each in shown][: len(evidence_ids)] == evidence_ids
        assert len(shown) <= 1
    verify(service)


def wait_for_first(futures: list[Any]) -> None:
    """Return once the first has its result."""
    while not any(future.done() for future in futures):
        sleep(0.001)


def opened_session(service: RunningService, steps: Steps, camera: Camera, number: int) -> str:
    """Return the path of a session of a new learner."""
    call: Callable[..., httpx.Response] = service.call
    body = {"reference": f"learner {number}"}
    learner = success(call("POST", "/v1/learners", steps.platform, body))["learner_id"]
    success(call("PUT", f"/v1/learners/{learner}/consent", steps.platform, {"version": "1"}))
    path = f"/v1/learners/{learner}/enrolment"
    assert success(call("POST", path, steps.platform, camera.enrolment()))["outcome"] == "pass"
    opening = {"learner_id": learner, "class_id": "class-1", "planned_minutes": 10}
    opened = success(call("POST", "/v1/sessions", steps.platform, opening))
    return f"/v1/sessions/{opened['session_id']}"
