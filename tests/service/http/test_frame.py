"""The frame's page: who may embed it, what it may load, and that it tells nothing."""

import re
from pathlib import Path

import pytest

from service.http.frame import asset_release
from service.sql.frame_origins import set_frame_origins
from tests.service.http.asgi_client import call
from tests.service.http.refusals import refused
from tests.service.http.service_stage import ServiceStage

ORIGINS = ("https://learn.example", "https://school.example:8443")
FOLDER = Path(__file__).resolve().parents[3] / "service" / "frame"


def policy_of(stage: ServiceStage, platform_id: str) -> dict[str, str]:
    page = call(stage.app, "GET", f"/frame/{platform_id}")
    assert page.status_code == 200
    directives = page.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


def test_only_registered_pages_embed_it(own_stage: ServiceStage) -> None:
    stage = own_stage
    assert policy_of(stage, "platform-1")["frame-ancestors"] == "'none'"
    with stage.application.database.writing() as tx:
        set_frame_origins(tx, "platform-1", ORIGINS)
    assert policy_of(stage, "platform-1")["frame-ancestors"] == " ".join(ORIGINS)
    assert policy_of(stage, "platform-2")["frame-ancestors"] == "'none'"
    page = call(stage.app, "GET", "/frame/platform-1").text
    assert f'data-origins="{" ".join(ORIGINS)}"' in page


def test_an_unknown_platform_looks_like_one_without_pages(stage: ServiceStage) -> None:
    known = call(stage.app, "GET", "/frame/platform-2")
    unknown = call(stage.app, "GET", "/frame/nobody")
    named = {"x-request-id"}
    assert known.text == unknown.text
    assert [item for item in known.headers.items() if item[0] not in named] == [
        item for item in unknown.headers.items() if item[0] not in named
    ]


def test_it_loads_nothing_from_anywhere_else(stage: ServiceStage) -> None:
    assert policy_of(stage, "platform-1") == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' blob:",
        "media-src": "blob: 'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }
    headers = call(stage.app, "GET", "/frame/platform-1").headers
    assert headers["permissions-policy"].startswith("camera=(self), microphone=()")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.*")), ids=lambda path: path.name)
def test_no_file_names_another_host(file: Path) -> None:
    assert "http" not in re.sub(
        r"https (?=open)|over https|通过 https", "", file.read_text("utf-8")
    )


def test_its_scripts_are_served_and_kept(stage: ServiceStage) -> None:
    page = call(stage.app, "GET", "/frame/platform-1").text
    addresses = re.findall(r'(?:src|href)="(/frame/assets/[^"]+)"', page)
    assert [address.rpartition("/")[2] for address in addresses] == ["frame.css", "main.js"]
    folder = addresses[0].rpartition("/")[0]
    for name, media_type in (("main.js", "text/javascript"), ("frame.css", "text/css")):
        response = call(stage.app, "GET", f"{folder}/{name}")
        assert response.content == (FOLDER / name).read_bytes()
        assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["main.js/x", "__init__.py", "frame.html", "..%2f__init__.py", "none.js"]
)
def test_nothing_else_is_served(stage: ServiceStage, path: str) -> None:
    response = call(stage.app, "GET", f"/frame/assets/{asset_release()}/{path}")
    assert refused(response) == (404, "not_found")
    other = call(stage.app, "GET", "/frame/assets/0123456789abcdef/main.js")
    assert refused(other) == (404, "not_found")


@pytest.mark.parametrize("platform_id", ["a b", "<script>", "x" * 65, "平台"])
def test_what_is_no_id_has_no_page(stage: ServiceStage, platform_id: str) -> None:
    assert refused(call(stage.app, "GET", f"/frame/{platform_id}")) == (422, "invalid_input")


def test_every_module_that_is_imported_is_there() -> None:
    for file in FOLDER.glob("*.js"):
        for name in re.findall(r'from "\./([a-z]+\.js)"', file.read_text("utf-8")):
            assert (FOLDER / name).is_file(), f"{file.name} imports {name}"
