"""The learner frame's page and what it loads: all of it from the engine's own origin.

No secret ever stands in an address: the page is the same for all learners of a platform, and
one-time codes come by postMessage, from a page whose origin the platform registered.
"""

import hashlib
import html
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Response

from service.http.callers import ApplicationOf
from service.http.problems import ProblemError
from service.http.values import OpaqueId
from service.sql.frame_origins import frame_origins

# Not in the OpenAPI document: browsers read these, not programs.
router = APIRouter(include_in_schema=False)

_MEDIA_TYPES: Final = MappingProxyType(
    {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
)
_PERMISSIONS: Final = "camera=(self), microphone=(), geolocation=(), display-capture=()"


@router.get("/frame/{platform_id}")
def frame_page(platform_id: OpaqueId, application: ApplicationOf) -> Response:
    """Return the frame for a platform's pages; for an unknown platform one that nobody embeds."""
    with application.database.reading() as tx:
        origins = frame_origins(tx, platform_id)
    page = _page(origins, server_time_s=int(application.clock.now().timestamp()))
    return Response(page, media_type="text/html; charset=utf-8", headers=_page_headers(origins))


@router.get("/frame/assets/{release}/{name}")
def frame_asset(release: str, name: str) -> Response:
    """Return a script or style of the frame as it is in this release."""
    files = _assets()
    if release != asset_release() or name not in files:
        raise ProblemError("not_found")
    return Response(
        files[name],
        media_type=_MEDIA_TYPES[name.rpartition(".")[2]],
        headers={
            # The address has the digest of all of them in it, so they never change.
            "Cache-Control": "public, max-age=31536000, immutable",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )


@cache
def asset_release() -> str:
    """Return the digest of all scripts and styles: part of their address."""
    digest = hashlib.sha256()
    for name, data in sorted(_assets().items()):
        digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(data).digest())
    return digest.hexdigest()[:16]


@cache
def _assets() -> Mapping[str, bytes]:
    files = resources.files("service.frame").iterdir()
    served = [file for file in files if file.name.rpartition(".")[2] in _MEDIA_TYPES]
    return {file.name: file.read_bytes() for file in served}


@cache
def _template() -> str:
    return resources.files("service.frame").joinpath("frame.html").read_text("utf-8")


def _page(origins: Sequence[str], *, server_time_s: int) -> str:
    filled = {
        "{{assets}}": f"/frame/assets/{asset_release()}",
        "{{origins}}": " ".join(origins),
        "{{server-time}}": str(server_time_s),
    }
    page = _template()
    for name, value in filled.items():
        page = page.replace(name, html.escape(value, quote=True))
    return page


def _page_headers(origins: Sequence[str]) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' blob:",
        "media-src": "blob: 'self'",
        "frame-ancestors": " ".join(origins) or "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        # Nothing that was sent can become markup.
        "require-trusted-types-for": "'script'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Permissions-Policy": _PERMISSIONS,
        "Referrer-Policy": "no-referrer",
        # Whoever opens it in a window of its own has no handle on it.
        "Cross-Origin-Opener-Policy": "same-origin",
        # Embedded it is on purpose, also by pages that ask everything they embed for this.
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
