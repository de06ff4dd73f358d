"""Weights files as PyTorch 1.0 to 1.5 wrote them, put together instruction by instruction."""

import pickle
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
TYPES = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<i", len(data)) + data


def integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sequence(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(integer(value) for value in values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def program(*instructions: bytes) -> bytes:
    return b"\x80\x02" + b"".join(instructions) + b"."


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


@dataclass(kw_only=True)
class Tensor:
    """One tensor and what the file says of it; each value can be made to lie."""

    values: NDArray[Any]
    key: str
    shape: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    offset: int = 0
    count: int | None = None  # of the storage, as announced
    storage: str | None = None

    def instructions(self) -> bytes:
        """Return the call that PyTorch would rebuild the tensor by."""
        values, shape = self.values, self.values.shape if self.shape is None else self.shape
        steps = [step // values.itemsize for step in values.strides]
        storage = self.storage or TYPES[values.dtype.str[1:]]
        return b"".join(
            (
                name("torch._utils", "_rebuild_tensor_v2") + b"(",
                b"(" + text("storage") + name("torch", storage) + text(self.key) + text("cpu"),
                integer(values.size if self.count is None else self.count) + b"NtQ",
                integer(self.offset) + sequence(shape),
                sequence(steps if self.strides is None else self.strides),
                b"\x89" + ORDERED_DICT + b"tR",
            )
        )


@dataclass(kw_only=True)
class TorchFile:
    """The parts of a file, each replaceable by something hostile."""

    tensors: dict[str, Tensor]
    magic: bytes = field(default_factory=lambda: pickle.dumps(MAGIC, 2))
    version: bytes = field(default_factory=lambda: pickle.dumps(VERSION, 2))
    machine: bytes = field(default_factory=lambda: pickle.dumps({"little_endian": True}, 2))
    dictionary: bytes | None = None
    keys: list[str] | None = None
    tail: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the file."""
        pairs = b"".join(text(n) + t.instructions() for n, t in self.tensors.items())
        state = b"}" + text("_metadata") + ORDERED_DICT + b"sb"  # as `state_dict` attaches it
        dictionary = self.dictionary or program(ORDERED_DICT + b"(" + pairs + b"u" + state)
        storages = {t.key: t.values for t in self.tensors.values()}
        keys = list(storages) if self.keys is None else self.keys
        return b"".join(
            (
                self.magic + self.version + self.machine + dictionary + pickle.dumps(keys, 2),
                *(struct.pack("<q", v.size) + v.tobytes() for v in storages.values()),
                self.tail,
            )
        )


def torch_file(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a well-formed file of these tensors."""
    parts = {n: Tensor(values=np.ascontiguousarray(v), key=n) for n, v in tensors.items()}
    return TorchFile(tensors=parts).to_bytes()
