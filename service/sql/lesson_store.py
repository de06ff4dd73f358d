"""Lessons, enrolments and the log's order in SQL; see the ports in `pipelines.lesson_store`.

A unit's ``tx`` is open to whatever else belongs to the same unit of work, such as the reply that
is repeated for the same request.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import Lesson
from pipelines.lesson_store import ComparisonPurpose, FoundCase, StoredEnrolment
from service.sql import cases, tables
from service.sql.database import Database
from service.sql.entry_log import append_entry
from service.sql.insertion import insert_new
from service.sql.lesson_rows import attempt_rows, lesson_of, prompt_row, session_row, span_rows
from service.sql.playback import stretches_of
from verifier.enrolment import Anchor
from verifier.errors import LedgerError, ProtocolError, UnknownSubjectError
from verifier.playback import Stretch
from verifier.prompt import Judgement, Prompt, PromptKind

_session, _prompt, _attempt = tables.session.c, tables.prompt.c, tables.attempt.c


def count_enrolments(tx: Connection, contract_id: str) -> int:
    """Return how many learners are enrolled under a contract."""
    chosen = select(func.count()).where(tables.enrolment.c.contract_id == contract_id)
    return tx.execute(chosen).scalar_one()


class SqlLessonReader:
    """Reads lessons and enrolments in one transaction."""

    def __init__(self, tx: Connection) -> None:
        self.tx = tx

    def lesson(self, session_id: str) -> Lesson:
        """Return a lesson, in progress or ended; ``UnknownSubjectError`` if there is none."""
        return self._read(self._chosen(session_id), session_id)

    def enrolment(self, learner_id: str) -> StoredEnrolment:
        """Return a learner's enrolment; ``UnknownSubjectError`` if there is none."""
        enrolment = tables.enrolment
        own = select(enrolment).where(enrolment.c.learner_id == learner_id)
        row = self.tx.execute(own).one_or_none()
        if row is None:
            raise UnknownSubjectError("this learner is not enrolled")
        return _stored_enrolment(row)

    def comparison_count(self, learner_id: str, day: date, purpose: ComparisonPurpose) -> int:
        """Return how often a face was compared with the learner's template that day, and for it."""
        row = tables.comparison_count.c
        of_day = (row.learner_id == learner_id) & (row.day == day)
        chosen = select(row.count).where(of_day & (row.purpose == purpose.value))
        return self.tx.execute(chosen).scalar_one_or_none() or 0

    def playback(self, session_id: str) -> Sequence[Stretch]:
        """Return what heartbeats of a session came to, by time; none if there were none."""
        return stretches_of(self.tx, session_id)

    def _chosen(self, session_id: str) -> Select[Any]:
        return select(tables.session).where(_session.session_id == session_id)

    def _read(self, chosen: Select[Any], session_id: str) -> Lesson:
        row = self.tx.execute(chosen).mappings().one_or_none()
        if row is None:
            raise UnknownSubjectError("there is no session with that id")
        of_session = _prompt.session_id == session_id
        prompts = select(tables.prompt).where(of_session).order_by(_prompt.ordinal)
        attempts = (
            select(tables.attempt)
            .join(tables.prompt)
            .where(of_session)
            .order_by(_prompt.ordinal, _attempt.ordinal)
        )
        span = tables.credit_span
        spans = select(span).where(span.c.session_id == session_id).order_by(span.c.ordinal)
        return lesson_of(
            row,
            prompts=self.tx.execute(prompts).mappings().all(),
            attempts=self.tx.execute(attempts).mappings().all(),
            spans=self.tx.execute(spans).mappings().all(),
        )


