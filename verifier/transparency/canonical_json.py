"""One spelling for each JSON value, after RFC 8785 (JSON Canonicalization Scheme).

UTF-8, no spaces, keys sorted by UTF-16 code units, numbers as ECMAScript writes them. Whole
numbers beyond 2**53 - 1 are refused rather than rounded: write them as text. Times are text.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from verifier.errors import InvalidRecordError

JSONValue: TypeAlias = (
    "bool | int | float | str | Sequence[JSONValue] | Mapping[str, JSONValue] | None"
)
"""What may be written; reading gives ``dict`` and ``list``."""

_quote = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would build one each time

LARGEST_INTEGER = 2**53 - 1  # beyond it, readers that use doubles would see another number


def canonical_json(value: JSONValue) -> bytes:
    """Return the one canonical spelling of ``value``.

    Raises
    ------
    InvalidRecordError
        If ``value`` holds something JSON cannot: NaN, an infinity, bytes, a key that is not
        text, half a surrogate pair, or a whole number beyond 2**53 - 1.
    """
    try:
        return _write(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRecordError("text holds half a surrogate pair") from error
    except RecursionError as error:
        raise InvalidRecordError("nested too deeply") from error


def parse_canonical(data: bytes) -> JSONValue:
    """Return the value that ``data`` spells.

    Raises
    ------
    InvalidRecordError
        If ``data`` is not JSON, or is JSON in any other than the canonical spelling.
    """
    try:
        value = cast("JSONValue", json.loads(data.decode("utf-8"), parse_int=_read_whole))
    except (ValueError, RecursionError) as error:
        raise InvalidRecordError("not UTF-8 JSON") from error
    # Also catches repeated keys, since only one of them survives the reading.
    if canonical_json(value) != data:
        raise InvalidRecordError("JSON is not in its one canonical spelling")
    return value


def parse_canonical_object(data: bytes) -> dict[str, JSONValue]:
    """Return the object that ``data`` spells; any other value is an ``InvalidRecordError``."""
    value = parse_canonical(data)
    if not isinstance(value, dict):
        raise InvalidRecordError(f"wanted a JSON object, found {type(value).__name__}")
    return value


def _read_whole(text: str) -> int | float:
    # Numbers are doubles; beyond 2**53 only a double was ever written as a whole number.
    if len(text) > 20 or abs(int(text)) > LARGEST_INTEGER:
        return float(text)
    return int(text)


def _write(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _quote(str(value))
    if isinstance(value, int):
        return _write_integer(value)
    if isinstance(value, float):
        return _write_float(value)
    if isinstance(value, Mapping):
        return _write_object(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_write, value)) + "]"
    raise InvalidRecordError(f"{type(value).__name__} has no JSON form")


def _write_object(value: Mapping[object, object]) -> str:
    if any(not isinstance(key, str) for key in value):
        raise InvalidRecordError("a key is not text")
    keys = sorted(cast("Mapping[str, object]", value), key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(f"{_write(key)}:{_write(value[key])}" for key in keys) + "}"


def _write_integer(value: int) -> str:
    if abs(value) > LARGEST_INTEGER:
        raise InvalidRecordError("a whole number is beyond 2**53 - 1")
    return str(int(value))


def _write_float(value: float) -> str:
    """Write as ECMAScript's ``Number::toString``: Python agrees on digits, not on layout."""
    if not math.isfinite(value):
        raise InvalidRecordError("a number is not finite")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{float(abs(value))!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return sign + _lay_out(digits, point)


def _lay_out(digits: str, point: int) -> str:
    """Place the decimal point after ``point`` digits, with an exponent outside 1e-6 to 1e21."""
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
