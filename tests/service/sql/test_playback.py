"""Heartbeats in SQL, and the book that brings them there: what is kept, and when."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Final

import pytest
from sqlalchemy import Connection, func, select, update

from pipelines.lesson import FirstCheckpoint
from service import playback as book_module
from service.playback import PlaybackBook, TooManyHeartbeatsError
from service.sql import playback, tables
from service.sql.database import Database
from service.sql.lesson_store import SqlLessonStore
from tests.service.sql.lesson_samples import POLICY, STARTS, add_opened, register
from verifier.assurance import Assurance
from verifier.errors import ProtocolError, UnknownSubjectError
from verifier.playback import Heartbeat, Stretch, StretchState
from verifier.playback_ledger import LedgerMemory, PlaybackLedger
from verifier.seen_video import SeenVideo

WATCHING: Final = Heartbeat(at_s=0, visible=True, position_s=0, rate=1, playing=True, video_id="v")
COUNTED, HIDDEN = StretchState.COUNTED, StretchState.HIDDEN


def beat(at_s: float, **change: object) -> Heartbeat:
    return replace(WATCHING, at_s=at_s, **{"position_s": at_s, **change})  # type: ignore[arg-type]


@pytest.fixture
def session_id(database: Database) -> str:
    """Open a session that has begun."""
    with SqlLessonStore(database).writing() as unit:
        register(unit.tx)
        lesson = add_opened(unit)
        unit.save(replace(lesson, checkpoint=FirstCheckpoint(size=1, root=b"r" * 32)))
    return lesson.state.session_id


@pytest.fixture
def book(database: Database) -> PlaybackBook:
    return fresh_book(database)


def fresh_book(database: Database) -> PlaybackBook:
    return PlaybackBook(database=database, rules=POLICY.playback)


def flush(book: PlaybackBook, *, after_s: float = 0) -> None:
    book.flush(at=STARTS + timedelta(seconds=after_s))


def kept(database: Database, session_id: str) -> list[tuple[float, float, str]]:
    with database.reading() as tx:
        found = playback.stretches_of(tx, session_id)
    return [(s.start_s, s.end_s, s.state.value) for s in found]


def end(database: Database, session_id: str) -> None:
    with database.writing() as tx:
        this = tables.session.c.session_id == session_id
        tx.execute(update(tables.session).where(this).values(ended_at=STARTS, phase="closed"))


class TestRows:
    def test_what_is_kept_comes_back_equal(self, database: Database, session_id: str) -> None:
        stretches = (
            Stretch(start_s=0.1, end_s=20.25, state=COUNTED),
            Stretch(start_s=20.25, end_s=30, state=HIDDEN),
        )
        memory = LedgerMemory(
            last=beat(30.125, video_id=None, covered=False),
            ahead_s=0.1,
            owed_s=2.5,
            seen=SeenVideo({"v": ((0.1, 0.3), (1.0, 20.0)), "": ((4.0, 5.0),)}),
        )
        part = playback.LedgerPart(
            session_id=session_id, first=0, stretches=stretches, memory=memory
        )
        with database.writing() as tx:
            playback.keep(tx, [part])
        with database.reading() as tx:
            assert playback.stretches_of(tx, session_id) == stretches
            assert playback.memory_of(tx, session_id) == memory

    def test_the_last_stretch_grows(self, database: Database, session_id: str) -> None:
        for end_s in (5.0, 10.0):
            grown = Stretch(start_s=0, end_s=end_s, state=COUNTED)
            part = playback.LedgerPart(
                session_id=session_id, first=0, stretches=(grown,), memory=LedgerMemory()
            )
            with database.writing() as tx:
                playback.keep(tx, [part])
        assert kept(database, session_id) == [(0, 10, "counted")]

    def test_a_session_that_never_began_has_no_heartbeats(self, database: Database) -> None:
        with SqlLessonStore(database).writing() as unit:
            register(unit.tx)
            never = add_opened(unit).state.session_id
            for unknown in (never, "nobody's"):
                with pytest.raises(UnknownSubjectError):
                    playback.watched_session(unit.tx, unknown)


class TestBook:
    def test_keeps_nothing_before_a_flush_and_everything_after(
        self, book: PlaybackBook, database: Database, session_id: str
    ) -> None:
        for at_s in (0, 5, 10):
            book.add(session_id, beat(at_s))
        assert kept(database, session_id) == []
        flush(book)
        assert kept(database, session_id) == [(0, 10, "counted")]
        book.add(session_id, beat(15))
        book.add(session_id, beat(20, visible=False))
        flush(book)
        assert kept(database, session_id) == [(0, 15, "counted"), (15, 20, "hidden")]
        assert book.stretches(session_id) == fresh_book(database).stretches(session_id)

    def test_another_book_goes_on_where_this_one_was_flushed(
        self, book: PlaybackBook, database: Database, session_id: str
    ) -> None:
        """A crash after the flush at 10 s: what came until 12 s is lost, the video is not."""
        for at_s in (0, 5, 10):
            book.add(session_id, beat(at_s))
        flush(book)
        book.add(session_id, beat(12, visible=False))
        after = fresh_book(database)
        for at_s, position_s in ((15, 15), (20, 20), (25, 5), (30, 10)):
            after.add(session_id, beat(at_s, position_s=position_s))
        flush(after)
        assert kept(database, session_id) == [
            (0, 20, "counted"),
            (20, 25, "sought"),
            (25, 30, "repeated"),
        ]

    @pytest.mark.parametrize("in_sql", [True, False])
    def test_after_a_long_silence_nothing_is_covered(
        self, book: PlaybackBook, database: Database, session_id: str, in_sql: bool
    ) -> None:
        book.add(session_id, beat(0))
        book.add(session_id, beat(5))
        flush(book, after_s=2000 if in_sql else 5)  # not heard of for long: SQL has it alone
        book.add(session_id, beat(2000))
        flush(book)
        assert kept(database, session_id) == [(0, 5, "counted"), (5, 2000, "uncovered")]

    def test_ends_with_the_session(
        self, book: PlaybackBook, database: Database, session_id: str
    ) -> None:
        for at_s in (0, 5):
            book.add(session_id, beat(at_s))
        with SqlLessonStore(database).writing() as unit:
            book.settle(unit, session_id)
            assert [s.end_s for s in unit.playback(session_id)] == [5]
        end(database, session_id)
        with pytest.raises(ProtocolError, match="ended"):
            book.add(session_id, beat(10))
        with database.reading() as tx:
            assert playback.memory_of(tx, session_id) is None

    def test_an_end_that_did_not_come_about_leaves_it_going_on(
        self, book: PlaybackBook, database: Database, session_id: str
    ) -> None:
        for at_s in (0, 5):
            book.add(session_id, beat(at_s))
        flush(book)
        book.add(session_id, beat(10))
        with suppress(ZeroDivisionError), SqlLessonStore(database).writing() as unit:
            book.settle(unit, session_id)
            raise ZeroDivisionError
        assert kept(database, session_id) == [(0, 5, "counted")]
        book.add(session_id, beat(15))
        flush(book)
        assert kept(database, session_id) == [(0, 15, "counted")]

    def test_nothing_is_written_to_a_session_that_somebody_else_ended(
        self, book: PlaybackBook, database: Database, session_id: str
    ) -> None:
        for at_s in (0, 5):
            book.add(session_id, beat(at_s))
        end(database, session_id)
        flush(book)
        assert kept(database, session_id) == []
        with pytest.raises(ProtocolError, match="ended"):
            book.add(session_id, beat(10))

    def test_a_flush_while_a_session_ends_adds_nothing_after_the_end(
        self, book: PlaybackBook, database: Database, session_id: str
    ) -> None:
        other = fresh_book(database)  # as of another process
        for at_s in (0, 5):
            book.add(session_id, beat(at_s))
            other.add(session_id, beat(at_s, visible=False))
        with SqlLessonStore(database).writing() as unit:
            unit.lesson(session_id)
            book.settle(unit, session_id)
            flushing = Thread(target=flush, args=(other,))
            flushing.start()
            flushing.join(timeout=0.2)
            this = tables.session.c.session_id == session_id
            unit.tx.execute(update(tables.session).where(this).values(ended_at=STARTS))
        flushing.join()
        flush(other)
        assert kept(database, session_id) == [(0, 5, "counted")]

    def test_takes_one_heartbeat_a_second(self, book: PlaybackBook, session_id: str) -> None:
        book.add(session_id, beat(5))
        for too_soon in (5, 5.5, 4):
            with pytest.raises(TooManyHeartbeatsError) as refused:
                book.add(session_id, beat(too_soon))
            assert refused.value.retry_after_s >= 1
        book.add(session_id, beat(6))

    def test_memory_is_bounded(
        self, book: PlaybackBook, session_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(book_module, "MOST_SESSIONS", 0)
        with pytest.raises(TooManyHeartbeatsError):
            book.add(session_id, beat(5))

    def test_a_flush_that_fails_is_made_up_for(
        self,
        book: PlaybackBook,
        database: Database,
        session_id: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for at_s in (0, 5):
            book.add(session_id, beat(at_s))
        with monkeypatch.context() as broken:
            broken.setattr(playback, "keep", _refuse)
            with pytest.raises(ZeroDivisionError):
                flush(book)
        flush(book)
        assert kept(database, session_id) == [(0, 5, "counted")]

    def test_what_did_not_change_is_not_written_again(
        self,
        book: PlaybackBook,
        session_id: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        written: list[int] = []
        keep = playback.keep

        def noted(tx: Connection, parts: list[playback.LedgerPart]) -> None:
            written.append(len(parts))
            keep(tx, parts)

        monkeypatch.setattr(playback, "keep", noted)
        for at_s in (0, 5):
            book.add(session_id, beat(at_s))
        flush(book)
        flush(book)
        assert written == [1, 0]

    def test_frame_sessions_have_to_say_that_they_were_seen(
        self, book: PlaybackBook, database: Database, session_id: str
    ) -> None:
        with database.writing() as tx:
            tx.execute(update(tables.session).values(assurance=Assurance.FRAME.value))
        for at_s in (0, 5):
            book.add(session_id, beat(at_s, visible=None))
        assert [s.state for s in book.stretches(session_id)] == [StretchState.UNCOVERED]
        assert POLICY.playback.is_required(Assurance.FRAME)
        assert not POLICY.playback.is_required(Assurance.PLATFORM)


def test_sql_and_the_fold_in_memory_agree_however_often_it_is_flushed(
    database: Database, session_id: str
) -> None:
    beats = [
        beat(
            3.0 * i,
            position_s=float((7 * i) % 40),
            visible=i % 9 != 0,
            video_id=("v", "w")[i % 20 > 13],
        )
        for i in range(60)
    ]
    whole = PlaybackLedger(POLICY.playback, required=False)
    book = fresh_book(database)
    for i, each in enumerate(beats):
        whole.add(each)
        book.add(session_id, each)
        if i % 7 == 0:
            flush(book)
        if i % 13 == 0:
            flush(book)
            book = fresh_book(database)
    flush(book)
    with database.reading() as tx:
        assert playback.stretches_of(tx, session_id) == tuple(whole.stretches)
        assert playback.memory_of(tx, session_id) == whole.memory
        rows = tx.execute(select(func.count()).select_from(tables.playback_stretch))
        assert rows.scalar_one() == len(whole.stretches) > 5


def _refuse(*_: object) -> None:
    raise ZeroDivisionError
