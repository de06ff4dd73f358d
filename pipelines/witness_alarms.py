"""Evidence of what a log must not do: two signed checkpoints that cannot both be of one log.

One file for each, at most ``MOST_FILES`` of a kind and log: whoever hands in what makes no sense
must not fill the disk. Proven forks have room of their own, so that noise cannot crowd them out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipelines.durable_files import as_ledger_error, make_folder, read_ordinary, replace_file
from verifier.errors import LedgerError
from verifier.transparency.base64_text import to_base64
from verifier.transparency.leaf import format_time
from verifier.transparency.note import SignedNote
from verifier.transparency.witness_request import AddCheckpoint, Suspicion

MOST_FILES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One finding, as its file tells it."""

    name: str  # of the file
    kind: Suspicion
    origin: str
    size: int  # of the checkpoint that was refused
    at: str  # when it was handed in first
    evidence: Mapping[str, Any]  # the file's content: both notes, the proof that was offered

    def to_record(self) -> dict[str, str | int]:
        """Return what a list of alarms says of it."""
        return {
            "at": self.at,
            "evidence": self.name,
            "kind": self.kind.value,
            "origin": self.origin,
            "size": self.size,
        }


class AlarmBook:
    """The evidence of all logs, in one folder. Not safe for threads."""

    def __init__(self, folder: Path, *, drafts: Path) -> None:
        self._folder, self._drafts = folder, drafts
        self._full: set[tuple[str, Suspicion]] = set()

    def keep(
        self,
        request: AddCheckpoint,
        suspicion: Suspicion,
        *,
        latest: SignedNote | None,
        at: datetime,
    ) -> Alarm | None:
        """Keep what was handed in beside what was cosigned; None if it is known, or too much.

        Raises
        ------
        LedgerError
            If the disk refused.
        """
        origin = request.checkpoint.origin
        log = hashlib.sha256(origin.encode()).hexdigest()[:16]
        text = hashlib.sha256(request.note.text.encode()).hexdigest()[:16]
        path = self._folder / f"{log}-{suspicion.value}-{text}.json"
        if (origin, suspicion) in self._full or path.exists():
            return None
        with as_ledger_error("evidence could not be kept"):
            make_folder(self._folder)
            if sum(1 for _ in self._folder.glob(f"{log}-{suspicion.value}-*")) >= MOST_FILES:
                self._full.add((origin, suspicion))
                return None
            content = _content(request, suspicion, latest, at)
            replace_file(path, content, temporary=self._drafts)
        return _read(path)


@as_ledger_error("evidence could not be read")
def read_alarms(folder: Path) -> list[Alarm]:
    """Return all evidence in ``folder``, the oldest first; needs no lock.

    Raises
    ------
    LedgerError
        If a file is damaged.
    """
    return sorted(map(_read, folder.glob("*.json")), key=lambda alarm: (alarm.at, alarm.name))


def read_alarm(folder: Path, name: str) -> Alarm | None:
    """Return the evidence in the file ``name``, or None; errors as ``read_alarms``."""
    with as_ledger_error("evidence could not be read"):
        return _read(folder / name) if (folder / name).is_file() else None


def _content(
    request: AddCheckpoint, suspicion: Suspicion, latest: SignedNote | None, at: datetime
) -> bytes:
    record = {
        "at": format_time(at),
        "cosigned": None if latest is None else latest.serialize().decode(),
        "kind": suspicion.value,
        "old_size": request.old_size,
        "origin": request.checkpoint.origin,
        "proof": [to_base64(digest) for digest in request.proof],
        "refused": request.note.serialize().decode(),
        "size": request.checkpoint.size,
    }
    return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()


def _read(path: Path) -> Alarm:
    try:
        record = json.loads(read_ordinary(path))
        return Alarm(
            name=path.name,
            kind=Suspicion(record["kind"]),
            origin=record["origin"],
            size=record["size"],
            at=record["at"],
            evidence=record,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{path.name} is damaged: {type(error).__name__}") from error
