"""A witness: cosigns what a log only ever adds to, and remembers it so as never to be talked back.

::

    witness/
      witness.key, witness.vkey   its key (0600), and the text that others get
      logs                        verifier keys of the logs it watches, one a line
      memory/<SHA-256 of the origin>/   see ``witness_store``
      alarms/                     see ``witness_alarms``
      lock, drafts/               held by the one process; files being written

Whoever runs it needs none of the engine's data: no database, no picture, no name of a learner.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final

from pipelines.durable_files import as_ledger_error, make_folder, replace_file
from pipelines.private_files import create_cosigner, load_cosigner
from pipelines.witness_alarms import AlarmBook
from pipelines.witness_store import CosignedCheckpoint, CosignedLog
from verifier.errors import InputError, InvalidRecordError, LedgerError
from verifier.protocols import Clock
from verifier.transparency.cosignature import CosignatureSigner, CosignatureVerifier
from verifier.transparency.note import NoteVerifier, SignedNote
from verifier.transparency.witness_request import (
    AddCheckpoint,
    Refusal,
    Refused,
    Suspicion,
    TrustedLogs,
    judge_growth,
    judge_signature,
)

logger = logging.getLogger(__name__)

ALARMS: Final = "alarms"


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessReply:
    """What a submission gets: the witness's line, or a refusal and the size cosigned last."""

    line: str = ""
    refused: Refused | None = None
    size: int = 0  # cosigned last; told where the refusal is ``stale``


class Witness:
    """A witness that is running; one process for each folder. Safe for threads."""

    def __init__(
        self, folder: Path, *, signer: CosignatureSigner, logs: TrustedLogs, clock: Clock
    ) -> None:
        """Use ``open``, which holds the folder's lock."""
        self.folder, self.logs = folder, logs
        self._signer, self._clock = signer, clock
        self._mutex = Lock()
        drafts = folder / "drafts"
        self._alarms = AlarmBook(folder / ALARMS, drafts=drafts)
        self._memory = {
            origin: CosignedLog(
                memory_folder(folder, origin), drafts=drafts, verifier=signer.verifier
            )
            for origin in logs
        }
        self._not_before = max((_timestamp(log.latest) for log in self._memory.values()), default=0)
        self._lock = -1

    @classmethod
    @as_ledger_error("the witness could not be started")
    def open(cls, folder: Path, *, clock: Clock) -> "Witness":
        """Start the witness in ``folder``.

        Raises
        ------
        InputError
            If ``folder`` holds no witness.
        LedgerError
            If another process runs it, its memory is damaged, or the disk refused.
        """
        signer, logs = load_cosigner(folder / "witness.key"), read_logs(folder)
        make_folder(folder / "drafts")
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _take(lock)
            for draft in (folder / "drafts").iterdir():
                draft.unlink()
            witness = cls(folder, signer=signer, logs=logs, clock=clock)
        except BaseException:
            os.close(lock)
            raise
        witness._lock = lock
        return witness

    def __enter__(self) -> "Witness":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        with self._mutex:
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    @property
    def verifier(self) -> CosignatureVerifier:
        """The witness's public key."""
        return self._signer.verifier

    def latest(self, origin_sha256: str) -> bytes | None:
        """Return the checkpoint cosigned last of the log whose origin has that hex digest."""
        for origin, memory in self._memory.items():
            if _digest(origin) == origin_sha256:
                with self._mutex:
                    latest = memory.latest
                return None if latest is None else latest.note.serialize()
        return None

    def add_checkpoint(self, body: bytes) -> WitnessReply:
        """Cosign a checkpoint, or say why not.

        1. The request is well-formed, the log is known, its signature holds.
        2. Nobody else decides about a checkpoint until this one is decided.
        3. The very checkpoint cosigned last gets the very same line: a session's schedule follows
           from it, so a fresh one would let whoever asks draw until a schedule suits.
        4. The tree grew out of the one cosigned last.
        5. It is remembered on the disk; only then is anything told.

        Raises
        ------
        LedgerError
            If the disk refused, or an earlier failure left unknown what is on it.
        """
        try:
            request = AddCheckpoint.parse(body)
        except InvalidRecordError as error:
            return WitnessReply(refused=Refused(refusal=Refusal.MALFORMED, why=str(error)))
        refused = judge_signature(request, self.logs)
        if refused is not None:
            return WitnessReply(refused=refused)
        origin = request.checkpoint.origin
        request = replace(request, note=_verified_part(request.note, self.logs[origin]))
        with self._mutex:
            if self._lock < 0:
                raise LedgerError("this witness was closed")
            return self._decide(request, self._memory[origin])

    def _decide(self, request: AddCheckpoint, memory: CosignedLog) -> WitnessReply:
        latest = memory.latest
        refused = judge_growth(request, None if latest is None else latest.checkpoint)
        if refused is not None:
            self._look_closer(request, refused, memory)
            return WitnessReply(
                refused=refused, size=0 if latest is None else latest.checkpoint.size
            )
        if latest is not None and latest.checkpoint.size == request.checkpoint.size:
            return _again(request, latest)
        cosigned = self._cosign(request.note)
        memory.put(cosigned)
        return WitnessReply(line=cosigned.line.line())

    def _cosign(self, note: SignedNote) -> CosignedCheckpoint:
        # Held still where the machine's clock steps back, across restarts too.
        self._not_before = max(self._not_before, int(self._clock.now().timestamp()))
        line = self._signer.cosign(note.text, self._not_before)
        signed = SignedNote(text=note.text, signatures=(*note.signatures, line))
        return CosignedCheckpoint.of(signed, self.verifier)

    def _look_closer(self, request: AddCheckpoint, refused: Refused, memory: CosignedLog) -> None:
        suspicion = refused.suspicion
        if suspicion is Suspicion.ROLLBACK:
            known = memory.root_at(request.checkpoint.size)
            if known == request.checkpoint.root:
                return  # an old one handed in again: anybody may have kept it
            suspicion = Suspicion.ROLLBACK if known is None else Suspicion.FORK
        if suspicion is not None:
            self._sound(request, suspicion, memory.latest, self._clock.now())

    def _sound(
        self,
        request: AddCheckpoint,
        suspicion: Suspicion,
        latest: CosignedCheckpoint | None,
        at: datetime,
    ) -> None:
        note = None if latest is None else latest.note
        alarm = self._alarms.keep(request, suspicion, latest=note, at=at)
        if alarm is not None:
            logger.error(
                "ALARM %s: %s signed a tree of size %d; cosigned last: %d; evidence: %s",
                suspicion.value,
                alarm.origin,
                alarm.size,
                0 if latest is None else latest.checkpoint.size,
                alarm.name,
            )


