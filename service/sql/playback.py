"""What heartbeats came to, in SQL: stretches to stay, and what a ledger needs to go on."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from service.sql import tables
from verifier.assurance import Assurance
from verifier.errors import UnknownSubjectError
from verifier.playback import Heartbeat, Stretch, StretchState
from verifier.playback_ledger import LedgerMemory
from verifier.seen_video import SeenVideo

_session = tables.session.c
_stretch = tables.playback_stretch
_ledger = tables.playback_ledger
_AT_ONCE: Final = 500
"""Ids in one statement: databases have a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSession:
    """What has to be known of a session to take its heartbeats."""

    session_id: str
    platform_id: str
    assurance: Assurance
    started_at: datetime
    is_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPart:
    """What is to be kept of one ledger: ``stretches`` from the place ``first`` on."""

    session_id: str
    first: int
    stretches: Sequence[Stretch]
    memory: LedgerMemory


def watched_session(tx: Connection, session_id: str) -> WatchedSession:
    """Return a session; ``UnknownSubjectError`` if there is none, or it is being opened still."""
    columns = (
        _session.session_id,
        _session.platform_id,
        _session.assurance,
        _session.started_at,
        _session.ended_at,
    )
    begun = (_session.session_id == session_id) & _session.checkpoint_size.is_not(None)
    found = tx.execute(select(*columns).where(begun)).one_or_none()
    if found is None:
        raise UnknownSubjectError("there is no session with that id")
    return WatchedSession(
        session_id=found.session_id,
        platform_id=found.platform_id,
        assurance=Assurance(found.assurance),
        started_at=found.started_at,
        is_over=found.ended_at is not None,
    )


def stretches_of(tx: Connection, session_id: str) -> tuple[Stretch, ...]:
    """Return the stretches of a session by time."""
    of_session = select(_stretch).where(_stretch.c.session_id == session_id)
    return tuple(
        Stretch(start_s=row.start_s, end_s=row.end_s, state=StretchState(row.state))
        for row in tx.execute(of_session.order_by(_stretch.c.ordinal))
    )


def memory_of(tx: Connection, session_id: str) -> LedgerMemory | None:
    """Return what a session's ledger remembered; None if nothing was kept."""
    of_session = select(_ledger.c.memory).where(_ledger.c.session_id == session_id)
    record = tx.execute(of_session).scalar_one_or_none()
    return None if record is None else _memory(record)


def lock_open(tx: Connection, session_ids: Collection[str]) -> set[str]:
    """Return which of them go on, locked; one that somebody else has locked is left out.

    Whoever ends a session has it locked: nothing is written to a session after its end.
    """
    found = set[str]()
    for some in _batches(session_ids):
        chosen = select(_session.session_id).where(
            _session.session_id.in_(some), _session.ended_at.is_(None)
        )
        locked = chosen.with_for_update(key_share=True, skip_locked=True)
        found.update(tx.execute(locked).scalars())
    return found


def over_among(tx: Connection, session_ids: Collection[str]) -> set[str]:
    """Return which of them have ended."""
    found = set[str]()
    for some in _batches(session_ids):
        ended = _session.session_id.in_(some) & _session.ended_at.is_not(None)
        found.update(tx.execute(select(_session.session_id).where(ended)).scalars())
    return found


def keep(tx: Connection, parts: Iterable[LedgerPart]) -> None:
    """Keep stretches over those at the same place, and what the ledgers remember."""
    parts = list(parts)
    memories = [{"session_id": p.session_id, "memory": _record(p.memory)} for p in parts]
    rows = [
        {
            "session_id": part.session_id,
            "ordinal": ordinal,
            "start_s": stretch.start_s,
            "end_s": stretch.end_s,
            "state": stretch.state.value,
        }
        for part in parts
        for ordinal, stretch in enumerate(part.stretches, part.first)
    ]
    _put(tx, _stretch, rows)
    _put(tx, _ledger, memories)


def forget_memory(tx: Connection, session_id: str) -> None:
    """Remove what only a ledger that goes on needs; the stretches stay."""
    tx.execute(delete(_ledger).where(_ledger.c.session_id == session_id))


def _batches(session_ids: Collection[str]) -> Iterator[list[str]]:
    in_order = sorted(session_ids)  # whoever locks several does it in the same order
    return (in_order[i : i + _AT_ONCE] for i in range(0, len(in_order), _AT_ONCE))


def _put(tx: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    new = insert(table)
    keys = list(table.primary_key)
    changed = {c.name: new.excluded[c.name] for c in table.columns if c not in keys}
    tx.execute(new.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _record(memory: LedgerMemory) -> dict[str, Any]:
    return {
        "last": None if memory.last is None else asdict(memory.last),
        "ahead_s": memory.ahead_s,
        "owed_s": memory.owed_s,
        "seen": dict(memory.seen.pieces),
    }


def _memory(record: Mapping[str, Any]) -> LedgerMemory:
    seen = {
        video_id: tuple((start_s, end_s) for start_s, end_s in pieces)
        for video_id, pieces in record["seen"].items()
    }
    return LedgerMemory(
        last=None if record["last"] is None else Heartbeat(**record["last"]),
        ahead_s=record["ahead_s"],
        owed_s=record["owed_s"],
        seen=SeenVideo(seen),
    )
