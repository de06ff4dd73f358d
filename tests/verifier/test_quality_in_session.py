"""A bad picture is never held against anybody: asked again twice, then missed, never referred."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import (
    ALONE,
    CALIBRATION,
    CONTRACT,
    NOBODY,
    OTHER,
    REFERENCE,
    SAME,
    UNSURE,
    face,
    frame,
)
from verifier import session as acts
from verifier.answer import AnswerReason, ComparedFace, JudgedCapture, judge_capture
from verifier.comparison import Template, compare
from verifier.observation import FrameObservation, QualityReason
from verifier.policy import default_policy
from verifier.prompt import Judgement, Prompt, PromptKind, PromptOrigin, PromptStatus
from verifier.quality_texts import REASON_TEXT
from verifier.session_state import SessionState

POLICY = default_policy()
START = datetime(2026, 3, 2, 1, tzinfo=UTC)

unfit_faces = st.builds(
    lambda vector, reasons: frame(face(vector, quality=tuple(sorted(reasons)))),
    st.sampled_from([SAME, UNSURE, OTHER]),  # whoever it may be
    st.sets(st.sampled_from(QualityReason), min_size=1),
)
bad_answers = st.lists(unfit_faces | st.just(NOBODY) | st.none(), min_size=1, max_size=4)


def judged(frames: list[FrameObservation | None]) -> JudgedCapture:
    """Judge frames of which, as none shows a face fit for it, none is compared."""
    return judge_capture(frames, [])


@given(bad_answers)
def test_no_bad_picture_passes_or_accuses(frames: list[FrameObservation | None]) -> None:
    answer = judged(frames)
    assert answer.judgement is Judgement.RETRY
    assert answer.check.comparison_log10_lr is None
    if answer.reason is AnswerReason.PICTURE_POOR:
        assert answer.quality
        assert all(REASON_TEXT[reason] for reason in answer.quality)


@given(st.lists(bad_answers, min_size=3, max_size=3))
def test_the_third_bad_answer_is_a_miss(answers: list[list[FrameObservation | None]]) -> None:
    assert POLICY.prompts.max_retries == 2
    state = opened()
    statuses = []
    for number, frames in enumerate(answers):
        state = answered(state, number, judged(frames))
        statuses.append(only_prompt(state).status)
    assert statuses == [PromptStatus.OPEN, PromptStatus.OPEN, PromptStatus.MISSED]
    evidence = acts.session_evidence(state, planned_minutes=45.0, policy=POLICY)
    assert all(check.comparison_log10_lr is None for check in evidence.checks)


def test_a_good_picture_after_two_bad_ones_still_counts() -> None:
    dark = frame(face(OTHER, quality=(QualityReason.TOO_DARK,)))
    state = opened()
    for number in range(2):
        state = answered(state, number, judged([dark]))
    good = compare(REFERENCE, Template(contract_id=CONTRACT, vector=SAME), CALIBRATION)
    compared = ComparedFace(frame_index=0, face=face(), comparison=good)
    state = answered(state, 2, judge_capture([ALONE], [compared]))
    assert only_prompt(state).status is PromptStatus.PASSED


def opened() -> SessionState:
    """Return a session whose opening prompt waits for an answer."""
    state = acts.open_session(
        session_id="s1",
        learner_id="l1",
        class_id="c1",
        platform_id="p1",
        policy=POLICY,
        at=START,
    )
    return acts.issue_prompt(
        state,
        prompt_id="0",
        nonce=bytes(16),
        kind=PromptKind.SILENT_CAPTURE,
        origin=PromptOrigin.OPENING,
        at=START,
    )


def answered(state: SessionState, number: int, answer: JudgedCapture) -> SessionState:
    prompt = only_prompt(state)
    return acts.answer(
        state,
        prompt_id=prompt.prompt_id,
        nonce=prompt.nonce,
        at=START + timedelta(seconds=number),
        judgement=answer.judgement,
        check=answer.check,
        retry_nonce=(number + 1).to_bytes(16, "big"),  # used only where it is asked again
    )


def only_prompt(state: SessionState) -> Prompt:
    (prompt,) = state.prompts
    return prompt
