"""Every trick with players, the frame, accommodations and foresight, against the running service.

Each earns nothing for the time it is about and leaves its trace; those with prompts are in
`test_skipping.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

import pytest

from pipelines.lesson import Lesson as StoredLesson
from tests.integration.skipping_stage import (
    Player,
    SkippingStage,
    earned_nothing,
    open_skipping_stage,
)
from tests.service.http.footprint import footprint
from tests.service.http.frame_client import FrameClient
from tests.service.http.refusals import refused
from tests.service.http.service_stage import reply
from tests.service.http.test_events import Client
from tests.service.http.test_prompt_kinds import attend as attend_by_codes
from tests.service.http.test_prompt_kinds import close as close_by_code
from verifier.transparency.base64_text import to_base64

MINUTES = 3
LENGTH_S = 60 * MINUTES
JUMP_S = 3
"""What the policy forgives a player's position, once."""
EARLY_S = 2
"""How long before a prompt its time is looked for; nearer, the present second would name it."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SkippingStage]:
    """Serve one service to all tests; afterwards its schedules are proven, its archive verified."""
    with open_skipping_stage(tmp_path_factory.mktemp("skipping")) as opened:
        yield opened


def honest(at_s: float) -> dict[str, Any]:
    return {
        "visible": True,
        "covered": False,
        "position_s": at_s,
        "rate": 1.0,
        "playing": True,
        "video_id": "lesson-1",
    }


def hidden(at_s: float) -> dict[str, Any]:
    return {**honest(at_s), "visible": False}


def covered(at_s: float) -> dict[str, Any]:
    return {**honest(at_s), "covered": True}


def at_four_times_the_speed(at_s: float) -> dict[str, Any]:
    return {**honest(4 * at_s), "rate": 4.0}


def at_four_times_the_speed_in_the_background(at_s: float) -> dict[str, Any]:
    return {**at_four_times_the_speed(at_s), "visible": False}


def at_four_times_the_speed_and_denied(at_s: float) -> dict[str, Any]:
    return honest(4 * at_s)


def standing_still(_at_s: float) -> dict[str, Any]:
    return honest(30)


def the_first_seconds_again_and_again(at_s: float) -> dict[str, Any]:
    return honest(at_s % 30)


def seen(_at_s: float) -> dict[str, Any]:
    """Say what the engine's frame does, which knows of no video."""
    return {"visible": True, "covered": False}


def unseen(_at_s: float) -> dict[str, Any]:
    return {"visible": False, "covered": False}


