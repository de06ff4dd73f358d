"""Sealed evidence on a disk, each object on the disk before anything may speak of it.

::

    objects/ab/ab…    sealed evidence, named by the SHA-256 of the whole file
    incoming/         second names of objects whose leaf is not known to be kept yet

Order: object flushed, its name flushed, then the leaf, in whatever unit of work it belongs to.
A crash in between leaves an object that nothing names; its second name under ``incoming`` lets
`sweep` remove it.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Lock

from pipelines.durable_files import (
    as_ledger_error,
    flush_folder,
    link_new,
    make_folder,
    write_new,
)
from pipelines.keystore import KeyStore, RecordClass
from pipelines.leaf_kinds import SNAPSHOT
from pipelines.sealed_object import seal_object
from pipelines.sealing import SealContext, learner_reference
from pipelines.stored_evidence import hide, object_path
from verifier.errors import InputError, LedgerError
from verifier.transparency.canonical_json import JSONValue
from verifier.transparency.commitment import commit, fresh_blinding
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash

DEFAULT_CONTRACT = "none"  # a record without a picture was judged under no model contract


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEntry:
    """A leaf ready for the log; what it commits to is on the disk already."""

    leaf: Leaf = field(compare=False)
    entry: bytes  # the leaf, serialised

    @property
    def leaf_hash(self) -> bytes:
        """32 bytes; unguessable where a commitment is in the leaf."""
        return leaf_hash(self.entry)

    @property
    def evidence_id(self) -> str:
        """The leaf hash in hex."""
        return self.leaf_hash.hex()


class EvidenceStore:
    """Seals what is kept under the learner's key; knows nothing of the log's order."""

    def __init__(self, folder: Path, *, authority: str, keystore: KeyStore) -> None:
        self.folder, self.keystore = folder, keystore
        self._authority = authority
        self._lock, self._lasting = Lock(), set[Path]()
        with as_ledger_error("the archive's folders could not be made"):
            make_folder(folder / "objects")
            make_folder(folder / "incoming")

    def reference_of(self, learner_id: str, record_class: RecordClass) -> str:
        """Return the name under which leaves of this class know a learner; makes a key at need."""
        _, key = self.keystore.key_for(learner_id, record_class)
        return learner_reference(key, learner_id)

    def prepare_snapshot(
        self,
        *,
        record: Mapping[str, JSONValue],
        image: bytes,
        pixels_sha256: bytes,
        learner_id: str,
        session_id: str,
        sequence: int,
        assurance: str,
        at: datetime,
        contract: str,
        facts: Mapping[str, JSONValue] | None = None,
        console: Mapping[str, JSONValue] | None = None,
        purpose: str = "attendance",
        record_class: RecordClass = RecordClass.FACE_EVIDENCE,
    ) -> PreparedEntry:
        """Bring one picture and what was found in it to the disk; return the leaf to append.

        Parameters
        ----------
        record
            Private: sealed with the picture, disclosed only by a receipt.
        image
            The encoded picture whose decoding gave the canonical pixels.
        pixels_sha256
            Digest of the canonical pixels, 32 bytes, as the image decoder gives it.
        sequence
            0-based place in the session.
        assurance
            ``frame`` or ``platform``.
        at
            Server time, timezone-aware.
        facts
            Public for ever, as in ``prepare_record``.
        console
            Numbers that no receipt may disclose: encrypted inside the record, for reviewers.

        Raises
        ------
        InvalidRecordError
            If a field breaks its format; nothing was written.
        UnknownSubjectError
            If the learner has no key: never enrolled, or forgotten, and then a picture that was
            on its way must not bring a new one about.
        LedgerError
            If the disk refused; nothing is kept.
        """
        leaf = Leaf(
            kind=SNAPSHOT,
            time=at,
            session_id=session_id,
            sequence=sequence,
            assurance=assurance,
            facts=facts or {},
        )
        return self._prepare(
            leaf,
            private=record,
            console=console,
            image=image,
            pixels_sha256=pixels_sha256.hex(),
            learner_id=learner_id,
            key_of=self.keystore.find,
            record_class=record_class,
            purpose=purpose,
            contract=contract,
        )

    def prepare_record(
        self,
        kind: str,
        *,
        at: datetime,
        facts: Mapping[str, JSONValue],
        private: Mapping[str, JSONValue] | None = None,
        console: Mapping[str, JSONValue] | None = None,
        learner_id: str | None = None,
        session_id: str | None = None,
        sequence: int | None = None,
        assurance: str | None = None,
        purpose: str = "attendance",
        contract: str = DEFAULT_CONTRACT,
        record_class: RecordClass = RecordClass.MONEY_FACTS,
    ) -> PreparedEntry:
        """Prepare a record without a picture: session opened or closed, enrolment.

        Parameters
        ----------
        facts
            Public for ever: no name, no id, no score. Of a closing session: prompts issued,
            answered, missed, added, and the first and last index.
        private
            Sealed, and committed to; needs ``learner_id``, whose key seals it. None: the leaf
            has neither commitment nor object.
        console
            As in ``prepare_snapshot``; goes with ``private`` only.
        learner_id
            The leaf then carries the learner's keyed reference, never the id.

        Raises
        ------
        InputError
            If ``private`` is given without ``learner_id``, or a field breaks its format.
        LedgerError
            If the disk refused; nothing is kept.
        """
        leaf = Leaf(
            kind=kind,
            time=at,
            session_id=session_id,
            sequence=sequence,
            assurance=assurance,
            facts=facts,
        )
        return self._prepare(
            leaf,
            private=private,
            console=console,
            image=None,
            pixels_sha256=None,
            learner_id=learner_id,
            key_of=self.keystore.key_for,
            record_class=record_class,
            purpose=purpose,
            contract=contract,
        )

    def settle(self, prepared: PreparedEntry) -> None:
        """Hear that the leaf is kept; a second name that stays goes with the next `sweep`."""
        if prepared.leaf.object_sha256 is not None:
            with suppress(OSError):
                self._draft(prepared.leaf.object_sha256).unlink(missing_ok=True)

    def discard(self, prepared: PreparedEntry) -> None:
        """Hear that the leaf is not kept, for certain; its object goes."""
        if prepared.leaf.object_sha256 is not None:
            self._remove(prepared.leaf.object_sha256)

    @as_ledger_error("objects that a crash left could not be looked through")
    def sweep(self, named: Callable[[], set[str]]) -> None:
        """Finish what a crash interrupted between an object and its leaf.

        ``named`` returns the digest of every object that a kept leaf names; it is asked only if
        there is something to finish. Nobody may be preparing anything meanwhile.
        """
        drafts = {path.name: path for path in (self.folder / "incoming").iterdir()}
        if not drafts:
            return
        kept = named()
        for digest, draft in drafts.items():
            if digest not in kept:
                target = object_path(self.folder, digest)
                target.unlink(missing_ok=True)
                if target.parent.is_dir():
                    flush_folder(target.parent)
            draft.unlink()

    def _prepare(
        self,
        leaf: Leaf,
        *,
        private: Mapping[str, JSONValue] | None,
        console: Mapping[str, JSONValue] | None,
        image: bytes | None,
        pixels_sha256: str | None,
        learner_id: str | None,
        key_of: Callable[[str, RecordClass], tuple[str, bytes]],
        record_class: RecordClass,
        purpose: str,
        contract: str,
    ) -> PreparedEntry:
        if learner_id is None:
            if private is not None:
                raise InputError("a private record needs the learner whose key seals it")
            return _prepared(leaf)
        key_id, key = key_of(learner_id, record_class)
        leaf = replace(leaf, learner=learner_reference(key, learner_id))
        if private is None:
            return _prepared(leaf)
        context = SealContext(
            authority=self._authority,
            learner=leaf.learner or "",
            record_class=record_class.value,
            purpose=purpose,
            contract=contract,
            key_id=key_id,
        )
        sealed, opening = seal_object(
            key=key,
            context=context,
            record=private if console is None else hide(private, console, key, context),
            blinding=fresh_blinding(),
            image=image,
            pixels_sha256=pixels_sha256,
        )
        data = sealed.serialize()
        digest = hashlib.sha256(data).hexdigest()
        # Serialised first: a leaf that no log would take must not leave an object behind.
        prepared = _prepared(replace(leaf, commitment=commit(opening), object_sha256=digest))
        self._store(digest, data)
        return prepared

    def _store(self, digest: str, data: bytes) -> None:
        """Put the object in place durably, under a second name until it is settled."""
        draft, target = self._draft(digest), object_path(self.folder, digest)
        try:
            write_new(draft, data)
            self._make_lasting(target.parent)
            link_new(draft, target)
        except OSError as error:
            # Not acknowledged, so it goes; what cannot be removed now goes with the next sweep.
            self._remove(digest)
            raise LedgerError("the object could not be brought to the disk") from error

    def _make_lasting(self, folder: Path) -> None:
        # One that is there may still go with the power: another thread is just making it, or a
        # process ended before its name was flushed. So each process flushes each name once.
        with self._lock:
            if folder not in self._lasting:
                folder.mkdir(exist_ok=True)
                flush_folder(folder.parent)
                self._lasting.add(folder)

    def _remove(self, digest: str) -> None:
        target = object_path(self.folder, digest)
        with suppress(OSError):
            with suppress(FileNotFoundError):
                target.unlink()
                flush_folder(target.parent)
            # The draft goes last: by its name the next sweep finds what is left.
            self._draft(digest).unlink(missing_ok=True)

    def _draft(self, digest: str) -> Path:
        return self.folder / "incoming" / digest


def _prepared(leaf: Leaf) -> PreparedEntry:
    return PreparedEntry(leaf=leaf, entry=leaf.serialize())
