"""Which session, learner and platform something belongs to, and what a learner's sessions made.

Whether a caller may see it is the caller's question: compare ``platform_id``, or ask `registry`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from service.sql.lesson_store import SqlLessonReader
from service.sql.tables import enrolment, log_entry, prompt, session
from verifier.assurance import Assurance, LearnerPath
from verifier.claim import SessionAccount
from verifier.errors import UnknownSubjectError


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOwner:
    """A session, and whose it is."""

    session_id: str
    learner_id: str
    platform_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who was asked by a prompt, in which session, and at which platform."""

    prompt_id: str
    session_id: str
    learner_id: str
    platform_id: str
    assurance: Assurance
    path: LearnerPath


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidencePlace:
    """An entry of the log: its 0-based index, and whose it is.

    ``session_id`` and ``platform_id`` are None for an enrolment, which belongs to no session and
    to no platform.
    """

    index: int
    learner_id: str
    session_id: str | None
    platform_id: str | None


def owner_of_session(tx: Connection, session_id: str) -> SessionOwner:
    """Return whose a session is; ``UnknownSubjectError`` if there is none."""
    columns = (session.c.session_id, session.c.learner_id, session.c.platform_id)
    found = tx.execute(select(*columns).where(session.c.session_id == session_id)).one_or_none()
    if found is None:
        raise UnknownSubjectError("there is no session with that id")
    return SessionOwner(
        session_id=found.session_id,
        learner_id=found.learner_id,
        platform_id=found.platform_id,
    )


def asked_of(tx: Connection, prompt_id: str) -> Asked | None:
    """Return who was asked by a prompt; None if there is no such prompt."""
    row = session.c
    columns = (row.session_id, row.learner_id, row.platform_id, row.assurance, row.path)
    found = select(*columns).join(prompt).where(prompt.c.prompt_id == prompt_id)
    asked = tx.execute(found).one_or_none()
    if asked is None:
        return None
    return Asked(
        prompt_id=prompt_id,
        session_id=asked.session_id,
        learner_id=asked.learner_id,
        platform_id=asked.platform_id,
        assurance=Assurance(asked.assurance),
        path=LearnerPath(asked.path or LearnerPath.FACE),
    )


def place_of_evidence(tx: Connection, evidence_id: str) -> EvidencePlace:
    """Return where an entry stands; ``UnknownSubjectError`` if there is none about a learner.

    An enrolment is found as long as no later one took its place.
    """
    row = log_entry.c
    chosen = select(row.log_index, row.session_id).where(row.leaf_hash == _digest(evidence_id))
    entry = tx.execute(chosen).one_or_none()
    if entry is not None and entry.session_id is not None:
        owner = owner_of_session(tx, entry.session_id)
        return EvidencePlace(
            index=entry.log_index,
            learner_id=owner.learner_id,
            session_id=owner.session_id,
            platform_id=owner.platform_id,
        )
    enrolled = select(enrolment.c.learner_id).where(enrolment.c.evidence_id == evidence_id)
    learner_id = tx.execute(enrolled).scalar_one_or_none()
    if entry is None or learner_id is None:
        raise UnknownSubjectError("there is no evidence with that id")
    return EvidencePlace(
        index=entry.log_index, learner_id=learner_id, session_id=None, platform_id=None
    )


def session_accounts(tx: Connection, *, learner_id: str, class_id: str) -> Sequence[SessionAccount]:
    """Return what the learner's ended sessions in the class came to, by time.

    A session that never got its schedule never began, and is not among them.
    """
    row = session.c
    of_both = (row.learner_id == learner_id) & (row.class_id == class_id)
    ended = row.closed_index.is_not(None) & row.checkpoint_size.is_not(None)
    chosen = select(row.session_id).where(of_both & ended).order_by(row.started_at)
    reader = SqlLessonReader(tx)
    lessons = [reader.lesson(session_id) for session_id in tx.execute(chosen).scalars()]
    return [lesson.end.account for lesson in lessons if lesson.end is not None]


def _digest(evidence_id: str) -> bytes:
    try:
        return bytes.fromhex(evidence_id)
    except ValueError:
        return b""  # nothing in the log has it
