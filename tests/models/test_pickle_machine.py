"""The pickle machine does what pickle does with plain values, and nothing else at all."""

import os
import pickle
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import pickle_machine
from models.pickle_machine import run_pickle
from tests.models.torch_files import integer, name, program, text
from verifier.errors import ModelUnavailableError

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
def test_plain_values_are_read_as_pickle_reads_them(value: Any) -> None:
    stream = BytesIO(pickle.dumps(value, 2) + b"more")
    assert run_pickle(stream, {}) == value
    assert stream.read() == b"more"


def test_a_known_program() -> None:
    """A dictionary shared by two names is one dictionary, as in pickle."""
    shared = b"}q\x00" + text("a") + integer(-7) + b"s"
    value = run_pickle(BytesIO(program(b"(" + shared + b"h\x00" + b"t")), {})
    assert value == ({"a": -7}, {"a": -7})
    assert value[0] is value[1]


def refused(instructions: bytes, match: str) -> None:
    with pytest.raises(ModelUnavailableError, match=match):
        run_pickle(BytesIO(instructions), {"known.marker": object()})


class Evil:
    """Runs a command when unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize(
    ("evil", "named"),
    [
        (Evil(os.system, "touch run"), f"the name '{os.name}.system'"),
        (Evil(eval, "open('run', 'w')"), "the name '__builtin__.eval'"),
        (Evil(exec, "open('run', 'w')"), "the name '__builtin__.exec'"),
        (Evil(getattr, "a", "__class__"), "the name '__builtin__.getattr'"),
        (Evil(Path, "run"), "the name 'pathlib.*Path'"),
    ],
)
def test_nothing_is_imported_or_called(
    evil: Evil, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(pickle.dumps(evil, 2), named)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("instructions", "match"),
    [
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "protocol 4, wanted 2"),
        (b"\x8c\x02os\x8c\x06system\x93.", "instruction SHORT_BINUNICODE"),
        (text("os") + text("system") + b"\x93.", "instruction STACK_GLOBAL"),
        (b"(S'id'\nios\nsystem\n.", "instruction STRING"),
        (b"(ios\nsystem\n.", "instruction INST"),
        (b"(" + name("known", "marker") + b"o.", "instruction OBJ"),
        (name("known", "marker") + b")\x81.", "instruction NEWOBJ"),
        (b"\x82\x01.", "instruction EXT1"),
        (name("known", "marker") + b")R.", "a call of what is no function"),
        (text("f") + b")R.", "a call of what is no function"),
        (b"NQ.", "a persistent id"),
        (b"]}b.", "a list, a dict wanted"),
        (b"}(Nt.", "2 values at the end"),
        (b"}Ne.", "malformed"),  # no mark
        (b"}(Ns.", "malformed"),  # a mark in the way
        (b"N(\x85.", "malformed"),
        (b"}(" + text("a") + b"u.", "malformed"),  # a key without a value
        (b"h\x05.", "malformed"),  # nothing of that number in the memo
        (b"q\x00.", "malformed"),
        (b".", "0 values at the end"),
        (b"", "malformed"),
        (b"}", "malformed"),
        (b"\xff.", "malformed"),
        (b"cos\nsystem", "malformed"),
        (rb"cos" + b"\n" + rb"sy\o" + b"\n.", "the name"),
        (rb"S'\o'" + b"\n.", "instruction STRING"),
    ],
)
def test_everything_else_is_refused(instructions: bytes, match: str) -> None:
    refused(instructions, match)


def test_an_enormous_memo_index_costs_nothing() -> None:
    """Python's own unpickler allocates a table up to the index."""
    assert run_pickle(BytesIO(program(b"Nr\xff\xff\xff\x7f")), {}) is None


def test_a_claimed_length_is_no_allocation() -> None:
    refused(b"X\xff\xff\xff\x7fabc.", "malformed")
    refused(b"\x8a\xffabc.", "malformed")


def test_nesting_without_end_does_not_recurse() -> None:
    deep = 50_000
    assert sys.getrecursionlimit() < deep
    value = run_pickle(BytesIO(program(b")" + b"\x85" * deep)), {})
    assert len(value) == 1
    refused(program(b"})" + b"\x85" * deep + b"Ns"), "a key of type tuple")


def test_a_dictionary_may_hold_itself() -> None:
    value = run_pickle(BytesIO(program(b"}q\x00" + text("me") + b"h\x00s")), {})
    assert value["me"] is value


def test_the_number_of_instructions_is_bounded() -> None:
    endless = b"N0" * pickle_machine.MAX_INSTRUCTIONS
    refused(program(b"N\x85" + b"\x85" * pickle_machine.MAX_INSTRUCTIONS), "more than 200000")
    refused(endless, "instruction POP")


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_be_refused_or_read(data: bytes) -> None:
    try:
        run_pickle(BytesIO(data), {})
    except ModelUnavailableError as error:
        assert str(error).startswith("pickle refused: ")  # noqa: PT017  # most bytes are refused, not all
