"""Errors as callers see them: a code, what was wanted, and nothing that was sent."""

import errno
import json
import logging
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import FastAPI, Header
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from pipelines.clock import ManualClock
from service.http.body_limit import BodyLimits
from service.http.middleware import install_middleware
from service.http.problem_handlers import install_problem_handlers
from service.http.problems import ProblemError
from service.live.live_state import LiveStateUnavailableError
from service.sql.errors import CommitUncertainError, StorageBusyError, StorageError
from tests.service.http.asgi_client import call
from verifier import errors

SECRET = "11010519491231002X"  # noqa: S105 - stands for whatever must not come back


class Dog(BaseModel):
    kind: Literal["dog"]


class Cat(BaseModel):
    kind: Literal["cat"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    minutes: float = Field(default=1, gt=0, allow_inf_nan=False)
    number: str = Field(default="", max_length=50)
    tags: list[int] = []
    pet: Annotated[Dog | Cat, Field(discriminator="kind")] | None = None
    anything: Any = None

    @field_validator("number")
    @classmethod
    def _checked(cls, number: str) -> str:
        if number == SECRET:
            raise ValueError(f"{number} is wrong")
        if number.startswith("custom"):
            raise PydanticCustomError("our_own", f"{number} is wrong")
        if number == "core":
            raise errors.InputError("number: the check character is wrong")
        return number


def app_raising(error: Exception | None = None) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    clock = ManualClock(datetime(2026, 1, 15, tzinfo=UTC))
    install_middleware(app, clock=clock, limits=BodyLimits(default_bytes=2_000_000))

    @app.get("/raise")
    def raise_it() -> None:
        if error is not None:
            raise error

    @app.post("/body")
    def take(body: Body, key: Annotated[int, Header(alias="X-Number")] = 0) -> dict[str, float]:
        return {"minutes": body.minutes + key}

    return app


def raised(error: Exception) -> httpx.Response:
    return call(app_raising(error), "GET", "/raise")


def posted(body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call(
        app_raising(),
        "POST",
        "/body",
        content=content,
        headers={"content-type": "application/json", **headers},
    )


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InputError("x"), 422, "invalid_input"),
        (errors.InvalidRecordError("x"), 422, "invalid_record"),
        (errors.UnknownSubjectError("x"), 404, "unknown_subject"),
        (errors.UnreadableImageError("truncated", "x"), 422, "unreadable_image"),
        (errors.ProtocolError("deadline_passed", "x"), 410, "deadline_passed"),
        (errors.ProtocolError("prompt_already_resolved", "x"), 409, "prompt_already_resolved"),
        (errors.ProtocolError("never_heard_of", "x"), 409, "not_allowed_now"),
        (errors.ContractMismatchError("x"), 409, "enrolment_outdated"),
        (errors.LedgerError("x"), 503, "ledger_unverified"),
        (errors.WrongKeyError("x"), 503, "ledger_unverified"),
        (errors.ModelUnavailableError("x"), 503, "model_unavailable"),
        (
            errors.IdentityAuthorityUnavailableError("x"),
            503,
            "identity_authority_unavailable",
        ),
        (errors.TooFewTrialsError("x"), 500, "internal"),
        (errors.InvalidEvidenceError("x"), 500, "internal"),
        (OSError(errno.ENOSPC, "x"), 503, "storage_unavailable"),
        (OSError(errno.ENOENT, "x"), 500, "internal"),
        (StorageError("x"), 503, "storage_unavailable"),
        (StorageBusyError("x"), 503, "storage_busy"),
        (CommitUncertainError("x"), 503, "commit_uncertain"),
        (LiveStateUnavailableError("x"), 503, "live_state_unavailable"),
        (ProblemError("forbidden"), 403, "forbidden"),
        (HTTPException(415), 415, "wrong_content_type"),
        (HTTPException(418), 418, "malformed_request"),
        (RuntimeError("x"), 500, "internal"),
    ],
)
def test_every_error_has_its_problem(error: Exception, status: int, code: str) -> None:
    response = raised(error)
    if code == "malformed_request":
        status = 400
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_the_caller_is_told_what_the_caller_can_fix() -> None:
    told = raised(errors.ProtocolError("deadline_passed", "the answer came 3.2 s too late"))
    assert told.json()["detail"] == "the answer came 3.2 s too late"
    picture = raised(errors.UnreadableImageError("too_many_pixels", "20 million pixels"))
    assert picture.json()["reason"] == "too_many_pixels"


