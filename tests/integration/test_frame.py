"""The learner frame in Chromium: what the learner can do, and what the page around it cannot."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Request, Route, expect

from tests.integration.frame_browser import (
    PATIENCE_MS,
    FrameStage,
    LessonPage,
    open_frame_stage,
    site,
)
from tests.pipelines.lesson_stage import BLURRED, LEARNER_FACE
from tests.service.http.refusals import refused
from tests.service.http.service_stage import reply
from tests.service.http.test_accommodations import grant, place
from tests.service.http.test_prompt_kinds import opening

pytestmark = pytest.mark.chromium

FIELDS = {"type", "event", "session_id", "reason"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrameStage]:
    with open_frame_stage(tmp_path_factory.mktemp("frame")) as opened:
        yield opened


@pytest.fixture(scope="module")
def learner(stage: FrameStage) -> tuple[str, str]:
    """Register the browser as a learner's device, once; return learner and class."""
    learner_id, class_id = stage.prepare()
    with stage.lesson_page() as page:
        page.hear("ready")
        page.register(learner_id)
    return learner_id, class_id


@pytest.fixture
def lesson(stage: FrameStage) -> Iterator[LessonPage]:
    """Open the platform's page in the browser that is the learner's."""
    stage.camera.show(LEARNER_FACE)
    with stage.lesson_page() as page:
        page.hear("ready")
        yield page


def test_a_check_from_poor_picture_to_pass(
    stage: FrameStage, learner: tuple[str, str], lesson: LessonPage
) -> None:
    """The page hears how it went; the camera is on for the picture and for nothing else."""
    opened = stage.open_session(*learner)
    sent: list[str] = []

    def break_once(route: Route) -> None:
        sent.append(route.request.method)
        route.abort() if sent == ["PATCH"] else route.continue_()

    lesson.page.route(re.compile(r"/v1/uploads/[0-9a-f]+$"), break_once)
    lamp = lesson.frame.locator("#lamp")
    expect(lamp).to_have_text("摄像头已关闭")
    stage.camera.show(BLURRED)
    lesson.enter(learner[0], opened)
    lesson.hear("prompt_open", "silent_capture")
    lesson.title("请看镜头")
    expect(lamp).to_have_text("摄像头使用中")
    lesson.hear("retry", "picture_poor")
    assert sent == ["PATCH", "HEAD", "PATCH"]  # what did not arrive was sent again
    expect(lesson.frame.locator("#hints")).to_have_text("请拿稳设备，保持不动")
    expect(lamp).to_have_text("摄像头已关闭")
    stage.camera.show(LEARNER_FACE)
    lesson.press("现在拍")
    heard = lesson.hear("pass", "confirmed")
    assert heard["origin"] == stage.engine
    assert set(heard["data"]) == FIELDS
    assert heard["data"]["session_id"] == opened["session_id"]
    lesson.title("已确认")

    # The next one comes by itself, when it is due: also after the clock has leapt.
    for _ in range(40):
        stage.service.clock.advance(30)
        if stage.act(stage.service.application.engine.poll, opened["session_id"]) is not None:
            break
    lesson.hear("prompt_open", "silent_capture")
    lesson.hear("pass", "confirmed")

    # What an officer found on the telephone is not told here, and nobody ran out of time.
    service, path = stage.service, f"/v1/sessions/{opened['session_id']}/prompts"
    asked = stage.act(lambda: service.post(path, {"kind": "officer_call"}, by=service.officer))
    lesson.hear("prompt_open", "officer_call")
    path = f"/v1/prompts/{asked['prompt_id']}/recording"
    stage.act(lambda: service.post(path, {"finding": "seen"}, by=service.officer))
    lesson.title("通话环节已结束")


