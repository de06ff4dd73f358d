"""What came of a demo: learners, the truth about each, and what the engine made of them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.archive import Archive
from pipelines.lesson import LessonResult
from pipelines.schedule_proof import ScheduleProof
from pipelines.simulate.scenarios import Scenario
from verifier.claim import Settlement
from verifier.eligibility_result import GateOutcome
from verifier.errors import InputError
from verifier.policy import Policy

MARKER: Final = ".zhenxue-demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """What the subsidy gate says of a learner, and why, each reason in (Chinese, English)."""

    outcome: GateOutcome
    reasons: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRow:
    """One learner: the truth, what was claimed, what the engine saw, what may be paid.

    ``proof`` recomputes when the engine had to ask; like ``result`` None where no lesson was held.
    """

    scenario: Scenario
    learner_id: str
    settlement: Settlement
    result: LessonResult | None
    proof: ScheduleProof | None
    gate: GateAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """Where a run lies and what came of it; ``rows`` in the order of the scenarios.

    ``witness_vkey`` is the public key of the witness that cosigned the log.
    """

    folder: Path
    archive: Archive
    witness_vkey: str
    policy: Policy
    rows: Sequence[DemoRow]


def prepare_folder(folder: Path) -> None:
    """Make an empty folder for the demo, over an earlier demo's but over nothing else."""
    if folder.exists() and not (folder / MARKER).is_file():
        raise InputError(f"{folder} exists and is not a demo's output; choose another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("made by `zhenxue demo`, which may replace it\n")
