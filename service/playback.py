"""Heartbeats of all sessions in progress, folded in memory and brought to SQL every few seconds.

A heartbeat costs no writing and, but for a session's first, no reading. What a crash loses is the
time since the last `PlaybackBook.flush`: the ledger goes on from what was kept then.

Order of locks: a unit of work first, then the book's own; never the other way round.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from pipelines.lesson_store import LessonUnit
from service.sql import playback
from service.sql.database import Database
from service.sql.lesson_store import SqlLessonUnit
from service.sql.playback import LedgerPart, WatchedSession
from verifier.errors import ProtocolError, VerifierError
from verifier.playback import Heartbeat, Stretch
from verifier.playback_ledger import PlaybackLedger
from verifier.policy_groups import PlaybackRules

SHORTEST_GAP_S: Final = 1.0
"""Between two heartbeats of a session."""
MOST_SESSIONS: Final = 20_000
"""Of which heartbeats are kept in memory at once."""
_KEPT_S: Final = 600.0
"""After so long without a heartbeat a session is no longer kept in memory; SQL has it all."""


class TooManyHeartbeatsError(VerifierError):
    """A session's heartbeats come too fast, or of too many sessions; ask later."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many heartbeats")
        self.retry_after_s = max(1, math.ceil(retry_after_s))


@dataclass(kw_only=True, slots=True)
class _Page:
    """One session's ledger; ``kept`` counts the stretches that are in SQL as they are."""

    session: WatchedSession
    ledger: PlaybackLedger
    kept: int
    changes: int = 0
    changes_kept: int = 0

    def quiet_s(self, at: datetime) -> float:
        """Return for how long no heartbeat came."""
        last, since_start = self.ledger.memory.last, at - self.session.started_at
        return since_start.total_seconds() - (0.0 if last is None else last.at_s)


@dataclass(kw_only=True)
class PlaybackBook:
    """Ledgers of the sessions in progress; safe for threads."""

    database: Database
    rules: PlaybackRules
    _pages: dict[str, _Page] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def session(self, session_id: str) -> WatchedSession:
        """Return whose a session is; ``UnknownSubjectError`` if there is none."""
        with self._lock:
            page = self._pages.get(session_id)
        if page is not None:
            return page.session
        with self.database.reading() as tx:
            return playback.watched_session(tx, session_id)

    def add(self, session_id: str, beat: Heartbeat) -> None:
        """Take in a heartbeat that has just arrived.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        ProtocolError
            ``session_over`` if it has ended; it may take a flush until that is noticed, and what
            came meanwhile is not kept.
        TooManyHeartbeatsError
            If the session's last one was less than a second ago, or memory is full.
        """
        page = self._page(session_id)
        with self._lock:
            last = page.ledger.memory.last
            if last is not None and beat.at_s < last.at_s + SHORTEST_GAP_S:
                raise TooManyHeartbeatsError(last.at_s + SHORTEST_GAP_S - beat.at_s)
            page.ledger.add(beat)
            page.changes += 1

    def stretches(self, session_id: str) -> tuple[Stretch, ...]:
        """Return the stretches of a session, in progress or ended, the latest heartbeat's too."""
        with self._lock:
            page = self._pages.get(session_id)
            if page is not None:
                return tuple(page.ledger.stretches)
        with self.database.reading() as tx:
            return playback.stretches_of(tx, session_id)

    def flush(self, *, at: datetime) -> None:
        """Keep what came since the last time, all sessions in one unit of work.

        ``StorageError``: nothing was kept, and the next call tries it all again.
        """
        with self._lock:
            changed = {i for i, page in self._pages.items() if page.changes > page.changes_kept}
            every = set(self._pages)
        if not every:
            return
        with self.database.writing() as tx:
            self._forget(playback.over_among(tx, every))
            parts = self._parts(playback.lock_open(tx, changed))
            playback.keep(tx, [part for _, part, _ in parts])
        self._note_kept(parts)
        self._forget_quiet(at)

    def settle(self, unit: LessonUnit, session_id: str) -> None:
        """Bring a session's heartbeats into the unit of work that ends it; one of the SQL store.

        Its page is closed. Should the unit fail, the session goes on from its last flush.
        """
        if not isinstance(unit, SqlLessonUnit):
            raise TypeError(f"a unit of the SQL store was wanted, not {type(unit).__name__}")
        with self._lock:
            page = self._pages.pop(session_id, None)
            parts = [] if page is None else [_part(session_id, page)]
        playback.keep(unit.tx, parts)
        playback.forget_memory(unit.tx, session_id)

    def _page(self, session_id: str) -> _Page:
        with self._lock:
            page = self._pages.get(session_id)
            if page is None and len(self._pages) >= MOST_SESSIONS:
                raise TooManyHeartbeatsError(SHORTEST_GAP_S)
        if page is not None:
            return page
        read = self._read(session_id)
        with self._lock:
            return self._pages.setdefault(session_id, read)

    def _read(self, session_id: str) -> _Page:
        with self.database.reading() as tx:
            session = playback.watched_session(tx, session_id)
            stretches = playback.stretches_of(tx, session_id)
            memory = playback.memory_of(tx, session_id)
        if session.is_over:
            raise ProtocolError("session_over", "the session has ended")
        ledger = PlaybackLedger(
            self.rules,
            required=self.rules.is_required(session.assurance),
            stretches=stretches,
            memory=memory,
        )
        return _Page(session=session, ledger=ledger, kept=len(stretches))

    def _parts(self, session_ids: set[str]) -> list[tuple[_Page, LedgerPart, int]]:
        """Return what is to be kept of some sessions, and up to which change that is."""
        with self._lock:
            pages = [(i, self._pages[i]) for i in session_ids if i in self._pages]
            return [(page, _part(i, page), page.changes) for i, page in pages]

    def _note_kept(self, parts: list[tuple[_Page, LedgerPart, int]]) -> None:
        with self._lock:
            for page, part, changes in parts:
                page.changes_kept = changes
                page.kept = part.first + len(part.stretches)

    def _forget(self, session_ids: set[str]) -> None:
        with self._lock:
            for session_id in session_ids:
                self._pages.pop(session_id, None)

    def _forget_quiet(self, at: datetime) -> None:
        with self._lock:
            for session_id, page in [*self._pages.items()]:
                if page.changes == page.changes_kept and page.quiet_s(at) > _KEPT_S:
                    del self._pages[session_id]


def _part(session_id: str, page: _Page) -> LedgerPart:
    # The last one that was kept may have grown since.
    first = max(0, page.kept - 1)
    return LedgerPart(
        session_id=session_id,
        first=first,
        stretches=tuple(page.ledger.stretches[first:]),
        memory=page.ledger.memory,
    )