def test_the_page_around_it_learns_nothing_else(
    stage: FrameStage, learner: tuple[str, str], lesson: LessonPage
) -> None:
    opened = stage.open_session(*learner)
    session_id, page = opened["session_id"], lesson.page
    seen: list[str] = []
    page.on("response", lambda response: seen.append(response.url))
    lesson.enter(learner[0], opened)
    lesson.hear("prompt_open")
    expect(lesson.frame.locator("#preview")).to_be_visible()
    assert page.evaluate("engine.contentDocument") is None
    assert "SecurityError" in told_by(page.evaluate, "engine.contentWindow.document")
    assert "SecurityError" in told_by(page.evaluate, "engine.contentWindow.navigator")
    drawn = "document.createElement('canvas').getContext('2d').drawImage(engine, 0, 0)"
    assert "TypeError" in told_by(page.evaluate, drawn)

    # Nor with the platform's own key: a browser shows no page of another origin an answer, and
    # the engine tells and takes nothing of a frame session.
    path = f"{stage.engine}/v1/sessions/{session_id}/prompt"
    key = {"headers": {"Authorization": f"Bearer {stage.service.platform}"}}
    asked = f"fetch({json.dumps(path)}, {json.dumps(key)})"
    assert "TypeError" in told_by(page.evaluate, asked)
    service = stage.service
    prompt = stage.act(service.application.engine.poll, session_id)
    assert prompt is not None
    body = reply({"nonce": "AAAAAAAAAAAAAAAAAAAAAA=="})
    answer = f"/v1/prompts/{prompt.prompt_id}/answer"
    assert refused(stage.act(service.call, "POST", answer, body)) == (403, "forbidden")
    told = f"/v1/sessions/{session_id}/prompt"
    assert refused(stage.act(service.call, "GET", told)) == (403, "forbidden")

    lesson.hear("pass")
    assert f"{stage.engine}/v1/sessions/{session_id}/events" in seen  # prompts came by the stream
    names = page.evaluate("performance.getEntries().map((entry) => entry.name)")
    assert {name for name in names if "/v1/" in name} <= {path}  # what it asked for itself
    heard = page.evaluate("everything")
    assert len(heard) >= 4  # from ready to pass
    assert all(set(each["data"]) == FIELDS for each in heard)
    said = json.dumps(heard)
    assert prompt.prompt_id not in said
    assert "zx_" not in said
    assert not [url for url in seen if "zx_" in url]  # no secret stands in an address


def test_a_page_of_another_origin_embeds_nothing(stage: FrameStage) -> None:
    address = f"{stage.engine}/frame/platform-1"
    foreign = f'<!doctype html><iframe id="engine" src="{address}" allow="camera"></iframe>'
    with site(foreign) as origin, stage.lesson_page(at=origin) as page:
        page.page.wait_for_timeout(500)
        assert page.page.frames[1].url.startswith("chrome-error://")


def test_the_key_stays_in_this_browser(
    stage: FrameStage, learner: tuple[str, str], lesson: LessonPage
) -> None:
    """It survives a reload, no script gets it out, and a token is worth nothing without it."""
    lesson.page.reload()
    lesson.hear("ready")
    opened = stage.open_session(*learner)
    tokens: list[str] = []
    lesson.page.on("request", lambda request: tokens.extend(token_in(request)))
    lesson.enter(learner[0], opened)
    lesson.hear("waiting")
    tried = lesson.frame.evaluate(
        """async () => {
            const database = await new Promise((resolve) => {
                indexedDB.open("zhenxue", 1).onsuccess = ({target}) => resolve(target.result);
            });
            const keys = database.transaction("keys").objectStore("keys").getAll();
            await new Promise((resolve) => { keys.onsuccess = resolve; });
            const secret = keys.result[0].pair.privateKey;
            const tries = ["pkcs8", "jwk"].map((form) => crypto.subtle.exportKey(form, secret));
            const told = await Promise.allSettled(tries);
            return [secret.extractable, ...told.map(({reason}) => reason?.name)];
        }"""
    )
    assert tried == [False, "InvalidAccessError", "InvalidAccessError"]
    lesson.hear("prompt_open")
    path = f"/v1/sessions/{opened['session_id']}"
    stolen = stage.act(lambda: stage.service.call("GET", path, by=tokens[-1]))
    assert refused(stolen) == (401, "proof_missing")


