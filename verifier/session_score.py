"""What a session's evidence is worth: authenticity, verified minutes, a decision, its reasons.

Start at :func:`score_session`. It looks at this session's evidence and a policy, never at the
history of learner or institution. ``reject`` is a proposal: only a person takes anything away.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from verifier.assurance import LearnerPath
from verifier.check import Check, Outcome, SessionEvidence
from verifier.evidence import State, is_call, outcome_log_lr
from verifier.policy import Policy
from verifier.presence import Presence, presence
from verifier.prompt import PromptKind

_DIGITS = 6  # rounded before anything is decided, so that reruns agree


class Decision(StrEnum):
    """What should happen to a session."""

    ACCEPT = "accept"
    REVIEW = "review"
    REJECT = "reject"  # a proposal to a person


class ReasonCode(StrEnum):
    """What spoke for or against a session; only what was measured is said."""

    MATCHED = "MATCHED"
    NOT_MATCHED = "NOT_MATCHED"
    NOT_COMPARED = "NOT_COMPARED"
    LOOKS_LIVE = "LOOKS_LIVE"
    LOOKS_PRESENTED = "LOOKS_PRESENTED"
    NO_RESPONSE = "NO_RESPONSE"
    NO_FACE = "NO_FACE"
    MULTIPLE_FACES = "MULTIPLE_FACES"
    UNREADABLE = "UNREADABLE"
    NEAR_DUPLICATE = "NEAR_DUPLICATE"
    CHALLENGE_FAILED = "CHALLENGE_FAILED"
    CODE_TYPED = "CODE_TYPED"
    CODE_TYPED_FAST = "CODE_TYPED_FAST"
    CODE_WRONG = "CODE_WRONG"
    OFFICER_CALL = "OFFICER_CALL"
    OFFICER_SAW_ANOTHER = "OFFICER_SAW_ANOTHER"
    NO_EVIDENCE = "NO_EVIDENCE"
    TOO_FEW_CHECKS = "TOO_FEW_CHECKS"
    TOO_LITTLE_VERIFIED = "TOO_LITTLE_VERIFIED"
    ATTACK_POSSIBLE = "ATTACK_POSSIBLE"


REASON_TEXTS: Mapping[ReasonCode, tuple[str, str]] = {
    ReasonCode.MATCHED: ("与登记的人脸相符", "the face matches the enrolled one"),
    ReasonCode.NOT_MATCHED: ("与登记的人脸不符", "the face does not match the enrolled one"),
    ReasonCode.NOT_COMPARED: ("有人脸，但未能比对", "a face was seen but could not be compared"),
    ReasonCode.LOOKS_LIVE: ("未见照片或屏幕迹象", "no sign of a photograph or screen"),
    ReasonCode.LOOKS_PRESENTED: ("疑似照片或屏幕", "it looks like a photograph or a screen"),
    ReasonCode.NO_RESPONSE: ("未应答", "nobody answered"),
    ReasonCode.NO_FACE: ("画面中没有人脸", "no face in the picture"),
    ReasonCode.MULTIPLE_FACES: ("画面中有多张人脸", "several faces in the picture"),
    ReasonCode.UNREADABLE: ("画面无法辨认", "the picture could not be read"),
    ReasonCode.NEAR_DUPLICATE: (
        "画面与先前的几乎相同",
        "the picture nearly repeats an earlier one",
    ),
    ReasonCode.CHALLENGE_FAILED: ("未完成要求的动作", "the requested act was not done"),
    ReasonCode.CODE_TYPED: ("已输入屏幕上的数字", "the digits on the screen were typed"),
    ReasonCode.CODE_TYPED_FAST: (
        "输入数字的速度快于常人",
        "the digits were typed faster than people do",
    ),
    ReasonCode.CODE_WRONG: (
        "输入的数字与屏幕上的不同",
        "other digits were typed than were on the screen",
    ),
    ReasonCode.OFFICER_CALL: ("工作人员已联系到本人", "an officer reached the learner"),
    ReasonCode.OFFICER_SAW_ANOTHER: (
        "工作人员联系时不是本人",
        "an officer found somebody else there",
    ),
    ReasonCode.NO_EVIDENCE: ("没有任何核验记录", "no check was made"),
    ReasonCode.TOO_FEW_CHECKS: ("相符的核验次数过少", "too few checks matched"),
    ReasonCode.TOO_LITTLE_VERIFIED: (
        "本人在场的时间可能不足",
        "the learner may not have been there long enough",
    ),
    ReasonCode.ATTACK_POSSIBLE: (
        "不能排除由他人代替或使用照片、视频",
        "that somebody else, a photograph or a video stood in cannot be ruled out",
    ),
}
"""Chinese and English text of each reason."""

_OUTCOME_REASONS = {
    Outcome.NO_RESPONSE: ReasonCode.NO_RESPONSE,
    Outcome.NO_FACE: ReasonCode.NO_FACE,
    Outcome.MULTIPLE_FACES: ReasonCode.MULTIPLE_FACES,
    Outcome.UNREADABLE: ReasonCode.UNREADABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One line of the account.

    Attributes
    ----------
    log10_lr
        What the finding alone says for the learner (> 0) or against; None: it moved nothing.
    at_s
        When, in seconds from the start; None: it concerns the whole session.
    """

    code: ReasonCode
    log10_lr: float | None = None
    at_s: float | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the public form; what was not measured is absent."""
        known = {"code": self.code.value, "log10_lr": self.log10_lr, "at_s": self.at_s}
        return {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionScore:
    """The score of one session; every number is rounded to 1e-6.

    Attributes
    ----------
    authenticity
        P(no attack at any time, and genuine for the policy's share of the session).
    verified_mean_minutes, verified_lower95_minutes
        Genuine minutes: expected, and reached with 95 % probability. They gate and explain, they
        never pay.
    minutes
        Expected minutes in each state.
    policy
        ``name@version`` that decided.
    """

    session_id: str
    authenticity: float
    verified_mean_minutes: float
    verified_lower95_minutes: float
    minutes: Mapping[State, float]
    decision: Decision
    reasons: tuple[Reason, ...]
    policy: str

    def to_json(self) -> str:
        """Return the public form on one line, without a line break."""
        record = {
            "session_id": self.session_id,
            "authenticity": self.authenticity,
            "verified_minutes": {
                "mean": self.verified_mean_minutes,
                "lower95": self.verified_lower95_minutes,
            },
            "minutes": {state.value: self.minutes[state] for state in State},
            "decision": self.decision.value,
            "reasons": [reason.to_record() for reason in self.reasons],
            "policy": self.policy,
        }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def score_session(evidence: SessionEvidence, policy: Policy) -> SessionScore:
    """Return the score of one session; some 50 ms for a lesson of 90 minutes."""
    found = presence(evidence, policy)
    minutes = {state: round(value, _DIGITS) for state, value in found.minutes.items()}
    authenticity = round(found.authenticity, _DIGITS)
    decision = _decide(evidence, found, policy)
    return SessionScore(
        session_id=evidence.session_id,
        authenticity=authenticity,
        verified_mean_minutes=minutes[State.GENUINE],
        verified_lower95_minutes=round(found.lower95_minutes, _DIGITS),
        minutes=minutes,
        decision=decision,
        reasons=(*_overall(evidence, found, decision, policy), *_account(evidence, policy)),
        policy=policy.rule,
    )


def _decide(evidence: SessionEvidence, found: Presence, policy: Policy) -> Decision:
    """Choose what costs least on average, a review costing 1; between equals, a person looks."""
    rules = policy.decision
    accept = rules.cost_false_accept * (1 - round(found.authenticity, _DIGITS))
    reject = rules.cost_false_reject * round(found.attack_free, _DIGITS)
    enough = _established(evidence) >= rules.min_matched_checks
    # No rate says how often an officer errs, so what one saw moves no number; but no number
    # outvotes it either.
    if accept < 1 and enough and not any(map(_saw_another, evidence.checks)):
        return Decision.ACCEPT
    # An absence is no attack, and a prior alone accuses nobody.
    return Decision.REJECT if reject < 1 and evidence.checks else Decision.REVIEW


def _overall(
    evidence: SessionEvidence, found: Presence, decision: Decision, policy: Policy
) -> list[Reason]:
    if decision is Decision.ACCEPT:
        return []
    if not evidence.checks:
        return [Reason(code=ReasonCode.NO_EVIDENCE)]
    attacked, too_short = 1 - found.attack_free, found.attack_free - found.authenticity
    # Each alone may be tolerable and their sum not; then the larger one is named.
    telling = min(1 / policy.decision.cost_false_accept, max(attacked, too_short))
    findings = {
        ReasonCode.TOO_FEW_CHECKS: _established(evidence) < policy.decision.min_matched_checks,
        ReasonCode.ATTACK_POSSIBLE: attacked >= telling,
        ReasonCode.TOO_LITTLE_VERIFIED: too_short >= telling,
    }
    return [Reason(code=code) for code, holds in findings.items() if holds]


def _account(evidence: SessionEvidence, policy: Policy) -> list[Reason]:
    return [reason for check in evidence.checks for reason in _reasons_of(check, policy)]


def _reasons_of(check: Check, policy: Policy) -> list[Reason]:
    reasons = [*_capture_reasons(check, policy), *_comparison_reasons(check)]
    if check.pad_log10_lr is not None:
        live = check.pad_log10_lr > 0
        code = ReasonCode.LOOKS_LIVE if live else ReasonCode.LOOKS_PRESENTED
        reasons.append(_reason(code, check, check.pad_log10_lr))
    if check.near_duplicate:
        reasons.append(_reason(ReasonCode.NEAR_DUPLICATE, check, None))
    if check.challenge is not None and not check.challenge.passed and not _is_faceless(check):
        reasons.append(_reason(ReasonCode.CHALLENGE_FAILED, check, None))
    return reasons


def _capture_reasons(check: Check, policy: Policy) -> list[Reason]:
    code = _faceless_reason(check, policy) or _OUTCOME_REASONS.get(check.outcome)
    if code is None:
        return []
    if is_call(check):  # one officer's word
        return [_reason(code, check, None)]
    # The table speaks for absence; the account speaks for the learner.
    return [_reason(code, check, -outcome_log_lr(check, policy) / _LN10)]


def _faceless_reason(check: Check, policy: Policy) -> ReasonCode | None:
    done = check.challenge
    if done is None or not _is_faceless(check) or check.outcome not in _ANSWERED:
        return None
    if done.kind == PromptKind.OFFICER_CALL:
        return ReasonCode.OFFICER_CALL if done.passed else ReasonCode.OFFICER_SAW_ANOTHER
    if not done.passed:
        return ReasonCode.CODE_WRONG
    fast = done.latency_s is not None and done.latency_s < policy.non_face.fastest_code_s
    return ReasonCode.CODE_TYPED_FAST if fast else ReasonCode.CODE_TYPED


def _comparison_reasons(check: Check) -> list[Reason]:
    ratio = check.comparison_log10_lr
    if ratio is not None:
        code = ReasonCode.MATCHED if ratio > 0 else ReasonCode.NOT_MATCHED
        return [_reason(code, check, ratio)]
    unfit = check.outcome is Outcome.CAPTURED and not _is_faceless(check)
    return [_reason(ReasonCode.NOT_COMPARED, check, None)] if unfit else []


def _reason(code: ReasonCode, check: Check, log10_lr: float | None) -> Reason:
    rounded = None if log10_lr is None else round(log10_lr, _DIGITS)
    return Reason(code=code, log10_lr=rounded, at_s=check.t)


def _established(evidence: SessionEvidence) -> int:
    """Count the checks that say who was there: matches; by a grant, also codes typed rightly."""
    by_grant = evidence.path is LearnerPath.NON_FACE
    return sum(_matched(check) or (by_grant and _typed(check)) for check in evidence.checks)


def _matched(check: Check) -> bool:
    return check.comparison_log10_lr is not None and check.comparison_log10_lr > 0


def _typed(check: Check) -> bool:
    done = check.challenge
    return done is not None and done.kind == PromptKind.TYPED_CODE and done.passed


def _is_faceless(check: Check) -> bool:
    return check.challenge is not None and check.challenge.kind in _FACELESS


def _saw_another(check: Check) -> bool:
    denied = check.challenge is not None and not check.challenge.passed
    return is_call(check) and denied and check.outcome is Outcome.CAPTURED


_FACELESS = frozenset({PromptKind.TYPED_CODE.value, PromptKind.OFFICER_CALL.value})
_ANSWERED = frozenset({Outcome.CAPTURED, Outcome.UNREADABLE})  # rightly, or wrongly typed


_LN10 = 2.302585092994046
