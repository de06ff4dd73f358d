"""Runs the few pickle instructions that files of weights need, and no others.

A pickle is a program, and Python's own `pickle` runs whatever it imports. This machine imports
nothing: it knows literals, tuples, lists, dictionaries with string keys, and the names its caller
gives it a meaning for. Everything else is refused by name. `pickletools` reads their
arguments; nothing here recurses, so no nesting is too deep. Start with `run_pickle`.

The instructions are described in the source of Python's `pickletools`.
"""

import pickletools
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, Final, TypeAlias

from verifier.errors import ModelUnavailableError

Function: TypeAlias = Callable[[tuple[Any, ...]], object]
"""What a pickle may call: takes the arguments as one tuple, raises `ModelUnavailableError`."""

# MiniFASNet needs 13,000; without a bound a few megabytes could keep the machine busy for minutes.
MAX_INSTRUCTIONS: Final = 200_000
_PROTOCOL: Final = 2  # what PyTorch writes

_LITERALS: Final = frozenset(
    ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "NONE", "NEWTRUE", "NEWFALSE")
)
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def run_pickle(
    stream: BytesIO,
    names: Mapping[str, object],
    persistent: Callable[[object], object] | None = None,
) -> Any:
    """Return what the next pickle in the stream stands for; the stream is then behind it.

    Parameters
    ----------
    names
        What ``module.name`` means. A `Function` may be called, anything else only passed on.
    persistent
        What a persistent id stands for; without it there may be none.

    Raises
    ------
    ModelUnavailableError
        If the pickle is cut short or malformed, too long, or uses a name or an instruction that
        is not among the known ones.
    """
    machine = _Machine(names, persistent)
    try:
        for name, argument in _instructions(stream):
            machine.execute(name, argument)
    except (ValueError, IndexError, KeyError) as error:
        # Raised by pickletools on cut or malformed input, and by an empty stack or memo.
        raise _refused("cut short or malformed") from error
    return machine.result()


def _instructions(stream: BytesIO) -> Iterator[tuple[str, Any]]:
    """Take the next pickle apart; what is not known is refused before its argument is read."""
    for _ in range(MAX_INSTRUCTIONS):
        code = stream.read(1).decode("latin-1")
        instruction = _INSTRUCTIONS[code]
        if instruction.name not in _KNOWN:
            raise _refused(f"instruction {instruction.name}")
        if instruction.name == "STOP":
            return
        if instruction.name == "GLOBAL":
            yield "GLOBAL", _read_name(stream)
        else:
            yield instruction.name, instruction.arg and instruction.arg.reader(stream)
    raise _refused(f"more than {MAX_INSTRUCTIONS} instructions")


def _read_name(stream: BytesIO) -> str:
    """Read ``module.name`` as it stands; `pickletools` would resolve backslashes and warn."""
    lines = stream.readline(), stream.readline()
    if not all(line.endswith(b"\n") for line in lines):
        raise ValueError("a name without end")
    return ".".join(line[:-1].decode() for line in lines)


class _Mark:
    """Where on the stack the arguments of a later instruction begin."""


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(
        self, names: Mapping[str, object], persistent: Callable[[object], object] | None
    ) -> None:
        self._names = names
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        if len(self._stack) != 1:
            raise _refused(f"{len(self._stack)} values at the end, 1 wanted")
        return self._stack[0]

    def execute(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(_CONSTANTS.get(name, argument))
        elif name in _TUPLES:
            self._stack.append(tuple(self._take(_TUPLES[name])))
        else:
            _ACTIONS[name](self, argument)

    def proto(self, version: int) -> None:
        if version != _PROTOCOL:
            raise _refused(f"protocol {version}, wanted {_PROTOCOL}")

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def mark(self, _: None) -> None:
        self._stack.append(_Mark())

    def tuple_to_mark(self, _: None) -> None:
        self._stack.append(tuple(self._take_to_mark()))

    def empty_list(self, _: None) -> None:
        self._stack.append([])

    def empty_dict(self, _: None) -> None:
        self._stack.append({})

    def append(self, _: None) -> None:
        values = self._take(1)
        self._top(list).extend(values)

    def appends(self, _: None) -> None:
        values = self._take_to_mark()
        self._top(list).extend(values)

    def set_item(self, _: None) -> None:
        self._set(self._take(2))

    def set_items(self, _: None) -> None:
        self._set(self._take_to_mark())

    def name(self, name: str) -> None:
        if name not in self._names:
            raise _refused(f"the name {name[:80]!r}")
        self._stack.append(self._names[name])

    def call(self, _: None) -> None:
        function, arguments = self._take(2)
        if not callable(function) or not isinstance(arguments, tuple):
            raise _refused("a call of what is no function")
        self._stack.append(function(arguments))

    def set_state(self, _: None) -> None:
        """Drop the attributes set on a dictionary: PyTorch's are version numbers of layers."""
        self._take(1)
        self._top(dict)

    def persistent_id(self, _: None) -> None:
        if self._persistent is None:
            raise _refused("a persistent id")
        self._stack.append(self._persistent(self._take(1)[0]))

    def _take(self, count: int) -> list[Any]:
        """Take the topmost values; a mark among them bars the way."""
        if count == 0:
            return []
        taken = self._stack[-count:]
        if len(taken) != count or any(isinstance(value, _Mark) for value in taken):
            raise IndexError
        del self._stack[-count:]
        return taken

    def _take_to_mark(self) -> list[Any]:
        taken = []
        while not isinstance(value := self._stack.pop(), _Mark):
            taken.append(value)
        return taken[::-1]

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise _refused(f"a {type(self._stack[-1]).__name__}, a {kind.__name__} wanted")
        return self._stack[-1]

    def _set(self, pairs: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Hashing deeply nested tuples would overflow the stack of the interpreter.
            if not isinstance(key, str):
                raise _refused(f"a key of type {type(key).__name__}")
            target[key] = value


_ACTIONS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": _Machine.proto,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "MARK": _Machine.mark,
    "TUPLE": _Machine.tuple_to_mark,
    "EMPTY_LIST": _Machine.empty_list,
    "EMPTY_DICT": _Machine.empty_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.persistent_id,
}

_KNOWN: Final = _LITERALS | _TUPLES.keys() | _ACTIONS.keys() | {"STOP"}
_INSTRUCTIONS: Final = {instruction.code: instruction for instruction in pickletools.opcodes}


def _refused(what: str) -> ModelUnavailableError:
    return ModelUnavailableError(f"pickle refused: {what}")