def test_hidden_covered_or_removed_it_says_so_or_falls_silent(
    stage: FrameStage, learner: tuple[str, str], lesson: LessonPage
) -> None:
    beats: list[dict[str, Any]] = []
    lesson.page.on("request", lambda request: beats.extend(beat_in(request)))
    opened = stage.open_session(*learner)
    lesson.enter(learner[0], opened)
    lesson.hear("waiting")

    def said(visible: bool, covered: bool | None) -> Callable[[], bool]:
        return lambda: (
            bool(beats)
            and (beats[-1]["visible"], beats[-1]["covered"])
            == (
                visible,
                covered,
            )
        )

    page = lesson.page
    wait_for(lesson, said(True, False))
    page.evaluate("engine.style.opacity = '0.01'")
    wait_for(lesson, said(True, True))
    page.evaluate("engine.style.cssText = 'margin-top: 4000px'")
    wait_for(lesson, said(False, False))
    page.evaluate("engine.style.cssText = ''")
    wait_for(lesson, said(True, False))
    page.evaluate(
        """() => {
            const over = document.createElement("div");
            over.style.cssText = "position: fixed; inset: 0; background: white";
            document.body.append(over);
        }"""
    )
    wait_for(lesson, said(True, True))
    count = len(beats)
    page.evaluate("engine.remove()")
    page.wait_for_timeout(5500)
    assert len(beats) == count
    stage.service.clock.advance(120)
    path = f"/v1/sessions/{opened['session_id']}/playback"
    playback = stage.act(stage.service.get, path)
    assert playback["required"] is True
    assert playback["counted_s"] <= 15  # the longest gap between two heartbeats
    assert sum(playback["withheld_s"].values()) >= 105


def test_no_lesson_goes_on_where_nothing_gets_through(
    stage: FrameStage, learner: tuple[str, str]
) -> None:
    """A lost heartbeat is looked into, and a gateway's word is none of the engine's."""
    told = re.compile(r"/v1/sessions/[0-9a-f]+/(events|prompt|heartbeats)$")
    # Without a camera, so that no answer is on its way that would notice it too.
    with stage.lesson_page(at=f"{stage.platform}/lesson#no-camera") as lesson:
        lesson.hear("ready")
        lesson.enter(learner[0], stage.open_session(*learner))
        lesson.hear("error", "camera_refused")
        lesson.page.route(told, lambda route: route.abort())  # the stream stays open
        # Now, not in five seconds.
        lesson.frame.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        lesson.hear("error", "offline")

        lesson.page.unroute(told)
        lesson.page.route(told, lambda route: route.fulfill(status=502, body="<html>bad gateway"))
        lesson.enter(learner[0], stage.open_session(*learner))
        lesson.hear("error", "offline")
        lesson.title("网络断开了")
        lesson.page.unroute(told)
        lesson.hear("prompt_open")


def test_two_pages_do_not_fight_over_a_session(
    stage: FrameStage, learner: tuple[str, str], lesson: LessonPage
) -> None:
    """The earlier one asks for another code only when the learner wants to go on there."""
    beats: list[dict[str, Any]] = []
    lesson.page.on("request", lambda request: beats.extend(beat_in(request)))
    lesson.page.evaluate("engine.style.zoom = 0.02")  # too small to be read
    opened = stage.open_session(*learner)
    for _ in range(2):  # sent twice, it is done once
        lesson.enter(learner[0], opened)
    lesson.hear("prompt_open")
    assert not beats[0]["visible"]
    lesson.page.evaluate("engine.style.zoom = 1")
    with stage.lesson_page() as other:
        other.hear("ready")
        path = f"/v1/sessions/{opened['session_id']}/code"
        other.enter(learner[0], {**opened, **stage.act(stage.service.post, path)})
        other.hear("prompt_open")
        lesson.hear("error", "elsewhere")
    told = lesson.page.evaluate("everything.map(({data}) => data.reason)")
    assert "code_wanted" not in told
    lesson.press("在这里继续")
    lesson.hear("error", "code_wanted")