@pytest.mark.parametrize(
    "error",
    [
        errors.LedgerError(SECRET),
        errors.InvalidEvidenceError(SECRET),
        errors.ContractMismatchError(SECRET),
        StorageBusyError(SECRET),
        OSError(errno.ENOSPC, SECRET),
        RuntimeError(SECRET),
        HTTPException(403, SECRET),
    ],
)
def test_the_caller_is_not_told_of_the_inside(error: Exception) -> None:
    response = raised(error)
    assert SECRET not in response.text
    assert "detail" not in response.json()


def test_nothing_unforeseen_is_logged_with_its_message(caplog: pytest.LogCaptureFixture) -> None:
    error = RuntimeError(SECRET)
    error.__cause__ = KeyError(SECRET)
    with caplog.at_level(logging.DEBUG):
        response = raised(error)
    (record,) = [each for each in caplog.records if each.name == "zhenxue.failures"]
    assert "builtins.RuntimeError\n" in record.getMessage()
    assert "\nbuiltins.KeyError" in record.getMessage()
    assert "in app_raising.<locals>.raise_it" in record.getMessage()
    assert response.headers["x-request-id"] in record.getMessage()
    assert SECRET not in caplog.text


def test_the_operator_is_told_which_evidence_is_broken(caplog: pytest.LogCaptureFixture) -> None:
    raised(errors.LedgerError("object 77 was changed"))
    assert "LedgerError: object 77 was changed" in caplog.text


def test_a_wrong_field_is_named_with_what_was_wanted() -> None:
    response = posted({"minutes": 0, "tags": [1, "two"]}, **{"x-number": "many"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"] == [
        {
            "field": "header.X-Number",
            "wanted": "Input should be a valid integer, unable to parse string as an integer",
        },
        {"field": "body.minutes", "wanted": "Input should be greater than 0"},
        {
            "field": "body.tags.1",
            "wanted": "Input should be a valid integer, unable to parse string as an integer",
        },
    ]


def test_of_many_wrong_fields_the_first_twenty_are_told() -> None:
    errors = posted({"tags": ["two"] * 30}).json()["errors"]
    assert [error["field"] for error in errors] == [f"body.tags.{n}" for n in range(20)]


@pytest.mark.parametrize(
    "body",
    [
        {"minutes": SECRET},
        {"number": SECRET},
        {"number": f"custom {SECRET}"},
        {"number": [SECRET]},
        {SECRET: 1},
        {"tags": [SECRET]},
        {"tags": {SECRET: SECRET}},
        {"pet": {"kind": SECRET}},
        [SECRET],
        SECRET,
    ],
)
def test_nothing_that_was_sent_comes_back(body: Any) -> None:
    response = posted(body)
    assert response.status_code == 422
    assert response.json()["errors"]
    assert SECRET not in response.text


def test_the_core_may_judge_a_field() -> None:
    response = posted({"number": "core"})
    assert response.status_code == 422
    assert response.json()["detail"] == "number: the check character is wrong"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"minutes": 1',
        b"\xff\xfe\xfd",
        b"[" * 1_000_000,
        b'{"anything": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"minutes": ' + b"9" * 100_000 + b"}",
    ],
    ids=["cut", "cut later", "not UTF-8", "only brackets", "nested deeply", "a huge number"],
)
def test_what_is_no_readable_json(body: bytes) -> None:
    response = posted(body)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")


@pytest.mark.parametrize("number", [b"1e999", b"NaN", b"-Infinity", b"9" * 4000])
def test_a_number_that_is_none(number: bytes) -> None:
    response = posted(b'{"minutes": ' + number + b"}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


def test_nesting_that_json_still_reads_does_no_harm() -> None:
    for depth in (100, 500, 900, 990):
        response = posted(b'{"anything": ' + b"[" * depth + b"]" * depth + b"}")
        assert response.status_code in {200, 400, 422}


def test_half_a_surrogate_pair_is_no_text() -> None:
    """Of text without any bound pydantic would let it through; no database could keep it."""
    assert posted(b'{"number": "\\ud800"}').status_code == 422


def test_unknown_path_and_method() -> None:
    nowhere = call(app_raising(), "GET", f"/{SECRET}")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    assert SECRET not in nowhere.text
    method = call(app_raising(), "DELETE", "/raise")
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "GET"


def test_a_success_is_left_alone() -> None:
    assert posted({"minutes": 45}).json() == {"minutes": 45.0}
