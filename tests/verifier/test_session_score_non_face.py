"""Sessions by a grant instead of the face: what typed codes and calls are worth, and what not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.answer import CallFinding, JudgedCapture, judge_call, judge_code
from verifier.assurance import LearnerPath
from verifier.check import Check, Outcome, SessionEvidence, parse_session
from verifier.credit import Credit, credit, credit_spans
from verifier.evidence import State, log_likelihoods
from verifier.policy import default_policy
from verifier.presence import rates_of, state_probabilities
from verifier.prompt import Judgement
from verifier.session_score import (
    Decision,
    ReasonCode,
    SessionScore,
    score_session,
)

POLICY = default_policy()
MINUTES = 45.0
TIMES = tuple(float(t) for t in np.linspace(0, 60 * MINUTES, 16))
RIGHT = judge_code("135790", "135790", latency_s=4.0)
WRONG = judge_code("135790", "135791", latency_s=4.0)
SEEN = judge_call(CallFinding.SEEN, latency_s=60.0)
SOMEBODY_ELSE = judge_call(CallFinding.SOMEBODY_ELSE, latency_s=60.0)
NOT_REACHED = judge_call(CallFinding.NOT_REACHED, latency_s=600.0)


def evidence(*answers: JudgedCapture, path: LearnerPath = LearnerPath.NON_FACE) -> SessionEvidence:
    """Return a session whose answers came at `TIMES`, the later ones left out."""
    return SessionEvidence(
        session_id="s",
        planned_minutes=MINUTES,
        duration_s=60 * MINUTES,
        checks=tuple(replace(a.check, t=t) for a, t in zip(answers, TIMES, strict=False)),
        path=path,
    )


def credited(found: SessionEvidence, *answers: JudgedCapture) -> tuple[SessionScore, Credit]:
    """Score a session and credit what lies between its passed answers."""
    score = score_session(found, POLICY)
    told = list(zip(answers, TIMES, strict=False))
    spans = credit_spans(
        passes_s=[t for a, t in told if a.judgement is Judgement.PASS],
        breaks_s=[t for a, t in told if a.judgement is not Judgement.PASS],
        pauses=(),
    )
    lower95_s = 60 * score.verified_lower95_minutes
    return score, credit(spans, decision=score.decision, lower95_s=lower95_s, rules=POLICY.credit)


def test_a_full_honest_lesson_is_accepted_with_the_credit_of_its_spans() -> None:
    answers = [RIGHT] * len(TIMES)
    score, worth = credited(evidence(*answers), *answers)
    assert score.decision is Decision.ACCEPT
    assert (worth.credited_s, worth.pending_s) == (60 * MINUTES, 0)
    assert {reason.code for reason in score.reasons} == {ReasonCode.CODE_TYPED}


def test_without_the_mark_codes_alone_are_never_accepted() -> None:
    """Of a session by the face they say that somebody was there, and nothing about who."""
    answers = [RIGHT] * len(TIMES)
    score, worth = credited(evidence(*answers, path=LearnerPath.FACE), *answers)
    assert score.decision is Decision.REVIEW
    assert (score.verified_lower95_minutes, worth.credited_s) == (0, 0)
    assert ReasonCode.TOO_FEW_CHECKS in {reason.code for reason in score.reasons}


@pytest.mark.parametrize("count", [1, 2, 3, 30])
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_codes_in_a_session_by_the_face_earn_nothing_however_many(
    count: int, data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.floats(0, 2700), min_size=count, max_size=count))
    checks = tuple(replace(data.draw(st.sampled_from([RIGHT, SEEN])).check, t=t) for t in times)
    found = SessionEvidence(
        session_id="s", planned_minutes=MINUTES, duration_s=60 * MINUTES, checks=checks
    )
    score = score_session(found, POLICY)
    assert score.decision is Decision.REVIEW
    assert score.verified_lower95_minutes == 0


def test_a_lesson_that_nobody_answers_earns_nothing() -> None:
    missed = [Check(t=t, prompted=True, outcome=Outcome.NO_RESPONSE) for t in TIMES]
    score = score_session(replace(evidence(), checks=tuple(missed)), POLICY)
    assert score.decision is Decision.REVIEW
    assert score.verified_lower95_minutes == 0
    assert score.minutes[State.GENUINE] < 0.1


@pytest.mark.parametrize("answer", [WRONG, NOT_REACHED])
def test_neither_does_one_that_is_only_answered_wrongly(answer: JudgedCapture) -> None:
    answers = [answer] * len(TIMES)
    score, worth = credited(evidence(*answers), *answers)
    assert score.decision is Decision.REVIEW
    assert score.verified_lower95_minutes < 1
    assert (worth.credited_s, worth.pending_s) == (0, 0)


def test_who_walks_away_half_way_is_not_accepted() -> None:
    typed, gone = TIMES[:8], TIMES[8:]
    checks = [replace(RIGHT.check, t=t) for t in typed]
    checks += [Check(t=t, prompted=True, outcome=Outcome.NO_RESPONSE) for t in gone]
    score = score_session(replace(evidence(), checks=tuple(checks)), POLICY)
    assert score.decision is Decision.REVIEW
    assert score.verified_lower95_minutes < 0.6 * MINUTES


def test_a_call_that_finds_somebody_else_leads_to_review_and_breaks_the_span() -> None:
    answers = [RIGHT] * 7 + [SOMEBODY_ELSE] + [RIGHT] * 8
    score, worth = credited(evidence(*answers), *answers)
    assert (score.decision, worth.credited_s) == (Decision.REVIEW, 0)
    within = [span for span in worth.spans if span.start_s <= TIMES[7] < span.end_s]
    assert [span.reason for span in within] == ["miss_within"]
    told = {reason.code: reason for reason in score.reasons}
    assert told[ReasonCode.OFFICER_SAW_ANOTHER].log10_lr is None
    # Everything else would have been enough.
    assert score.authenticity > 0.95


@pytest.mark.parametrize("path", LearnerPath)
@pytest.mark.parametrize("call", [SEEN, NOT_REACHED, SOMEBODY_ELSE])
def test_what_an_officer_says_of_a_call_moves_no_number(
    path: LearnerPath, call: JudgedCapture
) -> None:
    assert list(log_likelihoods(call.check, POLICY)) == [0] * 5
    asked = evidence(*[RIGHT] * len(TIMES), path=path)
    called = replace(asked, checks=(*asked.checks, replace(call.check, t=TIMES[4])))
    grid, before = state_probabilities(asked, POLICY)
    again, after = state_probabilities(called, POLICY)
    np.testing.assert_array_equal(grid, again)
    np.testing.assert_allclose(before, after, atol=1e-12)


def test_calls_alone_accept_nothing_however_many() -> None:
    """Or one officer would make credit alone."""
    answers = [RIGHT] + [SEEN] * (len(TIMES) - 1)
    score, worth = credited(evidence(*answers), *answers)
    assert (score.decision, worth.credited_s) == (Decision.REVIEW, 0)
    assert ReasonCode.TOO_FEW_CHECKS in {reason.code for reason in score.reasons}
    assert score.verified_lower95_minutes == 0


@pytest.mark.parametrize("path", LearnerPath)
def test_no_match_outvotes_what_an_officer_saw(path: LearnerPath) -> None:
    match = Check(t=0, prompted=True, outcome=Outcome.CAPTURED, faces=1, comparison_log10_lr=2.0)
    checks = (*(replace(match, t=t) for t in TIMES), replace(SOMEBODY_ELSE.check, t=1000.0))
    score = score_session(replace(evidence(path=path), checks=checks), POLICY)
    assert score.decision is Decision.REVIEW


def test_two_answers_are_the_least_that_can_be_accepted() -> None:
    """However short a lesson is."""
    short = replace(evidence(RIGHT), duration_s=60.0, planned_minutes=1.0)
    assert score_session(short, POLICY).decision is Decision.REVIEW
    last = replace(RIGHT.check, t=60.0)
    assert (
        score_session(replace(short, checks=(*short.checks, last)), POLICY).decision
        is Decision.ACCEPT
    )


@pytest.mark.parametrize(
    ("answer", "code", "log10_lr"),
    [
        (RIGHT, ReasonCode.CODE_TYPED, 1.963788),
        (judge_code("1", "1", latency_s=0.999), ReasonCode.CODE_TYPED_FAST, 1.963788),
        (judge_code("1", "1", latency_s=1.0), ReasonCode.CODE_TYPED, 1.963788),
        (judge_code("1", "1", latency_s=None), ReasonCode.CODE_TYPED, 1.963788),
        (WRONG, ReasonCode.CODE_WRONG, -0.176091),
        (SEEN, ReasonCode.OFFICER_CALL, None),
        (SOMEBODY_ELSE, ReasonCode.OFFICER_SAW_ANOTHER, None),
        (NOT_REACHED, ReasonCode.NO_RESPONSE, None),
    ],
)
def test_each_answer_gives_one_reason_and_none_about_a_face(
    answer: JudgedCapture, code: ReasonCode, log10_lr: float | None
) -> None:
    """log10(0.92 / 0.01), of the default rates; log10(0.02 / 0.03); an officer's word: nothing."""
    told = [r for r in score_session(evidence(answer), POLICY).reasons if r.at_s is not None]
    assert [(reason.code, reason.log10_lr) for reason in told] == [(code, log10_lr)]


