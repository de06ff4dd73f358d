"""影像留存: encrypted evidence on a disk, and a log that proves what was kept and when.

::

    archive/
      log/              see ``log_reader``
      objects/ab/ab…    sealed evidence, named by the SHA-256 of the whole file
      incoming/         objects whose leaf is not written yet

Keys lie elsewhere (``keystore``): whoever copies the archive has no picture, and destroying a
key forgets a face without changing a byte here.

Order of one append: object flushed, its name flushed, then the leaf. A crash in between leaves
an object that nothing names; its second name under ``incoming`` lets the next opening remove it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType

from pipelines.durable_files import (
    as_ledger_error,
    flush_folder,
    link_new,
    make_folder,
    write_new,
)
from pipelines.keystore import KeyStore, RecordClass
from pipelines.log_reader import LogReader
from pipelines.log_writer import LogWriter
from pipelines.private_files import load_or_create_signer
from pipelines.sealed_object import SealedObject, seal_object
from pipelines.sealing import SealContext, learner_reference
from pipelines.stored_evidence import (
    StoredEvidence,
    hide,
    object_path,
    open_evidence,
    read_object,
    write_receipt,
)
from verifier.errors import InputError, LedgerError
from verifier.transparency.canonical_json import JSONValue
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.commitment import Opening, commit, fresh_blinding
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash
from verifier.transparency.note import NoteSigner, NoteVerifier
from verifier.transparency.tile_paths import bundles_of, decode_bundle

DEFAULT_CONTRACT = "none"  # a record without a picture was judged under no model contract


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSnapshot:
    """A snapshot or record that was kept; *pending* until a checkpoint holds it."""

    index: int  # place in the log, 0-based
    evidence_id: str  # hex leaf hash: unguessable where a commitment is in the leaf
    leaf: Leaf


class Archive:
    """An archive open for writing; one at a time for each folder."""

    def __init__(self, folder: Path, *, authority: str, keystore: KeyStore, log: LogWriter) -> None:
        """Use ``open`` or ``open_with_secrets``."""
        self.folder = folder
        self._authority, self._keystore, self._log = authority, keystore, log

    @classmethod
    @as_ledger_error("the archive could not be opened")
    def open(
        cls, folder: Path, *, authority: str, keystore: KeyStore, signer: NoteSigner
    ) -> "Archive":
        """Open the archive in ``folder``, creating it where there is none.

        Parameters
        ----------
        authority
            The unit of separation, a city's HR bureau; ciphertexts are bound to it.
        signer
            Its name is the log's origin.

        Raises
        ------
        InputError
            If the keys would lie inside the archive.
        LedgerError
            If the archive is held by another writer, or does not match its checkpoint.
        WrongKeyError
            If the log was signed by another key.
        """
        if keystore.folder.resolve().is_relative_to(folder.resolve()):
            raise InputError("the key store lies inside the archive: keep them apart")
        make_folder(folder / "objects")
        make_folder(folder / "incoming")
        log = LogWriter.open(folder / "log", signer)
        try:
            _remove_unnamed_objects(folder, log)
        except BaseException:
            log.close()
            raise
        return cls(folder, authority=authority, keystore=keystore, log=log)

    @classmethod
    def open_with_secrets(
        cls, folder: Path, secrets_folder: Path, *, authority: str, origin: str
    ) -> "Archive":
        """Open with the key store and ``signing.key`` of one folder, making them if absent."""
        return cls.open(
            folder,
            authority=authority,
            keystore=KeyStore.open(secrets_folder),
            signer=load_or_create_signer(secrets_folder / "signing.key", origin),
        )

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the archive; what is pending stays pending."""
        self._log.close()

    @property
    def verifier(self) -> NoteVerifier:
        """The log's public key; its ``vkey`` is the text to give to whoever verifies."""
        return self._log.verifier

    @property
    def checkpoint(self) -> Checkpoint:
        """The last signed checkpoint; an index below its size is published."""
        return self._log.checkpoint

    @property
    def reader(self) -> LogReader:
        """The log, for reading."""
        return self._log.reader

    def append_snapshot(
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
        console: Mapping[str, JSONValue] | None = None,
        purpose: str = "attendance",
        record_class: RecordClass = RecordClass.FACE_EVIDENCE,
    ) -> ArchivedSnapshot:
        """Keep one picture and what was found in it; returns once both are on the disk.

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
        console
            Numbers that no receipt may disclose: encrypted inside the record, for reviewers.

        Raises
        ------
        InvalidRecordError
            If a field breaks its format; nothing was written.
        LedgerError
            If the disk refused; nothing was acknowledged, and the archive has to be opened anew.
        """
        return self._append(
            leaf=Leaf(
                kind="snapshot",
                time=at,
                session_id=session_id,
                sequence=sequence,
                assurance=assurance,
            ),
            private=record,
            console=console,
            image=image,
            pixels_sha256=pixels_sha256.hex(),
            learner_id=learner_id,
            record_class=record_class,
            purpose=purpose,
            contract=contract,
        )

    def append_record(
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
    ) -> ArchivedSnapshot:
        """Keep a record without a picture: session opened or closed, enrolment.

        Parameters
        ----------
        facts
            Public for ever: no name, no id, no score. Of a closing session: prompts issued,
            answered, missed, added, and the first and last index.
        private
            Sealed, and committed to; needs ``learner_id``, whose key seals it. None: the leaf
            has neither commitment nor object.
        console
            As in ``append_snapshot``; goes with ``private`` only.
        learner_id
            The leaf then carries the learner's keyed reference, never the id.

        Raises
        ------
        InputError
            If ``private`` is given without ``learner_id``, or a field breaks its format.
        LedgerError
            If the disk refused; nothing was acknowledged.
        """
        leaf = Leaf(
            kind=kind,
            time=at,
            session_id=session_id,
            sequence=sequence,
            assurance=assurance,
            facts=facts,
        )
        return self._append(
            leaf=leaf,
            private=private,
            console=console,
            image=None,
            pixels_sha256=None,
            learner_id=learner_id,
            record_class=record_class,
            purpose=purpose,
            contract=contract,
        )

    def leaves(self) -> Iterator[Leaf]:
        """Return every leaf from the first on, the pending ones too."""
        return _leaves_of(self._log)

    def reference_of(self, learner_id: str, record_class: RecordClass) -> str:
        """Return the name under which leaves of this class know a learner; makes a key at need."""
        _, key = self._keystore.key_for(learner_id, record_class)
        return learner_reference(key, learner_id)

    def publish(self) -> Checkpoint:
        """Put everything pending under a new signed checkpoint; errors as ``LogWriter``."""
        return self._log.publish()

    def read_snapshot(self, index: int) -> StoredEvidence:
        """Return a published record with its picture, checked against the log.

        Raises
        ------
        UnknownSubjectError
            If the learner's key was destroyed: the content can no longer be shown.
        LedgerError
            If the entry is not published, or object, key or commitment do not agree.
        """
        leaf = Leaf.parse(self._entry(index))
        if leaf.object_sha256 is None:
            return StoredEvidence(leaf=leaf, record={}, image=None, pixels_sha256=None)
        return open_evidence(leaf, read_object(self.folder, leaf.object_sha256), self._keystore)

    def receipt(self, index: int) -> bytes:
        """Return an offline proof that entry ``index`` is in the log and what it says.

        It discloses the ``r``, record and digests of this entry only; the picture stays sealed.
        Of a learner whose key was destroyed it proves the leaf and discloses nothing.

        Raises
        ------
        LedgerError
            If the entry is not published, or object or key do not agree with it.
        """
        return write_receipt(
            self.folder, index, keystore=self._keystore, verifier=self._log.verifier
        )

    def _entry(self, index: int) -> bytes:
        return self._log.reader.entry(index, self.checkpoint.size)

    def _append(
        self,
        *,
        leaf: Leaf,
        private: Mapping[str, JSONValue] | None,
        console: Mapping[str, JSONValue] | None,
        image: bytes | None,
        pixels_sha256: str | None,
        learner_id: str | None,
        record_class: RecordClass,
        purpose: str,
        contract: str,
    ) -> ArchivedSnapshot:
        self._log.require_usable()
        if learner_id is None:
            if private is not None:
                raise InputError("a private record needs the learner whose key seals it")
            return self._append_leaf(leaf)
        key_id, key = self._keystore.key_for(learner_id, record_class)
        leaf = replace(leaf, learner=learner_reference(key, learner_id))
        if private is None:
            return self._append_leaf(leaf)
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
        return self._append_object(leaf, sealed, opening)

    def _append_object(
        self, leaf: Leaf, sealed: SealedObject, opening: Opening
    ) -> ArchivedSnapshot:
        data = sealed.serialize()
        digest = hashlib.sha256(data).hexdigest()
        committed = replace(leaf, commitment=commit(opening), object_sha256=digest)
        committed.serialize()  # a leaf that the log would refuse must not leave an object behind
        draft = self._store_object(digest, data)
        archived = self._append_leaf(committed)
        # The leaf is acknowledged: a second name that stays goes when the archive is next opened.
        with suppress(OSError):
            draft.unlink()
        return archived

    def _append_leaf(self, leaf: Leaf) -> ArchivedSnapshot:
        entry = leaf.serialize()
        index = self._log.append(entry)
        return ArchivedSnapshot(index=index, evidence_id=leaf_hash(entry).hex(), leaf=leaf)

    def _store_object(self, digest: str, data: bytes) -> Path:
        """Put the object in place durably; return its second name, to be removed later."""
        draft, target = self.folder / "incoming" / digest, object_path(self.folder, digest)
        try:
            write_new(draft, data)
            make_folder(target.parent)
            link_new(draft, target)
        except OSError as error:
            # Not acknowledged, so it goes; what cannot be removed now goes when next opened, for
            # which the draft has to stay longest.
            with suppress(OSError):
                target.unlink(missing_ok=True)
                draft.unlink(missing_ok=True)
            raise LedgerError("the object could not be brought to the disk") from error
        return draft


def _remove_unnamed_objects(folder: Path, log: LogWriter) -> None:
    """Finish what a crash interrupted between an object and its leaf."""
    drafts = {path.name: path for path in (folder / "incoming").iterdir()}
    if not drafts:
        return
    named = _named_objects(log)
    for digest, draft in drafts.items():
        if digest not in named:
            target = object_path(folder, digest)
            target.unlink(missing_ok=True)
            if target.parent.is_dir():
                flush_folder(target.parent)
        draft.unlink()


def _named_objects(log: LogWriter) -> set[str]:
    """Return the digest of every object that a leaf names, published or pending."""
    digests = (leaf.object_sha256 for leaf in _leaves_of(log))
    return {digest for digest in digests if digest is not None}


def _leaves_of(log: LogWriter) -> Iterator[Leaf]:
    for bundle in bundles_of(log.checkpoint.size):
        yield from map(Leaf.parse, decode_bundle(log.reader.tile(bundle)))
    yield from map(Leaf.parse, log.pending_entries)
