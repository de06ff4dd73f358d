"""The demo: four learners, one compressed lesson each, and what each would be paid for."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.archive import Archive
from pipelines.check import FrameChecker
from pipelines.clock import ManualClock
from pipelines.enrolment import Enroller
from pipelines.keystore import KeyStore
from pipelines.lesson import LessonResult
from pipelines.lesson_engine import LessonEngine
from pipelines.private_files import load_or_create_signer
from pipelines.simulate.platform import SimulatedPlatform
from pipelines.simulate.scenarios import Enrolment, Scenario, scenarios
from pipelines.simulate.webcam import Webcam
from pipelines.template_store import TemplateStore
from verifier.claim import Claim, Settlement, settle
from verifier.comparison import Calibration
from verifier.enrolment import Anchor, Refusal
from verifier.errors import InputError, VerifierError
from verifier.policy import Policy, default_policy
from verifier.protocols import FaceObserver

AUTHORITY: Final = "demo-authority"
ORIGIN: Final = "demo.zhenxue.example/log"
CLASS_ID: Final = "demo-class"
MARKER: Final = ".zhenxue-demo"
LESSON_STARTS: Final = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRow:
    """One learner: the truth, what was claimed, and what the engine saw."""

    scenario: Scenario
    learner_id: str
    settlement: Settlement
    result: LessonResult | None


@dataclass(kw_only=True)
class DemoRun:
    """Where a run lies and what came of it; ``rows`` in the order of the scenarios."""

    folder: Path
    archive: Archive
    policy: Policy
    rows: Sequence[DemoRow]


Said = Callable[[str], None]


def run_demo(
    folder: Path,
    *,
    observer: FaceObserver,
    calibration: Calibration,
    faces: Mapping[str, Path],
    seed: int,
    say: Said = lambda _: None,
) -> DemoRun:
    """Play the four lessons into ``folder``, in an order and under ids that ``seed`` shuffles.

    The archive stays open; close it with ``run.archive.close()``.

    Raises
    ------
    InputError
        If ``folder`` exists and is not an earlier demo's.
    """
    rng = np.random.default_rng(seed)
    prepare_folder(folder)
    keystore = KeyStore.open(folder / "keys")
    signer = load_or_create_signer(folder / "keys" / "signing.key", ORIGIN)
    archive = Archive.open(
        folder / "archive", authority=AUTHORITY, keystore=keystore, signer=signer
    )
    templates = TemplateStore(folder / "templates", keystore, authority=AUTHORITY)
    stage = _Stage(
        FrameChecker(observer=observer, calibration=calibration), templates, archive, rng, say
    )
    cast = list(scenarios(faces))
    played = {cast[i].key: stage.play(cast[i]) for i in rng.permutation(len(cast))}
    rows = tuple(played[scenario.key] for scenario in cast)
    return DemoRun(folder=folder, archive=archive, policy=stage.engine.policy, rows=rows)


class _Stage:
    """Engine, clock and platform, and one learner after another."""

    def __init__(
        self,
        checker: FrameChecker,
        templates: TemplateStore,
        archive: Archive,
        rng: np.random.Generator,
        say: Said,
    ) -> None:
        self.clock = ManualClock(LESSON_STARTS)
        self.engine = LessonEngine(
            checker=checker,
            templates=templates,
            archive=archive,
            policy=default_policy(),
            clock=self.clock,
        )
        self._enroller = Enroller(
            checker=checker, templates=templates, archive=archive, clock=self.clock
        )
        self._rng, self._say = rng, say

    def play(self, scenario: Scenario) -> DemoRow:
        """Enrol, hold the lesson, and set the platform's claim beside it."""
        # Nothing about the scenario is in the id: the engine must not be able to tell.
        learner_id = f"learner-{self._rng.bytes(4).hex()}"
        result = self._hold(scenario, learner_id)
        claim = Claim(
            learner_id=learner_id, class_id=CLASS_ID, claimed_s=60 * scenario.claimed_minutes
        )
        accounts = [] if result is None else [result.account]
        return DemoRow(
            scenario=scenario,
            learner_id=learner_id,
            settlement=settle(claim, accounts),
            result=result,
        )

    def _hold(self, scenario: Scenario, learner_id: str) -> LessonResult | None:
        webcam = Webcam(self._rng)
        if scenario.enrolment is not None:
            self._enrol(learner_id, scenario.enrolment, webcam)
        if scenario.attendance is None:
            self._say(f"{learner_id}: no session; the platform uploads hours")
            return None
        self._say(f"{learner_id}: enrolled; lesson of {scenario.claimed_minutes:g} min")
        platform = SimulatedPlatform(
            engine=self.engine, clock=self.clock, platform_id="demo-platform"
        )
        return platform.hold_lesson(
            learner_id=learner_id,
            class_id=CLASS_ID,
            attendance=scenario.attendance,
            webcam=webcam,
        )

    def _enrol(self, learner_id: str, enrolment: Enrolment, webcam: Webcam) -> None:
        enrolled = self._enroller.enrol(
            learner_id,
            reference=enrolment.reference,
            live=webcam.film(enrolment.sitter, frames=3),
            anchor=Anchor.OFFICER,
        )
        if isinstance(enrolled, Refusal):
            raise VerifierError(f"the demo's enrolment was refused: {enrolled.code}")


def prepare_folder(folder: Path) -> None:
    """Make an empty folder for the demo, over an earlier demo's but over nothing else."""
    if folder.exists() and not (folder / MARKER).is_file():
        raise InputError(f"{folder} exists and is not a demo's output; choose another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("made by `zhenxue demo`, which may replace it\n")
