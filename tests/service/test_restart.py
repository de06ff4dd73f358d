"""What a start makes of absence, of a clock put back, and of parts that do not belong together."""

import logging
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipelines.clock import ManualClock
from service.sql.heartbeat import beat, last_beat
from tests.pipelines.lesson_stage import STARTS
from tests.service.http.service_stage import (
    ServiceStage,
    open_stage,
    open_stage_application,
    reopen_stage,
    stage_settings,
)
from verifier.errors import InputError, LedgerError

AWAY_S = 6 * 60.0


class PowerCutError(Exception):
    """Ends an application without an orderly shutdown."""


def outcome_of_a_lesson(stage: ServiceStage, session_id: str) -> dict[str, object]:
    stage.attend(session_id, 6)
    closed: dict[str, object] = stage.close(session_id)
    asked = stage.application.engine.result(session_id).state.answering
    closed["asked_s"] = sum(stop.end_s - stop.start_s for stop in asked)
    return closed


def credit_of(closed: dict[str, object], lesson_s: float) -> object:
    """Return what a lesson of so many seconds earns: its clock stood still for each prompt."""
    asked_s = closed["asked_s"]
    assert isinstance(asked_s, float)
    return pytest.approx(lesson_s - asked_s, abs=1e-6)


def attended_half(stage: ServiceStage) -> str:
    learner_id, class_id = stage.prepare()
    session_id = str(stage.open_session(learner_id, class_id)["session_id"])
    stage.attend(session_id, 6)
    return session_id


def test_six_minutes_away_cost_nobody_anything_and_earn_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_stage(tmp_path) as stage:
        session_id = attended_half(stage)
    with caplog.at_level(logging.INFO), reopen_stage(stage, away_s=AWAY_S) as back:
        closed = outcome_of_a_lesson(back, session_id)
        total_s = (back.clock.now() - STARTS).total_seconds()
    assert "away for 360 s; sessions interrupted: 1" in caplog.messages
    assert closed["decision"] == "accept"
    assert (closed["credited_s"], closed["pending_s"]) == (credit_of(closed, 12 * 60), 0)
    assert total_s >= 12 * 60 + AWAY_S


def test_a_power_cut_counts_from_the_last_sign_of_life(tmp_path: Path) -> None:
    with suppress(PowerCutError), open_stage(tmp_path) as stage:
        session_id = attended_half(stage)
        with stage.application.database.writing() as tx:
            beat(tx, at=stage.clock.now())
        stage.clock.advance(4)
        raise PowerCutError
    with reopen_stage(stage, away_s=AWAY_S - 4) as back:
        with back.application.database.reading() as tx:
            assert last_beat(tx) == back.clock.now()
        closed = outcome_of_a_lesson(back, session_id)
    assert (closed["decision"], closed["credited_s"]) == ("accept", credit_of(closed, 12 * 60))


def test_a_short_restart_is_no_interruption(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        session_id = attended_half(stage)
    with reopen_stage(stage, away_s=10) as back:
        closed = outcome_of_a_lesson(back, session_id)
    assert (closed["decision"], closed["credited_s"]) == (
        "accept",
        credit_of(closed, 12 * 60 + 10),
    )


def test_an_orderly_end_is_a_sign_of_life(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        stage.clock.advance(100)
    with reopen_stage(stage, away_s=0) as back, back.application.database.reading() as tx:
        assert last_beat(tx) == STARTS + timedelta(seconds=100)


def test_a_running_service_shows_signs_of_life(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        stage.clock.advance(60)
        stage.application.beating.act()
        with stage.application.database.reading() as tx:
            assert last_beat(tx) == stage.clock.now()


def test_a_clock_that_was_put_back_is_refused(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        attended_half(stage)
    with (
        pytest.raises(InputError, match=r"0:06:00 before the latest time on record"),
        open_stage_application(stage.application.settings, ManualClock(STARTS)),
    ):
        pass
    with reopen_stage(stage, away_s=-300):
        pass  # five minutes are waited for


def test_the_systems_clock_stands_still_until_it_has_caught_up(tmp_path: Path) -> None:
    settings = stage_settings(tmp_path)
    with open_stage_application(settings, None) as first:
        ahead = first.clock.now() + timedelta(minutes=4)
    with first.database.writing() as tx:
        beat(tx, at=ahead)
    first.database.close()  # the application's end had closed it; using it opened it again
    with open_stage_application(settings, None) as second:
        assert second.clock.now() == ahead


def test_a_fact_is_as_good_as_a_sign_of_life(tmp_path: Path) -> None:
    with suppress(PowerCutError), open_stage(tmp_path) as stage:
        stage.clock.advance(1000)
        stage.register_learner()
        raise PowerCutError
    with pytest.raises(InputError, match=r"0:10:00 before"), reopen_stage(stage, away_s=-600):
        pass


def test_an_archive_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        stage.enrolled_learner()
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    with pytest.raises(LedgerError, match="is not at archive"), reopen_stage(stage, away_s=0):
        pass
    assert not (tmp_path / "archive").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "archive")
    with reopen_stage(stage, away_s=0):
        pass


def test_a_second_service_on_the_same_database_is_refused(tmp_path: Path) -> None:
    """Its own data folder, the same database and keys: evidence would lie in two places."""
    with open_stage(tmp_path / "data") as stage:
        stage.enrolled_learner()
        settings = stage.application.settings
        second = settings.model_copy(
            update={
                "data_dir": tmp_path / "other",
                "database_url": SecretStr(settings.database_address),
            }
        )
        with (
            pytest.raises(LedgerError, match="is not at archive"),
            open_stage_application(second, stage.clock),
        ):
            pass
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["authority", "log_origin"])
def test_another_authority_or_log_is_refused(tmp_path: Path, name: str) -> None:
    with open_stage(tmp_path) as stage:
        stage.enrolled_learner()
    changed = stage.application.settings.model_copy(update={name: "somebody-else"})
    with (
        pytest.raises(InputError, match="begun with test"),
        open_stage_application(changed, stage.clock),
    ):
        pass
    with reopen_stage(stage, away_s=0):
        pass
