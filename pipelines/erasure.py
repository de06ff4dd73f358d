"""Forgetting a learner's face: in memory, in its key, in the database."""

from dataclasses import dataclass

from pipelines.gallery import Gallery
from pipelines.keystore import KeyStore, RecordClass
from pipelines.lesson_store import LessonStore


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceEraser:
    """Erases faces; what belongs to money and holds none is kept."""

    gallery: Gallery
    keystore: KeyStore
    store: LessonStore

    def erase_face(self, learner_id: str) -> bool:
        """Erase a learner's face; say whether there was anything of it.

        1. Their row in the gallery is overwritten: nobody finds them any more.
        2. The key of all their face evidence is destroyed: templates and pictures, copies and
           backups included, cannot be opened by anybody.
        3. The sealed template is removed from the database.

        What fails half-way is finished by asking again. An enrolment that is under way comes
        before or after it, not in between.

        Raises
        ------
        LedgerError
            If key or row could not be destroyed: either may still be there.
        """
        with self.gallery.alone():
            found = self.gallery.remove(learner_id)
            shredded = self.keystore.destroy(learner_id, RecordClass.FACE_EVIDENCE)
            with self.store.writing() as unit:
                removed = unit.remove_enrolment(learner_id)
        return found or shredded or removed
