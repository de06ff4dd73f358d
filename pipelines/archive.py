"""影像留存: encrypted evidence on a disk, and a log that proves what was kept and when.

::

    archive/
      log/                        see ``log_reader``
      objects/ and incoming/      see ``evidence_store``
      archive.id                  see ``archive_id``; in the service, whose database names it

Keys lie elsewhere (``keystore``): whoever copies the archive has no picture, and destroying a
key forgets a face without changing a byte here.

An archive either puts leaves into its own journal as they come (``append``), or follows a source
that has acknowledged them already, such as a database (``publish`` takes over what is new there).
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Final

from pipelines.durable_files import as_ledger_error
from pipelines.evidence_store import EvidenceStore, PreparedEntry
from pipelines.keystore import KeyStore
from pipelines.lesson_store import EntrySource
from pipelines.log_reader import LogReader
from pipelines.log_writer import LogWriter
from pipelines.private_files import load_or_create_signer
from pipelines.stored_evidence import StoredEvidence, read_evidence, write_receipt
from pipelines.witnessing import Prove, WitnessedCheckpoint, Witnessing
from verifier.errors import InputError, LedgerError
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.cosignature import Cosignature
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import consistency_proof
from verifier.transparency.note import NoteSignature, NoteSigner, NoteVerifier
from verifier.transparency.tile_paths import bundles_of, decode_bundle

_BATCH: Final = 4096
"""Entries taken over at once."""
_TIMELY_S: Final = 60
"""How far a witness's clock and the engine's may be apart in a cosignature that counts."""
_CHECKPOINTS_KEPT: Final = 4096
"""Who asks which checkpoint was the first to hold an entry asks within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSnapshot:
    """A snapshot or record that was kept; *pending* until a checkpoint holds it."""

    index: int  # place in the log, 0-based
    evidence_id: str  # hex leaf hash: unguessable where a commitment is in the leaf
    leaf: Leaf


