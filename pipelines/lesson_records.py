"""What of a lesson goes into archive and log, and in which words.

Public facts name no learner and tell no score. What is private is sealed; of that, what only
reviewers may see (`console`) stays encrypted even in a receipt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from models.image_decoder import DecodedImage
from pipelines import leaf_kinds
from pipelines.check import CheckedFrames
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.lesson import AnswerView, ArchivedAnswer, Lesson, PromptView
from pipelines.lesson_input import SignedAnswer
from pipelines.recording import Recording
from verifier.answer import JudgedCapture
from verifier.calibration import AnyCalibration, Calibration
from verifier.claim import SessionAccount
from verifier.credit import Pause
from verifier.playback import StretchState
from verifier.policy import Policy
from verifier.prompt import Prompt
from verifier.session_score import Decision
from verifier.session_state import SessionState
from verifier.transparency.base64_text import to_base64
from verifier.transparency.canonical_json import JSONValue

_SCORES: Final = ("comparison_log10_lr", "pad_log10_lr")


def opened_entry(
    evidence: EvidenceStore,
    lesson: Lesson,
    committed: bytes,
    *,
    policy: str,
    calibration: Calibration | None,
    witnesses: Sequence[str] = (),
) -> PreparedEntry:
    """Prepare the opening leaf, with the commitment that the schedule will follow from.

    ``calibration``: what faces will be judged by; None where none will be looked at.
    ``witnesses``: name and key id of each that is asked to cosign its checkpoint, so that leaving
    out the cosignature of one shows.
    """
    header = lesson.header
    return evidence.prepare_record(
        leaf_kinds.SESSION_OPENED,
        at=header.opened_at,
        facts={
            "anchor": lesson.anchor.value,
            "calibration_id": None if calibration is None else calibration.calibration_id,
            "class_id": header.class_id,
            # The session whose misses it makes up for, if any: no learner is named by it.
            "makes_up": lesson.makes_up,
            "path": lesson.path.value,
            "policy": policy,
            "schedule_commitment": to_base64(committed),
            # Gap-free for a learner and class, so that a discarded session shows.
            "session_number": lesson.number,
            "witnesses": list(witnesses),
        },
        private={
            # Holds free text, which the public log does not.
            "calibration": None if calibration is None else calibration.label,
            "extra_time": lesson.extra_time,
            "grant_id": lesson.grant_id,
            "header": header.to_record(),
            "planned_minutes": lesson.planned_minutes,
        },
        learner_id=header.learner_id,
        session_id=header.session_id,
        sequence=0,
        assurance=lesson.assurance.value,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found in an answer, and what makes it credible.

    Attributes
    ----------
    picture
        What archive and reviewer see; None where none was readable or wanted.
    calibration
        What a face was judged by; None where none was looked at.
    signed
        By the key of the learner's device; None where none is wanted.
    by
        The officer who found it; None: the learner answered.
    """

    judged: JudgedCapture
    picture: DecodedImage | None = None
    calibration: AnyCalibration | None = None
    signed: SignedAnswer | None = None
    by: str | None = None

    @classmethod
    def of(cls, checked: CheckedFrames, signed: SignedAnswer | None) -> "Found":
        """Return what frames showed."""
        return cls(
            judged=checked.judged,
            picture=checked.picture,
            calibration=checked.calibration,
            signed=signed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswer:
    """An answer as the session knows it, and the evidence of it, not appended yet."""

    before: Lesson
    state: SessionState
    prompt_id: str
    found: Found
    entry: PreparedEntry

    @property
    def view(self) -> AnswerView:
        """What may be told of it."""
        prompt = _prompt(self.state, self.prompt_id)
        judged = self.found.judged
        return AnswerView(
            judgement=judged.judgement,
            reason=judged.reason,
            quality=judged.quality,
            evidence_id=self.entry.evidence_id,
            asked_again=PromptView.of(prompt) if prompt.is_open else None,
        )

    def archived(self, index: int) -> ArchivedAnswer:
        """Return where it lies once its leaf has its place."""
        judged = self.found.judged
        prompt = _prompt(self.state, self.prompt_id)
        return ArchivedAnswer(
            prompt_id=self.prompt_id,
            index=index,
            evidence_id=self.entry.evidence_id,
            at_s=prompt.attempts[-1].check.t,
            judgement=judged.judgement,
            reason=judged.reason,
            quality=judged.quality,
            has_picture=self.found.picture is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRecords:
    """Writes what happens in lessons.

    ``contract`` names what looked at the pictures, ``attack_contract`` what judged attacks.
    """

    evidence: EvidenceStore
    contract: str
    attack_contract: str | None

    def issued(
        self,
        work: Recording,
        lesson: Lesson,
        prompt: Prompt,
        *,
        after: Prompt | None,
        by: str | None,
        now: datetime,
    ) -> Lesson:
        """Record a prompt before anybody is told of it.

        Parameters
        ----------
        after
            The scheduled prompt that it was added after, if it was.
        by
            The officer who wanted it, if one did; sealed.
        now
            When it is recorded, whenever it was due.
        """
        state, because = lesson.state, prompt.added_because
        facts: dict[str, JSONValue] = {
            "issued_ms": _milliseconds(state.offset_s(prompt.issued_at)),
            "kind": prompt.kind.value,
            "origin": prompt.origin.value,
            "planned_index": prompt.planned_index,
            "prompt_id": prompt.prompt_id,
        }
        if because is not None:
            facts["added_because"] = because.value
        if after is not None:
            resolved_at = after.resolved_at or after.closes_at
            facts["after_index"] = after.planned_index
            facts["after_ms"] = _milliseconds(state.offset_s(resolved_at))
        private: dict[str, JSONValue] | None = None if by is None else {"by": by}
        return self._append(work, lesson, leaf_kinds.PROMPT_ISSUED, facts, at=now, private=private)

    def missed(
        self, work: Recording, lesson: Lesson, prompt: Prompt, *, at: datetime, now: datetime
    ) -> Lesson:
        """Record that a prompt's time ran out, which it did ``at`` some moment."""
        facts: dict[str, JSONValue] = {
            "missed_ms": _milliseconds(lesson.state.offset_s(at)),
            "prompt_id": prompt.prompt_id,
        }
        return self._append(work, lesson, leaf_kinds.PROMPT_MISSED, facts, at=now)

    def paused(
        self, work: Recording, lesson: Lesson, paused: SessionState, *, now: datetime
    ) -> Lesson:
        """Record that too many answers failed, and until when nothing is asked."""
        if paused.paused_at is None or paused.paused_until is None:
            raise ValueError("a session paused for a while was wanted")
        facts: dict[str, JSONValue] = {
            "because": "failures",
            "from_ms": _milliseconds(paused.offset_s(paused.paused_at)),
            "until_ms": _milliseconds(paused.offset_s(paused.paused_until)),
        }
        return self._append(work, lesson, leaf_kinds.SESSION_PAUSED, facts, at=now)

    def away(self, work: Recording, lesson: Lesson, pause: Pause, *, now: datetime) -> Lesson:
        """Record that the engine was away, before anybody knows what that would excuse."""
        facts: dict[str, JSONValue] = {
            "because": "engine_away",
            "from_ms": _milliseconds(pause.start_s),
            "until_ms": _milliseconds(pause.end_s),
        }
        return self._append(work, lesson, leaf_kinds.SESSION_PAUSED, facts, at=now)

    def answer(
        self, lesson: Lesson, answered: SessionState, prompt_id: str, found: Found
    ) -> JudgedAnswer:
        """Seal the picture an answer stands on, or the bare finding where there is none.

        Needs no unit of work: sealing and flushing a picture must not keep others waiting.
        """
        prompt = _prompt(answered, prompt_id)
        check, at = prompt.attempts[-1].check, prompt.attempts[-1].at
        record = self._answer_record(lesson, prompt, found)
        scores: dict[str, JSONValue] = {name: getattr(check, name) for name in _SCORES}
        if found.picture is None:
            kind = leaf_kinds.answer_kind(prompt.kind, with_picture=False)
            entry = self._prepare(lesson, kind, {}, at=at, private=record, console=scores)
        else:
            entry = self.evidence.prepare_snapshot(
                facts={"path": lesson.path.value},
                record=record,
                console=scores,
                image=found.picture.canonical_bytes,
                pixels_sha256=found.picture.pixels_sha256,
                learner_id=answered.learner_id,
                session_id=answered.session_id,
                sequence=lesson.sequence,
                assurance=lesson.assurance.value,
                at=at,
                contract=self.contract,
            )
        return JudgedAnswer(
            before=lesson, state=answered, prompt_id=prompt_id, found=found, entry=entry
        )

    def _answer_record(self, lesson: Lesson, prompt: Prompt, found: Found) -> dict[str, JSONValue]:
        check, calibration = prompt.attempts[-1].check, found.calibration
        public = {key: value for key, value in check.to_record().items() if key not in _SCORES}
        record: dict[str, JSONValue] = {
            "anchor": lesson.anchor.value,
            "attack_contract": self.attack_contract,
            "answer": found.judged.judgement.value,
            "attempt": len(prompt.attempts),
            "calibration": None if calibration is None else calibration.label,
            "calibration_id": None if calibration is None else calibration.calibration_id,
            "check": public,
            "kind": prompt.kind.value,
            "prompt_id": prompt.prompt_id,
            "reason": found.judged.reason.value,
        }
        if lesson.grant_id is not None:
            record["grant_id"] = lesson.grant_id
        if found.by is not None:
            record["by"] = found.by
        if found.signed is not None:
            record["signed"] = {
                "device_id": found.signed.device_id,
                "signature": to_base64(found.signed.signature),
                "text": to_base64(found.signed.signed),
            }
        return record

    def closed(
        self,
        work: Recording,
        lesson: Lesson,
        account: SessionAccount,
        policy: Policy,
        *,
        withheld_s: Mapping[StretchState, float],
    ) -> Lesson:
        """Record the end of a lesson; its ``last_index`` is the closing leaf's."""
        score = account.score
        return self._append(
            work,
            lesson,
            leaf_kinds.SESSION_CLOSED,
            _closing_facts(lesson, policy),
            at=lesson.state.last_event_at,
            private={
                "credited_s": account.credit.credited_s,
                "decision": told(score.decision),
                "pending_s": account.credit.pending_s,
                # Seconds that playback took away, by reason; whole ones say enough.
                "withheld_s": {state.value: round(s) for state, s in withheld_s.items()},
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
            facts={**facts, "path": lesson.path.value},
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


def _closing_facts(lesson: Lesson, policy: Policy) -> dict[str, JSONValue]:
    """Count the prompts and give the range of leaves, so that an omission shows.

    The schedule's secret is opened, now that the session is over.
    """
    ended, checkpoint = lesson.state, lesson.checkpoint
    counts = ended.counts
    return {
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
        # How long prompts were open within the lesson, whose clock stood still meanwhile.
        "prompts_open_ms": _milliseconds(
            math.fsum(open_.end_s - open_.start_s for open_ in ended.answering)
        ),
        # null: it was given up before its commitment was published, so it had no schedule.
        "schedule_checkpoint_root": to_base64(checkpoint.root) if checkpoint else None,
        "schedule_checkpoint_size": checkpoint.size if checkpoint else None,
        # Of witnesses, in the order in which the seed takes them.
        "schedule_cosignatures": [
            to_base64(each) for each in (checkpoint.cosignatures if checkpoint else ())
        ],
        "schedule_secret": to_base64(lesson.secret),
        # When nothing could be asked, so that a prompt of the schedule may be missing.
        "silences_ms": [
            [_milliseconds(silence.start_s), _milliseconds(silence.end_s)]
            for silence in ended.silences
        ],
    }


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
