"""Whether a session may be opened to make up for the misses of an earlier one."""

from datetime import datetime
from typing import NoReturn

from sqlalchemy import Connection

from service.sql.gate_facts import sessions_of
from service.sql.training_classes import class_of
from verifier.eligibility_facts import SessionFact, china_day
from verifier.errors import ProtocolError
from verifier.miss_budget import MissVerdict, in_time, is_made_up, last_day, miss_budget
from verifier.policy_groups import ClassRules


def require_make_up(
    tx: Connection,
    *,
    session_id: str,
    learner_id: str,
    class_id: str,
    at: datetime,
    rules: ClassRules,
) -> None:
    """Return if a session that is opened at ``at`` may make up for the misses of ``session_id``.

    1. The earlier session is one of the same learner in the same class, and it ended.
    2. Prompts were missed in it, and nothing has made up for them yet.
    3. It is no longer ago than policy allows, in working days.
    4. The class goes on, or its misses are within the budget.

    Raises
    ------
    UnknownSubjectError
        If there is no such class.
    ProtocolError
        ``make_up_refused``, saying which of these does not hold.
    """
    held = sessions_of(tx, learner_id=learner_id, class_id=class_id, published_size=0)
    missed = next((each for each in held if each.session_id == session_id), None)
    # Whether somebody else has a session with that id is told to nobody.
    if missed is None or missed.ended_at is None:
        _refuse("no session of this learner in this class that has ended has that id")
    if missed.prompts_missed == 0:
        _refuse("no scheduled prompt was missed in it")
    if is_made_up(missed, held, rules):
        _refuse("its misses were made up for before")
    if not in_time(missed, at, rules):
        _refuse(_too_late(missed, rules))
    class_over = china_day(at) > class_of(tx, class_id).fact.ends_on
    if miss_budget(held, rules, class_over=class_over).verdict is MissVerdict.EXCEEDED:
        _refuse("more prompts of the class were missed than may be made up for")


def _too_late(missed: SessionFact, rules: ClassRules) -> str:
    last = last_day(missed, rules)
    if last is None:
        return "it has not ended"
    counted = "" if last.official else ", counted in weekdays: the year's calendar is not known"
    return f"the last day for it was {last.day.isoformat()}{counted}"


def _refuse(why: str) -> NoReturn:
    raise ProtocolError("make_up_refused", why)