def test_a_grant_stands_in_for_pictures_whatever_the_page_says(
    stage: FrameStage, lesson: LessonPage
) -> None:
    """And the typed code, with its button, lies in the smallest frame there may be."""
    service = stage.service
    (learner_id,), class_id = stage.act(place, service, 1)
    stage.act(grant, service, learner_id)
    sent: list[Any] = []
    lesson.page.on("request", lambda request: sent.extend(registration_in(request)))
    code = stage.device_code(learner_id)["code"]
    lesson.send(command="register", learner_id=learner_id, code=code, by_face=True)
    lesson.press("开始")
    lesson.hear("pass", "register")
    assert [each["frames"] for each in sent] == [[]]

    body = {**opening(learner_id, class_id, path="non_face"), "assurance": "frame"}
    opened = stage.act(service.post, "/v1/sessions", body)
    lesson.page.evaluate("engine.style.cssText = 'width: 320px; height: 400px'")
    lesson.enter(learner_id, opened)
    lesson.hear("prompt_open", "typed_code")
    typed = lesson.frame.get_by_role("textbox", name="在这里输入")
    prompt = stage.act(service.application.engine.poll, opened["session_id"])
    assert prompt is not None
    expect(typed).to_have_accessible_description(str(prompt.code))
    for language in ("English", "中文"):
        lesson.press(language)
        button = lesson.frame.locator("#actions button").bounding_box()
        top = lesson.page.locator("#engine").bounding_box()
        assert button is not None
        assert top is not None
        assert button["y"] + button["height"] <= top["y"] + 400
    typed.fill(str(prompt.code))
    lesson.press("提交")
    lesson.hear("pass")


def test_a_lost_script_leaves_words_behind(lesson: LessonPage) -> None:
    said: list[str] = []
    lesson.page.on("console", lambda message: said.append(message.text))
    lesson.page.route("**/prompts.js", lambda route: route.abort())
    lesson.page.reload()
    expect(lesson.frame.locator("#text")).to_contain_text("请刷新学习页面")
    assert not [each for each in said if "Content Security Policy" in each]


def test_another_learner_has_to_register(stage: FrameStage, lesson: LessonPage) -> None:
    learner_id, class_id = stage.prepare()
    lesson.enter(learner_id, stage.open_session(learner_id, class_id))
    lesson.hear("error", "device_unknown")
    lesson.title("请先登记这台设备")


def test_a_camera_that_is_not_allowed_leaves_a_way_on(
    stage: FrameStage, learner: tuple[str, str]
) -> None:
    with stage.lesson_page(at=f"{stage.platform}/lesson#no-camera") as lesson:
        lesson.hear("ready")
        lesson.enter(learner[0], stage.open_session(*learner))
        lesson.hear("error", "camera_refused")
        lesson.title("摄像头未获允许")
        lesson.press("English")
        lesson.title("The camera is not allowed")
        lesson.press("Try again")
        lesson.hear("error", "camera_refused")
        lesson.press("中文")


@pytest.mark.parametrize(
    "message",
    [
        {
            "type": "zhenxue",
            "command": "session",
            "learner_id": "a",
            "session_id": "b",
            "code": "c",
        },
        {"type": "zhenxue", "command": "dance"},
        {
            "type": "zhenxue",
            "command": "session",
            "learner_id": "a",
            "session_id": "..",
            "code": "zx_code_" + "A" * 22,
        },
    ],
)
def test_what_was_not_agreed_on_is_refused(lesson: LessonPage, message: dict[str, str]) -> None:
    lesson.send(**message)
    lesson.hear("error", "command_unknown")


def told_by(act: Callable[[str], Any], expression: str) -> str:
    """Return what an expression that has to fail says."""
    with pytest.raises(Exception, match=r"\w+Error") as raised:
        act(expression)
    return str(raised.value)


def token_in(request: Request) -> list[str]:
    """Return the token that a request shows, if any."""
    return re.findall(r"zx_learner_\S+", request.headers.get("authorization", ""))


def beat_in(request: Request) -> list[dict[str, Any]]:
    """Return what a heartbeat says, if the request is one."""
    if not request.url.endswith("/heartbeats"):
        return []
    return [json.loads(request.post_data or "null")]


def registration_in(request: Request) -> list[Any]:
    """Return what registers a device, if the request does."""
    registers = request.method == "POST" and request.url.endswith("/v1/frame/devices")
    return [json.loads(request.post_data or "null")] if registers else []


def wait_for(lesson: LessonPage, holds: Callable[[], bool]) -> None:
    """Let the browser go on until something holds."""
    for _ in range(PATIENCE_MS // 100):
        if holds():
            return
        lesson.page.wait_for_timeout(100)
    raise AssertionError("it never held")
