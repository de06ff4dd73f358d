"""Lessons under several threads: whatever meets whatever, one history comes of it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines.archive import Archive
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.keystore import RecordClass
from pipelines.lesson import AnswerView, LessonResult, PromptView
from pipelines.witnessing import WitnessedCheckpoint
from tests.memory_store import MemoryStore, MemoryUnit
from tests.pipelines.lesson_stage import (
    LEARNER_FACE,
    NOT_A_PICTURE,
    OTHER_FACE,
    UNCLEAR,
    ColourObserver,
    LessonStage,
)
from verifier.arrays import Pixels
from verifier.errors import LedgerError, ProtocolError, UnknownSubjectError
from verifier.observation import FrameObservation
from verifier.prompt import RECEIVING_S, Attempt, Judgement, Prompt, PromptOrigin, PromptStatus
from verifier.session_state import SessionPhase
from verifier.transparency.leaf import Leaf

PATIENCE_S = 20
"""How long a thread waits for another before the test fails; none ever waits on purpose."""


class HeldObserver(ColourObserver):
    """Looks at a frame, and sees what it shows once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = threading.Semaphore(0)
        self.let_go = threading.Event()

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:
        self.looking.release()
        assert self.let_go.wait(PATIENCE_S)
        return super().observe(pixels, embed=embed)


@dataclass(kw_only=True)
class Scene:
    """A stage on which answers can be held while they are judged."""

    stage: LessonStage
    observer: HeldObserver
    pool: ThreadPoolExecutor

    def opened(self) -> tuple[str, PromptView]:
        """Open a session and return it with its opening prompt."""
        session_id = self.stage.open()
        return session_id, self.stage.prompt(session_id)

    def running(self) -> tuple[str, PromptView]:
        """Open a session, pass its opening check, and wait for the next prompt."""
        session_id, prompt = self.opened()
        self.observer.let_go.set()
        self.stage.answer(session_id, prompt)
        assert self.observer.looking.acquire(timeout=PATIENCE_S)
        self.observer.let_go.clear()
        while (due := self.stage.engine.poll(session_id)) is None:
            self.stage.clock.advance(1)
        return session_id, due

    def judged_meanwhile(
        self, session_id: str, prompt: PromptView, who: str = LEARNER_FACE
    ) -> "Future[AnswerView]":
        """Answer on another thread; return while the frame is being looked at."""
        answer = self.pool.submit(self.stage.answer, session_id, prompt, who)
        assert self.observer.looking.acquire(timeout=PATIENCE_S)
        return answer

    def outcome(self, answer: "Future[AnswerView]") -> AnswerView:
        """Let go, and return what came of an answer."""
        self.observer.let_go.set()
        return answer.result(PATIENCE_S)

    def refusal(self, answer: "Future[AnswerView]") -> str:
        """Let go, and return the code under which an answer was refused."""
        with pytest.raises(ProtocolError) as caught:
            self.outcome(answer)
        return caught.value.code

    def leaves(self) -> list[Leaf]:
        """Publish, and return every leaf."""
        size = self.stage.archive.publish().size
        return [Leaf.parse(self.stage.archive.reader.entry(index, size)) for index in range(size)]

    def kinds(self, session_id: str) -> Counter[str]:
        """Return how many leaves of each kind a session has."""
        return Counter(leaf.kind for leaf in self.leaves() if leaf.session_id == session_id)

    def prompt(self, session_id: str, prompt: PromptView) -> Prompt:
        """Return a prompt as the session knows it."""
        with self.stage.store.reading() as unit:
            prompts = unit.lesson(session_id).state.prompts
        return next(each for each in prompts if each.prompt_id == prompt.prompt_id)

    def require_one_history(self) -> None:
        """Sessions, log and objects agree: no gap, nothing twice, nothing left over."""
        leaves = self.leaves()
        named = sorted(leaf.object_sha256 for leaf in leaves if leaf.object_sha256 is not None)
        folder = self.stage.folder / "archive"
        assert sorted(path.name for path in (folder / "objects").rglob("*/*")) == named
        assert list((folder / "incoming").iterdir()) == []
        for session_id in {leaf.session_id for leaf in leaves if leaf.session_id is not None}:
            own = [leaf.sequence for leaf in leaves if leaf.session_id == session_id]
            assert own == list(range(len(own)))
            self.require_answers(session_id, leaves)

    def require_answers(self, session_id: str, leaves: list[Leaf]) -> None:
        """Every attempt of the session is the leaf that it says, and the other way round."""
        with self.stage.store.reading() as unit:
            lesson = unit.lesson(session_id)
        attempts = [(p.prompt_id, a) for p in lesson.state.prompts for a in p.attempts]
        assert len(attempts) == len(lesson.answers)
        for (prompt_id, attempt), answer in zip(attempts, lesson.answers, strict=True):
            leaf = leaves[answer.index]
            assert (leaf.session_id, leaf.time) == (session_id, attempt.at)
            assert (answer.prompt_id, answer.judgement) == (prompt_id, attempt.judgement)
            self.require_record(answer.index, prompt_id, attempt)
        kept = {answer.index for answer in lesson.answers}
        for index, leaf in enumerate(leaves):
            if leaf.session_id == session_id and leaf.kind in {"snapshot", "answer_unreadable"}:
                assert index in kept

    def require_record(self, index: int, prompt_id: str, attempt: Attempt) -> None:
        """Compare what was sealed with the session, unless the face was forgotten."""
        with suppress(UnknownSubjectError):
            record = self.stage.archive.read_snapshot(index).record
            assert (record["prompt_id"], record["answer"]) == (prompt_id, attempt.judgement.value)
            check = record["check"]
            assert isinstance(check, Mapping)
            assert check["t"] == attempt.check.t


