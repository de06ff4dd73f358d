"""Whose something is, for those who may see only their own."""

from sqlalchemy import Connection, select

from service.sql.tables import prompt, session


def session_of_prompt(tx: Connection, prompt_id: str) -> tuple[str, str] | None:
    """Return a prompt's session and that session's platform; None if there is no such prompt."""
    columns = (session.c.session_id, session.c.platform_id)
    found = select(*columns).join(prompt).where(prompt.c.prompt_id == prompt_id)
    row = tx.execute(found).one_or_none()
    return None if row is None else (row.session_id, row.platform_id)
