"""The stream of one session's events: prompts come to the learner's side as they go out."""

from typing import Any, Final

from fastapi import APIRouter

from service.http.callers import AnyCaller, ApplicationOf, require_allowance
from service.http.event_stream import MEDIA_TYPE, EventStream
from service.http.problem_responses import problems
from service.http.prompts import require_asking
from service.http.sessions import require_own
from service.http.values import OpaqueId

STREAMS_PER_MINUTE: Final = 30
"""Of one session: two programs that keep pushing each other out."""

router = APIRouter(tags=["prompts"])
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events until the session ends; each tells the present state. "
        "`session`: phase, clock and pause. `prompt`: as `GET …/prompt`. `prompt_resolved`: it "
        "waits no more. `end`: the session ended. `stream_end`: why the stream ends before it: "
        "`replaced` by a newer one, `renew` or `stopping`, after which it is opened again.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/v1/sessions/{session_id}/events",
    status_code=200,  # what FastAPI cannot see of a response class with arguments of its own
    response_class=EventStream,
    responses={**_STREAM, **problems("unknown_subject", "too_many_streams")},
)
def follow_session(
    session_id: OpaqueId, found: AnyCaller, application: ApplicationOf
) -> EventStream:
    """Follow a session: its prompts, the moment they go out, as server-sent events."""
    lesson = require_own(application, found, session_id)
    require_asking(found, lesson.assurance)
    require_allowance(application, f"streams:{session_id}", STREAMS_PER_MINUTE)
    return EventStream(application.dispatcher, session_id, whose=found.budget)
