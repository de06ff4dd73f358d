"""Followers hear of prompts when they are due, of changes at once, and of the future nothing."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event, Lock
from time import monotonic, sleep

import pytest

from pipelines.clock import ManualClock
from pipelines.lesson import Lesson, PromptView
from pipelines.lesson_engine import Followed
from service.delivery import Dispatcher, Standing, StreamEnd, StreamLimits, TooManyStreamsError
from tests.pipelines.lesson_stage import LessonStage
from verifier.errors import LedgerError, ProtocolError, UnknownSubjectError
from verifier.session_state import SessionPhase

STARTS = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
ANSWER_S = 60
ENDS_S = 7 * 3600
LIMITS = StreamLimits(in_all=10, of_one=5)


@dataclass
class Heard:
    """A follower that keeps what it hears."""

    standings: list[Standing] = field(default_factory=list)
    ends: list[StreamEnd | None] = field(default_factory=list)

    def tell(self, standing: Standing) -> None:
        self.standings.append(standing)

    def end(self, why: StreamEnd | None) -> None:
        self.ends.append(why)

    @property
    def prompt_ids(self) -> list[str | None]:
        return [None if s.prompt is None else s.prompt.prompt_id for s in self.standings]


class FakeEngine:
    """Prompts at chosen seconds, each open for a minute; a `service.delivery.PromptSource`."""

    def __init__(self, lesson: Lesson) -> None:
        self.clock = ManualClock(STARTS)
        self.store = self
        self._lesson = lesson
        self.due_s: dict[str, list[float]] = {}
        self.polled: list[str] = []
        self.streaming: list[bool] = []
        self.over: set[str] = set()
        self.failures: list[Exception] = []
        self.may_answer = Event()
        self.may_answer.set()
        self.on_poll: Callable[[str], None] = lambda _: None
        self._lock = Lock()

    def follow(self, session_id: str, *, streaming: bool = False) -> Followed:
        self.may_answer.wait()
        with self._lock:
            self.polled.append(session_id)
            self.streaming.append(streaming)
            if self.failures:
                raise self.failures.pop(0)
        self.on_poll(session_id)
        if session_id in self.over:
            raise ProtocolError("session_over", "it has ended")
        return Followed(
            lesson=self.lesson(session_id),
            prompt=self._prompt(session_id),
            due=self._next_due(session_id),
        )

    def _prompt(self, session_id: str) -> PromptView | None:
        now_s = self._now_s()
        for number, due_s in enumerate(self.due_s[session_id]):
            if due_s <= now_s <= due_s + ANSWER_S:
                closes_at = STARTS + timedelta(seconds=due_s + ANSWER_S)
                return PromptView(
                    prompt_id=f"{session_id}-{number}",
                    nonce=b"n",
                    kind="silent_capture",
                    closes_at=closes_at,
                )
        return None

    def _next_due(self, session_id: str) -> datetime:
        later = (due_s for due_s in self.due_s[session_id] if due_s > self._now_s())
        return STARTS + timedelta(seconds=min(later, default=ENDS_S))

    @contextmanager
    def reading(self) -> Iterator["FakeEngine"]:
        yield self

    def lesson(self, session_id: str) -> Lesson:
        phase = SessionPhase.CLOSED if session_id in self.over else SessionPhase.RUNNING
        return replace(self._lesson, state=replace(self._lesson.state, phase=phase))

    def _now_s(self) -> float:
        return (self.clock.now() - STARTS).total_seconds()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    stage = LessonStage.build(tmp_path_factory.mktemp("lesson"))
    session_id = stage.open()
    with stage.store.reading() as unit:
        found = unit.lesson(session_id)
    stage.finish()
    return found


@pytest.fixture
def engine(lesson: Lesson) -> FakeEngine:
    return FakeEngine(lesson)


@pytest.fixture
def dispatcher(engine: FakeEngine) -> Iterator[Dispatcher]:
    with Dispatcher(engine, limits=LIMITS) as opened:
        yield opened


def until(happened: Callable[[], bool]) -> None:
    """Wait for other threads; fail if it takes absurdly long."""
    end = monotonic() + 10
    while not happened():
        assert monotonic() < end, "nothing happened"
        sleep(0.005)


def test_prompts_are_told_in_their_order_when_they_are_due(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    """On a clock that is moved by hand; each is taken back when its time is over."""
    engine.due_s["s"] = [100, 300]
    heard = Heard()
    with dispatcher.follow("s", whose="p", follower=heard):
        until(lambda: heard.prompt_ids == [None])
        for seconds, ids in [(99, [None]), (1, [None, "s-0"]), (60, [None, "s-0"])]:
            engine.clock.advance(seconds)
            until(lambda ids=ids: heard.prompt_ids == ids)  # type: ignore[misc]
        engine.clock.advance(1)
        until(lambda: heard.prompt_ids == [None, "s-0", None])
        engine.clock.advance(139)
        until(lambda: heard.prompt_ids == [None, "s-0", None, "s-1"])


def test_nobody_is_asked_about_before_something_is_due(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    engine.due_s = {"early": [10], "late": [500]}
    early, late = Heard(), Heard()
    with (
        dispatcher.follow("early", whose="p", follower=early),
        dispatcher.follow("late", whose="p", follower=late),
    ):
        until(lambda: len(early.standings) == 1 and len(late.standings) == 1)
        engine.clock.advance(20)
        until(lambda: early.prompt_ids == [None, "early-0"])
        assert engine.polled.count("late") == 1


def test_only_who_was_told_before_is_known_to_have_waited(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    """A stream opened after a prompt was due wins no time by it."""
    engine.due_s["s"] = [0, 100]
    for _ in range(2):
        heard = Heard()
        with dispatcher.follow("s", whose="p", follower=heard):
            until(lambda heard=heard: len(heard.standings) == 1)  # type: ignore[misc]
            engine.due_s["s"] = [0, 100]
            dispatcher.touch({"s"})
            until(lambda: engine.streaming[-2:] == [False, True])


def test_a_change_is_told_at_once(engine: FakeEngine, dispatcher: Dispatcher) -> None:
    engine.due_s["s"] = [0]
    heard = Heard()
    with dispatcher.follow("s", whose="p", follower=heard):
        until(lambda: heard.prompt_ids == ["s-0"])
        engine.due_s["s"] = []
        dispatcher.touch({"s", "another"})
        until(lambda: heard.prompt_ids == ["s-0", None])


def test_a_change_while_it_is_looked_at_is_told_too(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    """Or else what was read just before the change would stand."""
    engine.due_s["s"] = []
    looks = count(1)
    looking, changed = Event(), Event()

    def first_time(_: str) -> None:
        if next(looks) == 1:
            looking.set()
            changed.wait()

    engine.on_poll = first_time
    heard = Heard()
    with dispatcher.follow("s", whose="p", follower=heard):
        looking.wait()
        dispatcher.touch({"s"})
        changed.set()
        until(lambda: len(heard.standings) == 2)


def test_what_asking_changes_is_not_asked_about_again(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    engine.due_s["s"] = [0]
    engine.on_poll = lambda session_id: dispatcher.touch({session_id})
    heard = Heard()
    with dispatcher.follow("s", whose="p", follower=heard):
        until(lambda: heard.prompt_ids == ["s-0"])
        dispatcher.touch({"s"})
        until(lambda: len(heard.standings) == 2)
    assert engine.polled == ["s", "s"]


def test_the_end_of_a_session_is_the_last_thing_told(engine: FakeEngine) -> None:
    engine.due_s = {"s": [100], "after": []}
    heard, after = Heard(), Heard()
    with (
        Dispatcher(engine, limits=LIMITS, threads=1) as in_turn,
        in_turn.follow("s", whose="p", follower=heard),
    ):
        until(lambda: len(heard.standings) == 1)
        engine.over.add("s")
        in_turn.touch({"s"})
        until(lambda: heard.standings[-1].is_over)
        in_turn.touch({"s"})
        with in_turn.follow("after", whose="p", follower=after):
            until(lambda: len(after.standings) == 1)
    assert len(heard.standings) == 2
    assert engine.polled == ["s", "s", "after"]


def test_a_session_that_is_gone_ends_its_stream(engine: FakeEngine, dispatcher: Dispatcher) -> None:
    engine.failures = [UnknownSubjectError("gone")]
    heard = Heard()
    with dispatcher.follow("s", whose="p", follower=heard):
        until(lambda: heard.ends == [None])


@pytest.mark.parametrize("error", [LedgerError("the store is full"), ZeroDivisionError("a bug")])
def test_a_failure_is_tried_again(
    engine: FakeEngine,
    dispatcher: Dispatcher,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine.due_s["s"] = [0]
    engine.failures = [error]
    heard = Heard()
    with dispatcher.follow("s", whose="p", follower=heard):
        until(lambda: heard.prompt_ids == ["s-0"])
    assert [record.getMessage() for record in caplog.records] == [
        f"delivery fails: {type(error).__name__}",
        "delivery works again",
    ]


def test_failures_are_told_once_for_all_sessions_that_fail(
    engine: FakeEngine, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """Others that go well meanwhile do not make it look as if all were well."""
    engine.due_s = {"bad": [0], "worse": [0], "good": [0]}
    mended = Event()

    def fail(session_id: str) -> None:
        if session_id != "good" and not mended.is_set():
            raise LedgerError("the store is full")

    engine.on_poll = fail
    heard = {session_id: Heard() for session_id in engine.due_s}
    with ExitStack() as stack:
        for session_id, follower in heard.items():
            stack.enter_context(dispatcher.follow(session_id, whose="p", follower=follower))
        until(lambda: bool(heard["good"].standings) and min(map(engine.polled.count, heard)) > 0)
        until(lambda: engine.polled.count("bad") > 1 and engine.polled.count("worse") > 1)
        assert dispatcher.failing
        mended.set()
        until(lambda: all(follower.standings for follower in heard.values()))
        until(lambda: not dispatcher.failing)
    assert [record.getMessage() for record in caplog.records] == [
        "delivery fails: LedgerError",
        "delivery works again",
    ]


def test_a_session_that_nobody_follows_any_more_does_not_fail_for_ever(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    engine.failures = [LedgerError("the store is full")] * 100
    with dispatcher.follow("s", whose="p", follower=Heard()):
        until(lambda: dispatcher.failing)
    assert not dispatcher.failing


def test_the_newest_stream_of_a_session_is_the_one(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    engine.due_s["s"] = [50]
    old, new = Heard(), Heard()
    with dispatcher.follow("s", whose="p", follower=old):
        until(lambda: len(old.standings) == 1)
        with dispatcher.follow("s", whose="p", follower=new):
            assert old.ends == [StreamEnd.REPLACED]
            until(lambda: new.prompt_ids == [None])
            engine.clock.advance(50)
            until(lambda: new.prompt_ids == [None, "s-0"])
            assert old.prompt_ids == [None]
            assert dispatcher.open_streams == 2
        assert dispatcher.open_streams == 1
    assert dispatcher.open_streams == 0


def test_no_more_streams_than_may_be(engine: FakeEngine, dispatcher: Dispatcher) -> None:
    """Of one caller, and of all; a place that is left is another's."""
    engine.due_s = {f"s{number}": [] for number in range(20)}

    def follow(stack: ExitStack, number: int, whose: str) -> None:
        stack.enter_context(dispatcher.follow(f"s{number}", whose=whose, follower=Heard()))

    with ExitStack() as stack:
        for number in range(LIMITS.of_one):
            follow(stack, number, "greedy")
        with pytest.raises(TooManyStreamsError):
            follow(stack, 5, "greedy")
        for number in range(LIMITS.in_all - LIMITS.of_one):
            follow(stack, 6 + number, f"other-{number}")
        with pytest.raises(TooManyStreamsError):
            follow(stack, 15, "late")
    with ExitStack() as stack:
        follow(stack, 0, "greedy")


