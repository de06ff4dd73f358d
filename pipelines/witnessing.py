"""Getting a log's checkpoints cosigned by its witnesses, beside everything else the engine does.

Each witness has a thread of its own that hands it one checkpoint after the other, the oldest
first: a witness that has seen a later one cannot cosign an earlier one any more, and somebody may
be waiting for that. Where it cannot keep up, those go unasked for that nobody waits for.

A witness that failed is asked again after a while, and nobody waits for it meanwhile.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from types import TracebackType
from typing import Final, TypeAlias

from pipelines.durable_files import as_ledger_error, make_folder, replace_file
from pipelines.witness_client import ANSWERS_WITHIN_S, WitnessAnswer, WitnessClient
from verifier.errors import VerifierError
from verifier.transparency.checkpoint import Checkpoint
from verifier.transparency.note import NoteSignature, SignedNote
from verifier.transparency.witness_request import AddCheckpoint

logger = logging.getLogger(__name__)

UNASKED_AFTER_S: Final = 1.0
"""Who opens a session asks for its checkpoint within milliseconds of its publication."""
KEPT_S: Final = 60.0
"""Whoever waits for a checkpoint's cosignatures does so at once."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
MOST_ALARM_FILES: Final = 64

Prove: TypeAlias = Callable[[int], tuple[bytes, ...]]
"""From an older size to the proof that the checkpoint's tree extends it."""
Carry: TypeAlias = Callable[[Checkpoint, Sequence[NoteSignature]], None]
"""Takes the lines that a checkpoint got; called from a witness's thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessedCheckpoint:
    """A checkpoint and the cosignatures that count for it: 72 bytes each, ascending."""

    checkpoint: Checkpoint
    cosignatures: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """The size of its tree."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root of its tree, 32 bytes."""
        return self.checkpoint.root


@dataclass(eq=False, kw_only=True)
class _Round:
    """One checkpoint, and how far the witnesses are with it."""

    checkpoint: Checkpoint
    note: SignedNote
    prove: Prove
    offered_at: float
    awaited: set[str]  # witnesses that somebody who waits waits for
    waiting: int = 0  # who waits
    lines: dict[str, NoteSignature] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class _Desk:
    """What is known of one witness."""

    client: WitnessClient
    done: int = 0  # every checkpoint up to this size was asked for, or is not going to be
    seen: int = 0  # the size it cosigned last, as far as known
    failures: int = 0  # in a row
    asks_again_at: float = 0.0

    @property
    def name(self) -> str:
        return self.client.address.name


