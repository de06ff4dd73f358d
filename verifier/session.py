"""The acts that may change a session.

Every act is a pure function from a :class:`~verifier.session_state.SessionState` to the next; it
raises :class:`~verifier.errors.ProtocolError` with a stable ``code`` where the state does not
allow it. Times are the server's own, timezone-aware, and never go backwards.

    opening ── opening prompt passes ──▶ running ── announce_end ──▶ ending ── close ──▶ closed
       └───────────────┴────────── abandon ───────────┴──────────▶ abandoned

One prompt is open at a time, and the lesson clock stands still meanwhile. A scheduled prompt that
falls due while another is open is issued when that one is resolved; its planned time stays in the
record, so the delay shows.

After too many failed answers nothing is asked for a while: `pause_after_failures`. While the engine
itself is away it can ask nothing either: `interrupt` makes a pause of that afterwards.
"""

from dataclasses import replace
from datetime import datetime

from verifier.assurance import LearnerPath
from verifier.check import Check, SessionEvidence
from verifier.credit import Pause
from verifier.errors import ProtocolError, UnknownSubjectError
from verifier.policy import Policy
from verifier.prompt import (
    AddedBecause,
    Attempt,
    Judgement,
    Prompt,
    PromptKind,
    PromptOrigin,
    PromptStatus,
    answer_prompt,
    miss_prompt,
    require_code,
)
from verifier.prompt import begin_upload as begin_prompt_upload
from verifier.schedule import PlannedPrompt
from verifier.session_state import SessionPhase, SessionState

# Which prompts each phase may issue; scheduled ones while ending would only delay the closing one.
_ORIGINS = {
    SessionPhase.OPENING: frozenset({PromptOrigin.OPENING}),
    SessionPhase.RUNNING: frozenset({PromptOrigin.SCHEDULED, PromptOrigin.ADDED}),
    SessionPhase.ENDING: frozenset({PromptOrigin.CLOSING}),
    SessionPhase.CLOSED: frozenset[PromptOrigin](),
    SessionPhase.ABANDONED: frozenset[PromptOrigin](),
}


def open_session(
    *,
    session_id: str,
    learner_id: str,
    class_id: str,
    platform_id: str,
    policy: Policy,
    at: datetime,
) -> SessionState:
    """Return a session that earns nothing until its opening prompt is passed."""
    _require_zone(at)
    return SessionState(
        session_id=session_id,
        learner_id=learner_id,
        class_id=class_id,
        platform_id=platform_id,
        rules=policy.prompts,
        started_at=at,
        last_event_at=at,
    )


def issue_prompt(
    state: SessionState,
    *,
    prompt_id: str,
    nonce: bytes,
    kind: PromptKind,
    origin: PromptOrigin,
    at: datetime,
    planned: PlannedPrompt | None = None,
    added_because: AddedBecause | None = None,
    code: str | None = None,
    asked_at: datetime | None = None,
    capture_s: float | None = None,
    extra_time: bool = False,
) -> SessionState:
    """Issue one prompt.

    Parameters
    ----------
    nonce
        At least 16 fresh random bytes.
    planned
        Its place in the schedule; given exactly when ``origin`` is ``scheduled``.
    added_because
        Given exactly when ``origin`` is ``added``.
    code
        What has to be typed; given exactly when ``kind`` is ``typed_code``.
    asked_at
        From when its deadline counts, if the engine was late to tell of it; None: ``at``.
    capture_s
        Time for an answer, where it is not the policy's for all prompts.
    extra_time
        Whether the learner was granted the accessibility extension.

    Raises
    ------
    ProtocolError
        ``session_over``, ``session_paused``, ``prompt_open``, ``wrong_origin``, ``wrong_kind``,
        ``prompt_reused``, ``nonce_reused``, ``not_due``, ``closing_prompt_late`` or
        ``time_went_back``.
    """
    state = _advance(state, at)
    _require_issuable(state, origin=origin, at=at, planned=planned)
    if (origin is PromptOrigin.ADDED) != (added_because is not None):
        raise ProtocolError("wrong_origin", "added prompts, and only they, have a reason")
    require_code(kind, code)
    _require_fresh(state, prompt_id=prompt_id, nonce=nonce)
    rules = state.rules
    wait_s = rules.capture_deadline_s if capture_s is None else capture_s
    prompt = Prompt(
        prompt_id=prompt_id,
        nonce=nonce,
        kind=kind,
        origin=origin,
        planned_index=None if planned is None else planned.index,
        planned_offset_s=None if planned is None else planned.offset_s,
        issued_at=at,
        asked_at=max(at, asked_at or at),
        capture_s=wait_s + (rules.accessibility_extra_s if extra_time else 0),
        upload_s=rules.upload_grace_s,
        added_because=added_because,
        code=code,
    )
    return replace(state, prompts=(*state.prompts, prompt))


