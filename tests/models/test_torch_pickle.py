"""Old PyTorch files: read to the value, and refused when they say more than tensors."""

import pickle
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import torch_pickle
from models.torch_pickle import read_torch_tensors
from tests.models.torch_files import Tensor, TorchFile, name, program, text, torch_file
from verifier.errors import ModelUnavailableError

SIX = np.arange(6, dtype=np.float32)
DEEP = b")" + b"\x85" * 50_000  # tuples in tuples: printing or hashing them would recurse


def one(**lies: Any) -> TorchFile:
    return TorchFile(tensors={"w": Tensor(values=SIX, key="k", **lies)})


def refused(file: TorchFile | bytes, match: str) -> None:
    data = file if isinstance(file, bytes) else file.to_bytes()
    with pytest.raises(ModelUnavailableError, match=match):
        read_torch_tensors(data)


def test_tensors_of_every_kind_come_back() -> None:
    written: dict[str, np.ndarray[Any, Any]] = {
        "module.a": np.array([[1.5, -2.0], [0.25, 1e30]], np.float32),
        "module.b": np.array([1, 2, 3], np.int64),
        "half": np.array([0.5], np.float16),
        "double": np.array(np.pi),
    }
    read = read_torch_tensors(torch_file(written))
    assert list(read) == list(written)
    for key, values in written.items():
        assert read[key].dtype == values.dtype
        np.testing.assert_array_equal(read[key], values)


def test_views_are_cut_out_of_their_storage() -> None:
    """Two tensors on one storage of 0 to 5: a transposed matrix and its last row's end."""
    file = TorchFile(
        tensors={
            "turned": Tensor(values=SIX, key="k", shape=(3, 2), strides=(1, 3)),
            "end": Tensor(values=SIX, key="k", shape=(2,), strides=(1,), offset=4),
        }
    )
    read = read_torch_tensors(file.to_bytes())
    np.testing.assert_array_equal(read["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(read["end"], [4, 5])
    read["end"][0] = 9.0
    assert read["turned"][1, 1] == 4.0  # each has memory of its own


@pytest.mark.parametrize(
    ("lies", "match"),
    [
        ({"shape": (7,), "strides": (1,)}, "beyond its storage of 6"),
        ({"shape": (6,), "strides": (1,), "offset": 1}, "beyond its storage"),
        ({"shape": (2,), "strides": (6,)}, "beyond its storage"),
        ({"shape": (1,), "strides": (2**62,)}, "beyond its storage"),
        ({"shape": (2**40,), "strides": (0,)}, "beyond its storage"),  # a bomb: 4 TB of one value
        ({"shape": (2**31, 2**31, 2**31), "strides": (0, 0, 0)}, "beyond its storage"),
        ({"shape": (6,), "strides": (-1,), "offset": 5}, "negative offset or stride"),
        ({"shape": (6,), "strides": (1,), "offset": -1}, "negative offset or stride"),
        ({"shape": (-6,), "strides": (1,)}, "empty tensor"),
        ({"shape": (0,), "strides": (1,)}, "empty tensor"),
        ({"shape": (6, 1), "strides": (1,)}, "2 dimensions, 1 strides"),
        ({"shape": (1,) * 9, "strides": (1,) * 9}, "9 dimensions"),
        ({"count": 7}, "a storage of 6 values, 7 announced"),
        ({"count": 2**60, "shape": (2**50,)}, "no storage"),
        ({"count": 2**2000}, "no storage"),
        ({"count": -1}, "no storage"),
        ({"storage": "DoubleStorage"}, "cut short in a storage of 6"),
        ({"storage": "ByteStorage"}, "the name 'torch.ByteStorage'"),
        ({"storage": "load"}, "the name 'torch.load'"),
    ],
)
def test_a_tensor_that_lies_is_refused(lies: dict[str, Any], match: str) -> None:
    refused(one(**lies), match)


def test_many_views_of_one_storage_are_bounded_together() -> None:
    values = np.zeros(1 << 20, np.float32)
    view = Tensor(values=values, key="k")
    refused(TorchFile(tensors={f"w{i}": view for i in range(17)}), "at most 67108864 wanted")


def test_a_storage_announced_twice_must_stay_the_same() -> None:
    tensors = {"a": Tensor(values=SIX, key="k"), "b": Tensor(values=SIX, key="k", count=5)}
    refused(TorchFile(tensors=tensors), "announced twice")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"magic": pickle.dumps(7, 2)}, "not a file of PyTorch"),
        ({"magic": b"PK\x03\x04"}, "pickle refused"),  # the zip form of later versions
        ({"version": pickle.dumps(1002, 2)}, "another protocol version than 1001"),
        ({"machine": pickle.dumps({"little_endian": False}, 2)}, "little-endian"),
        ({"machine": pickle.dumps([], 2)}, "little-endian"),
        ({"magic": program(DEEP)}, "not a file of PyTorch"),
        ({"version": program(DEEP)}, "another protocol version"),
        ({"machine": program(DEEP)}, "little-endian"),
        ({"dictionary": program(DEEP)}, "a tuple, a dictionary of tensors wanted"),
        ({"dictionary": program(DEEP + b"Q")}, "no storage"),
        ({"dictionary": program(b"}" + text("w") + DEEP + b"s")}, "0 of them tensors"),
        ({"keys": []}, "not those that the tensors name"),
        ({"keys": ["k", "k"]}, "not those that the tensors name"),
        ({"keys": ["k", 7]}, "not those that the tensors name"),
        ({"tail": b"\0"}, "bytes behind the last storage"),
        ({"dictionary": program(b"N")}, "a NoneType, a dictionary of tensors wanted"),
        ({"dictionary": program(b"}" + text("w") + b"Ns")}, "1 entries, 0 of them tensors"),
        (
            {"dictionary": program(name("os", "system") + b"(" + text("id") + b"tR")},
            "the name 'os.system'",
        ),
        (
            {"dictionary": program(name("torch._utils", "_rebuild_tensor_v2") + b")R")},
            "other arguments than PyTorch writes",
        ),
        (
            {"dictionary": program(name("collections", "OrderedDict") + b"(N" + b"tR")},
            "an ordered dictionary with arguments",
        ),
        ({"dictionary": program(b"NQ")}, "a persistent id that is no storage"),
        # A storage whose type is a name, not one of the known types.
        (
            {"dictionary": program(b"(" + text("storage") + text("f4") + b"tQ")},
            "a persistent id that is no storage",
        ),
    ],
)
def test_a_file_that_is_something_else_is_refused(changes: dict[str, Any], match: str) -> None:
    refused(replace(one(), **changes), match)


