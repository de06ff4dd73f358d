"""The HTTP application: every route, and what lies around all of them."""

from functools import partial
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from pipelines.clock import SystemClock
from service.application import Application
from service.http import (
    accommodations,
    calibrations,
    cases,
    classes,
    devices,
    eligibility,
    events,
    frame,
    health,
    learners,
    lists,
    playback,
    prompts,
    receipts,
    sessions,
    uploads,
)
from service.http.body_limit import BodyLimits, FindCaller
from service.http.callers import caller_by_header
from service.http.middleware import find_nobody, install_middleware
from service.http.problem_handlers import install_problem_handlers
from service.http.problems import Problem
from service.http.uploads import PART_TYPE
from service.uploads import LONGEST_ANSWER_BYTES
from verifier.prompt import RECEIVING_S
from verifier.protocols import Clock

LIMITS: Final = BodyLimits(
    by_route={
        # 3 MiB of frames, and a reference of 16 MiB with live frames, in base64.
        "/v1/prompts/{prompt_id}/answer": LONGEST_ANSWER_BYTES,
        "/v1/uploads/{upload_id}": LONGEST_ANSWER_BYTES,
        "/v1/learners/{learner_id}/enrolment": 26 << 20,
        "/v1/frame/devices": 1 << 20,
        "/v1/lists/check": 192 << 10,  # a thousand of the longest ids
    },
    # An answer that began in time is waited for this long before its prompt counts as missed.
    arrives_within_s=RECEIVING_S,
    slower_s={  # no deadline hangs on them
        "/v1/learners/{learner_id}/enrolment": 120.0,
        "/v1/frame/devices": 60.0,
    },
    # Of an upload that breaks off what arrived is kept.
    read_by_route={"/v1/uploads/{upload_id}": PART_TYPE},
)

_DESCRIPTION: Final = """\
在线培训学时核验：人脸登记、随机验证、影像留存、补贴资格。

Proof of presence for subsidised online training. Platforms and learners are told pass, retry or
refer and never a score. Every refusal is `application/problem+json` with a stable `code`.
"""
_ROUTERS: Final = (
    learners,
    classes,
    sessions,
    prompts,
    events,
    uploads,
    playback,
    receipts,
    eligibility,
    lists,
    cases,
    accommodations,
    calibrations,
    devices,
    frame,
    health,
)


def create_app(application: Application) -> FastAPI:
    """Return the app that serves an application."""
    app = _app(application.clock, partial(caller_by_header, application))
    app.state.application = application
    app.state.before_stop = application.dispatcher.stop
    return app


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document; needs no application."""
    return _app(SystemClock()).openapi()


def _app(clock: Clock, find_caller: FindCaller = find_nobody) -> FastAPI:
    app = FastAPI(
        title="zhenxue",
        summary="真学",
        description=_DESCRIPTION,
        version=version("zhenxue"),
        # Their pages load scripts from other people's servers.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    for module in _ROUTERS:
        _summarise(module.router)
        app.include_router(module.router)
    install_problem_handlers(app)
    install_middleware(app, clock=clock, limits=LIMITS, find_caller=find_caller)
    _describe_problems(app)
    return app


def _summarise(router: APIRouter) -> None:
    """Say of each operation what its function's first line says, not its name in other words."""
    for route in router.routes:
        if isinstance(route, APIRoute) and route.endpoint.__doc__:
            route.summary = route.endpoint.__doc__.splitlines()[0]


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe_problems(app: FastAPI) -> None:
    """Put the schema that all problem responses refer to into the document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        definitions = schema.pop("$defs", {})
        schemas = document["components"]["schemas"]
        schemas.update({**definitions, "Problem": schema})
        return document

    # This is how FastAPI wants a document to be extended.
    app.openapi = openapi  # type: ignore[method-assign]
