"""The verify call measured in small: a real service, few learners, every figure there."""

import json
from pathlib import Path

import pytest

from benchmarks.load import Reply
from benchmarks.verify_call import Round, Sizes, run, summary, table

PASS = b'{"answer":"pass"}'


def reply(latency_s: float, *, status: int = 200, body: bytes = PASS) -> Reply:
    return Reply(status=status, body=body, latency_s=latency_s, late_s=0.0, done_s=latency_s)


def test_refused_calls_make_no_latency_look_good() -> None:
    refused = reply(0.001, status=429, body=b'{"code":"rate_limited"}')
    rounds = [
        Round(replies=[reply(0.1), refused], wall_s=0.5, cpu_s=0.02),
        Round(replies=[reply(0.3)], wall_s=1, cpu_s=0.01),
    ]
    found = summary(rounds)
    assert found["outcomes"] == {"pass": 2, "rate_limited": 1}
    assert (found["calls"], found["answered"]) == (3, 2)
    assert found["per_s"] == pytest.approx(2 / 1.5)
    assert found["per_s_by_round"] == pytest.approx([2, 1])
    assert found["latency_ms"]["p50"]["value"] == pytest.approx(100)
    assert found["service_cpu_ms"] == pytest.approx(10)
    assert found["slowest_ms"] == pytest.approx(300)


def test_a_small_run_has_every_figure(
    tmp_path: Path, models_cache: Path, demo_faces: dict[str, Path]
) -> None:
    assert demo_faces
    sizes = Sizes(learners=4, rounds=1, clients=2, starts=2, batches=2)
    report = run(["sqlite"], sizes, cache_dir=models_cache, folder=tmp_path)
    found = report["databases"]["sqlite"]
    for load in ("arriving", "saturated"):
        assert found[load]["outcomes"] == {"pass": 4}
        latency_ms = found[load]["latency_ms"]
        assert 0 < latency_ms["p50"]["value"] <= latency_ms["p99"]["value"]
    assert len(found["start_s"]["again"]) == 1
    assert 0 < found["memory_mb"]["at_rest"] <= found["memory_mb"]["peak"]
    assert found["lists"]["subjects_per_s"] > 0
    # Each of 4 answered three times: the warm-up and both loads.
    assert found["log_entries"] > 12
    assert "sqlite, 2 clients" in table(report)
    assert json.loads(json.dumps(report)) == report
    assert list(tmp_path.iterdir()) == []  # nothing stays
