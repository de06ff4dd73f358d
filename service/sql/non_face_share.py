"""How many of a class are known otherwise than by the face, and the cases where they are too many.

The platform writes the roster, so names on it alone dilute nothing: a share is one of those who
could have come, who have a face enrolled or held a session in the class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, exists, func, select, union

from service.sql.cases import cases_of_kind, measure_again, open_case
from service.sql.tables import enrolment, roster_entry, session, training_class
from verifier.assurance import LearnerPath
from verifier.policy import Policy
from verifier.review_case import CaseKind, ReviewCase
from verifier.transparency.canonical_json import JSONValue

_KIND = CaseKind.NON_FACE_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """How a class stands.

    Attributes
    ----------
    learner_ids
        Who holds or held a session without the face in it, in order.
    learners
        Of the class: these, and whoever was ever on the roster and could have come.
    """

    class_id: str
    learner_ids: Sequence[str]
    learners: int

    @property
    def share(self) -> float:
        """Of the class; 0 where nobody is in it."""
        return round(len(self.learner_ids) / self.learners, 6) if self.learners else 0.0

    def is_above(self, most: float) -> bool:
        """Whether the share is above ``most``, exactly as a policy writes it."""
        return len(self.learner_ids) > Fraction(str(most)) * self.learners

    def to_record(self) -> dict[str, JSONValue]:
        """Return what a case keeps of it."""
        return {
            "class_id": self.class_id,
            "non_face": len(self.learner_ids),
            "learners": self.learners,
            "share": self.share,
        }


def watch_share(tx: Connection, *, class_id: str, policy: Policy, at: datetime) -> None:
    """Open a case about each learner of a class whose share without the face is too large.

    Called in the unit of work in which such a session is kept. Who has such a case open keeps it,
    with what was measured now; what two officers explained about a class is asked again once more
    of its learners go without the face.
    """
    # One opening after another: two at once would each count without the other.
    own = training_class.c.class_id == class_id
    tx.execute(select(training_class.c.class_id).where(own).with_for_update(key_share=True))
    found = class_share(tx, class_id)
    if not found.is_above(policy.non_face.most_share):
        return
    known = cases_of_kind(tx, kind=_KIND, learner_ids=found.learner_ids)
    for learner_id in found.learner_ids:
        _ask(tx, learner_id, found, known.get(learner_id, ()), at)


def class_share(tx: Connection, class_id: str) -> ClassShare:
    """Count who of a class holds or held sessions without the face."""
    of_class = session.c.class_id == class_id
    without = select(session.c.learner_id).where(
        of_class & (session.c.path == LearnerPath.NON_FACE.value)
    )
    learner_ids = tx.execute(without.distinct().order_by(session.c.learner_id)).scalars().all()
    on_roster = roster_entry.c.learner_id
    enrolled = exists().where(enrolment.c.learner_id == on_roster)
    attended = exists().where(of_class & (session.c.learner_id == on_roster))
    could_come = select(on_roster).where(
        (roster_entry.c.class_id == class_id) & (enrolled | attended)
    )
    everybody = union(without, could_come).subquery()
    learners = tx.execute(select(func.count()).select_from(everybody)).scalar_one()
    return ClassShare(class_id=class_id, learner_ids=learner_ids, learners=learners)


def _ask(
    tx: Connection, learner_id: str, found: ClassShare, known: Sequence[ReviewCase], at: datetime
) -> None:
    """Have two officers look at a learner's way in this class, unless they did so already."""
    asked = [_measured(case, found.class_id) for case in known]
    if any(each is not None and each >= len(found.learner_ids) for each in asked):
        return
    opened = next((case for case in known if case.closed_at is None), None)
    if opened is None:
        details: Mapping[str, JSONValue] = {"classes": [found.to_record()]}
        open_case(tx, kind=_KIND, learner_id=learner_id, at=at, details=details)
        return
    # A proposal spoke of what was known then: it must not free another class's money.
    others = [each for each in _classes(opened) if each.get("class_id") != found.class_id]
    measure_again(tx, opened, details={**opened.details, "classes": [*others, found.to_record()]})


def _measured(case: ReviewCase, class_id: str) -> int | None:
    """Return of how many learners of a class a case speaks; None: not of that class."""
    for each in _classes(case):
        if each.get("class_id") == class_id:
            count = each.get("non_face")
            return count if isinstance(count, int) else 0
    return None


def _classes(case: ReviewCase) -> Sequence[Mapping[str, Any]]:
    classes = case.details.get("classes")
    return classes if isinstance(classes, list) else ()