def begin_upload(
    state: SessionState, *, prompt_id: str, nonce: bytes, at: datetime
) -> SessionState:
    """Note that the first byte of an answer arrived, so that the upload grace applies.

    Raises
    ------
    UnknownSubjectError, ProtocolError
        As :func:`answer`.
    """
    prompt = prompt_of(state, prompt_id)
    state = _advance_for_answer(state, prompt, at)
    return _with(state, begin_prompt_upload(prompt, nonce=nonce, at=at))


def answer(
    state: SessionState,
    *,
    prompt_id: str,
    nonce: bytes,
    at: datetime,
    judgement: Judgement,
    check: Check,
    retry_nonce: bytes | None = None,
    retry_code: str | None = None,
) -> SessionState:
    """Record a judged answer.

    ``pass`` and ``refer`` end the prompt. ``retry`` asks again with ``retry_nonce``, a fresh code
    if one has to be typed, and a new deadline, until the policy's retries are used up: then the
    prompt is missed. Of a call nothing is asked again.

    Parameters
    ----------
    at
        When the answer arrived, on the server's clock; ``check.t`` is set from it. Other things
        may have happened since, while it was judged.
    check
        What the frames showed.

    Raises
    ------
    UnknownSubjectError
        If this session has no such prompt; another session's prompt is unknown here.
    ProtocolError
        ``prompt_already_resolved``, ``wrong_nonce``, ``deadline_passed``, ``nonce_reused``,
        ``session_over``, ``session_paused`` or ``time_went_back``.
    """
    prompt = prompt_of(state, prompt_id)
    state = _advance_for_answer(state, prompt, at)
    if judgement is Judgement.RETRY and any(retry_nonce in p.nonces for p in state.prompts):
        raise ProtocolError("nonce_reused", "a retry needs a fresh nonce")
    # The server's clock places a finding; whatever time came with the frames does not.
    placed = replace(check, t=state.offset_s(at), prompted=True)
    attempt = Attempt(at=at, judgement=judgement, check=placed)
    answered = answer_prompt(
        prompt,
        attempt,
        nonce=nonce,
        retry_nonce=retry_nonce,
        retry_code=retry_code,
        rules=state.rules,
    )
    return _begin_if_opened(_with(state, answered))


def expire(state: SessionState, *, at: datetime) -> SessionState:
    """Count the open prompt as missed, if its time is up by ``at``; otherwise change nothing."""
    prompt = state.open_prompt
    state = _advance(state, at)
    if prompt is None or at < prompt.closes_at:
        return state
    return _with(state, miss_prompt(prompt, at=at))


def pause(state: SessionState, *, at: datetime) -> SessionState:
    """Stop the lesson clock; nothing is earned and nothing is asked until :func:`resume`.

    Raises
    ------
    ProtocolError
        ``not_running``, ``session_paused``, ``prompt_open`` (nobody pauses out of a prompt).
    """
    state = _advance(state, at)
    _require_running(state)
    return replace(state, paused_at=at)


def pause_after_failures(state: SessionState, *, at: datetime, until: datetime) -> SessionState:
    """Stop the lesson clock until a moment that is known; an open prompt is missed.

    Nothing is asked and no answer is taken meanwhile. The end may be announced in it.

    Raises
    ------
    ProtocolError
        ``session_over`` or ``session_paused``.
    """
    state = _advance(state, at)
    _require_zone(until)
    if state.paused_at is not None:
        raise ProtocolError("session_paused", "the session is paused")
    if state.open_prompt is not None:
        state = _with(state, miss_prompt(state.open_prompt, at=at))
    return replace(state, paused_at=at, paused_until=until)


def resume(state: SessionState, *, at: datetime) -> SessionState:
    """Let the lesson clock run again.

    Raises
    ------
    ProtocolError
        ``not_paused``.
    """
    state = _advance(state, at)
    if state.paused_at is None:
        raise ProtocolError("not_paused", "the session is not paused")
    return _end_pause(state, at)


