"""Checking an archive, or one receipt, without trusting whoever kept it.

Of a folder every byte of every file is accounted for: what can be derived (tiles, bundles) is
derived from the entries and compared, what cannot (checkpoint, journal, objects) carries a
signature or a digest. A file that nothing explains is a problem too. Whoever kept the archive may
have put anything there: what is not an ordinary file is reported, and never followed or read.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.image_decoder import decode_image
from pipelines.archive_id import ARCHIVE_ID_FILE, parse_archive_id
from pipelines.durable_files import as_ledger_error, read_ordinary
from pipelines.keystore import KeyStore
from pipelines.log_reader import LogReader
from pipelines.sealed_object import SealedObject
from pipelines.stored_evidence import object_path, open_evidence
from verifier.errors import (
    InputError,
    LedgerError,
    UnknownSubjectError,
    VerifierError,
)
from verifier.transparency.checkpoint import Checkpoint, open_checkpoint
from verifier.transparency.cosignature import CosignatureVerifier, cosigners
from verifier.transparency.leaf import Leaf
from verifier.transparency.merkle import leaf_hash, root_of
from verifier.transparency.note import NoteVerifier, SignedNote
from verifier.transparency.receipt import Receipt
from verifier.transparency.tile_paths import (
    TILE_WIDTH,
    Tile,
    bundles_of,
    decode_bundle,
    encode_bundle,
    parse_tile_path,
    tiles_of,
)

_FOLDER = re.compile(  # where an archive has folders; no file has one of these names
    r"log|log/drafts|log/tile(/(entries|[0-9]{1,2})(/x[0-9]{3}){0,6}(/[0-9]{3}\.p)?)?"
    r"|objects(/[0-9a-f]{2})?|incoming"
)


@dataclass(slots=True, kw_only=True)
class VerificationReport:
    """What was looked at, and everything that is wrong with it."""

    entries: int = 0
    objects: int = 0
    pending: int = 0  # acknowledged entries that no checkpoint holds yet: nothing proves them
    opened: int = 0  # objects decrypted and checked
    forgotten: int = 0  # objects whose key was destroyed: no fault
    key_from_archive: bool = False
    witnessed: int | None = None  # entries that all witnesses given cosigned; None: none given
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessedBy:
    """A witness whose cosignature was checked, and when it says it signed (POSIX seconds)."""

    name: str
    timestamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """What a receipt has been shown to say."""

    receipt: Receipt
    checkpoint: Checkpoint
    leaf: Leaf
    witnessed: tuple[WitnessedBy, ...] = ()  # by those that were asked for, in that order
    others: tuple[str, ...] = ()  # names on further lines, which nobody checked


def verify_receipt(
    data: bytes,
    verifier: NoteVerifier,
    stored_object: bytes | None = None,
    *,
    witnesses: Sequence[CosignatureVerifier] = (),
) -> VerifiedReceipt:
    """Check a receipt, and with ``stored_object`` that it is the object the leaf names.

    Parameters
    ----------
    witnesses
        Each must have cosigned its checkpoint.

    Raises
    ------
    LedgerError
        If signature, path, commitment or object is wrong, or a cosignature missing or wrong.
    InvalidRecordError
        If a format is broken.
    """
    receipt = Receipt.parse(data)
    checkpoint, leaf = receipt.verify(verifier)
    if stored_object is not None:
        _verify_object(receipt, leaf, stored_object)
    note = SignedNote.parse(receipt.checkpoint)
    asked = [(witness.name, witness.verify(note)) for witness in witnesses]
    known = {witness.name for witness in witnesses}
    return VerifiedReceipt(
        receipt=receipt,
        checkpoint=checkpoint,
        leaf=leaf,
        witnessed=tuple(WitnessedBy(name=name, timestamp=c.timestamp) for name, c in asked),
        others=tuple(name for name in cosigners(note, verifier.name) if name not in known),
    )


def verify_archive(
    folder: Path,
    *,
    verifier: NoteVerifier | None = None,
    keystore: KeyStore | None = None,
    witnesses: Sequence[CosignatureVerifier] = (),
) -> VerificationReport:
    """Check everything in the archive in ``folder``.

    Parameters
    ----------
    verifier
        Whose log it has to be. None: the key that the archive itself names, which shows that
        it agrees with itself, not who wrote it.
    keystore
        With it every object is decrypted and compared with its commitment and pixels.
    witnesses
        Each must have cosigned the log's last cosigned checkpoint.

    Raises
    ------
    InputError
        If ``folder`` holds no archive.
    """
    if not (folder / "log").is_dir() or not (folder / "objects").is_dir():
        raise InputError(f"{folder.name} is no archive: it has no log and objects folders")
    return _FolderCheck(folder, keystore).run(verifier, witnesses)


class _FolderCheck:
    """One pass over a folder; each step adds to the report and lets the next one go on."""

    def __init__(self, folder: Path, keystore: KeyStore | None) -> None:
        self._folder, self._keystore = folder, keystore
        self._report = VerificationReport()
        self._unexplained = set(self._survey())
        self._log = _OrdinaryLog(folder / "log", frozenset(self._unexplained))

    def run(
        self, verifier: NoteVerifier | None, witnesses: Sequence[CosignatureVerifier]
    ) -> VerificationReport:
        self._check_id()
        try:
            checkpoint = self._check_checkpoint(verifier)
            published = self._read_entries(checkpoint)
        except VerifierError as error:
            # Without a signed head there is nothing to derive anything from.
            self._complain(f"log: {error}")
            return self._report
        pending = self._check_pending(checkpoint, published)
        self._check_witnessed(verifier, published, witnesses)
        self._check_tiles(checkpoint, published, pending)
        self._check_leaves([*published, *pending])
        self._check_rest()
        return self._report

    def _survey(self, folder: str = "") -> Iterator[str]:
        """Yield every ordinary file; report whatever else is there."""
        try:
            for found in sorted(os.scandir(self._folder / folder), key=lambda found: found.name):
                path = folder + found.name
                if found.is_file(follow_symlinks=False):
                    yield path
                elif found.is_dir(follow_symlinks=False) and _FOLDER.fullmatch(path):
                    yield from self._survey(f"{path}/")
                else:
                    self._complain(f"{path}: neither an ordinary file nor a folder of an archive")
        except OSError as error:
            self._complain(f"{folder or '.'}: cannot be read: {error.strerror}")

    def _check_id(self) -> None:
        """Check the form of the id; only a database can say that it is the right one."""
        if ARCHIVE_ID_FILE not in self._unexplained:
            return
        self._unexplained.discard(ARCHIVE_ID_FILE)
        try:
            parse_archive_id(self._bytes(ARCHIVE_ID_FILE))
        except LedgerError as error:
            self._complain(f"{ARCHIVE_ID_FILE}: {error}")

    def _check_checkpoint(self, verifier: NoteVerifier | None) -> Checkpoint:
        self._unexplained -= {"log/checkpoint", "log/log.vkey"}
        own = self._log.own_vkey()
        if verifier is None:
            self._report.key_from_archive = True
            verifier = NoteVerifier.from_vkey(own)
        if own != verifier.vkey:
            self._complain("log/log.vkey: not the key that was asked for")
        return self._log.checkpoint(verifier)

    def _read_entries(self, checkpoint: Checkpoint) -> list[bytes]:
        entries: list[bytes] = []
        for bundle in bundles_of(checkpoint.size):
            found = decode_bundle(self._log.tile(bundle))
            if len(found) != bundle.width:
                raise LedgerError(f"{bundle.path} has {len(found)} entries")
            entries.extend(found)
        self._report.entries = len(entries)
        if root_of([leaf_hash(entry) for entry in entries]) != checkpoint.root:
            self._complain("log/checkpoint: the entries do not lead to its root")
        return entries

    def _check_pending(self, checkpoint: Checkpoint, published: Sequence[bytes]) -> list[bytes]:
        self._unexplained.discard("log/pending")
        try:
            pending = self._log.pending()
        except VerifierError as error:
            self._complain(f"log/pending: {error}")
            return []
        if pending.torn_bytes:
            self._complain(f"log/pending: {pending.torn_bytes} bytes of a torn record at its end")
        overlap = checkpoint.size - pending.first
        if not 0 <= overlap <= len(pending.entries):
            self._complain("log/pending: does not go on where the checkpoint ends")
            return []
        if tuple(published[pending.first :]) != pending.entries[:overlap]:
            self._complain("log/pending: differs from what was published")
        self._report.pending = len(pending.entries) - overlap
        return list(pending.entries[overlap:])

    def _check_witnessed(
        self,
        verifier: NoteVerifier | None,
        published: list[bytes],
        witnesses: Sequence[CosignatureVerifier],
    ) -> None:
        if "log/witnessed" not in self._unexplained:
            for witness in witnesses:
                self._complain(f"log/witnessed: missing; nothing is cosigned by {witness.name}")
            return
        self._unexplained.discard("log/witnessed")
        try:
            data = self._bytes("log/witnessed")
            trusted = verifier or NoteVerifier.from_vkey(self._log.own_vkey())
            witnessed = open_checkpoint(data, trusted)
            if witnessed.size > len(published):
                raise LedgerError("reaches beyond the log's entries")
            if root_of([leaf_hash(e) for e in published[: witnessed.size]]) != witnessed.root:
                raise LedgerError("the entries do not lead to its root")
            for witness in witnesses:
                witness.verify(SignedNote.parse(data))
            self._report.witnessed = witnessed.size if witnesses else None
        except VerifierError as error:
            self._complain(f"log/witnessed: {error}")

    def _check_tiles(
        self, checkpoint: Checkpoint, published: list[bytes], pending: list[bytes]
    ) -> None:
        # A crash in the middle of publishing leaves tiles that already hold pending entries.
        derived = _DerivedTiles([*published, *pending])
        size = checkpoint.size
        required = {f"log/{tile.path}" for tile in (*tiles_of(size), *bundles_of(size))}
        for path in sorted(required - self._unexplained):
            self._complain(f"{path}: missing")
        for path in sorted(p for p in self._unexplained if p.startswith("log/tile/")):
            self._unexplained.discard(path)
            try:
                if self._bytes(path) != derived.content(parse_tile_path(path.removeprefix("log/"))):
                    self._complain(f"{path}: does not follow from the entries")
            except VerifierError as error:
                self._complain(f"{path}: {error}")

    def _check_leaves(self, entries: Sequence[bytes]) -> None:
        for index, entry in enumerate(entries):
            try:
                leaf = Leaf.parse(entry)
                if leaf.object_sha256 is not None:
                    self._check_object(leaf, leaf.object_sha256)
            except VerifierError as error:
                self._complain(f"entry {index}: {error}")

    def _check_object(self, leaf: Leaf, digest: str) -> None:
        path = object_path(self._folder, digest).relative_to(self._folder).as_posix()
        if path not in self._unexplained:
            raise LedgerError(f"object {digest} is missing, or another leaf names it too")
        self._unexplained.discard(path)
        self._report.objects += 1
        data = self._bytes(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise LedgerError(f"object {digest} was changed")
        if SealedObject.parse(data).context.learner != leaf.learner:
            raise LedgerError(f"object {digest} belongs to another learner than its leaf says")
        if self._keystore is not None:
            self._open_object(leaf, data, self._keystore)

    def _open_object(self, leaf: Leaf, data: bytes, keystore: KeyStore) -> None:
        try:
            evidence = open_evidence(leaf, data, keystore)
        except UnknownSubjectError:
            self._report.forgotten += 1
            return
        if evidence.image is not None:
            pixels_sha256 = decode_image(evidence.image).pixels_sha256
            if pixels_sha256 != evidence.pixels_sha256:
                raise LedgerError("the picture has other pixels than were committed to")
        self._report.opened += 1

    def _check_rest(self) -> None:
        lock = self._folder / "log" / "lock"
        if "log/lock" in self._unexplained and not lock.lstat().st_size:
            self._unexplained.discard("log/lock")
        for path in sorted(self._unexplained):
            reason = "nothing refers to it"
            if path.startswith(("incoming/", "log/drafts/")):
                reason = "left by an interrupted write; opening the archive cleans up"
            self._complain(f"{path}: {reason}")

    def _bytes(self, path: str) -> bytes:
        with as_ledger_error("cannot be read"):
            return read_ordinary(self._folder / path)

    def _complain(self, problem: str) -> None:
        # A file's name may hold what a terminal obeys, or what no encoding can write.
        self._report.problems.append(problem if problem.isprintable() else ascii(problem)[1:-1])


class _OrdinaryLog(LogReader):
    """A log of which only the files of a survey are there."""

    def __init__(self, folder: Path, survey: frozenset[str]) -> None:
        super().__init__(folder)
        self._survey = survey

    def read(self, path: str) -> bytes:
        if f"{self.folder.name}/{path}" not in self._survey:
            raise LedgerError(f"{path} is missing")
        return super().read(path)


class _DerivedTiles:
    """What each file of a log must hold, worked out from its entries alone."""

    def __init__(self, entries: list[bytes]) -> None:
        self._entries = entries
        self._levels = [[leaf_hash(entry) for entry in entries]]
        while len(self._levels[-1]) >= TILE_WIDTH:
            below = self._levels[-1]
            full = range(0, len(below) - TILE_WIDTH + 1, TILE_WIDTH)
            self._levels.append([root_of(below[at : at + TILE_WIDTH]) for at in full])

    def content(self, tile: Tile) -> bytes:
        """Return the bytes of ``tile``; ``LedgerError`` if the log does not reach that far."""
        level = tile.level or 0
        row = self._levels[level] if level < len(self._levels) else []
        end = tile.first + tile.width
        if end > len(row):
            raise LedgerError("reaches beyond the log's entries")
        if tile.level is None:
            return encode_bundle(self._entries[tile.first : end])
        return b"".join(row[tile.first : end])


def _verify_object(receipt: Receipt, leaf: Leaf, stored_object: bytes) -> None:
    if hashlib.sha256(stored_object).hexdigest() != leaf.object_sha256:
        raise LedgerError("the object is not the one that the leaf names")
    sealed = SealedObject.parse(stored_object)
    opening = receipt.opening
    if opening is not None and opening.ciphertext_sha256 != sealed.ciphertext_sha256:
        raise LedgerError("the commitment was made to another ciphertext")