class SqlLessonUnit(SqlLessonReader):
    """One unit of work on lessons; whatever it reads for a change stays locked until its end."""

    def __init__(self, tx: Connection) -> None:
        super().__init__(tx)
        self.saved: set[str] = set()  # ids of lessons that will be others once it is committed
        self._as_stored: dict[str, Lesson] = {}

    def lesson(self, session_id: str) -> Lesson:
        """Return a lesson, locked; ``UnknownSubjectError`` if there is none."""
        # Not against inserts that only refer to it: those of this unit need no second lock.
        chosen = self._chosen(session_id).with_for_update(key_share=True)
        lesson = self._read(chosen, session_id)
        self._as_stored[session_id] = lesson
        return lesson

    def lock_learner(self, learner_id: str) -> None:
        """Let no other unit open a session of this learner; ``UnknownSubjectError`` if unknown."""
        learner = tables.learner.c.learner_id
        chosen = select(learner).where(learner == learner_id).with_for_update(key_share=True)
        if self.tx.execute(chosen).one_or_none() is None:
            raise UnknownSubjectError("there is no learner with that id")

    def unfinished_of(self, learner_id: str) -> Sequence[Lesson]:
        """Return the learner's lessons that have not ended, locked."""
        of_learner = (_session.learner_id == learner_id) & _session.ended_at.is_(None)
        found = select(_session.session_id).where(of_learner).order_by(_session.opened_at)
        lessons = [self.lesson(session_id) for session_id in self.tx.execute(found).scalars()]
        # One may have ended while its lock was waited for.
        return [lesson for lesson in lessons if lesson.state.ended_at is None]

    def failed_answers(self, learner_id: str, *, since: datetime) -> Sequence[datetime]:
        """Return when the learner's answers failed since a moment, in any session and order."""
        # A session that saw nothing since then had no answer either; so few are looked through.
        recent = (_session.learner_id == learner_id) & (_session.last_event_at >= since)
        failed = (_attempt.judgement != Judgement.PASS.value) & (_attempt.at >= since)
        of_learner = _prompt.kind != PromptKind.OFFICER_CALL.value
        chosen = select(_attempt.at).select_from(
            tables.attempt.join(tables.prompt).join(tables.session)
        )
        return list(self.tx.execute(chosen.where(recent & failed & of_learner)).scalars())

    def session_count(self, learner_id: str, class_id: str) -> int:
        """Return how many sessions of the learner in the class were ever opened."""
        held = (_session.learner_id == learner_id) & (_session.class_id == class_id)
        return self.tx.execute(
            select(func.count()).select_from(tables.session).where(held)
        ).scalar_one()

    def add(self, lesson: Lesson) -> None:
        """Keep a new lesson.

        Raises
        ------
        UnknownSubjectError
            If learner, class or platform are not on record.
        """
        self._require_on_record(lesson)
        self.tx.execute(insert(tables.session).values(session_row(lesson)))
        self._write_parts(lesson, before=None)
        self._as_stored[lesson.state.session_id] = lesson

    def save(self, lesson: Lesson) -> None:
        """Keep a changed lesson and count its version up.

        Raises
        ------
        ProtocolError
            ``session_changed`` if somebody else saved it since it was read.
        LedgerError
            If it contradicts what is on record: what was judged, issued or earned stays.
        """
        session_id = lesson.state.session_id
        before = self._as_stored.pop(session_id, None) or self.lesson(session_id)
        row = session_row(lesson) | {"version": lesson.version + 1}
        this = (_session.session_id == session_id) & (_session.version == lesson.version)
        if self.tx.execute(update(tables.session).where(this).values(row)).rowcount != 1:
            raise ProtocolError("session_changed", "the session changed meanwhile; try again")
        self._write_parts(lesson, before=before)
        self.saved.add(session_id)

    def append(self, entry: PreparedEntry) -> int:
        """Give a log entry the next place and return it, 0-based and without gaps."""
        return append_entry(self.tx, entry)

    def store_enrolment(self, enrolment: StoredEnrolment) -> None:
        """Keep an enrolment over an earlier one; ``UnknownSubjectError`` for an unknown learner."""
        self.lock_learner(enrolment.learner_id)
        values = {
            "contract_id": enrolment.contract_id,
            "sealed_template": enrolment.sealed_template,
            "anchor": enrolment.anchor.value,
            "enrolled_at": enrolment.enrolled_at,
            "evidence_id": enrolment.evidence_id,
            "authority_reference": enrolment.authority_reference,
        }
        table = tables.enrolment
        if not insert_new(self.tx, table, learner_id=enrolment.learner_id, **values):
            own = table.c.learner_id == enrolment.learner_id
            self.tx.execute(update(table).where(own).values(values))

    def remove_enrolment(self, learner_id: str) -> bool:
        """Remove a learner's enrolment, sealed template and all; say whether there was one."""
        own = tables.enrolment.c.learner_id == learner_id
        return self.tx.execute(delete(tables.enrolment).where(own)).rowcount == 1

    def count_comparison(self, learner_id: str, day: date, purpose: ComparisonPurpose) -> None:
        """Count one more comparison with the learner's template that day."""
        table = tables.comparison_count
        add = sqlite.insert if self.tx.dialect.name == "sqlite" else postgresql.insert
        one = add(table).values(learner_id=learner_id, day=day, purpose=purpose.value, count=1)
        # In one statement: what two units count at the same time is both counted.
        self.tx.execute(
            one.on_conflict_do_update(
                index_elements=list(table.primary_key),
                set_={"count": table.c.count + 1},
            )
        )

    def open_case(self, case: FoundCase) -> None:
        """Have a person look at something; if the same is open already, nothing is added."""
        cases.open_case(
            self.tx,
            kind=case.kind,
            learner_id=case.learner_id,
            other_learner_id=case.other_learner_id,
            details=case.details,
            at=case.at,
        )

    def _require_on_record(self, lesson: Lesson) -> None:
        state = lesson.state
        for noun, key, wanted in (
            ("learner", tables.learner.c.learner_id, state.learner_id),
            ("class", tables.training_class.c.class_id, state.class_id),
            ("platform", tables.platform.c.platform_id, state.platform_id),
        ):
            if self.tx.execute(select(key).where(key == wanted)).one_or_none() is None:
                raise UnknownSubjectError(f"there is no {noun} with that id")

    def _write_parts(self, lesson: Lesson, *, before: Lesson | None) -> None:
        """Write what was added to a lesson, and the prompts that changed."""
        self._write_prompts(lesson, () if before is None else before.state.prompts)
        judged = _added(attempt_rows(lesson), [] if before is None else attempt_rows(before))
        earned = _added(span_rows(lesson), [] if before is None else span_rows(before))
        for table, rows in ((tables.attempt, judged), (tables.credit_span, earned)):
            if rows:
                self.tx.execute(insert(table), rows)

    def _write_prompts(self, lesson: Lesson, before: Sequence[Prompt]) -> None:
        session_id, prompts = lesson.state.session_id, lesson.state.prompts
        if [p.prompt_id for p in before] != [p.prompt_id for p in prompts[: len(before)]]:
            raise LedgerError("prompts that were issued are missing from the session")
        # Changed ones first: of two open prompts nobody could say which one is meant.
        for ordinal, (was, now) in enumerate(zip(before, prompts, strict=False)):
            if was != now:
                row = prompt_row(session_id, ordinal, now)
                self.tx.execute(
                    update(tables.prompt).where(_prompt.prompt_id == now.prompt_id).values(row)
                )
        issued = [
            prompt_row(session_id, ordinal, prompt)
            for ordinal, prompt in enumerate(prompts)
            if ordinal >= len(before)
        ]
        if issued:
            self.tx.execute(insert(tables.prompt), issued)