class Witnessing:
    """The witnesses of one log. Safe for threads.

    Parameters
    ----------
    alarms
        Where the evidence goes when a witness says that the log did not only grow.
    """

    def __init__(self, clients: Sequence[WitnessClient], *, alarms: Path) -> None:
        self._desks = [_Desk(client=client) for client in clients]
        self._alarms = alarms
        self._changed = Condition()
        self._rounds: dict[int, _Round] = {}  # by size, ascending
        self._closed = False
        self._carry: Carry = lambda _checkpoint, _lines: None
        self._threads = [
            Thread(target=self._run, args=(desk,), name=f"witness {desk.name}", daemon=True)
            for desk in self._desks
        ]

    def __enter__(self) -> "Witnessing":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for desk in self._desks:
            desk.client.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Name and key id of each witness that is asked."""
        return tuple(desk.name for desk in self._desks)

    @property
    def failing(self) -> tuple[str, ...]:
        """Those of them that did not cosign when they were asked last."""
        return tuple(desk.name for desk in self._desks if desk.failures)

    def carry_to(self, carry: Carry) -> None:
        """Hand the lines that checkpoints get to ``carry`` from now on."""
        self._carry = carry

    def offer(self, checkpoint: Checkpoint, note: SignedNote, prove: Prove) -> None:
        """Have a checkpoint cosigned that was just published; returns at once."""
        if not self._desks:
            return
        with self._changed:
            now = time.monotonic()
            self._rounds[checkpoint.size] = _Round(
                checkpoint=checkpoint,
                note=note,
                prove=prove,
                offered_at=now,
                # Nobody waits for one that failed, though it is asked in the background.
                awaited={desk.name for desk in self._desks if not desk.failures},
            )
            self._forget(now)
            self._changed.notify_all()

    def lines(
        self, checkpoint: Checkpoint, *, within_s: float = ANSWERS_WITHIN_S
    ) -> tuple[NoteSignature, ...]:
        """Return the verified lines that a checkpoint got; waits for those under way.

        Never raises: a witness that is down, or not asked any more, has no line.
        """
        with self._changed:
            found = self._rounds.get(checkpoint.size)
            if found is None or found.checkpoint != checkpoint:
                return ()
            found.waiting += 1
            try:
                self._changed.wait_for(lambda: not found.awaited or self._closed, within_s)
            finally:
                found.waiting -= 1
            return tuple(found.lines.values())

    def _forget(self, now: float) -> None:
        newest = max(self._rounds)
        for size, found in list(self._rounds.items()):
            if size != newest and not found.waiting and now - found.offered_at > KEPT_S:
                del self._rounds[size]

    def _run(self, desk: _Desk) -> None:
        while True:
            with self._changed:
                while (found := self._next(desk)) is None and not self._closed:
                    pause_s = desk.asks_again_at - time.monotonic()
                    self._changed.wait(pause_s if pause_s > 0 else None)
                if self._closed or found is None:
                    return
            answer = self._asked(desk, found)
            try:
                self._settle(desk, found, answer)
            except Exception as error:  # noqa: BLE001 - the thread must outlive a bug; it is logged
                logger.error("what a witness said was lost: %s", type(error).__name__)  # noqa: TRY400 - a traceback could carry what it is about

    def _next(self, desk: _Desk) -> _Round | None:
        """Return what to ask ``desk`` for now; lets go of what it is not asked for any more."""
        now = time.monotonic()
        for size, found in self._rounds.items():
            if size <= desk.done:
                continue
            superseded = size != max(self._rounds)
            paused = now < desk.asks_again_at
            unwanted = not found.waiting and now - found.offered_at > UNASKED_AFTER_S
            if superseded and (paused or unwanted or size < desk.seen):
                desk.done = size
                self._release(desk, found)
            elif paused:
                self._release(desk, found)
                return None
            else:
                return found
        return None

    def _release(self, desk: _Desk, found: _Round) -> None:
        if desk.name in found.awaited:
            found.awaited.discard(desk.name)
            self._changed.notify_all()

    def _asked(self, desk: _Desk, found: _Round) -> WitnessAnswer:
        answer = self._submitted(desk, found)
        size = answer.conflict_size
        if size is not None:
            desk.seen = size
            if size <= found.checkpoint.size:
                answer = self._submitted(desk, found)  # once: it said itself where it is
        return answer

    def _submitted(self, desk: _Desk, found: _Round) -> WitnessAnswer:
        try:
            request = AddCheckpoint(
                old_size=desk.seen,
                proof=found.prove(desk.seen),
                note=found.note,
                checkpoint=found.checkpoint,
            )
            return desk.client.submit(request)
        except Exception as error:  # noqa: BLE001 - the thread must outlive a bug; it is logged
            return WitnessAnswer(failure=type(error).__name__)

    def _settle(self, desk: _Desk, found: _Round, answer: WitnessAnswer) -> None:
        with self._changed:
            ahead = answer.conflict_size is not None and answer.conflict_size > max(self._rounds)
            overtaken = answer.conflict_size is not None and not ahead
            alarming = ahead or answer.inconsistent
            if answer.line is not None:
                desk.seen = desk.done = found.checkpoint.size
                found.lines[desk.name] = answer.line
                self._works_again(desk)
            elif overtaken and desk.seen > found.checkpoint.size:
                desk.done = found.checkpoint.size  # it cosigned a later one; that one is ours too
            else:
                self._failed(desk, answer)
            self._release(desk, found)
            lines = () if found.awaited else tuple(found.lines.values())
        # Outside of the lock: both write to the disk.
        if alarming:
            self._sound(desk, found, answer)
        if lines:  # once for all of them, and again for one that comes late
            self._hand_over(found.checkpoint, lines)

    def _failed(self, desk: _Desk, answer: WitnessAnswer) -> None:
        desk.seen = 0  # it may have been put back to an older copy; its next answer tells
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**desk.failures)
        desk.asks_again_at = time.monotonic() + pause_s
        if not desk.failures:
            why = answer.failure or f"HTTP {answer.status}"
            logger.warning("witness %s does not cosign: %s", desk.name, why)
        desk.failures = min(desk.failures + 1, 16)

    def _works_again(self, desk: _Desk) -> None:
        if desk.failures:
            logger.warning("witness %s cosigns again", desk.name)
        desk.failures = 0

    def _hand_over(self, checkpoint: Checkpoint, lines: Sequence[NoteSignature]) -> None:
        try:
            self._carry(checkpoint, lines)
        except VerifierError as error:
            # By its kind: the log says itself what ails it, where it is published.
            logger.warning("cosignatures could not be kept: %s", type(error).__name__)

    def _sound(self, desk: _Desk, found: _Round, answer: WitnessAnswer) -> None:
        """Keep and report that a witness holds another history of this log to be true."""
        record = {
            "answer": answer.body.decode("utf-8", "replace")[:1024],
            "asked": found.note.serialize().decode("utf-8"),
            "status": answer.status,
            "witness": desk.client.address.verifier.vkey,
            "witness_size": answer.conflict_size,
        }
        content = (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()
        name = f"{hashlib.sha256(content).hexdigest()[:32]}.json"
        logger.error(
            "ALARM: witness %s holds another history of this log (size %d, HTTP %d); evidence: %s",
            desk.name,
            found.checkpoint.size,
            answer.status,
            name,
        )
        try:
            _keep(self._alarms, name, content)
        except VerifierError as error:
            logger.error("evidence could not be kept: %s", type(error).__name__)  # noqa: TRY400 - nothing more to tell


@as_ledger_error("evidence could not be kept")
def _keep(folder: Path, name: str, content: bytes) -> None:
    make_folder(folder, mode=0o700)
    if sum(1 for _ in folder.glob("*.json")) < MOST_ALARM_FILES:
        replace_file(folder / name, content, temporary=folder)
