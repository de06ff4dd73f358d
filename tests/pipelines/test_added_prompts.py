"""Prompts that an officer or a doubt adds to the schedule."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.lesson import Lesson
from tests.pipelines.lesson_stage import (
    LEARNER_FACE,
    OTHER_FACE,
    LessonStage,
    verdict_of,
)
from verifier.errors import ProtocolError
from verifier.prompt import RECEIVING_S, AddedBecause, Judgement, Prompt, PromptKind, PromptOrigin
from verifier.schedule import PlannedPrompts


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[LessonStage]:
    built = LessonStage.build(tmp_path)
    yield built
    built.finish()


def lesson_of(stage: LessonStage, session_id: str) -> Lesson:
    with stage.store.reading() as unit:
        return unit.lesson(session_id)


def running(stage: LessonStage) -> str:
    session_id = stage.open(minutes=120)
    stage.answer(session_id, stage.prompt(session_id))
    return session_id


def set_rules(stage: LessonStage, **rules: Any) -> None:
    """Let the engine follow other rules for added prompts, and ask seldom, from its next start."""
    policy = stage.engine.policy
    stage.engine.policy = replace(
        policy,
        added=replace(policy.added, **rules),
        prompts=replace(policy.prompts, mean_gap_s=300),
    )
    stage.restart()


def added(lesson: Lesson) -> list[Prompt]:
    return [p for p in lesson.state.prompts if p.added_because is AddedBecause.POSTERIOR]


def scheduled(lesson: Lesson) -> list[Prompt]:
    return [p for p in lesson.state.prompts if p.origin is PromptOrigin.SCHEDULED]


def gap_s(stage: LessonStage, lesson: Lesson, index: int) -> float:
    rules = stage.engine.policy.added
    planned = PlannedPrompts(seed=lesson.promise.seed, parameters=lesson.header.parameters)
    gap_ms = planned.added_gap_ms(index, min_gap_s=rules.min_gap_s, mean_gap_s=rules.mean_gap_s)
    return gap_ms / 1000


def facts_of_added(stage: LessonStage) -> list[dict[str, object]]:
    leaves = [leaf for leaf in stage.leaves() if leaf.kind == "prompt_issued"]
    return [dict(leaf.facts) for leaf in leaves if leaf.facts["origin"] == "added"]


class TestADoubt:
    def absent(self, stage: LessonStage, *, minutes: int) -> tuple[str, Lesson]:
        session_id = running(stage)
        stage.clock.advance(60 * minutes)
        stage.engine.poll(session_id)
        return session_id, lesson_of(stage, session_id)

    def test_after_a_miss_one_more_goes_out_when_the_seed_says(self, stage: LessonStage) -> None:
        """Exactly after those misses whose gap ends before the next one is due."""
        set_rules(stage, below=1.0)
        _, lesson = self.absent(stage, minutes=100)
        found = {p.issued_at for p in added(lesson)}
        prompts = scheduled(lesson)
        wanted: set[datetime] = set()
        for prompt, later in pairwise(prompts):
            assert prompt.resolved_at is not None
            assert prompt.planned_index is not None
            free_at = prompt.resolved_at + timedelta(seconds=RECEIVING_S)
            at = prompt.resolved_at + timedelta(seconds=gap_s(stage, lesson, prompt.planned_index))
            planned_at = lesson.state.started_at + timedelta(seconds=later.planned_offset_s or 0)
            if max(at, free_at) < max(planned_at, free_at):
                wanted.add(max(at, free_at))
        assert wanted
        last = prompts[-1].issued_at
        assert {at for at in found if at < last} == wanted

    def test_at_most_one_follows_each_scheduled_prompt(self, stage: LessonStage) -> None:
        set_rules(stage, below=1.0, mean_gap_s=11)
        _, lesson = self.absent(stage, minutes=100)
        origins = [p.origin for p in lesson.state.prompts]
        pairs = list(pairwise(origins))
        assert (PromptOrigin.ADDED, PromptOrigin.ADDED) not in pairs
        assert (PromptOrigin.SCHEDULED, PromptOrigin.ADDED) in pairs

    def test_the_log_says_why_and_after_which_and_no_score(self, stage: LessonStage) -> None:
        set_rules(stage, below=1.0)
        session_id, lesson = self.absent(stage, minutes=100)
        stage.engine.close(session_id)
        told = facts_of_added(stage)
        resolved = {p.planned_index: p.resolved_at for p in scheduled(lesson)}
        for facts in told:
            at = resolved[int(str(facts["after_index"]))]
            assert at is not None
            assert facts["after_ms"] == round(1000 * lesson.state.offset_s(at))
        keys = {"after_index", "after_ms", "added_because", "kind", "origin", "path"}
        assert {key for facts in told for key in facts} == keys | {
            "issued_ms",
            "planned_index",
            "prompt_id",
        }
        assert {facts["added_because"] for facts in told} == {"posterior"}

    def test_the_schedule_itself_stays_what_it_was(self, stage: LessonStage) -> None:
        set_rules(stage, below=1.0)
        session_id, _ = self.absent(stage, minutes=100)
        assert verdict_of(stage.engine.close(session_id)).ok

    def test_who_is_there_without_doubt_is_not_asked_more(self, stage: LessonStage) -> None:
        set_rules(stage, below=0.0)
        _, lesson = self.absent(stage, minutes=100)
        assert added(lesson) == []

    def test_who_passes_is_not_asked_more(self, stage: LessonStage) -> None:
        set_rules(stage, below=1.0)
        session_id = running(stage)
        stage.attend(session_id, minutes=15)
        assert added(lesson_of(stage, session_id)) == []

    def test_somebody_elses_face_is_followed_by_another_look(self, stage: LessonStage) -> None:
        """The default policy: a referral makes it likely that the learner is gone."""
        session_id = running(stage)
        while not added(lesson_of(stage, session_id)):
            if prompt := stage.engine.poll(session_id):
                stage.answer(session_id, prompt, OTHER_FACE)
            stage.clock.advance(1)
        lesson = lesson_of(stage, session_id)
        referred = scheduled(lesson)[-1]
        assert referred.resolved_at is not None
        assert referred.planned_index is not None
        due = referred.resolved_at + timedelta(seconds=gap_s(stage, lesson, referred.planned_index))
        assert added(lesson)[0].issued_at == due
        assert added(lesson)[0].kind is PromptKind.SILENT_CAPTURE

    def test_a_restart_changes_nothing(self, stage: LessonStage) -> None:
        """Neither when it is due nor whether: all of it follows from what is kept."""
        session_id = running(stage)
        while not scheduled(lesson_of(stage, session_id)):
            stage.clock.advance(1)
            stage.engine.poll(session_id)
        stage.clock.advance(60 + RECEIVING_S)
        stage.engine.poll(session_id)
        stage.clock.advance(0.01)
        stage.engine.poll(session_id)
        before = stage.engine.next_due(session_id)
        stage.restart()
        assert stage.engine.next_due(session_id) == before

    def test_in_a_pause_it_is_dropped(self, stage: LessonStage) -> None:
        set_rules(stage, below=1.0)
        session_id = running(stage)
        while not scheduled(lesson_of(stage, session_id)):
            stage.clock.advance(1)
            stage.engine.poll(session_id)
        prompt = stage.prompt(session_id)
        stage.answer(session_id, prompt, OTHER_FACE)
        gone_at = stage.clock.now()
        stage.clock.advance(3600)
        stage.restart()
        stage.engine.resume_after(gone_at)
        stage.engine.poll(session_id)
        assert added(lesson_of(stage, session_id)) == []


class TestAnOfficer:
    def test_a_prompt_goes_out_at_once_and_is_answered_like_any(self, stage: LessonStage) -> None:
        session_id = running(stage)
        view = stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="officer-1")
        assert stage.prompt(session_id) == view
        assert stage.answer(session_id, view, LEARNER_FACE).judgement is Judgement.PASS
        prompt = lesson_of(stage, session_id).state.prompts[-1]
        assert (prompt.origin, prompt.added_because) == (
            PromptOrigin.ADDED,
            AddedBecause.SUPERVISOR,
        )
        (facts,) = facts_of_added(stage)
        assert facts["added_because"] == "supervisor"
        assert "after_index" not in facts

    def test_who_wanted_it_is_sealed(self, stage: LessonStage) -> None:
        session_id = running(stage)
        stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="officer-1")
        leaves = stage.leaves()
        assert b"officer-1" not in b"".join(leaf.serialize() for leaf in leaves)
        assert stage.archive.read_snapshot(len(leaves) - 1).record == {"by": "officer-1"}

    def test_one_prompt_is_open_at_a_time(self, stage: LessonStage) -> None:
        session_id = running(stage)
        stage.engine.add_prompt(session_id, kind=PromptKind.SILENT_CAPTURE, by="officer-1")
        assert self.refused(stage, session_id, PromptKind.SILENT_CAPTURE) == "prompt_open"

    def test_none_before_the_session_runs_and_none_after(self, stage: LessonStage) -> None:
        session_id = stage.open()
        assert self.refused(stage, session_id, PromptKind.SILENT_CAPTURE) == "not_running"
        stage.answer(session_id, stage.prompt(session_id))
        stage.engine.announce_end(session_id)
        assert self.refused(stage, session_id, PromptKind.SILENT_CAPTURE) == "not_running"
        stage.engine.close(session_id)
        assert self.refused(stage, session_id, PromptKind.SILENT_CAPTURE) == "session_over"

    def test_a_code_is_not_asked_where_a_face_is_wanted(self, stage: LessonStage) -> None:
        """Anybody can type: it would be a pass by whoever sits there."""
        session_id = running(stage)
        assert self.refused(stage, session_id, PromptKind.TYPED_CODE) == "wrong_kind"

    def refused(self, stage: LessonStage, session_id: str, kind: PromptKind) -> str:
        with pytest.raises(ProtocolError) as caught:
            stage.engine.add_prompt(session_id, kind=kind, by="officer-1")
        return caught.value.code
