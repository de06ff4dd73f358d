"""Answers in parts: cut off anywhere, sent twice, by others, too late, too much."""

import asyncio
import hashlib
import json
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from starlette.types import Message

from service.http.server import listen, serve_in_thread
from service.uploads import Uploads
from tests.pipelines.lesson_stage import OTHER_FACE
from tests.service.http.asgi_client import call
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage, open_stage, reply
from verifier.transparency.base64_text import to_base64

PART = {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceStage]:
    """Set a stage on one database: uploads lie in none."""
    with open_stage(tmp_path_factory.mktemp("uploads")) as opened:
        yield opened
        assert not opened.undocumented


def answer_bytes(prompt: Any, *who: str) -> bytes:
    return json.dumps(reply(prompt, *who)).encode()


def announcement(prompt: Any, body: bytes) -> dict[str, Any]:
    digest = to_base64(hashlib.sha256(body).digest())
    return {"nonce": prompt["nonce"], "bytes": len(body), "sha256": digest}


class Uploader:
    """Somebody who was asked and answers in parts."""

    def __init__(self, stage: ServiceStage, *who: str, session_id: str | None = None) -> None:
        self.stage = stage
        self.session_id = session_id or stage.open_session(*stage.prepare())["session_id"]
        self.prompt = stage.prompt(self.session_id)
        self.body = answer_bytes(self.prompt, *who)
        self.upload_id = ""

    def begin(self, *, body: bytes | None = None, by: str | None = None) -> Any:
        """Announce the answer."""
        told = self.stage.post(
            f"/v1/prompts/{self.prompt['prompt_id']}/uploads",
            announcement(self.prompt, body or self.body),
            by=by,
        )
        self.upload_id = told["upload_id"]
        return told

    @property
    def path(self) -> str:
        return f"/v1/uploads/{self.upload_id}"

    def send(self, offset: int, part: bytes, *, by: str | None = None) -> httpx.Response:
        """Send a part; whatever comes of it."""
        headers = {**PART, "Upload-Offset": str(offset)}
        return part_call(self.stage, self.path, part, headers, by=by)

    def head(self, *, by: str | None = None) -> httpx.Response:
        """Ask where it stands."""
        shown = {"Authorization": f"Bearer {self.stage.platform if by is None else by}"}
        return call(self.stage.app, "HEAD", self.path, headers=shown)

    def offset(self) -> int:
        """Ask how much has arrived."""
        return int(self.head().headers["upload-offset"])

    def hand_in(self, **headers: str) -> httpx.Response:
        """Have it judged."""
        return self.stage.call("POST", f"{self.path}/answer", {}, headers=headers)


