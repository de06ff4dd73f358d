"""Tells open streams of prompts at the moment they are due.

One dispatcher in a process. Sessions that somebody follows lie in a heap by when next something
is due in them; then one of a few threads asks the engine and tells the follower where the session
stands. The same happens at once where a session changed in any other way: see
:meth:`Dispatcher.touch`. Followers hear the present state and no history, so nothing piles up for
one who listens slowly, and whoever comes back has missed nothing.

Times that are still to come stay in here: they are secrets until they have come. So none is ever
logged, shown by a ``repr`` or told to a follower.
"""

import heapq
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from queue import SimpleQueue
from threading import Condition, Thread, get_ident
from time import monotonic
from types import TracebackType
from typing import Final, Protocol, Self

from pipelines.lesson import Lesson, PromptView
from pipelines.lesson_engine import Followed
from verifier.errors import ProtocolError, UnknownSubjectError, VerifierError
from verifier.protocols import Clock
from verifier.session_state import SessionPhase

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.25
"""Of real time. The engine's clock is asked so often whether something is due: it may be one that
is moved by hand."""
THREADS: Final = 4
"""That ask the engine: a few more than one, so that a slow session does not hold up all others."""
_LONGEST_RETRY_S: Final = 30.0
_JUST_AFTER: Final = timedelta(milliseconds=1)


class TooManyStreamsError(VerifierError):
    """As many streams are open as there may be; the same request may be sent again later."""


class StreamEnd(StrEnum):
    """Why a stream ends although its session goes on.

    ``replaced``: a newer one follows the same session. ``renew``: it was open for long; whoever
    opens it again shows anew who they are. ``stopping``: the server goes away.
    """

    REPLACED = "replaced"
    RENEW = "renew"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a session stands, as far as whoever follows it may know.

    Attributes
    ----------
    clock_runs
        Whether time counts as lesson time now: not in a pause, nor while a prompt is open.
    paused_until
        When the pause after too many failures ends; None: there is none.
    prompt
        What waits for an answer.
    """

    phase: SessionPhase
    clock_runs: bool
    paused_until: datetime | None
    prompt: PromptView | None

    @classmethod
    def of(cls, lesson: Lesson, prompt: PromptView | None) -> Self:
        """Sum up a lesson."""
        state = lesson.state
        return cls(
            phase=state.phase,
            clock_runs=state.clock_runs,
            paused_until=state.paused_until,
            prompt=prompt,
        )

    @property
    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self.phase.is_final


class Follower(Protocol):
    """Whoever hears of one session. Called from several threads; must never wait."""

    def tell(self, standing: Standing) -> None:
        """Hear where the session stands now, in place of what was heard before."""
        ...

    def end(self, why: StreamEnd | None) -> None:
        """Hear that nothing more will be told; None: there is no such session any more."""
        ...


class Lessons(Protocol):
    """Lessons as of one moment."""

    def lesson(self, session_id: str) -> Lesson:
        """Return a lesson; ``UnknownSubjectError`` if there is none."""
        ...


class LessonSource(Protocol):
    """What the dispatcher needs of the engine's store."""

    def reading(self) -> AbstractContextManager[Lessons]:
        """Return a unit that only reads."""
        ...


class PromptSource(Protocol):
    """What the dispatcher needs of the engine; see `pipelines.lesson_engine.LessonEngine`."""

    @property
    def clock(self) -> Clock:
        """The clock by which prompts are due."""
        ...

    @property
    def store(self) -> LessonSource:
        """Where the lessons lie."""
        ...

    def follow(self, session_id: str, *, streaming: bool = False) -> Followed:
        """Let happen what is due; return where that leaves the lesson, and when to ask again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How many streams may be open at a time, in this process and of one caller's budget."""

    in_all: int
    of_one: int