def interrupt(state: SessionState, *, since: datetime, until: datetime) -> SessionState:
    """Note that the engine was away from ``since``, or the last event, to ``until``.

    The lesson clock stood still: nothing is earned and nothing is asked. An open prompt whose
    time was not up goes on with what was left of it; one whose time was up stays what it was.

    Raises
    ------
    ProtocolError
        ``session_over`` or ``time_went_back``.
    """
    _require_zone(since)
    since = max(since, state.last_event_at)  # whoever recorded an event was there
    state = _advance(state, until)
    if until <= since:
        return state
    prompt = state.open_prompt
    if prompt is not None and since < prompt.closes_at:
        state = _with(state, replace(prompt, asked_at=prompt.asked_at + (until - since)))
    if state.paused_at is not None:
        return state  # the pause that goes on covers it
    return _with_pause(state, since, until)


def announce_end(state: SessionState, *, at: datetime) -> SessionState:
    """Note that the lesson is over; the closing prompt must follow soon.

    In a pause too: the lesson then ended for good when the pause began, and the closing prompt is
    due when the pause is over.

    Raises
    ------
    ProtocolError
        ``not_running`` or ``session_over``.
    """
    state = _advance(state, at)
    if state.phase is not SessionPhase.RUNNING:
        raise ProtocolError("not_running", f"the session is {state.phase}, not running")
    return replace(state, phase=SessionPhase.ENDING, end_announced_at=at)


def close(state: SessionState, *, at: datetime) -> SessionState:
    """End a session whose closing prompt was resolved.

    Raises
    ------
    ProtocolError
        ``not_ending``, ``prompt_open``, ``closing_prompt_missing`` or ``session_over``.
    """
    state = _advance(state, at)
    if state.phase is not SessionPhase.ENDING:
        raise ProtocolError("not_ending", f"the session is {state.phase}; announce its end first")
    if state.open_prompt is not None:
        raise ProtocolError("prompt_open", "a prompt waits for an answer")
    if not state.closing_asked:
        raise ProtocolError("closing_prompt_missing", "no closing prompt was issued")
    return replace(_end_pause(state, at), phase=SessionPhase.CLOSED, ended_at=at)


def abandon(state: SessionState, *, at: datetime) -> SessionState:
    """End a session early; an open prompt counts as a miss, or leaving would be free."""
    state = _advance(state, at)
    if state.open_prompt is not None:
        state = _with(state, miss_prompt(state.open_prompt, at=at))
    return replace(_end_pause(state, at), phase=SessionPhase.ABANDONED, ended_at=at)


def session_evidence(
    state: SessionState,
    *,
    planned_minutes: float,
    policy: Policy,
    institution_id: str | None = None,
    model: str | None = None,
    path: LearnerPath = LearnerPath.FACE,
) -> SessionEvidence:
    """Return the public record of a session; before its end, of what happened so far."""
    return SessionEvidence(
        session_id=state.session_id,
        planned_minutes=planned_minutes,
        duration_s=state.offset_s(state.ended_at or state.last_event_at),
        checks=state.checks(),
        started_at=state.started_at.isoformat(),
        learner_id=state.learner_id,
        institution_id=institution_id,
        platform_id=state.platform_id,
        model=model,
        policy=policy.rule,
        path=path,
        pauses=tuple((pause.start_s, pause.end_s) for pause in state.bridged_pauses),
    )


def _advance(state: SessionState, at: datetime) -> SessionState:
    _require_zone(at)
    if state.ended_at is not None:
        raise ProtocolError("session_over", f"the session is {state.phase}")
    if at < state.last_event_at:
        back_s = (state.last_event_at - at).total_seconds()
        raise ProtocolError("time_went_back", f"the act lies {back_s:.3f} s before the last one")
    return replace(state, last_event_at=at)


def _require_zone(at: datetime) -> None:
    if at.utcoffset() is None:
        raise ProtocolError("naive_time", "a time without zone; a timezone-aware one was wanted")


def _advance_for_answer(state: SessionState, prompt: Prompt, at: datetime) -> SessionState:
    """Return the state at ``at`` or at its last event, whichever is later.

    An answer takes time to be judged, and the end may be announced meanwhile: it still counts from
    when it arrived. It cannot have arrived before it was asked for.
    """
    _require_zone(at)
    if at < prompt.asked_at:
        raise ProtocolError("time_went_back", "an answer from before its prompt was asked")
    if state.paused_at is not None and (state.paused_until is None or at < state.paused_until):
        raise ProtocolError("session_paused", "the session is paused; no answer is taken")
    return _advance(state, max(at, state.last_event_at))