class Archive:
    """An archive open for writing; one at a time for each folder. Safe for threads."""

    def __init__(
        self,
        evidence: EvidenceStore,
        log: LogWriter,
        source: EntrySource | None,
        witnessing: Witnessing | None = None,
    ) -> None:
        """Use ``open`` or ``open_with_secrets``."""
        self.folder = evidence.folder
        self.evidence = evidence
        self._log, self._source = log, source
        self._lock = RLock()
        self._closed = False
        self._signed = deque([log.checkpoint], maxlen=_CHECKPOINTS_KEPT)
        self._witnessing = witnessing
        if witnessing is not None:
            witnessing.carry_to(self._carry)
            self._offer(log.checkpoint)

    @classmethod
    @as_ledger_error("the archive could not be opened")
    def open(
        cls,
        folder: Path,
        *,
        authority: str,
        keystore: KeyStore,
        signer: NoteSigner,
        source: EntrySource | None = None,
        witnessing: Witnessing | None = None,
    ) -> "Archive":
        """Open the archive in ``folder``, creating it where there is none.

        Parameters
        ----------
        authority
            The unit of separation, a city's HR bureau; ciphertexts are bound to it.
        signer
            Its name is the log's origin.
        source
            Who acknowledges entries; None: the archive itself.
        witnessing
            Who has the log's checkpoints cosigned; None: nobody.

        Raises
        ------
        InputError
            If the keys would lie inside the archive.
        LedgerError
            If the archive is held by another writer, does not match its checkpoint, or the
            source does not hold what the log does: one of them is an older copy.
        WrongKeyError
            If the log was signed by another key.
        """
        if keystore.folder.resolve().is_relative_to(folder.resolve()):
            raise InputError("the key store lies inside the archive: keep them apart")
        evidence = EvidenceStore(folder, authority=authority, keystore=keystore)
        log = LogWriter.open(folder / "log", signer)
        try:
            if source is not None:
                _take_over(log, source)
            evidence.sweep(lambda: _named_objects(log))
        except BaseException:
            log.close()
            raise
        return cls(evidence, log, source, witnessing)

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
        with self._lock:
            self._closed = True
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

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Name and key id of each witness that checkpoints are handed to."""
        return () if self._witnessing is None else self._witnessing.names

    @property
    def failing_witnesses(self) -> tuple[str, ...]:
        """Those of them that did not cosign when they were asked last."""
        return () if self._witnessing is None else self._witnessing.failing

    def append(self, prepared: PreparedEntry) -> ArchivedSnapshot:
        """Keep a prepared leaf in the archive's own journal; returns once it is on the disk.

        Raises
        ------
        LedgerError
            If the disk refused: nothing was acknowledged, and the archive has to be opened anew.
            Or if the archive follows a source, which alone says what comes next.
        """
        if self._source is not None:
            raise LedgerError("this archive follows a source; append there")
        index = self._log.append(prepared.entry)
        self.evidence.settle(prepared)
        return ArchivedSnapshot(index=index, evidence_id=prepared.evidence_id, leaf=prepared.leaf)

    def publish(self) -> Checkpoint:
        """Put everything acknowledged under a new signed checkpoint and return it.

        A log that failed to reach the disk is opened anew where there is a source: the source
        still has what was acknowledged.

        Raises
        ------
        LedgerError
            As ``LogWriter``; or if the source is not what it was: nothing is signed then.
        """
        with self._lock:
            if self._source is not None:
                self._follow(self._source)
            return self._remembered(self._log.publish())

    def publish_witnessed(self) -> Checkpoint:
        """Publish, and wait a few seconds until the cosignatures lie beside the checkpoint.

        One of a witness that does not answer does not; errors as ``publish``.
        """
        checkpoint = self.publish()
        if self._witnessing is not None and (lines := self._witnessing.lines(checkpoint)):
            self._carry(checkpoint, lines)
        return checkpoint

    def first_checkpoint_with(self, index: int) -> WitnessedCheckpoint:
        """Return the first checkpoint that holds an entry appended a moment ago.

        Publishes if none does yet, and waits a few seconds for its cosignatures; a witness that
        does not answer has none. One that is not dated within a minute of the entry is left out:
        it would not show when the checkpoint was there.

        Raises
        ------
        LedgerError
            As ``publish``; or if it was published so long ago that which was first is forgotten.
        """
        with self._lock:
            if self._signed[-1].size <= index:
                self.publish()
            place = bisect_right(self._signed, index, key=lambda signed: signed.size)
            if not 0 < place < len(self._signed):
                raise LedgerError(f"which checkpoint was the first with entry {index} is not known")
            first = self._signed[place]
        if self._witnessing is None:
            return WitnessedCheckpoint(checkpoint=first)
        # Nobody else has to wait for a witness: the lock is given back before.
        return WitnessedCheckpoint(
            checkpoint=first,
            cosignatures=_timely(
                self._witnessing.lines(first),
                Leaf.parse(self._log.entry(index)).time,
            ),
        )

    def read_snapshot(self, index: int) -> StoredEvidence:
        """Return a published record with its picture, checked against the log.

        Raises
        ------
        UnknownSubjectError
            If the learner's key was destroyed: the content can no longer be shown.
        LedgerError
            If the entry is not published, or object, key or commitment do not agree.
        """
        leaf = Leaf.parse(self.reader.entry(index, self.checkpoint.size))
        return read_evidence(self.folder, leaf, self.evidence.keystore)

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
            self.folder, index, keystore=self.evidence.keystore, verifier=self._log.verifier
        )

    def _follow(self, source: EntrySource) -> None:
        if self._log.failed and not self._closed:
            self._log = self._log.reopen()
            # Signed just before the disk failed, it is the first that holds its entries.
            self._remembered(self._log.checkpoint)
        _take_over(self._log, source)

    def _remembered(self, checkpoint: Checkpoint) -> Checkpoint:
        if checkpoint.size > self._signed[-1].size:
            self._signed.append(checkpoint)
            self._offer(checkpoint)
        return checkpoint

    def _carry(self, checkpoint: Checkpoint, lines: Sequence[NoteSignature]) -> None:
        if not self._closed:
            self._log.carry(checkpoint, lines)

    def _offer(self, checkpoint: Checkpoint) -> None:
        # An empty tree is every log's beginning: to cosign it would say nothing.
        if self._witnessing is not None and checkpoint.size:
            self._witnessing.offer(checkpoint, self._log.note, self._prove_up_to(checkpoint.size))

    def _prove_up_to(self, size: int) -> Prove:
        return lambda old_size: consistency_proof(self.reader.nodes(size), old_size, size)


def _take_over(log: LogWriter, source: EntrySource) -> None:
    """Append to the log what the source has acknowledged since."""
    while entries := _acknowledged_since(log, source):
        log.append_all(entries)


def _timely(lines: Sequence[NoteSignature], at: datetime) -> tuple[bytes, ...]:
    found = [Cosignature.from_bytes(line.signature) for line in lines]
    near = (c for c in found if abs(c.timestamp - at.timestamp()) <= _TIMELY_S)
    return tuple(sorted(cosignature.to_bytes() for cosignature in near))


def _acknowledged_since(log: LogWriter, source: EntrySource) -> Sequence[bytes]:
    """Return the source's next entries; refuse a source that does not hold the log's last one.

    Compared each time, not only at opening: a database put back to an older copy under a running
    engine gives places away again that the log has filled, and their new entries would be lost.
    """
    kept = log.next_index
    if not kept:
        return source.entries(0, limit=_BATCH)
    found = source.entries(kept - 1, limit=_BATCH)
    if not found:
        raise LedgerError(
            f"the log holds {kept} entries, the database {source.entry_count()}: it is an older "
            "copy; nothing is signed until the newer one is back"
        )
    if found[0] != log.entry(kept - 1):
        raise LedgerError(f"entry {kept - 1} differs between log and database")
    return found[1:]


def _named_objects(log: LogWriter) -> set[str]:
    """Return the digest of every object that a leaf names, published or pending."""
    digests = (leaf.object_sha256 for leaf in _leaves_of(log))
    return {digest for digest in digests if digest is not None}


def _leaves_of(log: LogWriter) -> Iterator[Leaf]:
    for bundle in bundles_of(log.checkpoint.size):
        yield from map(Leaf.parse, decode_bundle(log.reader.tile(bundle)))
    yield from map(Leaf.parse, log.pending_entries)
