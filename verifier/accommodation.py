"""Accommodations: another way for learners whom the usual one does not fit, granted beforehand.

One officer proposes a grant, saying why; another approves it. From then on, and never before, it
is in force for as long as it says. What it opens is access: the same prompts have to be answered,
and the same rules say what they are worth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from verifier.errors import InvalidRecordError
from verifier.list_entry import is_same_person


class AccommodationKind(StrEnum):
    """What is granted."""

    NON_FACE = "non_face"  # to be asked for something other than the face
    EXTRA_TIME = "extra_time"  # more time for every answer


LONGEST_REASON: Final = 500
"""Characters in which an officer says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One accommodation of one learner, for a time.

    Attributes
    ----------
    reason
        Why, in the officer's words: perhaps of somebody's health or faith, for officers only.
    valid_from, valid_to
        The period asked for; in force from the first, or from the approval where that is later,
        to just before the second.
    proposed_by, approved_by
        Two persons, not accounts. ``approved_by`` is None in a proposal.
    revoked_by, revoked_at
        One person is enough: it only takes away. None while it stands.

    Raises
    ------
    InvalidRecordError
        If a text is empty or the reason too long, a time has no zone or comes in the wrong order,
        approval or revocation are half there, or one person both proposed and approved.
    """

    grant_id: str
    learner_id: str
    kind: AccommodationKind
    reason: str
    valid_from: datetime
    valid_to: datetime
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
    revoked_by: str | None = None
    revoked_at: datetime | None = None

    def __repr__(self) -> str:
        # Neither why nor whose: a repr ends up in logs.
        return f"Grant(grant_id={self.grant_id!r}, kind={self.kind.value!r})"

    def __post_init__(self) -> None:
        for name in ("grant_id", "learner_id", "reason", "proposed_by"):
            _require(bool(getattr(self, name).strip()), f"{name} is empty; a text was wanted")
        length = len(self.reason)
        _require(length <= LONGEST_REASON, f"reason has {length} characters; {LONGEST_REASON} fit")
        for name in ("valid_from", "valid_to", "proposed_at", "approved_at", "revoked_at"):
            at: datetime | None = getattr(self, name)
            _require(at is None or at.utcoffset() is not None, f"{name} has no time zone")
        _require(
            self.valid_from < self.valid_to,
            f"valid_to {self.valid_to} is not after valid_from {self.valid_from}",
        )
        self._require_two_persons()
        _require(
            (self.revoked_by is None) == (self.revoked_at is None),
            "revoked_by and revoked_at go together",
        )

    def _require_two_persons(self) -> None:
        by, at = self.approved_by, self.approved_at
        _require((by is None) == (at is None), "approved_by and approved_at go together")
        # Whoever could approve their own proposal would open a way past the camera alone.
        alone = by is not None and is_same_person(by, self.proposed_by)
        _require(not alone, "proposed and approved by one person; two wanted")
        _require(
            at is None or self.proposed_at <= at,
            f"approved_at {at} lies before proposed_at {self.proposed_at}",
        )

    @property
    def is_approved(self) -> bool:
        """Whether a second person approved it; otherwise it is a proposal."""
        return self.approved_at is not None

    def in_force(self, at: datetime) -> bool:
        """Whether it had been granted by ``at``, for a time that includes ``at``.

        A period that begins before the approval counts from the approval on: a session that was
        opened without a grant is never covered by one made afterwards.
        """
        granted = self.approved_at is not None and self.approved_at <= at
        revoked = self.revoked_at is not None and self.revoked_at <= at
        return granted and not revoked and self.valid_from <= at < self.valid_to

    def require_at_most(self, longest_days: int) -> None:
        """Raise ``InvalidRecordError`` if it would be in force for more than ``longest_days``."""
        asked = self.valid_to - max(self.valid_from, self.proposed_at)
        _require(
            asked <= timedelta(days=longest_days),
            f"valid_to lies {asked.days} days ahead; at most {longest_days} were wanted",
        )


def first_in_force(grants: Iterable[Grant], kind: AccommodationKind, at: datetime) -> Grant | None:
    """Return the grant of that kind which is in force at ``at``, of several the longest."""
    standing = [grant for grant in grants if grant.kind is kind and grant.in_force(at)]
    return max(standing, key=lambda grant: (grant.valid_to, grant.grant_id), default=None)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidRecordError(message)
