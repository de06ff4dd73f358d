import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pipelines.keystore import RecordClass
from pipelines.lesson import Lesson, LessonResult
from pipelines.lesson_course import BATCH
from pipelines.lesson_records import LessonRecords
from pipelines.recording import recording
from tests.pipelines.lesson_stage import (
    BLURRED,
    LEARNER_FACE,
    NOBODY,
    NOT_A_PICTURE,
    OTHER_FACE,
    TWO_PEOPLE,
    UNCLEAR,
    ColourObserver,
    LessonStage,
    frame,
    stopped_s,
)
from verifier.answer import AnswerReason
from verifier.check import Outcome
from verifier.claim import Claim, settle
from verifier.credit import Pause
from verifier.errors import (
    ContractMismatchError,
    InputError,
    LedgerError,
    ProtocolError,
    UnknownSubjectError,
)
from verifier.prompt import RECEIVING_S, Judgement, PromptOrigin, PromptStatus
from verifier.schedule import (
    IssuedPrompt,
    ScheduleHeader,
    SchedulePromise,
    ScheduleVerdict,
    verify_schedule,
)
from verifier.session_score import Decision
from verifier.session_state import SessionPhase
from verifier.transparency.base64_text import from_base64
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash, root_of


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    """Set a stage, and verify every byte of its archive afterwards."""
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def leaves(stage: LessonStage) -> list[Leaf]:
    size = stage.archive.publish().size
    return [Leaf.parse(stage.archive.reader.entry(index, size)) for index in range(size)]


def prompts_until_one_is_due(stage: LessonStage, session_id: str) -> None:
    """Pass the opening check and wait for the first scheduled prompt."""
    stage.answer(session_id, stage.prompt(session_id))
    while stage.engine.poll(session_id) is None:
        stage.clock.advance(1)


def frames_seen(stage: LessonStage) -> int:
    observer = stage.engine.checker.observer
    assert isinstance(observer, ColourObserver)
    return observer.frames_seen


def console_ciphertext(extra: bytes) -> bytes:
    """Return the encrypted numbers in what a receipt discloses."""
    record = json.loads(extra)["opening"]["record"]
    return base64.b64decode(record["console"]["ciphertext"])


