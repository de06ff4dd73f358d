"""The OpenAPI document: whoever builds a client needs nothing else."""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from service.http import (
    accommodations,
    calibrations,
    cases,
    classes,
    devices,
    eligibility,
    events,
    health,
    learners,
    lists,
    playback,
    prompts,
    receipts,
    sessions,
    uploads,
)
from service.http.app import openapi_document
from service.http.problems import PROBLEMS
from tests.service.http.documented import PROBLEM_TYPE

ROUTERS = (
    learners,
    accommodations,
    classes,
    sessions,
    prompts,
    events,
    uploads,
    playback,
    devices,
    receipts,
    eligibility,
    lists,
    cases,
    calibrations,
    health,
)
ROUTES = [
    route for module in ROUTERS for route in module.router.routes if isinstance(route, APIRoute)
]
WITH_BODY = [route for route in ROUTES if route.body_field is not None]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    summaries = {name: operation.get("summary", "") for name, operation in operations(document)}
    first_lines = {
        f"{method} {route.path}": (route.endpoint.__doc__ or "").splitlines()[0]
        for route in ROUTES
        for method in route.methods or ()
    }
    assert summaries == first_lines


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names) > 20


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: route.name)
def test_every_body_has_an_example_that_is_valid(route: APIRoute) -> None:
    assert route.body_field is not None
    body: Any = route.body_field.field_info.annotation
    reader = TypeAdapter[Any](body)
    schema = reader.json_schema()
    reader.validate_python(example(schema, schema.get("$defs", {})))


def example(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return the schema's example, made of its fields' where the whole has none."""
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], definitions)
    if "properties" not in schema:
        pytest.fail(f"no example: {schema.get('title')}")
    required = set(schema.get("required", ()))
    return {
        name: example(field, definitions)
        for name, field in schema["properties"].items()
        if name in required or "examples" in field
    }


def test_refusals_have_one_form(document: dict[str, Any]) -> None:
    """FastAPI's own form of a refused value is never sent, so it must not be promised."""
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and not name.endswith("/v1/health"):
                assert list(response["content"]) == [PROBLEM_TYPE], f"{name} {status}"
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_problem_shown_is_one_of_the_table(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            for code, shown in (
                response.get("content", {}).get(PROBLEM_TYPE, {}).get("examples", {}).items()
            ):
                assert shown["value"]["code"] == code
                assert str(PROBLEMS[code].status) == status, f"{name} {code}"


def test_every_problem_is_documented(document: dict[str, Any]) -> None:
    """Also those that no route names, since any may give them, or hardly ever."""
    said = document["components"]["schemas"]["Problem"]["properties"]["code"]["description"]
    assert set(re.findall(r"\w+", said)) >= set(PROBLEMS)


OF_TIME = {"clock", "now", "time", "times", "timestamp", "datetime", "date", "advance", "at"}
"""Words of a name by which a caller could say what time it is; lengths and days are others."""


def words(name: str) -> set[str]:
    """Return the words of a name, however they are joined: ``clockOffset``, ``clock_offset``."""
    return {word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def property_names(schema: Any, schemas: dict[str, Any], seen: set[str]) -> Iterator[str]:
    """Return the names of all properties that can be reached from a schema, at any depth."""
    if isinstance(schema, list):
        for each in schema:
            yield from property_names(each, schemas, seen)
    if not isinstance(schema, dict):
        return
    yield from schema.get("properties", {})
    referred = schema.get("$ref", "").rpartition("/")[2]
    if referred and referred not in seen:
        seen.add(referred)
        yield from property_names(schemas[referred], schemas, seen)
    for each in schema.values():
        yield from property_names(each, schemas, seen)


def names_that_callers_send(document: dict[str, Any]) -> Iterator[str]:
    """Return paths, operations, parameters, and every field of every body."""
    yield from document["paths"]
    seen = set[str]()
    for _, operation in operations(document):
        yield operation["operationId"]
        yield from (parameter["name"] for parameter in operation.get("parameters", ()))
        body = operation.get("requestBody")
        yield from property_names(body, document["components"]["schemas"], seen)


def test_nothing_sets_the_time(document: dict[str, Any]) -> None:
    """A platform that could move the clock could make hours."""
    sent = set(names_that_callers_send(document))
    assert sent >= {"planned_minutes", "id_number", "frames"}  # bodies, and what lies in them
    assert [name for name in sent if words(name) & OF_TIME] == []


@pytest.mark.parametrize("name", ["clock_offset_s", "now", "captured_at", "clientTimestamp"])
@pytest.mark.parametrize("where", ["SessionOpening", "IdentityIn", "AnswerIn"])
def test_a_field_that_sets_the_time_would_be_found(
    document: dict[str, Any], where: str, name: str
) -> None:
    changed = deepcopy(document)
    changed["components"]["schemas"][where]["properties"][name] = {"type": "number"}
    assert name in set(names_that_callers_send(changed))
    assert words(name) & OF_TIME


def test_every_success_in_json_has_a_schema(document: dict[str, Any]) -> None:
    """Its fields are named; an example is wanted of what callers send, not of what they get."""
    schemas = document["components"]["schemas"]
    successes = [
        (name, shown)
        for name, operation in operations(document)
        for status, response in operation["responses"].items()
        if int(status) < 400
        for media_type, shown in response.get("content", {}).items()
        if media_type == "application/json"
    ]
    assert len(successes) > 20
    unnamed = [
        name
        for name, shown in successes
        if not list(property_names(shown.get("schema"), schemas, set()))
    ]
    assert unnamed == []


def test_no_score_is_promised(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    properties = {name for schema in schemas.values() for name in schema.get("properties", {})}
    assert not [name for name in properties if re.search("score|log10|likelihood", name)]


def test_whoever_needs_a_key_is_told(document: dict[str, Any]) -> None:
    without = {name for name, operation in operations(document) if "security" not in operation}
    assert without == {
        "POST /v1/sessions/{session_id}/token",
        "GET /v1/log/checkpoint",
        "GET /v1/log/key",
        "GET /v1/health",
    }
