"""JSON from strangers: one meaning for each text, or an error that says what was seen.

:func:`load_json` refuses what readers disagree about (a repeated key, NaN, half a surrogate pair);
:class:`Fields` then takes an object apart key by key; its errors name the place and the key.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import NoReturn, TypeVar, cast

from verifier.errors import InvalidRecordError
from verifier.transparency.canonical_json import JSONValue

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

LARGEST_NUMBER = 1e300
LARGEST_COUNT = 10**9


def load_json(data: str | bytes) -> JSONValue:
    """Read UTF-8 JSON.

    Raises
    ------
    InvalidRecordError
        If it is not JSON, or not JSON that every reader understands alike.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        # Escaped halves of a surrogate pair parse, but no file could hold them again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except InvalidRecordError:
        raise
    except RecursionError:
        raise InvalidRecordError("not readable JSON: nested too deeply") from None
    except ValueError as error:  # JSONDecodeError and the Unicode errors are ValueErrors
        raise InvalidRecordError(f"not readable JSON: {shown(str(error))}") from None
    return cast("JSONValue", value)


class Fields:
    """One JSON object, read key by key.

    Every key asked for has to be there, null where there is nothing: a misspelt one must not pass
    for something that is not on record. What nobody asked for is left for :attr:`extra`.
    """

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, dict):
            refuse(name, value, "an object")
        self._record: Mapping[str, JSONValue] = value
        self._asked: set[str] = set()

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self._take(name)
        if isinstance(value, str) and value.strip():
            return value
        return refuse(name, value, "a non-empty text")

    def number(self, name: str) -> float:
        """Return a finite number."""
        value = self._take(name)
        # bool is an int in Python, but true is no number of seconds.
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(name, value, "a number")
        # A whole number may be too large for any double.
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            refuse(name, value, "a finite number")
        return float(value)

    def count(self, name: str) -> int:
        """Return a whole number from 0 on."""
        value = self._take(name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and 0 <= cast("int", value) <= LARGEST_COUNT:
            return cast("int", value)
        return refuse(name, value, "a count")

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._take(name)
        return value if isinstance(value, bool) else refuse(name, value, "true or false")

    def moment(self, name: str) -> datetime:
        """Return an ISO 8601 time, which has to name its zone, in UTC."""
        value = self._take(name)
        try:
            at = datetime.fromisoformat(value if isinstance(value, str) else "")
            if at.utcoffset() is not None:
                return at.astimezone(UTC)
        except (ValueError, OverflowError):  # no time, or none that UTC can tell
            pass
        return refuse(name, value, "an ISO 8601 time with its zone, such as 2026-03-02T01:00:00Z")

    def day(self, name: str) -> date:
        """Return an ISO 8601 date."""
        value = self._take(name)
        try:
            return date.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            refuse(name, value, "an ISO 8601 date, such as 2026-03-02")

    def choice(self, name: str, kind: type[E]) -> E:
        """Return a member of an enumeration by its text."""
        value = self._take(name)
        for member in kind:
            if value == member.value:
                return member
        return refuse(name, value, "one of " + ", ".join(kind))

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """Return what ``read`` makes of the key, or None where it is null."""
        return None if self._take(name) is None else read(name)

    def object(self, name: str, read: Callable[["Fields"], T]) -> T | None:
        """Return what ``read`` makes of an object, or None where it is null."""
        value = self._take(name)
        return None if value is None else _read_at(name, value, read)

    def objects(self, name: str, read: Callable[["Fields"], T]) -> tuple[T, ...]:
        """Return what ``read`` makes of each object in a list."""
        values = self._take(name)
        if not isinstance(values, list):
            refuse(name, values, "a list")
        return tuple(_read_at(f"{name}[{at}]", value, read) for at, value in enumerate(values))

    def objects_if_any(self, name: str, read: Callable[["Fields"], T]) -> tuple[T, ...]:
        """Return `objects`; none where the key is missing, since it came later than its format."""
        return self.objects(name, read) if name in self._record else ()

    def if_any(self, name: str, read: Callable[[str], T], *, otherwise: T) -> T:
        """Return what ``read`` makes of a key that came later than its format, where it is."""
        return read(name) if name in self._record else otherwise

    def extra(self) -> dict[str, JSONValue]:
        """Return what nobody has asked for so far."""
        return {key: value for key, value in self._record.items() if key not in self._asked}

    def _take(self, name: str) -> JSONValue:
        self._asked.add(name)
        if name not in self._record:
            raise InvalidRecordError(f"{name} is missing; null or [] says that there is none")
        return self._record[name]


def _read_at(place: str, value: JSONValue, read: Callable[[Fields], T]) -> T:
    try:
        return read(Fields(value, "the value"))
    except InvalidRecordError as error:
        raise InvalidRecordError(f"{place}: {error}") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise InvalidRecordError(f"{constant} is not JSON; a finite number was wanted")


def _unique(pairs: list[tuple[str, JSONValue]]) -> dict[str, JSONValue]:
    # Two readers that disagree about which duplicate counts would decide two different cases.
    record = dict(pairs)
    if len(record) != len(pairs):
        raise InvalidRecordError("a key stands twice in one object; once was wanted")
    return record


def refuse(name: str, seen: object, wanted: str) -> NoReturn:
    """Raise `InvalidRecordError` for a value, saying what was seen and what was wanted."""
    raise InvalidRecordError(f"{name} is {shown(seen)}; {wanted} was wanted")


def shown(seen: object) -> str:
    """Return a value for an error message: a hostile one must not fill the log."""
    text = ascii(seen) if not isinstance(seen, int) or abs(seen) < 10**20 else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
