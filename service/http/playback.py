"""Heartbeats of a player or of the engine's own frame, and what they took away."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from service.application import Application
from service.http.callers import AnyCaller, ApplicationOf, Caller, may_see_session
from service.http.problem_responses import problems
from service.http.problems import ProblemError
from service.http.sessions import require_own
from service.http.values import Message, OpaqueId
from service.sql.playback import WatchedSession
from verifier.assurance import Assurance
from verifier.errors import UnknownSubjectError
from verifier.playback import (
    HIGHEST_RATE,
    LONGEST_VIDEO_S,
    Heartbeat,
    StretchState,
    counted_s,
    withheld_by_state,
)

router = APIRouter(tags=["playback"])


class HeartbeatIn(Message):
    """What a player, or the frame, sees at this moment; null or absent: not measured.

    There is no time in it: the engine's clock says when it came.
    """

    visible: Annotated[
        bool | None, Field(strict=True, description="Whether the page is on the screen.")
    ] = None
    covered: Annotated[
        bool | None, Field(strict=True, description="Whether something lies over the frame.")
    ] = None
    position_s: Annotated[
        float | None,
        Field(
            ge=0,
            le=LONGEST_VIDEO_S,
            strict=True,
            allow_inf_nan=False,
            description="`currentTime` of the video.",
            examples=[754.2],
        ),
    ] = None
    rate: Annotated[
        float | None,
        Field(
            ge=0,
            le=HIGHEST_RATE,
            strict=True,
            allow_inf_nan=False,
            description="`playbackRate` of the video.",
            examples=[1.0],
        ),
    ] = None
    playing: Annotated[
        bool | None, Field(strict=True, description="Neither paused, ended nor waiting for data.")
    ] = None
    video_id: OpaqueId | None = Field(default=None, description="Which video; the platform's id.")


class PlaybackOut(Message):
    """What playback came to so far: it can only take away from what prompts earn."""

    required: bool = Field(description="Whether time without heartbeats earns nothing.")
    counted_s: int = Field(description="Seconds in which the lesson was watched.")
    withheld_s: Mapping[StretchState, int] = Field(
        description="Seconds that earn nothing, by reason."
    )


@router.post(
    "/v1/sessions/{session_id}/heartbeats",
    status_code=204,
    responses=problems("unknown_subject", "session_over", "rate_limited"),
)
def beat(
    session_id: OpaqueId, body: HeartbeatIn, found: AnyCaller, application: ApplicationOf
) -> None:
    """Say what the player is doing; every five seconds, at most once a second."""
    session = _own_session(application, found, session_id)
    since_start = application.clock.now() - session.started_at
    heartbeat = Heartbeat(
        at_s=max(0.0, since_start.total_seconds()),
        visible=body.visible,
        covered=body.covered,
        position_s=body.position_s,
        rate=body.rate,
        playing=body.playing,
        video_id=body.video_id,
    )
    application.playback.add(session_id, heartbeat)


@router.get("/v1/sessions/{session_id}/playback", responses=problems("unknown_subject"))
def get_playback(session_id: OpaqueId, found: AnyCaller, application: ApplicationOf) -> PlaybackOut:
    """Return how much of a session was watched, and why the rest earns nothing."""
    lesson = require_own(application, found, session_id)
    state = lesson.state
    until_s = max(0.0, state.offset_s(state.lesson_end or application.clock.now()))
    required = application.policy.playback.is_required(lesson.assurance)
    stretches = application.playback.stretches(session_id)
    lost = withheld_by_state(stretches, until_s=until_s, required=required)
    return PlaybackOut(
        required=required,
        counted_s=round(counted_s(stretches, until_s=until_s)),
        withheld_s={state: round(seconds) for state, seconds in lost.items()},
    )


def _own_session(application: Application, found: Caller, session_id: str) -> WatchedSession:
    """Return a session whose heartbeats the caller may send.

    Raises
    ------
    UnknownSubjectError
        If it is another's, in the same words as if it were nobody's.
    ProblemError
        ``forbidden`` for officers, and for platforms where only the engine's frame can tell.
    """
    session = application.playback.session(session_id)
    if not may_see_session(found, session_id, session.platform_id):
        raise UnknownSubjectError("there is no session with that id")
    if found.is_officer:
        raise ProblemError("forbidden", detail="officers watch nothing for learners")
    if session.assurance is Assurance.FRAME and found.access is None:
        raise ProblemError("forbidden", detail="only the engine's frame tells what it saw")
    return session
