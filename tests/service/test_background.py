"""What happens again and again in a thread: it outlives every failure, and says what it went by."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.background import Repeatedly
from verifier.errors import LedgerError

NAME = "sealing"
PATIENCE_S = 20.0
"""How long a thread is waited for before the test fails; none ever waits on purpose."""


class Turns:
    """An act that happens turn by turn, as the test lets it, and fails where it was told to."""

    def __init__(self, *failures: Exception | None) -> None:
        self._failures = iter(failures)
        self._begun = threading.Semaphore(0)
        self._let_go = threading.Semaphore(0)
        self._over = threading.Event()
        self.count = 0

    def __call__(self) -> None:
        self._begun.release()
        assert self._let_go.acquire(timeout=PATIENCE_S)
        self.count += 1
        failure = None if self._over.is_set() else next(self._failures, None)
        if failure is not None:
            raise failure

    def await_begun(self) -> None:
        assert self._begun.acquire(timeout=PATIENCE_S), "it is not called again"

    def finish_one(self) -> None:
        """Let a turn end, and wait until the next has begun: what came of it is known then."""
        self._let_go.release()
        self.await_begun()

    def leave(self) -> None:
        """Let the turn that has begun end well, and whichever follows until it is stopped."""
        self._over.set()
        self._let_go.release(100_000)


@contextmanager
def repeated(turns: Turns) -> Iterator[Repeatedly]:
    with Repeatedly(NAME, turns, 0.0) as repeating:
        turns.await_begun()
        try:
            yield repeating
        finally:
            turns.leave()


def running() -> bool:
    return NAME in {thread.name for thread in threading.enumerate()}


def test_it_is_done_again_and_again_until_it_is_stopped() -> None:
    turns = Turns()
    with repeated(turns):
        assert running()
        for _ in range(5):
            turns.finish_one()
        assert turns.count == 5
    assert not running()
    done = turns.count
    assert done >= 6
    assert turns.count == done


def test_stopping_waits_for_no_turn_that_is_far_off() -> None:
    turns = Turns()
    with Repeatedly(NAME, turns, 3600.0):
        assert running()
    assert (turns.count, running()) == (0, False)


@pytest.mark.parametrize("failure", [LedgerError("the disk is full"), ValueError("a bug")])
def test_it_says_whether_it_fails_and_outlives_it(failure: Exception) -> None:
    """Also what nobody foresaw: a thread that died would sign nothing any more, in silence."""
    turns = Turns(None, failure, failure, None)
    seen = []
    with repeated(turns) as repeating:
        for _ in range(4):
            turns.finish_one()
            seen.append(repeating.failing)
    assert seen == [False, True, True, False]


def test_it_logs_once_each_way_and_the_kind_only(caplog: pytest.LogCaptureFixture) -> None:
    """What a failure was about may be a secret; that it lasts is said once."""
    turns = Turns(
        *[LedgerError("learner-1")] * 3, None, None, KeyError("learner-1"), ValueError("again")
    )
    with caplog.at_level(logging.INFO, logger="service.background"), repeated(turns):
        for _ in range(7):
            turns.finish_one()
    own = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert own == [
        ("ERROR", "sealing fails: LedgerError"),
        ("WARNING", "sealing works again"),
        ("ERROR", "sealing fails: KeyError"),
        ("WARNING", "sealing works again"),  # as the test leaves it
    ]
