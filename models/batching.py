"""What several threads ask of one network at the same time goes through it together.

No timer and no waiting for company: whoever comes while fewer than ``slots`` batches are running
starts at once, with everybody who waits at that moment. So an idle machine answers as fast as
without, and a busy one forms batches by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Condition
from typing import Final, TypeAlias

import numpy as np

from models.network import Network
from verifier.arrays import Float32Array

MOST_ROWS: Final = 16
"""Of one batch: more gains nothing per row, and the first would wait for the last."""

_Kind: TypeAlias = tuple[tuple[str, ...], tuple[tuple[str, tuple[int, ...]], ...]]


@dataclass(slots=True, eq=False)
class _Request:
    kind: _Kind  # only requests of one kind can share a batch
    rows: int
    inputs: Mapping[str, Float32Array]
    outputs: list[Float32Array] | None = None
    error: BaseException | None = None
    is_done: bool = field(default=False)


class BatchingNetwork:
    """A `models.network.Network` whose inputs and outputs all have the batch as first dimension."""

    def __init__(self, network: Network, slots: int = 1) -> None:
        """Wrap a network; ``slots`` batches may run at the same time, one core each."""
        self._network = network
        self._free_slots = slots
        self._waiting: list[_Request] = []
        self._changed = Condition()

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Return the named outputs for these inputs alone, whoever else was in the batch.

        An error of the network reaches everybody whose request was in the batch.
        """
        request = _request(outputs, inputs)
        with self._changed:
            self._waiting.append(request)
            while not request.is_done and not self._may_start(request):
                self._changed.wait()
            batch = [] if request.is_done else self._take(request)
        if batch:
            self._run(outputs, batch)
        if request.error is not None:
            raise request.error
        return request.outputs or []

    def _may_start(self, request: _Request) -> bool:
        """Whether a slot is free; a request in somebody's batch has only to wait for it."""
        return self._free_slots > 0 and request in self._waiting

    def _take(self, own: _Request) -> list[_Request]:
        """Take a slot, and the own request with others of its kind, the longest waiting first."""
        self._free_slots -= 1
        batch, rows = [own], own.rows
        for other in self._waiting:
            if other is not own and other.kind == own.kind and rows + other.rows <= MOST_ROWS:
                batch.append(other)
                rows += other.rows
        self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
        return batch

    def _run(self, outputs: Sequence[str], batch: Sequence[_Request]) -> None:
        try:
            joined = {
                name: np.concatenate([request.inputs[name] for request in batch])
                for name in batch[0].inputs
            }
            results = self._network.run(outputs, joined)
            ends = np.cumsum([request.rows for request in batch])[:-1]
            shares = zip(*(np.split(result, ends) for result in results), strict=True)
            for request, share in zip(batch, shares, strict=True):
                request.outputs = list(share)
        except BaseException as error:  # noqa: BLE001  # each of them raises it in its own thread
            for request in batch:
                request.error = error
        finally:
            with self._changed:
                self._free_slots += 1
                for request in batch:
                    request.is_done = True
                self._changed.notify_all()


def _request(outputs: Sequence[str], inputs: Mapping[str, Float32Array]) -> _Request:
    sizes = {len(values) for values in inputs.values()}
    if len(sizes) != 1:
        raise ValueError(f"inputs of {sorted(sizes)} rows; one number of rows was wanted")
    kind = tuple(outputs), tuple((name, values.shape[1:]) for name, values in inputs.items())
    return _Request(kind=kind, rows=sizes.pop(), inputs=inputs)