class SqlLessonStore:
    """Implements :class:`pipelines.lesson_store.LessonStore`; safe for threads.

    ``on_saved`` hears the ids of lessons that changed, once that is durable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_saved: Callable[[set[str]], None] = _tell_nobody

    @contextmanager
    def reading(self) -> Iterator[SqlLessonReader]:
        """Return a unit that only reads."""
        with self._database.reading() as tx:
            yield SqlLessonReader(tx)

    @contextmanager
    def writing(self) -> Iterator[SqlLessonUnit]:
        """Return a unit that is committed, durably, when its block ends without an exception."""
        with self._database.writing() as tx:
            unit = SqlLessonUnit(tx)
            yield unit
        if unit.saved:
            self.on_saved(unit.saved)

    def unfinished(self, *, expired_at: datetime | None = None) -> Sequence[str]:
        """Return the ids of lessons that have not ended, or only those that expired by then."""
        found = select(_session.session_id).where(_session.ended_at.is_(None))
        if expired_at is not None:
            found = found.where(_session.expires_at <= expired_at)
        return self._ids(found.order_by(_session.expires_at))

    def never_begun(self) -> Sequence[str]:
        """Return the ids of lessons that have not ended and never got their schedule."""
        never = _session.ended_at.is_(None) & _session.checkpoint_size.is_(None)
        return self._ids(select(_session.session_id).where(never).order_by(_session.opened_at))

    def enrolments(self, *, after: str, limit: int) -> Sequence[StoredEnrolment]:
        """Return the first ``limit`` enrolments by learner's id, of ids above ``after``."""
        learner_id = tables.enrolment.c.learner_id
        chosen = select(tables.enrolment).where(learner_id > after)
        with self._database.reading() as tx:
            found = tx.execute(chosen.order_by(learner_id).limit(limit))
            return [_stored_enrolment(row) for row in found]

    def _ids(self, chosen: Select[Any]) -> Sequence[str]:
        with self._database.reading() as tx:
            return list(tx.execute(chosen).scalars())


def _tell_nobody(_session_ids: set[str]) -> None:
    """Hear what changed, and do nothing."""


def _stored_enrolment(row: Row[Any]) -> StoredEnrolment:
    return StoredEnrolment(
        learner_id=row.learner_id,
        contract_id=row.contract_id,
        sealed_template=bytes(row.sealed_template),
        anchor=Anchor(row.anchor),
        enrolled_at=row.enrolled_at,
        evidence_id=row.evidence_id,
        authority_reference=row.authority_reference,
    )


def _added(rows: list[dict[str, Any]], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that are new; ``LedgerError`` if those on record are not the first ones."""
    if rows[: len(before)] != before:
        raise LedgerError("what is on record of the session would change")
    return rows[len(before) :]
