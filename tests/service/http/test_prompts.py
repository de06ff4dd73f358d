"""The verify endpoint: what an answer gets, and that a refused one leaves nothing behind."""

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from pipelines import evidence_store
from pipelines.check import FrameChecker
from service.sql import tables
from service.turns import BusyError
from tests.pipelines.lesson_stage import BLURRED, LEARNER_FACE, NOBODY, NOT_A_PICTURE, OTHER_FACE
from tests.service.http.asgi_client import call
from tests.service.http.footprint import footprint
from tests.service.http.service_stage import ServiceStage, reply


@pytest.fixture
def session_id(stage: ServiceStage) -> str:
    return str(stage.open_session(*stage.prepare())["session_id"])


def answer_path(prompt: Any) -> str:
    return f"/v1/prompts/{prompt['prompt_id']}/answer"


class TestJudgements:
    @pytest.mark.parametrize(
        ("who", "answer", "reason"),
        [
            (LEARNER_FACE, "pass", "confirmed"),
            (OTHER_FACE, "refer", "under_review"),
            (NOBODY, "retry", "nobody_seen"),
            (BLURRED, "retry", "picture_poor"),
            (NOT_A_PICTURE, "retry", "picture_unreadable"),
        ],
    )
    def test_pass_retry_or_refer_with_a_reason_in_chinese(
        self, stage: ServiceStage, session_id: str, who: str, answer: str, reason: str
    ) -> None:
        told = stage.answer(stage.prompt(session_id), who)
        assert (told["answer"], told["reason"]) == (answer, reason)
        assert any("\u4e00" <= character <= "\u9fff" for character in told["text_zh"])
        assert len(bytes.fromhex(told["evidence_id"])) == 32
        assert (told["prompt"] is not None) == (answer == "retry")

    def test_a_retry_says_what_to_put_right_and_takes_a_fresh_nonce(
        self, stage: ServiceStage, session_id: str
    ) -> None:
        prompt = stage.prompt(session_id)
        told = stage.answer(prompt, BLURRED)
        assert told["quality"] == ["blurred"]
        again = told["prompt"]
        assert again["prompt_id"] == prompt["prompt_id"]
        assert again["nonce"] != prompt["nonce"]
        assert stage.answer(again)["answer"] == "pass"

    @pytest.mark.parametrize("who", [LEARNER_FACE, OTHER_FACE, BLURRED])
    def test_no_score_is_told(self, stage: ServiceStage, session_id: str, who: str) -> None:
        """Scores are secrets: nothing in the reply is a number that a picture moves."""
        prompt = stage.prompt(session_id)
        response = stage.call("POST", answer_path(prompt), reply(prompt, who))
        told = response.json()
        told.pop("prompt")
        assert not [value for value in told.values() if isinstance(value, int | float)]
        assert "log10" not in response.text

    def test_a_learner_may_answer_with_their_token(self, stage: ServiceStage) -> None:
        opened = stage.open_session(*stage.prepare())
        token = stage.token(opened)
        prompt = stage.prompt(opened["session_id"], by=token)
        assert stage.answer(prompt, by=token)["answer"] == "pass"


