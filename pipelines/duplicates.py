"""One face under two ids: looked for at every enrolment, in the whole authority.

A hit is a question, never an answer: twins exist, and the larger the gallery, the more strangers
look alike. So nobody is refused for it; a person looks, and nobody else is told.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipelines.gallery import Gallery, Hit
from pipelines.lesson_store import FoundCase, LessonStore
from pipelines.sealed_template import TemplateSealer
from verifier.calibration import Calibration
from verifier.comparison import Template
from verifier.errors import ContractMismatchError, LedgerError, UnknownSubjectError
from verifier.identification import OperatingPoint, operating_point
from verifier.policy_groups import DuplicateRules
from verifier.review_case import CaseKind

SAME_TIME_S: Final = 0.1
"""What search, unit of work and cases take together, whoever was found; more only under load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateSearch:
    """Searches the gallery for the same face under another id.

    ``same_time_s`` is how long an enrolment takes from the search on, whoever was found.
    """

    gallery: Gallery
    store: LessonStore
    templates: TemplateSealer
    rules: DuplicateRules
    same_time_s: float = SAME_TIME_S

    def cases(
        self, learner_id: str, template: Template, calibration: Calibration, *, at: datetime
    ) -> tuple[FoundCase, ...]:
        """Return a case for each other id that shows this face, the most alike first.

        To be called inside `Gallery.alone`, and the face added there too, or two who enrol at
        once would miss each other.

        Raises
        ------
        ContractMismatchError
            If template or calibration were made for something else than the gallery.
        """
        point = self.point(calibration)
        hits = self.gallery.search(
            template,
            limit=self.rules.most_cases_per_enrolment,
            from_score=point.comparison_score,
            besides=learner_id,
        )
        return tuple(
            _case(learner_id, hit, point, calibration, at=at) for hit in hits if self._stands(hit)
        )

    def point(self, calibration: Calibration) -> OperatingPoint:
        """Return from where on a hit opens a case, among as many faces as there are now.

        Raises
        ------
        ContractMismatchError
            If the calibration was made for something else than the gallery.
        """
        calibration.require_fits(self.gallery.contract_id, self.gallery.metric)
        return search_point(calibration, self.rules, gallery_size=len(self.gallery))

    def is_blind(self, calibration: Calibration) -> bool:
        """Say whether nobody can be found: not even one picture twice would open a case."""
        return not self.point(calibration).is_reachable

    def _stands(self, hit: Hit) -> bool:
        """Whether the template behind a hit can still be opened; or else nobody is there.

        Its key may have been destroyed by another program, or a commit that nobody knew the
        outcome of have come to nothing.
        """
        try:
            with self.store.reading() as unit:
                stored = unit.enrolment(hit.learner_id)
            self.templates.open(
                hit.learner_id, stored.sealed_template, contract_id=self.gallery.contract_id
            )
        except (UnknownSubjectError, ContractMismatchError):
            self.gallery.remove(hit.learner_id)
            return False
        except LedgerError:  # damaged: all the more to look at
            return True
        return True


def search_point(
    calibration: Calibration, rules: DuplicateRules, *, gallery_size: int
) -> OperatingPoint:
    """Return from where on a hit opens a case, among so many faces."""
    return operating_point(
        calibration, gallery_size=gallery_size, false_hits=rules.false_cases_per_enrolment
    )


def blind_text(calibration: Calibration, gallery_size: int) -> str:
    """Say to the operator that nobody can be found under a calibration."""
    return (
        f"the duplicate search can find nobody: among {gallery_size} faces not even one picture"
        f" twice would open a case under calibration {calibration.calibration_id[:12]}"
        " (docs/duplicates.md)"
    )


def _case(
    learner_id: str, hit: Hit, point: OperatingPoint, calibration: Calibration, *, at: datetime
) -> FoundCase:
    return FoundCase(
        kind=CaseKind.DUPLICATE_FACE,
        learner_id=learner_id,
        other_learner_id=hit.learner_id,
        at=at,
        details={
            "calibration": calibration.label,
            "calibration_id": calibration.calibration_id,
            "comparison_score": round(hit.comparison_score, 6),
            "from_score": round(point.comparison_score, 6),
            "gallery_size": point.gallery_size,
            "false_hits_expected": point.false_hits,
            "false_hits_bound": point.false_hits_bound,
        },
    )


@contextmanager
def same_time(seconds: float) -> Iterator[None]:
    """Let a block take no less than ``seconds``: who waits for it learns nothing by waiting."""
    until = time.monotonic() + seconds
    try:
        yield
    finally:
        time.sleep(max(0.0, until - time.monotonic()))
