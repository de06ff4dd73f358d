"""Who can confirm that a face belongs to a name: the port to an identity authority.

公安、电子社保卡 and the reader of an identity card's chip would each be an implementation. Without
one every reference stays anchored by the institution alone, and nothing is payable on it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from verifier.enrolment import Anchor
from verifier.errors import InvalidRecordError
from verifier.identity import Identity

LONGEST_REFERENCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """An authority's word that the portrait shows the person of that name and number.

    Attributes
    ----------
    reference
        What the authority calls this confirmation, so that it can be asked again; opaque, and
        never made from name or number.
    confirmed_at
        When it was given; timezone-aware.
    """

    anchor: Anchor = Anchor.AUTHORITY
    reference: str
    confirmed_at: datetime

    def __post_init__(self) -> None:
        if not 1 <= len(self.reference) <= LONGEST_REFERENCE or not self.reference.isprintable():
            wanted = f"1 to {LONGEST_REFERENCE} printable characters"
            raise InvalidRecordError(f"a confirmation's reference is not {wanted}")
        if self.confirmed_at.utcoffset() is None:
            raise InvalidRecordError("confirmed_at has no zone; a timezone-aware time was wanted")


class IdentityAuthority(Protocol):
    """Compares a portrait with the one it holds for a name and number."""

    @property
    def name(self) -> str:
        """What it is called in records, for example ``demo-authority``."""
        ...

    @property
    def is_demo(self) -> bool:
        """Whether its word is worth nothing; production settings refuse one that says so."""
        ...

    def confirm(self, identity: Identity, portrait: bytes) -> Confirmation | None:
        """Return its confirmation, or None where it does not give one, whatever the reason.

        Parameters
        ----------
        portrait
            The encoded picture of the reference.

        Raises
        ------
        IdentityAuthorityUnavailableError
            If it could not be asked; asking again later may help.
        """
        ...


class NoIdentityAuthority:
    """Confirms nobody: the anchor of every reference stays the institution."""

    name = "none"
    is_demo = False

    def confirm(self, identity: Identity, portrait: bytes) -> Confirmation | None:  # noqa: ARG002 - the port's signature
        """Return None: there is nobody to ask."""
        return None
