"""The table of problems, and how one is rendered."""

import json
import re
from http import HTTPStatus
from pathlib import Path

import pytest

from service.http.problems import PROBLEMS, Problem, ProblemError, problem_response

ROOT = Path(__file__).resolve().parents[3]
# These tell of a mistake in the engine; nobody outside can cause one.
FAULTS = {"naive_time", "nonce_too_short", "wrong_origin"}


def test_a_late_answer() -> None:
    response = problem_response(
        Problem.of("deadline_passed", detail="the answer came 3.2 s too late"), request_id="r1"
    )
    assert response.status_code == 410
    assert response.media_type == "application/problem+json"
    assert json.loads(bytes(response.body)) == {
        "type": "urn:zhenxue:problem:deadline_passed",
        "title": "The answer came too late",
        "title_zh": "应答已超时",
        "status": 410,
        "code": "deadline_passed",
        "detail": "the answer came 3.2 s too late",
        "request_id": "r1",
    }


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_has_two_titles_and_a_status_of_an_error(code: str) -> None:
    problem = Problem.of(code)
    assert HTTPStatus(problem.status) >= 400
    assert re.fullmatch("[a-z_]+", code)
    assert problem.title.isascii()
    assert re.search("[\u4e00-\u9fff]", problem.title_zh)


def test_every_code_of_a_protocol_error_is_in_the_table() -> None:
    """One that is missing would be answered with `not_allowed_now`, which helps nobody."""
    sources = [*ROOT.glob("verifier/**/*.py"), *ROOT.glob("pipelines/**/*.py")]
    raised = {
        code
        for source in sources
        for code in re.findall(r'ProtocolError\(\s*"(\w+)"', source.read_text("utf-8"))
    }
    assert "deadline_passed" in raised
    assert raised - FAULTS - set(PROBLEMS) == set()


def test_who_may_ask_again_is_told_when() -> None:
    response = problem_response(Problem.of("rate_limited", retry_after_s=17), request_id=None)
    assert response.headers["retry-after"] == "17"
    assert json.loads(bytes(response.body))["retry_after_s"] == 17
    busy = problem_response(Problem.of("storage_busy"), request_id=None)
    assert busy.headers["retry-after"] == "1"
    assert "retry-after" not in problem_response(Problem.of("internal"), request_id=None).headers


def test_who_showed_no_credentials_is_told_which() -> None:
    response = problem_response(Problem.of("unauthenticated"), request_id=None)
    assert response.headers["www-authenticate"].startswith("Bearer ")


def test_no_code_outside_the_table() -> None:
    with pytest.raises(KeyError):
        ProblemError("no_such_code")