def test_stopping_ends_all_streams_and_admits_none(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    engine.due_s = {"a": [], "b": []}
    one, other = Heard(), Heard()
    with (
        dispatcher.follow("a", whose="p", follower=one),
        dispatcher.follow("b", whose="p", follower=other),
    ):
        dispatcher.stop()
        assert one.ends == other.ends == [StreamEnd.STOPPING]
        with (
            pytest.raises(TooManyStreamsError),
            dispatcher.follow("c", whose="p", follower=Heard()),
        ):
            pass


def test_one_slow_session_does_not_hold_up_others(
    engine: FakeEngine, dispatcher: Dispatcher
) -> None:
    engine.due_s = {"slow": [], "quick": [0]}
    released = Event()

    def hold_up(session_id: str) -> None:
        if session_id == "slow":
            released.wait()

    engine.on_poll = hold_up
    quick = Heard()
    with (
        dispatcher.follow("slow", whose="p", follower=Heard()),
        dispatcher.follow("quick", whose="p", follower=quick),
    ):
        until(lambda: quick.prompt_ids == ["quick-0"])
        released.set()


def test_nothing_shows_when_a_prompt_is_due(
    engine: FakeEngine, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    engine.due_s["s"] = [12345]
    heard = Heard()
    with dispatcher.follow("s", whose="p", follower=heard):
        until(lambda: bool(vars(dispatcher)["_due"]))
        followed = vars(dispatcher)["_followed"]
        shown = [repr(dispatcher), repr(followed), repr(heard), caplog.text]
    hidden = STARTS + timedelta(seconds=12345)
    assert followed == {}
    for text in shown:
        assert f"{hidden:%H:%M}" not in text
        assert f"{hidden.hour}, {hidden.minute}" not in text  # as a datetime's repr has it


def test_a_lessons_standing(tmp_path: Path) -> None:
    """The lesson's clock runs while nothing is asked, and stands while something is."""
    stage = LessonStage.build(tmp_path)
    session_id = stage.open()
    prompt = stage.prompt(session_id)

    def standing() -> Standing:
        with stage.store.reading() as unit:
            return Standing.of(unit.lesson(session_id), stage.engine.poll(session_id))

    asked = standing()
    assert (asked.phase, asked.clock_runs, asked.prompt) == (SessionPhase.OPENING, False, prompt)
    stage.answer(session_id, prompt)
    answered = standing()
    assert (answered.phase, answered.clock_runs) == (SessionPhase.RUNNING, True)
    assert not answered.is_over
    stage.engine.close(session_id)
    with stage.store.reading() as unit:
        over = Standing.of(unit.lesson(session_id), None)
    assert over.is_over
    assert not over.clock_runs
    stage.finish()
