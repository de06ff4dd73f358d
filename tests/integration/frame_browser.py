"""A service, a training platform's page on another origin, and a Chromium with a made-up camera.

The camera shows one colour, and the service knows people by their colours. What the platform's
page hears is kept in ``window.heard``.
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Frame, Page, expect, sync_playwright

from models.image_decoder import FRAME_LIMITS, decode_image
from service.http.server import listen, serve_in_thread
from service.sql.frame_origins import set_frame_origins
from tests.pipelines.lesson_stage import LEARNER_FACE, frame
from tests.service.http.frame_client import open_frame_session
from tests.service.http.service_stage import ServiceStage, open_stage

T = TypeVar("T")
WIDTH, HEIGHT = 640, 480
PATIENCE_MS: Final = 15_000
_PAGE: Final = """<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>学习</title>
<style>body{{margin:0;font-family:sans-serif}}iframe{{width:100%;height:620px;border:0}}</style>
<iframe id="engine" title="学习验证"></iframe>
<script>
window.heard = [];
window.everything = [];
engine.allow = location.hash === "#no-camera" ? "" : "camera";
engine.src = "{address}";
addEventListener("message", ({{origin, data}}) => {{
  heard.push({{origin, data}});
  everything.push({{origin, data}});
}});
</script></html>"""


@dataclass(kw_only=True)
class Camera:
    """A file that Chromium takes for a camera; it is read anew whenever the camera is opened."""

    path: Path

    def show(self, who: str) -> None:
        """Let somebody sit before it."""
        colour = decode_image(frame(who), FRAME_LIMITS).pixels[24, 32]
        red, green, blue = (int(value) / 255 for value in colour)
        # ITU-R BT.601, studio range.
        luma = round(16 + 65.481 * red + 128.553 * green + 24.966 * blue)
        cb = round(128 - 37.797 * red - 74.203 * green + 112 * blue)
        cr = round(128 + 112 * red - 93.786 * green - 18.214 * blue)
        quarter = WIDTH * HEIGHT // 4
        picture = bytes([luma]) * (4 * quarter) + bytes([cb]) * quarter + bytes([cr]) * quarter
        header = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420jpeg\n".encode()
        self.path.write_bytes(header + (b"FRAME\n" + picture) * 3)


@dataclass(kw_only=True)
class FrameStage:
    """Everything at once; acts of the service run in a thread: Playwright's loop is in this one.

    Attributes
    ----------
    engine, platform
        Origins: of the service, and of the page that embeds its frame.
    """

    service: ServiceStage
    engine: str
    platform: str
    camera: Camera
    browser: BrowserContext
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1), repr=False)

    def act(self, do: Callable[..., T], *arguments: Any) -> T:
        """Do something that needs an event loop of its own."""
        return self._thread.submit(do, *arguments).result()

    def prepare(self) -> tuple[str, str]:
        """Return an enrolled learner and a class."""
        return self.act(self.service.prepare)

    def device_code(self, learner_id: str) -> Any:
        """Return what a platform is given for a learner's device."""
        return self.act(self.service.post, f"/v1/learners/{learner_id}/device-code")

    def open_session(self, learner_id: str, class_id: str) -> Any:
        """Open a session in the frame."""
        return self.act(open_frame_session, self.service, learner_id, class_id)

    @contextmanager
    def lesson_page(
        self, *, at: str | None = None, width: int = 800, height: int = 640
    ) -> Iterator["LessonPage"]:
        """Open the platform's page, or the same one elsewhere."""
        page = self.browser.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(at or f"{self.platform}/lesson")
        try:
            yield LessonPage(stage=self, page=page)
        finally:
            page.close()


@dataclass(kw_only=True)
class LessonPage:
    """The platform's page with the frame in it."""

    stage: FrameStage
    page: Page

    @property
    def frame(self) -> Frame:
        """What runs in the frame."""
        return next(f for f in self.page.frames if f.url.startswith(self.stage.engine))

    def send(self, **command: Any) -> None:
        """Send the frame a command, as the platform's page does."""
        self.page.evaluate(
            "([message, to]) => engine.contentWindow.postMessage(message, to)",
            [{"type": "zhenxue", **command}, self.stage.engine],
        )

    def hear(self, event: str, reason: str | None = None) -> Any:
        """Wait until the page hears an event; return it, and forget what was heard up to it."""
        found = self.page.wait_for_function(
            """([event, reason]) => {
                const at = heard.findIndex(({data}) =>
                    data.event === event && (reason === null || data.reason === reason));
                return at < 0 ? null : heard.splice(0, at + 1)[at];
            }""",
            arg=[event, reason],
        )
        return found.json_value()

    def title(self, text: str) -> None:
        """Wait until the learner reads a title."""
        expect(self.frame.locator("h1")).to_have_text(text, timeout=PATIENCE_MS)

    def press(self, name: str) -> None:
        """Press a button in the frame."""
        self.frame.get_by_role("button", name=name).click()

    def register(self, learner_id: str) -> str:
        """Register the browser as the learner's device; return its id."""
        code = self.stage.device_code(learner_id)
        self.send(command="register", learner_id=learner_id, code=code["code"])
        self.press("开始")
        self.hear("pass", "register")
        devices = f"/v1/learners/{learner_id}/devices"
        service = self.stage.service
        newest = self.stage.act(lambda: service.get(devices, by=service.officer)["devices"][0])
        return str(newest["device_id"])

    def enter(self, learner_id: str, opened: Any) -> None:
        """Hand the frame the code of a session."""
        self.send(
            command="session",
            learner_id=learner_id,
            session_id=opened["session_id"],
            code=opened["code"],
        )


@contextmanager
def open_frame_stage(folder: Path) -> Iterator[FrameStage]:
    """Set everything up in an empty folder; skips where there is no Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on PATH")
    camera = Camera(path=folder / "camera.y4m")
    camera.show(LEARNER_FACE)
    with (
        open_stage(folder / "service") as service,
        serve_in_thread(service.app, listen("127.0.0.1", 0)) as address,
        sync_playwright() as playwright,
    ):
        # By another name than the platform's page: another site, not only another origin.
        engine = f"http://localhost:{urlsplit(address).port}"
        with site(_PAGE.format(address=f"{engine}/frame/platform-1")) as platform:
            with service.application.database.writing() as tx:
                set_frame_origins(tx, "platform-1", [platform])
            # No private window: there Chromium keeps nothing for frames of other sites.
            browser = playwright.chromium.launch_persistent_context(
                folder / "profile",
                executable_path=chromium,
                args=[
                    "--no-sandbox",  # containers often run as root
                    # The last one counts, and Playwright's own would switch off that browsers keep
                    # what a frame stores apart for every site that embeds it.
                    "--disable-features=Translate",
                    "--use-fake-ui-for-media-stream",
                    "--use-fake-device-for-media-stream",
                    f"--use-file-for-fake-video-capture={camera.path}",
                ],
            )
            stage = FrameStage(
                service=service, engine=engine, platform=platform, camera=camera, browser=browser
            )
            yield stage
            browser.close()


@contextmanager
def site(page: str) -> Iterator[str]:
    """Serve one page at an origin of its own."""
    body = page.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
