"""Origins: what a browser calls one, and nothing that would let more pages in."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from service.sql.api_keys import create_platform
from service.sql.frame_origins import (
    MOST_ORIGINS,
    frame_origins,
    parse_origin,
    set_frame_origins,
)
from verifier.errors import InputError, UnknownSubjectError

AT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://learn.example", "https://learn.example"),
        ("https://Learn.Example:443", "https://learn.example"),
        ("https://learn.example:8443", "https://learn.example:8443"),
        ("https://xn--fiqs8s.example", "https://xn--fiqs8s.example"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(text: str, origin: str) -> None:
    assert parse_origin(text) == origin
    assert parse_origin(origin) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "https://*",
        "https://*.example",
        "https:",
        "https://",
        "learn.example",
        "//learn.example",
        "http://learn.example",  # anybody on the way could put a page there
        "http://127.0.0.1.example",
        "ftp://learn.example",
        "https://learn.example/",
        "https://learn.example/a",
        "https://learn.example?",
        "https://learn.example#",
        "https://name@learn.example",
        "https://learn.example:",
        "https://learn.example:0x1",
        "https://learn.example:99999",
        "https://learn.example; script-src *",
        "https://a.example https://b.example",
        " https://learn.example",
        "https://learn.example\n",
        "https://中国.example",
        "https://'none'",
    ],
)
def test_what_is_more_or_less_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="was wanted"):
        parse_origin(text)


def test_a_platforms_origins_are_replaced_as_a_whole(tx: Connection) -> None:
    create_platform(tx, platform_id="p", name="p", at=AT)
    assert frame_origins(tx, "p") == frame_origins(tx, "unknown") == ()
    kept = set_frame_origins(tx, "p", ["https://b.example", "https://a.example:443"])
    assert kept == frame_origins(tx, "p") == ("https://b.example", "https://a.example")
    set_frame_origins(tx, "p", ["https://a.example", "https://A.example"])
    assert frame_origins(tx, "p") == ("https://a.example",)
    set_frame_origins(tx, "p", [])
    assert frame_origins(tx, "p") == ()


def test_what_cannot_be_kept_changes_nothing(tx: Connection) -> None:
    create_platform(tx, platform_id="p", name="p", at=AT)
    set_frame_origins(tx, "p", ["https://a.example"])
    many = [f"https://{number}.example" for number in range(MOST_ORIGINS + 1)]
    for wrong in (many, ["https://b.example", "*"]):
        with pytest.raises(InputError):
            set_frame_origins(tx, "p", wrong)
    with pytest.raises(UnknownSubjectError):
        set_frame_origins(tx, "unknown", ["https://a.example"])
    assert frame_origins(tx, "p") == ("https://a.example",)
