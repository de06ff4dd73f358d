"""How often chance alone decides: synthetic lessons on freshly drawn schedules.

``python -m benchmarks.decisions --lessons 1500``: honest, replaced half-way, walked away half-way;
by typed codes, honest and walked away half-way. ``--mean-gap 240`` for the frame's schedule.
Every check says what is true at full strength, so nothing but the moments of the prompts differs
from lesson to lesson. Says nothing about faces; intervals are Wilson's, 95 %.
"""

import argparse
import math
import secrets
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.publication import publish
from verifier.answer import judge_code
from verifier.assurance import LearnerPath
from verifier.check import Check, Outcome, SessionEvidence
from verifier.policy import Policy, default_policy
from verifier.schedule import PlannedPrompts, ScheduleParameters
from verifier.session_score import Decision, score_session

KINDS: Final = ("honest", "replaced", "walks_away", "codes", "codes_walks_away")
STRENGTH_LOG10_LR: Final = 1.9
TYPED: Final = judge_code("042917", "042917", latency_s=5.0).check


def run(lessons: int, minutes: float, mean_gap_s: int | None = None) -> dict[str, Any]:
    """Score ``lessons`` lessons of each kind and count what is decided."""
    policy = default_policy()
    if mean_gap_s is not None:
        policy = replace(policy, prompts=replace(policy.prompts, mean_gap_s=mean_gap_s))
    return {
        "lessons": lessons,
        "minutes": minutes,
        "mean_gap_s": policy.prompts.mean_gap_s,
        "policy": policy.rule,
        "decisions": {kind: _count(kind, lessons, minutes, policy) for kind in KINDS},
    }


def table(report: dict[str, Any]) -> str:
    """Return the counts as text."""
    lessons = report["lessons"]
    gap = f"prompts {report['mean_gap_s']} s apart on average"
    lines = [f"{lessons} lessons of {report['minutes']:g} min, {gap}, policy {report['policy']}"]
    for kind, counts in report["decisions"].items():
        parts = []
        for decision in Decision:
            low, high = wilson(counts[decision.value], lessons)
            share = f"{100 * low:.2f}–{100 * high:.2f} %"
            parts.append(f"{decision.value} {counts[decision.value]} ({share})")
        lines.append(f"{kind:>16}: " + ", ".join(parts))
    return "\n".join(lines)


def wilson(count: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    share, square = count / total, z * z / total
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / total + square / (4 * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lessons", type=int, default=1_500)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--mean-gap", type=int, help="seconds; the policy's where left out")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    report = run(arguments.lessons, arguments.minutes, arguments.mean_gap)
    publish(report, table(report), arguments.json)


def _count(kind: str, lessons: int, minutes: float, policy: Policy) -> dict[str, int]:
    scores = (score_session(_evidence(kind, at, minutes, policy), policy) for at in range(lessons))
    counted = Counter(score.decision.value for score in scores)
    return {decision.value: counted[decision.value] for decision in Decision}


def _evidence(kind: str, number: int, minutes: float, policy: Policy) -> SessionEvidence:
    duration_s = 60 * minutes
    parameters = ScheduleParameters.of(policy.prompts)
    due = PlannedPrompts(seed=secrets.token_bytes(32), parameters=parameters).until(duration_s)
    times = [4.0, *(prompt.offset_s for prompt in due), duration_s]
    return SessionEvidence(
        session_id=f"{kind}-{number}",
        planned_minutes=minutes,
        duration_s=duration_s,
        checks=tuple(_check(at, kind, late=at >= duration_s / 2) for at in times),
        path=LearnerPath.NON_FACE if kind.startswith("codes") else LearnerPath.FACE,
    )


def _check(at_s: float, kind: str, *, late: bool) -> Check:
    if kind == "codes_walks_away" and late:
        return Check(t=at_s, prompted=True, outcome=Outcome.NO_RESPONSE)
    if kind.startswith("codes"):
        return replace(TYPED, t=at_s)
    if kind == "walks_away" and late:
        return Check(t=at_s, prompted=True, outcome=Outcome.NO_FACE, faces=0)
    ratio = -STRENGTH_LOG10_LR if kind == "replaced" and late else STRENGTH_LOG10_LR
    return Check(
        t=at_s, prompted=True, outcome=Outcome.CAPTURED, faces=1, comparison_log10_lr=ratio
    )


if __name__ == "__main__":
    main()
