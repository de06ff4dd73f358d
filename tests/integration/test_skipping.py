"""Every trick with prompts, against the running service: it earns nothing and leaves its trace.

What tricks there are: the table of docs/threats.md, and what scripts for skipping lessons do. Those
with players, frames and other ways in are in `test_skipping_players.py`.
"""

from collections.abc import Iterator

import pytest

from tests.integration.skipping_stage import (
    SkippingStage,
    earned_nothing,
    open_skipping_stage,
)
from tests.pipelines.lesson_stage import BLURRED, NOBODY, NOT_A_PICTURE, OTHER_FACE, TWO_PEOPLE
from tests.service.http.footprint import footprint
from tests.service.http.refusals import refused, told
from tests.service.http.service_stage import reply

MINUTES = 12
ASKED_EVERY_S = 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SkippingStage]:
    """Serve one service to all tests; afterwards its schedules are proven, its archive verified."""
    with open_skipping_stage(tmp_path_factory.mktemp("skipping")) as opened:
        yield opened


def test_no_trick_an_honest_lesson_is_paid_to_the_second(stage: SkippingStage) -> None:
    """Sit there and answer: without this, a service that pays nobody would pass all the others."""
    lesson = stage.lesson(minutes=MINUTES)
    lesson.attend(MINUTES)
    outcome = lesson.close()
    assert (outcome["decision"], outcome["credited_s"], outcome["pending_s"]) == ("accept", 720, 0)
    assert lesson.gate["outcome"] == "payable"
    assert lesson.missed == 0


class TestNotAnswering:
    @pytest.mark.parametrize("asks", [False, True], ids=["call blocked", "dialogue removed"])
    def test_the_prompt_never_reaches_the_learner(self, stage: SkippingStage, asks: bool) -> None:
        """Block the call that fetches the prompt; or fetch it, and remove its dialogue."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.begin()
        for _ in range(60 * MINUTES // ASKED_EVERY_S):
            stage.clock.advance(ASKED_EVERY_S)
            if asks:
                lesson.prompt()
        lesson.leave()
        outcome = earned_nothing(lesson)
        assert (outcome["pending_s"], outcome["decision"]) == (0, "under_review")
        # Prompts went out when they were due, whether anybody asked or not.
        counts, issued = outcome["prompts"], lesson.count("prompt_issued")
        assert (counts["issued"], counts["answered"]) == (issued, 1)
        assert lesson.missed == counts["missed"] == issued - 1 > 2
        origins = [each.fact("origin") for each in lesson.leaves]
        counted = lesson.missed_by_schedule + origins.count("closing")
        assert lesson.rule("miss_budget@1")["values"]["missed"] == counted

    def test_only_the_first_time_needs_a_face(self, stage: SkippingStage) -> None:
        """Attend six minutes, then remove the dialogue: what counts ends at the last answer."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.attend(6)
        stage.clock.advance(360)
        outcome = lesson.leave()
        last_s = outcome["evidence"][-1]["at_s"]
        earned_s = outcome["credited_s"] + outcome["pending_s"]
        assert earned_s == pytest.approx(last_s, abs=1e-6)
        assert last_s <= 360
        assert lesson.spans_within(last_s, 720) == set()
        assert lesson.gate["outcome"] in {"not_yet", "refer"}
        assert lesson.missed == outcome["prompts"]["missed"] > 1

    def test_the_time_between_an_answer_and_the_next_one_with_a_miss_within(
        self, stage: SkippingStage
    ) -> None:
        """Go away in the middle for a quarter of an hour, and come back."""
        lesson = stage.lesson(minutes=24)
        lesson.attend(6)
        left_s = lesson.told["evidence"][-1]["at_s"]
        stage.clock.advance(720)
        answered = len(lesson.told["evidence"])
        lesson.attend(6)
        outcome = lesson.close()
        back_s = outcome["evidence"][answered]["at_s"]
        assert lesson.spans_within(left_s, back_s) == {("pending", "miss_within")}
        assert outcome["credited_s"] <= 24 * 60 - (back_s - left_s)
        assert lesson.missed == outcome["prompts"]["missed"] >= 2

    def test_sessions_are_abandoned_until_their_times_suit(self, stage: SkippingStage) -> None:
        """Open, wait for the first prompt, dislike its time, open another: twenty times."""
        prepared, rounds = stage.prepare(), 20
        lessons = []
        for _ in range(rounds):
            lesson = stage.lesson(prepared=prepared)
            lesson.begin()
            lesson.until_due()
            assert lesson.prompt() is not None  # it comes too soon, they find
            lessons.append(lesson)
        lessons[-1].leave()
        earned_nothing(lessons[-1])
        proof = stage.prove(lessons[-1].session_id)
        assert proof.ok
        assert [session.number for session in proof.sequence] == list(range(rounds))
        assert [session.session_id for session in proof.sequence] == [
            lesson.session_id for lesson in lessons
        ]
        closings = [lesson.leaves[-1] for lesson in lessons]
        secrets = {closing.octets("schedule_secret") for closing in closings}
        assert ({len(secret) for secret in secrets}, len(secrets)) == ({32}, rounds)
        assert {closing.fact("phase") for closing in closings} == {"abandoned"}
        assert {lesson.told["credited_s"] for lesson in lessons} == {0}
        values = lesson.rule("miss_budget@1")["values"]
        assert (values["scheduled"], values["missed"], values["share"]) == (rounds, rounds, 1)
        assert values["verdict"] == "above_so_far"


