"""Who judges, who waits, and who is told at once that there is no room."""

from collections.abc import Callable
from queue import Queue
from threading import Barrier, Lock, Thread

import numpy as np
import pytest

from service import turns as module
from service.turns import BoundedChecker, BusyError, Shares, Turns
from tests.pipelines.lesson_stage import CALIBRATION, CONTRACT, ColourObserver, frame
from verifier.comparison import Template

SOON_S = 10.0
"""Nothing here takes as long; it only ends a test that hangs."""
REFERENCE = Template(contract_id=CONTRACT, vector=np.array([0.9, 0.1, 0.1], np.float32))


def in_threads(count: int, act: Callable[[], None]) -> tuple[list[Thread], "Queue[str]"]:
    """Let so many threads act; their ends come in as ``done`` or ``busy``."""
    ends: Queue[str] = Queue()

    def run() -> None:
        try:
            act()
        except BusyError:
            ends.put("busy")
        else:
            ends.put("done")

    threads = [Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, ends


def test_some_judge_some_wait_and_the_rest_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one judging and two waiting, three of five hear it while the first still judges."""
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 100 * SOON_S)
    turns = Turns(1, waiting=2)

    def judge() -> None:
        with turns.take():
            pass

    with turns.take():
        threads, ends = in_threads(5, judge)
        assert [ends.get(timeout=SOON_S) for _ in range(3)] == ["busy"] * 3
        assert ends.empty()
    for thread in threads:
        thread.join(SOON_S)
    assert [ends.get(timeout=SOON_S) for _ in range(2)] == ["done"] * 2


def test_as_many_judge_as_may_and_no_more() -> None:
    turns, lock = Turns(3, waiting=6), Lock()
    together = Barrier(3)  # passed only where three judge at a time
    going_on, most = 0, 0

    def judge() -> None:
        nonlocal going_on, most
        with turns.take():
            with lock:
                going_on += 1
                most = max(most, going_on)
            together.wait(SOON_S)
            with lock:
                going_on -= 1
            together.wait(SOON_S)

    _, ends = in_threads(9, judge)
    assert [ends.get(timeout=SOON_S) for _ in range(9)] == ["done"] * 9
    assert most == 3


def test_whoever_fails_or_waited_in_vain_gives_the_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.0)
    turns = Turns(1, waiting=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.take():
            _ = 1 / 0
    with turns.take():
        for _ in range(3):
            with pytest.raises(BusyError), turns.take():
                pytest.fail("two at a time")
    with turns.take():
        pass


def test_each_has_a_share_and_no_more() -> None:
    shares = Shares(2)
    with shares.of("p"), shares.of("p"):
        with pytest.raises(BusyError), shares.of("p"):
            pytest.fail("three at a time")
        with shares.of("q"):  # others have theirs
            pass
    with pytest.raises(ZeroDivisionError), shares.of("p"):
        _ = 1 / 0
    with shares.of("p"), shares.of("p"):
        pass


class TestBoundedChecker:
    def checker(self, turns: Turns) -> BoundedChecker:
        return BoundedChecker(observer=ColourObserver(), turns=turns)

    def test_judges_in_a_turn(self) -> None:
        checked = self.checker(Turns(1)).check([frame("red")], REFERENCE, CALIBRATION)
        assert checked.picture is not None

    def test_looks_at_nothing_before_its_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not even at what is no picture: decoding takes its time too."""
        monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.0)
        turns = Turns(1)
        with turns.take(), pytest.raises(BusyError):
            self.checker(turns).check([b"not a picture"], REFERENCE, CALIBRATION)
