"""When too many answers of one learner failed: nothing is asked or judged for a while.

Whoever tries pictures until one passes is slowed down; whoever sits in bad light has time to mend
it. The times of the learner's failed answers decide and nothing else, whichever sessions they
belong to, so a new session opened meanwhile is paused until the same moment.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from verifier.policy_groups import FailureRules


def paused_until(failed_at: Iterable[datetime], rules: FailureRules) -> datetime | None:
    """Return until when failed answers pause a learner, which may be past; None: too few.

    Parameters
    ----------
    failed_at
        When answers arrived that were not passed, in any order; those of `looked_back` matter.
    """
    times = sorted(failed_at)
    window = timedelta(seconds=rules.window_s)
    # Each time beside the one that was the first of `most` ending there.
    runs = zip(times, times[rules.most - 1 :], strict=False)
    too_many = [last for first, last in runs if last - first <= window]
    return too_many[-1] + timedelta(seconds=rules.pause_s) if too_many else None


def looked_back(rules: FailureRules) -> timedelta:
    """Return how far back failed answers may still pause somebody now."""
    return timedelta(seconds=rules.window_s + rules.pause_s)
