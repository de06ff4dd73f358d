"""Sessions in which no face is looked at, calls of officers, and what leaves say of both."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.lesson import Lesson, PromptView
from pipelines.lesson_input import SignedAnswer
from pipelines.lesson_terms import fresh_code
from tests.pipelines.lesson_stage import (
    LEARNER_FACE,
    NOBODY,
    OTHER_FACE,
    ColourObserver,
    LessonStage,
    frame,
    verdict_of,
)
from verifier.answer import AnswerReason, CallFinding
from verifier.assurance import Assurance, LearnerPath
from verifier.enrolment import Anchor
from verifier.errors import InputError, ProtocolError
from verifier.policy import default_policy
from verifier.prompt import Judgement, PromptKind, PromptStatus
from verifier.session_score import Decision
from verifier.session_state import SessionPhase


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def lesson_of(stage: LessonStage, session_id: str) -> Lesson:
    with stage.store.reading() as unit:
        return unit.lesson(session_id)


def open_granted(stage: LessonStage, *, assurance: Assurance = Assurance.PLATFORM) -> str:
    """Open a session of somebody who is known, and has no face enrolled."""
    stage.store.learners.add("learner-1")
    return stage.engine.open(
        learner_id="learner-1",
        class_id="class-1",
        platform_id="platform-1",
        planned_minutes=45,
        assurance=assurance,
        path=LearnerPath.NON_FACE,
        grant_id="grant-1",
        makes_up="0123456789abcdef",
    )


def type_in(
    stage: LessonStage, session_id: str, prompt: PromptView, typed: str | None
) -> Judgement:
    return stage.engine.answer(
        session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, typed=typed
    ).judgement


def frames_seen(stage: LessonStage) -> int:
    observer = stage.engine.checker.observer
    assert isinstance(observer, ColourObserver)
    return observer.frames_seen


class TestByGrant:
    def test_a_whole_lesson_by_codes_looks_at_no_face(self, stage: LessonStage) -> None:
        session_id = open_granted(stage)
        for _ in range(20 * 60):
            while prompt := stage.engine.poll(session_id):
                assert prompt.kind == PromptKind.TYPED_CODE
                assert type_in(stage, session_id, prompt, prompt.code) is Judgement.PASS
            stage.clock.advance(1)
        stage.engine.announce_end(session_id)
        closing = stage.prompt(session_id)
        assert type_in(stage, session_id, closing, closing.code) is Judgement.PASS
        result = stage.engine.close(session_id)
        assert result.state.phase is SessionPhase.CLOSED
        assert frames_seen(stage) == 0
        assert result.evidence.path is LearnerPath.NON_FACE
        assert all(check.comparison_log10_lr is None for check in result.evidence.checks)
        assert {p.kind for p in result.state.prompts} == {PromptKind.TYPED_CODE}

    def test_a_wrong_code_is_asked_again_with_another(self, stage: LessonStage) -> None:
        session_id = open_granted(stage)
        codes, prompt = set[str | None](), stage.prompt(session_id)
        for _ in range(2):
            codes.add(prompt.code)
            assert prompt.code is not None
            assert len(prompt.code) == 6
            view = stage.engine.answer(
                session_id, prompt_id=prompt.prompt_id, nonce=prompt.nonce, typed="no digits"
            )
            assert (view.judgement, view.reason) == (Judgement.RETRY, AnswerReason.WRONG_CODE)
            assert view.asked_again is not None
            prompt = view.asked_again
        codes.add(prompt.code)
        assert len(codes) == 3
        assert type_in(stage, session_id, prompt, prompt.code) is Judgement.PASS

    def test_the_other_kind_of_answer_is_refused(self, stage: LessonStage) -> None:
        granted = open_granted(stage)
        code = stage.prompt(granted)
        for given in ({"frames": [frame(LEARNER_FACE)]}, {"frames": [b""], "typed": code.code}, {}):
            with pytest.raises(InputError, match="typed_code"):
                stage.engine.answer(granted, prompt_id=code.prompt_id, nonce=code.nonce, **given)
        by_face = stage.open("learner-2")
        look = stage.prompt(by_face)
        with pytest.raises(InputError, match="silent_capture"):
            stage.engine.answer(by_face, prompt_id=look.prompt_id, nonce=look.nonce, typed="123456")
        for typed in ("", "1" * 65, 123456):
            with pytest.raises(InputError, match="typed is not a text"):
                type_in(stage, granted, code, typed)  # type: ignore[arg-type]  # the last is none
        assert stage.prompt(granted) == code

    def test_the_leaves_say_which_way_and_seal_by_whose_grant(self, stage: LessonStage) -> None:
        session_id = open_granted(stage, assurance=Assurance.FRAME)
        prompt = stage.prompt(session_id)
        type_in(stage, session_id, prompt, prompt.code)
        stage.engine.close(session_id)
        own = [leaf for leaf in stage.leaves() if leaf.session_id == session_id]
        assert {leaf.facts["path"] for leaf in own} == {"non_face"}
        assert {leaf.assurance for leaf in own} == {"frame"}
        assert "code_answered" in {leaf.kind for leaf in own}
        opened, public = own[0], b"".join(leaf.serialize() for leaf in own)
        assert (opened.facts["anchor"], opened.facts["calibration_id"]) == ("officer", None)
        assert opened.facts["makes_up"] == "0123456789abcdef"
        assert b"grant-1" not in public
        assert prompt.code is not None
        assert prompt.code.encode() not in public
        lesson = lesson_of(stage, session_id)
        for index in (lesson.opened_index, lesson.answers[0].index):
            assert stage.archive.read_snapshot(index).record["grant_id"] == "grant-1"
        assert lesson.anchor is Anchor.OFFICER

    def test_a_grant_goes_with_its_path_and_with_no_other(self, stage: LessonStage) -> None:
        stage.enrol("learner-1")
        for path, grant_id in ((LearnerPath.FACE, "grant-1"), (LearnerPath.NON_FACE, None)):
            with pytest.raises(InputError, match="grant"):
                stage.engine.open(
                    learner_id="learner-1",
                    class_id="c",
                    platform_id="p",
                    planned_minutes=45,
                    path=path,
                    grant_id=grant_id,
                )
        assert stage.store.entry_count() == 0

    def test_sessions_in_the_frame_are_asked_less_often(self, stage: LessonStage) -> None:
        stage.enrol("learner-1")
        gaps = {}
        for assurance in Assurance:
            session_id = stage.engine.open(
                learner_id="learner-1",
                class_id="c",
                platform_id="p",
                planned_minutes=45,
                assurance=assurance,
            )
            gaps[assurance] = lesson_of(stage, session_id).header.parameters.mean_gap_s
        policy = stage.engine.policy
        assert gaps == {
            Assurance.FRAME: policy.frame.mean_gap_s,
            Assurance.PLATFORM: policy.prompts.mean_gap_s,
        }


class TestACall:
    @pytest.fixture
    def session_id(self, stage: LessonStage) -> str:
        session_id = stage.open()
        stage.answer(session_id, stage.prompt(session_id))
        return session_id

    def called(self, stage: LessonStage, session_id: str) -> PromptView:
        return stage.engine.add_prompt(session_id, kind=PromptKind.OFFICER_CALL, by="officer-1")

    @pytest.mark.parametrize(
        ("finding", "judgement", "status"),
        [
            (CallFinding.SEEN, Judgement.PASS, PromptStatus.PASSED),
            (CallFinding.NOT_REACHED, Judgement.RETRY, PromptStatus.MISSED),
            (CallFinding.SOMEBODY_ELSE, Judgement.REFER, PromptStatus.REFERRED),
        ],
    )
    def test_what_an_officer_found_decides(
        self,
        stage: LessonStage,
        session_id: str,
        finding: CallFinding,
        judgement: Judgement,
        status: PromptStatus,
    ) -> None:
        prompt = self.called(stage, session_id)
        stage.clock.advance(90)
        view = stage.engine.record_call(
            session_id, prompt_id=prompt.prompt_id, finding=finding, by="officer-2"
        )
        assert (view.judgement, view.asked_again) == (judgement, None)
        state = lesson_of(stage, session_id).state
        assert state.prompts[-1].status is status
        check = state.prompts[-1].attempts[-1].check
        assert check.challenge is not None
        assert (check.challenge.kind, check.challenge.latency_s) == ("officer_call", 90)
        assert check.comparison_log10_lr is None
        assert [(stop.start_s, stop.end_s) for stop in state.answering] == [(0, 90)]
        leaf = stage.leaves()[-1]
        assert leaf.kind == "call_recorded"
        assert b"officer" not in leaf.serialize()
        record = stage.archive.read_snapshot(lesson_of(stage, session_id).last_index).record
        assert (record["by"], record["kind"]) == ("officer-2", "officer_call")

    def test_it_waits_for_as_long_as_the_policy_says(
        self, stage: LessonStage, session_id: str
    ) -> None:
        prompt = self.called(stage, session_id)
        waits = prompt.closes_at - stage.clock.now()
        rules = stage.engine.policy.non_face
        assert waits == timedelta(seconds=rules.officer_call_deadline_s)

    def test_only_an_officer_answers_it(self, stage: LessonStage, session_id: str) -> None:
        prompt = self.called(stage, session_id)
        for given in ({"frames": [frame(LEARNER_FACE)]}, {"typed": "123456"}):
            with pytest.raises(ProtocolError) as caught:
                stage.engine.answer(
                    session_id,
                    prompt_id=prompt.prompt_id,
                    nonce=prompt.nonce,
                    **given,
                )
            assert caught.value.code == "wrong_kind"
        assert frames_seen(stage) == 1

    def test_an_officer_answers_no_other(self, stage: LessonStage, session_id: str) -> None:
        prompt = stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="o")
        with pytest.raises(ProtocolError) as caught:
            stage.engine.record_call(
                session_id, prompt_id=prompt.prompt_id, finding=CallFinding.SEEN, by="o"
            )
        assert caught.value.code == "wrong_kind"

    def test_who_was_not_reached_five_times_is_not_locked_out(
        self, stage: LessonStage, session_id: str
    ) -> None:
        """The learner gave no answer, so none failed."""
        for _ in range(5):
            prompt = self.called(stage, session_id)
            stage.engine.record_call(
                session_id, prompt_id=prompt.prompt_id, finding=CallFinding.NOT_REACHED, by="o"
            )
        look = stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="o")
        stage.answer(session_id, look, NOBODY)
        assert lesson_of(stage, session_id).state.paused_until is None

    def test_a_call_is_not_the_fifth_failure(self, stage: LessonStage, session_id: str) -> None:
        for _ in range(4):
            if stage.engine.poll(session_id) is None:
                stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="o")
            stage.answer(session_id, stage.prompt(session_id), OTHER_FACE)
        prompt = self.called(stage, session_id)
        stage.engine.record_call(
            session_id, prompt_id=prompt.prompt_id, finding=CallFinding.SOMEBODY_ELSE, by="o"
        )
        assert lesson_of(stage, session_id).state.paused_until is None


def call_now(stage: LessonStage, session_id: str) -> PromptView:
    return stage.engine.add_prompt(session_id, kind=PromptKind.OFFICER_CALL, by="o")


def late_in_the_lesson(stage: LessonStage) -> str:
    session_id = stage.open()
    stage.attend(session_id, minutes=15)
    while prompt := stage.engine.poll(session_id):
        stage.answer(session_id, prompt)
    return session_id


@pytest.mark.parametrize("found", [None, CallFinding.SEEN])
def test_what_falls_due_while_an_officer_calls_is_let_go(
    stage: LessonStage, found: CallFinding | None
) -> None:
    """Or ten minutes' prompts would come at once, after a call that perhaps nobody made."""
    session_id = late_in_the_lesson(stage)
    call = stage.engine.add_prompt(session_id, kind=PromptKind.OFFICER_CALL, by="o")
    began_s = lesson_of(stage, session_id).state.offset_s(stage.clock.now())
    if found is not None:
        stage.clock.advance(590)
        stage.engine.record_call(session_id, prompt_id=call.prompt_id, finding=found, by="o")
    else:
        stage.clock.advance(601 + 15)
    stopped_s = 590 if found is not None else 600
    answered = 0
    while prompt := stage.engine.poll(session_id):
        stage.answer(session_id, prompt)
        answered += 1
    assert answered <= 1
    stage.attend(session_id, minutes=15)
    result = stage.end(session_id)
    sent_s = [p.planned_offset_s for p in result.state.prompts if p.planned_offset_s is not None]
    assert not [s for s in sent_s if began_s <= s < began_s + stopped_s]
    verdict = verdict_of(result)
    assert (verdict.ok, bool(verdict.excused)) == (True, True)
    assert result.account.score.decision is Decision.ACCEPT
    (span,) = result.account.credit.spans
    assert result.account.credit.credited_s < 30 * 60 + 30
    assert span.paused_s >= stopped_s
    assert result.account.credit.credited_s > 28 * 60