class TestAnsweringWithAnything:
    @pytest.mark.parametrize("who", [OTHER_FACE, NOBODY, TWO_PEOPLE, BLURRED, NOT_A_PICTURE])
    def test_any_picture(self, stage: SkippingStage, who: str) -> None:
        """Send somebody else's face, an empty room, a crowd, a blur, or no picture at all."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.begin()
        sent = 0
        for _ in range(3):
            lesson.until_due()
            prompt = lesson.prompt()
            while prompt is not None:
                judged = lesson.answer(prompt, who)
                assert judged["answer"] in {"retry", "refer"}
                prompt, sent = judged["prompt"], sent + 1
            if lesson.told["paused_until"]:
                break
        assert sent >= 3
        lesson.leave()
        outcome = earned_nothing(lesson)
        assert (outcome["pending_s"], outcome["decision"]) == (0, "under_review")
        # Each lies in the log as an answer, judged, and with its picture where it was one.
        answers = [lesson.sealed(logged) for logged in lesson.answers]
        assert len(answers) == len(outcome["evidence"]) == sent + 1
        assert {each.record["answer"] for each in answers[1:]} <= {"retry", "refer"}
        assert {each.image is None for each in answers[1:]} == {who == NOT_A_PICTURE}

    def test_pictures_until_one_passes(self, stage: SkippingStage) -> None:
        """Try picture after picture; when that is stopped, go on in a new session."""
        prepared = stage.prepare()
        lesson = stage.lesson(prepared=prepared)
        for _ in range(5):
            assert lesson.answer(lesson.prompt(), NOT_A_PICTURE)["answer"] == "retry"
        assert lesson.prompt() is None
        until = lesson.told["paused_until"]
        pauses = stage.clock.now().fromisoformat(until) - stage.clock.now()
        assert pauses.total_seconds() == 1800

        stage.clock.advance(60)
        fresh = stage.lesson(prepared=prepared)
        assert fresh.told["paused_until"] == until
        assert fresh.prompt() is None
        stage.clock.advance(1739)
        assert fresh.prompt() is None
        stage.clock.advance(1)
        assert fresh.answer(fresh.prompt())["answer"] == "pass"
        fresh.leave()
        for each in (lesson, fresh):
            earned_nothing(each)
            assert each.count("session_paused") == 1
        assert lesson.count("answer_unreadable") == 5

    def test_an_answer_once_more(self, stage: SkippingStage) -> None:
        """Send an answer again: the same bytes to the same prompt, or its nonce to the next one."""
        lesson = stage.lesson(minutes=MINUTES)
        first = lesson.prompt()
        assert lesson.answer(first)["answer"] == "pass"
        before = footprint(stage)
        assert refused(lesson.try_answer(first)) == (409, "prompt_already_resolved")
        assert footprint(stage) == before
        lesson.until_due()
        second = lesson.prompt()
        before = footprint(stage)
        stale = {**second, "nonce": first["nonce"]}
        assert refused(lesson.try_answer(stale)) == (409, "wrong_nonce")
        assert footprint(stage) == before
        lesson.leave()
        assert earned_nothing(lesson)["pending_s"] == 0
        assert len(lesson.answers) == 1
        assert lesson.missed == 1

    def test_the_same_pictures_to_another_prompt(self, stage: SkippingStage) -> None:
        """Keep a good picture and send it to every prompt: what happens today.

        Nothing finds it in time yet, and a still of the learner passes. But every record of an
        answer holds the digest of its pixels, so that equal ones are found afterwards.
        """
        lesson = stage.lesson(minutes=MINUTES)
        lesson.begin()
        lesson.until_due()
        assert lesson.answer(lesson.prompt())["answer"] in {"pass", "refer"}
        lesson.leave()
        pictures = [lesson.sealed(logged).pixels_sha256 for logged in lesson.answers]
        assert len(pictures) == 2
        assert pictures[0] == pictures[1] is not None

    def test_another_sessions_prompt(self, stage: SkippingStage) -> None:
        """Let a friend answer: with their token, another platform's key, or their own nonce."""
        lesson, friend = stage.lesson(minutes=MINUTES), stage.lesson(minutes=MINUTES)
        lesson.begin()
        lesson.until_due()
        prompt, friends = lesson.prompt(), friend.prompt()
        before = footprint(stage)
        path = f"/v1/prompts/{prompt['prompt_id']}/answer"
        for by in (stage.token(friend.opened), stage.other_platform):
            answer = stage.call("POST", path, reply(prompt), by=by)
            nobodys = stage.call("POST", f"/v1/prompts/{'0' * 32}/answer", reply(prompt), by=by)
            assert (answer.status_code, told(answer)) == (404, told(nobodys))
        crossed = {**prompt, "nonce": friends["nonce"]}
        assert refused(lesson.try_answer(crossed)) == (409, "wrong_nonce")
        assert footprint(stage) == before
        lesson.leave()
        assert earned_nothing(lesson)["pending_s"] == 0
        assert (len(lesson.answers), lesson.missed) == (1, 1)