def _require_running(state: SessionState) -> None:
    if state.phase is not SessionPhase.RUNNING:
        raise ProtocolError("not_running", f"the session is {state.phase}, not running")
    if state.paused_at is not None:
        raise ProtocolError("session_paused", "the session is paused")
    if state.open_prompt is not None:
        raise ProtocolError("prompt_open", "a prompt waits for an answer")


def _require_issuable(
    state: SessionState, *, origin: PromptOrigin, at: datetime, planned: PlannedPrompt | None
) -> None:
    if state.paused_at is not None:
        raise ProtocolError("session_paused", "the session is paused")
    if state.open_prompt is not None:
        raise ProtocolError("prompt_open", "another prompt waits for an answer")
    if origin not in _ORIGINS[state.phase]:
        raise ProtocolError("wrong_origin", f"no {origin} prompt while {state.phase}")
    if (origin is PromptOrigin.SCHEDULED) != (planned is not None):
        raise ProtocolError("wrong_origin", "scheduled prompts, and only they, have a plan")
    if planned is not None:
        _require_due(state, planned, at)
    if origin is PromptOrigin.CLOSING:
        _require_closing_in_time(state, at)


def _require_due(state: SessionState, planned: PlannedPrompt, at: datetime) -> None:
    if state.offset_s(at) < planned.offset_s:
        raise ProtocolError("not_due", "the prompt would go out before its planned time")
    if any(prompt.planned_index == planned.index for prompt in state.prompts):
        raise ProtocolError("prompt_reused", f"planned prompt {planned.index} went out already")


def _require_closing_in_time(state: SessionState, at: datetime) -> None:
    if state.closing_asked:
        raise ProtocolError("prompt_reused", "the closing prompt went out already")
    # A prompt still open at the announced end must be resolved first; the window waits for it.
    resolved = [prompt.resolved_at for prompt in state.prompts if prompt.resolved_at is not None]
    free_since = max(filter(None, [state.end_announced_at, *resolved]))
    # Nothing could be asked while the engine was away, so that time is not in the window.
    waited_s = state.running_s(free_since, at)
    if waited_s > state.rules.closing_prompt_within_s:
        wanted = f"{state.rules.closing_prompt_within_s:g} s"
        raise ProtocolError("closing_prompt_late", f"more than {wanted} after the announced end")


def _require_fresh(state: SessionState, *, prompt_id: str, nonce: bytes) -> None:
    if len(nonce) < 16:
        raise ProtocolError("nonce_too_short", f"{len(nonce)} bytes; at least 16 were wanted")
    if any(prompt.prompt_id == prompt_id for prompt in state.prompts):
        raise ProtocolError("prompt_reused", "a prompt with this id was issued already")
    if any(nonce in prompt.nonces for prompt in state.prompts):
        raise ProtocolError("nonce_reused", "this nonce was issued already")


def prompt_of(state: SessionState, prompt_id: str) -> Prompt:
    """Return a session's prompt; ``UnknownSubjectError`` if it issued none with that id."""
    found = next((p for p in state.prompts if p.prompt_id == prompt_id), None)
    if found is None:
        raise UnknownSubjectError("this session issued no prompt with that id")
    return found


def _with(state: SessionState, changed: Prompt) -> SessionState:
    prompts = tuple(changed if p.prompt_id == changed.prompt_id else p for p in state.prompts)
    return replace(state, prompts=prompts)


def _begin_if_opened(state: SessionState) -> SessionState:
    passed = any(prompt.status is PromptStatus.PASSED for prompt in state.prompts)
    if state.phase is SessionPhase.OPENING and passed:
        return replace(state, phase=SessionPhase.RUNNING)
    return state


def _end_pause(state: SessionState, at: datetime) -> SessionState:
    if state.paused_at is None:
        return state
    return replace(_with_pause(state, state.paused_at, at), paused_at=None, paused_until=None)


def _with_pause(state: SessionState, start: datetime, end: datetime) -> SessionState:
    pause = Pause(start_s=state.offset_s(start), end_s=state.offset_s(end))
    return replace(state, pauses=(*state.pauses, pause))
