"""What a learner may miss in a class, and how misses are made up for.

The budget is a share of the prompts that were scheduled for the learner in the class so far: those
that followed from the seed, of every session, abandoned ones too, and the closing ones that were
missed. Passed closing ones are not counted: sessions of a few seconds would thin misses out at
will. Nor are opening and added prompts: who is looked at more often must not miss more for it.
While the class goes on the denominator grows, so that only after its last day the share is a
verdict.

A session *makes up* for the misses of an earlier one where it was opened for that, soon enough,
was attended without a miss, and in which as many prompts of the schedule were passed as had been
missed in the earlier one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from verifier.eligibility_facts import SessionFact, china_day
from verifier.policy_groups import ClassRules
from verifier.session_score import Decision
from verifier.working_days import WorkingDay, working_day_after


class MissVerdict(StrEnum):
    """How the misses of a class stand beside its budget."""

    WITHIN = "within"
    ABOVE_SO_FAR = "above_so_far"  # the class goes on; more prompts may bring the share down
    EXCEEDED = "exceeded"  # the class is over


@dataclass(frozen=True, slots=True, kw_only=True)
class MissBudget:
    """How the misses of one learner in one class stand.

    Attributes
    ----------
    scheduled, missed
        Of all sessions, and never less for what was made up.
    made_up
        Of the missed ones.
    """

    scheduled: int
    missed: int
    made_up: int
    verdict: MissVerdict

    @property
    def share(self) -> float:
        """Missed and not made up, of those scheduled; 0 where none was."""
        return round((self.missed - self.made_up) / self.scheduled, 6) if self.scheduled else 0.0


def miss_budget(
    sessions: Iterable[SessionFact], rules: ClassRules, *, class_over: bool
) -> MissBudget:
    """Say how the misses of a learner's sessions in one class stand; their order is no matter."""
    held = tuple(sessions)
    scheduled = sum(session.prompts_scheduled for session in held)
    missed = sum(session.prompts_missed for session in held)
    made_up = sum(session.prompts_missed for session in held if is_made_up(session, held, rules))
    # Exact, as the policy writes it: 0.29 x 100 is less than 29 in binary floating point.
    allowed = Fraction(str(rules.miss_budget_share)) * scheduled
    verdict = MissVerdict.WITHIN
    if missed - made_up > allowed:
        verdict = MissVerdict.EXCEEDED if class_over else MissVerdict.ABOVE_SO_FAR
    return MissBudget(scheduled=scheduled, missed=missed, made_up=made_up, verdict=verdict)


def is_made_up(missed: SessionFact, sessions: Iterable[SessionFact], rules: ClassRules) -> bool:
    """Say whether one of ``sessions`` makes up for the misses of ``missed``; once is enough."""
    return missed.prompts_missed > 0 and any(_makes_up(each, missed, rules) for each in sessions)


def _makes_up(later: SessionFact, missed: SessionFact, rules: ClassRules) -> bool:
    return (
        later.makes_up == missed.session_id
        and later.decision is Decision.ACCEPT
        and later.prompts_missed == 0
        and later.prompts_passed >= missed.prompts_missed
        and in_time(missed, later.opened_at, rules)
    )


def in_time(missed: SessionFact, opened_at: datetime, rules: ClassRules) -> bool:
    """Say whether a session opened then is early enough to make up for ``missed``, and after it."""
    last = last_day(missed, rules)
    if last is None or missed.ended_at is None:
        return False
    return missed.ended_at <= opened_at and china_day(opened_at) <= last.day


def last_day(missed: SessionFact, rules: ClassRules) -> WorkingDay | None:
    """Return the last day in China on which misses may be made up; None while the session runs."""
    if missed.ended_at is None:
        return None
    return working_day_after(china_day(missed.ended_at), rules.make_up_working_days)
