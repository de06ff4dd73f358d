"""A whole lesson of the engine over SQL: what is asked of it afterwards is on record."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy import func, select

from pipelines.archive import Archive
from pipelines.lesson_engine import LessonEngine
from pipelines.private_files import load_or_create_signer
from service.sql.database import Database
from service.sql.entry_log import SqlEntrySource
from service.sql.gate_facts import eligibility_facts
from service.sql.lesson_store import SqlLessonReader, SqlLessonStore
from service.sql.session_index import (
    Asked,
    asked_of,
    owner_of_session,
    place_of_evidence,
    session_accounts,
)
from service.sql.tables import log_entry
from tests.pipelines.lesson_stage import LEARNER_FACE, NOBODY, STARTS, LessonStage
from tests.service.sql.lesson_samples import entry, register
from verifier.answer import CallFinding
from verifier.assurance import Assurance, LearnerPath
from verifier.enrolment import Anchor
from verifier.errors import UnknownSubjectError
from verifier.prompt import AddedBecause, PromptKind
from verifier.session_score import Decision
from verifier.session_state import SessionPhase

if TYPE_CHECKING:
    from tests.memory_store import MemoryStore

LEARNER, CLASS, PLATFORM = "learner-1", "class-1", "platform-1"


class StageStore(SqlLessonStore):
    """The store of a stage, on which its learner is on record already."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.learners: set[str] = set()
        with database.writing() as tx:
            register(tx, learner_id=LEARNER, class_id=CLASS, platform_id=PLATFORM)


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[LessonStage]:
    """Set a stage whose truth is in SQL; its archive is verified at the end."""
    built = LessonStage.build(tmp_path / "in-memory")
    built.archive.close()
    secrets = tmp_path / "in-memory" / "keys"
    built.folder = tmp_path
    built.archive = Archive.open(
        tmp_path / "archive",
        authority="test",
        keystore=built.keystore,
        signer=load_or_create_signer(secrets / "signing.key", "test.example/log"),
        source=SqlEntrySource(database),
    )
    built.store = cast("MemoryStore", StageStore(database))
    built.restart()
    yield built
    built.finish()


def test_a_lesson_is_held_scored_and_credited(stage: LessonStage, database: Database) -> None:
    session_id = stage.open(LEARNER, minutes=10)
    stage.attend(session_id, minutes=10)
    result = stage.end(session_id)
    assert result.state.phase is SessionPhase.CLOSED
    with database.reading() as tx:
        (account,) = session_accounts(tx, learner_id=LEARNER, class_id=CLASS)
        facts = eligibility_facts(
            tx,
            learner_id=LEARNER,
            class_id=CLASS,
            purpose="attendance",
            as_of=stage.clock.now(),
            published_size=stage.archive.publish().size,
        )
        unproven = eligibility_facts(
            tx,
            learner_id=LEARNER,
            class_id=CLASS,
            purpose="attendance",
            as_of=stage.clock.now(),
            published_size=result.closed_index,
        )
    assert account == result.account
    (session,) = facts.sessions
    assert (session.session_id, session.decision) == (session_id, Decision.ACCEPT)
    assert session.credited_s == result.account.credit.credited_s > 500
    assert session.proven
    assert not unproven.sessions[0].proven
    assert facts.enrolment is not None
    assert facts.enrolment.anchor is Anchor.OFFICER
    assert facts.class_fact is not None
    assert (facts.consents, facts.roster, facts.claimed_s, facts.list_entries) == (
        (),
        None,
        None,
        (),
    )
    assert facts.registered_at is not None


def test_evidence_is_found_by_its_id_and_belongs_to_its_session(
    stage: LessonStage, database: Database
) -> None:
    session_id = stage.open(LEARNER)
    prompt = stage.prompt(session_id)
    answer = stage.answer(session_id, prompt, LEARNER_FACE)
    with database.reading() as tx:
        place = place_of_evidence(tx, answer.evidence_id)
        assert (place.learner_id, place.platform_id) == (LEARNER, PLATFORM)
        found = select(log_entry.c.leaf_hash).where(log_entry.c.log_index == place.index)
        assert bytes(tx.execute(found).scalar_one()).hex() == answer.evidence_id
        asked = Asked(
            prompt_id=prompt.prompt_id,
            session_id=session_id,
            learner_id=LEARNER,
            platform_id=PLATFORM,
            assurance=Assurance.PLATFORM,
            path=LearnerPath.FACE,
        )
        assert asked_of(tx, prompt.prompt_id) == asked
        assert asked_of(tx, session_id) is None
        assert owner_of_session(tx, session_id).platform_id == PLATFORM
        for ask, unknown in (
            (owner_of_session, prompt.prompt_id),
            (place_of_evidence, "00" * 32),
            (place_of_evidence, "no hex"),
        ):
            with pytest.raises(UnknownSubjectError):
                ask(tx, unknown)


def test_an_enrolment_is_evidence_of_no_platform(stage: LessonStage, database: Database) -> None:
    prepared = entry("enrolment")
    stage.enrol(LEARNER)
    with SqlLessonStore(database).writing() as unit:
        index = unit.append(prepared)
        enrolment = replace(unit.enrolment(LEARNER), evidence_id=prepared.evidence_id)
        unit.store_enrolment(enrolment)
        place = place_of_evidence(unit.tx, prepared.evidence_id)
    assert (place.index, place.learner_id, place.platform_id) == (index, LEARNER, None)


