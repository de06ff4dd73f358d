"""Data keys, one for each learner and class of record, wrapped by an authority key.

::

    authority.key            the authority key, base64, mode 0600
    authority.check          a MAC by which that key is recognised
    keys/3f/3f09….key        a wrapped data key, under a random name: its key id
    learners/a1/a1c4….ref    the key id; the name is a MAC of learner and class of record

No name and no content tells a learner's id. Objects name a key only by its random id, so once
``destroy`` has removed both files nothing links an object to its learner, not even for whoever
holds the authority key.
"""

import hmac
import secrets
from enum import StrEnum
from pathlib import Path
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.durable_files import (
    as_ledger_error,
    flush_folder,
    link_new,
    make_folder,
    read_ordinary,
    shred_file,
    write_new,
)
from pipelines.private_files import load_or_create_secret
from pipelines.sealing import KEY_BYTES, NONCE_BYTES, derive, fresh_key
from verifier.errors import (
    InputError,
    InvalidRecordError,
    LedgerError,
    UnknownSubjectError,
    WrongKeyError,
)
from verifier.transparency.base64_text import from_base64, to_base64

KEY_ID_BYTES = 16


class RecordClass(StrEnum):
    """What may be forgotten apart from what."""

    FACE_EVIDENCE = "face-evidence"  # pictures, templates: destroyed on withdrawal or expiry
    MONEY_FACTS = "money-facts"  # class, seconds, decision, yuan: kept by law, no face


