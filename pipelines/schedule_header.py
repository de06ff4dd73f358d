"""A schedule's header, out of the record that the log keeps sealed.

The archive's keys open it. Whoever has none gets a receipt of the opening leaf, which discloses
the same record and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.keystore import KeyStore, RecordClass
from pipelines.sealing import learner_reference
from pipelines.session_log import LoggedLeaf
from pipelines.stored_evidence import read_evidence
from verifier.errors import InputError, InvalidRecordError, LedgerError, UnknownSubjectError
from verifier.schedule import ScheduleHeader
from verifier.transparency.canonical_json import JSONValue
from verifier.transparency.note import NoteVerifier
from verifier.transparency.receipt import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecords:
    """What may open the sealed records of a session: keys, or one receipt, or both.

    ``folder`` is the archive's; ``receipt`` has to be of the opening leaf.
    """

    folder: Path
    keystore: KeyStore | None = None
    receipt: bytes | None = None

    def header(self, opening: LoggedLeaf, verifier: NoteVerifier) -> ScheduleHeader:
        """Return the header that the opening leaf committed to.

        Raises
        ------
        InputError
            If there are neither keys nor a receipt.
        UnknownSubjectError
            If the key was destroyed.
        LedgerError, InvalidRecordError
            If record or receipt do not belong to the leaf, or hold no header.
        """
        if self.receipt is not None:
            record = _disclosed(self.receipt, opening, verifier)
        elif self.keystore is not None:
            record = read_evidence(self.folder, opening.leaf, self.keystore).record
        else:
            raise InputError(
                "the header is sealed: keys, or a receipt of the opening entry, were wanted"
            )
        header = record.get("header")
        if not isinstance(header, Mapping):
            raise InvalidRecordError("the opening record holds no header")
        return ScheduleHeader.from_record(header)

    def of_answer(self, logged: LoggedLeaf) -> Mapping[str, JSONValue]:
        """Return the record of an answer; empty where nobody can open it."""
        if self.keystore is None or logged.leaf.commitment is None:
            return {}
        try:
            return read_evidence(self.folder, logged.leaf, self.keystore).record
        except UnknownSubjectError:  # forgotten: that somebody answered stays, what it showed not
            return {}

    def header_problems(self, header: ScheduleHeader, opening: LoggedLeaf) -> list[str]:
        """Return where a header speaks of another session than its leaf."""
        leaf = opening.leaf
        told = {
            "session": (header.session_id, leaf.session_id),
            "class": (header.class_id, opening.fact("class_id")),
            "opened_at": (header.opened_at, leaf.time),
            "learner": (self._reference(header, leaf.learner), leaf.learner),
        }
        return [
            f"the header's {name} is not the opening leaf's"
            for name, (in_header, in_leaf) in told.items()
            if in_header != in_leaf
        ]

    def _reference(self, header: ScheduleHeader, told: str | None) -> str | None:
        """Return how the log names the header's learner; without keys nobody can say."""
        if self.keystore is None:
            return told
        try:
            _, key = self.keystore.find(header.learner_id, RecordClass.MONEY_FACTS)
        except UnknownSubjectError:  # the leaf's learner has a key, or the header were not open
            return None
        return learner_reference(key, header.learner_id)


def _disclosed(
    receipt: bytes, opening: LoggedLeaf, verifier: NoteVerifier
) -> Mapping[str, JSONValue]:
    # 1. signature, path and commitment; 2. that it speaks of this leaf and of no other.
    read = Receipt.parse(receipt)
    read.verify(verifier)
    if (read.index, read.entry) != (opening.index, opening.entry):
        raise LedgerError(f"the receipt is of entry {read.index}; entry {opening.index} was wanted")
    if read.opening is None:
        raise LedgerError("the receipt discloses nothing: it was made without keys")
    return read.opening.record