class TestAWholeLesson:
    def test_the_learner_who_stays_is_credited_with_the_time_between_first_and_last_check(
        self, stage: LessonStage
    ) -> None:
        session_id = stage.open()
        stage.attend(session_id, minutes=45)
        result = stage.end(session_id)
        assert result.state.phase is SessionPhase.CLOSED
        assert result.account.score.decision is Decision.ACCEPT
        # The clock stands still while a prompt is open: each one until the next whole second.
        open_s = stopped_s(result.state)
        assert 0 < open_s < result.state.counts.issued
        assert result.account.credit.credited_s == pytest.approx(45 * 60 - open_s, abs=1e-6)
        assert result.account.credit.pending_s == 0

    def test_somebody_else_half_way_leaves_nothing_credited(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.attend(session_id, minutes=30)
        stage.attend(session_id, minutes=30, who=[OTHER_FACE])
        result = stage.end(session_id, OTHER_FACE)
        assert result.account.score.decision is not Decision.ACCEPT
        assert result.account.credit.credited_s == 0
        assert 0 < result.account.credit.pending_s <= 30 * 60

    def test_an_empty_chair_half_way_is_reviewed_and_not_accused(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.attend(session_id, minutes=30)
        stage.attend(session_id, minutes=30, who=[NOBODY])
        result = stage.end(session_id, None)
        assert result.account.score.decision is Decision.REVIEW
        assert result.account.credit.credited_s == 0
        # Five answers that show nobody pause the lesson; nothing is asked of an empty chair then.
        assert result.state.pauses
        assert result.evidence.checks[-1].outcome in {Outcome.NO_FACE, Outcome.NO_RESPONSE}

    def test_a_session_that_never_begins_earns_nothing(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.clock.advance(45 * 60)
        result = stage.engine.close(session_id)
        assert result.state.phase is SessionPhase.ABANDONED
        assert result.account.credit.credited_s == result.account.credit.pending_s == 0
        assert result.account.score.verified_lower95_minutes == 0

    def test_answers_earn_only_time_that_passed(self, stage: LessonStage) -> None:
        session_id = stage.open(minutes=24 * 60)
        stage.answer(session_id, stage.prompt(session_id))
        result = stage.end(session_id)
        assert result.account.credit.credited_s + result.account.credit.pending_s == 0


class TestAnswers:
    @pytest.mark.parametrize(
        ("who", "judgement", "reason", "outcome"),
        [
            ([LEARNER_FACE], Judgement.PASS, AnswerReason.CONFIRMED, Outcome.CAPTURED),
            ([OTHER_FACE], Judgement.REFER, AnswerReason.UNDER_REVIEW, Outcome.CAPTURED),
            ([UNCLEAR], Judgement.RETRY, AnswerReason.NOT_SURE, Outcome.CAPTURED),
            ([NOBODY], Judgement.RETRY, AnswerReason.NOBODY_SEEN, Outcome.NO_FACE),
            ([TWO_PEOPLE], Judgement.RETRY, AnswerReason.SEVERAL_PEOPLE, Outcome.MULTIPLE_FACES),
            ([BLURRED], Judgement.RETRY, AnswerReason.PICTURE_POOR, Outcome.CAPTURED),
            ([NOT_A_PICTURE], Judgement.RETRY, AnswerReason.PICTURE_UNREADABLE, Outcome.UNREADABLE),
            # Mixed answers: the worst frame speaks.
            ([LEARNER_FACE, OTHER_FACE], Judgement.REFER, AnswerReason.UNDER_REVIEW,
             Outcome.CAPTURED),
            ([LEARNER_FACE, TWO_PEOPLE], Judgement.RETRY, AnswerReason.SEVERAL_PEOPLE,
             Outcome.MULTIPLE_FACES),
            # A frame that failed to decode, or shows nobody, takes nothing from a good one.
            ([NOT_A_PICTURE, LEARNER_FACE], Judgement.PASS, AnswerReason.CONFIRMED,
             Outcome.CAPTURED),
            ([NOBODY, LEARNER_FACE], Judgement.PASS, AnswerReason.CONFIRMED, Outcome.CAPTURED),
        ],
    )  # fmt: skip
    def test_what_frames_show_decides_the_answer(
        self,
        stage: LessonStage,
        who: list[str],
        judgement: Judgement,
        reason: AnswerReason,
        outcome: Outcome,
    ) -> None:
        session_id = stage.open()
        view = stage.answer(session_id, stage.prompt(session_id), *who)
        assert (view.judgement, view.reason) == (judgement, reason)
        result = stage.engine.close(session_id)
        assert result.evidence.checks[0].outcome is outcome

    def test_an_answer_without_frames_is_unreadable(self, stage: LessonStage) -> None:
        session_id = stage.open()
        prompt = stage.prompt(session_id)
        view = stage.engine.answer(
            session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, frames=[]
        )
        assert view.reason is AnswerReason.PICTURE_UNREADABLE

    def test_inconclusive_three_times_is_a_miss(self, stage: LessonStage) -> None:
        session_id = stage.open()
        prompts_until_one_is_due(stage, session_id)
        for _ in range(3):
            stage.answer(session_id, stage.prompt(session_id), BLURRED)
        assert stage.engine.poll(session_id) is None
        _, asked, closing = stage.engine.close(session_id).state.prompts
        assert (len(asked.attempts), asked.status) == (3, PromptStatus.MISSED)
        assert closing.origin is PromptOrigin.CLOSING

    def test_every_answer_is_in_the_log_before_it_is_acknowledged(self, stage: LessonStage) -> None:
        session_id = stage.open()
        for who in (NOT_A_PICTURE, NOBODY, LEARNER_FACE):
            view = stage.answer(session_id, stage.prompt(session_id), who)
            index = stage.archive.checkpoint.size - 1
            assert stage.archive.receipt(index)
            entry = stage.archive.reader.entry(index, index + 1)
            assert Leaf.parse(entry).session_id == session_id
            assert len(view.evidence_id) == 64

    def test_the_archived_picture_is_the_one_that_was_judged(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.answer(session_id, stage.prompt(session_id), OTHER_FACE)
        stored = stage.archive.read_snapshot(stage.archive.publish().size - 1)
        assert stored.record["answer"] == "refer"
        assert stored.record["anchor"] == "officer"
        assert stored.image is not None


class TestAPlatformThatPlaysForTime:
    """Every trick here earned minutes once, in a review; none does now."""

    def test_not_polling_buys_misses_not_silence(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.answer(session_id, stage.prompt(session_id))
        stage.clock.advance(45 * 60)
        result = stage.end(session_id)
        scheduled = [p for p in result.state.prompts if p.origin is PromptOrigin.SCHEDULED]
        past = [p for p in scheduled if result.state.offset_s(p.closes_at) < 45 * 60]
        assert len(past) > 3
        assert all(prompt.status is PromptStatus.MISSED for prompt in past)
        assert result.account.credit.credited_s == 0

    def test_polling_now_and_then_answers_nothing_that_is_past(self, stage: LessonStage) -> None:
        session_id = stage.open()
        for _ in range(3):
            while prompt := stage.engine.poll(session_id):
                stage.answer(session_id, prompt)
            stage.clock.advance(15 * 60)
        result = stage.end(session_id)
        assert result.state.counts.missed > 0
        assert result.account.credit.credited_s == 0

    def test_a_prompt_goes_out_at_its_time_even_if_nobody_asks(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.answer(session_id, stage.prompt(session_id))
        stage.clock.advance(45 * 60)
        result = stage.engine.close(session_id)
        first = next(p for p in result.state.prompts if p.origin is PromptOrigin.SCHEDULED)
        assert result.state.offset_s(first.issued_at) == first.planned_offset_s

    def test_two_sessions_of_a_learner_are_never_open_at_once(self, stage: LessonStage) -> None:
        first = stage.open()
        stage.attend(first, minutes=20)
        second = stage.open()
        with pytest.raises(ProtocolError) as caught:
            stage.engine.poll(first)
        assert caught.value.code == "session_over"
        stage.attend(second, minutes=20)
        results = [stage.engine.close(first), stage.end(second)]
        assert results[0].state.phase is SessionPhase.ABANDONED
        total_s = sum(r.account.credit.credited_s + r.account.credit.pending_s for r in results)
        assert total_s <= 40 * 60
        claim = Claim(learner_id="learner-1", class_id="class-1", claimed_s=2400)
        assert settle(claim, [r.account for r in results]).credited_s <= 2400

    def test_a_session_nobody_closes_is_abandoned_and_opened_for_audit(
        self, stage: LessonStage
    ) -> None:
        session_id = stage.open()
        stage.attend(session_id, minutes=10)
        stage.clock.advance(30 * 24 * 3600)
        assert stage.engine.abandon_expired() == 1
        result = stage.engine.close(session_id)
        assert result.state.phase is SessionPhase.ABANDONED
        assert result.evidence.duration_s == (45 + 30) * 60
        assert leaves(stage)[result.closed_index].facts["schedule_secret"]
        assert stage.engine.close(session_id) == result

    def test_an_end_announced_and_not_checked_leaves_the_time_since_the_last_check_out(
        self, stage: LessonStage
    ) -> None:
        session_id = stage.open()
        stage.attend(session_id, minutes=30)
        while prompt := stage.engine.poll(session_id):
            stage.answer(session_id, prompt)
        stage.engine.announce_end(session_id)
        result = stage.engine.close(session_id)
        assert result.state.phase is SessionPhase.ABANDONED
        # A prompt may have passed in the very second in which the end was announced.
        last_pass_s = max(result.state.passes_s)
        assert result.account.credit.credited_s <= last_pass_s <= 30 * 60

    def test_leaving_is_no_better_than_being_asked(self, stage: LessonStage) -> None:
        """Closing without an end, or without an answer, misses the closing prompt."""
        for announced in (True, False):
            session_id = stage.open(f"learner-{announced}")
            stage.attend(session_id, minutes=20)
            while prompt := stage.engine.poll(session_id):
                stage.answer(session_id, prompt)
            if announced:
                stage.engine.announce_end(session_id)
            result = stage.engine.close(session_id)
            assert result.state.prompts[-1].origin is PromptOrigin.CLOSING
            assert result.state.prompts[-1].status is PromptStatus.MISSED
            assert result.evidence.checks[-1].outcome is Outcome.NO_RESPONSE

    def test_after_a_miss_the_next_prompt_has_its_whole_time(self, stage: LessonStage) -> None:
        """The one before was waited for until then; that must not cost the learner anything."""
        session_id = stage.open()
        stage.answer(session_id, stage.prompt(session_id))
        left_s: dict[str, float] = {}
        for _ in range(40 * 60):
            stage.clock.advance(1)
            if prompt := stage.engine.poll(session_id):
                left = (prompt.closes_at - stage.clock.now()).total_seconds()
                left_s.setdefault(prompt.prompt_id, left)
        assert len(left_s) > 10
        assert min(left_s.values()) >= 59

    def test_after_a_miss_the_closing_prompt_has_its_whole_time(self, stage: LessonStage) -> None:
        session_id = stage.open()
        prompts_until_one_is_due(stage, session_id)
        stage.clock.advance(61)
        stage.engine.announce_end(session_id)
        while (prompt := stage.engine.poll(session_id)) is None:
            stage.clock.advance(1)
        assert (prompt.closes_at - stage.clock.now()).total_seconds() >= 59

    def test_a_long_absence_is_recorded_in_steps(self, stage: LessonStage) -> None:
        """A day of prompts in one unit of work would keep every other writer waiting."""
        session_id = stage.open(minutes=24 * 60)
        stage.answer(session_id, stage.prompt(session_id))
        stage.clock.advance(30 * 3600)
        assert stage.engine.abandon_expired() == 1
        result = stage.engine.result(session_id)
        assert result.state.counts.missed > 500
        assert stage.store.longest_unit <= BATCH + 12

    def test_one_session_that_cannot_be_ended_keeps_no_other_from_it(
        self, stage: LessonStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions = [stage.open(f"learner-{number}") for number in range(3)]
        stage.clock.advance(30 * 3600)
        closed = LessonRecords.closed

        def refuse_first(
            records: LessonRecords, work: Any, lesson: Lesson, *rest: Any, **more: Any
        ) -> Lesson:
            if lesson.header.session_id == sessions[0]:
                raise LedgerError("this one cannot be written")
            return closed(records, work, lesson, *rest, **more)

        with monkeypatch.context() as patched:
            patched.setattr(LessonRecords, "closed", refuse_first)
            with pytest.raises(LedgerError, match="this one"):
                stage.engine.abandon_expired()
        assert list(stage.store.unfinished()) == sessions[:1]
        assert stage.engine.abandon_expired() == 1

    def test_a_log_that_cannot_be_signed_costs_no_running_lesson(
        self, stage: LessonStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session_id = stage.open()

        def refuse() -> None:
            raise LedgerError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(stage.archive, "publish", refuse)
            with pytest.raises(LedgerError, match="full"):
                stage.open()
        assert stage.prompt(session_id)

    def test_an_end_announced_to_nobody_is_asked_when_it_is_announced(
        self, stage: LessonStage
    ) -> None:
        session_id = stage.open()
        stage.attend(session_id, minutes=20)
        while prompt := stage.engine.poll(session_id):
            stage.answer(session_id, prompt)
        stage.engine.announce_end(session_id)
        stage.clock.advance(5 * 60)
        assert stage.engine.poll(session_id) is None
        assert stage.engine.close(session_id).state.phase is SessionPhase.CLOSED

    def test_a_learner_who_sits_down_late_keeps_what_follows(self, stage: LessonStage) -> None:
        """Opening prompts that nobody answered yet say nothing about the lesson."""
        session_id = stage.open(minutes=60)
        for _ in range(12 * 60):
            stage.engine.poll(session_id)
            stage.clock.advance(1)
        stage.attend(session_id, minutes=45)
        result = stage.end(session_id)
        assert result.state.counts.missed >= 9  # each waits a while for an answer on its way
        began_s = result.state.passes_s[0]
        open_s = sum(p.end_s - p.start_s for p in result.state.answering if p.start_s >= began_s)
        assert result.account.credit.credited_s == pytest.approx(45 * 60 - open_s, abs=5)

    def test_a_face_that_was_forgotten_is_not_judged_and_not_kept(self, stage: LessonStage) -> None:
        session_id = stage.open()
        prompt = stage.prompt(session_id)
        stage.keystore.destroy("learner-1", RecordClass.FACE_EVIDENCE)
        with pytest.raises(UnknownSubjectError, match="not enrolled"):
            stage.answer(session_id, prompt)
        assert "snapshot" not in [leaf.kind for leaf in leaves(stage)]

    def test_a_prompt_the_disk_refused_is_issued_later(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.answer(session_id, stage.prompt(session_id))
        stage.store.broken = True
        with pytest.raises(LedgerError):
            stage.attend(session_id, minutes=45)
        stage.store.broken = False
        issued = stage.engine.poll(session_id)
        assert issued is not None
        state = stage.engine.close(session_id).state
        assert [p.planned_index for p in state.prompts if p.planned_index is not None] == [0]

    def test_the_last_moment_counts_even_if_somebody_polls(self, stage: LessonStage) -> None:
        session_id = stage.open()
        prompt = stage.prompt(session_id)
        stage.clock.advance(60)
        stage.engine.poll(session_id)
        assert stage.answer(session_id, prompt).judgement is Judgement.PASS

    def test_junk_at_the_last_second_does_not_stretch_a_prompt(self, stage: LessonStage) -> None:
        session_id = stage.open()
        prompts_until_one_is_due(stage, session_id)
        stage.clock.advance(58)
        prompt_id = stage.prompt(session_id).prompt_id
        stage.answer(session_id, stage.prompt(session_id), NOT_A_PICTURE)
        stage.clock.advance(3)
        prompts = stage.engine.close(session_id).state.prompts
        status = {prompt.prompt_id: prompt.status for prompt in prompts}
        assert status[prompt_id] is PromptStatus.MISSED

    def test_a_late_opening_brings_no_backlog(self, stage: LessonStage) -> None:
        session_id = stage.open()
        stage.clock.advance(20 * 60)
        stage.engine.poll(session_id)
        stage.answer(session_id, stage.prompt(session_id))
        assert stage.engine.poll(session_id) is None


class TestRefusals:
    """What must not be judged is refused before anything is stored."""

    @pytest.fixture
    def session_id(self, stage: LessonStage) -> str:
        return stage.open()

    def refused(self, stage: LessonStage, session_id: str, prompt_id: str, nonce: bytes) -> str:
        seen = frames_seen(stage)
        with pytest.raises(ProtocolError) as caught:
            stage.engine.answer(
                session_id, prompt_id=prompt_id, nonce=nonce, frames=[frame(LEARNER_FACE)]
            )
        assert frames_seen(stage) == seen
        return caught.value.code

    def test_a_wrong_nonce(self, stage: LessonStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        logged = stage.store.entry_count()
        assert self.refused(stage, session_id, prompt.prompt_id, bytes(16)) == "wrong_nonce"
        assert stage.store.entry_count() == logged

    def test_an_answer_too_late(self, stage: LessonStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        logged = stage.store.entry_count()
        stage.clock.advance(61)
        code = self.refused(stage, session_id, prompt.prompt_id, prompt.nonce)
        assert code == "deadline_passed"
        assert stage.store.entry_count() == logged

    def test_the_same_answer_twice(self, stage: LessonStage, session_id: str) -> None:
        prompt = stage.prompt(session_id)
        stage.answer(session_id, prompt)
        logged = stage.store.entry_count()
        code = self.refused(stage, session_id, prompt.prompt_id, prompt.nonce)
        assert code == "prompt_already_resolved"
        assert stage.store.entry_count() == logged

    def test_the_nonce_of_an_earlier_attempt(self, stage: LessonStage, session_id: str) -> None:
        first = stage.prompt(session_id)
        stage.answer(session_id, first, BLURRED)
        assert self.refused(stage, session_id, first.prompt_id, first.nonce) == "wrong_nonce"

    def test_another_sessions_prompt(self, stage: LessonStage, session_id: str) -> None:
        other = stage.open("learner-2")
        prompt = stage.prompt(other)
        with pytest.raises(UnknownSubjectError, match="no prompt with that id"):
            stage.answer(session_id, prompt)

    def test_an_unknown_session(self, stage: LessonStage) -> None:
        with pytest.raises(UnknownSubjectError, match="no session"):
            stage.engine.poll("nobody")

    def test_an_unknown_learner(self, stage: LessonStage) -> None:
        with pytest.raises(UnknownSubjectError, match="not enrolled"):
            stage.engine.open(
                learner_id="nobody", class_id="c", platform_id="p", planned_minutes=45
            )
        assert stage.store.entry_count() == 0

    def test_a_template_of_another_contract(self, stage: LessonStage) -> None:
        stage.enrol("learner-3", contract_id="other@1")
        with pytest.raises(ContractMismatchError, match="other@1"):
            stage.engine.open(
                learner_id="learner-3", class_id="c", platform_id="p", planned_minutes=45
            )

    def test_the_end_of_a_lesson_that_never_began(
        self, stage: LessonStage, session_id: str
    ) -> None:
        with pytest.raises(ProtocolError) as caught:
            stage.engine.announce_end(session_id)
        assert caught.value.code == "not_running"

    @pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf, 1441, True, "45", None, [45]])
    def test_planned_minutes_that_are_none(self, stage: LessonStage, minutes: object) -> None:
        stage.enrol("learner-1")
        with pytest.raises(InputError, match="planned_minutes"):
            stage.engine.open(
                learner_id="learner-1",
                class_id="c",
                platform_id="p",
                planned_minutes=cast("float", minutes),
            )
        assert stage.store.entry_count() == 0

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("learner_id", ""),
            ("learner_id", "x" * 129),
            ("class_id", "free text of a platform"),
            ("class_id", "x" * 65),
            ("platform_id", "line\nbreak"),
            ("platform_id", None),
        ],
    )
    def test_ids_that_are_none(self, stage: LessonStage, name: str, value: str) -> None:
        ids = {"learner_id": "learner-1", "class_id": "c", "platform_id": "p", name: value}
        with pytest.raises(InputError, match=name):
            stage.engine.open(
                learner_id=ids["learner_id"],
                class_id=ids["class_id"],
                platform_id=ids["platform_id"],
                planned_minutes=45,
            )

    @pytest.mark.parametrize(
        "frames", [None, "text", b"bytes", ["text"], [None], [b""] * 25, [bytes(3 << 20), b"x"]]
    )
    def test_frames_that_are_none_or_too_many(
        self, stage: LessonStage, session_id: str, frames: object
    ) -> None:
        prompt = stage.prompt(session_id)
        with pytest.raises(InputError, match=r"frames|bytes in one answer"):
            stage.engine.answer(
                session_id,
                prompt_id=prompt.prompt_id,
                nonce=prompt.nonce,
                frames=cast("list[bytes]", frames),
            )
        assert stage.prompt(session_id).prompt_id == prompt.prompt_id

    def test_a_closing_the_disk_refuses_can_be_repeated(self, stage: LessonStage) -> None:
        session_id = stage.open("learner-7")
        stage.attend(session_id, minutes=45)
        while prompt := stage.engine.poll(session_id):
            stage.answer(session_id, prompt)
        stage.engine.announce_end(session_id)
        stage.answer(session_id, stage.prompt(session_id))
        stage.store.broken = True
        with pytest.raises(LedgerError):
            stage.engine.close(session_id)
        stage.store.broken = False
        result = stage.engine.close(session_id)
        earned_s = 45 * 60 - stopped_s(result.state)
        assert result.account.credit.credited_s == pytest.approx(earned_s, abs=1e-6)

    def test_an_answer_the_disk_refuses_leaves_the_prompt_open(
        self, stage: LessonStage, session_id: str
    ) -> None:
        prompt = stage.prompt(session_id)
        stage.store.broken = True
        with pytest.raises(LedgerError):
            stage.answer(session_id, prompt)
        stage.store.broken = False
        assert stage.prompt(session_id).prompt_id == prompt.prompt_id
        assert stage.answer(session_id, prompt).judgement is Judgement.PASS


class TestAFaceErased:
    def test_while_a_session_is_opened_opens_none(
        self, stage: LessonStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stage.enrol("learner-1")
        publish = stage.archive.publish

        def erased_meanwhile() -> Checkpoint:
            with stage.store.writing() as unit:
                unit.remove_enrolment("learner-1")
            return publish()

        with monkeypatch.context() as patched:
            patched.setattr(stage.archive, "publish", erased_meanwhile)
            with pytest.raises(UnknownSubjectError, match="not enrolled"):
                stage.engine.open(
                    learner_id="learner-1",
                    class_id="class-1",
                    platform_id="platform-1",
                    planned_minutes=45,
                )
        assert stage.store.unfinished() == []
        assert leaves(stage) == []

    def test_while_an_answer_is_judged_keeps_nothing_of_it(
        self, stage: LessonStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session_id = stage.open()
        prompt = stage.prompt(session_id)
        observe = ColourObserver.observe

        def erased_meanwhile(*args: Any, **options: Any) -> Any:
            stage.keystore.destroy("learner-1", RecordClass.FACE_EVIDENCE)
            with recording(stage.store, stage.archive.evidence) as work:
                stage.engine.end_sessions(work, "learner-1")
                work.unit.remove_enrolment("learner-1")
            return observe(*args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(ColourObserver, "observe", erased_meanwhile)
            with pytest.raises((UnknownSubjectError, ProtocolError)):
                stage.answer(session_id, prompt)
        assert stage.engine.result(session_id).state.phase is SessionPhase.ABANDONED
        assert [leaf.kind for leaf in leaves(stage) if leaf.kind == "snapshot"] == []


class TestTheLogAlone:
    """What an auditor finds in the log, without the engine."""

    @pytest.fixture
    def result(self, stage: LessonStage) -> LessonResult:
        session_id = stage.open()
        stage.attend(session_id, minutes=45)
        return stage.end(session_id)

    def promise(self, stage: LessonStage) -> SchedulePromise:
        """Rebuild the promise from the log's entries and the one opened record."""
        everything = leaves(stage)
        opened = next(leaf for leaf in everything if leaf.kind == "session_opened")
        closed = next(leaf for leaf in everything if leaf.kind == "session_closed")
        header = stage.archive.read_snapshot(everything.index(opened)).record["header"]
        assert isinstance(header, Mapping)
        size = closed.facts["schedule_checkpoint_size"]
        assert isinstance(size, int)
        return SchedulePromise(
            secret=from_base64(str(closed.facts["schedule_secret"])),
            header=ScheduleHeader.from_record(header),
            committed=from_base64(str(opened.facts["schedule_commitment"])),
            checkpoint_root=root_of([leaf_hash(leaf.serialize()) for leaf in everything[:size]]),
        )

    def issued(self, stage: LessonStage) -> list[IssuedPrompt]:
        """Read from the log which scheduled prompts went out, and when."""
        facts = [leaf.facts for leaf in leaves(stage) if leaf.kind == "prompt_issued"]
        return [
            IssuedPrompt(
                index=int(str(fact["planned_index"])),
                kind=str(fact["kind"]),
                issued_s=int(str(fact["issued_ms"])) / 1000,
            )
            for fact in facts
            if fact["origin"] == "scheduled"
        ]

    def test_the_schedule_follows_from_commitment_secret_and_checkpoint(
        self, stage: LessonStage, result: LessonResult
    ) -> None:
        issued, promise = self.issued(stage), self.promise(stage)
        assert len(issued) > 3
        verdict = self.verdict(stage, promise, issued)
        assert verdict.ok
        fewer = self.verdict(stage, promise, issued[1:])
        assert fewer.missing == (issued[0].index,)
        other = replace(promise, header=replace(promise.header, class_id="class-2"))
        assert not self.verdict(stage, other, issued).ok
        assert result.state.phase is SessionPhase.CLOSED

    def test_a_late_opening_and_an_abandoned_session_keep_to_their_schedule(
        self, stage: LessonStage
    ) -> None:
        session_id = stage.open()
        stage.clock.advance(7 * 60)
        stage.engine.poll(session_id)
        stage.attend(session_id, minutes=20)
        stage.engine.close(session_id)
        assert self.verdict(stage, self.promise(stage), self.issued(stage)).ok

    def verdict(
        self, stage: LessonStage, promise: SchedulePromise, issued: list[IssuedPrompt]
    ) -> ScheduleVerdict:
        """Compare with the schedule, by the closing leaf's own end and silences."""
        facts = next(leaf.facts for leaf in leaves(stage) if leaf.kind == "session_closed")
        stretches = cast("list[list[int]]", facts["silences_ms"])
        return verify_schedule(
            promise,
            issued,
            ended_s=cast("int", facts["lesson_end_ms"]) / 1000,
            silences=[Pause(start_s=a / 1000, end_s=b / 1000) for a, b in stretches],
        )

    def test_closing_counts_show_an_omission(
        self, stage: LessonStage, result: LessonResult
    ) -> None:
        own = [leaf for leaf in leaves(stage) if leaf.session_id == result.state.session_id]
        assert [leaf.sequence for leaf in own] == list(range(len(own)))
        facts = own[-1].facts
        assert facts["prompts_issued"] == result.state.counts.issued
        assert (facts["first_index"], facts["last_index"]) == (0, len(own) - 2)

    def test_a_missed_prompt_has_a_leaf_of_its_own(self, stage: LessonStage) -> None:
        session_id = stage.open()
        prompts_until_one_is_due(stage, session_id)
        stage.clock.advance(60 + RECEIVING_S + 1)
        stage.engine.poll(session_id)
        stage.engine.close(session_id)
        assert "prompt_missed" in [leaf.kind for leaf in leaves(stage)]

    def test_sessions_of_a_learner_and_class_are_numbered_without_gaps(
        self, stage: LessonStage
    ) -> None:
        for learner in ("a", "a", "b", "a"):
            stage.engine.close(stage.open(learner))
        stage.restart()
        stage.engine.close(stage.open("a"))
        opened = [leaf for leaf in leaves(stage) if leaf.kind == "session_opened"]
        assert [leaf.facts["session_number"] for leaf in opened] == [0, 1, 0, 2, 3]

    def test_nothing_in_it_names_a_learner_or_tells_a_score(
        self, stage: LessonStage, result: LessonResult
    ) -> None:
        entries = b"".join(leaf.serialize() for leaf in leaves(stage))
        assert result.state.learner_id.encode() not in entries
        assert b"log10_lr" not in entries
        assert b"authenticity" not in entries

    def test_future_prompts_stay_inside(self, stage: LessonStage, result: LessonResult) -> None:
        session_id = stage.open("learner-9")
        with stage.store.reading() as unit:
            lesson = unit.lesson(session_id)
        shown = repr(stage.prompt(session_id)) + repr(stage.engine) + repr(lesson)
        for secret in ("offset_s", "seed", "learner-9", "vector", repr(lesson.promise.secret)):
            assert secret not in shown
        assert result.promise is not None
        assert repr(result.promise.secret) not in repr(result)

    def test_a_receipt_tells_no_score(self, stage: LessonStage, result: LessonResult) -> None:
        stage.archive.publish()
        answered = result.answers[0].index
        for index in (answered, result.closed_index):
            receipt = stage.archive.receipt(index)
            extra = base64.b64decode(receipt.split(b"extra ")[1].split(b"\n")[0])
            assert b"log10_lr" not in extra
            assert b"authenticity" not in extra
            assert b"reject" not in extra
            assert len(console_ciphertext(extra)) % 256 == 16
        console = stage.archive.read_snapshot(answered).console
        assert console["comparison_log10_lr"] == result.evidence.checks[0].comparison_log10_lr