@pytest.fixture
def refused(stage: ServiceStage, session_id: str) -> Iterator[Callable[..., tuple[int, str]]]:
    """Return a function that sends an answer which is refused and leaves nothing behind."""

    def send(
        prompt: Any, body: Any, *, by: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        before = footprint(stage)
        response = stage.call("POST", answer_path(prompt), body, by=by, headers=headers)
        assert footprint(stage) == before
        assert response.headers["Content-Type"].startswith("application/problem+json")
        return response.status_code, response.json()["code"]

    yield send
    # Whatever was tried before: the prompt is still there, and takes the right answer.
    prompt = stage.prompt(session_id)
    if prompt is not None:
        assert stage.answer(prompt)["answer"] == "pass"


class TestRefusals:
    """Clear problems; SQL, log and store as they were."""

    def test_a_prompt_of_nobody(self, refused: Callable[..., tuple[int, str]]) -> None:
        prompt = {"prompt_id": "0" * 32, "nonce": "AAAA"}
        assert refused(prompt, reply(prompt)) == (404, "unknown_subject")

    def test_another_platforms_prompt_looks_like_nobodys(
        self, stage: ServiceStage, session_id: str
    ) -> None:
        prompt = stage.prompt(session_id)
        nobodys = {"prompt_id": "0" * 32, "nonce": prompt["nonce"]}
        details = [
            stage.call("POST", answer_path(each), reply(each), by=stage.other_platform).json()
            for each in (prompt, nobodys)
        ]
        for detail in details:
            detail.pop("request_id")
        assert details[0] == details[1]

    def test_another_learners_prompt(
        self, stage: ServiceStage, session_id: str, refused: Callable[..., tuple[int, str]]
    ) -> None:
        token = stage.token(stage.open_session(*stage.prepare()))
        prompt = stage.prompt(session_id)
        assert refused(prompt, reply(prompt), by=token) == (404, "unknown_subject")

    def test_an_officer(
        self, stage: ServiceStage, session_id: str, refused: Callable[..., tuple[int, str]]
    ) -> None:
        prompt = stage.prompt(session_id)
        assert refused(prompt, reply(prompt), by=stage.officer) == (403, "forbidden")

    @pytest.mark.parametrize("key", ["", "zx_platform_00000000_" + "A" * 43, "nonsense", "a b"])
    def test_no_key_or_a_wrong_one(
        self,
        stage: ServiceStage,
        session_id: str,
        refused: Callable[..., tuple[int, str]],
        key: str,
    ) -> None:
        prompt = stage.prompt(session_id)
        assert refused(prompt, reply(prompt), by=key) == (401, "unauthenticated")

    def test_after_consent_was_withdrawn(self, own_stage: ServiceStage) -> None:
        """No face of theirs is looked at any more, not even one that is sent."""
        stage = own_stage
        learner_id, class_id = stage.prepare()
        prompt = stage.prompt(stage.open_session(learner_id, class_id)["session_id"])
        stage.delete(f"/v1/learners/{learner_id}/consent")
        before = footprint(stage)
        response = stage.call("POST", answer_path(prompt), reply(prompt))
        assert (response.status_code, response.json()["code"]) == (409, "consent_missing")
        assert footprint(stage) == before

    def test_while_consent_is_withdrawn(
        self, own_stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage = own_stage
        learner_id, class_id = stage.prepare()
        prompt = stage.prompt(stage.open_session(learner_id, class_id)["session_id"])
        before = footprint(stage)
        check = FrameChecker.check

        def withdraw_and_check(*args: Any) -> Any:
            stage.delete(f"/v1/learners/{learner_id}/consent")
            return check(*args)

        with monkeypatch.context() as patched:
            patched.setattr(FrameChecker, "check", withdraw_and_check)
            response = stage.call("POST", answer_path(prompt), reply(prompt))
        assert (response.status_code, response.json()["code"]) == (409, "consent_missing")
        assert footprint(stage) == before

    def test_twice(
        self, stage: ServiceStage, session_id: str, refused: Callable[..., tuple[int, str]]
    ) -> None:
        prompt = stage.prompt(session_id)
        stage.answer(prompt)
        assert refused(prompt, reply(prompt)) == (409, "prompt_already_resolved")

    def test_late(
        self, stage: ServiceStage, session_id: str, refused: Callable[..., tuple[int, str]]
    ) -> None:
        prompt = stage.prompt(session_id)
        stage.clock.advance(61)
        assert refused(prompt, reply(prompt)) == (410, "deadline_passed")

    def test_with_a_nonce_that_was_not_issued(
        self, stage: ServiceStage, session_id: str, refused: Callable[..., tuple[int, str]]
    ) -> None:
        prompt = stage.prompt(session_id)
        forged = {**reply(prompt), "nonce": "A" * 22 + "=="}
        assert refused(prompt, forged) == (409, "wrong_nonce")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"frames": []}, "body.frames"),
            ({"frames": ["AAAA"] * 25}, "body.frames"),
            ({"frames": "AAAA"}, "body.frames"),
            ({"frames": ["not base64!"]}, "body.frames.0"),
            ({"frames": [None]}, "body.frames.0"),
            ({"nonce": "AA"}, "body.nonce"),
            ({"nonce": 7}, "body.nonce"),
            ({"nonce": "\ud800"}, "body.nonce"),
        ],
    )
    def test_with_a_body_that_breaks_the_format(
        self,
        stage: ServiceStage,
        session_id: str,
        change: dict[str, Any],
        field: str,
    ) -> None:
        prompt = stage.prompt(session_id)
        before = footprint(stage)
        body = json.dumps({**reply(prompt), **change})
        response = send_raw(stage, prompt, body.encode("ascii"))
        assert response.status_code == 422
        assert footprint(stage) == before
        assert field in [error["field"] for error in response.json()["errors"]]

    def test_with_many_wrong_frames_is_read_to_the_first(
        self, stage: ServiceStage, session_id: str
    ) -> None:
        prompt = stage.prompt(session_id)
        body = {**reply(prompt), "frames": ["!"] * 24}
        errors = stage.call("POST", answer_path(prompt), body).json()["errors"]
        assert [error["field"] for error in errors] == ["body.frames.0"]

    def test_that_is_large_and_nobodys(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        response = send_raw(stage, prompt, b" " * (1 << 20), by="zx_learner_" + "A" * 43)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
        assert response.headers["connection"] == "close"

    def test_of_another_content_type(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        before = footprint(stage)
        response = send_raw(stage, prompt, b"\xff\xd8\xff", content_type="image/jpeg")
        assert (response.status_code, response.json()["code"]) == (415, "wrong_content_type")
        assert footprint(stage) == before

    def test_that_is_too_large(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        before = footprint(stage)
        response = send_raw(stage, prompt, b" " * (6 << 20))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert footprint(stage) == before

    def test_that_is_not_json(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        for body in (b"", b"{", b"[" * 100_000, b"\xff\xfe"):
            assert send_raw(stage, prompt, body).status_code in {400, 422}


def send_raw(
    stage: ServiceStage,
    prompt: Any,
    body: bytes,
    *,
    content_type: str = "application/json",
    by: str | None = None,
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {by or stage.platform}", "Content-Type": content_type}
    return call(stage.app, "POST", answer_path(prompt), headers=headers, content=body)


class TestTheSameRequestTwice:
    """Idempotency-Key: one effect, one reply."""

    def test_gives_the_same_reply_and_judges_once(
        self, stage: ServiceStage, session_id: str
    ) -> None:
        prompt = stage.prompt(session_id)
        key, body = {"Idempotency-Key": stage.fresh("key")}, reply(prompt)
        first = stage.call("POST", answer_path(prompt), body, headers=key)
        after = footprint(stage)
        second = stage.call("POST", answer_path(prompt), body, headers=key)
        assert (first.status_code, first.content) == (200, second.content)
        assert footprint(stage) == after

    def test_with_another_body_is_refused(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        key = {"Idempotency-Key": stage.fresh("key")}
        stage.call("POST", answer_path(prompt), reply(prompt), headers=key)
        after = footprint(stage)
        other = stage.call("POST", answer_path(prompt), reply(prompt, OTHER_FACE), headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
        assert footprint(stage) == after

    def test_a_key_belongs_to_who_used_it(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        key = {"Idempotency-Key": stage.fresh("key")}
        stage.call("POST", answer_path(prompt), reply(prompt), headers=key)
        other = stage.call(
            "POST", answer_path(prompt), reply(prompt), by=stage.other_platform, headers=key
        )
        assert other.status_code == 404

    def test_after_a_refusal_the_key_is_free(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        key = {"Idempotency-Key": stage.fresh("key")}
        forged = {**reply(prompt), "nonce": "A" * 22 + "=="}
        assert stage.call("POST", answer_path(prompt), forged, headers=key).status_code == 409
        assert stage.call("POST", answer_path(prompt), reply(prompt), headers=key).is_success

    @pytest.mark.parametrize("key", ["", "a" * 65, "a b", "a/b", "a;b"])
    def test_a_key_of_another_form_is_refused(
        self, stage: ServiceStage, session_id: str, key: str
    ) -> None:
        prompt = stage.prompt(session_id)
        before = footprint(stage)
        headers = {"Idempotency-Key": key}
        response = stage.call("POST", answer_path(prompt), reply(prompt), headers=headers)
        assert response.status_code == 422
        assert footprint(stage) == before


class TestAtTheSameTime:
    def test_of_many_answers_one_is_kept(self, stage: ServiceStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        before = footprint(stage)
        together = Barrier(4)

        def send(_: int) -> tuple[int, str]:
            together.wait()
            response = stage.call("POST", answer_path(prompt), reply(prompt))
            return response.status_code, response.json().get("code", "")

        with ThreadPoolExecutor(4) as threads:
            results = sorted(threads.map(send, range(4)))
        assert results[0] == (200, "")
        assert {code for _, code in results[1:]} <= {
            "answer_in_progress",
            "prompt_already_resolved",
        }
        after = footprint(stage)
        assert after.rows["attempt"] == before.rows["attempt"] + 1
        assert (after.objects, after.waiting) == (before.objects + 1, before.waiting)

    def test_of_many_requests_with_one_key_all_get_one_reply(
        self, stage: ServiceStage, session_id: str
    ) -> None:
        prompt = stage.prompt(session_id)
        key = {"Idempotency-Key": stage.fresh("key")}
        together = Barrier(3)

        def send(_: int) -> httpx.Response:
            together.wait()
            return stage.call("POST", answer_path(prompt), reply(prompt), headers=key)

        with ThreadPoolExecutor(3) as threads:
            responses = list(threads.map(send, range(3)))
        codes = {r.json()["code"] for r in responses if not r.is_success}
        assert codes <= {"answer_in_progress", "storage_busy"}
        # Who was too early asks again, and hears what the first one heard.
        replies = {send_again(stage, prompt, key) for _ in responses}
        assert replies == {r.content for r in responses if r.is_success}


def send_again(stage: ServiceStage, prompt: Any, key: dict[str, str]) -> bytes:
    return stage.call("POST", answer_path(prompt), reply(prompt), headers=key).content


class TestWhatTheMachineRefuses:
    """503 and a prompt that is still open; nothing half-written."""

    def test_a_full_disk(
        self, stage: ServiceStage, session_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prompt = stage.prompt(session_id)
        before = footprint(stage)

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(evidence_store, "write_new", full)
            response = stage.call("POST", answer_path(prompt), reply(prompt))
        assert response.status_code == 503
        assert footprint(stage) == before
        assert stage.answer(prompt)["answer"] == "pass"

    def test_a_locked_database(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        session_id = str(stage.open_session(*stage.prepare())["session_id"])
        prompt = stage.prompt(session_id)
        before = footprint(stage)
        with locked(stage, session_id):
            response = stage.call("POST", answer_path(prompt), reply(prompt))
        assert (response.status_code, response.json()["code"]) == (503, "storage_busy")
        assert int(response.headers["Retry-After"]) >= 1
        assert footprint(stage) == before
        assert stage.answer(prompt)["answer"] == "pass"

    def test_too_many_answers_at_once(
        self, stage: ServiceStage, session_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """How a later answer to this one counts is in test_prompt_kinds.py."""
        prompt = stage.prompt(session_id)
        before = footprint(stage)

        def busy(*_: object, **__: object) -> None:
            raise BusyError("too many")

        with monkeypatch.context() as patched:
            patched.setattr(type(stage.application.engine.checker), "check", busy)
            response = stage.call("POST", answer_path(prompt), reply(prompt))
        assert (response.status_code, response.json()["code"]) == (503, "busy")
        assert replace(footprint(stage), versions=before.versions) == before
        assert stage.answer(prompt)["answer"] == "pass"

    def test_too_many_answers_of_one_session(self, own_stage: ServiceStage) -> None:
        stage = own_stage
        session_id = str(stage.open_session(*stage.prepare())["session_id"])
        prompt = stage.prompt(session_id)
        forged = {**reply(prompt), "nonce": "A" * 22 + "=="}
        codes = [
            stage.call("POST", answer_path(prompt), forged).json()["code"]
            for _ in range(stage.application.settings.answers_per_minute + 5)
        ]
        assert codes[0] == "wrong_nonce"
        assert codes[-1] == "rate_limited"


@contextmanager
def locked(stage: ServiceStage, session_id: str) -> Iterator[None]:
    """Hold what an answer needs, from another connection."""
    address = stage.application.settings.database_address
    if address.startswith("sqlite"):
        connection = sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
        connection.close()
        return
    chosen = select(tables.session).where(tables.session.c.session_id == session_id)
    with stage.application.database.writing() as tx:
        tx.execute(chosen.with_for_update())
        yield
