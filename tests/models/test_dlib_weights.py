"""dlib's serialisation read back: what was written, and nothing from broken files."""

import contextlib
import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.dlib_weights import Affine, Convolution, Dense, Mark, Pool, _Reader, read_dlib_network
from tests.models.dlib_files import integer, network_file, real, small_network
from verifier.errors import ModelUnavailableError

FILE = network_file(small_network())


def test_integers_and_reals_of_known_bytes() -> None:
    """-300 is two bytes with the sign in the control byte; 0.75 is 3 * 2**-2, mantissa first."""
    reader = _Reader(bytes([0x82, 0x2C, 0x01]) + bytes([0x01, 3, 0x81, 2]))
    assert reader.integer() == -300
    assert reader.real() == 0.75


@given(st.integers(-(2**63), 2**63))
def test_every_integer_comes_back(value: int) -> None:
    assert _Reader(integer(value)).integer() == value


@given(st.floats(allow_nan=False, min_value=-1e200, max_value=1e200) | st.just(math.inf))
def test_every_real_comes_back(value: float) -> None:
    assert _Reader(real(value)).real() == pytest.approx(value, rel=1e-15, abs=1e-320)


def test_a_network_comes_back_layer_by_layer() -> None:
    """Order of execution, shapes, weights and the numbers beside them."""
    wanted, seen = small_network(), read_dlib_network(FILE)
    assert [type(layer) for layer in seen.layers] == [type(layer) for layer in wanted.layers]
    assert sum(isinstance(layer, Mark) for layer in seen.layers) == 4
    assert (seen.input_size, seen.distance_threshold) == ((13, 13), 0.6)
    np.testing.assert_array_equal(seen.means, wanted.means)
    for ours, theirs in zip(seen.layers, wanted.layers, strict=True):
        match ours, theirs:
            case Convolution(), Convolution():
                np.testing.assert_array_equal(ours.kernel, theirs.kernel)
                np.testing.assert_array_equal(ours.bias, theirs.bias)
                assert (ours.stride, ours.padding) == (theirs.stride, theirs.padding)
            case Affine(), Affine():
                np.testing.assert_array_equal(ours.gamma, theirs.gamma)
                np.testing.assert_array_equal(ours.beta, theirs.beta)
            case Dense(), Dense():
                np.testing.assert_array_equal(ours.weights, theirs.weights)
            case Pool(), Pool():
                assert ours == theirs


@settings(deadline=None)
@given(st.integers(0, len(FILE) - 1))
def test_a_truncated_file_names_the_byte(length: int) -> None:
    """Wherever the file is cut, the error says at which byte something was missing."""
    with pytest.raises(ModelUnavailableError, match=r"byte \d+: wanted \d+ more bytes") as error:
        read_dlib_network(FILE[:length])
    where = re.search(r"byte (\d+)", str(error.value))
    assert where is not None
    assert int(where[1]) <= length


@settings(deadline=None)
@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
@example(820, 5)  # a tensor without elements whose other dimensions are huge
def test_a_changed_byte_is_an_error_on_purpose_or_another_number(at: int, change: int) -> None:
    """No byte pattern makes the reader crash or allocate what the file does not have."""
    broken = bytearray(FILE)
    broken[at] ^= change
    with contextlib.suppress(ModelUnavailableError):
        read_dlib_network(bytes(broken))


def test_bytes_after_the_network_are_refused() -> None:
    with pytest.raises(ModelUnavailableError, match=rf"byte {len(FILE)}: the network ends here"):
        read_dlib_network(FILE + b"\0")


def test_a_name_of_negative_length_is_refused() -> None:
    """It would move the reader backwards, for ever."""
    start = integer(1)
    with pytest.raises(ModelUnavailableError, match="a name of -3 bytes"):
        read_dlib_network(start + integer(-3) + FILE[len(start) + 2 :])


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(ModelUnavailableError, match="'reLu_' is not one"):
        read_dlib_network(FILE.replace(b"relu_", b"reLu_"))
