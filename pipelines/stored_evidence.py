"""Reading evidence back: decrypted and checked against the log, or proved by a receipt.

Takes no lock; works beside a writer and on a copy.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.durable_files import read_ordinary
from pipelines.keystore import KeyStore, RecordClass
from pipelines.log_reader import LogReader
from pipelines.sealed_object import SealedObject
from pipelines.sealing import SealContext, SealedPart, seal, unseal
from verifier.errors import LedgerError, UnknownSubjectError
from verifier.transparency.base64_text import from_base64, to_base64
from verifier.transparency.canonical_json import (
    JSONValue,
    canonical_json,
    parse_canonical_object,
)
from verifier.transparency.checkpoint import open_checkpoint
from verifier.transparency.commitment import Opening, verify_commitment
from verifier.transparency.leaf import Leaf
from verifier.transparency.note import NoteVerifier
from verifier.transparency.receipt import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvidence:
    """One record as read back and checked: object digest, key, commitment."""

    leaf: Leaf
    record: Mapping[str, JSONValue]
    image: bytes | None = field(repr=False)  # the bytes that were given to ``append_snapshot``
    pixels_sha256: bytes | None  # what ``decode_image(image).pixels_sha256`` must be
    console: Mapping[str, JSONValue] = field(default_factory=dict, repr=False)


def hide(
    record: Mapping[str, JSONValue],
    console: Mapping[str, JSONValue],
    key: bytes,
    context: SealContext,
) -> dict[str, JSONValue]:
    """Return ``record`` with ``console`` inside, encrypted.

    A receipt discloses the record, and scores told to a platform are a hill to climb; so what is
    for reviewers only is committed to as ciphertext.
    """
    # Padded, or the length of a ciphertext would tell a capped score from another.
    padding = "0" * (-len(canonical_json({**console, _PADDING: ""})) % _CONSOLE_BLOCK)
    part = seal(key, canonical_json({**console, _PADDING: padding}), context, _CONSOLE)
    hidden: JSONValue = {
        "ciphertext": to_base64(part.ciphertext),
        "nonce": to_base64(part.nonce),
    }
    return {**record, _CONSOLE: hidden}


_CONSOLE = "console"
_CONSOLE_BLOCK = 256  # bytes
_PADDING = "padding"


def _reveal(
    record: Mapping[str, JSONValue], key: bytes, sealed: SealedObject
) -> Mapping[str, JSONValue]:
    hidden = record.get(_CONSOLE)
    if hidden is None:
        return {}
    if not isinstance(hidden, Mapping):
        raise LedgerError("a record's hidden part is no object")
    nonce, ciphertext = hidden.get("nonce"), hidden.get("ciphertext")
    if not isinstance(nonce, str) or not isinstance(ciphertext, str):
        raise LedgerError("a record's hidden part lacks nonce or ciphertext")
    part = SealedPart(nonce=from_base64(nonce), ciphertext=from_base64(ciphertext))
    opened = parse_canonical_object(unseal(key, part, sealed.context, _CONSOLE, sealed.key_check))
    return {name: value for name, value in opened.items() if name != _PADDING}


def object_path(folder: Path, digest: str) -> Path:
    """Return where the object with this SHA-256 lies in the archive in ``folder``."""
    return folder / "objects" / digest[:2] / digest


def read_object(folder: Path, digest: str) -> bytes:
    """Return an object; ``LedgerError`` if it is missing or not the bytes that were kept."""
    try:
        data = read_ordinary(object_path(folder, digest))
    except FileNotFoundError as error:
        raise LedgerError(f"object {digest} is missing") from error
    except OSError as error:
        raise LedgerError(f"object {digest} cannot be read") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise LedgerError(f"object {digest} was changed")
    return data


def read_evidence(folder: Path, leaf: Leaf, keystore: KeyStore) -> StoredEvidence:
    """Return what a leaf's object holds, checked against the leaf; errors as `open_evidence`."""
    if leaf.object_sha256 is None:
        return StoredEvidence(leaf=leaf, record={}, image=None, pixels_sha256=None)
    return open_evidence(leaf, read_object(folder, leaf.object_sha256), keystore)


