"""A template is compared with so often in a day and no more, whatever happens at the same time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Barrier, Lock, Thread

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipelines.clock import ManualClock
from pipelines.comparison_budget import ComparisonBudget, Reservation
from pipelines.lesson_store import ComparisonPurpose
from tests.memory_store import MemoryStore
from tests.pipelines.lesson_stage import BLURRED, LEARNER_FACE, NOBODY, OTHER_FACE, LessonStage
from verifier.answer import AnswerReason
from verifier.eligibility_facts import china_day
from verifier.errors import LedgerError
from verifier.policy_groups import ComparisonRules
from verifier.prompt import Judgement
from verifier.review_case import CaseKind

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
DAY_S = 86_400
LEARNER = "learner-1"
ANSWER, ENROLMENT = ComparisonPurpose


@dataclass(kw_only=True)
class Counting:
    """A budget over a store in memory."""

    max_per_day: int = 3
    max_enrolments: int = 2
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __post_init__(self) -> None:
        rules = ComparisonRules(
            max_per_learner_day=self.max_per_day,
            max_enrolments_per_learner_day=self.max_enrolments,
        )
        self.budget = ComparisonBudget(store=self.store, clock=self.clock, rules=rules)

    def compare(
        self,
        learner_id: str = LEARNER,
        *,
        compared: bool = True,
        purpose: ComparisonPurpose = ANSWER,
    ) -> bool:
        """Do what the engine does for one answer; return whether it was granted."""
        with self.budget.reserve(learner_id, purpose) as reserved, self.store.writing() as unit:
            reserved.settle(unit, compared=compared)
        return reserved.granted

    def count(self, day: date | None = None, purpose: ComparisonPurpose = ANSWER) -> int:
        with self.store.reading() as unit:
            return unit.comparison_count(LEARNER, day or china_day(self.clock.now()), purpose)


def test_so_many_and_no_more_and_one_case() -> None:
    counting = Counting(max_per_day=3)
    assert [counting.compare() for _ in range(6)] == [True] * 3 + [False] * 3
    assert counting.count() == 3
    (case,) = counting.store.cases
    assert (case.kind, case.learner_id, case.other_learner_id, case.at) == (
        CaseKind.TOO_MANY_COMPARISONS,
        LEARNER,
        None,
        NOW,
    )
    assert case.details == {"day": "2026-03-02", "max_per_day": 3}
    assert counting.compare("learner-2")


def test_enrolments_have_a_limit_of_their_own_and_open_no_case() -> None:
    """Any platform that knows name and number may try; answers and payment stay as they are."""
    counting = Counting(max_per_day=3, max_enrolments=2)
    granted = [counting.compare(purpose=ENROLMENT) for _ in range(5)]
    assert granted == [True] * 2 + [False] * 3
    assert counting.store.cases == []
    assert [counting.count(purpose=each) for each in (ANSWER, ENROLMENT)] == [0, 2]
    assert [counting.compare() for _ in range(4)] == [True] * 3 + [False]
    assert counting.count(purpose=ENROLMENT) == 2
    counting.clock.advance(DAY_S)
    assert counting.compare(purpose=ENROLMENT)


def test_what_compared_nothing_is_not_counted() -> None:
    counting = Counting(max_per_day=1)
    for _ in range(5):
        assert counting.compare(compared=False)
    assert counting.count() == 0


def test_what_was_not_kept_is_not_counted() -> None:
    counting = Counting(max_per_day=1)
    counting.store.broken = True
    with suppress(LedgerError):
        counting.compare()
    counting.store.broken = False
    assert [counting.compare(), counting.compare()] == [True, False]


def test_the_day_is_the_day_in_china() -> None:
    """16:00 UTC is midnight there."""
    assert china_day(datetime(2026, 3, 2, 15, 59, 59, tzinfo=UTC)) == date(2026, 3, 2)
    assert china_day(datetime(2026, 3, 2, 16, 0, tzinfo=UTC)) == date(2026, 3, 3)


def test_what_was_reserved_before_midnight_counts_for_that_day() -> None:
    counting = Counting(max_per_day=1, clock=ManualClock(datetime(2026, 3, 2, 15, 59, tzinfo=UTC)))
    with counting.budget.reserve(LEARNER, ANSWER) as reserved:
        counting.clock.advance(120)
        with counting.store.writing() as unit:
            reserved.settle(unit, compared=True)
    assert counting.count(day=date(2026, 3, 2)) == 1
    assert counting.count() == 0
    assert counting.compare()


def test_answers_judged_at_once_cannot_pass_the_limit_together() -> None:
    counting = Counting(max_per_day=5)
    start, lock, granted = Barrier(16), Lock(), list[bool]()

    def answer() -> None:
        start.wait()
        for _ in range(4):
            done = counting.compare()
            with lock:
                granted.append(done)

    threads = [Thread(target=answer) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == counting.count() <= 5
    assert not counting.budget._reserved


class BudgetMachine(RuleBasedStateMachine):
    """Answers begin and end in any order, and days go by: the limit holds on every day."""

    learners = st.sampled_from(["a", "b"])

    def __init__(self) -> None:
        super().__init__()
        self.counting = Counting(max_per_day=3)
        self.going_on: list[tuple[Iterator[None], Reservation]] = []
        self.counted = Counter[tuple[str, date]]()

    @rule(learner_id=learners)
    def begin(self, learner_id: str) -> None:
        manager = self.counting.budget.reserve(learner_id, ANSWER)
        reserved = manager.__enter__()
        ahead = sum(
            (other.learner_id, other.day) == (learner_id, reserved.day)
            for _, other in self.going_on
        )
        assert reserved.granted == (self.counted[learner_id, reserved.day] + ahead < 3)
        self.going_on.append((manager, reserved))  # type: ignore[arg-type]

    @precondition(lambda self: self.going_on)
    @rule(data=st.data(), compared=st.booleans(), kept=st.booleans())
    def end(self, data: st.DataObject, compared: bool, kept: bool) -> None:
        manager, reserved = self.going_on.pop(data.draw(st.integers(0, len(self.going_on) - 1)))
        if kept:
            with self.counting.store.writing() as unit:
                reserved.settle(unit, compared=compared)
            self.counted[reserved.learner_id, reserved.day] += reserved.granted and compared
        manager.__exit__(None, None, None)  # type: ignore[attr-defined]

    @rule()
    def sleep(self) -> None:
        self.counting.clock.advance(DAY_S / 2)

    @invariant()
    def the_limit_holds(self) -> None:
        kept = self.counting.store.reading()
        with kept as unit:
            for key, count in self.counted.items():
                assert unit.comparison_count(*key, ANSWER) == count <= 3

    def teardown(self) -> None:
        for manager, _ in self.going_on:
            manager.__exit__(None, None, None)  # type: ignore[attr-defined]
        assert not self.counting.budget._reserved


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestInALesson:
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Iterator[LessonStage]:
        built = LessonStage.build(tmp_path)
        rules = ComparisonRules(max_per_learner_day=2, max_enrolments_per_learner_day=1)
        built.engine.comparisons = ComparisonBudget(
            store=built.store, clock=built.clock, rules=rules
        )
        yield built
        built.finish()

    def count(self, stage: LessonStage) -> int:
        with stage.store.reading() as unit:
            return unit.comparison_count(LEARNER, china_day(stage.clock.now()), ANSWER)

    def test_every_answer_that_was_compared_counts_once_however_many_frames(
        self, stage: LessonStage
    ) -> None:
        session_id = stage.open(LEARNER)
        stage.answer(session_id, stage.prompt(session_id), NOBODY)
        stage.answer(session_id, stage.prompt(session_id), BLURRED)
        assert self.count(stage) == 0
        stage.answer(session_id, stage.prompt(session_id), *[LEARNER_FACE] * 3)
        assert self.count(stage) == 1

    def test_beyond_the_limit_right_and_wrong_faces_are_told_the_same(
        self, stage: LessonStage
    ) -> None:
        """Learning goes on, nothing is credited, and there is nothing to climb on."""
        told = []
        for who in (LEARNER_FACE, LEARNER_FACE, LEARNER_FACE, OTHER_FACE):
            session_id = stage.open(LEARNER)
            told.append(stage.answer(session_id, stage.prompt(session_id), who))
        assert [view.judgement for view in told] == [Judgement.PASS] * 2 + [Judgement.REFER] * 2
        assert {view.reason for view in told[2:]} == {AnswerReason.UNDER_REVIEW}
        assert self.count(stage) == 2
        assert [case.kind for case in stage.store.cases] == [CaseKind.TOO_MANY_COMPARISONS]

    def test_what_is_recorded_of_it_holds_no_ratio_and_earns_nothing(
        self, stage: LessonStage
    ) -> None:
        for _ in range(2):
            session_id = stage.open(LEARNER)
            stage.answer(session_id, stage.prompt(session_id), LEARNER_FACE)
        stage.attend(session_id, minutes=10)
        result = stage.end(session_id)
        later = [check for check in result.evidence.checks[1:] if check.outcome == "captured"]
        assert later
        assert {check.comparison_log10_lr for check in later} == {None}
        assert result.account.credit.credited_s == 0

    def test_without_a_face_the_answer_is_what_it_always_is(self, stage: LessonStage) -> None:
        for _ in range(2):
            session_id = stage.open(LEARNER)
            stage.answer(session_id, stage.prompt(session_id), LEARNER_FACE)
        session_id = stage.open(LEARNER)
        view = stage.answer(session_id, stage.prompt(session_id), NOBODY)
        assert (view.judgement, view.reason) == (Judgement.RETRY, AnswerReason.NOBODY_SEEN)

    def test_the_next_day_it_is_compared_again(self, stage: LessonStage) -> None:
        for _ in range(3):
            session_id = stage.open(LEARNER)
            view = stage.answer(session_id, stage.prompt(session_id), LEARNER_FACE)
        assert view.judgement is Judgement.REFER
        stage.clock.advance(DAY_S)
        session_id = stage.open(LEARNER)
        view = stage.answer(session_id, stage.prompt(session_id), LEARNER_FACE)
        assert view.judgement is Judgement.PASS
