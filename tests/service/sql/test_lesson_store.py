"""A lesson comes back as it was kept, or was never kept at all."""

from dataclasses import replace
from datetime import date, timedelta
from threading import Barrier, Thread

import pytest
from hypothesis import HealthCheck, example, given, settings
from sqlalchemy import func, insert, select

from pipelines.clock import ManualClock
from pipelines.comparison_budget import ComparisonBudget
from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import FirstCheckpoint
from pipelines.lesson_store import (
    ComparisonPurpose,
    EntrySource,
    FoundCase,
    LessonStore,
    StoredEnrolment,
)
from service.sql import tables
from service.sql.cases import cases
from service.sql.database import Database
from service.sql.entry_log import SqlEntrySource
from service.sql.errors import StorageBusyError
from service.sql.lesson_store import SqlLessonStore
from tests.service.sql.lesson_samples import (
    STARTS,
    STEPS,
    WHOLE_LESSON,
    Step,
    add_opened,
    courses,
    entry,
    fresh,
    opened,
    register,
    step,
)
from verifier import session as acts
from verifier.enrolment import Anchor
from verifier.errors import LedgerError, ProtocolError, UnknownSubjectError
from verifier.policy_groups import ComparisonRules
from verifier.review_case import CaseKind


@pytest.fixture
def store(database: Database) -> SqlLessonStore:
    """Give a store in which learner, class and platform are on record."""
    with database.writing() as tx:
        register(tx)
    return SqlLessonStore(database)


@pytest.fixture
def session_id(store: SqlLessonStore) -> str:
    """Open a lesson and return its id."""
    with store.writing() as unit:
        return add_opened(unit).state.session_id


def test_it_is_a_store_of_lessons(database: Database) -> None:
    store: LessonStore = SqlLessonStore(database)
    source: EntrySource = SqlEntrySource(database)
    assert (list(store.unfinished()), source.entry_count()) == ([], 0)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
@example(steps=WHOLE_LESSON)
def test_what_is_saved_is_what_is_loaded(database: Database, steps: list[Step]) -> None:
    """After each thing that may happen in a lesson."""
    learner_id, class_id, platform_id = fresh("l"), fresh("c"), fresh("p")
    store = SqlLessonStore(database)
    with store.writing() as unit:
        register(unit.tx, learner_id=learner_id, class_id=class_id, platform_id=platform_id)
        lesson = opened(
            learner_id=learner_id,
            class_id=class_id,
            platform_id=platform_id,
            index=unit.append(entry()),
            number=0,
        )
        unit.add(lesson)
    for taken in steps:
        with store.writing() as unit:
            lesson = courses(unit, unit.lesson(lesson.state.session_id), taken)
            unit.save(lesson)
        lesson = replace(lesson, version=lesson.version + 1)
        with store.reading() as reader:
            assert reader.lesson(lesson.state.session_id) == lesson
    if steps == WHOLE_LESSON:
        assert lesson.end is not None
        assert len(lesson.end.account.credit.spans) == 3  # the middle one holds the miss


def test_an_unknown_lesson_learner_or_enrolment_is_said_to_be_unknown(
    store: SqlLessonStore,
) -> None:
    with store.writing() as unit:
        for ask in (unit.lesson, unit.lock_learner, unit.enrolment):
            with pytest.raises(UnknownSubjectError):
                ask("nobody")


@pytest.mark.parametrize("unknown", ["learner_id", "class_id", "platform_id"])
def test_a_lesson_of_nobody_is_refused(store: SqlLessonStore, unknown: str) -> None:
    with pytest.raises(UnknownSubjectError), store.writing() as unit:
        unit.add(opened(index=unit.append(entry()), number=0, **{unknown: "x"}))
    assert store.unfinished() == []


def test_a_learner_has_one_lesson_at_a_time(store: SqlLessonStore, session_id: str) -> None:
    with pytest.raises(StorageBusyError), store.writing() as unit:
        add_opened(unit)
    with store.writing() as unit:
        lesson = unit.lesson(session_id)
        unit.save(replace(lesson, state=acts.abandon(lesson.state, at=STARTS)))
        second = add_opened(unit)
    assert (second.number, list(store.unfinished())) == (1, [second.state.session_id])


