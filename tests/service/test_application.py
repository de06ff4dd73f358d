"""What opening an application does before anybody calls, and closing it after the last call."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from pipelines.archive import Archive
from pipelines.clock import ManualClock
from service.application import Application
from service.settings import Settings
from service.sql.database import Database, load_or_create_database_key
from service.sql.entry_log import SqlEntrySource
from service.sql.tables import calibration
from tests.pipelines.lesson_stage import STARTS
from tests.service.http.service_stage import (
    ServiceStage,
    open_stage,
    open_stage_application,
    reopen_stage,
    stage_settings,
    verify,
)
from verifier.errors import InvalidRecordError, LedgerError
from verifier.session_state import SessionPhase


class PowerCutError(Exception):
    """Ends an application in the middle of something."""


def lost_session(stage: ServiceStage, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Let the power fail while a session is opened, before its schedule is; return whose it is."""
    learner_id, class_id = stage.prepare()

    def power_cut(_archive: Archive, _index: int) -> None:
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr(Archive, "first_checkpoint_with", power_cut)
        with pytest.raises(PowerCutError):
            stage.application.engine.open(
                learner_id=learner_id,
                class_id=class_id,
                platform_id="platform-1",
                planned_minutes=12,
            )
    return learner_id, class_id


def test_a_start_gives_up_what_a_crash_left_without_a_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would look like a session that was opened, disliked and discarded."""
    with open_stage(tmp_path) as stage:
        lost_session(stage, monkeypatch)
        (lost,) = stage.application.engine.store.never_begun()
    with reopen_stage(stage, away_s=10) as back:
        store = back.application.engine.store
        assert list(store.never_begun()) == []
        with store.reading() as unit:
            assert unit.lesson(lost).state.phase is SessionPhase.ABANDONED


def test_a_session_that_was_lost_moves_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was told of it: to a claim it is as if the engine had seen nothing."""
    with open_stage(tmp_path) as stage:
        learner_id, class_id = lost_session(stage, monkeypatch)
    with reopen_stage(stage, away_s=10) as back:
        said = {"learner_id": learner_id, "class_id": class_id, "claimed_minutes": 45}
        settled = back.post("/v1/claims", said)
        assert [reason["code"] for reason in settled["reasons"]] == ["NO_SESSION"]
        back.hold_lesson(learner_id, class_id)
        settled = back.post("/v1/claims", {**said, "claimed_minutes": 12})
        assert [reason["code"] for reason in settled["reasons"]] == ["SETTLED"]


def test_a_policy_out_of_its_days_opens_nothing(tmp_path: Path) -> None:
    clock = ManualClock(STARTS - timedelta(days=4000))
    opening = open_stage_application(stage_settings(tmp_path), clock)
    with pytest.raises(InvalidRecordError, match="not valid"), opening:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_data_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Not even the calibration that another version or another pack brings along."""
    with open_stage(tmp_path / "own") as stage:
        settings = stage.application.settings
    foreign = settings.model_copy(
        update={
            "data_dir": tmp_path / "foreign",
            "database_url": SecretStr(settings.database_address),
        }
    )
    before = documents(foreign)
    opening = open_stage_application(foreign, stage.clock, contract_id="colours@2")
    with pytest.raises(LedgerError, match="archive"), opening:
        pass
    assert documents(foreign) == before
    assert len(before) == 1
    assert not foreign.data_dir.exists()


def documents(settings: Settings) -> list[str]:
    """Return the ids of the calibrations on record."""
    key = load_or_create_database_key(settings.keys_folder / "database.key")
    database = Database.open(settings.database_address, key=key)
    with database.reading() as tx:
        found = list(tx.execute(select(calibration.c.calibration_id)).scalars())
    database.close()
    return found


def test_what_was_acknowledged_last_is_signed_at_the_end(tmp_path: Path) -> None:
    def acknowledged(application: Application) -> int:
        return SqlEntrySource(application.database).entry_count()

    with open_stage(tmp_path) as stage:
        stage.enrolled_learner()
        application = stage.application
        count = acknowledged(application)
        assert application.archive.checkpoint.size < count
    assert application.archive.checkpoint.size == count == acknowledged(application)
    application.database.close()  # looking into it opened it again
    verify(application)
