"""Forgetting a learner's face: in memory, in its key, in the database."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.gallery import Gallery
from pipelines.keystore import KeyStore, RecordClass
from pipelines.leaf_kinds import FACE_ERASED
from pipelines.lesson_store import LessonStore
from pipelines.recording import Recording, recording
from verifier.protocols import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceEraser:
    """Erases faces; what belongs to money and holds none is kept.

    ``end_sessions`` ends what a learner has in progress, in a unit of work with them locked.
    """

    gallery: Gallery
    keystore: KeyStore
    store: LessonStore
    evidence: EvidenceStore
    clock: Clock
    end_sessions: Callable[[Recording, str], None]

    def erase_face(self, learner_id: str, *, erased_by: str) -> bool:
        """Erase a learner's face; say whether there was anything of it.

        1. Their row in the gallery is overwritten: nobody finds them any more.
        2. A session in progress ends: there is nothing left to compare its answers with. What was
           earned in it stays earned.
        3. The sealed template is removed from the database, and the log says so.
        4. The key of all their face evidence is destroyed: templates and pictures, in copies and
           backups too, are opened by nobody who has not got a copy of the key folder.

        What fails half-way is finished by asking again: if the key goes and the unit of work does
        not come about, the template that is left opens no more. An enrolment that is under way
        comes before or after it, not in between.

        Raises
        ------
        UnknownSubjectError
            If the learner is not registered.
        LedgerError
            If key or row could not be destroyed: either may still be there.
        """
        with self.gallery.alone():
            found = self.gallery.remove(learner_id)
            with recording(self.store, self.evidence) as work:
                work.unit.lock_learner(learner_id)
                self.end_sessions(work, learner_id)
                removed = work.unit.remove_enrolment(learner_id)
                shredded = self.keystore.destroy(learner_id, RecordClass.FACE_EVIDENCE)
                if removed or shredded:
                    work.append(self._entry(learner_id, erased_by))
        return found or shredded or removed

    def _entry(self, learner_id: str, erased_by: str) -> PreparedEntry:
        """Prepare the leaf that a face was erased; at whose hands stays sealed, with no face."""
        return self.evidence.prepare_record(
            FACE_ERASED,
            at=self.clock.now(),
            facts={},
            private={"erased_by": erased_by},
            learner_id=learner_id,
            purpose="erasure",
            record_class=RecordClass.MONEY_FACTS,
        )
