"""Consent to face processing: the purpose it is given for, and that it is in force."""

from typing import Final

from sqlalchemy import Connection

from service.sql import registry
from verifier.errors import ProtocolError

PURPOSE: Final = "attendance"
"""Faces are compared to see who attends a lesson, and for nothing else."""


def require_consent(tx: Connection, learner_id: str) -> None:
    """Return if the learner's consent is in force.

    Raises
    ------
    ProtocolError
        ``consent_missing``: no face of theirs may be looked at.
    """
    given = registry.consents(tx, learner_id=learner_id, purpose=PURPOSE)
    if not any(consent.withdrawn_at is None for consent in given):
        raise ProtocolError("consent_missing", "the learner has not consented, or has withdrawn it")
