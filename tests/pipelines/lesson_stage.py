"""A stage for lessons without weights: people are colours, and a fake observer knows them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path

import numpy as np

from models.image_decoder import encode_frame
from pipelines.archive import Archive
from pipelines.archive_verification import verify_archive
from pipelines.check import FrameChecker
from pipelines.clock import ManualClock
from pipelines.keystore import KeyStore
from pipelines.lesson import AnswerView, LessonResult, PromptView
from pipelines.lesson_engine import LessonEngine
from pipelines.lesson_store import StoredEnrolment
from pipelines.private_files import load_or_create_signer
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from pipelines.witnessing import Witnessing
from tests.fakes import CALIBRATION_DATA, face
from tests.memory_calibrations import MemoryCalibrations
from tests.memory_store import MemoryStore
from verifier.arrays import Pixels
from verifier.calibration import Calibration, Metric
from verifier.comparison import Template
from verifier.credit import joined
from verifier.enrolment import Anchor
from verifier.observation import FrameObservation, QualityReason
from verifier.policy import Policy, load_policy
from verifier.schedule import IssuedPrompt, ScheduleVerdict, verify_schedule
from verifier.session_state import SessionState
from verifier.transparency.leaf import Leaf

CONTRACT = "colours@1"
STARTS = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)

LEARNER_FACE, OTHER_FACE = "red", "blue"
NOBODY, TWO_PEOPLE, BLURRED, UNCLEAR, NOT_A_PICTURE = "grey", "two", "blurred", "purple", "junk"

_COLOURS = {
    "red": (230, 20, 20),
    "blue": (20, 20, 230),
    "purple": (125, 20, 125),
    "grey": (128, 128, 128),
    "two": (230, 230, 20),
    "blurred": (20, 230, 20),
}
CALIBRATION = Calibration(
    name="colours",
    made_on=date(2026, 3, 1),
    contract_id=CONTRACT,
    metric=Metric.L2,
    slope=4.0,
    intercept=-2.0,
    min_log10_lr=-2.0,
    max_log10_lr=2.0,
    cap_reason="a test",
    data=CALIBRATION_DATA,
)


def frame(who: str) -> bytes:
    """Return a frame that shows ``who``."""
    if who == NOT_A_PICTURE:
        return b"not a picture"
    return encode_frame(np.full((48, 64, 3), _COLOURS[who], np.uint8), quality=95)


class ColourObserver:
    """Sees people in colours; a `verifier.protocols.FaceObserver`."""

    contract_id = CONTRACT
    attack_contract_id = None

    def __init__(self) -> None:
        self.frames_seen = 0

    def observe(self, pixels: Pixels, *, embed: bool = True) -> FrameObservation:
        """Observe the colour in the middle of the frame."""
        self.frames_seen += 1
        colour = np.asarray(pixels[24, 32], np.int64)
        who = min(_COLOURS, key=lambda name: int(np.abs(colour - _COLOURS[name]).sum()))
        faces = {"grey": 0, "two": 2}.get(who, 1)
        quality = (QualityReason.BLURRED,) if who == "blurred" else ()
        vector = np.asarray(colour / 255, np.float32) if embed else None
        return FrameObservation(
            width_px=pixels.shape[1],
            height_px=pixels.shape[0],
            faces=tuple(face(vector, quality=quality) for _ in range(faces)),
        )


def stopped_s(state: SessionState) -> float:
    """Return for how long the lesson clock stood still: a prompt was open, or a pause went on."""
    return sum(stop.end_s - stop.start_s for stop in joined(state.stopped))


def verdict_of(result: LessonResult) -> ScheduleVerdict:
    """Compare an ended lesson with its schedule."""
    state = result.state
    assert result.promise is not None
    assert state.lesson_end is not None
    issued = [
        IssuedPrompt(index=p.planned_index, kind=p.kind, issued_s=state.offset_s(p.issued_at))
        for p in state.prompts
        if p.planned_index is not None
    ]
    ended_s = state.offset_s(state.lesson_end)
    return verify_schedule(result.promise, issued, ended_s=ended_s, silences=state.silences)


def dense_policy_file(mean_gap_s: int = 75) -> bytes:
    """Return the policy that ships, with prompts that are so far apart on average."""
    shipped = resources.files("verifier.policies").joinpath("default.toml").read_bytes()
    dense = shipped.replace(
        b"mean_gap_s = { value = 180,", b"mean_gap_s = { value = %d," % mean_gap_s
    )
    assert dense != shipped
    return dense


def dense_policy(*, mean_gap_s: int = 75, with_duplicates: bool = False) -> Policy:
    """Return the default policy with prompts so dense that chance never leaves a long gap.

    Unless ``with_duplicates``, no two faces are alike enough for a case: on a stage everybody has
    one of two.
    """
    policy = load_policy(dense_policy_file(mean_gap_s))
    if with_duplicates:
        return policy
    return replace(policy, duplicates=replace(policy.duplicates, false_cases_per_enrolment=1e-6))


@dataclass(kw_only=True)
class LessonStage:
    """An engine, its clock and its archive, and the acts of a platform."""

    folder: Path
    clock: ManualClock
    archive: Archive
    keystore: KeyStore
    templates: TemplateSealer
    store: MemoryStore
    calibrations: MemoryCalibrations
    engine: LessonEngine

    @classmethod
    def build(
        cls, folder: Path, witnessing: Witnessing | None = None, *, mean_gap_s: int = 75
    ) -> "LessonStage":
        """Set a stage in an empty folder."""
        keystore = KeyStore.open(folder / "keys")
        signer = load_or_create_signer(folder / "keys" / "signing.key", "test.example/log")
        store = MemoryStore()
        archive = Archive.open(
            folder / "archive",
            authority="test",
            keystore=keystore,
            signer=signer,
            source=store,
            witnessing=witnessing,
        )
        templates = TemplateSealer(keystore=keystore, authority="test")
        clock = ManualClock(STARTS)
        checker = FrameChecker(observer=ColourObserver())
        calibrations = MemoryCalibrations(CALIBRATION)
        engine = LessonEngine(
            checker=checker,
            calibrations=calibrations,
            templates=templates,
            store=store,
            archive=archive,
            policy=dense_policy(mean_gap_s=mean_gap_s),
            clock=clock,
        )
        return cls(
            folder=folder,
            clock=clock,
            archive=archive,
            keystore=keystore,
            templates=templates,
            store=store,
            calibrations=calibrations,
            engine=engine,
        )

    def restart(self) -> None:
        """Build a new engine on the same archive, as after a restart."""
        self.engine = LessonEngine(
            checker=self.engine.checker,
            calibrations=self.calibrations,
            templates=self.templates,
            store=self.store,
            archive=self.archive,
            policy=self.engine.policy,
            clock=self.clock,
        )

    def enrol(
        self, learner_id: str, contract_id: str = CONTRACT, *, anchor: Anchor = Anchor.OFFICER
    ) -> None:
        """Store the template of the learner's face."""
        vector = np.asarray(np.array(_COLOURS[LEARNER_FACE]) / 255, np.float32)
        template = Template(contract_id=contract_id, vector=vector)
        enrolled = EnrolledTemplate(template=template, anchor=anchor, enrolled_at=self.clock.now())
        stored = StoredEnrolment(
            learner_id=learner_id,
            contract_id=contract_id,
            sealed_template=self.templates.seal(learner_id, enrolled),
            anchor=enrolled.anchor,
            enrolled_at=enrolled.enrolled_at,
            evidence_id="00" * 32,
        )
        self.store.learners.add(learner_id)
        with self.store.writing() as unit:
            unit.store_enrolment(stored)

    def open(self, learner_id: str = "learner-1", *, minutes: float = 45) -> str:
        """Enrol a learner and open a session."""
        self.enrol(learner_id)
        return self.engine.open(
            learner_id=learner_id,
            class_id="class-1",
            platform_id="platform-1",
            planned_minutes=minutes,
        )

    def prompt(self, session_id: str) -> PromptView:
        """Return the prompt that is open now."""
        prompt = self.engine.poll(session_id)
        assert prompt is not None
        return prompt

    def answer(
        self,
        session_id: str,
        prompt: PromptView,
        *who: str,
        arrived_at: datetime | None = None,
        announced: bool = False,
    ) -> AnswerView:
        """Answer a prompt with frames."""
        return self.engine.answer(
            session_id,
            prompt_id=prompt.prompt_id,
            nonce=prompt.nonce,
            frames=[frame(name) for name in who or (LEARNER_FACE,)],
            arrived_at=arrived_at,
            announced=announced,
        )

    def attend(self, session_id: str, *, minutes: float, who: Sequence[str] = ()) -> int:
        """Let time pass second by second, answering every prompt; return how many there were."""
        answered = 0
        for _ in range(round(60 * minutes)):
            while prompt := self.engine.poll(session_id):
                self.answer(session_id, prompt, *who)
                answered += 1
            self.clock.advance(1)
        return answered

    def end(self, session_id: str, who: str | None = LEARNER_FACE) -> LessonResult:
        """Announce the end, let ``who`` answer what is open and the closing prompt, and close.

        With None there nobody answers, and both lapse.
        """
        while who is not None and (prompt := self.engine.poll(session_id)):
            self.answer(session_id, prompt, who)
        self.engine.announce_end(session_id)
        if who is None:
            self.clock.advance(125)
        else:
            # A prompt that nobody answered in time still waits for an answer on its way.
            while self.engine.poll(session_id) is None:
                self.clock.advance(1)
            self.answer(session_id, self.prompt(session_id), who)
        return self.engine.close(session_id)

    def leaves(self) -> list[Leaf]:
        """Publish, and return every leaf of the log."""
        size = self.archive.publish().size
        return [Leaf.parse(self.archive.reader.entry(index, size)) for index in range(size)]

    def finish(self) -> None:
        """Verify the whole archive, as after every test that wrote to it."""
        verifier = self.archive.verifier
        self.archive.publish()
        self.archive.close()
        report = verify_archive(self.folder / "archive", verifier=verifier, keystore=self.keystore)
        assert report.ok, report.problems