def open_evidence(leaf: Leaf, data: bytes, keystore: KeyStore) -> StoredEvidence:
    """Decrypt an object and check it against its leaf.

    Raises
    ------
    UnknownSubjectError
        If its key was destroyed.
    WrongKeyError
        If the key is not the one it was sealed with; nothing has been decrypted then.
    LedgerError
        If it does not open the leaf's commitment, or belongs to another learner.
    """
    # 1. the key; 2. the learner the log names; 3. the opening; 4. that the opening is what the
    # leaf committed to and speaks of this ciphertext; 5. only then the picture.
    sealed, key = _unlock(data, keystore)
    if sealed.context.learner != leaf.learner:
        raise LedgerError("the object belongs to another learner than its leaf says")
    opening = sealed.open_opening(key)
    verify_commitment(opening, leaf.commitment or b"")
    if opening.ciphertext_sha256 != sealed.ciphertext_sha256:
        raise LedgerError("the commitment was made to another ciphertext")
    return StoredEvidence(
        leaf=leaf,
        record=opening.record,
        image=sealed.open_image(key),
        console=_reveal(opening.record, key, sealed),
        pixels_sha256=None
        if opening.pixels_sha256 is None
        else bytes.fromhex(opening.pixels_sha256),
    )


def write_receipt(
    folder: Path,
    index: int,
    *,
    keystore: KeyStore | None,
    verifier: NoteVerifier | None = None,
) -> bytes:
    """Return the receipt of a published entry; needs no lock.

    Parameters
    ----------
    keystore
        Discloses what the entry commits to. None, or a destroyed key: only the leaf is proved.
    verifier
        Whose log it has to be; None: the key that the archive names.

    Raises
    ------
    LedgerError
        If the entry is not published, or checkpoint, object or key do not agree with it.
    """
    reader = LogReader(folder / "log")
    trusted = verifier or NoteVerifier.from_vkey(reader.own_vkey())
    note, size = _checkpoint_for(reader, index, trusted)
    entry = reader.entry(index, size)
    receipt = Receipt(
        index=index,
        path=reader.inclusion_proof(index, size),
        checkpoint=note,
        entry=entry,
        opening=_disclose(folder, Leaf.parse(entry), keystore),
    )
    # A receipt that does not hold is never handed out.
    receipt.verify(trusted)
    return receipt.serialize()


def _checkpoint_for(reader: LogReader, index: int, trusted: NoteVerifier) -> tuple[bytes, int]:
    """Return a checkpoint with entry ``index``, a cosigned one if there is one, and its size."""
    # Read once: bytes and size must be of one moment, while a writer goes on.
    witnessed = reader.witnessed_bytes()
    if witnessed is not None:
        size = open_checkpoint(witnessed, trusted).size
        if index < size:
            return witnessed, size
    note = reader.checkpoint_bytes()
    return note, open_checkpoint(note, trusted).size


def _disclose(folder: Path, leaf: Leaf, keystore: KeyStore | None) -> Opening | None:
    if leaf.object_sha256 is None or keystore is None:
        return None
    try:
        sealed, key = _unlock(read_object(folder, leaf.object_sha256), keystore)
    except UnknownSubjectError:
        return None  # forgotten: that it happened stays provable, what it said does not
    return sealed.open_opening(key)


def _unlock(data: bytes, keystore: KeyStore) -> tuple[SealedObject, bytes]:
    sealed = SealedObject.parse(data)
    try:
        record_class = RecordClass(sealed.context.record_class)
    except ValueError as error:
        raise LedgerError("an object is of an unknown class of record") from error
    return sealed, keystore.key_by_id(sealed.context.key_id, record_class)
