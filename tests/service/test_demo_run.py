"""The demo on real faces: four truths, whatever the order, the ids and the schedule."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.observer import FaceObserver
from pipelines.archive_verification import verify_archive
from pipelines.demo import MARKER, DemoRow, prepare_folder
from pipelines.keystore import KeyStore
from pipelines.simulate.scenarios import LESSON_MINUTES, scenarios
from service.demo_run import run_demo
from service.demo_witness import WITNESS_NAME
from service.settings import Settings
from verifier.check import Outcome
from verifier.comparison import DEFAULT_CALIBRATION
from verifier.eligibility_result import GateOutcome
from verifier.errors import InputError
from verifier.policy import default_policy
from verifier.session_score import Decision


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_each_learner_gets_what_is_true(
    seed: int, tmp_path: Path, observer: FaceObserver, demo_faces: dict[str, Path]
) -> None:
    """Order, ids and labels are shuffled by the seed; results follow what was done."""
    cast = list(scenarios(demo_faces))
    labels = np.roll([scenario.key for scenario in cast], 1 + seed % 3)  # nobody keeps their own
    # Words that lie: whoever judged by a name would now judge the wrong lesson.
    renamed = [
        replace(scenario, key=str(label), title=(str(label), str(label)))
        for scenario, label in zip(cast, labels, strict=True)
    ]
    with run_demo(
        tmp_path / "demo",
        settings=Settings(),
        observer=observer,
        calibration=DEFAULT_CALIBRATION,
        policy=default_policy(),
        faces=demo_faces,
        seed=seed,
        cast=renamed,
    ) as run:
        verifier = run.archive.verifier
        rows = dict(zip((scenario.key for scenario in cast), run.rows, strict=True))
    assert_honest(rows["honest"])
    for key in ("replaced", "walks_away"):
        assert_half(rows[key])
    assert_nothing(rows["uploaded"])
    for row in run.rows:
        assert_asked_as_promised(row)
    # After every ledger test, the whole chain.
    report = verify_archive(
        tmp_path / "demo" / "archive",
        verifier=verifier,
        keystore=KeyStore.open(tmp_path / "demo" / "keys"),
    )
    assert report.ok, report.problems


def assert_asked_as_promised(row: DemoRow) -> None:
    """Every prompt follows from a seed that the demo's witness has a share in."""
    assert (row.proof is None) is (row.result is None)
    if row.proof is not None:
        assert row.proof.problems == ()
        assert row.proof.witnesses == (WITNESS_NAME,)


def longest_gap_s(row: DemoRow) -> float:
    """Return the longest stretch without a check; chance draws it, so laws are told by it."""
    assert row.result is not None
    times = [0.0, *(check.t for check in row.result.evidence.checks)]
    return max(later - earlier for earlier, later in pairwise(times))


def assert_honest(row: DemoRow) -> None:
    """Credited with the whole lesson, or all of it waits if chance left too much unwatched.

    See `python -m benchmarks.decisions`: about one honest lesson in a thousand waits.
    """
    assert row.result is not None
    assert row.result.account.score.decision is not Decision.REJECT
    if longest_gap_s(row) < 8 * 60:
        assert row.result.account.score.decision is Decision.ACCEPT
        assert row.gate.outcome is GateOutcome.PAYABLE
    open_s = sum(stop.end_s - stop.start_s for stop in row.result.state.answering)
    total_s = row.settlement.credited_s + row.settlement.pending_s
    # The lesson clock stands still while a prompt is open, ten seconds each at most.
    assert open_s <= 10 * row.result.state.counts.issued
    assert total_s + open_s == pytest.approx(60 * LESSON_MINUTES, abs=20)
    assert {check.outcome for check in row.result.evidence.checks} == {Outcome.CAPTURED}
    assert min(check.comparison_log10_lr or 0 for check in row.result.evidence.checks) >= 1


def assert_half(row: DemoRow) -> None:
    """Nothing credited, at most the true half pending, and minutes as near as checks allow."""
    assert row.result is not None
    truth_s, gap_s = 60 * row.scenario.truth_minutes, longest_gap_s(row)
    assert row.result.account.score.decision is not Decision.ACCEPT
    assert row.settlement.credited_s == 0
    assert row.gate.outcome is not GateOutcome.PAYABLE
    assert row.settlement.pending_s <= truth_s
    assert row.settlement.verified_mean_s == pytest.approx(truth_s, abs=gap_s + 180)
    assert row.settlement.verified_lower95_s <= truth_s + gap_s


def assert_nothing(row: DemoRow) -> None:
    assert row.result is None
    assert row.settlement.claim.claimed_s == 60 * LESSON_MINUTES
    assert row.settlement.credited_s == row.settlement.pending_s == 0
    assert row.settlement.verified_mean_s == 0
    assert row.gate.outcome is GateOutcome.NOT_PAYABLE
    assert any("不进不补" in chinese for chinese, _ in row.gate.reasons)


def test_a_folder_of_somebody_elses_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(InputError, match="not a demo's output"):
        prepare_folder(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "demo")
    (tmp_path / "demo" / "report.html").write_text("old")
    prepare_folder(tmp_path / "demo")
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [MARKER]