def test_a_count_that_lies_in_the_raw_part_is_refused() -> None:
    data = one().to_bytes()
    start = len(data) - SIX.nbytes - 8
    refused(data[:start] + struct.pack("<q", -1) + data[start + 8 :], "-1 values, 6 announced")
    refused(data[:start] + struct.pack("<q", 2**62) + data[start + 8 :], "6 announced")


def test_cut_short_anywhere_it_is_refused() -> None:
    data = one().to_bytes()
    for length in range(len(data)):
        refused(data[:length], "pickle refused|PyTorch weights")


def test_a_file_beyond_the_bound_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "MAX_BYTES", 100)
    refused(b"x" * 101, "101 bytes, at most 100 wanted")


@settings(deadline=None)
@given(data=st.data())
def test_a_changed_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = one().to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    try:
        tensors = read_torch_tensors(changed)
    except ModelUnavailableError:
        return
    assert all(values.size <= SIX.size for values in tensors.values())


@pytest.mark.shared_data
def test_the_real_files_are_read_without_torch(shared_data: Path) -> None:
    counts = {}
    for path in sorted((shared_data / "models").glob("*.pth")):
        tensors = read_torch_tensors(path.read_bytes())
        counts[path.name] = len(tensors)
        assert tensors["module.prob.weight"].shape == (3, 128)
        assert all(np.isfinite(values).all() for values in tensors.values())
    assert counts == {"2.7_80x80_MiniFASNetV2.pth": 334, "4_0_0_80x80_MiniFASNetV1SE.pth": 370}
    assert "torch" not in sys.modules