def test_unfinished_lessons_are_found_by_learner_and_by_time(
    store: SqlLessonStore, session_id: str
) -> None:
    with store.writing() as unit:
        (lesson,) = unit.unfinished_of("l")
        assert unit.unfinished_of("another") == []
    assert lesson.state.session_id == session_id
    assert store.unfinished(expired_at=lesson.expires_at) == [session_id]
    assert store.unfinished(expired_at=lesson.expires_at - timedelta(microseconds=1)) == []


def test_a_lesson_that_changed_meanwhile_is_not_overwritten(
    store: SqlLessonStore, session_id: str
) -> None:
    with store.reading() as reader:
        stale = reader.lesson(session_id)
    with store.writing() as unit:
        unit.save(unit.lesson(session_id))
    with pytest.raises(ProtocolError, match="meanwhile") as refused, store.writing() as unit:
        unit.save(stale)
    assert refused.value.code == "session_changed"


def test_of_two_who_change_a_lesson_one_wins(store: SqlLessonStore, session_id: str) -> None:
    """Both read the same; both append; one of the two appended entries is kept."""
    with store.reading() as reader:
        read = reader.lesson(session_id)
    outcomes: list[str] = []
    start = Barrier(2)

    def change() -> None:
        start.wait()
        try:
            with store.writing() as unit:
                unit.append(entry())
                unit.save(read)
            outcomes.append("saved")
        except ProtocolError as error:
            outcomes.append(error.code)

    threads = [Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["saved", "session_changed"]
    with store.reading() as reader:
        assert reader.lesson(session_id).version == 1
        kept = reader.tx.execute(select(func.count()).select_from(tables.log_entry)).scalar_one()
    assert kept == 2  # the opening one, and the winner's


def test_a_unit_sees_a_lesson_only_when_the_one_before_is_done(
    store: SqlLessonStore, session_id: str
) -> None:
    """Reading for a change waits; so nobody decides on what is about to change."""
    versions: list[int] = []
    entered = Barrier(2)

    def later() -> None:
        entered.wait()
        with store.writing() as unit:
            versions.append(unit.lesson(session_id).version)

    thread = Thread(target=later)
    thread.start()
    with store.writing() as unit:
        lesson = unit.lesson(session_id)
        entered.wait()
        thread.join(timeout=0.2)
        unit.save(lesson)
    thread.join()
    assert versions == [1]


def test_what_is_on_record_of_a_lesson_stays(store: SqlLessonStore, session_id: str) -> None:
    with store.writing() as unit:
        lesson = unit.lesson(session_id)
        begun = replace(lesson, checkpoint=FirstCheckpoint(size=1, root=b"r" * 32))
        asked = courses(unit, begun, step())
        unit.save(courses(unit, asked, step()))
    with store.reading() as reader:
        answered = reader.lesson(session_id)
    (prompt,) = answered.state.prompts
    without_prompt = replace(answered.state, prompts=())
    without_attempt = replace(answered.state, prompts=(replace(prompt, attempts=()),))
    later = replace(prompt.attempts[0], at=STARTS)
    other_attempt = replace(answered.state, prompts=(replace(prompt, attempts=(later,)),))
    for contradiction in (
        replace(answered, state=without_prompt, answers=()),
        replace(answered, state=without_attempt, answers=()),
        replace(answered, state=other_attempt),
        replace(answered, answers=()),
    ):
        with pytest.raises(LedgerError), store.writing() as unit:
            unit.save(contradiction)
    with store.reading() as reader:
        assert reader.lesson(session_id) == answered


def test_scores_and_secrets_are_not_readable_in_the_database(
    store: SqlLessonStore, session_id: str
) -> None:
    """Of what tells a score or a future prompt nothing stands there in clear."""
    with store.writing() as unit:
        lesson = unit.lesson(session_id)
        begun = replace(lesson, checkpoint=FirstCheckpoint(size=1, root=b"r" * 32))
        asked = courses(unit, begun, step())
        unit.save(courses(unit, asked, step()))
    with store.reading() as reader:
        raw = reader.tx.exec_driver_sql('SELECT "check" FROM attempt').scalar_one()
        secret = reader.tx.exec_driver_sql("SELECT schedule_secret FROM session").scalar_one()
    assert b"log10_lr" not in bytes(raw)
    assert lesson.secret not in bytes(secret)


def _enrolment(evidence_id: str) -> StoredEnrolment:
    return StoredEnrolment(
        learner_id="l",
        contract_id="m@1",
        sealed_template=b"sealed",
        anchor=Anchor.AUTHORITY,
        enrolled_at=STARTS,
        evidence_id=evidence_id,
        authority_reference="r-1",
    )


def test_an_enrolment_comes_back_and_a_later_one_takes_its_place(store: SqlLessonStore) -> None:
    for evidence_id in ("aa", "bb"):
        with store.writing() as unit:
            unit.store_enrolment(_enrolment(evidence_id))
        with store.reading() as reader:
            assert reader.enrolment("l") == _enrolment(evidence_id)


def test_enrolments_are_read_in_batches_by_learner(database: Database) -> None:
    store = SqlLessonStore(database)
    ids = [f"l{number}" for number in range(5)]
    with store.writing() as unit:
        register(unit.tx, learner_id="l0")
        for learner_id in ids[1:]:
            unit.tx.execute(
                insert(tables.learner).values(learner_id=learner_id, registered_at=STARTS)
            )
        for learner_id in reversed(ids):
            unit.store_enrolment(replace(_enrolment("aa"), learner_id=learner_id))
    first = store.enrolments(after="", limit=2)
    second = store.enrolments(after=first[-1].learner_id, limit=9)
    assert [stored.learner_id for stored in (*first, *second)] == ids
    assert second[-1] == replace(_enrolment("aa"), learner_id="l4")
    assert store.enrolments(after="l4", limit=9) == []


def test_an_enrolment_that_was_removed_is_not_there(store: SqlLessonStore) -> None:
    with store.writing() as unit:
        unit.store_enrolment(_enrolment("aa"))
    with store.writing() as unit:
        assert unit.remove_enrolment("l")
    with store.writing() as unit:
        assert not unit.remove_enrolment("l")
    with store.reading() as reader, pytest.raises(UnknownSubjectError):
        reader.enrolment("l")


DAY = date(2026, 3, 2)
ANSWER, ENROLMENT = ComparisonPurpose


def test_comparisons_are_counted_by_learner_day_and_purpose(store: SqlLessonStore) -> None:
    with store.writing() as unit:
        assert unit.comparison_count("l", DAY, ANSWER) == 0
        unit.count_comparison("l", DAY, ANSWER)
        assert unit.comparison_count("l", DAY, ANSWER) == 1
    with store.writing() as unit:
        unit.count_comparison("l", DAY, ANSWER)
        unit.count_comparison("l", DAY + timedelta(days=1), ANSWER)
    with store.reading() as reader:
        counts = [reader.comparison_count("l", DAY + timedelta(days=n), ANSWER) for n in range(3)]
        assert reader.comparison_count("l", DAY, ENROLMENT) == 0
    assert counts == [2, 1, 0]
    with store.writing() as unit:
        unit.count_comparison("l", DAY, ENROLMENT)
        both = [unit.comparison_count("l", DAY, purpose) for purpose in (ANSWER, ENROLMENT)]
    assert both == [2, 1]


def test_a_comparison_of_a_unit_that_fails_is_not_counted(store: SqlLessonStore) -> None:
    def fail() -> None:
        with store.writing() as unit:
            unit.count_comparison("l", DAY, ANSWER)
            raise RuntimeError("something else went wrong")

    with pytest.raises(RuntimeError):
        fail()
    with store.reading() as reader:
        assert reader.comparison_count("l", DAY, ANSWER) == 0


def test_what_threads_count_at_the_same_time_is_all_counted(store: SqlLessonStore) -> None:
    start = Barrier(4)

    def count() -> None:
        start.wait()
        for _ in range(10):
            with store.writing() as unit:
                unit.count_comparison("l", DAY, ANSWER)

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as reader:
        assert reader.comparison_count("l", DAY, ANSWER) == 40


def test_a_budget_holds_over_sql(store: SqlLessonStore) -> None:
    """Answers that are judged at the same time cannot pass the limit together."""
    budget = ComparisonBudget(
        store=store,
        clock=ManualClock(STARTS),
        rules=ComparisonRules(max_per_learner_day=7, max_enrolments_per_learner_day=1),
    )
    start, granted = Barrier(6), list[bool]()

    def answer() -> None:
        start.wait()
        for _ in range(4):
            with budget.reserve("l", ANSWER) as reserved, store.writing() as unit:
                reserved.settle(unit, compared=True)
            granted.append(reserved.granted)

    threads = [Thread(target=answer) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as reader:
        assert reader.comparison_count("l", DAY, ANSWER) == sum(granted) <= 7
        found = [(case.kind, case.learner_ids) for case in cases(reader.tx, limit=9)]
    assert found == [(CaseKind.TOO_MANY_COMPARISONS, ("l",))]


def test_a_case_is_opened_once_and_tells_no_score_in_clear(store: SqlLessonStore) -> None:
    with store.writing() as unit:
        unit.tx.execute(insert(tables.learner).values(learner_id="k", registered_at=STARTS))
    found = FoundCase(
        kind=CaseKind.DUPLICATE_FACE,
        learner_id="l",
        other_learner_id="k",
        at=STARTS,
        details={"comparison_score": 0.8125},
    )
    for case in (found, found, replace(found, learner_id="k", other_learner_id="l")):
        with store.writing() as unit:
            unit.open_case(case)
    with store.reading() as reader:
        (kept,) = cases(reader.tx, limit=9)
        raw = reader.tx.exec_driver_sql("SELECT details FROM review_case").scalar_one()
    assert (kept.kind, kept.learner_ids, kept.opened_at) == (found.kind, ("k", "l"), STARTS)
    assert kept.details == {"comparison_score": 0.8125}
    assert b"8125" not in bytes(raw)


def test_nobody_unknown_is_enrolled(store: SqlLessonStore) -> None:
    with pytest.raises(UnknownSubjectError), store.writing() as unit:
        unit.store_enrolment(replace(_enrolment("aa"), learner_id="nobody"))


def test_entries_are_numbered_without_gaps_whatever_fails(database: Database) -> None:
    store, source = SqlLessonStore(database), SqlEntrySource(database)
    entries = [entry() for _ in range(5)]
    indexes: list[int] = []

    def fail(prepared: PreparedEntry) -> None:
        with store.writing() as unit:
            unit.append(prepared)
            raise RuntimeError("something else went wrong")

    for number, prepared in enumerate(entries):
        with pytest.raises(RuntimeError):
            fail(prepared)
        with store.writing() as unit:
            indexes.append(unit.append(prepared))
        assert source.entry_count() == number + 1
    assert indexes == [0, 1, 2, 3, 4]
    assert list(source.entries(1, limit=3)) == [prepared.entry for prepared in entries[1:4]]
    assert source.entries(5, limit=3) == []


def test_threads_that_append_leave_no_gap(database: Database) -> None:
    store, source = SqlLessonStore(database), SqlEntrySource(database)
    taken: list[int] = []

    def append() -> None:
        for _ in range(10):
            with store.writing() as unit:
                index = unit.append(entry())
            taken.append(index)

    threads = [Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(40))
    assert len(set(source.entries(0, limit=100))) == source.entry_count() == 40


def test_the_same_entry_is_kept_once(database: Database) -> None:
    store, source, prepared = SqlLessonStore(database), SqlEntrySource(database), entry()
    with store.writing() as unit:
        unit.append(prepared)
    with pytest.raises(StorageBusyError), store.writing() as unit:
        unit.append(prepared)
    assert source.entry_count() == 1
