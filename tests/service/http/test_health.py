"""Health over HTTP: what works, and which part does not."""

import pytest

from pipelines.archive import Archive
from service.delivery import Dispatcher
from service.sql.database import Database
from service.sql.errors import StorageError
from tests.service.http.service_stage import ServiceStage


def test_what_it_runs_on(stage: ServiceStage) -> None:
    health = stage.get("/v1/health", by="")
    assert (health["status"], health["failing"]) == ("ok", [])
    assert (health["database"], health["live_state"]) in {
        ("sqlite", "in-process"),
        ("postgresql", "redis"),
    }


def test_what_is_pending(stage: ServiceStage) -> None:
    stage.publish()
    before = stage.get("/v1/health", by="")["log"]
    assert before["pending"] == 0
    stage.enrolled_learner()
    assert stage.get("/v1/health", by="")["log"] == {"size": before["size"], "pending": 1}
    stage.publish()
    assert stage.get("/v1/health", by="")["log"] == {"size": before["size"] + 1, "pending": 0}


@pytest.mark.parametrize("part", ["publishing", "sweeping", "beating", "flushing"])
def test_a_part_that_fails_degrades(
    stage: ServiceStage, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(getattr(stage.application, part), "failing", True)
    response = stage.call("GET", "/v1/health", by="")
    assert (response.status_code, response.json()["status"]) == (503, "degraded")
    (failing,) = response.json()["failing"]
    assert failing.startswith(part)


def test_streams_that_are_not_told_degrade(
    stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dispatcher, "failing", True)
    response = stage.call("GET", "/v1/health", by="")
    assert (response.status_code, response.json()["status"]) == (503, "degraded")
    (failing,) = response.json()["failing"]
    assert failing.startswith("delivery")


def test_a_witness_that_is_away_is_told_and_takes_no_service_away(
    stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lessons go on without it."""
    monkeypatch.setattr(Archive, "failing_witnesses", ("witness.example+0a1b2c3d",))
    response = stage.call("GET", "/v1/health", by="")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    (failing,) = response.json()["failing"]
    assert failing.startswith("witness witness.example+0a1b2c3d")


def test_a_database_that_is_away_degrades(
    stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Database) -> None:
        raise StorageError("postgresql://user:password@host refused")

    monkeypatch.setattr(Database, "reading", away)
    response = stage.call("GET", "/v1/health", by="")
    assert (response.status_code, response.json()["status"]) == (503, "degraded")
    (failing,) = response.json()["failing"]
    assert failing.startswith("database")
    assert response.json()["log"]["pending"] is None
    assert "password" not in response.text
