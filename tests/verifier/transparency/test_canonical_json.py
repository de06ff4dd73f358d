"""One spelling for each value: RFC 8785's own examples, and round trips."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import InvalidRecordError
from verifier.transparency.canonical_json import JSONValue, canonical_json, parse_canonical

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        # RFC 8785 appendix B.
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-5e-324, "-5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"),
        (999999999999999700000.0, "999999999999999700000"),
        (1e21, "1e+21"),
        (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"),
        (333333333.33333329, "333333333.3333333"),
        (4.5, "4.5"),
        (0.002, "0.002"),
        (1e30, "1e+30"),
        (-1.0, "-1"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(number: float, text: str) -> None:
    assert canonical_json(number) == text.encode()


def test_keys_are_sorted_by_utf16_units() -> None:
    """RFC 8785 section 3.2.3: an emoji sorts before U+FB33, unlike by code point."""
    keys = ["€", "\r", "\ufb33", "1", "😀", "\u0080", "ö"]
    written = json.loads(canonical_json(dict.fromkeys(keys, 0)))
    assert list(written) == ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]


def test_text_escapes_only_what_it_must() -> None:
    assert canonical_json("€$\u000f\nA'B\"\\/") == '"€$\\u000f\\nA\'B\\"\\\\/"'.encode()


@given(value=values)
def test_what_is_written_reads_back_and_is_written_the_same(value: JSONValue) -> None:
    data = canonical_json(value)
    again = parse_canonical(data)
    assert canonical_json(again) == data
    assert again == value


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, b"x", {1: 2}, 2**53, "\ud800", object(), [{"a": -math.inf}]],
)
def test_what_json_cannot_hold_is_refused(value: JSONValue) -> None:
    with pytest.raises(InvalidRecordError):
        canonical_json(value)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b' {"a":1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"1.0", b"1e2", b"NaN"),
        *(b'"\\u0041"', b'"\xff"', b"[" * 100_000, b"9" * 5_000, b"9007199254740993"),
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRecordError):
        parse_canonical(data)