class TestPlayers:
    def test_no_trick_watched_lessons_are_paid_to_the_second(self, stage: SkippingStage) -> None:
        """Watch it: without this, an engine that believes no player would pass all the others."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.attend(MINUTES, player=honest)
        assert lesson.close()["credited_s"] == LENGTH_S
        assert (lesson.playback["counted_s"], lesson.playback["withheld_s"]) == (LENGTH_S, {})

    @pytest.mark.parametrize(
        ("player", "reason", "most_s"),
        [
            (hidden, "hidden", 0),
            (covered, "covered", 0),
            (at_four_times_the_speed, "too_fast", 0),
            (at_four_times_the_speed_in_the_background, "hidden", 0),
            (at_four_times_the_speed_and_denied, "sought", JUMP_S),
            (standing_still, "idle", 0),
            (the_first_seconds_again_and_again, "repeated", 30 + JUMP_S),
        ],
    )
    def test_a_page_that_nobody_watches(
        self, stage: SkippingStage, player: Player, reason: str, most_s: int
    ) -> None:
        """Hide it, speed it up, mute it, stop it or loop it, and answer every prompt in person."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.attend(MINUTES, player=player)
        outcome = lesson.close()
        assert outcome["credited_s"] + outcome["pending_s"] <= most_s
        assert lesson.gate["outcome"] in {"not_yet", "refer"}
        withheld = lesson.playback["withheld_s"]
        assert sum(withheld.values()) >= LENGTH_S - most_s
        assert withheld[reason] == max(withheld.values())
        # The sealed record of the end keeps the reasons; the public log says nothing of them.
        assert lesson.sealed(lesson.leaves[-1]).record["withheld_s"] == withheld
        assert reason.encode() not in lesson.leaves[-1].entry

    def test_continue_is_pressed_every_five_seconds(self, stage: SkippingStage) -> None:
        """Let a script press 继续观看 at once, always, and nobody sit there."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.begin()
        for at_s in range(0, LENGTH_S + 1, 5):
            assert lesson.beat(honest(at_s)).status_code == 204
            stage.clock.advance(5 if at_s < LENGTH_S else 0)
        lesson.leave()
        assert earned_nothing(lesson)["pending_s"] == 0
        assert (lesson.playback["counted_s"], lesson.playback["withheld_s"]) == (LENGTH_S, {})
        assert lesson.missed >= 1

    def test_playback_goes_on_within_two_seconds(self, stage: SkippingStage) -> None:
        """Leave after a minute; a script resumes the video two seconds after it was paused."""
        lesson = stage.lesson(minutes=MINUTES)
        lesson.attend(1, player=honest)
        stage.clock.advance(1)
        assert lesson.beat({**honest(61), "playing": False}).status_code == 204
        stage.clock.advance(2)
        for at_s in range(61, 182, 5):
            assert lesson.beat(honest(at_s)).status_code == 204
            stage.clock.advance(5 if at_s < 181 else 0)
        outcome = lesson.leave()
        assert outcome["credited_s"] + outcome["pending_s"] <= 60
        assert lesson.spans_within(60, 60 * MINUTES + 3) == set()  # a button is no check
        assert lesson.gate["outcome"] in {"not_yet", "refer"}
        playback = lesson.playback
        assert (playback["counted_s"], playback["withheld_s"]) == (60 + 120, {"idle": 3})
        assert lesson.missed >= 1


class TestTheFrame:
    def test_no_trick_a_visible_frame_is_paid_to_the_second(self, stage: SkippingStage) -> None:
        """Sit before the engine's own frame."""
        lesson, _ = stage.frame_lesson()
        lesson.attend(MINUTES, player=seen)
        assert lesson.close()["credited_s"] == LENGTH_S

    @pytest.mark.parametrize(
        ("player", "withheld"),
        [(unseen, {"hidden": LENGTH_S}), (None, {"uncovered": LENGTH_S})],
        ids=["hidden", "heartbeats blocked"],
    )
    def test_it_is_not_on_the_screen(
        self, stage: SkippingStage, player: Player | None, withheld: Mapping[str, int]
    ) -> None:
        """Hide the frame, or block its heartbeats, and answer every prompt."""
        lesson, _ = stage.frame_lesson()
        lesson.attend(MINUTES, player=player)
        lesson.close()
        assert earned_nothing(lesson)["pending_s"] == 0
        assert lesson.playback["withheld_s"] == withheld
        assert lesson.sealed(lesson.leaves[-1]).record["withheld_s"] == withheld

    def test_it_is_removed_from_the_page(self, stage: SkippingStage) -> None:
        """Remove the frame after a minute and a half, and answer all the same."""
        lesson, _ = stage.frame_lesson()
        lesson.attend(MINUTES / 2, player=seen)
        lesson.attend(MINUTES / 2)
        outcome = lesson.close()
        assert outcome["credited_s"] + outcome["pending_s"] == LENGTH_S / 2
        assert lesson.playback["withheld_s"] == {"uncovered": LENGTH_S / 2}

    def test_the_platform_answers_with_its_own_key(self, stage: SkippingStage) -> None:
        """Ask, follow, answer, upload, beat and exchange the code as the platform; nobody else."""
        lesson, _ = stage.frame_lesson()
        lesson.begin()
        lesson.until_due()
        prompt, path = lesson.prompt(), f"/v1/sessions/{lesson.session_id}"
        own = f"/v1/prompts/{prompt['prompt_id']}"
        announced = {"nonce": prompt["nonce"], "bytes": 10, "sha256": to_base64(bytes(32))}
        before = footprint(stage)
        for method, where, body in (
            ("GET", f"{path}/prompt", None),
            ("GET", f"{path}/events", None),
            ("POST", f"{own}/answer", reply(prompt)),
            ("POST", f"{own}/uploads", announced),
            ("POST", f"{path}/heartbeats", seen(0)),
        ):
            assert refused(stage.call(method, where, body)) == (403, "forbidden"), where
        code = {"code": stage.post(f"{path}/code")["code"]}
        for _ in range(2):  # the code stays good for the frame
            exchanged = stage.call("POST", f"{path}/token", code, by="")
            assert refused(exchanged) == (403, "forbidden")
        assert footprint(stage) == before
        lesson.leave()
        assert earned_nothing(lesson)["pending_s"] == 0
        assert (len(lesson.answers), lesson.missed) == (1, 1)

    def test_a_token_without_its_device(self, stage: SkippingStage) -> None:
        """Steal the learner's token and send it from elsewhere, unsigned or signed by another."""
        lesson, device = stage.frame_lesson()
        lesson.begin()
        lesson.until_due()
        prompt = lesson.prompt()
        thief = FrameClient(stage=stage, secret=device.secret)
        before = footprint(stage)
        for method, where, body in (
            ("GET", f"/v1/sessions/{lesson.session_id}/prompt", None),
            ("POST", f"/v1/prompts/{prompt['prompt_id']}/answer", reply(prompt)),
            ("POST", f"/v1/sessions/{lesson.session_id}/heartbeats", seen(0)),
        ):
            assert refused(device.call(method, where, body, proof="")) == (401, "proof_missing")
            assert refused(thief.call(method, where, body)) == (401, "proof_wrong")
        assert footprint(stage) == before
        lesson.leave()
        assert earned_nothing(lesson)["pending_s"] == 0
        # What was answered carries the device's signature, what the thief sent is nowhere.
        (own,) = lesson.answers
        assert f"'device_id': '{device.key.device_id}'" in str(lesson.sealed(own).record["signed"])
        assert lesson.missed == 1


