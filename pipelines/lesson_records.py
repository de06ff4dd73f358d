"""What of a lesson goes into archive and log, and in which words.

Public facts name no learner and tell no score. What is private is sealed; of that, what only
reviewers may see (`console`) stays encrypted even in a receipt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pipelines.check import CheckedFrames
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.lesson import AnswerView, ArchivedAnswer, Lesson, PromptView
from pipelines.recording import Recording
from verifier.calibration import Calibration
from verifier.claim import SessionAccount
from verifier.policy import Policy
from verifier.prompt import Prompt
from verifier.session_score import Decision
from verifier.session_state import SessionState
from verifier.transparency.base64_text import to_base64
from verifier.transparency.canonical_json import JSONValue

_SCORES = ("comparison_log10_lr", "pad_log10_lr")


def opened_entry(
    evidence: EvidenceStore,
    lesson: Lesson,
    committed: bytes,
    *,
    policy: str,
    calibration: Calibration,
) -> PreparedEntry:
    """Prepare the opening leaf, with the commitment that the schedule will follow from."""
    header = lesson.header
    return evidence.prepare_record(
        "session_opened",
        at=header.opened_at,
        facts={
            "anchor": lesson.anchor.value,
            "calibration_id": calibration.calibration_id,
            "class_id": header.class_id,
            "policy": policy,
            "schedule_commitment": to_base64(committed),
            # Gap-free for a learner and class, so that a discarded session shows.
            "session_number": lesson.number,
        },
        private={
            "calibration": calibration.label,  # holds free text, which the public log does not
            "header": header.to_record(),
            "planned_minutes": lesson.planned_minutes,
        },
        learner_id=header.learner_id,
        session_id=header.session_id,
        sequence=0,
        assurance=lesson.assurance.value,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswer:
    """An answer as the session knows it, and the evidence of it, not appended yet."""

    before: Lesson
    state: SessionState
    prompt_id: str
    checked: CheckedFrames
    entry: PreparedEntry

    @property
    def view(self) -> AnswerView:
        """What may be told of it."""
        prompt = _prompt(self.state, self.prompt_id)
        judged = self.checked.judged
        return AnswerView(
            judgement=judged.judgement,
            reason=judged.reason,
            quality=judged.quality,
            evidence_id=self.entry.evidence_id,
            asked_again=PromptView.of(prompt) if prompt.is_open else None,
        )

    def archived(self, index: int) -> ArchivedAnswer:
        """Return where it lies once its leaf has its place."""
        judged = self.checked.judged
        prompt = _prompt(self.state, self.prompt_id)
        return ArchivedAnswer(
            prompt_id=self.prompt_id,
            index=index,
            evidence_id=self.entry.evidence_id,
            at_s=prompt.attempts[-1].check.t,
            judgement=judged.judgement,
            reason=judged.reason,
            quality=judged.quality,
            has_picture=self.checked.picture is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRecords:
    """Writes what happens in lessons.

    ``contract`` names what looked at the pictures, ``attack_contract`` what judged attacks.
    """

    evidence: EvidenceStore
    contract: str
    attack_contract: str | None

    def issued(self, work: Recording, lesson: Lesson, prompt: Prompt, *, now: datetime) -> Lesson:
        """Record a prompt before anybody is told of it; ``now`` is when, whenever it was due."""
        facts: dict[str, JSONValue] = {
            "issued_ms": _milliseconds(lesson.state.offset_s(prompt.issued_at)),
            "kind": prompt.kind.value,
            "origin": prompt.origin.value,
            "planned_index": prompt.planned_index,
            "prompt_id": prompt.prompt_id,
        }
        return self._append(work, lesson, "prompt_issued", facts, at=now)

    def missed(self, work: Recording, lesson: Lesson, prompt: Prompt, *, now: datetime) -> Lesson:
        """Record that a prompt's time ran out."""
        facts = {"prompt_id": prompt.prompt_id}
        return self._append(work, lesson, "prompt_missed", facts, at=now)

    def answer(
        self, lesson: Lesson, answered: SessionState, prompt_id: str, checked: CheckedFrames
    ) -> JudgedAnswer:
        """Seal the picture an answer stands on, or the bare finding where none was readable.

        Needs no unit of work: sealing and flushing a picture must not keep others waiting.
        """
        prompt = _prompt(answered, prompt_id)
        check = prompt.attempts[-1].check
        public = {key: value for key, value in check.to_record().items() if key not in _SCORES}
        record: dict[str, JSONValue] = {
            "anchor": lesson.anchor.value,
            "attack_contract": self.attack_contract,
            "answer": checked.judged.judgement.value,
            "attempt": len(prompt.attempts),
            "calibration": checked.calibration.label,
            "calibration_id": checked.calibration.calibration_id,
            "check": public,
            "prompt_id": prompt_id,
            "reason": checked.judged.reason.value,
        }
        scores: dict[str, JSONValue] = {name: getattr(check, name) for name in _SCORES}
        if checked.picture is None:
            entry = self._prepare(
                lesson,
                "answer_unreadable",
                {},
                at=prompt.attempts[-1].at,
                private=record,
                console=scores,
            )
        else:
            entry = self.evidence.prepare_snapshot(
                record=record,
                console=scores,
                image=checked.picture.canonical_bytes,
                pixels_sha256=checked.picture.pixels_sha256,
                learner_id=answered.learner_id,
                session_id=answered.session_id,
                sequence=lesson.sequence,
                assurance=lesson.assurance.value,
                at=prompt.attempts[-1].at,
                contract=self.contract,
            )
        return JudgedAnswer(
            before=lesson, state=answered, prompt_id=prompt_id, checked=checked, entry=entry
        )

    def closed(
        self, work: Recording, lesson: Lesson, account: SessionAccount, policy: Policy
    ) -> Lesson:
        """Record the end of a lesson; its ``last_index`` is the closing leaf's.

        The facts count prompts and give the range of leaves, so that an omission shows, and open
        the schedule's secret, now that the session is over.
        """
        ended, score = lesson.state, account.score
        counts, checkpoint = ended.counts, lesson.checkpoint
        facts: dict[str, JSONValue] = {
            "first_index": lesson.opened_index,
            "last_index": lesson.last_index,
            "lesson_end_ms": _milliseconds(ended.offset_s(ended.lesson_end or ended.last_event_at)),
            "phase": ended.phase.value,
            # Of the score and the credit; the schedule keeps to the opening leaf's.
            "policy": policy.rule,
            "policy_digest": policy.digest,
            "prompts_added": counts.added,
            "prompts_answered": counts.answered,
            "prompts_issued": counts.issued,
            "prompts_missed": counts.missed,
            # null: it was given up before its commitment was published, so it had no schedule.
            "schedule_checkpoint_root": to_base64(checkpoint.root) if checkpoint else None,
            "schedule_checkpoint_size": checkpoint.size if checkpoint else None,
            "schedule_secret": to_base64(lesson.secret),
            # When nothing could be asked, so that a prompt of the schedule may be missing.
            "silences_ms": [
                [_milliseconds(silence.start_s), _milliseconds(silence.end_s)]
                for silence in ended.silences
            ],
        }
        return self._append(
            work,
            lesson,
            "session_closed",
            facts,
            at=ended.last_event_at,
            private={
                "credited_s": account.credit.credited_s,
                "decision": told(score.decision),
                "pending_s": account.credit.pending_s,
            },
            console={
                "authenticity": score.authenticity,
                "decision": score.decision.value,
                "verified_lower95_minutes": score.verified_lower95_minutes,
                "verified_mean_minutes": score.verified_mean_minutes,
            },
        )

    def _append(
        self,
        work: Recording,
        lesson: Lesson,
        kind: str,
        facts: Mapping[str, JSONValue],
        *,
        at: datetime,
        private: Mapping[str, JSONValue] | None = None,
        console: Mapping[str, JSONValue] | None = None,
    ) -> Lesson:
        entry = self._prepare(lesson, kind, facts, at=at, private=private, console=console)
        return counted(lesson, work.append(entry))

    def _prepare(
        self,
        lesson: Lesson,
        kind: str,
        facts: Mapping[str, JSONValue],
        *,
        at: datetime,
        private: Mapping[str, JSONValue] | None,
        console: Mapping[str, JSONValue] | None,
    ) -> PreparedEntry:
        return self.evidence.prepare_record(
            kind,
            at=at,
            facts=facts,
            private=private,
            console=console,
            learner_id=lesson.state.learner_id,
            session_id=lesson.state.session_id,
            sequence=lesson.sequence,
            assurance=lesson.assurance.value,
        )


def counted(lesson: Lesson, index: int) -> Lesson:
    """Return the lesson with one more leaf, which got place ``index``."""
    return replace(lesson, sequence=lesson.sequence + 1, last_index=index)


def told(decision: Decision) -> Literal["accept", "under_review"]:
    """Return what platform and learner may hear: whether a person proposes to reject is not it."""
    return "accept" if decision is Decision.ACCEPT else "under_review"


def _prompt(state: SessionState, prompt_id: str) -> Prompt:
    return next(p for p in state.prompts if p.prompt_id == prompt_id)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
