"""The demo's identity authority: it knows nobody who lives.

It confirms numbers of one region only, 999999. GB/T 2260 assigns regions up to 83, and on
外国人永久居留身份证, whose first digit is 9, it would mean province 99 and country 999, neither
of which is assigned. So even where somebody sets it up by mistake, no living person's number can
ever be confirmed by it.
"""

import secrets
from datetime import date, timedelta

from pipelines.identity_authority import Confirmation
from verifier.identity import Identity, check_character
from verifier.protocols import Clock

DEMO_REGION = "999999"
DEMO_IDENTITIES = 10_000_000

_FIRST_BIRTH_DATE = date(1970, 1, 1)


class DemoIdentityAuthority:
    """Confirms whoever has a number of the demo's region, without a look at the portrait.

    Parameters
    ----------
    clock
        Says when a confirmation is given.
    """

    name = "demo-authority"
    is_demo = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def confirm(self, identity: Identity, portrait: bytes) -> Confirmation | None:
        """Return a confirmation for the demo's identities; nobody is confirmed unseen."""
        if identity.region_code != DEMO_REGION or not portrait:
            return None
        # Random, since a digest of the number could be searched for the number.
        reference = f"demo-{secrets.token_hex(16)}"
        return Confirmation(reference=reference, confirmed_at=self._clock.now())


def demo_identity(n: int) -> Identity:
    """Return the demo's ``n``-th identity, 0 <= n < ``DEMO_IDENTITIES``; each has its own number.

    Raises
    ------
    ValueError
        If ``n`` is out of range.
    """
    if not 0 <= n < DEMO_IDENTITIES:
        raise ValueError(f"n is {n}; 0 to {DEMO_IDENTITIES - 1} was wanted")
    days, sequence = divmod(n, 1000)
    born_on = _FIRST_BIRTH_DATE + timedelta(days=days)
    body = f"{DEMO_REGION}{born_on:%Y%m%d}{sequence:03}"
    return Identity(name=f"演示学员{n}", id_number=body + check_character(body))
