"""What the OpenAPI document says a request may be answered with."""

import re
from functools import cache
from typing import Any

import httpx

from service.http.app import openapi_document

PROBLEM_TYPE = "application/problem+json"
ANYWHERE = frozenset(
    {
        "malformed_body",
        "malformed_request",
        "request_timeout",
        "body_too_large",
        "wrong_content_type",
        "not_acceptable",
        "method_not_allowed",
        "not_found",
        "internal",
    }
)
"""Given by what lies around the routes, so told once and not with each of them."""


def undocumented(method: str, path: str, response: httpx.Response) -> str | None:
    """Return what the document does not say about an answer; None where it says all."""
    code = None
    if response.headers.get("content-type") == PROBLEM_TYPE:
        code = response.json()["code"]
    if code in ANYWHERE:
        return None
    for pattern, template, answers in _operations(method):
        if pattern.fullmatch(path.partition("?")[0]):
            if (str(response.status_code), code) in answers:
                return None
            return f"{method} {template}: {response.status_code} {code or ''}"
    return f"{method} {path}"


@cache
def _document() -> dict[str, Any]:
    return openapi_document()


@cache
def _operations(method: str) -> list[tuple[re.Pattern[str], str, set[tuple[str, str | None]]]]:
    found = []
    for template, methods in _document()["paths"].items():
        if operation := methods.get(method.lower()):
            pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", template))
            answers: set[tuple[str, str | None]] = set()
            for status, response in operation["responses"].items():
                problems = response.get("content", {}).get(PROBLEM_TYPE, {})
                answers |= {(status, code) for code in problems.get("examples", {})}
                if not problems:
                    answers.add((status, None))
            found.append((pattern, template, answers))
    return found