@pytest.fixture(name="scene")
def make_scene(tmp_path: Path) -> Iterator[Scene]:
    """Set a stage; afterwards its history is one, and every byte of its archive verifies."""
    stage, observer = LessonStage.build(tmp_path), HeldObserver()
    stage.engine.checker = replace(stage.engine.checker, observer=observer)
    with ThreadPoolExecutor(8) as pool:
        scene = Scene(stage=stage, observer=observer, pool=pool)
        try:
            yield scene
        finally:
            observer.let_go.set()
    scene.require_one_history()
    stage.finish()


def after_sealing(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let ``act`` happen once, after an answer was sealed and before its unit of work."""
    real, left = EvidenceStore.prepare_snapshot, [act]

    def prepare(self: EvidenceStore, **fields: object) -> PreparedEntry:
        prepared = real(self, **fields)  # type: ignore[arg-type]
        if left:
            left.pop()()
        return prepared

    patch.setattr(EvidenceStore, "prepare_snapshot", prepare)


class TestWhileAnAnswerIsJudged:
    def test_a_poll_does_not_miss_the_prompt(self, scene: Scene) -> None:
        session_id, prompt = scene.running()
        sent_at = scene.stage.clock.now()
        answer = scene.judged_meanwhile(session_id, prompt)
        scene.stage.clock.advance(60 + RECEIVING_S + 1)
        assert scene.stage.engine.poll(session_id) is None
        assert scene.prompt(session_id, prompt).status is PromptStatus.OPEN
        assert scene.outcome(answer).judgement is Judgement.PASS
        passed = scene.prompt(session_id, prompt)
        assert passed.status is PromptStatus.PASSED
        # It stands where it arrived, however long it took to judge.
        assert passed.attempts[-1].at == sent_at
        assert scene.kinds(session_id)["prompt_missed"] == 0

    def test_once_it_is_judged_the_prompt_can_be_missed_again(self, scene: Scene) -> None:
        session_id, prompt = scene.running()
        answer = scene.judged_meanwhile(session_id, prompt, UNCLEAR)
        assert scene.outcome(answer).judgement is Judgement.RETRY
        scene.stage.clock.advance(60 + RECEIVING_S + 1)
        scene.stage.engine.poll(session_id)
        assert scene.prompt(session_id, prompt).status is PromptStatus.MISSED

    def test_a_judge_that_fails_holds_no_prompt_open(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session_id, prompt = scene.running()

        def fail(_self: object, _pixels: Pixels, *, embed: bool = True) -> FrameObservation:
            raise RuntimeError(f"a defect in a network, embed={embed}")

        with monkeypatch.context() as patch:
            patch.setattr(HeldObserver, "observe", fail)
            with pytest.raises(RuntimeError):
                scene.stage.answer(session_id, prompt)
        scene.stage.clock.advance(60 + RECEIVING_S + 1)
        scene.stage.engine.poll(session_id)
        assert scene.prompt(session_id, prompt).status is PromptStatus.MISSED

    @pytest.mark.parametrize(
        ("who", "judgement", "refused"),
        [
            (LEARNER_FACE, Judgement.PASS, "prompt_already_resolved"),
            (OTHER_FACE, Judgement.REFER, "prompt_already_resolved"),
            (UNCLEAR, Judgement.RETRY, "wrong_nonce"),
            (NOT_A_PICTURE, Judgement.RETRY, "wrong_nonce"),
        ],
    )
    def test_of_several_answers_at_once_exactly_one_counts(
        self, scene: Scene, who: str, judgement: Judgement, refused: str
    ) -> None:
        session_id, prompt = scene.running()
        if who == NOT_A_PICTURE:  # nothing to look at, nothing to hold
            together = threading.Barrier(4)

            def answer() -> AnswerView:
                together.wait(PATIENCE_S)
                return scene.stage.answer(session_id, prompt, who)

            answers = [scene.pool.submit(answer) for _ in range(4)]
        else:
            answers = [scene.judged_meanwhile(session_id, prompt, who) for _ in range(4)]
        scene.observer.let_go.set()
        errors = [answer.exception(PATIENCE_S) for answer in answers]
        codes = [error.code for error in errors if isinstance(error, ProtocolError)]
        assert codes == [refused] * 3
        (counted,) = [answer.result() for answer in answers if answer.exception() is None]
        assert counted.judgement is judgement
        assert len(scene.prompt(session_id, prompt).attempts) == 1

    def test_answers_of_several_learners_do_not_wait_for_each_other(self, scene: Scene) -> None:
        sessions = [scene.stage.open(f"learner-{number}") for number in range(6)]
        prompts = [scene.stage.prompt(session_id) for session_id in sessions]
        answers = [
            scene.judged_meanwhile(session_id, prompt)
            for session_id, prompt in zip(sessions, prompts, strict=True)
        ]  # all six are being looked at by now
        assert {scene.outcome(answer).judgement for answer in answers} == {Judgement.PASS}

    @pytest.mark.parametrize("later_s", [0, 10, 60 + RECEIVING_S + 1])
    def test_an_announced_end_does_not_take_the_answer_away(
        self, scene: Scene, later_s: float
    ) -> None:
        """It arrived in time, so it counts, also where the end comes after the deadline."""
        session_id, prompt = scene.running()
        answer = scene.judged_meanwhile(session_id, prompt)
        scene.stage.clock.advance(later_s)
        scene.stage.engine.announce_end(session_id)
        assert scene.outcome(answer).judgement is Judgement.PASS
        assert scene.prompt(session_id, prompt).status is PromptStatus.PASSED
        closing = scene.stage.prompt(session_id)
        assert scene.prompt(session_id, closing).origin is PromptOrigin.CLOSING
        scene.stage.answer(session_id, closing)
        assert scene.stage.engine.close(session_id).state.phase is SessionPhase.CLOSED

    def test_an_end_announced_after_the_sealing_has_it_sealed_anew(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first object is gone: it said another place in the session, or might have."""
        session_id, prompt = scene.running()
        scene.observer.let_go.set()
        after_sealing(monkeypatch, lambda: scene.stage.engine.announce_end(session_id))
        assert scene.stage.answer(session_id, prompt).judgement is Judgement.PASS
        assert scene.kinds(session_id)["snapshot"] == 2  # with the opening check's

    def test_a_session_closed_meanwhile_takes_no_answer(self, scene: Scene) -> None:
        session_id, prompt = scene.running()
        answer = scene.judged_meanwhile(session_id, prompt)
        result = scene.stage.engine.close(session_id)
        assert scene.refusal(answer) == "session_over"
        assert scene.stage.engine.close(session_id) == result
        assert result.state.phase is SessionPhase.ABANDONED
        assert scene.prompt(session_id, prompt).status is PromptStatus.MISSED
        assert scene.kinds(session_id)["snapshot"] == 1

    def test_a_session_closed_after_the_sealing_leaves_no_object(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session_id, prompt = scene.running()
        scene.observer.let_go.set()
        after_sealing(monkeypatch, lambda: scene.stage.engine.close(session_id))
        with pytest.raises(ProtocolError, match="ended") as caught:
            scene.stage.answer(session_id, prompt)
        assert caught.value.code == "session_over"
        assert scene.kinds(session_id)["snapshot"] == 1

    def test_a_session_that_runs_out_meanwhile_takes_no_answer(self, scene: Scene) -> None:
        session_id, prompt = scene.running()
        answer = scene.judged_meanwhile(session_id, prompt)
        scene.stage.clock.advance(2 * 3600)
        assert scene.stage.engine.abandon_expired() == 1
        assert scene.refusal(answer) == "session_over"
        assert scene.kinds(session_id)["snapshot"] == 1

    def test_another_session_of_the_learner_ends_it(self, scene: Scene) -> None:
        session_id, prompt = scene.running()
        answer = scene.judged_meanwhile(session_id, prompt)
        second = scene.stage.open()
        assert scene.refusal(answer) == "session_over"
        assert scene.stage.store.unfinished() == [second]

    def test_a_face_forgotten_meanwhile_is_not_kept_under_a_new_key(self, scene: Scene) -> None:
        session_id, prompt = scene.running()
        answer = scene.judged_meanwhile(session_id, prompt)
        keys = scene.stage.keystore
        keys.destroy("learner-1", RecordClass.FACE_EVIDENCE)
        with pytest.raises(UnknownSubjectError):
            scene.outcome(answer)
        with pytest.raises(UnknownSubjectError):
            keys.find("learner-1", RecordClass.FACE_EVIDENCE)
        assert scene.kinds(session_id)["snapshot"] == 1

    def test_a_store_that_fails_meanwhile_leaves_the_prompt_open(self, scene: Scene) -> None:
        session_id, prompt = scene.running()
        answer = scene.judged_meanwhile(session_id, prompt)
        scene.stage.store.broken = True
        with pytest.raises(LedgerError):
            scene.outcome(answer)
        scene.stage.store.broken = False
        assert scene.stage.answer(session_id, prompt).judgement is Judgement.PASS


def before_the_unit(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let ``act`` happen once, after the next act has read and before its unit of work."""
    real, left = MemoryStore.writing, [act]

    def writing(self: MemoryStore) -> AbstractContextManager[MemoryUnit]:
        if left:
            left.pop()()
        return real(self)

    patch.setattr(MemoryStore, "writing", writing)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(ProtocolError) as caught:
        act()
    return caught.value.code


class TestBetweenReadingAndWriting:
    """What was read before a unit of work began may no longer be so."""

    def test_two_polls_ask_one_prompt(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        engine, session_id = scene.stage.engine, scene.stage.open()
        told: list[PromptView | None] = []
        before_the_unit(monkeypatch, lambda: told.append(engine.poll(session_id)))
        told.append(engine.poll(session_id))
        assert told[0] == told[1] is not None
        assert scene.kinds(session_id)["prompt_issued"] == 1

    def test_a_poll_that_comes_too_late_hears_so(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine, session_id = scene.stage.engine, scene.stage.open()
        before_the_unit(monkeypatch, lambda: engine.close(session_id))
        assert code_of(lambda: engine.poll(session_id)) == "session_over"
        assert scene.kinds(session_id) == {"session_opened": 1, "session_closed": 1}

    def test_an_end_is_announced_once(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        engine, (session_id, prompt) = scene.stage.engine, scene.running()
        scene.observer.let_go.set()
        scene.stage.answer(session_id, prompt)
        before_the_unit(monkeypatch, lambda: engine.announce_end(session_id))
        assert code_of(lambda: engine.announce_end(session_id)) == "not_running"
        assert scene.stage.prompt(session_id)

    def test_two_closings_have_one_result(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine, session_id = scene.stage.engine, scene.stage.open()
        results: list[LessonResult] = []
        before_the_unit(monkeypatch, lambda: results.append(engine.close(session_id)))
        results.append(engine.close(session_id))
        assert results[0] == results[1]
        assert scene.kinds(session_id)["session_closed"] == 1

    def test_what_was_closed_is_not_abandoned_as_well(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine, session_id = scene.stage.engine, scene.stage.open()
        scene.stage.clock.advance(24 * 3600)
        before_the_unit(monkeypatch, lambda: engine.close(session_id))
        assert engine.abandon_expired() == 0
        assert scene.kinds(session_id)["session_closed"] == 1

    def test_a_session_that_another_thread_found_expired_is_over_for_all(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With nothing due in it, nothing else would tell who polls."""
        engine, (session_id, prompt) = scene.stage.engine, scene.running()
        scene.observer.let_go.set()
        scene.stage.answer(session_id, prompt)
        engine.announce_end(session_id)
        scene.stage.answer(session_id, scene.stage.prompt(session_id))
        scene.stage.clock.advance(24 * 3600)
        before_the_unit(monkeypatch, lambda: engine.close(session_id))
        assert code_of(lambda: engine.poll(session_id)) == "session_over"


class TestAskingAtOnce:
    def test_who_polls_at_once_is_told_of_one_prompt(self, scene: Scene) -> None:
        session_id = scene.stage.open()
        together = threading.Barrier(6)

        def poll() -> PromptView | None:
            together.wait(PATIENCE_S)
            return scene.stage.engine.poll(session_id)

        polls = [scene.pool.submit(poll) for _ in range(6)]
        (prompt,) = {poll.result(PATIENCE_S) for poll in polls}
        assert prompt is not None
        assert scene.kinds(session_id)["prompt_issued"] == 1

    def test_who_closes_at_once_is_told_of_one_result(self, scene: Scene) -> None:
        session_id, _ = scene.running()
        together = threading.Barrier(6)

        def close() -> object:
            together.wait(PATIENCE_S)
            return scene.stage.engine.close(session_id).account

        closed = [scene.pool.submit(close) for _ in range(6)]
        first, *others = [one.result(PATIENCE_S) for one in closed]
        assert others == [first] * 5
        assert scene.kinds(session_id)["session_closed"] == 1


def hold_first(patch: pytest.MonkeyPatch, promised: threading.Event, on: threading.Event) -> None:
    """Hold the first session that is opened between its promise and its schedule."""
    real, left = Archive.first_checkpoint_with, [None]

    def held(self: Archive, index: int) -> WitnessedCheckpoint:
        if left:
            left.pop()
            promised.set()
            assert on.wait(PATIENCE_S)
        return real(self, index)

    patch.setattr(Archive, "first_checkpoint_with", held)


class TestOpening:
    def test_of_two_that_open_at_once_the_later_promise_stays(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        promised, on = threading.Event(), threading.Event()
        hold_first(monkeypatch, promised, on)
        first = scene.pool.submit(scene.stage.open)
        assert promised.wait(PATIENCE_S)
        (given_up,) = scene.stage.store.unfinished()
        with pytest.raises(UnknownSubjectError):  # nobody was told of it yet
            scene.stage.engine.poll(given_up)
        second = scene.stage.open()
        on.set()
        with pytest.raises(ProtocolError) as caught:
            first.result(PATIENCE_S)
        assert caught.value.code == "session_over"
        assert scene.stage.store.unfinished() == [second]
        assert scene.kinds(given_up) == {"session_opened": 1, "session_closed": 1}
        assert scene.stage.prompt(second)

    def test_of_many_that_open_at_once_one_stays(self, scene: Scene) -> None:
        together = threading.Barrier(6)
        scene.stage.enrol("learner-1")

        def opened() -> str:
            together.wait(PATIENCE_S)
            return scene.stage.engine.open(
                learner_id="learner-1", class_id="c", platform_id="p", planned_minutes=45
            )

        asked = [scene.pool.submit(opened) for _ in range(6)]
        errors = [one.exception(PATIENCE_S) for one in asked]
        for error in errors:
            assert error is None or (
                isinstance(error, ProtocolError) and error.code == "session_over"
            )
        (stays,) = scene.stage.store.unfinished()
        assert stays in {one.result() for one in asked if one.exception() is None}
        leaves = scene.leaves()
        kinds = Counter(leaf.kind for leaf in leaves)
        assert (kinds["session_opened"], kinds["session_closed"]) == (6, 5)
        numbers = [x.facts["session_number"] for x in leaves if x.kind == "session_opened"]
        assert numbers == list(range(6))

    def test_what_a_crash_left_promised_is_given_up(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And closed in the log, or it would look like a session that was discarded."""
        others = scene.stage.open("learner-2")
        lost = self.promised(scene, monkeypatch, KeyboardInterrupt())
        scene.stage.restart()
        assert scene.stage.engine.recover() == 1
        assert scene.stage.engine.recover() == 0
        assert scene.stage.store.unfinished() == [others]
        closing = next(
            x for x in scene.leaves() if (x.kind, x.session_id) == ("session_closed", lost)
        )
        assert closing.facts["schedule_checkpoint_root"] is None
        assert closing.facts["schedule_secret"]
        result = scene.stage.engine.result(lost)
        assert (result.promise, result.state.phase) == (None, SessionPhase.ABANDONED)
        assert result.account.credit.credited_s == 0
        assert scene.stage.prompt(others)

    @pytest.mark.parametrize("who_ends_it", ["the next opening", "its time running out"])
    def test_a_checkpoint_that_cannot_be_signed_blocks_nobody(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch, who_ends_it: str
    ) -> None:
        lost = self.promised(scene, monkeypatch, LedgerError("the disk is full"))
        if who_ends_it == "the next opening":
            later = scene.stage.open()
            assert scene.stage.store.unfinished() == [later]
        else:
            scene.stage.clock.advance(24 * 3600)
            assert scene.stage.engine.abandon_expired() == 1
        assert scene.kinds(lost) == {"session_opened": 1, "session_closed": 1}

    def promised(self, scene: Scene, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> str:
        """Stop an opening between promise and schedule; return the session's id."""
        before = set(scene.stage.store.unfinished())

        def stop(_self: Archive, _index: int) -> WitnessedCheckpoint:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Archive, "first_checkpoint_with", stop)
            with pytest.raises(type(error)):
                scene.stage.open()
        (lost,) = set(scene.stage.store.unfinished()) - before
        return lost
