"""Reads weights as PyTorch 1.0 to 1.5 saved them, without PyTorch and without running pickles.

The file is five pickles and then the numbers: a magic number, the protocol version, facts about
the writer's machine, an ordered dictionary of tensors that point into storages, the keys of the
storages in their order; then each storage as a count (int64) and raw little-endian values.
Later versions write a zip archive, which is not read here. Start with `read_torch_tensors`.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from models.pickle_machine import run_pickle
from verifier.errors import ModelUnavailableError

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION: Final = 1001

MAX_TENSORS: Final = 4096
MAX_DIMENSIONS: Final = 8
MAX_BYTES: Final = 64 << 20
"""Of the file, and of all tensors together: views can share a storage and be read many times."""

_DTYPES: Final = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
}


def read_torch_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dictionary by name, in the order of the file.

    Raises
    ------
    ModelUnavailableError
        If this is no such file, it is cut short or goes on behind its end, it names anything but
        tensors and their storages, or a tensor reaches beyond its storage.
    """
    if len(data) > MAX_BYTES:
        raise _wrong(f"{len(data)} bytes, at most {MAX_BYTES} wanted")
    stream = BytesIO(data)
    _check_head(stream)
    storages: dict[str, _Storage] = {}
    views = _checked_views(run_pickle(stream, _names(), lambda pid: _announced(pid, storages)))
    values = _read_storages(stream, storages)
    return {name: view.of(values[view.storage.key]) for name, view in views.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Storage:
    """A run of numbers that the tensors are views of."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A tensor: where its elements lie in a storage, counted in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.strides) or len(self.shape) > MAX_DIMENSIONS:
            raise _wrong(f"a tensor of {len(self.shape)} dimensions, {len(self.strides)} strides")
        if min(self.offset, *self.strides, *(size - 1 for size in self.shape), 0) < 0:
            raise _wrong("an empty tensor, or a negative offset or stride")
        # Also where a step is never taken: numpy wants every number to fit in 64 bits.
        steps = max(self.strides, default=0)
        last = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        # A stride of 0 repeats elements: a few bytes could stand for a tensor of any size.
        reach = max(self.count, self.offset + last + 1, steps)
        if reach > self.storage.count:
            raise _wrong(f"a tensor reaches beyond its storage of {self.storage.count} values")

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the elements as an array of their own."""
        strides = [step * values.itemsize for step in self.strides]
        return as_strided(values[self.offset :], self.shape, strides).copy()


def _check_head(stream: BytesIO) -> None:
    if run_pickle(stream, {}) != _MAGIC:
        raise _wrong("not a file of PyTorch 1.0 to 1.5")
    if run_pickle(stream, {}) != _PROTOCOL_VERSION:
        raise _wrong(f"another protocol version than {_PROTOCOL_VERSION}")
    machine = run_pickle(stream, {})
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise _wrong("not written on a little-endian machine")


def _names() -> dict[str, object]:
    """Return what the names in the file mean: nothing of PyTorch's, only values from here."""
    return {
        "collections.OrderedDict": _empty_dictionary,
        "torch._utils._rebuild_tensor_v2": _rebuilt,
        **_DTYPES,
    }


def _empty_dictionary(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments:
        raise _wrong("an ordered dictionary with arguments")
    return {}


def _rebuilt(arguments: tuple[Any, ...]) -> _View:
    """Do ``_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)``."""
    match arguments:
        case (_Storage() as storage, int(offset), tuple(shape), tuple(strides), bool(), dict()):
            if not all(isinstance(value, int) for value in (*shape, *strides)):
                raise _wrong("a size or stride that is no number")
            return _View(storage=storage, offset=offset, shape=shape, strides=strides)
    raise _wrong("a tensor with other arguments than PyTorch writes")


def _announced(pid: object, storages: dict[str, _Storage]) -> _Storage:
    """Return the storage of a persistent id ``("storage", type, key, device, count, view)``."""
    match pid:
        case ("storage", np.dtype() as dtype, str(key), str(), int(count), None) if (
            0 <= count <= MAX_BYTES
        ):
            storage = _Storage(key=key, dtype=dtype, count=count)
        case _:
            raise _wrong("a persistent id that is no storage")
    if storages.setdefault(key, storage) != storage:
        raise _wrong("a storage announced twice, with another type or size")
    return storage


def _checked_views(value: object) -> dict[str, _View]:
    if not isinstance(value, dict):
        raise _wrong(f"a {type(value).__name__}, a dictionary of tensors wanted")
    views = {name: view for name, view in value.items() if isinstance(view, _View)}
    if len(views) != len(value) or len(views) > MAX_TENSORS:
        raise _wrong(f"{len(value)} entries, {len(views)} of them tensors")
    size = sum(view.count * view.storage.dtype.itemsize for view in views.values())
    if size > MAX_BYTES:
        raise _wrong(f"tensors of {size} bytes, at most {MAX_BYTES} wanted")
    return views


def _read_storages(stream: BytesIO, storages: dict[str, _Storage]) -> dict[str, NDArray[Any]]:
    keys = run_pickle(stream, {})
    if not _are_keys(keys) or sorted(keys) != sorted(storages):
        raise _wrong("the storages in the file are not those that the tensors name")
    values = {key: _read_storage(stream, storages[key]) for key in keys}
    if stream.read(1):
        raise _wrong("bytes behind the last storage")
    return values


def _are_keys(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(key, str) for key in value)


def _read_storage(stream: BytesIO, storage: _Storage) -> NDArray[Any]:
    count = int.from_bytes(stream.read(8), "little", signed=True)
    if count != storage.count:
        raise _wrong(f"a storage of {count} values, {storage.count} announced")
    raw = stream.read(count * storage.dtype.itemsize)
    if len(raw) != count * storage.dtype.itemsize:
        raise _wrong(f"cut short in a storage of {count} values")
    return np.frombuffer(raw, dtype=storage.dtype)


def _wrong(what: str) -> ModelUnavailableError:
    return ModelUnavailableError(f"PyTorch weights: {what}")
