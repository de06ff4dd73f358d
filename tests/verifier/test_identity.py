"""Names and numbers: what is folded, what is refused, and that nothing is told."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import InputError
from verifier.identity import Identity, check_character, parse_identity

TODAY = date(2026, 1, 15)
# Examples printed in the standard itself (GB 11643-1999, annex).
PUBLISHED = ["11010519491231002X", "440524188001010014"]
ALPHABET = "0123456789X"

numbers = st.builds(
    lambda region, born, sequence: f"{region:06}{born:%Y%m%d}{sequence:03}",
    st.integers(0, 999_999),
    st.dates(date(1900, 1, 1), TODAY),
    st.integers(0, 999),
).map(lambda body: body + check_character(body))


def is_refused(number: str) -> bool:
    try:
        parse_identity("张三", number, today=TODAY)
    except InputError:
        return True
    return False


@pytest.mark.parametrize("number", PUBLISHED)
def test_the_numbers_printed_in_the_standard(number: str) -> None:
    assert parse_identity("张三", number, today=TODAY).id_number == number


def test_a_number_holds_birth_date_and_region() -> None:
    identity = parse_identity("张三", "11010519491231002X", today=TODAY)
    assert identity.born_on == date(1949, 12, 31)
    assert identity.region_code == "110105"


@given(number=numbers)
@settings(max_examples=20, deadline=None)
def test_every_wrong_character_is_caught(number: str) -> None:
    """MOD 11-2: no weight is 0 modulo 11, so one changed digit changes the sum."""
    assert not is_refused(number)
    for place in range(18):
        for other in ALPHABET.replace(number[place], ""):
            assert is_refused(number[:place] + other + number[place + 1 :])


@given(number=numbers)
@settings(max_examples=100, deadline=None)
def test_every_swap_of_neighbours_is_caught(number: str) -> None:
    """Neighbouring weights differ modulo 11, so a swap changes the sum."""
    for place in range(17):
        left, right = number[place], number[place + 1]
        if left != right:
            assert is_refused(number[:place] + right + left + number[place + 2 :])


@pytest.mark.parametrize(
    "typed", ["11010519491231002x", " 11010519491231002X\n", "11010519491231002Ⅹ"]
)
def test_what_is_folded_in_a_number(typed: str) -> None:
    assert parse_identity("张三", typed, today=TODAY).id_number == "11010519491231002X"


def test_full_width_digits_are_folded() -> None:
    typed = "".join(chr(ord(digit) + 0xFEE0) for digit in PUBLISHED[1])
    assert parse_identity("张三", typed, today=TODAY).id_number == PUBLISHED[1]


@pytest.mark.parametrize("dot", [*"·•・‧∙⋅･", " · ", "\u0387"])
def test_middle_dots_are_folded_to_one(dot: str) -> None:
    identity = parse_identity(f"阿卜杜拉{dot}买买提", PUBLISHED[1], today=TODAY)
    assert identity.name == "阿卜杜拉·买买提"


def test_rare_characters_stay() -> None:
    """From extension H, newer than the tables of some Python releases, and a variation selector."""
    assert parse_identity("张\U00031350", PUBLISHED[1], today=TODAY).name == "张\U00031350"
    assert parse_identity("葛\U000e0100城", PUBLISHED[1], today=TODAY).name == "葛\U000e0100城"


@pytest.mark.parametrize(
    "name", ["", "  ", "·", "张" * 51, "张\x00三", "张\u202e三", "张\u200b三", "\ud800"]
)
def test_no_name(name: str) -> None:
    with pytest.raises(InputError, match=r"^name "):
        parse_identity(name, PUBLISHED[1], today=TODAY)


def test_a_name_of_fifty_characters() -> None:
    assert len(parse_identity("张" * 50, PUBLISHED[1], today=TODAY).name) == 50


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("11010520230229001", "no day of the calendar"),
        ("11010500000101001", "no day of the calendar"),
        ("11010520260116001", "lies in the future"),
    ],
)
def test_no_birth_date(body: str, why: str) -> None:
    with pytest.raises(InputError, match=f"^id_number: .*{why}") as refusal:
        parse_identity("张三", body + check_character(body), today=TODAY)
    # What a traceback would print below it may tell parts of the date.
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


def test_born_today_is_no_future() -> None:
    body = "11010520260115001"
    assert parse_identity("张三", body + check_character(body), today=TODAY).born_on == TODAY


@given(
    name=st.text(max_size=60), number=st.text(max_size=40) | st.text("0123456789xX ", max_size=20)
)
@settings(deadline=None)
def test_a_refusal_tells_lengths_and_nothing_else(name: str, number: str) -> None:
    """Whatever was typed, the message is one of a few texts that only differ by a length."""
    with pytest.raises(InputError) as refusal:
        parse_identity(name, number + "?", today=TODAY)
    known = (
        {f"name has {n} characters; 1 to 50 were wanted" for n in range(1200)}
        | {
            "name holds a control or formatting character; none was wanted",
            "name holds nothing but a middle dot; a name was wanted",
            "id_number is not 17 digits followed by a digit or X",
        }
        | {f"id_number has {n} characters; 18 were wanted" for n in range(1200)}
    )
    assert str(refusal.value) in known
    assert refusal.value.__cause__ is None


@given(name=st.text(min_size=1, max_size=20))
@settings(deadline=None)
def test_the_canonical_spelling_is_its_own(name: str) -> None:
    try:
        identity = parse_identity(name, PUBLISHED[0], today=TODAY)
    except InputError:
        return
    assert parse_identity(identity.name, identity.id_number, today=TODAY) == identity


def test_an_identity_is_canonical_from_birth() -> None:
    with pytest.raises(InputError, match="canonical"):
        Identity(name=" 张三", id_number=PUBLISHED[0])
    with pytest.raises(InputError, match="id_number"):
        Identity(name="张三", id_number="110105194912310021")
    with pytest.raises(InputError, match="no day of the calendar"):
        Identity(name="张三", id_number="11010520230229001" + check_character("11010520230229001"))


def test_nothing_shows_it() -> None:
    identity = parse_identity("张三", PUBLISHED[0], today=TODAY)
    for text in (repr(identity), str(identity), f"{identity}", repr([identity])):
        assert "张三" not in text
        assert PUBLISHED[0] not in text
