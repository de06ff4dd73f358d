"""What the OpenAPI document says about problems that a route may answer with."""

from typing import Any, Final

from service.http.problems import PROBLEMS, Problem

_ALWAYS: Final = (
    "unauthenticated",
    "proof_missing",
    "proof_wrong",
    "forbidden",
    "invalid_input",
    "rate_limited",
    "storage_busy",
    "storage_unavailable",
)
MEDIA_TYPE: Final = "application/problem+json"


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the responses of these problem codes and of those that any route may give."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, *_ALWAYS):
        problem = Problem.of(code)
        response = responses.setdefault(
            problem.status,
            {
                "description": PROBLEMS[code].title,
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        example = problem.model_dump(exclude_none=True)
        response["content"][MEDIA_TYPE]["examples"][code] = {"value": example}
    return responses
