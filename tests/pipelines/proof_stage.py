"""A lesson with every kind of prompt in it, witnessed, and insiders who sign another history."""

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pipelines.evidence_store import PreparedEntry
from pipelines.lesson import LessonResult
from pipelines.log_writer import LogWriter
from pipelines.private_files import load_or_create_signer
from pipelines.schedule_header import SealedRecords
from pipelines.schedule_proof import ScheduleProof, prove_schedule
from pipelines.session_log import read_session_log
from pipelines.witnessing import WitnessedCheckpoint
from tests.pipelines.lesson_stage import STARTS, LessonStage
from verifier.policy import Policy
from verifier.prompt import AddedBecause, PromptKind
from verifier.transparency.base64_text import to_base64
from verifier.transparency.canonical_json import canonical_json
from verifier.transparency.cosignature import CosignatureSigner
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash, root_of
from verifier.transparency.note import NoteSigner, SignedNote

Entries: TypeAlias = list[dict[str, Any]]
WITNESSES = tuple(
    CosignatureSigner(f"witness.{name}.example", bytes([place]) * 32)
    for place, name in enumerate(("finance", "hr"))
)

MEAN_GAP_S = 120
"""Longer than a miss takes (75 s), or missed prompts queue up and none is ever added between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLesson:
    """An ended session, and the archive it lies in."""

    folder: Path
    stage: LessonStage
    session_id: str
    result: LessonResult

    @property
    def policy(self) -> Policy:
        """The policy it was held under."""
        return self.stage.engine.policy

    def prove(
        self,
        archive: Path | None = None,
        *,
        receipt: bytes | None = None,
        witnesses: Sequence[CosignatureSigner] = WITNESSES,
    ) -> ScheduleProof:
        """Prove its schedule, with keys or with a receipt in their place."""
        folder = archive or self.folder / "archive"
        return prove_schedule(
            read_session_log(folder, self.session_id, self.stage.archive.verifier),
            SealedRecords(
                folder=folder,
                keystore=None if receipt else self.stage.keystore,
                receipt=receipt,
            ),
            witnesses=[witness.verifier for witness in witnesses],
            policies=[self.policy],
        )

    def entries(self) -> Entries:
        """Return all published entries, read."""
        reader, size = self.stage.archive.reader, self.stage.archive.checkpoint.size
        return [json.loads(reader.entry(index, size)) for index in range(size)]

    def of_kind(self, entries: Entries, kind: str) -> Entries:
        """Return the session's entries of one kind."""
        return [e for e in entries if (e["session_id"], e["kind"]) == (self.session_id, kind)]

    def relogged(self, target: Path, change: Callable[[Entries], None]) -> Path:
        """Sign another history with the log's own key, as an insider can; return its folder."""
        entries = copy.deepcopy(self.entries())
        change(entries)
        shutil.copytree(self.folder / "archive" / "objects", target / "objects")
        with LogWriter.open(target / "log", self.signer) as log:
            log.append_all([canonical_json(entry) for entry in entries])
            log.publish()
        cosign_head(target, at=self.stage.clock.now())
        return target

    @property
    def signer(self) -> NoteSigner:
        """The log's key."""
        return load_or_create_signer(self.folder / "keys" / "signing.key", "test.example/log")


def with_root_made_good(entries: Entries, closing: dict[str, Any]) -> None:
    """Let a closing entry name the root that the changed entries lead to."""
    size = closing["facts"]["schedule_checkpoint_size"]
    hashes = [leaf_hash(canonical_json(entry)) for entry in entries[:size]]
    closing["facts"]["schedule_checkpoint_root"] = to_base64(root_of(hashes))


def numbered_anew(entries: Entries, session_id: str) -> None:
    """Give the leaves of a session their places in one row again."""
    places = count()
    own = [entry for entry in entries if entry["session_id"] == session_id]
    for entry in own:
        entry["sequence"] = next(places)
    facts = own[-1]["facts"]
    facts["first_index"] = entries.index(own[0])
    facts["last_index"] = entries.index(own[-2])


