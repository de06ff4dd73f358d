"""What of a lesson goes into archive and log, and in which words.

Public facts name no learner and tell no score. What is private is sealed; of that, what only
reviewers may see (`console`) stays encrypted even in a receipt.
"""

from dataclasses import dataclass
from datetime import datetime

from pipelines.archive import Archive, ArchivedSnapshot
from pipelines.check import CheckedFrames
from pipelines.lesson import Assurance, Lesson
from verifier.check import Check
from verifier.claim import SessionAccount
from verifier.enrolment import Anchor
from verifier.prompt import Prompt
from verifier.schedule import ScheduleHeader
from verifier.session_score import Decision
from verifier.session_state import SessionState
from verifier.transparency.base64_text import to_base64
from verifier.transparency.canonical_json import JSONValue

_SCORES = ("comparison_log10_lr", "pad_log10_lr")


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRecords:
    """Writes lessons into an archive; ``contract`` and ``calibration`` name what judged them."""

    archive: Archive
    contract: str
    calibration: str

    def opened(
        self,
        header: ScheduleHeader,
        committed: bytes,
        *,
        policy: str,
        number: int,
        anchor: Anchor,
        assurance: Assurance,
        planned_minutes: float,
    ) -> ArchivedSnapshot:
        """Record that a session opens, with the commitment that its schedule will follow from."""
        return self.archive.append_record(
            "session_opened",
            at=header.opened_at,
            facts={
                "anchor": anchor.value,
                "class_id": header.class_id,
                "policy": policy,
                "schedule_commitment": to_base64(committed),
                # Gap-free for a learner and class, so that a discarded session shows.
                "session_number": number,
            },
            private={"header": header.to_record(), "planned_minutes": planned_minutes},
            learner_id=header.learner_id,
            session_id=header.session_id,
            sequence=0,
            assurance=assurance.value,
        )

    def issued(self, lesson: Lesson, prompt: Prompt, *, now: datetime) -> None:
        """Record a prompt before anybody is told of it."""
        facts: dict[str, JSONValue] = {
            "issued_ms": _milliseconds(lesson.state.offset_s(prompt.issued_at)),
            "kind": prompt.kind.value,
            "origin": prompt.origin.value,
            "planned_index": prompt.planned_index,
            "prompt_id": prompt.prompt_id,
        }
        self._append(lesson, "prompt_issued", facts, now=now)

    def missed(self, lesson: Lesson, prompt: Prompt, *, now: datetime) -> None:
        """Record that a prompt's time ran out."""
        self._append(lesson, "prompt_missed", {"prompt_id": prompt.prompt_id}, now=now)

    def answered(
        self, lesson: Lesson, answered: SessionState, prompt_id: str, checked: CheckedFrames
    ) -> tuple[ArchivedSnapshot, Check]:
        """Keep the picture an answer stands on, or the bare finding where none was readable."""
        prompt = next(p for p in answered.prompts if p.prompt_id == prompt_id)
        check = prompt.attempts[-1].check
        public = {key: value for key, value in check.to_record().items() if key not in _SCORES}
        record: dict[str, JSONValue] = {
            "anchor": lesson.anchor.value,
            "answer": checked.judged.judgement.value,
            "attempt": len(prompt.attempts),
            "calibration": self.calibration,
            "check": public,
            "prompt_id": prompt_id,
            "reason": checked.judged.reason.value,
        }
        scores: dict[str, JSONValue] = {name: getattr(check, name) for name in _SCORES}
        now = answered.last_event_at
        if checked.picture is None:
            archived = self._append(
                lesson, "answer_unreadable", {}, now=now, private=record, console=scores
            )
        else:
            archived = self.archive.append_snapshot(
                record=record,
                console=scores,
                image=checked.picture.canonical_bytes,
                pixels_sha256=checked.picture.pixels_sha256,
                learner_id=lesson.state.learner_id,
                session_id=lesson.state.session_id,
                sequence=lesson.sequence,
                assurance=lesson.assurance.value,
                at=now,
                contract=self.contract,
            )
            _count(lesson, archived)
        self.archive.publish()
        return archived, check

    def closed(self, lesson: Lesson, ended: SessionState, account: SessionAccount) -> int:
        """Record the end; return the closing leaf's index.

        The facts count prompts and give the range of leaves, so that an omission shows, and open
        the schedule's secret, now that the session is over.
        """
        counts, score = ended.counts, account.score
        facts: dict[str, JSONValue] = {
            "first_index": lesson.opened_index,
            "last_index": lesson.last_index,
            "lesson_end_ms": _milliseconds(ended.offset_s(ended.lesson_end or ended.last_event_at)),
            "phase": ended.phase.value,
            "prompts_added": counts.added,
            "prompts_answered": counts.answered,
            "prompts_issued": counts.issued,
            "prompts_missed": counts.missed,
            "schedule_checkpoint_root": to_base64(lesson.promise.checkpoint_root),
            "schedule_checkpoint_size": lesson.checkpoint_size,
            "schedule_secret": to_base64(lesson.promise.secret),
            # When nothing could be asked, so that a prompt of the schedule may be missing.
            "silences_ms": [
                [_milliseconds(silence.start_s), _milliseconds(silence.end_s)]
                for silence in ended.silences
            ],
        }
        archived = self._append(
            lesson,
            "session_closed",
            facts,
            now=ended.last_event_at,
            private={
                "credited_s": account.credit.credited_s,
                "decision": _told(score.decision),
                "pending_s": account.credit.pending_s,
            },
            console={
                "authenticity": score.authenticity,
                "decision": score.decision.value,
                "verified_lower95_minutes": score.verified_lower95_minutes,
                "verified_mean_minutes": score.verified_mean_minutes,
            },
        )
        self.archive.publish()
        return archived.index

    def _append(
        self,
        lesson: Lesson,
        kind: str,
        facts: dict[str, JSONValue],
        *,
        now: datetime,
        private: dict[str, JSONValue] | None = None,
        console: dict[str, JSONValue] | None = None,
    ) -> ArchivedSnapshot:
        archived = self.archive.append_record(
            kind,
            at=now,
            facts=facts,
            private=private,
            console=console,
            learner_id=lesson.state.learner_id,
            session_id=lesson.state.session_id,
            sequence=lesson.sequence,
            assurance=lesson.assurance.value,
        )
        _count(lesson, archived)
        return archived


def _count(lesson: Lesson, archived: ArchivedSnapshot) -> None:
    lesson.sequence += 1
    lesson.last_index = archived.index


def _told(decision: Decision) -> str:
    """Return what platform and learner may hear: whether a person proposes to reject is not it."""
    return "accept" if decision is Decision.ACCEPT else "under_review"


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
