"""Whose a prompt is, for those who may see only their own."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from service.sql.tables import prompt, session


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who was asked by a prompt, in which session, and at which platform."""

    session_id: str
    learner_id: str
    platform_id: str


def asked_of(tx: Connection, prompt_id: str) -> Asked | None:
    """Return who was asked by a prompt; None if there is no such prompt."""
    columns = (session.c.session_id, session.c.learner_id, session.c.platform_id)
    found = select(*columns).join(prompt).where(prompt.c.prompt_id == prompt_id)
    row = tx.execute(found).one_or_none()
    if row is None:
        return None
    return Asked(session_id=row.session_id, learner_id=row.learner_id, platform_id=row.platform_id)
