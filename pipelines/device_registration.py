"""A learner's device becomes theirs: who holds it is compared with the enrolled face, once.

From then on its key says which browser a learner's answers come from. It says nothing about who
sits there: that, every prompt asks anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.calibration_book import CalibrationBook
from pipelines.check import CheckedFrames, FrameChecker
from pipelines.comparison_budget import ComparisonBudget
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.leaf_kinds import DEVICE_REGISTERED, DEVICE_REVOKED
from pipelines.lesson_store import ComparisonPurpose, LessonStore, LessonUnit, StoredEnrolment
from pipelines.recording import Recording, recording
from pipelines.sealed_template import EnrolledTemplate, TemplateSealer
from verifier.answer import JudgedCapture
from verifier.errors import InputError
from verifier.prompt import Judgement
from verifier.protocols import Clock
from verifier.transparency.canonical_json import JSONValue


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDecision:
    """What became of a device.

    Attributes
    ----------
    judged
        What the frames showed; None where an officer's grant stands in for them.
    evidence_id
        Of the leaf about it; None where the device was not registered.
    """

    judged: JudgedCapture | None
    evidence_id: str | None

    @property
    def judgement(self) -> Judgement:
        """What may be told of it."""
        return Judgement.PASS if self.judged is None else self.judged.judgement


Also = Callable[[LessonUnit, DeviceDecision], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRegistrar:
    """Registers devices: by a face that matches, or by a grant; nothing else makes one known."""

    checker: FrameChecker
    calibrations: CalibrationBook
    templates: TemplateSealer
    store: LessonStore
    evidence: EvidenceStore
    clock: Clock
    comparisons: ComparisonBudget

    def register_by_face(
        self,
        learner_id: str,
        *,
        device_id: str,
        platform_id: str,
        frames: Sequence[bytes],
        also: Also,
    ) -> DeviceDecision:
        """Compare frames taken on the device with the learner's template.

        1. It is one of the comparisons that a day may have, like an answer: whoever may ask
           without end climbs the score.
        2. The frames are judged as an answer's are; only a match registers the device.
        3. The count, the leaf and what else belongs to it become true together.

        Parameters
        ----------
        also
            What else belongs to the unit of work, whatever was decided.

        Raises
        ------
        InputError
            If there is no frame.
        UnknownSubjectError
            If the learner is not enrolled, or the face was erased meanwhile.
        ContractMismatchError
            If the template was made with another model.
        LedgerError
            If it could not be kept.
        """
        if not frames:
            raise InputError("no frames; one at least was wanted")
        with self.comparisons.reserve(learner_id, ComparisonPurpose.ANSWER) as reserved:
            enrolled = self._opened(reserved.required_enrolment)
            reference = enrolled.template if reserved.granted else None
            checked = self.checker.check(frames, reference, self.calibrations.current())
            with recording(self.store, self.evidence) as work:
                work.unit.lock_learner(learner_id)
                work.unit.enrolment(learner_id)  # or the face was erased meanwhile
                reserved.settle(work.unit, compared=checked.compared)
                entry = None
                if checked.judged.judgement is Judgement.PASS:
                    entry = self._entry(learner_id, device_id, platform_id, checked)
                return self._keep(work, entry, checked.judged, also)

    def register_by_grant(
        self, learner_id: str, *, device_id: str, platform_id: str, also: Also
    ) -> DeviceDecision:
        """Register a device of a learner whom an officer granted another way than the face."""
        with recording(self.store, self.evidence) as work:
            work.unit.lock_learner(learner_id)
            entry = self._entry(learner_id, device_id, platform_id, None)
            return self._keep(work, entry, None, also)

    def record_revocation(
        self, work: Recording, learner_id: str, *, device_id: str, revoked_by: str
    ) -> None:
        """Record, in a unit of work, that a device opens nothing more; by whom stays sealed."""
        work.append(
            self.evidence.prepare_record(
                DEVICE_REVOKED,
                at=self.clock.now(),
                facts={"device_id": device_id},
                private={"revoked_by": revoked_by},
                learner_id=learner_id,
                purpose="device",
            )
        )

    def _keep(
        self,
        work: Recording,
        entry: PreparedEntry | None,
        judged: JudgedCapture | None,
        also: Also,
    ) -> DeviceDecision:
        if entry is not None:
            work.append(entry)
        evidence_id = None if entry is None else entry.evidence_id
        decision = DeviceDecision(judged=judged, evidence_id=evidence_id)
        also(work.unit, decision)
        return decision

    def _entry(
        self, learner_id: str, device_id: str, platform_id: str, checked: CheckedFrames | None
    ) -> PreparedEntry:
        """Prepare the leaf: a key that names nobody; whose it is, and why, stays sealed."""
        return self.evidence.prepare_record(
            DEVICE_REGISTERED,
            at=self.clock.now(),
            facts={"device_id": device_id},
            private={"platform_id": platform_id, **_reason(checked)},
            console=None if checked is None else _scores(checked),
            learner_id=learner_id,
            purpose="device",
            contract=self.checker.observer.contract_id,
        )

    def _opened(self, stored: StoredEnrolment) -> EnrolledTemplate:
        contract_id = self.checker.observer.contract_id
        return self.templates.open(
            stored.learner_id, stored.sealed_template, contract_id=contract_id
        )


def _reason(checked: CheckedFrames | None) -> dict[str, JSONValue]:
    if checked is None:
        return {"by": "grant"}
    return {"by": "face", "calibration_id": checked.calibration.calibration_id}


def _scores(checked: CheckedFrames) -> dict[str, JSONValue]:
    check = checked.judged.check
    return {
        "comparison_log10_lr": check.comparison_log10_lr,
        "pad_log10_lr": check.pad_log10_lr,
    }