class TestGhosts:
    def test_forty_ask_to_be_excused_from_the_face(self, stage: SkippingStage) -> None:
        """Bring a class of forty that nobody saw, all of whom cannot be recognised."""
        class_id = stage.open_class()
        stage.approve(class_id)
        ghosts = [stage.register_learner() for _ in range(40)]
        before = footprint(stage)
        for ghost in ghosts:
            stage.roster(class_id, ghost)
            asked = stage.call("POST", "/v1/sessions", without_face(ghost, class_id))
            assert refused(asked) == (409, "accommodation_missing")
        # On the roster they are, where an auditor counts them; no session, no leaf, no second.
        after = footprint(stage)
        assert after.rows["roster_entry"] == before.rows["roster_entry"] + len(ghosts)
        for table in ("session", "prompt", "credit_span"):
            assert after.rows[table] == before.rows[table]
        for ghost in ghosts[::13]:
            gate = stage.get(f"/v1/classes/{class_id}/learners/{ghost}/eligibility")
            assert (gate["outcome"], gate["credited_s"]) == ("not_yet", 0)

    def test_two_officers_do_one_of_them_a_favour(self, stage: SkippingStage) -> None:
        """Have one granted after all, and let the platform's own program type every code."""
        learner_id, class_id = (
            stage.register_learner(),
            stage.open_class(required_credit_hours=0.02),
        )
        stage.approve(class_id)
        stage.roster(class_id, learner_id)
        grant(stage, learner_id)
        body = without_face(learner_id, class_id)
        session_id = stage.post("/v1/sessions", body)["session_id"]
        attend_by_codes(stage, session_id, MINUTES)
        assert close_by_code(stage, session_id)["decision"] == "accept"
        # It counts as attended, but no cent of it is payable until people have looked.
        stage.publish()
        path = f"/v1/classes/{class_id}/learners/{learner_id}/eligibility"
        gate = stage.get(path, by=stage.officer)
        assert gate["outcome"] == "refer"
        codes = {rule["code"] for rule in gate["rules"]}
        assert codes == {None, "ASSURANCE_NOT_ACCEPTED", "NON_FACE_SHARE"}
        found = stage.get("/v1/cases", by=stage.officer)["cases"]
        (case,) = (case for case in found if case["learner_ids"] == [learner_id])
        assert (case["kind"], case["stands"]) == ("non_face_share", True)
        opened = stage.log(session_id).leaves[0]
        assert (opened.leaf.assurance, opened.fact("path")) == ("platform", "non_face")


