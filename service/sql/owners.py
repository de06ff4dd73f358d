"""Whose a prompt is, for those who may see only their own."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from service.sql.tables import prompt, session
from verifier.assurance import Assurance


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who was asked by a prompt, in which session, and at which platform."""

    session_id: str
    learner_id: str
    platform_id: str
    assurance: Assurance


def asked_of(tx: Connection, prompt_id: str) -> Asked | None:
    """Return who was asked by a prompt; None if there is no such prompt."""
    row = session.c
    columns = (row.session_id, row.learner_id, row.platform_id, row.assurance)
    found = select(*columns).join(prompt).where(prompt.c.prompt_id == prompt_id)
    asked = tx.execute(found).one_or_none()
    if asked is None:
        return None
    return Asked(
        session_id=asked.session_id,
        learner_id=asked.learner_id,
        platform_id=asked.platform_id,
        assurance=Assurance(asked.assurance),
    )