def test_one_officer_alone_makes_no_credit(stage: LessonStage) -> None:
    session_id = stage.open()
    stage.answer(session_id, stage.prompt(session_id))
    for _ in range(100):
        stage.clock.advance(25)
        with suppress(ProtocolError):  # while nobody answers another prompt
            call = call_now(stage, session_id)
            stage.engine.record_call(
                session_id, prompt_id=call.prompt_id, finding=CallFinding.SEEN, by="o"
            )
    result = stage.end(session_id, None)
    assert result.state.counts.answered >= 2
    assert (result.account.credit.credited_s, result.account.credit.pending_s) == (0, 0)


def test_a_devices_signature_is_kept_with_what_it_signed(stage: LessonStage) -> None:
    session_id = stage.open()
    prompt = stage.prompt(session_id)
    stage.engine.answer(
        session_id,
        prompt_id=prompt.prompt_id,
        nonce=prompt.nonce,
        frames=[frame(LEARNER_FACE)],
        signed=SignedAnswer(device_id="d-1", signature=b"\x01\x02", signed=b"POST /v1/prompts"),
    )
    stage.archive.publish()
    record = stage.archive.read_snapshot(lesson_of(stage, session_id).last_index).record
    assert record["signed"] == {
        "device_id": "d-1",
        "signature": "AQI=",
        "text": "UE9TVCAvdjEvcHJvbXB0cw==",
    }


def test_no_code_is_asked_for_twice_running() -> None:
    """With ten thousand codes chance would repeat one soon; a retry would then be refused."""
    policy = default_policy()
    few = replace(policy, non_face=replace(policy.non_face, code_digits=4))
    code = fresh_code(PromptKind.TYPED_CODE, few)
    for _ in range(40_000):
        assert fresh_code(PromptKind.TYPED_CODE, few, besides=code) != code
    assert fresh_code(PromptKind.SILENT_CAPTURE, few) is None