class TestForesight:
    def test_prompts_are_fetched_before_they_are_due(self, stage: SkippingStage) -> None:
        """Read every reply, header, event and log entry of a lesson for what is still to come."""
        stage.clock.advance(0.123456)  # a deadline of a minute from now is no planned millisecond
        lesson, first = stage.lesson(minutes=12), len(stage.heard)
        session_id, secret = lesson.session_id, stored(stage, lesson.session_id).secret
        engine, events = stage.application.engine, Client(str(stage.client.base_url), stage)
        ends = stage.clock.now() + timedelta(minutes=12)
        with events.stream(session_id) as stream:
            listen_until(stage, stream, "prompt")
            lesson.begin()
            listen_until(stage, stream, "prompt_resolved")
            while (due := engine.next_due(session_id)) is not None and due < ends:
                stage.clock.advance((due - stage.clock.now()).total_seconds() - EARLY_S)
                assert lesson.prompt() is None
                look_around(stage, session_id)
                stage.clock.advance(EARLY_S)
                lesson.answer(listen_until(stage, stream, "prompt")["prompt"])
                listen_until(stage, stream, "prompt_resolved")
        told = stage.heard[first:]
        told += [(ends, logged.entry.decode()) for logged in stage.log(session_id).leaves]
        planned = planned_times(stored(stage, session_id), until=ends)
        promise = stored(stage, session_id).promise
        assert len(planned) > 3
        for secret_bytes in (secret, promise.seed):
            for text in (to_base64(secret_bytes), secret_bytes.hex()):
                bare = text.rstrip("=")
                assert not [at for at, reply in told if bare in reply or url_safe(bare) in reply]
        opened_at = stored(stage, session_id).state.started_at
        for at, heard in told:
            coming = [due for due in planned if due > at]
            assert not [due for due in coming if names(due, opened_at).search(heard)]
        lesson.close()
        # Afterwards anybody may recompute it all.
        assert lesson.leaves[-1].octets("schedule_secret") == secret
        assert stage.prove(session_id).counts["scheduled"] == len(planned)


def grant(stage: SkippingStage, learner_id: str) -> None:
    """Have a learner excused from the face by two officers, which one alone cannot do."""
    valid_to = (stage.clock.now() + timedelta(days=30)).isoformat()
    wanted = {"kind": "non_face", "reason": "made up", "valid_to": valid_to}
    path = f"/v1/learners/{learner_id}/accommodations"
    grant_id = stage.post(path, wanted, by=stage.officer)["grant_id"]
    approval = f"/v1/accommodations/{grant_id}/approval"
    alone = stage.call("POST", approval, {}, by=stage.officer)
    assert refused(alone) == (409, "second_person_wanted")
    stage.post(approval, by=stage.second_officer)


def without_face(learner_id: str, class_id: str) -> dict[str, Any]:
    return {
        "learner_id": learner_id,
        "class_id": class_id,
        "planned_minutes": MINUTES,
        "path": "non_face",
    }


def stored(stage: SkippingStage, session_id: str) -> StoredLesson:
    """Return a lesson with its secrets, as the engine keeps it."""
    with stage.application.engine.store.reading() as unit:
        return unit.lesson(session_id)


def planned_times(lesson: StoredLesson, *, until: datetime) -> list[datetime]:
    """Return when scheduled prompts are due."""
    times = (
        lesson.state.started_at + timedelta(seconds=planned.offset_s)
        for planned in lesson.due_from(0)
    )
    return list(takewhile(lambda at: at < until, times))


def listen_until(stage: SkippingStage, stream: Any, name: str) -> Any:
    """Wait for an event of a name, and keep all that came before it."""
    while True:
        found, data = stream.next()
        stage.heard.append((stage.clock.now(), f"{found} {json.dumps(data)}"))
        if found == name:
            return data


def look_around(stage: SkippingStage, session_id: str) -> None:
    """Ask for whatever else a platform or an officer may read during a lesson."""
    for by in (stage.platform, stage.officer):
        for path in (f"/v1/sessions/{session_id}", f"/v1/sessions/{session_id}/playback"):
            stage.get(path, by=by)
    stage.call("GET", "/v1/log/checkpoint", by="")


def names(due: datetime, opened_at: datetime) -> re.Pattern[str]:
    """Return a pattern of every form in which a moment could be told."""
    offset_s, on_clock = (due - opened_at).total_seconds(), f"{due:%H:%M:%S}"
    as_text = f"{on_clock}(?:[.,]{due.microsecond // 1000:03d}|(?![0-9.,]))"
    in_seconds = re.escape(f"{offset_s:.3f}".rstrip("0")) + "[0-9]*"
    epoch_s = due.timestamp()
    numbers = [
        in_seconds,
        str(int(epoch_s)),
        str(round(1000 * epoch_s)),
        str(round(1000 * offset_s)),
    ]
    # Ids are hexadecimal, and a few digits of one are no time.
    return re.compile(f"{as_text}|(?<![0-9A-Za-z])(?:{'|'.join(numbers)})(?![0-9A-Za-z])")


def url_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")
