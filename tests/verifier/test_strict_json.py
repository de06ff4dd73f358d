"""JSON from strangers: one meaning, or none."""

import pytest

from verifier.errors import InvalidRecordError
from verifier.strict_json import Fields, load_json, shown


def test_json_of_one_meaning_is_read() -> None:
    """A byte order mark, as some editors write it, changes nothing."""
    assert load_json('{"a":[1,2.5,null,true,"学"]}') == {"a": [1, 2.5, None, True, "学"]}
    assert load_json("\ufeff[1]".encode()) == [1]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", "not readable JSON"),
        (b"\xff", "not readable JSON"),
        ('{"a":NaN}', "NaN"),
        ('{"a":1,"a":2}', "twice"),
        ('{"a":"\\ud800"}', "not readable JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_only_json_of_one_meaning_is_read(text: str | bytes, wanted: str) -> None:
    with pytest.raises(InvalidRecordError, match=wanted):
        load_json(text)


def test_what_nobody_asked_for_is_left_over() -> None:
    fields = Fields({"a": "x", "b": None, "c": 3}, "the record")
    assert (fields.text("a"), fields.optional("b", fields.number)) == ("x", None)
    assert fields.extra() == {"c": 3}


def test_a_value_is_shown_short_and_in_ascii() -> None:
    assert shown("学") == "'\\u5b66'"
    assert len(shown("x" * 1000)) == 60
    assert shown(10**30) == "a huge number"