@dataclass(slots=True, eq=False)
class _Followed:
    """One session that is followed. Guarded by the dispatcher's lock.

    ``due`` and ``retry_at`` are on the engine's clock and in monotonic seconds. ``worker`` is the
    thread that asks the engine at this moment.
    """

    session_id: str
    whose: str
    follower: Follower = field(repr=False)
    due: datetime | None = field(default=None, repr=False)
    retry_at: float | None = field(default=None, repr=False)
    queued: bool = False
    worker: int | None = None
    again: bool = False
    waits: bool = False  # was told before, so that whoever is late from now on is the engine
    failures: int = 0


class Dispatcher:
    """Keeps followers up to date for as long as its context lasts."""

    def __init__(
        self, source: PromptSource, *, limits: StreamLimits, threads: int = THREADS
    ) -> None:
        self._source = source
        self.limits = limits
        self._changed = Condition()
        self._followed: dict[str, _Followed] = {}
        self._streams: Counter[str] = Counter()
        # Entries of sessions that are not followed any more, or due at another time by now, are
        # passed over when their time comes.
        self._due: list[tuple[datetime, int, _Followed]] = []
        self._retries: list[tuple[float, int, _Followed]] = []
        self._numbers = count()
        self._work: SimpleQueue[_Followed | None] = SimpleQueue()
        self._stopped = False
        self._failing: set[str] = set()
        self._timer = Thread(target=self._keep_time, name="delivery-timer", daemon=True)
        self._workers = [
            Thread(target=self._serve, name=f"delivery-{number}", daemon=True)
            for number in range(threads)
        ]

    def __repr__(self) -> str:
        return f"Dispatcher({self.open_streams} streams)"

    def __enter__(self) -> Self:
        for thread in (self._timer, *self._workers):
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for _ in self._workers:
            self._work.put(None)
        for thread in (self._timer, *self._workers):
            thread.join()

    @property
    def open_streams(self) -> int:
        """How many streams are open, in all."""
        return self._streams.total()

    @property
    def failing(self) -> bool:
        """Whether there is a session of which its follower cannot be told."""
        return bool(self._failing)

    @contextmanager
    def follow(self, session_id: str, *, whose: str, follower: Follower) -> Iterator[None]:
        """Keep a follower up to date in here, from where the session stands now.

        Whoever followed the session before is told that a newer one does.

        Raises
        ------
        TooManyStreamsError
            If as many are open as there may be, or the server is about to stop.
        """
        followed = self._admit(_Followed(session_id, whose, follower))
        try:
            yield
        finally:
            with self._changed:
                self._streams -= Counter({whose: 1})
                self._forget(followed)

    def touch(self, session_ids: Iterable[str]) -> None:
        """Hear that something changed in these sessions; safe and cheap for any thread."""
        with self._changed:
            for session_id in session_ids:
                followed = self._followed.get(session_id)
                # What a thread of ours changes by asking, it tells by itself.
                if followed is not None and followed.worker != get_ident():
                    self._queue(followed)

    def stop(self) -> None:
        """End all streams and admit no more; for the server to call before it waits for them."""
        with self._changed:
            self._stopped = True
            left = list(self._followed.values())
            self._followed.clear()
            self._changed.notify_all()
        for followed in left:
            followed.follower.end(StreamEnd.STOPPING)

    def _admit(self, followed: _Followed) -> _Followed:
        with self._changed:
            full = self.open_streams >= self.limits.in_all
            if self._stopped or full or self._streams[followed.whose] >= self.limits.of_one:
                raise TooManyStreamsError("no more streams are opened now; ask for the prompt")
            before = self._followed.get(followed.session_id)
            self._followed[followed.session_id] = followed
            self._streams[followed.whose] += 1
            self._queue(followed)
        if before is not None:
            before.follower.end(StreamEnd.REPLACED)
        return followed

    def _is_current(self, followed: _Followed) -> bool:
        return self._followed.get(followed.session_id) is followed

    def _forget(self, followed: _Followed) -> None:
        if self._is_current(followed):
            del self._followed[followed.session_id]
            self._works(followed.session_id)  # or nobody is left who would find out

    def _queue(self, followed: _Followed) -> None:
        if followed.worker is not None:
            followed.again = True  # two at a time could tell the older state last
        elif not followed.queued:
            followed.queued = True
            self._work.put(followed)

    def _keep_time(self) -> None:
        with self._changed:
            while not self._stopped:
                now = self._source.clock.now()
                self._queue_due(now)
                self._changed.wait(self._pause_s(now))

    def _queue_due(self, now: datetime) -> None:
        while self._due and self._due[0][0] <= now:
            at, _, followed = heapq.heappop(self._due)
            if followed.due == at and self._is_current(followed):
                followed.due = None
                self._queue(followed)
        while self._retries and self._retries[0][0] <= monotonic():
            again_at, _, followed = heapq.heappop(self._retries)
            if followed.retry_at == again_at and self._is_current(followed):
                self._queue(followed)

    def _pause_s(self, now: datetime) -> float | None:
        if not self._due:
            return LOOK_EVERY_S if self._retries else None
        return min(LOOK_EVERY_S, (self._due[0][0] - now).total_seconds())

    def _serve(self) -> None:
        while (followed := self._work.get()) is not None:
            with self._changed:
                followed.queued = False
                if not self._is_current(followed):
                    continue
                followed.worker, followed.again = get_ident(), False
            self._refresh(followed)

    def _refresh(self, followed: _Followed) -> None:
        """Tell a follower where its session stands, and note when to do so again."""
        standing, due = None, None
        try:
            standing, due = self._look(followed.session_id, streaming=followed.waits)
        except UnknownSubjectError:
            followed.follower.end(None)
        except Exception as error:  # noqa: BLE001 - the thread must outlive a bug; it is logged
            self._fails(followed, type(error).__name__)
            self._done(followed, due=None, retry=True)
            return
        else:
            followed.follower.tell(standing)
            followed.waits = True
        self._done(followed, due=due, retry=False, over=standing is None or standing.is_over)

    def _look(self, session_id: str, *, streaming: bool) -> tuple[Standing, datetime | None]:
        """Return where a session stands and when it has to be looked at again.

        Raises
        ------
        UnknownSubjectError
            If there is no such session.
        VerifierError
            If the engine cannot say.
        """
        try:
            found = self._source.follow(session_id, streaming=streaming)
        except ProtocolError as error:
            if error.code != "session_over":
                raise
            with self._source.store.reading() as unit:
                return Standing.of(unit.lesson(session_id), None), None
        standing, prompt, due = Standing.of(found.lesson, found.prompt), found.prompt, found.due
        if prompt is not None:  # a prompt that is too late to be answered is not shown any longer
            gone_at = prompt.closes_at + _JUST_AFTER
            due = min(due, gone_at)
        return standing, due

    def _done(
        self, followed: _Followed, *, due: datetime | None, retry: bool, over: bool = False
    ) -> None:
        with self._changed:
            followed.worker = None
            if not retry:
                self._works(followed.session_id)
            if over:
                self._forget(followed)
            if not self._is_current(followed):
                return
            followed.failures = followed.failures + 1 if retry else 0
            if followed.again:
                self._queue(followed)
            # What is due already waits for something else, such as an answer that is being judged.
            elif retry or (due is not None and due <= self._source.clock.now()):
                self._try_again(followed)
            elif due is not None:
                followed.due = due
                heapq.heappush(self._due, (due, next(self._numbers), followed))
            self._changed.notify()

    def _try_again(self, followed: _Followed) -> None:
        wait_s = min(_LONGEST_RETRY_S, LOOK_EVERY_S * 2 ** min(followed.failures, 10))
        followed.retry_at = monotonic() + wait_s
        heapq.heappush(self._retries, (followed.retry_at, next(self._numbers), followed))

    def _fails(self, followed: _Followed, kind: str) -> None:
        """Log the first of those that fail, and no other while there is one."""
        with self._changed:
            if not self._is_current(followed):
                return
            if not self._failing:  # by its kind only: a message might carry what it was about
                logger.error("delivery fails: %s", kind)
            self._failing.add(followed.session_id)

    def _works(self, session_id: str) -> None:
        if session_id in self._failing:
            self._failing.discard(session_id)
            if not self._failing:
                logger.warning("delivery works again")
