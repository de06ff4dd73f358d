"""Health over HTTP: what works, and which part does not."""

import pytest

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


def test_a_log_that_is_not_signed_degrades(
    stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.application.publishing, "failing", True)
    response = stage.call("GET", "/v1/health", by="")
    assert (response.status_code, response.json()["status"]) == (503, "degraded")
    (failing,) = response.json()["failing"]
    assert failing.startswith("publishing")


def test_sessions_that_nobody_ends_degrade(
    stage: ServiceStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.application.sweeping, "failing", True)
    response = stage.call("GET", "/v1/health", by="")
    assert (response.status_code, response.json()["status"]) == (503, "degraded")
    (failing,) = response.json()["failing"]
    assert failing.startswith("sweeping")


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
