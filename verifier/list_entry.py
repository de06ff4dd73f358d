"""Black and white lists: who is on one, since when, why, and which two persons said so.

One person proposes an entry and another approves it (blacklisting takes two); before that it is a
proposal and nothing more. Start at :func:`check_subject`. The black list is asked first: no
white-list entry ever lifts a block.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from verifier.errors import InvalidRecordError
from verifier.transparency.canonical_json import JSONValue


class ListName(StrEnum):
    """Which list an entry is on."""

    BLACK = "black"
    WHITE = "white"


class SubjectKind(StrEnum):
    """What an entry may be about."""

    LEARNER = "learner"
    INSTITUTION = "institution"
    PLATFORM = "platform"
    ENTERPRISE = "enterprise"


class ListStanding(StrEnum):
    """How a subject stands on the lists."""

    BLACK = "black"
    WHITE = "white"
    UNLISTED = "unlisted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEntry:
    """One subject on one list, for a time.

    Attributes
    ----------
    valid_from, valid_to
        In force from the first to just before the second; None: until further notice. The period
        is what two persons approved, so it may begin before their approval.
    reason_code
        Machine-readable, such as ``proxy_attendance``.
    proposed_by, approved_by
        Persons, not accounts; two different ones. ``approved_by`` is None in a proposal.
    extra
        Keys of the public record that this version does not know, kept and otherwise ignored.

    Raises
    ------
    InvalidRecordError
        If a text is empty, a time has no zone or comes in the wrong order, the approval is
        half there, or one person both proposed and approved.
    """

    entry_id: str
    list_name: ListName
    subject_kind: SubjectKind
    subject_id: str
    valid_from: datetime
    valid_to: datetime | None
    reason_code: str
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
    extra: Mapping[str, JSONValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("entry_id", "subject_id", "reason_code", "proposed_by"):
            _require(bool(getattr(self, name).strip()), f"{name} is empty; a text was wanted")
        for name in ("valid_from", "valid_to", "proposed_at", "approved_at"):
            at: datetime | None = getattr(self, name)
            zoned = at is None or at.utcoffset() is not None
            _require(zoned, f"{name} has no time zone")
        _require(
            self.valid_to is None or self.valid_from < self.valid_to,
            f"valid_to {self.valid_to} is not after valid_from {self.valid_from}",
        )
        self._require_two_persons()

    def _require_two_persons(self) -> None:
        by, at = self.approved_by, self.approved_at
        _require((by is None) == (at is None), "approved_by and approved_at go together")
        _require(by is None or bool(by.strip()), "approved_by is empty; a text was wanted")
        # A person who could approve their own proposal would list, or unlist, alone.
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

    def concerns(self, kind: SubjectKind, subject_id: str) -> bool:
        """Whether the entry is about that subject."""
        return (self.subject_kind, self.subject_id) == (kind, subject_id)

    def covers(self, at: datetime) -> bool:
        """Whether ``at`` lies in the entry's period, approved or not."""
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)

    def in_force(self, at: datetime) -> bool:
        """Whether two persons put the subject on the list for a time that includes ``at``."""
        return self.is_approved and self.covers(at)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidRecordError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListCheck:
    """How one subject stands at one time.

    Attributes
    ----------
    black, white
        Entries in force, by the time they began.
    proposed
        Proposals for the black list that would be in force had anybody approved them.
    """

    subject_kind: SubjectKind
    subject_id: str
    at: datetime
    black: tuple[ListEntry, ...]
    white: tuple[ListEntry, ...]
    proposed: tuple[ListEntry, ...]

    @property
    def standing(self) -> ListStanding:
        """Where the subject stands; the black list goes before the white one."""
        if self.black:
            return ListStanding.BLACK
        return ListStanding.WHITE if self.white else ListStanding.UNLISTED


# Blanks, and the dots that stand between the parts of a name written in characters.
_BETWEEN_CHARACTERS: Final = re.compile(r"(?<=[^\x00-\x7f])[ .·•‧・･∙⋅●]+(?=[^\x00-\x7f])")


def is_same_person(one: str, other: str) -> bool:
    """Say whether two names, as people type them, are one.

    Width and case aside, blanks between words of letters are one blank, and blanks and middle dots
    between other characters are none: 王 芳 is 王芳, and 买买提·艾力 has dots of five kinds.
    """
    return _canonical_person(one) == _canonical_person(other)


def _canonical_person(name: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return _BETWEEN_CHARACTERS.sub("", folded)


def check_subject(
    entries: Iterable[ListEntry], kind: SubjectKind, subject_id: str, at: datetime
) -> ListCheck:
    """Say how a subject stands at ``at``; entries about others are passed over."""
    own = [entry for entry in in_order(entries) if entry.concerns(kind, subject_id)]
    standing = [entry for entry in own if entry.in_force(at)]
    waiting = [entry for entry in own if not entry.is_approved and entry.covers(at)]
    return ListCheck(
        subject_kind=kind,
        subject_id=subject_id,
        at=at,
        black=tuple(entry for entry in standing if entry.list_name is ListName.BLACK),
        white=tuple(entry for entry in standing if entry.list_name is ListName.WHITE),
        proposed=tuple(entry for entry in waiting if entry.list_name is ListName.BLACK),
    )


def in_order(entries: Iterable[ListEntry]) -> list[ListEntry]:
    """Return entries by the time they began, so that the order they came in decides nothing."""
    return sorted(entries, key=lambda entry: (entry.valid_from, entry.entry_id))
