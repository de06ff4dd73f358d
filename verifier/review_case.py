"""Cases that only persons decide: what was noticed, what two persons found, what still stands.

The engine opens a case and never closes one. One officer proposes what it came to and another
approves it. A case *stands* until it is found that nothing is wrong any more; while it stands the
gate refers (:mod:`verifier.eligibility_rules`), and no money is taken from anybody: that takes an
entry on the black list, which two persons make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from verifier.errors import InvalidRecordError
from verifier.list_entry import is_same_person
from verifier.transparency.canonical_json import JSONValue


class CaseKind(StrEnum):
    """What was noticed."""

    DUPLICATE_FACE = "duplicate_face"  # one face under two identities
    TOO_MANY_COMPARISONS = "too_many_comparisons"  # with one learner's template, in one day
    NON_FACE_SHARE = "non_face_share"  # too many of a class are known otherwise than by the face


class CaseResolution(StrEnum):
    """What a case came to."""

    DIFFERENT_PEOPLE = "different_people"  # they only look alike
    SAME_PERSON = "same_person"  # one person with two identities: what follows is still to come
    EXPLAINED = "explained"  # nothing is wrong, or what had to follow has followed


RESOLUTIONS: Final = {
    CaseKind.DUPLICATE_FACE: frozenset(CaseResolution),
    CaseKind.TOO_MANY_COMPARISONS: frozenset({CaseResolution.EXPLAINED}),
    CaseKind.NON_FACE_SHARE: frozenset({CaseResolution.EXPLAINED}),
}
"""What a case of each kind may come to."""


def still_stands(resolution: CaseResolution | None) -> bool:
    """Say whether a case that was closed so, None: not at all, still asks for a decision."""
    return resolution in {None, CaseResolution.SAME_PERSON}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCase:
    """One case.

    Attributes
    ----------
    learner_ids
        Whom it is about: of a duplicate face the two learners, by id; else one.
    details
        What was measured, for officers only; `earlier` findings among it.
    resolution
        As proposed; it holds once ``closed_at`` is there.
    proposed_by, closed_by
        Two persons.

    Raises
    ------
    InvalidRecordError
        If it is about the wrong number of learners, came to what no such case comes to, or one
        person both proposed and approved.
    """

    case_id: str
    kind: CaseKind
    learner_ids: tuple[str, ...]
    opened_at: datetime
    details: Mapping[str, JSONValue] = field(default_factory=dict, repr=False)
    resolution: CaseResolution | None = None
    proposed_by: str | None = None
    proposed_at: datetime | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None

    def __post_init__(self) -> None:
        wanted = 2 if self.kind is CaseKind.DUPLICATE_FACE else 1
        count = len(set(self.learner_ids))
        _require(count == wanted, f"{self.kind} about {count} learners; {wanted} wanted")
        known = self.resolution is None or self.resolution in RESOLUTIONS[self.kind]
        _require(known, f"{self.kind} does not come to {self.resolution}")
        said = (self.resolution, self.proposed_by, self.proposed_at)
        _require(len({each is None for each in said}) == 1, "a proposal is half there")
        self._require_two_persons()

    def _require_two_persons(self) -> None:
        by, at = self.closed_by, self.closed_at
        _require((by is None) == (at is None), "closed_by and closed_at go together")
        if by is None:
            return
        proposed_by = self.proposed_by
        _require(proposed_by is not None, "closed without a proposal")
        alone = proposed_by is not None and is_same_person(by, proposed_by)
        _require(not alone, "proposed and approved by one person; two wanted")

    @property
    def earlier(self) -> Sequence[JSONValue]:
        """What two persons had found before the case was opened again, the first time first."""
        earlier = self.details.get("earlier")
        return earlier if isinstance(earlier, list) else ()

    @property
    def finding(self) -> CaseResolution | None:
        """What two persons found, and holds; None: nothing as yet.

        What they found holds until two find something else: one who proposes changes nothing.
        """
        if self.closed_at is not None:
            return self.resolution
        last = self.earlier[-1] if self.earlier else None
        found = last.get("resolution") if isinstance(last, Mapping) else None
        # Explained is no answer to what was noticed again since.
        return CaseResolution.SAME_PERSON if found == CaseResolution.SAME_PERSON else None

    @property
    def stands(self) -> bool:
        """Whether it still asks for a decision."""
        return self.closed_at is None or still_stands(self.resolution)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidRecordError(message)
