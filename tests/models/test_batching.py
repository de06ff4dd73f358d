"""Requests that meet go through a network together, and nobody can tell from the answer."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import numpy as np
import pytest

from models.batching import MOST_ROWS, BatchingNetwork
from verifier.arrays import Float32Array


class DoublingNetwork:
    """Doubles what it gets, and can be held up so that requests have time to meet."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.running = self.most_running = 0
        self.go_on, self.entered = Event(), Event()
        self._lock = Lock()

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        with self._lock:
            self.batches.append(len(inputs["x"]))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.entered.set()
        assert self.go_on.wait(10)
        with self._lock:
            self.running -= 1
        if np.isnan(inputs["x"]).any():
            raise FloatingPointError("NaN")
        return [inputs["x"] * 2 for _ in outputs]


def rows(count: int, value: float, width: int = 3) -> dict[str, Float32Array]:
    return {"x": np.full((count, width), value, dtype=np.float32)}


def meet(
    network: DoublingNetwork, asked: Sequence[dict[str, Float32Array]], slots: int = 1
) -> list[list[Float32Array] | BaseException | None]:
    """Hold the first request up until all others wait, and return what each got."""
    batching = BatchingNetwork(network, slots)
    with ThreadPoolExecutor(len(asked)) as threads:
        futures = [threads.submit(batching.run, ["y"], asked[0])]
        assert network.entered.wait(10)
        futures += [threads.submit(batching.run, ["y"], inputs) for inputs in asked[1:]]
        deadline = time.monotonic() + 10
        while len(batching._waiting) + network.running < len(asked):
            assert time.monotonic() < deadline, "not all of them arrived"
        network.go_on.set()
        return [future.exception(10) or future.result() for future in futures]


def test_a_request_alone_goes_at_once() -> None:
    network = DoublingNetwork()
    network.go_on.set()
    (answer,) = BatchingNetwork(network).run(["y"], rows(2, 1.5))
    assert answer.tolist() == rows(2, 3.0)["x"].tolist()
    assert network.batches == [2]


def test_those_who_wait_go_together_and_get_their_own() -> None:
    network = DoublingNetwork()
    answers = meet(network, [rows(1, 0), *(rows(1 + k % 3, k) for k in range(1, 6))])
    assert network.batches == [1, 2 + 3 + 1 + 2 + 3]
    for k, answer in enumerate(answers[1:], start=1):
        assert isinstance(answer, list)
        assert answer[0].tolist() == rows(1 + k % 3, 2 * k)["x"].tolist()


def test_inputs_of_another_shape_are_another_batch() -> None:
    network = DoublingNetwork()
    meet(network, [rows(1, 0), rows(1, 1), rows(1, 2, width=4), rows(1, 3)])
    assert sorted(network.batches) == [1, 1, 2]


def test_a_batch_has_a_largest_size() -> None:
    network = DoublingNetwork()
    meet(network, [rows(1, 0), *(rows(5, k) for k in range(5))])
    assert max(network.batches) == MOST_ROWS // 5 * 5
    assert sum(network.batches) == 1 + 25


def test_an_error_reaches_everybody_in_the_batch_and_nobody_after() -> None:
    network = DoublingNetwork()
    batching = BatchingNetwork(network)
    answers = meet(network, [rows(1, 0), rows(1, 1), rows(1, np.nan)])
    assert isinstance(answers[0], list)
    assert [type(answer) for answer in answers[1:]] == [FloatingPointError] * 2
    assert batching.run(["y"], rows(1, 4))[0].tolist() == rows(1, 8)["x"].tolist()


@pytest.mark.parametrize("slots", [1, 2])
def test_no_more_batches_run_at_once_than_there_are_slots(slots: int) -> None:
    network = DoublingNetwork()
    network.go_on.set()
    batching = BatchingNetwork(network, slots)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda k: batching.run(["y"], rows(1, k)), range(200)))
    assert 1 <= network.most_running <= slots


def test_inputs_that_differ_in_their_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[1, 2\] rows"):
        BatchingNetwork(DoublingNetwork()).run(["y"], {"x": rows(1, 0)["x"], "z": rows(2, 0)["x"]})
