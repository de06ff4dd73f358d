"""Answers that arrive in parts, over networks that break off.

They lie in memory only: faces never touch the disk in the clear, and what has not arrived in time
is worth nothing. So there is little room: one upload a session, some memory for each platform, and
no more than so much in all, counted by what was announced.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from service.announced import AnnouncedAnswers
from verifier.errors import VerifierError
from verifier.protocols import Clock

LONGEST_ANSWER_BYTES: Final = 5 << 20
"""3 MiB of frames in base64, and what lies around them."""
MOST_BYTES: Final = 256 << 20
MOST_BYTES_OF_ONE: Final = 128 << 20


class UnknownUploadError(VerifierError):
    """There is no such upload of this caller's, or its time is over."""


class WrongOffsetError(VerifierError):
    """A part does not begin where the one before ended; ``offset`` is where that is."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"{offset} bytes have arrived; go on from there")
        self.offset = offset


class IncompleteUploadError(WrongOffsetError):
    """An upload was to be used before all of it was there."""


class DigestMismatchError(VerifierError):
    """What arrived is not what was announced; it was dropped, and starts over."""


class TooLongError(VerifierError):
    """More arrives than was announced; what is too much is not kept."""


class TooManyUploadsError(VerifierError):
    """There is no room for another upload now; the same request may be sent again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What somebody is about to upload, and until when.

    Attributes
    ----------
    principal
        Who alone may go on with it.
    whose
        Whom its memory is charged to.
    length
        In bytes, 1 to `LONGEST_ANSWER_BYTES`.
    sha256
        Of all of it.
    expires_at
        From then on it is gone.
    """

    session_id: str
    prompt_id: str
    principal: str
    whose: str
    length: int
    sha256: bytes
    expires_at: datetime


@dataclass(slots=True, eq=False)
class Upload:
    """What has arrived of one upload; changed by `Uploads` only."""

    upload_id: str
    announced: Announcement
    body: bytearray = field(default_factory=bytearray, repr=False)
    part: "Part | None" = None
    answered: bool = False

    @property
    def offset(self) -> int:
        """How many bytes are there."""
        return self.announced.length if self.answered else len(self.body)


class Uploads:
    """All uploads of this process; safe for threads.

    ``announced``: also what was announced by being sent to an engine that was too busy.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        most_bytes: int = MOST_BYTES,
        most_bytes_of_one: int = MOST_BYTES_OF_ONE,
    ) -> None:
        self.announced = AnnouncedAnswers(clock)
        self._clock = clock
        self._most_bytes = most_bytes
        self._most_bytes_of_one = most_bytes_of_one
        self._lock = Lock()
        self._uploads: dict[str, Upload] = {}

    def __repr__(self) -> str:
        return f"Uploads({len(self._uploads)} under way)"

    def begin(self, announced: Announcement) -> Upload:
        """Make room for an upload, in place of an earlier one of the session.

        Raises
        ------
        TooManyUploadsError
            If there is no room.
        """
        upload = Upload(secrets.token_hex(16), announced)
        with self._lock:
            self._forget_expired()
            left = [u for u in self._uploads.values() if not _same_session(u, upload)]
            self._require_room(left, announced)
            self._uploads = {each.upload_id: each for each in (*left, upload)}
        return upload

    def of(self, upload_id: str, principal: str) -> Upload:
        """Return a caller's upload; ``UnknownUploadError`` if it is not theirs, or not any more."""
        with self._lock:
            return self._of(upload_id, principal)

    def go_on(self, upload_id: str, principal: str, *, offset: int) -> "Part":
        """Return what takes the bytes from ``offset`` on, in place of an earlier part.

        The earlier one may belong to a connection that broke, of which only the caller knows yet.

        Raises
        ------
        UnknownUploadError, WrongOffsetError
            If there is no such upload, or other bytes are wanted.
        """
        with self._lock:
            upload = self._of(upload_id, principal)
            if offset != upload.offset:
                raise WrongOffsetError(upload.offset)
            upload.part = Part(self, upload)
            return upload.part

    def whole(self, upload_id: str, principal: str) -> bytes:
        """Return all of it.

        Raises
        ------
        UnknownUploadError
            If there is no such upload.
        IncompleteUploadError
            If bytes are missing.
        DigestMismatchError
            If they are not those that were announced; it then starts over.
        """
        with self._lock:
            upload = self._of(upload_id, principal)
            if upload.offset < upload.announced.length:
                raise IncompleteUploadError(upload.offset)
            body = bytes(upload.body)
        if hashlib.sha256(body).digest() != upload.announced.sha256:
            with self._lock:
                upload.body, upload.part = bytearray(), None
            raise DigestMismatchError("not the bytes that were announced; send them again")
        return body

    def answered(self, upload: Upload) -> None:
        """Let go of the bytes of an upload that was judged; that it was there is still known.

        Who did not hear what came of it and asks again is told, not taken for somebody else.
        """
        with self._lock:
            upload.answered = True
            upload.body, upload.part = bytearray(), None

    def drop(self, upload_id: str, principal: str) -> None:
        """Forget an upload; ``UnknownUploadError`` if there is none."""
        with self._lock:
            self._drop(self._of(upload_id, principal))

    def forget_expired(self) -> None:
        """Forget whatever came too late; for a worker to call."""
        self.announced.forget_expired()
        with self._lock:
            self._forget_expired()

    @property
    def bytes_held(self) -> int:
        """How much memory is spoken for."""
        with self._lock:
            return _room(self._uploads.values())

    def _of(self, upload_id: str, principal: str) -> Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.announced.principal != principal:
            raise UnknownUploadError("there is no upload with that id")
        if self._clock.now() >= upload.announced.expires_at:
            self._drop(upload)
            raise UnknownUploadError("there is no upload with that id")
        return upload

    def _require_room(self, uploads: list[Upload], announced: Announcement) -> None:
        own = [each for each in uploads if each.announced.whose == announced.whose]
        if (
            _room(uploads) + announced.length > self._most_bytes
            or _room(own) + announced.length > self._most_bytes_of_one
        ):
            raise TooManyUploadsError("too many uploads are under way")

    def _forget_expired(self) -> None:
        now = self._clock.now()
        for upload in [u for u in self._uploads.values() if now >= u.announced.expires_at]:
            self._drop(upload)

    def _drop(self, upload: Upload) -> None:
        del self._uploads[upload.upload_id]
        upload.body, upload.part = bytearray(), None

    def add(self, part: "Part", chunk: bytes) -> None:
        """Keep some bytes; see `Part.add`."""
        upload = part.upload
        with self._lock:
            self._of(upload.upload_id, upload.announced.principal)
            if upload.part is not part:
                raise WrongOffsetError(upload.offset)
            if upload.offset + len(chunk) > upload.announced.length:
                raise TooLongError(f"{upload.announced.length} bytes were announced")
            upload.body += chunk


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The bytes of one request; they are kept as they come."""

    uploads: Uploads = field(repr=False)
    upload: Upload

    def add(self, chunk: bytes) -> None:
        """Keep some bytes.

        Raises
        ------
        WrongOffsetError
            If another request took over.
        TooLongError
            If they are more than was announced.
        UnknownUploadError
            If the upload was dropped, or its time is over.
        """
        self.uploads.add(self, chunk)


def _same_session(one: Upload, other: Upload) -> bool:
    return one.announced.session_id == other.announced.session_id


def _room(uploads: Iterable[Upload]) -> int:
    """Return the bytes that uploads were announced with and may still hold."""
    return sum(each.announced.length for each in uploads if not each.answered)
