"""Heartbeats over HTTP: what each trick earns, who may send them, what is told of them."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import select, update

from pipelines.simulate.identity_authority import demo_identity
from pipelines.stored_evidence import read_evidence
from service.sql import tables
from tests.service.http.asgi_client import call
from tests.service.http.service_stage import ServiceStage, open_stage, reopen_stage
from verifier.transparency.leaf import Leaf

MINUTES: Final = 3.0
LESSON_S: Final = 60 * MINUTES
EVERY_S: Final = 10.0
Player = Callable[[float], Mapping[str, Any]]
"""What a player says at a second of the lesson."""


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


def four_times_as_fast(at_s: float) -> dict[str, Any]:
    return {**honest(4 * at_s), "rate": 4.0}


def four_times_as_fast_by_a_lie(at_s: float) -> dict[str, Any]:
    return honest(4 * at_s)


def muted_and_hidden_and_fast(at_s: float) -> dict[str, Any]:
    return {**four_times_as_fast(at_s), "visible": False}


def at_the_end(at_s: float) -> dict[str, Any]:
    return honest(min(at_s, 1) * LESSON_S)


def frozen(_at_s: float) -> dict[str, Any]:
    return honest(30)


def paused(_at_s: float) -> dict[str, Any]:
    return {**honest(30), "playing": False}


def first_minute_again(at_s: float) -> dict[str, Any]:
    return honest(at_s % 60)


def covered(at_s: float) -> dict[str, Any]:
    return {**honest(at_s), "covered": True}


def silent(_at_s: float) -> dict[str, Any]:
    return {}


def opened_session(stage: ServiceStage, *, by: str | None = None) -> Any:
    learner_id, class_id = stage.prepare(by=by)
    return stage.open_session(learner_id, class_id, minutes=MINUTES, by=by)


def heartbeats_path(session_id: str) -> str:
    return f"/v1/sessions/{session_id}/heartbeats"


def beat(stage: ServiceStage, session_id: str, said: Any, *, by: str | None = None) -> Any:
    return stage.call("POST", heartbeats_path(session_id), said, by=by)


def attend(
    stage: ServiceStage,
    session_id: str,
    player: Player,
    *,
    since_s: float = 0,
    by: str | None = None,
) -> None:
    """Attend a lesson, or the rest of it, whose player says what ``player`` does."""
    at_s = since_s
    while at_s < LESSON_S:
        while prompt := stage.prompt(session_id, by=by):
            stage.answer(prompt, by=by)
        if player is not silent:
            sent = beat(stage, session_id, dict(player(at_s)), by=by)
            assert sent.status_code == 204, sent.text
        stage.clock.advance(EVERY_S)
        at_s += EVERY_S


def hold(stage: ServiceStage, player: Player, *, in_frame: bool = False) -> tuple[str, Any]:
    """Hold a lesson to its end; return its id and outcome."""
    session_id = opened_session(stage)["session_id"]
    attend(stage, session_id, player)
    if not in_frame:
        return session_id, stage.close(session_id)
    stage.post(f"/v1/sessions/{session_id}/end")
    while (prompt := stage.prompt(session_id)) is None:
        stage.clock.advance(1)
    stage.answer(prompt)
    make_it_a_frame_session(stage, session_id)
    return session_id, stage.post(f"/v1/sessions/{session_id}/close")


def make_it_a_frame_session(stage: ServiceStage, session_id: str) -> None:
    """Change the assurance in SQL: its device and its key are tested where they are made."""
    with stage.application.database.writing() as tx:
        this = tables.session.c.session_id == session_id
        tx.execute(update(tables.session).where(this).values(assurance="frame"))


def playback(stage: ServiceStage, session_id: str) -> Any:
    return stage.get(f"/v1/sessions/{session_id}/playback")


@pytest.fixture(scope="module")
def quick_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceStage]:
    """Set a stage on SQLite: what a trick earns depends on no engine."""
    with open_stage(tmp_path_factory.mktemp("playback")) as opened:
        yield opened


class TestEarning:
    @pytest.fixture
    def stage(self, quick_stage: ServiceStage) -> ServiceStage:
        return quick_stage

    def test_without_heartbeats_a_platforms_session_loses_nothing(
        self, stage: ServiceStage
    ) -> None:
        session_id, closed = hold(stage, silent)
        assert closed["credited_s"] > LESSON_S / 2
        told = playback(stage, session_id)
        assert told == {"required": False, "counted_s": 0, "withheld_s": {}}
        assert private_record(stage, session_id)["withheld_s"] == {}

    def test_honest_watching_loses_nothing(self, stage: ServiceStage) -> None:
        session_id, closed = hold(stage, honest)
        assert closed["decision"] == "accept"
        assert closed["credited_s"] > LESSON_S / 2
        counted = playback(stage, session_id)
        assert counted == {
            "required": False,
            "counted_s": LESSON_S - EVERY_S,
            "withheld_s": {},
        }

    @pytest.mark.parametrize(
        ("player", "reason", "at_most_s"),
        [
            (hidden, "hidden", 0),
            (covered, "covered", 0),
            (paused, "idle", 0),
            (frozen, "idle", 0),
            (four_times_as_fast, "too_fast", 0),
            (four_times_as_fast_by_a_lie, "sought", 0),
            (muted_and_hidden_and_fast, "hidden", 0),
            (at_the_end, "idle", 0),
            (first_minute_again, "repeated", 60 * 1.05 + 3),
        ],
    )
    def test_each_trick(
        self, stage: ServiceStage, player: Player, reason: str, at_most_s: float
    ) -> None:
        session_id, closed = hold(stage, player)
        # The last heartbeat comes before the end; of what follows nothing is known.
        assert closed["credited_s"] + closed["pending_s"] <= at_most_s + EVERY_S
        told = playback(stage, session_id)
        assert told["withheld_s"][reason] >= 0.7 * (LESSON_S - at_most_s) - 2 * EVERY_S

    def test_half_of_it_hidden_earns_half(self, stage: ServiceStage) -> None:
        def half(at_s: float) -> dict[str, Any]:
            return {**honest(at_s), "visible": at_s < LESSON_S / 2}

        session_id, closed = hold(stage, half)
        assert 0 < closed["credited_s"] + closed["pending_s"] <= LESSON_S / 2 + EVERY_S
        with stage.application.database.reading() as tx:
            spans = tables.credit_span
            paused_s = tx.execute(select(spans.c.paused_s).where(spans.c.session_id == session_id))
            assert sum(paused_s.scalars()) >= LESSON_S / 2 - 2 * EVERY_S

    def test_a_frame_that_says_nothing_earns_nothing(self, stage: ServiceStage) -> None:
        session_id, closed = hold(stage, silent, in_frame=True)
        assert closed["credited_s"] == closed["pending_s"] == 0
        told = playback(stage, session_id)
        assert told["required"] is True
        assert set(told["withheld_s"]) == {"uncovered"}

    def test_a_frame_that_saw_it_all_earns_it(self, stage: ServiceStage) -> None:
        def frame(_at_s: float) -> dict[str, Any]:
            return {"visible": True, "covered": False}

        _, closed = hold(stage, frame, in_frame=True)
        assert closed["credited_s"] > LESSON_S / 2

    def test_the_closing_leaf_keeps_the_reasons(self, stage: ServiceStage) -> None:
        session_id, _ = hold(stage, hidden)
        record = private_record(stage, session_id)
        assert record["withheld_s"]["hidden"] >= LESSON_S - 2 * EVERY_S


class TestSending:
    def test_times_that_are_sent_are_not_looked_at(self, stage: ServiceStage) -> None:
        session_id = opened_session(stage)["session_id"]
        for at_s in range(0, 60, 10):
            said = {**honest(at_s), "at_s": 1e6 * at_s, "at": "2030-01-01T00:00:00Z"}
            assert beat(stage, session_id, said).status_code == 204
            stage.clock.advance(EVERY_S)
        assert playback(stage, session_id)["counted_s"] == 50

    def test_one_a_second(self, stage: ServiceStage) -> None:
        session_id = opened_session(stage)["session_id"]
        assert beat(stage, session_id, honest(0)).status_code == 204
        again = beat(stage, session_id, honest(0))
        assert (again.status_code, again.json()["code"]) == (429, "rate_limited")
        assert again.headers["Retry-After"] == "1"
        stage.clock.advance(1)
        assert beat(stage, session_id, honest(1)).status_code == 204
        assert playback(stage, session_id)["counted_s"] == 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"position_s": -1},
            {"position_s": 7 * 86_400 + 1},
            {"position_s": "12"},
            {"position_s": True},
            {"rate": -1},
            {"rate": 1e9},
            {"visible": "yes"},
            {"visible": 1},
            {"covered": 0},
            {"playing": "true"},
            {"video_id": "free text"},
            {"video_id": "v" * 65},
        ],
    )
    def test_what_is_no_heartbeat_is_refused(
        self, stage: ServiceStage, shared: Any, wrong: dict[str, Any]
    ) -> None:
        response = beat(stage, shared["session_id"], {**honest(1), **wrong})
        assert (response.status_code, response.json()["code"]) == (422, "invalid_input")

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
    def test_numbers_are_finite(self, stage: ServiceStage, shared: Any, number: str) -> None:
        body = json.dumps(honest(1)).replace('"position_s": 1', f'"position_s": {number}')
        assert number in body
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {stage.platform}"}
        path = heartbeats_path(shared["session_id"])
        response = call(stage.app, "POST", path, headers=headers, content=body)
        assert response.status_code in {400, 422}

    def test_by_whom(self, stage: ServiceStage) -> None:
        opened = opened_session(stage)
        session_id, token = opened["session_id"], stage.token(opened)
        path = heartbeats_path(session_id)
        for by, status, code in (
            (stage.other_platform, 404, "unknown_subject"),
            (stage.officer, 403, "forbidden"),
            ("", 401, "unauthenticated"),
        ):
            refused = stage.call("POST", path, honest(0), by=by)
            assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert beat(stage, session_id, honest(0), by=token).status_code == 204
        other = opened_session(stage)["session_id"]
        assert beat(stage, other, honest(0), by=token).status_code == 404
        nobodys = stage.call("GET", f"/v1/sessions/{session_id}/playback", by=stage.other_platform)
        assert nobodys.status_code == 404
        assert stage.get(f"/v1/sessions/{session_id}/playback", by=token)["counted_s"] == 0

    def test_a_platform_says_nothing_for_the_frame(self, stage: ServiceStage) -> None:
        opened = opened_session(stage)
        token = stage.token(opened)
        make_it_a_frame_session(stage, opened["session_id"])
        refused = beat(stage, opened["session_id"], honest(0))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        unsigned = beat(stage, opened["session_id"], honest(0), by=token)
        assert unsigned.status_code == 401  # a token that no device signs for

    def test_after_the_end(self, stage: ServiceStage) -> None:
        opened = opened_session(stage)
        session_id, token = opened["session_id"], stage.token(opened)
        assert beat(stage, session_id, honest(0)).status_code == 204
        stage.post(f"/v1/sessions/{session_id}/close")
        stage.clock.advance(EVERY_S)
        for by in (token, stage.platform):
            refused = beat(stage, session_id, honest(5), by=by)
            assert (refused.status_code, refused.json()["code"]) == (409, "session_over")


class TestTwoLessonsAtOnce:
    def test_nobody_earns_the_same_second_twice(self, stage: ServiceStage) -> None:
        """At two platforms, whose lessons overlap: opening the second ends the first."""
        learner_id, class_id, other_class_id = learner_of_two_platforms(stage)
        other = stage.other_platform
        first = stage.open_session(learner_id, class_id, minutes=MINUTES)["session_id"]
        attend(stage, first, honest)
        second = stage.open_session(learner_id, other_class_id, minutes=MINUTES, by=other)
        refused = beat(stage, first, honest(LESSON_S))
        assert (refused.status_code, refused.json()["code"]) == (409, "session_over")
        attend(stage, second["session_id"], honest, by=other)
        stage.close(second["session_id"], by=other)
        sessions = [stage.get(f"/v1/sessions/{first}")]
        sessions += [stage.get(f"/v1/sessions/{second['session_id']}", by=other)]
        assert [told["phase"] for told in sessions] == ["abandoned", "closed"]
        assert sessions[0]["ended_at"] <= sessions[1]["started_at"]
        spans = [*earning(stage, first), *earning(stage, second["session_id"])]
        assert spans
        for (_, ended), (began, _) in pairwise(spans):
            assert ended <= began


def learner_of_two_platforms(stage: ServiceStage) -> tuple[str, str, str]:
    """Return somebody with a class at each platform; the identity number tells who it is."""
    person = demo_identity(int(stage.fresh("person").removeprefix("person-")))
    identity = {"name": person.name, "id_number": person.id_number}
    found, classes = set[str](), list[str]()
    for by in (stage.platform, stage.other_platform):
        body = {"reference": stage.fresh("reference"), "identity": identity}
        learner_id = stage.post("/v1/learners", body, by=by)["learner_id"]
        stage.give_consent(learner_id, by=by)
        classes.append(stage.open_class(by=by))
        stage.approve(classes[-1])
        stage.roster(classes[-1], learner_id, by=by)
        found.add(learner_id)
    (learner_id,) = found
    stage.enrol(learner_id)
    return learner_id, classes[0], classes[1]


class TestRestart:
    def test_goes_on_from_sql(self, tmp_path: Path) -> None:
        with open_stage(tmp_path) as stage:
            session_id = opened_session(stage)["session_id"]
            attend(stage, session_id, honest, since_s=LESSON_S / 2)
        with reopen_stage(stage, away_s=1) as back:
            attend(back, session_id, honest, since_s=LESSON_S / 2)  # the second half again
            told = playback(back, session_id)
        assert told["counted_s"] <= LESSON_S / 2 * 1.05 + 3
        assert told["withheld_s"]["repeated"] >= LESSON_S / 2 - 3 * EVERY_S

    def test_a_crash_loses_the_last_seconds_and_no_more(self, tmp_path: Path) -> None:
        with suppress(PowerCutError), open_stage(tmp_path) as stage:
            session_id = opened_session(stage)["session_id"]
            attend(stage, session_id, honest, since_s=LESSON_S / 2)
            stage.application.playback.flush(at=stage.clock.now())
            kept_s = playback(stage, session_id)["counted_s"]
            attend(stage, session_id, honest, since_s=LESSON_S - 4 * EVERY_S)
            raise PowerCutError
        with reopen_stage(stage, away_s=9) as back:
            told = playback(back, session_id)
        assert told["counted_s"] == kept_s >= LESSON_S / 2 - EVERY_S


class PowerCutError(Exception):
    """Ends an application without an orderly shutdown."""


def private_record(stage: ServiceStage, session_id: str) -> Mapping[str, Any]:
    """Return what the closing leaf tells whoever may open it."""
    stage.publish()
    archive = stage.application.archive
    with stage.application.database.reading() as tx:
        this = tables.session.c.session_id == session_id
        index = tx.execute(select(tables.session.c.closed_index).where(this)).scalar_one()
    leaf = Leaf.parse(archive.reader.entry(index, archive.checkpoint.size))
    return read_evidence(archive.folder, leaf, stage.application.keystore).record


def earning(stage: ServiceStage, session_id: str) -> list[tuple[datetime, datetime]]:
    """Return from when to when the spans of an ended session lie, on the server's clock."""
    session, span = tables.session.c, tables.credit_span.c
    with stage.application.database.reading() as tx:
        started = select(session.started_at).where(session.session_id == session_id)
        started_at = tx.execute(started).scalar_one()
        spans = select(span.start_s, span.end_s).where(span.session_id == session_id)
        return [
            (started_at + timedelta(seconds=start_s), started_at + timedelta(seconds=end_s))
            for start_s, end_s in tx.execute(spans.order_by(span.ordinal))
        ]


@pytest.fixture(scope="module")
def shared(stage: ServiceStage) -> Any:
    """Open a session that no test changes."""
    return opened_session(stage)
