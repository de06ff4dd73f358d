"""A unit of work together with the sealed evidence that belongs to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.lesson_store import LessonStore, LessonUnit
from verifier.errors import UncertainOutcomeError, VerifierError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A unit of work that is under way, and the log entries in it."""

    unit: LessonUnit
    evidence: EvidenceStore
    entries: list[PreparedEntry] = field(default_factory=list, init=False, repr=False)

    def append(self, prepared: PreparedEntry) -> int:
        """Give a prepared entry its place in the log; its object shares the unit's fate."""
        self.entries.append(prepared)
        return self.unit.append(prepared)


@contextmanager
def recording(
    store: LessonStore, evidence: EvidenceStore, *prepared: PreparedEntry
) -> Iterator[Recording]:
    """Open a unit of work whose sealed objects go if it does not come about.

    Parameters
    ----------
    prepared
        Entries that were prepared for it beforehand; its block appends them, or raises.
    """
    work: Recording | None = None
    ended = False
    try:
        with store.writing() as unit:
            work = Recording(unit=unit, evidence=evidence)
            yield work
            ended = True
    except Exception as error:
        # Where nobody knows, the objects stay; the archive sorts them out when next opened.
        known = isinstance(error, VerifierError) and not isinstance(error, UncertainOutcomeError)
        if known or not ended:
            for entry in {*prepared, *(work.entries if work else ())}:
                evidence.discard(entry)
        raise
    for entry in work.entries:
        evidence.settle(entry)