def prepared_anew(
    lesson: HeldLesson, opening: dict[str, Any], header: dict[str, Any]
) -> PreparedEntry:
    """Seal another header under an opening entry, in place; its object is to be discarded."""
    leaf = Leaf.parse(canonical_json(opening))
    prepared = lesson.stage.archive.evidence.prepare_record(
        leaf.kind,
        at=leaf.time,
        facts=leaf.facts,
        private={"header": header},
        learner_id="learner-1",
        session_id=leaf.session_id,
        sequence=leaf.sequence,
        assurance=leaf.assurance,
    )
    opening.update(json.loads(prepared.entry))
    return prepared


def cosign(stage: LessonStage, patch: pytest.MonkeyPatch) -> None:
    """Let both witnesses cosign the checkpoints that schedules follow from."""
    plain = stage.archive.first_checkpoint_with

    def cosigned(index: int) -> WitnessedCheckpoint:
        head = plain(index).checkpoint
        at = int(stage.clock.now().timestamp())
        lines = [witness.cosign(head.text(), at).signature for witness in WITNESSES]
        return WitnessedCheckpoint(checkpoint=head, cosignatures=tuple(sorted(lines)))

    patch.setattr(stage.archive, "first_checkpoint_with", cosigned)
    names = tuple(map(asked_as, WITNESSES))
    patch.setattr(type(stage.archive), "witnesses", property(lambda _: names))


def asked_as(witness: CosignatureSigner) -> str:
    """Return how an opening leaf names a witness."""
    return f"{witness.verifier.name}+{witness.verifier.key_id.hex()}"


def cosign_head(archive: Path, *, at: datetime) -> None:
    """Let both witnesses cosign the last checkpoint, as they do of a log that is shown to them."""
    note = SignedNote.parse((archive / "log" / "checkpoint").read_bytes())
    lines = tuple(witness.cosign(note.text, int(at.timestamp())) for witness in WITNESSES)
    signed = replace(note, signatures=(*note.signatures, *lines))
    (archive / "log" / "witnessed").write_bytes(signed.serialize())


def hold_eventful_lesson(folder: Path) -> HeldLesson:
    """Hold a lesson in which prompts are passed, missed, added for both reasons, and excused."""
    stage = LessonStage.build(folder, mean_gap_s=MEAN_GAP_S)
    with pytest.MonkeyPatch.context() as patch:
        cosign(stage, patch)
        session_id = stage.open(minutes=300)
    stage.clock.advance(35)  # so that something may have been due before the opening passed
    stage.attend(session_id, minutes=6)
    _stay_away_until_one_is_added(stage, session_id)
    while prompt := stage.engine.poll(session_id):
        stage.answer(session_id, prompt)
    stage.engine.add_prompt(
        session_id, kind=PromptKind.SILENT_CAPTURE, by="officer-1", also=lambda *_: None
    )
    stage.attend(session_id, minutes=1)
    left_at = stage.clock.now()
    stage.clock.advance(900)
    stage.engine.resume_after(left_at)
    stage.attend(session_id, minutes=3)
    result = stage.end(session_id)
    stage.archive.publish()
    cosign_head(folder / "archive", at=stage.clock.now())
    return HeldLesson(folder=folder, stage=stage, session_id=session_id, result=result)


def _stay_away_until_one_is_added(stage: LessonStage, session_id: str) -> None:
    ends_at = STARTS + timedelta(hours=4)
    while stage.clock.now() < ends_at:
        stage.engine.poll(session_id)
        with stage.store.reading() as unit:
            prompts = unit.lesson(session_id).state.prompts
        if any(prompt.added_because is AddedBecause.POSTERIOR for prompt in prompts):
            return
        stage.clock.advance(5)
    raise AssertionError("four hours of absence brought no added prompt about")