class KeyStore:
    """Keys in a folder beside the archive, never inside it."""

    def __init__(self, folder: Path, authority_key: bytes) -> None:
        """Use ``open``, which checks the key."""
        self.folder = folder
        self._wrapping = AESGCM(derive(authority_key, "wrap-data-key"))
        self._locating = derive(authority_key, "locate-learner")
        self._making = Lock()

    def __repr__(self) -> str:
        return "KeyStore()"

    @classmethod
    def open(cls, folder: Path) -> "KeyStore":
        """Open the key store in ``folder``, creating it with a fresh authority key if absent.

        Raises
        ------
        WrongKeyError
            If the data keys here were wrapped by another authority key.
        LedgerError
            If authority.key or authority.check is damaged, or the disk refused.
        InputError
            If others than the owner may read the authority key.
        """
        existing = (folder / "authority.check").exists()
        if existing and not (folder / "authority.key").exists():
            raise WrongKeyError("authority.key is missing; a fresh one could open nothing")
        text = load_or_create_secret(folder / "authority.key", to_base64(fresh_key()))
        key = _undamaged(text, "authority.key")
        if len(key) != KEY_BYTES:
            raise LedgerError(f"authority.key has {len(key)} bytes, wanted {KEY_BYTES}")
        check = derive(key, "authority-check").hex()
        stored = load_or_create_secret(folder / "authority.check", check)
        if not hmac.compare_digest(stored.encode(), check.encode()):
            raise WrongKeyError("authority.key did not wrap the data keys in this folder")
        return cls(folder, key)

    @as_ledger_error("a data key could not be read or written")
    def key_for(self, learner_id: str, record_class: RecordClass) -> tuple[str, bytes]:
        """Return the id and data key of a learner and class, making them at first use.

        Raises
        ------
        InputError
            If ``learner_id`` is not valid Unicode.
        LedgerError
            If the key is damaged, or the disk refused.
        """
        locator = self._locator(learner_id, record_class)
        # A name that another thread has just made may not be on the disk yet; a key that sealed
        # something must never be without its name, or it could not be destroyed.
        with self._making:
            if not locator.exists():
                self._create(locator, record_class)
        return self.find(learner_id, record_class)

    @as_ledger_error("a data key could not be read")
    def find(self, learner_id: str, record_class: RecordClass) -> tuple[str, bytes]:
        """Return the id and data key of a learner and class; nothing is made.

        Raises
        ------
        UnknownSubjectError
            If there is no such key: destroyed, or never here.
        InputError, LedgerError
            As ``key_for``.
        """
        locator = self._locator(learner_id, record_class)
        if not locator.exists():
            raise UnknownSubjectError("there is no data key of this learner and class")
        key_id = _read_line(locator)
        return key_id, self._unwrap(key_id, record_class)

    @as_ledger_error("a data key could not be read")
    def key_by_id(self, key_id: str, record_class: RecordClass) -> bytes:
        """Return the data key that an object names.

        Raises
        ------
        UnknownSubjectError
            If there is no such key: destroyed, or never here.
        WrongKeyError
            If the authority key did not wrap it, or it is of another class.
        LedgerError
            If it is damaged or cannot be read.
        """
        return self._unwrap(key_id, record_class)

    @as_ledger_error("a data key could not be destroyed")
    def destroy(self, learner_id: str, record_class: RecordClass) -> bool:
        """Destroy a data key: all that it sealed is unreadable from now on.

        Returns False where there was none. A learner who consents anew gets a fresh key, which
        opens nothing old.

        Raises
        ------
        InputError
            If ``learner_id`` is not valid Unicode.
        LedgerError
            If the disk refused, or what names the key is damaged: the key may still be there.
        """
        locator = self._locator(learner_id, record_class)
        if not locator.exists():
            return False
        # The key before the name: if this stops half-way, it can be asked for again.
        shred_file(self._key_path(_read_line(locator)))
        shred_file(locator)
        return True

    def _create(self, locator: Path, record_class: RecordClass) -> None:
        key_id = secrets.token_hex(KEY_ID_BYTES)
        nonce = secrets.token_bytes(NONCE_BYTES)
        wrapped = self._wrapping.encrypt(nonce, fresh_key(), _binding(key_id, record_class))
        path = self._key_path(key_id)
        make_folder(path.parent, mode=0o700)
        write_new(path, to_base64(nonce + wrapped).encode() + b"\n", mode=0o600)
        flush_folder(path.parent)  # before anything names the key: what it sealed must open again
        link_safe = self._write_locator(locator, key_id)
        if not link_safe:  # another process made one first; ours was never used
            shred_file(path)

    def _write_locator(self, locator: Path, key_id: str) -> bool:
        make_folder(locator.parent, mode=0o700)
        draft = self.folder / f"{secrets.token_hex(8)}.tmp"
        try:
            write_new(draft, key_id.encode() + b"\n", mode=0o600)
            return link_new(draft, locator)
        finally:
            draft.unlink(missing_ok=True)

    def _unwrap(self, key_id: str, record_class: RecordClass) -> bytes:
        try:
            text = _read_line(self._key_path(key_id))
        except FileNotFoundError as error:
            raise UnknownSubjectError("the data key was destroyed, or was never here") from error
        data = _undamaged(text, "a data key")
        try:
            return self._wrapping.decrypt(
                data[:NONCE_BYTES], data[NONCE_BYTES:], _binding(key_id, record_class)
            )
        except (InvalidTag, ValueError) as error:
            raise WrongKeyError("the authority key does not open this data key") from error

    def _key_path(self, key_id: str) -> Path:
        if len(key_id) != 2 * KEY_ID_BYTES or not set(key_id) <= set("0123456789abcdef"):
            raise LedgerError("a key id is not 32 hex digits")
        return self.folder / "keys" / key_id[:2] / f"{key_id}.key"

    def _locator(self, learner_id: str, record_class: RecordClass) -> Path:
        # The class has a fixed spelling without a newline, so the two cannot run together.
        try:
            subject = f"{record_class.value}\n{learner_id}".encode()
        except UnicodeEncodeError:  # not chained: it carries the id
            raise InputError("a learner's id is not valid Unicode text") from None
        name = hmac.digest(self._locating, subject, "sha256").hex()
        return self.folder / "learners" / name[:2] / f"{name}.ref"


def _binding(key_id: str, record_class: RecordClass) -> bytes:
    return f"zhenxue/wrapped-key/v1\n{key_id}\n{record_class.value}".encode()


def _read_line(path: Path) -> str:
    # What is not ASCII is replaced, and so is no key id and no base64: damage, found as such.
    return read_ordinary(path).decode("ascii", "replace").removesuffix("\n")


def _undamaged(text: str, name: str) -> bytes:
    try:
        return from_base64(text)
    except InvalidRecordError as error:
        raise LedgerError(f"{name} is damaged: {error}") from error