@pytest.mark.parametrize("answer", [RIGHT, WRONG, SEEN, SOMEBODY_ELSE, NOT_REACHED])
def test_no_answer_separates_the_learner_from_anybody_else(answer: JudgedCapture) -> None:
    genuine, _, *others = log_likelihoods(answer.check, POLICY)
    assert others == [pytest.approx(genuine)] * 3


def test_the_mark_is_written_and_read_and_its_absence_means_by_the_face() -> None:
    marked = evidence(RIGHT, SEEN)
    assert '"path":"non_face"' in marked.to_json()
    assert parse_session(marked.to_json()) == marked
    unmarked = replace(marked, path=LearnerPath.FACE)
    assert "path" not in unmarked.to_json()
    assert parse_session(unmarked.to_json()) == unmarked


def test_a_grant_changes_who_is_expected_and_nothing_about_being_there() -> None:
    by_face = rates_of(evidence(path=LearnerPath.FACE), POLICY)
    assert by_face == POLICY.presence
    changed = {
        name: (getattr(by_face, name), value)
        for name in by_face.__dataclass_fields__
        if (value := getattr(rates_of(evidence(), POLICY), name)) != getattr(by_face, name)
    }
    assert changed == {
        "start_impostor": (0.02, 0.002),
        "impostor_per_h": (0.02, 0.002),
        "start_presentation_attack": (0.01, 0.0),
        "presentation_attack_per_h": (0.002, 0.0),
    }


@settings(deadline=None, max_examples=25)
@given(
    answers=st.lists(
        st.sampled_from([RIGHT, WRONG, SEEN, SOMEBODY_ELSE, NOT_REACHED]), max_size=len(TIMES)
    )
)
def test_credit_needs_two_passes_and_nobody_else_seen(answers: list[JudgedCapture]) -> None:
    score, worth = credited(evidence(*answers), *answers)
    passed = answers.count(RIGHT)
    if passed < 2 or SOMEBODY_ELSE in answers:
        assert score.decision is not Decision.ACCEPT
        assert worth.credited_s == 0
    assert worth.credited_s <= 60 * MINUTES
    # Read back, it is worth the same: `zhenxue score` on an exported record.
    again = parse_session(evidence(*answers).to_json())
    assert score_session(again, POLICY) == score