def create_witness(folder: Path, name: str) -> CosignatureVerifier:
    """Make a witness with a fresh key and an empty list of logs; return its public key.

    Raises
    ------
    InputError
        If there is one already, or ``name`` may not name a key.
    LedgerError
        If the disk refused.
    """
    verifier = create_cosigner(folder / "witness.key", name).verifier
    with as_ledger_error("the witness could not be made"):
        make_folder(folder / "drafts")
        _write(folder, "witness.vkey", f"{verifier.vkey}\n")
        if not (folder / "logs").exists():
            _write(folder, "logs", "")
    return verifier


def add_log(folder: Path, log: NoteVerifier) -> None:
    """Let the witness watch another log, from its next start on; fine if it does already.

    Raises
    ------
    InputError
        If ``folder`` holds no witness, or its list is damaged.
    LedgerError
        If the disk refused.
    """
    keys = [key.vkey for keys in read_logs(folder).values() for key in keys]
    if log.vkey not in keys:
        text = "".join(f"{vkey}\n" for vkey in [*keys, log.vkey])
        with as_ledger_error("the list of logs could not be kept"):
            _write(folder, "logs", text)


@as_ledger_error("the list of logs could not be read")
def read_logs(folder: Path) -> TrustedLogs:
    """Return the keys that the witness believes, by origin.

    Raises
    ------
    InputError
        If there is no list, or a line is no verifier key.
    LedgerError
        If it cannot be read.
    """
    if not (folder / "logs").is_file():
        raise InputError(f"{folder.name} is no witness: it has no list `logs`")
    found: dict[str, list[NoteVerifier]] = {}
    for line in (folder / "logs").read_text("utf-8", errors="replace").splitlines():
        if line.strip():
            key = NoteVerifier.from_vkey(line.strip())
            found.setdefault(key.name, []).append(key)
    return found


def memory_folder(folder: Path, origin: str) -> Path:
    """Return where the witness remembers the log of that origin."""
    return folder / "memory" / _digest(origin)


def _again(request: AddCheckpoint, latest: CosignedCheckpoint) -> WitnessReply:
    if request.note.text == latest.note.text:
        return WitnessReply(line=latest.line.line())
    # Other extension lines under the same tree would be a way to a second cosignature of it.
    why = "this tree was cosigned with other extension lines"
    refused = Refused(refusal=Refusal.INCONSISTENT, why=why)
    return WitnessReply(refused=refused, size=latest.checkpoint.size)


def _verified_part(note: SignedNote, keys: Sequence[NoteVerifier]) -> SignedNote:
    # Whoever hands a checkpoint in may have added lines, and this one gets kept.
    lines = {(line.name, line.key_id): line for line in note.signatures}
    names = [(key.name, key.key_id) for key in keys]
    return replace(note, signatures=tuple(lines[name] for name in names if name in lines))


def _digest(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _timestamp(latest: CosignedCheckpoint | None) -> int:
    return 0 if latest is None else latest.timestamp


def _take(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LedgerError("another process runs this witness") from error


def _write(folder: Path, name: str, text: str) -> None:
    replace_file(folder / name, text.encode("utf-8"), temporary=folder / "drafts")
