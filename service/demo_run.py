"""The demo: a real server on a real socket, a platform and an officer who call it, four lessons.

A witness cosigns the log; it runs on the same machine, so it shows how that goes and no more. Only
the clock is not real: it is handed to the application when it is built, and the platform played
here moves it. No route can.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.clock import ManualClock
from pipelines.demo import DemoRow, DemoRun, GateAnswer, prepare_folder
from pipelines.private_files import load_or_create_signer
from pipelines.schedule_header import SealedRecords
from pipelines.schedule_proof import ScheduleProof, prove_schedule
from pipelines.session_log import read_session_log
from pipelines.simulate.http_caller import HttpCaller
from pipelines.simulate.identity_authority import demo_identity
from pipelines.simulate.platform import SimulatedPlatform, in_base64
from pipelines.simulate.scenarios import Enrolment, Scenario, scenarios
from pipelines.simulate.webcam import Webcam
from service.application import Application, open_application
from service.credentials import Role, issue_api_key
from service.demo_witness import RunningWitness, run_witness
from service.http.app import create_app
from service.http.server import listen, serve_in_thread
from service.keys_commands import keep_key
from service.settings import IdentityAuthorityName, Settings
from service.sql import api_keys
from verifier.claim import Claim, settle
from verifier.comparison import Calibration
from verifier.eligibility_result import GateOutcome
from verifier.errors import VerifierError
from verifier.policy import Policy
from verifier.protocols import FaceObserver
from verifier.transparency.cosignature import CosignatureVerifier

AUTHORITY: Final = "demo-authority"
ORIGIN: Final = "demo.zhenxue.example/log"
PLATFORM_ID: Final = "demo-platform"
CLASS_ID: Final = "demo-class"
REQUIRED_CREDIT_HOURS: Final = 1
LESSON_STARTS: Final = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
DAY: Final = timedelta(days=1)

Said = Callable[[str], None]


@contextmanager
def run_demo(
    folder: Path,
    *,
    settings: Settings,
    observer: FaceObserver,
    calibration: Calibration,
    policy: Policy,
    faces: Mapping[str, Path],
    seed: int,
    say: Said = lambda _: None,
    cast: Sequence[Scenario] | None = None,
) -> Iterator[DemoRun]:
    """Play the four lessons into ``folder``, in an order and under ids that ``seed`` shuffles.

    ``cast`` replaces the four, for tests; ``rows`` come in its order. The archive is open for as
    long as the context lasts; the server is not.

    Raises
    ------
    InputError
        If ``folder`` exists and is not an earlier demo's.
    """
    rng = np.random.default_rng(seed)
    prepare_folder(folder)
    clock = ManualClock(LESSON_STARTS - DAY)
    signer = load_or_create_signer(folder / "keys" / "signing.key", ORIGIN)
    with (
        run_witness(folder / "witness", signer.verifier, clock) as witness,
        open_application(
            _settings(settings, folder, witness),
            observer=observer,
            metric=calibration.metric,
            calibration=calibration,
            policy=policy,
            clock=clock,
        ) as application,
    ):
        cast = list(scenarios(faces) if cast is None else cast)
        with _Stage.open(application, clock, rng, say, witness) as stage:
            order = [cast[i] for i in rng.permutation(len(cast))]
            stage.prepare([scenario.key for scenario in order])
            played = {scenario.key: stage.play(scenario) for scenario in order}
        write_pictures(folder / "pictures", faces, Webcam(rng))
        yield DemoRun(
            folder=folder,
            archive=application.archive,
            witness_vkey=witness.vkey,
            policy=policy,
            rows=tuple(played[scenario.key] for scenario in cast),
        )


def _settings(given: Settings, folder: Path, witness: RunningWitness) -> Settings:
    """Return settings for a demo: embedded stores in its folder, made-up people, no real money."""
    changes: dict[str, object] = {
        "data_dir": folder,
        "keys_dir": None,
        "database_url": None,
        "redis_url": None,
        "authority": AUTHORITY,
        "log_origin": ORIGIN,
        "identity_authority": IdentityAuthorityName.DEMO,
        "production": False,
        "witnesses": witness.setting,
        # An hour's calls come in seconds here.
        "requests_per_minute": 1_000_000,
        "answers_per_minute": 1_000_000,
    }
    return given.model_copy(update=changes)


@dataclass(kw_only=True)
class _Stage:
    """The service as a platform and an officer see it, and one learner after another."""

    application: Application
    clock: ManualClock
    rng: np.random.Generator
    say: Said
    witness: RunningWitness
    platform: HttpCaller
    officer: HttpCaller
    learners: dict[str, str] = field(default_factory=dict)  # learner ids by scenario

    @classmethod
    @contextmanager
    def open(
        cls,
        application: Application,
        clock: ManualClock,
        rng: np.random.Generator,
        say: Said,
        witness: RunningWitness,
    ) -> Iterator["_Stage"]:
        """Start a server on a free port, let a platform and an officer in, and stop it again."""
        platform_key, officer_key = _admit(application)
        with ExitStack() as stack:
            bound = stack.enter_context(listen("127.0.0.1", 0))
            url = stack.enter_context(serve_in_thread(create_app(application), bound))
            say(f"server at {url}; live state: {application.live.describe()}")
            stage = cls(
                application=application,
                clock=clock,
                rng=rng,
                say=say,
                witness=witness,
                platform=stack.enter_context(HttpCaller(url, platform_key)),
                officer=stack.enter_context(HttpCaller(url, officer_key)),
            )
            yield stage

    def prepare(self, keys: Sequence[str]) -> None:
        """On the day before: the class is applied for and approved, everybody is registered."""
        day = (self.clock.now() + DAY).date()
        self.platform.post(
            "/v1/classes",
            {
                "class_id": CLASS_ID,
                "institution_id": "demo-institution",
                "title": "演示班",
                "starts_on": day.isoformat(),
                "ends_on": (day + timedelta(days=30)).isoformat(),
                "required_credit_hours": REQUIRED_CREDIT_HOURS,
            },
        )
        self.officer.post(f"/v1/classes/{CLASS_ID}/approval")
        self.learners = {key: self._register(number) for number, key in enumerate(keys)}
        self.clock.advance(DAY.total_seconds())

    def play(self, scenario: Scenario) -> DemoRow:
        """Enrol, hold the lesson, upload the claim, ask the gate."""
        learner_id = self.learners[scenario.key]
        session_id = self._hold(scenario, learner_id)
        claimed_s = 60 * scenario.claimed_minutes
        self.platform.post(
            "/v1/claims",
            {
                "learner_id": learner_id,
                "class_id": CLASS_ID,
                "claimed_minutes": scenario.claimed_minutes,
            },
        )
        self.application.archive.publish_witnessed()  # or the gate would wait for it
        result = None if session_id is None else self.application.engine.result(session_id)
        claim = Claim(learner_id=learner_id, class_id=CLASS_ID, claimed_s=claimed_s)
        return DemoRow(
            scenario=scenario,
            learner_id=learner_id,
            settlement=settle(claim, [] if result is None else [result.account]),
            result=result,
            proof=None if session_id is None else self._prove(session_id),
            gate=self._ask_gate(learner_id),
        )

    def _prove(self, session_id: str) -> ScheduleProof:
        """Recompute the schedule from the files of the archive, as an auditor with keys does."""
        archive = self.application.archive
        return prove_schedule(
            read_session_log(archive.folder, session_id, archive.verifier),
            SealedRecords(folder=archive.folder, keystore=self.application.keystore),
            witnesses=[CosignatureVerifier.from_vkey(self.witness.vkey)],
            policies=[self.application.engine.policy],
        )

    def _register(self, number: int) -> str:
        """Register somebody; nothing about the scenario is in it, or the engine could tell."""
        person = demo_identity(number)
        registered = self.platform.post(
            "/v1/learners",
            {
                "reference": f"learner-{number + 1}",
                "identity": {"name": person.name, "id_number": person.id_number},
            },
        )
        learner_id = str(registered["learner_id"])
        self.platform.put(f"/v1/learners/{learner_id}/consent", {"version": "demo-1"})
        self.platform.put(f"/v1/classes/{CLASS_ID}/roster/{learner_id}")
        return learner_id

    def _hold(self, scenario: Scenario, learner_id: str) -> str | None:
        webcam, name = Webcam(self.rng), f"learner {learner_id[:8]}"
        if scenario.enrolment is not None:
            self._enrol(learner_id, scenario.enrolment, webcam)
        if scenario.attendance is None:
            self.say(f"{name}: no session; the platform uploads hours")
            return None
        self.say(f"{name}: enrolled; lesson of {scenario.claimed_minutes:g} min")
        platform = SimulatedPlatform(caller=self.platform, clock=self.clock)
        closed = platform.hold_lesson(
            learner_id=learner_id,
            class_id=CLASS_ID,
            attendance=scenario.attendance,
            webcam=webcam,
        )
        return str(closed["session_id"])

    def _enrol(self, learner_id: str, enrolment: Enrolment, webcam: Webcam) -> None:
        live = webcam.film(enrolment.sitter, frames=3)
        enrolled = self.platform.post(
            f"/v1/learners/{learner_id}/enrolment",
            {
                "reference": in_base64(enrolment.reference),
                "live": [in_base64(frame) for frame in live],
            },
        )
        if enrolled["outcome"] != "pass":
            raise VerifierError(f"the demo's enrolment was refused: {enrolled['reason']}")

    def _ask_gate(self, learner_id: str) -> GateAnswer:
        path = f"/v1/classes/{CLASS_ID}/learners/{learner_id}/eligibility"
        answer = self.officer.get(path)
        return GateAnswer(
            outcome=GateOutcome(answer["outcome"]),
            reasons=[
                (rule["text_zh"], rule["text_en"])
                for rule in answer["rules"]
                if rule["code"] is not None
            ],
        )


def write_pictures(folder: Path, faces: Mapping[str, Path], webcam: Webcam) -> None:
    """Keep a few pictures of one person, for whoever wants to call the service by hand."""
    enrolment = scenarios(faces)[0].enrolment
    if enrolment is None:
        raise ValueError("a scenario with an enrolment was wanted")
    folder.mkdir(parents=True)
    (folder / "reference.jpg").write_bytes(enrolment.reference)
    live = webcam.film(enrolment.sitter, frames=3)
    for name, frame in zip(("live-1", "live-2", "answer"), live, strict=True):
        (folder / f"{name}.jpg").write_bytes(frame)
    (folder / "empty-room.jpg").write_bytes(webcam.film_room(frames=1)[0])


def _admit(application: Application) -> tuple[str, str]:
    """Put a platform on record; return its key and an officer's."""
    platform, officer = issue_api_key(Role.PLATFORM), issue_api_key(Role.OFFICER)
    with application.database.writing() as tx:
        at = application.clock.now()
        api_keys.create_platform(tx, platform_id=PLATFORM_ID, name="演示平台", at=at)
        keep_key(tx, platform, platform_id=PLATFORM_ID, label="demo")
        keep_key(tx, officer, platform_id=None, label="演示经办人")
    return platform.text, officer.text