def test_an_engine_that_starts_again_goes_on_where_the_other_was_killed(
    stage: LessonStage, database: Database
) -> None:
    session_id = stage.open(LEARNER, minutes=10)
    stage.attend(session_id, minutes=5)
    before = stage.engine
    stage.restart()
    assert stage.engine is not before
    stage.attend(session_id, minutes=5)
    assert stage.end(session_id).account.score.decision is Decision.ACCEPT
    with database.reading() as tx:
        count = tx.execute(select(func.count()).select_from(log_entry)).scalar_one()
    assert stage.archive.publish().size == count


def test_failed_answers_pause_a_learner_across_sessions_and_restarts(
    stage: LessonStage, database: Database
) -> None:
    first = stage.open(LEARNER)
    for _ in range(3):
        stage.answer(first, stage.prompt(first), NOBODY)
    stage.restart()
    second = stage.open(LEARNER)
    since = STARTS - timedelta(seconds=1)
    with SqlLessonStore(database).writing() as unit:
        assert len(unit.failed_answers(LEARNER, since=since)) == 3
        assert unit.failed_answers(LEARNER, since=stage.clock.now() + timedelta(seconds=1)) == []
        assert unit.failed_answers("nobody", since=since) == []
    for _ in range(2):
        stage.answer(second, stage.prompt(second), NOBODY)
    stage.restart()
    assert stage.engine.poll(second) is None
    third = stage.open(LEARNER)
    with database.reading() as tx:
        state = SqlLessonReader(tx).lesson(third).state
    assert state.paused_until == stage.clock.now() + timedelta(minutes=30)
    stage.clock.advance(30 * 60)
    stage.answer(third, stage.prompt(third))
    assert stage.engine.close(third).state.counts.answered == 1


def test_what_officers_and_doubts_add_is_kept(stage: LessonStage, database: Database) -> None:
    session_id = stage.open(LEARNER)
    stage.answer(session_id, stage.prompt(session_id))
    call = stage.engine.add_prompt(session_id, kind=PromptKind.OFFICER_CALL, by="officer-1")
    stage.restart()
    stage.engine.record_call(
        session_id, prompt_id=call.prompt_id, finding=CallFinding.NOT_REACHED, by="officer-1"
    )
    stage.clock.advance(20 * 60)
    stage.engine.poll(session_id)
    with SqlLessonStore(database).writing() as unit:
        lesson = unit.lesson(session_id)
        assert unit.failed_answers(LEARNER, since=STARTS) == []
    assert lesson.state.prompts[1].added_because is AddedBecause.SUPERVISOR
    stage.restart()
    result = stage.engine.close(session_id)
    kept = lesson.state.prompts[:-1]  # of the last one nothing was known yet
    assert result.state.prompts[: len(kept)] == kept


def test_a_session_by_grant_keeps_its_codes(stage: LessonStage, database: Database) -> None:
    session_id = stage.engine.open(
        learner_id=LEARNER,
        class_id=CLASS,
        platform_id=PLATFORM,
        planned_minutes=10,
        path=LearnerPath.NON_FACE,
        grant_id="grant-1",
        extra_time=True,
    )
    prompt = stage.prompt(session_id)
    view = stage.engine.answer(
        session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, typed="wrong"
    )
    stage.restart()
    again = stage.prompt(session_id)
    assert again == view.asked_again
    assert again.code not in {None, prompt.code}
    stage.engine.answer(session_id, prompt_id=again.prompt_id, nonce=again.nonce, typed=again.code)
    assert stage.engine.close(session_id).evidence.path is LearnerPath.NON_FACE
    with database.reading() as tx:
        lesson = SqlLessonReader(tx).lesson(session_id)
    assert (lesson.grant_id, lesson.extra_time) == ("grant-1", True)


def test_a_session_that_never_began_is_no_fact(stage: LessonStage, database: Database) -> None:
    stage.enrol(LEARNER)
    engine: LessonEngine = stage.engine
    with pytest.raises(AttributeError):
        # The archive fails after the commitment was kept and before the schedule followed.
        LessonEngine(
            checker=engine.checker,
            calibrations=engine.calibrations,
            templates=engine.templates,
            store=engine.store,
            archive=cast("Archive", _NoCheckpoints(stage.archive)),
            policy=engine.policy,
            clock=engine.clock,
        ).open(learner_id=LEARNER, class_id=CLASS, platform_id=PLATFORM, planned_minutes=5)
    assert engine.store.unfinished() != []
    with database.reading() as tx:
        facts = eligibility_facts(
            tx,
            learner_id=LEARNER,
            class_id=CLASS,
            purpose="attendance",
            as_of=STARTS + timedelta(hours=1),
            published_size=0,
        )
        assert session_accounts(tx, learner_id=LEARNER, class_id=CLASS) == []
    assert facts.sessions == ()


class _NoCheckpoints:
    """An archive that signs nothing new."""

    def __init__(self, archive: Archive) -> None:
        self.evidence, self.publish = archive.evidence, archive.publish
        self.witnesses = archive.witnesses