def part_call(
    stage: ServiceStage, path: str, part: bytes, headers: dict[str, str], *, by: str | None = None
) -> httpx.Response:
    shown = {"Authorization": f"Bearer {stage.platform if by is None else by}"}

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(stage.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.patch(path, content=part, headers={**shown, **headers})

    return asyncio.run(once())


def test_in_parts_it_is_judged_as_at_once(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    told = uploader.begin()
    assert told["offset"] == 0
    half = len(uploader.body) // 2
    first = uploader.send(0, uploader.body[:half])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(half))
    assert uploader.offset() == half
    head = uploader.head()
    assert head.headers["upload-length"] == str(len(uploader.body))
    assert head.headers["cache-control"] == "no-store"
    assert uploader.send(half, uploader.body[half:]).status_code == 204
    judged = uploader.hand_in()
    assert (judged.status_code, judged.json()["answer"]) == (200, "pass")
    assert stage.prompt(uploader.session_id) is None


def test_by_somebody_else_it_is_not_passed(stage: ServiceStage) -> None:
    """What is judged is what was uploaded."""
    uploader = Uploader(stage, OTHER_FACE)
    uploader.begin()
    uploader.send(0, uploader.body)
    assert uploader.hand_in().json()["answer"] == "refer"


def test_there_is_more_time_once_it_has_begun(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    uploader.send(0, uploader.body[:10])
    stage.clock.advance(100)  # past the minute in which it has to begin, within the next
    assert uploader.send(10, uploader.body[10:]).status_code == 204
    assert uploader.hand_in().json()["answer"] == "pass"


def test_announcing_anything_at_all_buys_no_time(stage: ServiceStage) -> None:
    """Past the minute only those bytes are taken that were announced in it."""
    uploader = Uploader(stage)
    path = f"/v1/prompts/{uploader.prompt['prompt_id']}"
    nothing = {"nonce": uploader.prompt["nonce"], "bytes": 1, "sha256": to_base64(bytes(32))}
    stage.clock.advance(58)
    stage.post(f"{path}/uploads", nothing)
    stage.clock.advance(10)
    at_once = stage.call("POST", f"{path}/answer", reply(uploader.prompt))
    assert refused(at_once) == (410, "deadline_passed")
    in_parts = announcement(uploader.prompt, uploader.body)
    assert refused(stage.call("POST", f"{path}/uploads", in_parts)) == (410, "deadline_passed")


def test_who_lost_what_came_of_an_announcement_begins_again_past_the_minute(
    stage: ServiceStage,
) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    uploader.send(0, uploader.body[:10])
    stage.clock.advance(100)
    uploader.begin()
    uploader.send(0, uploader.body)
    assert uploader.hand_in().json()["answer"] == "pass"


def test_what_was_announced_may_also_come_at_once(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    stage.clock.advance(100)
    path = f"/v1/prompts/{uploader.prompt['prompt_id']}/answer"
    shown = {"Authorization": f"Bearer {stage.platform}", "Content-Type": "application/json"}
    judged = call(stage.app, "POST", path, headers=shown, content=uploader.body)
    assert judged.json()["answer"] == "pass"


def test_the_two_latest_announcements_are_known(
    stage: ServiceStage,
) -> None:
    """Two are kept for a prompt: a third takes the place of the first."""
    uploader = Uploader(stage)
    for body in (uploader.body, b"x", b"y"):
        uploader.begin(body=body)
    stage.clock.advance(61)
    path = f"/v1/prompts/{uploader.prompt['prompt_id']}/uploads"
    first = stage.call("POST", path, announcement(uploader.prompt, uploader.body))
    assert refused(first) == (410, "deadline_passed")
    assert uploader.begin(body=b"x")["offset"] == 0


def test_by_when_it_has_to_be_handed_in_is_told(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    told = datetime.fromisoformat(uploader.begin()["expires_at"])
    assert told == stage.clock.now() + timedelta(seconds=120)
    uploader.send(0, uploader.body)
    stage.clock.advance(121)
    assert refused(uploader.hand_in()) == (410, "deadline_passed")


def test_an_upload_is_gone_when_its_time_is_over(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    uploader.send(0, uploader.body[:10])
    stage.clock.advance(135)
    assert uploader.head().status_code == 404
    assert refused(uploader.send(10, uploader.body[10:])) == (404, "unknown_upload")
    assert refused(uploader.hand_in()) == (404, "unknown_upload")


def test_a_late_beginning_is_refused(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    stage.clock.advance(61)
    path = f"/v1/prompts/{uploader.prompt['prompt_id']}/uploads"
    late = stage.call("POST", path, announcement(uploader.prompt, uploader.body))
    assert refused(late) == (410, "deadline_passed")


@pytest.mark.parametrize("step", [-1, 1])
def test_other_bytes_than_the_next_are_told_where_to_go_on(stage: ServiceStage, step: int) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    uploader.send(0, uploader.body[:10])
    wrong = uploader.send(10 + step, uploader.body[10 + step :])
    assert refused(wrong) == (409, "wrong_offset")
    assert wrong.headers["upload-offset"] == "10"
    assert uploader.send(10, uploader.body[10:]).status_code == 204


def test_more_than_was_announced_is_refused(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    assert refused(uploader.send(0, uploader.body + b" ")) == (413, "body_too_large")
    assert uploader.offset() == 0


def test_other_bytes_than_announced_start_over(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    uploader.send(0, uploader.body[::-1])
    assert refused(uploader.hand_in()) == (422, "digest_mismatch")
    assert uploader.offset() == 0
    uploader.send(0, uploader.body)
    assert uploader.hand_in().json()["answer"] == "pass"


def test_too_little_is_not_judged(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    uploader.send(0, uploader.body[:-1])
    early = uploader.hand_in()
    assert refused(early) == (409, "upload_incomplete")
    assert early.headers["upload-offset"] == str(len(uploader.body) - 1)


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "malformed_body"), (b'{"nonce": "AAAA"}', "invalid_input"), (b"[]", "invalid_input")],
)
def test_what_is_no_answer_is_told_as_if_sent_at_once(
    stage: ServiceStage, body: bytes, code: str
) -> None:
    uploader = Uploader(stage)
    uploader.begin(body=body)
    uploader.send(0, body)
    assert refused(uploader.hand_in())[1] == code


def test_nobody_else_goes_on_with_it(stage: ServiceStage) -> None:
    """Neither another platform, nor the learner of the very session: one caller, one upload."""
    opened = stage.open_session(*stage.prepare())
    uploader = Uploader(stage, session_id=opened["session_id"])
    uploader.begin()
    for by in (stage.other_platform, stage.token(opened)):
        assert refused(uploader.send(0, uploader.body, by=by)) == (404, "unknown_upload")
        for method, path in (("DELETE", uploader.path), ("POST", f"{uploader.path}/answer")):
            told = stage.call(method, path, {} if method == "POST" else None, by=by)
            assert refused(told) == (404, "unknown_upload")
        assert uploader.head(by=by).status_code == 404
    assert uploader.send(0, uploader.body, by="").status_code == 401
    assert uploader.offset() == 0


def test_nobody_else_begins_one(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    path = f"/v1/prompts/{uploader.prompt['prompt_id']}/uploads"
    body = announcement(uploader.prompt, uploader.body)
    foreign = stage.call("POST", path, body, by=stage.other_platform)
    assert refused(foreign) == (404, "unknown_subject")
    assert refused(stage.call("POST", path, body, by=stage.officer)) == (403, "forbidden")
    wrong = {**body, "nonce": to_base64(b"x" * 16)}
    assert refused(stage.call("POST", path, wrong)) == (409, "wrong_nonce")


def test_dropped_it_is_gone_and_the_prompt_still_waits(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    uploader.send(0, uploader.body[:10])
    assert stage.call("DELETE", uploader.path).status_code == 204
    assert uploader.head().status_code == 404
    assert stage.answer(stage.prompt(uploader.session_id))["answer"] == "pass"


def test_beginning_again_starts_over(stage: ServiceStage) -> None:
    """Whoever lost the answer to the first request knows no id to go on with."""
    uploader = Uploader(stage)
    uploader.begin()
    lost = uploader.upload_id
    uploader.begin()
    assert uploader.offset() == 0
    uploader.upload_id = lost
    assert uploader.head().status_code == 404


def test_handed_in_twice_it_is_judged_once(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    held = stage.application.uploads.bytes_held
    uploader.begin()
    uploader.send(0, uploader.body)
    key = {"Idempotency-Key": stage.fresh("key")}
    first = uploader.hand_in(**key)
    assert uploader.hand_in(**key).content == first.content
    assert refused(uploader.hand_in()) == (409, "prompt_already_resolved")
    assert stage.application.uploads.bytes_held == held


def test_memory_that_is_full_is_told(stage: ServiceStage) -> None:
    uploader = Uploader(stage)
    small = Uploads(stage.clock, most_bytes=10)
    usual, path = stage.application.uploads, f"/v1/prompts/{uploader.prompt['prompt_id']}/uploads"
    object.__setattr__(stage.application, "uploads", small)
    try:
        full = stage.call("POST", path, announcement(uploader.prompt, uploader.body))
    finally:
        object.__setattr__(stage.application, "uploads", usual)
    assert refused(full) == (503, "too_many_uploads")
    assert int(full.headers["retry-after"]) > 0
    assert stage.answer(uploader.prompt)["answer"] == "pass"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json", "Upload-Offset": "0"}, 415),
        ({**PART, "Upload-Offset": "0", "Content-Encoding": "gzip"}, 415),
        (PART, 422),
        ({**PART, "Upload-Offset": "-1"}, 422),
        ({**PART, "Upload-Offset": "nought"}, 422),
    ],
)
def test_other_headers_are_refused(
    stage: ServiceStage, headers: dict[str, str], status: int
) -> None:
    uploader = Uploader(stage)
    uploader.begin()
    assert part_call(stage, uploader.path, b"x", headers).status_code == status
    assert uploader.offset() == 0


@pytest.mark.parametrize("change", [{"bytes": 0}, {"bytes": 6 << 20}, {"sha256": "AAAA"}])
def test_what_cannot_be_announced(stage: ServiceStage, change: dict[str, Any]) -> None:
    uploader = Uploader(stage)
    path = f"/v1/prompts/{uploader.prompt['prompt_id']}/uploads"
    body = {**announcement(uploader.prompt, uploader.body), **change}
    assert refused(stage.call("POST", path, body)) == (422, "invalid_input")


def cut_off(stage: ServiceStage, path: str, offset: int, chunks: list[bytes]) -> None:
    """Send a part whose connection ends after some chunks."""
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    headers = {
        **PART,
        "Authorization": f"Bearer {stage.platform}",
        "Upload-Offset": str(offset),
        "Content-Length": "100000",
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PATCH",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("test", 1),
        "server": ("test", 80),
    }

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        """Hear nothing: the connection is gone."""

    asyncio.run(stage.app(scope, receive, send))


def test_cut_off_after_any_chunk_it_goes_on_from_there(
    stage: ServiceStage, caplog: pytest.LogCaptureFixture
) -> None:
    """The client knows only what `HEAD` says; every connection breaks, and that is no failure."""
    uploader = Uploader(stage)
    uploader.begin()
    size = len(uploader.body) // 5
    chunks = [uploader.body[at : at + size] for at in range(0, len(uploader.body), size)]
    while (offset := uploader.offset()) < len(uploader.body):
        first = offset // size
        cut_off(stage, uploader.path, offset, chunks[first : first + 1 + first % 2])
        assert uploader.offset() > offset
    assert uploader.hand_in().json()["answer"] == "pass"
    assert [record for record in caplog.records if record.name == "zhenxue.failures"] == []


@pytest.fixture
def url(tmp_path: Path) -> Iterator[tuple[ServiceStage, str]]:
    with (
        open_stage(tmp_path) as stage,
        listen("127.0.0.1", 0) as bound,
        serve_in_thread(stage.app, bound) as address,
    ):
        yield stage, address


def test_a_socket_that_breaks_off_loses_nothing_that_arrived(url: tuple[ServiceStage, str]) -> None:
    stage, address = url
    uploader = Uploader(stage)
    uploader.begin()
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = (
            f"PATCH {uploader.path} HTTP/1.1\r\nHost: {host}\r\nUpload-Offset: 0\r\n"
            f"Authorization: Bearer {stage.platform}\r\nContent-Length: {len(uploader.body)}\r\n"
            f"Content-Type: {PART['Content-Type']}\r\n\r\n"
        )
        connection.sendall(head.encode() + uploader.body[:200])
        wait_for(uploader, 200)
    # The next one may come before the server has noticed that the first is gone.
    assert uploader.send(200, uploader.body[200:]).status_code == 204
    assert uploader.hand_in().json()["answer"] == "pass"


def wait_for(uploader: Uploader, offset: int) -> None:
    until = monotonic() + 10
    while uploader.offset() != offset:
        assert monotonic() < until, "nothing arrived"
        sleep(0.01)
