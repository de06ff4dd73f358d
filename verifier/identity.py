"""Who somebody is on paper: the name and the citizen identification number (公民身份号码).

A number of 18 characters is six digits of region, eight of birth date, three of sequence and a
check character. The same form and the same check are used on 居民身份证, on the residence permits
of people from Hong Kong, Macau and Taiwan (regions 81, 82, 83), and since December 2023 on
外国人永久居留身份证 (first digit 9). Regions are not looked up: codes are withdrawn while the
numbers that hold them stay valid for life.

Neither name nor number is ever part of a message or of a ``repr``.

References
----------
GB 11643-1999 公民身份号码; ISO 7064:1983, MOD 11-2.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date

from verifier.errors import InputError

LONGEST_NAME = 50
"""Characters. The longest names on identity cards are transcribed ones of some thirty."""

# NFKC can make eighteen characters of one, so what is normalised is bounded first.
_LONGEST_INPUT = 200
_MIDDLE_DOT = "\N{MIDDLE DOT}"
# What input methods offer for 间隔号; some more, such as U+0387, NFKC folds by itself.
_DOT_VARIANTS = re.compile("\\s*[\u00b7\u2022\u2027\u2219\u22c5\u30fb]\\s*")
# Unassigned and private-use characters stay: rare characters of names are newer than this table.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_NUMBER = re.compile("[0-9]{17}[0-9X]")
_WEIGHTS = tuple(2 ** (17 - place) % 11 for place in range(17))
_CHECK_CHARACTERS = "0123456789X"


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A name and a citizen identification number, both in their one canonical spelling.

    Build it with :func:`parse_identity`, which makes that spelling from what people type.
    """

    name: str
    id_number: str

    def __post_init__(self) -> None:
        if self.name != _canonical_name(self.name):
            raise InputError("name is not in its canonical spelling")
        _require_valid_number(self.id_number)

    def __repr__(self) -> str:
        return "Identity(hidden)"

    @property
    def born_on(self) -> date:
        """The birth date that the number holds."""
        return _birth_date(self.id_number)

    @property
    def region_code(self) -> str:
        """Six digits of GB/T 2260, or of the documents named above."""
        return self.id_number[:6]


def parse_identity(name: str, id_number: str, *, today: date) -> Identity:
    """Read a name and a number as people type them.

    Full-width characters, spaces around, a lower-case ``x`` and the various middle dots of
    transcribed names are folded; nothing else is guessed.

    Raises
    ------
    InputError
        If either is not one; the message names the field and what is wrong, never the value.
    """
    identity = Identity(name=_canonical_name(name), id_number=_canonical_number(id_number))
    if identity.born_on > today:
        raise InputError("id_number: the birth date lies in the future")
    return identity


def check_character(body: str) -> str:
    """Return the 18th character for the first 17 digits (ISO 7064 MOD 11-2)."""
    weighted = sum(int(digit) * weight for digit, weight in zip(body, _WEIGHTS, strict=True))
    # The whole number is to leave 1 when divided by 11, the check character weighing 1.
    return _CHECK_CHARACTERS[(1 - weighted) % 11]


def _canonical_name(text: str) -> str:
    if len(text) > _LONGEST_INPUT:
        raise InputError(f"name has {len(text)} characters; 1 to {LONGEST_NAME} were wanted")
    name = _DOT_VARIANTS.sub(_MIDDLE_DOT, unicodedata.normalize("NFKC", text)).strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise InputError(f"name has {len(name)} characters; 1 to {LONGEST_NAME} were wanted")
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name):
        # An invisible character makes two names look alike that are not.
        raise InputError("name holds a control or formatting character; none was wanted")
    if not name.strip(_MIDDLE_DOT):
        raise InputError("name holds nothing but a middle dot; a name was wanted")
    return name


def _canonical_number(text: str) -> str:
    if len(text) > _LONGEST_INPUT:
        raise InputError(f"id_number has {len(text)} characters; 18 were wanted")
    return unicodedata.normalize("NFKC", text).strip().upper()


def _require_valid_number(number: str) -> None:
    if len(number) != 18:
        raise InputError(f"id_number has {len(number)} characters; 18 were wanted")
    if not _NUMBER.fullmatch(number):
        raise InputError("id_number is not 17 digits followed by a digit or X")
    if check_character(number[:17]) != number[17]:
        raise InputError("id_number: the check character does not belong to the digits before it")
    _birth_date(number)


def _birth_date(number: str) -> date:
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        # The original message is dropped: it may tell parts of the date.
        raise InputError("id_number: the birth date is no day of the calendar") from None