class TestMarkingComplete:
    def test_hours_are_uploaded(self, stage: SkippingStage) -> None:
        """Upload a thousand minutes of somebody who was never there."""
        learner_id, class_id = stage.prepare()
        claims = stage.row_count("claim")
        body = {"learner_id": learner_id, "class_id": class_id, "claimed_minutes": 1000}
        settled = stage.post("/v1/claims", body)
        assert (settled["credited_s"], settled["pending_s"]) == (0, 0)
        assert [reason["code"] for reason in settled["reasons"]] == ["NO_SESSION"]
        gate = stage.get(f"/v1/classes/{class_id}/learners/{learner_id}/eligibility")
        stands = (gate["outcome"], gate["credited_s"], gate["claimed_s"])
        assert stands == ("not_payable", 0, 60_000)
        assert "NO_SESSION_SEEN" in [rule["code"] for rule in gate["rules"]]
        assert stage.row_count("claim") == claims + 1

    def test_it_is_closed_without_an_answer(self, stage: SkippingStage) -> None:
        """Open, wait, and close: say that it is complete and answer nothing."""
        lesson = stage.lesson(minutes=MINUTES)
        assert lesson.prompt() is not None
        path = f"/v1/sessions/{lesson.session_id}/end"
        assert refused(stage.call("POST", path, {})) == (409, "not_running")
        stage.clock.advance(60 * MINUTES)
        assert lesson.leave()["phase"] == "abandoned"
        assert earned_nothing(lesson)["pending_s"] == 0
        kinds = [logged.leaf.kind for logged in lesson.leaves]
        assert kinds == ["session_opened", "prompt_issued", "prompt_missed", "session_closed"]

    def test_a_face_once_and_then_done(self, stage: SkippingStage) -> None:
        """Pass the face, announce the end at once, pass again: a task complete in no time."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.begin()
        assert lesson.close()["phase"] == "closed"
        assert earned_nothing(lesson)["pending_s"] == 0
        assert lesson.leaves[-1].fact("lesson_end_ms") == 0

    def test_two_lessons_at_once(self, stage: SkippingStage) -> None:
        """Run two classes side by side and earn both."""
        learner_id, class_id = stage.prepare()
        second_class = stage.open_class()
        stage.approve(second_class)
        stage.roster(second_class, learner_id)
        first = stage.lesson(prepared=(learner_id, class_id))
        first.attend(3)
        second = stage.lesson(prepared=(learner_id, second_class))
        path = f"/v1/sessions/{first.session_id}"
        assert refused(stage.call("GET", f"{path}/prompt")) == (409, "session_over")
        assert refused(first.beat({"visible": True})) == (409, "session_over")
        second.attend(9)
        outcome = second.close()
        left = first.told
        assert left["credited_s"] + left["pending_s"] <= 180  # until the second one was opened
        assert left["prompts"]["missed"] == first.missed == 1  # the closing prompt
        assert (outcome["decision"], outcome["credited_s"]) == ("accept", 540)
        closed, opened = first.leaves[-1], second.leaves[0]
        assert (closed.fact("phase"), closed.index + 1) == ("abandoned", opened.index)
